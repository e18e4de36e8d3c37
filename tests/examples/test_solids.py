"""Solids: where they are, which way they face, how their texture lies."""

from __future__ import annotations

import numpy as np
import pytest

from examples import solids
from geometry.mesh import Material, Mesh

PAINT = Material()


def face_normals(mesh: Mesh) -> np.ndarray:
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    return np.cross(b - a, c - a)


def volume(mesh: Mesh) -> float:
    """Of a closed surface that faces outwards (divergence theorem)."""
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    return float((a * np.cross(b, c)).sum() / 6)


def test_box_volume_and_corner() -> None:
    mesh = solids.box((1, 2, 3), (2, 4, 6), PAINT)
    assert volume(mesh) == pytest.approx(1 * 2 * 3)
    np.testing.assert_allclose(mesh.vertices.min(0), (1, 2, 3))
    assert mesh.uv is not None
    assert (mesh.uv >= 0).all()
    assert (mesh.uv <= 1).all()


def test_cylinder_and_ellipsoid_volumes_come_near_the_formulas() -> None:
    assert volume(solids.cylinder(0.5, 0, 2, PAINT, bevel=0.001)) == pytest.approx(np.pi * 0.25 * 2, rel=0.02)
    ball = solids.rounded((5, 6, 7), (1, 2, 3), PAINT, squareness=1.0, segments=96)
    assert volume(solids.moved(ball, solids.turned(0, (-5, -6, -7)))) == pytest.approx(4 / 3 * np.pi * 6, rel=0.01)
    assert volume(solids.rounded((0, 0, 0), (1, 1, 1), PAINT, squareness=0.05, segments=96)) > 7.2  # a cube has 8


@pytest.mark.parametrize("mesh", [
    solids.box((0, 0, 0), (1, 1, 1), PAINT),
    solids.lathe([(0, 0), (1, 0), (1, 0), (0.5, 1), (0, 1.5)], PAINT),
    solids.rounded((0, 0, 0), (1, 0.5, 0.7), PAINT),
    solids.blade(1.0, 0.2, 1.0, PAINT),
    solids.quad((0, 0, 0), (2, 0, 0), (0, 0, -1), PAINT),
], ids=["box", "lathe", "rounded", "blade", "quad"])
def test_stored_normals_are_unit_and_agree_with_the_winding(mesh: Mesh) -> None:
    assert mesh.normals is not None
    corner = mesh.normals[mesh.faces]
    used = mesh.normals[np.unique(mesh.faces)]
    np.testing.assert_allclose(np.linalg.norm(used, axis=1), 1, atol=1e-9)
    assert ((corner.mean(1) * face_normals(mesh)).sum(1) > 0).all()


def test_turned_is_counter_clockwise_from_the_axis_tip() -> None:
    np.testing.assert_allclose((solids.turned(np.pi / 2) @ [0, 0, 1, 1])[:3], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose((solids.turned(np.pi / 2, axis="z") @ [1, 0, 0, 1])[:3], [0, 1, 0], atol=1e-12)


def test_texture_is_spread_evenly_along_a_lathe() -> None:
    mesh = solids.lathe([(1, 0), (1, 3), (1, 4)], PAINT)
    assert mesh.uv is not None
    assert sorted(set(mesh.uv[:, 1].round(6))) == [0.0, 0.75, 1.0]


def test_joined_keeps_every_face() -> None:
    parts = [solids.box((0, 0, 0), (1, 1, 1), PAINT), solids.box((2, 0, 0), (3, 1, 1), PAINT)]
    assert volume(solids.joined(parts)) == pytest.approx(2.0)

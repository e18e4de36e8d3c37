"""Solids made of ``geometry.mesh.Mesh``: metres, +Y up, faces counter-clockwise seen from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from geometry import rigid
from geometry.mesh import Material, Mesh

Array = np.ndarray


def moved(mesh: Mesh, world_from_mesh: Array) -> Mesh:
    """The mesh after a rigid motion."""
    normals = None if mesh.normals is None else mesh.normals @ world_from_mesh[:3, :3].T
    return replace(mesh, vertices=rigid.transform(world_from_mesh, mesh.vertices), normals=normals)


def turned(angle: float, translation: ArrayLike = (0.0, 0.0, 0.0), axis: str = "y") -> Array:
    """(4, 4) rotation by ``angle`` about an axis through the origin (counter-clockwise from its tip), then a shift."""
    c, s = np.cos(angle), np.sin(angle)
    rotation = {
        "x": [[1, 0, 0], [0, c, -s], [0, s, c]],
        "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
        "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
    }[axis]
    return rigid.rigid(np.array(rotation), np.asarray(translation, np.float64))


def quad(corner: ArrayLike, along_u: ArrayLike, along_v: ArrayLike, material: Material,
         name: str = "") -> Mesh:
    """A rectangle whose texture covers it once; its normal is ``along_u x along_v``."""
    start, u, v = (np.asarray(a, np.float64) for a in (corner, along_u, along_v))
    vertices = np.stack([start, start + u, start + u + v, start + v])
    normal = np.cross(u, v) / np.linalg.norm(np.cross(u, v))
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), uv, np.tile(normal, (4, 1)), material, name)


def box(lower: ArrayLike, upper: ArrayLike, material: Material, name: str = "") -> Mesh:
    """An upright box; every face shows another part of the texture, cut out at one scale for all faces."""
    lo, hi = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    x, y, z = hi - lo
    faces = [  # corner, along u, along v
        ((lo[0], lo[1], hi[2]), (x, 0, 0), (0, y, 0)),
        ((hi[0], lo[1], lo[2]), (-x, 0, 0), (0, y, 0)),
        ((hi[0], lo[1], hi[2]), (0, 0, -z), (0, y, 0)),
        ((lo[0], lo[1], lo[2]), (0, 0, z), (0, y, 0)),
        ((lo[0], hi[1], hi[2]), (x, 0, 0), (0, 0, -z)),
        ((lo[0], lo[1], lo[2]), (x, 0, 0), (0, 0, z)),
    ]
    longest = max(x, y, z)
    sides = []
    for i, (corner, u, v) in enumerate(faces):
        span = np.array([np.linalg.norm(u), np.linalg.norm(v)]) / longest
        start = (1 - span) * (i / 5)
        side = quad(corner, u, v, material)
        sides.append(replace(side, uv=start + side.uv * span))
    return joined(sides, name)


def joined(meshes: Sequence[Mesh], name: str = "") -> Mesh:
    """Meshes of one material, all with uv and normals, as one."""
    starts = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + start for m, start in zip(meshes, starts, strict=True)]).astype(np.int32),
        np.concatenate([m.uv for m in meshes]),
        np.concatenate([m.normals for m in meshes]),
        meshes[0].material,
        name,
    )


def grid_mesh(points: Array, normals: Array, material: Material, name: str = "") -> Mesh:
    """A surface from (R, C, 3) points and normals; columns run along u, rows along v.

    The texture is spread evenly along the longest row and the longest column.
    """
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    vertices = points.reshape(-1, 3)
    p = vertices[faces]
    area = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1)
    v, u = np.meshgrid(_along(points.swapaxes(0, 1)), _along(points), indexing="ij")
    uv = np.stack([u, v], -1).reshape(-1, 2)
    unit = normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return Mesh(vertices, faces[area > 1e-14].astype(np.int32), uv, unit.reshape(-1, 3), material, name)


def _along(lines: Array) -> Array:
    """(C,) share of the way along the longest of (R, C, 3) lines."""
    steps = np.linalg.norm(np.diff(lines, axis=1), axis=-1)
    longest = steps[steps.sum(1).argmax()]
    return np.concatenate([[0.0], np.cumsum(longest)]) / longest.sum()


def lathe(profile: Sequence[tuple[float, float]], material: Material, name: str = "", segments: int = 48) -> Mesh:
    """A profile of (radius, height), from the bottom up, turned about +Y. A repeated point keeps a sharp edge."""
    line = np.asarray(profile, np.float64)
    step = np.diff(line, axis=0)
    slope = np.stack([step[:, 1], -step[:, 0]], 1)  # the outer side of a profile that runs upwards
    slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    outward = np.zeros_like(line)
    outward[:-1] += slope
    outward[1:] += slope
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    around = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)
    up = np.array([0.0, 1.0, 0.0])
    points = line[:, None, :1] * around + line[:, None, 1:] * up
    normals = outward[:, None, :1] * around + outward[:, None, 1:] * up
    return grid_mesh(points, normals, material, name)


def cylinder(radius: float, bottom: float, top: float, material: Material, name: str = "", bevel: float = 0.1) -> Mesh:
    """A closed cylinder about +Y whose rims are cut by ``bevel`` x radius."""
    b = bevel * radius
    rim = [(0, bottom), (radius - b, bottom), (radius - b, bottom), (radius, bottom + b), (radius, bottom + b)]
    lid = [(radius, top - b), (radius, top - b), (radius - b, top), (radius - b, top), (0, top)]
    return lathe([*rim, *lid], material, name, segments=32)


def rounded(centre: ArrayLike, half: ArrayLike, material: Material, name: str = "",
            squareness: float = 0.3, segments: int = 40) -> Mesh:
    """A superellipsoid of half extents ``half``: ``squareness`` 1 is an ellipsoid, towards 0 a box (Barr 1981)."""
    extents = np.asarray(half, np.float64)
    v, u = np.meshgrid(
        np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1), np.linspace(-np.pi, np.pi, segments + 1), indexing="ij"
    )

    def power(value: Array, exponent: float) -> Array:
        value = np.where(np.abs(value) < 1e-9, 0.0, value)
        return np.sign(value) * np.abs(value) ** exponent

    def surface(exponent: float) -> Array:
        ring = power(np.cos(v), exponent)
        return np.stack([ring * power(np.sin(u), exponent), power(np.sin(v), exponent),
                         ring * power(np.cos(u), exponent)], -1)

    normals = surface(2 - squareness) / extents
    return grid_mesh(surface(squareness) * extents + np.asarray(centre), normals, material, name)


def blade(length: float, width: float, droop: float, material: Material, name: str = "") -> Mesh:
    """A leaf that starts at the origin, leans towards +Z while it rises, and bends down by ``droop`` radians."""
    along = np.linspace(0, 1, 13)
    pitch = np.pi / 2 - 0.35 - droop * along
    step = length / (len(along) - 1) * np.stack([np.zeros(13), np.sin(pitch), np.cos(pitch)], -1)
    spine = np.cumsum(step, 0) - step[0]
    half = width * np.sin(np.pi * np.clip(along * 0.94 + 0.06, 0, 1) ** 0.8) / 2
    side = np.linspace(-1, 1, 5)
    cup = np.stack([np.zeros(13), np.cos(pitch), -np.sin(pitch)], -1)  # normal of the spine in its plane
    points = spine[None] + side[:, None, None] * half[None, :, None] * np.array([1.0, 0, 0])
    points = points + (side**2)[:, None, None] * (0.35 * half)[None, :, None] * cup[None]
    normals = cup[None] - (0.7 * side)[:, None, None] * np.array([1.0, 0, 0])
    return grid_mesh(points, normals, material, name)

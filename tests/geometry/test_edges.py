from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera, resample
from geometry.edges import KINDS, lines, picture_soft_edges, soft_edges
from geometry.guides import GuideSource
from geometry.render.base import Instance
from geometry.sight import Sight, look
from geometry.sight_kernels import BOUNDARY, CREASE, INTERSECTION, SILHOUETTE
from geometry.surface import Topology
from geometry.trajectory import CameraPath
from tests.geometry.blockout_scenes import block, street
from tests.geometry.render.shapes_for_render import ball, box, instance, quad

CAMERA = Camera(80, 80, 40, 30, (80, 60))


def sight_of(*instances: Instance, pose: np.ndarray | None = None, camera: Camera = CAMERA) -> Sight:
    pose = rigid.look_at((0, 0, 4), (0, 0, 0)) if pose is None else pose
    return look(Topology.of(instances).posed(instances), camera, pose)


def length_px(kinds: np.ndarray, kind: int) -> float:
    return float(kinds[..., kind].sum())


@pytest.mark.parametrize("turn", [0.0, 0.2, np.pi / 4, 1.3])
def test_a_line_has_its_length_in_any_direction(turn: float):
    # A square of 2 x 2 at distance 4: a boundary of 4 x 40 px.
    right, up = (np.cos(turn), np.sin(turn), 0), (-np.sin(turn), np.cos(turn), 0)
    kinds = lines(sight_of(instance(quad((0, 0, 0), right, up)))).kinds
    assert length_px(kinds, BOUNDARY) == pytest.approx(160, rel=0.03)
    assert length_px(kinds, CREASE) == length_px(kinds, INTERSECTION) == 0
    assert length_px(kinds, SILHOUETTE) < 2  # where a face ends at a corner by its inner edge


@pytest.mark.parametrize("shift_px", [0.0, 0.25, 0.6])
def test_a_line_stands_where_the_edge_is_to_a_fraction_of_a_pixel(shift_px: float):
    half_plane = quad((-10 + shift_px / 20, 0, 0), (10, 0, 0), (0, 10, 0))  # its right side is at 40 + shift
    row = lines(sight_of(instance(half_plane))).kinds[30, :, BOUNDARY]
    assert row.sum() == pytest.approx(1, abs=1e-5)
    assert (row * (np.arange(80) + 0.5)).sum() == pytest.approx(40 + shift_px, abs=1e-4)


def test_each_kind_of_line_is_where_it_should_be():
    # A box on the ground, seen from a corner above.
    pose = rigid.look_at((3, 3, 4), (0, 0.3, 0))
    ground = instance(quad((0, 0, 0), (30, 0, 0), (0, 0, -30)), 1)
    kinds = lines(sight_of(ground, instance(block(1, 1, 1, 0, 0.5, 0), 2), pose=pose)).kinds

    def along(a, b) -> np.ndarray:
        """(4,) mean strength of each kind around the middle third of the edge from a to b."""
        points = rigid.transform(pose, np.linspace(a, b, 31)[10:21])
        column, row = np.floor(CAMERA.px_from_cam(points)).astype(int).T
        return np.array([max(kinds[r - 1 : r + 2, c - 1 : c + 2, k].sum() for r, c in zip(row, column, strict=True))
                         for k in range(len(KINDS))])  # fmt: skip

    near, left, right, back = (0.5, 0.5), (-0.5, 0.5), (0.5, -0.5), (-0.5, -0.5)

    def corner(xz, y):
        return np.array([xz[0], y, xz[1]], float)

    assert along(corner(near, 0), corner(near, 1)).argmax() == CREASE
    assert along(corner(near, 1), corner(left, 1)).argmax() == CREASE
    assert along(corner(left, 1), corner(back, 1)).argmax() == SILHOUETTE
    assert along(corner(right, 0), corner(right, 1)).argmax() == SILHOUETTE
    assert along(corner(near, 0), corner(left, 0)).argmax() == INTERSECTION
    assert length_px(kinds, BOUNDARY) == 0  # of the ground: out of the picture


def test_objects_that_pass_through_each_other_have_a_line_where_they_meet():
    wall = instance(quad((0, 0, 0), (2, 0, 0), (0, 2, 0)), 1)
    blade = instance(quad((0, 0, 0), (1, 0, 1), (0, 2, 0)), 2)  # turned by 45 degrees about the vertical axis x = 0
    kinds = lines(sight_of(wall, blade)).kinds
    assert kinds[20:40, 39:41, INTERSECTION].sum(1) == pytest.approx(1, abs=1e-3)
    assert kinds[20:40, 42:55, INTERSECTION].max() == 0


def test_smooth_forms_have_an_outline_only():
    kinds = lines(sight_of(instance(ball(1, 32)))).kinds
    # The outline of a ball of radius 1 at distance 4 has the radius f / sqrt(15).
    assert length_px(kinds, SILHOUETTE) == pytest.approx(2 * np.pi * 80 / np.sqrt(15), rel=0.05)
    assert length_px(kinds, CREASE) == length_px(kinds, BOUNDARY) == length_px(kinds, INTERSECTION) == 0


def test_faces_of_one_flat_wall_have_no_line_between_them():
    drawn = lines(sight_of(instance(quad((0, 0, 0), (9, 0, 0), (0, 9, 0)))))
    assert drawn.kinds.max() == drawn.graded.max() == 0


def soft_peak(*instances: Instance, pose: np.ndarray | None = None) -> float:
    sight = sight_of(*instances, pose=pose)
    return float(soft_edges(lines(sight), sight.gbuffer())[25:35, 36:44].max())


def test_soft_edges_grow_with_the_depth_jump():
    wall = instance(quad((0, 0, 0), (9, 0, 0), (0, 9, 0)), 1)
    strengths = [soft_peak(wall, instance(quad((-5, 0, gap), (5, 0, 0), (0, 9, 0)), 2)) for gap in (0.02, 0.1, 0.5, 2)]
    assert all(b > a + 0.02 for a, b in pairwise(strengths))
    assert strengths[-1] > 0.8


def test_soft_edges_grow_with_the_bend():
    def roof(slope: float) -> Instance:
        left = quad((-2, 0, -2 * slope), (2, 0, 2 * slope), (0, 9, 0))
        return Instance((left, quad((2, 0, -2 * slope), (2, 0, -2 * slope), (0, 9, 0))), np.eye(4), 1)

    strengths = [soft_peak(roof(slope)) for slope in (0.0, 0.2, 0.5, 1.2)]
    assert strengths[0] < 0.02
    assert all(b > a + 0.05 for a, b in pairwise(strengths))


def test_rounded_forms_show_at_wide_scales_only():
    sight = sight_of(instance(ball(1, 48)))
    drawn = lines(sight)
    soft = soft_edges(drawn, sight.gbuffer())
    inner = np.hypot(*(np.mgrid[:60, :80] + 0.5 - np.array([30, 40])[:, None, None])) < 16
    assert drawn.graded[inner].max() == 0
    assert 0.005 < soft[inner].mean() < 0.3


def flicker(picture_of, shift: float) -> float:
    """Mean change of a picture, followed along the exact flow, per frame of a slow sideways move."""
    camera = Camera(160, 160, 80, 60, (160, 120))
    poses = [rigid.look_at((shift * i, 1.6, 7), (shift * i, 1.5, 0)) for i in range(7)]
    guides = GuideSource(lambda _: street(0), CameraPath(tuple(range(7)), (camera,) * 7, np.stack(poses)), keep=8)
    changes = []
    for i in range(6):
        found, a, b = guides.flow(i, i + 1), picture_of(guides, i), picture_of(guides, i + 1)
        change = np.abs(resample(b, found.target_px) - a)[found.visible]
        changes.append(change.sum() / max(a[found.visible].sum(), 1e-9))
    return float(np.mean(changes))


def test_soft_edges_glide_instead_of_flickering():
    def one_sample_a_pixel(guides: GuideSource, frame: int) -> np.ndarray:
        """What edges are without any of this: where the normal or the object changes."""
        gbuffer = guides.guides(frame).gbuffer
        step = np.abs(np.diff(gbuffer.normal, axis=1)).sum(-1) + (np.diff(gbuffer.object_id, axis=1) != 0)
        return np.pad((step > 0.5).astype(np.float32), ((0, 0), (0, 1)))

    soft = flicker(lambda guides, frame: guides.guides(frame).soft_edges, 0.01)
    hard = flicker(one_sample_a_pixel, 0.01)
    assert soft < 0.12
    assert soft < 0.2 * hard


def test_pictures_lie_in_0_to_1_and_are_the_same_every_time():
    first, again = (lines(sight_of(*street(0), pose=rigid.look_at((1, 2, 6), (0, 1, 0)))) for _ in range(2))
    assert np.array_equal(first.kinds, again.kinds)
    assert np.array_equal(first.graded, again.graded)
    sight = sight_of(instance(box()), pose=rigid.look_at((1, 2, 3), (0, 0, 0)))
    for picture in (first.kinds, first.drawing, soft_edges(lines(sight), sight.gbuffer())):
        assert picture.dtype == np.float32
        assert picture.min() >= 0
        assert picture.max() <= 1


def test_soft_edges_of_a_picture_stand_at_its_contrasts():
    picture = np.full((360, 300, 3), 60, np.uint8)
    picture[:, 150:, 0] = 200  # one channel is enough
    soft = picture_soft_edges(picture)
    assert soft[:, 149:151].min() > 0.8
    assert soft[:, :120].max() < 0.01
    faint = picture.copy()
    faint[:, 150:, 0] = 75
    assert 0.05 < picture_soft_edges(faint)[:, 149:151].max() < 0.5

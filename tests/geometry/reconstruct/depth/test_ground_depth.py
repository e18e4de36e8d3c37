"""Depth and mesh of shots without parallax."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.depth.ground_depth import ground_depth, ground_quad
from geometry.scene import Plane
from geometry.trajectory import CameraPath

GROUND = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
LENS = Camera(100, 100, 50, 40, (100, 80))
LEVEL = rigid.look_at((0, 1, 0), (0, 1, -1))


def test_a_level_camera_sees_the_ground_below_its_horizon():
    found = ground_depth(LENS, LEVEL, GROUND)
    # Half way down the lower half, 20.5 px under the horizon: z = height * f / 20.5.
    assert found.depth[60, 10] == pytest.approx(100 / 20.5)
    assert (found.depth[:40] == 0).all() and (found.confidence[:40] == 0).all()
    assert (found.confidence[found.depth > 0] == np.float32(0.2)).all()
    # The row just under the horizon meets the ground 200 heights away: too far to say.
    assert (found.depth[40] == 0).all()


def test_what_moves_has_no_ground_depth():
    moving = np.zeros((80, 100), bool)
    moving[50:70, 20:30] = True
    found = ground_depth(LENS, LEVEL, GROUND, moving)
    assert (found.depth[moving] == 0).all() and (found.confidence[moving] == 0).all()
    assert found.depth[60, 35] > 0


def test_a_camera_under_the_ground_is_refused():
    with pytest.raises(ValueError, match="ground: expected below the camera"):
        ground_depth(LENS, rigid.look_at((0, -1, 0), (0, -1, -1)), GROUND)


def test_the_quad_lies_in_the_ground_faces_up_and_covers_what_is_seen():
    pose = rigid.look_at((0, 1, 0), (0, 0.5, -1))
    path = CameraPath((0, 1), (LENS,) * 2, np.stack([pose, rigid.look_at((0, 1, 0), (0.8, 0.5, -1))]))
    mesh = ground_quad(path, GROUND)
    np.testing.assert_allclose(mesh.vertices[:, 1], 0, atol=1e-9)
    a, b, c = mesh.vertices[mesh.faces[0]]
    assert np.cross(b - a, c - a)[1] > 0
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    for frame in path.frames:
        depth = ground_depth(LENS, path.pose(frame), GROUND).depth
        y, x = np.nonzero(depth > 0)
        points = LENS.rays_from_px(np.stack([x, y], -1) + 0.5) * depth[y, x, None]
        points = rigid.transform(rigid.inverse(path.pose(frame)), points[np.linalg.norm(points, axis=1) < 25])
        assert (points[:, [0, 2]] >= low[[0, 2]]).all() and (points[:, [0, 2]] <= high[[0, 2]]).all()
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 60


def test_a_camera_that_looks_at_the_sky_gives_no_quad():
    pose = rigid.look_at((0, 1, 0), (0, 3, -1))
    assert ground_quad(CameraPath((0,), (LENS,), pose[None]), GROUND) is None

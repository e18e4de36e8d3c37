"""Up, ground and metres."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.errors import DistanceNotSeen
from geometry.reconstruct.ground import camera_up, find_ground, world_y_up
from geometry.reconstruct.scale import (
    scale_from_camera_height,
    scale_from_distance,
    scaled_plane,
    scaled_points,
    surface_point,
)
from geometry.scene import DepthMap, Plane, SparsePoints
from geometry.trajectory import CameraPath

CAMERA = Camera(100, 100, 50, 40, (100, 80))


def walk(count: int = 9) -> CameraPath:
    """1.5 over the floor, looking down a little, turning."""
    eyes = [np.array([0.1 * i, 1.5, 2.0]) for i in range(count)]
    poses = [rigid.look_at(eye, np.array([0.3 * i - 1, 0.3, -2.0])) for i, eye in enumerate(eyes)]
    return CameraPath(tuple(range(count)), (CAMERA,) * count, np.stack(poses))


def floor_table_wall(rng: np.random.Generator) -> np.ndarray:
    floor = rng.uniform([-3, 0, -5], [3, 0, 1], (300, 3))
    table = rng.uniform([-1, 0.8, -3], [1, 0.8, -2], (400, 3))
    wall = rng.uniform([-3, 0, -5], [3, 3, -5], (300, 3))
    return np.concatenate([floor, table, wall, rng.uniform(-3, 3, (60, 3))]) + rng.normal(scale=0.004, size=(1060, 3))


@pytest.mark.parametrize("turn_deg", [0.0, 70.0, 180.0])
def test_ground_is_the_floor_and_not_the_larger_table(turn_deg):
    rng = np.random.default_rng(5)
    up = [np.sin(np.deg2rad(turn_deg)), np.cos(np.deg2rad(turn_deg)), 0.1]
    tilt = rigid.rigid(rigid.rotation_between([0, 1, 0], up), np.array([1.0, 2.0, 3.0]))
    found = find_ground(walk().in_world(tilt), rigid.transform(tilt, floor_table_wall(rng)), seed=1)
    assert np.rad2deg(np.arccos(min(1.0, found.up @ tilt[:3, :3] @ [0, 1, 0]))) < 0.3
    assert found.plane is not None
    assert abs(found.plane.distance(tilt[:3, 3])) < 0.01  # the old origin lies on the floor
    np.testing.assert_allclose(world_y_up(found)[:3, :3] @ found.up, [0, 1, 0], atol=1e-9)


def test_without_points_up_comes_from_the_cameras():
    found = find_ground(walk(), np.zeros((0, 3)))
    assert found.plane is None
    assert np.rad2deg(np.arccos(found.up @ [0, 1, 0])) < 2.5


def test_camera_up_of_a_pitched_camera_that_turns():
    poses = [rigid.look_at([0, 3, 0], [np.sin(a), 0, -np.cos(a)]) for a in np.linspace(-0.6, 0.6, 7)]
    path = CameraPath(tuple(range(7)), (CAMERA,) * 7, np.stack(poses))
    np.testing.assert_allclose(camera_up(path), [0, 1, 0], atol=0.02)


def test_scale_from_distance():
    assert scale_from_distance(np.zeros(3), np.array([0, 3, 4]), 10.0) == pytest.approx(2.0)
    with pytest.raises(DistanceNotSeen):
        scale_from_distance(np.ones(3), np.ones(3), 2.0)


def test_scale_from_camera_height():
    ground = Plane(np.array([0.0, 1.0, 0.0]), -0.5)
    assert scale_from_camera_height(walk(), ground, 1.0) == pytest.approx(0.5)
    with pytest.raises(DistanceNotSeen, match="above"):
        scale_from_camera_height(walk(), Plane(np.array([0.0, 1.0, 0.0]), 9.0), 1.0)
    with pytest.raises(DistanceNotSeen, match="no ground"):
        scale_from_camera_height(walk(), None, 1.0)


def test_surface_point_and_its_refusals():
    path = CameraPath((7,), (CAMERA,), np.eye(4)[None])
    depth = np.full((80, 100), 2.0, np.float32)
    depth[:, :20] = 0
    known = DepthMap(depth, np.ones_like(depth))
    np.testing.assert_allclose(surface_point(path, known, 7, (60.0, 40.0)), [0.2, 0, 2], atol=1e-9)
    with pytest.raises(DistanceNotSeen, match="no depth"):
        surface_point(path, known, 7, (5.0, 40.0))
    with pytest.raises(DistanceNotSeen, match="outside"):
        surface_point(path, known, 7, (100.0, 40.0))


def test_everything_grows_by_the_same_factor():
    points = SparsePoints(np.array([[1.0, 2, 3]]), np.ones(1), np.ones(1))
    assert scaled_points(points, 2.0).xyz.tolist() == [[2, 4, 6]]
    assert scaled_plane(Plane(np.array([0.0, 1, 0]), 1.5), 2.0).offset == 3.0

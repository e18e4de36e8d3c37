"""Objects that move: along a user's path on their support, and with a stiff thing that carries them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.placement import PathKey, path_on_support, place
from geometry.scene import Placement, Plane, RigidTrack
from geometry.trajectory import CameraPath

FLOOR = Plane(np.array([0.0, 1.0, 0.0]), 0.5)
CAMERA = Camera(400.0, 400.0, 200.0, 150.0, (400, 300))


@pytest.fixture
def cameras() -> CameraPath:
    eyes = [(0.02 * i, 2.0, 5.0) for i in range(21)]
    poses = np.stack([rigid.look_at(eye, (0, 0.5, 0)) for eye in eyes])
    return CameraPath(tuple(range(10, 31)), (CAMERA,) * 21, poses)


@pytest.fixture
def placed(cameras: CameraPath) -> Placement:
    anchor = np.array([0.0, 0.5, 0.0])
    centre = rigid.inverse(cameras.pose(14))[:3, 3]
    return place(frame=14, anchor=anchor, support=FLOOR, camera_centre=centre, yaw=0.3, scale=2.0,
                 base_centre=np.zeros(3))


def test_the_base_passes_through_the_keys_and_stays_on_the_floor(cameras: CameraPath, placed: Placement) -> None:
    keys = (PathKey(10, (150, 160), 0.0), PathKey(24, (260, 190), np.pi / 2))
    track = path_on_support(placed, keys, cameras)
    for key in keys:
        base = rigid.transform(track.at(key.frame), placed.anchor)
        shown = cameras.camera(key.frame).px_from_cam(rigid.transform(cameras.pose(key.frame), base))
        np.testing.assert_allclose(shown, key.at, atol=1e-6)
    np.testing.assert_allclose(track.at(14), np.eye(4), atol=1e-12)
    bases = np.stack([rigid.transform(track.at(t), placed.anchor) for t in np.arange(10, 24, 0.5)])
    np.testing.assert_allclose(bases[:, 1], 0.5, atol=1e-4)
    turned = track.at(24)[:3, :3] @ np.array([0.0, 0, 1])
    np.testing.assert_allclose(turned, [1, 0, 0], atol=1e-9)  # counter-clockwise from above: +Z goes to +X


def test_before_the_first_and_after_the_last_key_it_rests(cameras: CameraPath, placed: Placement) -> None:
    track = path_on_support(placed, (PathKey(20, (250, 170), 0.0),), cameras)
    np.testing.assert_array_equal(track.at(3.5), track.at(14))
    np.testing.assert_allclose(track.at(29.5), track.at(20), atol=1e-12)


def test_a_path_never_overshoots_its_keys(cameras: CameraPath, placed: Placement) -> None:
    keys = (PathKey(16, (260, 170), 0.0), PathKey(30, (261, 170), 0.0))
    track = path_on_support(placed, keys, cameras)
    x = np.array([rigid.transform(track.at(t), placed.anchor)[0] for t in np.arange(14, 30.1, 0.25)])
    assert (np.diff(x) >= -1e-9).all()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (PathKey(14, (1, 1), 0), "key 14: expected a frame once"),
        (PathKey(99, (1, 1), 0), "key 99: expected a frame whose camera is known"),
        (PathKey(12, (200, -900), 0), "key 12: pixel 200,-900 does not show the surface"),
    ],
)
def test_bad_keys_are_named(cameras: CameraPath, placed: Placement, key: PathKey, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        path_on_support(placed, (key,), cameras)


def test_a_turning_support_between_frames_and_from_another_rest() -> None:
    turns = [Rotation.from_rotvec([0, a, 0]).as_matrix() for a in (0.0, 0.2, 0.4)]
    pivot = np.array([1.0, 0, -2])
    poses = np.stack([rigid.rigid(r, pivot - r @ pivot) for r in turns])
    track = RigidTrack(5, (5, 6, 7), poses)
    half = rigid.transform(track.at(6.5), pivot + np.array([0.1, 0, 0]))
    np.testing.assert_allclose(half, pivot + 0.1 * np.array([np.cos(0.3), 0, -np.sin(0.3)]), atol=0.012)
    again = track.relative_to(6)
    np.testing.assert_allclose(again.at(6), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(again.at(7) @ track.at(6), track.at(7), atol=1e-12)
    with pytest.raises(ValueError, match="frame: expected one of 5..7, got 9"):
        track.relative_to(9)


def test_a_moved_plane_holds_its_moved_points() -> None:
    motion = rigid.rigid(Rotation.from_rotvec([0.3, 0.1, -0.2]).as_matrix(), np.array([1.0, 2, 3]))
    on_floor = np.array([[0.0, 0.5, 0], [2, 0.5, 1], [-3, 0.5, 2]])
    moved = FLOOR.moved(motion)
    np.testing.assert_allclose(moved.distance(rigid.transform(motion, on_floor)), 0, atol=1e-12)
    assert moved.distance(rigid.transform(motion, np.array([0, 1.5, 0]))) == pytest.approx(1)

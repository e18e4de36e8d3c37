"""Pinned points in a world that fits on a page."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.pinned import POINTS, Drift, PinnedPoints, drift, pin
from geometry import rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath

LENS = Camera(100.0, 100.0, 50.0, 40.0, (100, 80))
FRAMES = tuple(range(10))


def sideways(step: float = 0.1) -> CameraPath:
    """Looking along +z at a wall 4 away; x grows by ``step`` a frame, a hundred times which over 4 is px."""
    poses = np.stack([rigid.rigid(np.eye(3), np.array([-step * f, 0.0, 0.0])) for f in FRAMES])
    return CameraPath(FRAMES, (LENS,) * len(FRAMES), poses)


def wall(frame: int) -> np.ndarray:
    return np.full(LENS.hw, 4.0, np.float32)


def points() -> PinnedPoints:
    return pin(sideways(), wall, 4, np.ones(LENS.hw, bool), seed=1)


def test_points_move_as_the_wall_does_and_leave_the_picture() -> None:
    found = points()
    assert found.reference == 4
    assert 0 < found.px.shape[1] <= POINTS
    steps = np.diff(found.px, axis=0)
    steps = steps[np.isfinite(steps).all(-1)]
    np.testing.assert_allclose(steps, np.broadcast_to([-2.5, 0], steps.shape), atol=1e-9)
    assert (found.seen == np.isfinite(found.px[..., 0])).all()
    assert found.run.sum(0).min() >= 8


def test_what_stands_before_a_point_hides_it() -> None:
    def with_post(frame: int) -> np.ndarray:
        depth = wall(frame)
        depth[:, 40:50] = 2.0
        return depth

    found = pin(sideways(), with_post, 4, np.ones(LENS.hw, bool), seed=1)
    on_the_wall = (found.px[4, :, 0] < 30) | (found.px[4, :, 0] > 60)
    behind = (found.px[..., 0] > 41) & (found.px[..., 0] < 49) & on_the_wall
    assert behind.any()
    assert not found.seen[behind].any()
    clear = np.minimum(np.abs(found.px[4, :, 0] - 40), np.abs(found.px[4, :, 0] - 50))
    assert clear.min() >= 3  # no point is taken at a depth edge


def test_the_run_ends_where_a_point_is_first_hidden() -> None:
    seen = np.array([[1, 0, 1], [1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1]], bool)
    found = PinnedPoints(FRAMES[:5], 2, np.zeros((5, 3, 2)), seen)
    expected = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    np.testing.assert_array_equal(found.run, expected)


def test_the_truth_does_not_drift_whatever_its_scale() -> None:
    assert drift(points(), sideways().in_world(np.eye(4), 7.0), on_the_ray=False).all.max() < 1e-6


def test_a_camera_that_slips_once_drifts_there_only() -> None:
    path = sideways()
    poses = path.camera_from_world.copy()
    poses[9, 0, 3] -= 0.02  # half a pixel at the wall
    found = drift(points(), CameraPath(path.frames, path.cameras, poses), on_the_ray=False)
    assert found.all.max() == pytest.approx(0.5, abs=0.15)
    assert np.median(found.all) < 0.1
    assert found.returned.size == 0


def test_on_the_ray_a_camera_that_travels_is_not_followed() -> None:
    still = CameraPath(FRAMES, (LENS,) * 10, np.tile(np.eye(4), (10, 1, 1)))
    found = drift(points(), still, on_the_ray=True)
    assert found.all.max() == pytest.approx(5 * 2.5)
    assert found.all.min() == 0


def test_a_lost_point_drifts_infinitely_and_an_unknown_reference_is_an_error() -> None:
    still = CameraPath(FRAMES, (LENS,) * 10, np.tile(np.eye(4), (10, 1, 1)))  # no parallax: nothing to triangulate
    assert np.isinf(drift(points(), still, on_the_ray=False).all).all()
    with pytest.raises(KeyError, match="frame 4 has no camera"):
        drift(points(), sideways().select([0, 1, 2, 3, 5]), on_the_ray=False)


def test_a_point_that_comes_back_counts_twice() -> None:
    seen = np.ones((10, 1), bool)
    seen[6:8] = False
    found = points()
    one = PinnedPoints(found.frames, 4, found.px[:, :1], seen)
    assert drift(one, sideways(), on_the_ray=False).returned.shape == (2,)
    assert Drift.joined([]).all.shape == (0,)

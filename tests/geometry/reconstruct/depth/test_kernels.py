"""The compiled comparison beside a plain one: OpenCV samples, numpy sums."""

import cv2
import numpy as np
import pytest

from geometry.camera import Camera
from geometry.reconstruct.depth.kernels import add_difference
from geometry.reconstruct.depth.pair import Pair

CAMERA = Camera(60.0, 60.0, 32.0, 24.0, (64, 48))
MOST = 25.0


def pair(shift: tuple[float, float, float]) -> Pair:
    pose = np.eye(4)
    pose[:3, 3] = shift
    return Pair.between(CAMERA, np.eye(4), CAMERA, pose)


def difference(q: np.ndarray, look: np.ndarray, seen: np.ndarray, by: Pair) -> np.ndarray:
    total = np.zeros(q.shape, np.float32)
    add_difference(total, q, look, seen, by.a, by.b, np.float32(MOST))
    return total


@pytest.mark.parametrize("shift", [(0.3, 0.0, 0.0), (-0.1, 0.2, 0.1), (0.0, 0.1, -0.4)])
def test_it_is_what_opencv_and_numpy_say(shift: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(5)
    look, seen = (cv2.GaussianBlur(rng.uniform(0, 60, (48, 64, 3)).astype(np.float32), (0, 0), 2) for _ in range(2))
    q = rng.uniform(0.1, 1.0, (48, 64)).astype(np.float32)
    by = pair(shift)
    x, y = by.source_px(q)
    inside = (x > 0.51) & (y > 0.51) & (x < 63.49) & (y < 47.49)
    outside = (x < 0.49) | (y < 0.49) | (x > 63.51) | (y > 47.51)
    plain = np.minimum(np.abs(by.sample(seen, q) - look).sum(-1), MOST)
    ours = difference(q, look, seen, by)
    assert inside.mean() > 0.5 and outside.any()
    np.testing.assert_allclose(ours[inside], plain[inside], atol=0.1)  # OpenCV samples at 1/32 px
    assert (ours[outside] == MOST).all()


def test_a_picture_beside_itself_is_alike_and_a_point_behind_the_camera_is_not() -> None:
    look = np.random.default_rng(1).uniform(0, 60, (48, 64, 3)).astype(np.float32)
    q = np.full((48, 64), 0.5, np.float32)
    assert np.abs(difference(q, look, look, pair((0, 0, 0)))[:-1, :-1]).max() < 1e-3
    assert (difference(q, look, look, pair((0, 0, -5.0))) == MOST).all()


def test_it_adds() -> None:
    look, seen = np.zeros((48, 64, 3), np.float32), np.full((48, 64, 3), 2, np.float32)
    total = np.ones((48, 64), np.float32)
    by = pair((0, 0, 0))
    add_difference(total, np.full((48, 64), 0.5, np.float32), look, seen, by.a, by.b, np.float32(MOST))
    assert total[20, 20] == pytest.approx(7.0)

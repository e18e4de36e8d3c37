"""The compiled loops beside plain ones, and beside cases worked out by hand."""

import cv2
import numpy as np
import pytest

from geometry.camera import Camera
from geometry.reconstruct.depth.kernels import add_difference, confirm, fuse_views, lower_median
from geometry.reconstruct.depth.pair import Pair, line_of

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


def flows_to(q: np.ndarray, pairs: list[Pair]) -> np.ndarray:
    """What flow would be if every pixel were at inverse depth ``q``."""
    y, x = np.mgrid[:48, :64].astype(np.float32) + np.float32(0.5)
    return np.stack([np.dstack([there[0] - x, there[1] - y]) for there in (p.source_px(q) for p in pairs)])


def fused(flows: np.ndarray, shifts: list[tuple[float, float, float]], usable: np.ndarray) -> np.ndarray:
    poses = [np.eye(4) for _ in shifts]
    for pose, shift in zip(poses, shifts, strict=True):
        pose[:3, 3] = shift
    a, b = (np.stack(p).astype(np.float32) for p in zip(*(line_of(CAMERA, CAMERA, p) for p in poses), strict=True))
    gx, gy = np.full((48, 64), 2, np.float32), np.full((48, 64), 3, np.float32)
    return fuse_views(flows, a, b, usable, gx, gy, (0.01, 10.0), 0.02)


def test_fused_flows_outvote_a_wrong_one_and_what_is_not_usable() -> None:
    shifts = [(0.3, 0.0, 0.0), (-0.2, 0.0, 0.0), (0.0, 0.25, 0.0), (0.1, 0.1, 0.0)]
    truth = np.tile(np.linspace(0.2, 0.4, 64, dtype=np.float32), (48, 1))
    flows = flows_to(truth, [pair(shift) for shift in shifts])
    flows[1, :, :32, 0] += 1.0
    usable = np.ones((4, 48, 64), bool)
    usable[3, 30:] = False
    q, total, spread2, agreeing, slopes2 = fused(flows, shifts, usable)
    inner = np.s_[20:30, 20:44]
    np.testing.assert_allclose(q[inner], truth[inner], rtol=5e-3)
    np.testing.assert_array_equal(agreeing[20:28, 34:44], 4)
    np.testing.assert_array_equal(agreeing[20:28, 20:30], 3)  # without the wrong one
    np.testing.assert_array_equal(agreeing[32, 34:44], 3)
    # 60 px focal length: a view .3 to the side moves 18 px per unit of q, and so on.
    np.testing.assert_allclose(total[24, 40], 18**2 + 12**2 + 15**2 + 72, rtol=1e-2)
    assert spread2[24, 40] < 1e-8 and spread2[24, 24] > 1e-6
    # The slope along x is 2, along y 3, along the diagonal 5 / sqrt 2.
    np.testing.assert_allclose(slopes2[24, 40], (4 + 4 + 9 + 12.5) / 4, rtol=1e-4)


def test_nothing_is_fused_where_no_view_shows_the_pixel_or_none_matches() -> None:
    shifts = [(0.3, 0.0, 0.0), (-0.2, 0.0, 0.0)]
    flows = flows_to(np.full((48, 64), 0.3, np.float32), [pair(shift) for shift in shifts])
    no_match = flows + np.array([0, 9], np.float32)  # 9 px off the epipolar lines, which are level
    none, every = np.zeros((2, 48, 64), bool), np.ones((2, 48, 64), bool)
    for found in (fused(flows, shifts, none), fused(no_match, shifts, every)):
        assert (found[:4] == 0).all() and np.isfinite(found[4]).all()


def test_frames_confirm_what_they_see_and_not_what_they_do_not() -> None:
    # The other camera stands 1 farther back: what is at 4 here is at 5 there.
    by = pair((0.0, 0.0, 1.0))
    q = np.full((48, 64), 0.25, np.float32)
    theirs = np.full((48, 64), 1 / 5, np.float32)
    theirs[:, :20] = 1 / 3  # something before it: at 2 here
    theirs[:, 44:] = 1 / 7  # something behind: it would be seen through
    theirs[:8] = 0  # unknown
    back, votes, seen = (np.zeros((48, 64), np.float32) for _ in range(3))
    confirm(back, votes, seen, q, theirs, np.full((48, 64), 0.5, np.float32), by.a, by.b, 0.02)
    np.testing.assert_allclose(back[24, 28:36], 0.25, rtol=1e-5)
    assert np.isnan(back[24, 4]) and np.isnan(back[24, 60]) and np.isnan(back[2]).all()
    np.testing.assert_allclose([votes[24, c] for c in (4, 32, 60)], [0, 0.3 + 0.7 * 0.5, 0])
    assert [seen[24, c] for c in (4, 32, 60)] == [0, 1, 1] and not seen[2].any()


def test_the_lower_median_leaves_nan_out() -> None:
    stack = np.array([[3, 1], [1, np.nan], [np.nan, 5], [2, np.nan]], np.float32)[:, None]
    np.testing.assert_array_equal(lower_median(stack), [[2, 1]])

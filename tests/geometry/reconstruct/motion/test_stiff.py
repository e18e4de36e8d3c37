"""Stiff things among what stands still: found by long tracks, and told apart pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.reconstruct.cameras.tracks import Tracks
from geometry.reconstruct.motion.correlate import Reference
from geometry.reconstruct.motion.stiff import StiffSettings, StiffVotes, stiff_votes
from geometry.reconstruct.motion.stiff_things import find_stiff_things, moving_tracks, still_error_px
from geometry.reconstruct.motion.still_world import Evidence, StillWorld
from tests.geometry.reconstruct.motion.test_movers import CAMERA, Turning, Unknown, cameras


def test_correlation_is_that_of_the_windows() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 255, (2, 20, 24, 3)).astype(np.uint8)
    b = ((a.astype(int) + b) // 2).astype(np.uint8)
    found = Reference.of(a, radius=2, noise=9.0).correlation(b)
    for y, x in ((10, 11), (0, 0), (19, 3)):  # inside, in a corner, at a border
        part = np.s_[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        p, q = (image[part].reshape(-1, 3).astype(float) for image in (a, b))
        p, q = p - p.mean(0), q - q.mean(0)
        both, own, other = ((m * n).sum() / len(p) for m, n in ((p, q), (p, p), (q, q)))
        assert found[y, x] == pytest.approx(both / np.sqrt((own + 9) * (other + 9)), abs=1e-4)


def test_light_takes_nothing_away() -> None:
    picture = np.random.default_rng(1).integers(60, 120, (16, 16, 3)).astype(np.uint8)
    reference = Reference.of(picture, radius=3, noise=1.0)
    np.testing.assert_allclose(reference.correlation(picture * 2), 1, atol=0.01)


def seen(points_of_frame, count: int) -> Tracks:
    """Tracks of (N, 3) world points, ``points_of_frame(i)``, as the test's cameras see them."""
    path = cameras(count, 0.8)
    xy = [CAMERA.px_from_cam(rigid.transform(path.pose(i), points_of_frame(i))) for i in range(count)]
    number = len(xy[0])
    frame, track = np.repeat(np.arange(count), number), np.tile(np.arange(number), count)
    return Tracks(frame, track, np.concatenate(xy), tuple(range(count)), CAMERA.wh)


def test_a_track_is_a_still_point_or_misses_it() -> None:
    still = np.array([[0.1, 0.2, 0.0], [-0.4, 0.5, -2.0], [30.0, 40.0, -9000.0]])  # the last is as good as infinity
    moving = np.array([[0.2, 0.3, 0.1], [0.0, 0.4, 0.2]])
    up = np.array([0, 0.02, 0])
    tracks = seen(lambda i: np.r_[still, moving + i * up], 12)
    error = still_error_px(tracks, cameras(12, 0.8))
    assert (error[:3] < 0.05).all() and (error[3:] > 1).all()
    assert moving_tracks(tracks, cameras(12, 0.8)).tolist() == [False, False, False, True, True]


def test_a_track_without_views_is_unknown() -> None:
    tracks = seen(lambda i: np.array([[0.1, 0.2, 0.0], [0.0, 0.1, 0.3]]), 6).keep(np.array([False, True]))
    error = still_error_px(tracks, cameras(6, 0.8))
    assert np.isnan(error[0]) and error[1] < 0.05


def test_a_slow_turn_is_found_and_every_pixel_of_it() -> None:
    box = Turning(cameras(12, 0.5), degrees=35)
    (thing,) = find_stiff_things(box, box.path, seed=0)
    rest, last = box.path.frames[0], box.path.frames[-1]
    turned = thing.pose(last)[:3, :3] @ thing.pose(rest)[:3, :3].T
    true = [box.path.pose(n) @ box.world_from_box[box.path.index(n)] for n in (rest, last)]
    off = rigid.rigid(turned @ (true[1][:3, :3] @ true[0][:3, :3].T).T, np.zeros(3))
    assert np.degrees(rigid.rotation_angle(off)) < 6  # tracks along contours creep; for masks it is enough

    world = StillWorld(box, box.path, Unknown(), "parallax", 480)
    votes = stiff_votes(world, thing, 6, StiffSettings())
    assert votes is not None
    mask, said = box.labels(6)[votes.box] > 0, votes.said.value * votes.said.weight
    assert (said[mask] > 0).mean() > 0.9
    assert (said[~mask] > 0.3).mean() < 0.15  # a window's reach beyond the contour

    still = Evidence(np.full(CAMERA.hw, -1, np.float32), np.ones(CAMERA.hw, np.float32))
    joined = votes.joined(still, StiffSettings(), here=True)
    assert (joined.value[votes.box][mask] > 0).mean() > 0.8
    outside = np.ones(CAMERA.hw, bool)
    outside[votes.box] = False
    assert (joined.value[outside] == -1).all()


def test_what_a_thing_says_of_the_frame_before_silences_flow_that_sees_nothing_move() -> None:
    """Three pixels: of the thing, in a window's reach of its contour, and beside it."""
    said = Evidence(np.float32([[1, 1, -1]]), np.float32([[3, 3, 3]]))
    votes = StiffVotes(np.s_[0:1, 0:3], said, np.array([[False, True, False]]), np.ones((1, 3), np.float32))
    for value, weight in ((-1, [0, 0.5, 0.5]), (1, [0.5, 0.5, 0.5])):
        flow = Evidence(np.full((1, 3), value, np.float32), np.full((1, 3), 0.5, np.float32))
        joined = votes.joined(flow, StiffSettings(), here=False)
        np.testing.assert_array_equal(joined.value, flow.value)
        np.testing.assert_allclose(joined.weight, [weight])

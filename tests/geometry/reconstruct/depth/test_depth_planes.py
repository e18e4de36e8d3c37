"""Large planes from points, and places seen through a frame."""

from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.depth.fill import Filler
from geometry.reconstruct.depth.framed import behind_planes, behind_rims
from geometry.reconstruct.depth.planes import find_planes, likely_planes, plane_q
from geometry.scene import Plane

RNG = np.random.default_rng(0)


def patch(origin, u, v, count):
    """Points spread over a parallelogram, with 2 mm of noise."""
    a, b = RNG.uniform(0, 1, (2, count, 1))
    return np.array(origin) + a * np.array(u) + b * np.array(v) + RNG.normal(0, 0.002, (count, 3))


def test_floor_wall_and_a_small_board_are_found_and_noise_is_not():
    points = np.concatenate([
        patch((-2, 0, -4), (4, 0, 0), (0, 0, 3), 400), patch((-2, 0, -4), (4, 0, 0), (0, 2, 0), 300),
        patch((0.2, 0.2, -2.5), (0.6, 0, 0.3), (0, 0.7, 0), 60), RNG.uniform((-2, 0, -5), (2, 4, -1), (150, 3))])
    found = find_planes(points, 4.0)
    floor, wall, board = (one.plane for one in found[:3])
    assert abs(floor.normal[1]) > 0.9999 and abs(floor.offset) < 0.005
    assert abs(wall.normal[2]) > 0.9999 and abs(abs(wall.offset) - 4) < 0.005
    assert abs(board.normal @ np.array([-0.3, 0, 0.6]) / np.hypot(0.3, 0.6)) > 0.99
    assert found[0].size == 1 and found[2].size < 0.3
    assert len(found) <= 5


def test_plane_q_literal():
    # A floor 1 under a level camera: the pixel 20.5 below the centre meets it at z = 100 / 20.5.
    camera = Camera(100, 100, 50, 40, (100, 80))
    pose = rigid.look_at((0, 1, 0), (0, 1, -1))
    q = plane_q(Plane(np.array([0.0, 1.0, 0.0]), 0.0), camera, pose)
    assert q[60, 7] == pytest.approx(20.5 / 100, rel=1e-6)
    assert (q[:40] == 0).all()


def test_a_region_that_knows_little_follows_the_plane_around_it():
    near, far = np.full((40, 60), 0.5, np.float32), np.full((40, 60), 0.2, np.float32)
    q, weight = near.copy(), np.ones((40, 60), np.float32)
    q[:, 40:] = 0.2
    q[10:20, 10:20], weight[10:20, 10:20] = 0.35, 0
    floor, wall = find_planes(patch((0, 0, 0), (1, 0, 0), (0, 1, 0), 200), 3.0) * 2
    guess = likely_planes((floor, wall), [near, far], q, np.zeros_like(q), weight, lambda x: x)[0]
    assert guess.q[15, 15] == np.float32(0.5) and guess.share[15, 15] > 0.9
    assert guess.q[15, 55] == np.float32(0.2) and guess.share[15, 55] > 0.9


def room_with_a_hole(y=slice(30, 70), x=slice(50, 90)):
    """Half-size inverse depth of a slanted wall with a deeper part."""
    wall = np.broadcast_to(np.linspace(0.3, 0.4, 160, dtype=np.float32), (100, 160)).copy()
    seen = wall.copy()
    seen[y, x] = 0.2
    return wall, seen


def test_a_mirror_in_a_wall_is_behind_its_plane_and_its_rim():
    wall, seen = room_with_a_hole()
    truth = seen < wall
    np.testing.assert_array_equal(behind_planes([wall], seen), truth)
    assert behind_rims(seen)[32:68, 52:88].all()
    assert not behind_rims(seen)[~truth].any()


def test_what_a_wall_has_on_one_side_only_is_not_seen_through_it():
    wall, seen = room_with_a_hole(slice(0, 100), slice(100, 160))
    assert not behind_planes([wall], seen).any()
    assert not behind_rims(seen).any()


def test_four_things_that_are_no_frame_hide_nothing():
    """Posts at unlike depths stand around a part of the background."""
    seen = np.full((100, 160), 0.2, np.float32)
    for part, q in (((slice(20, 80), slice(40, 46)), 0.3), ((slice(20, 80), slice(100, 106)), 0.35),
                    ((slice(14, 20), slice(40, 106)), 0.8), ((slice(80, 86), slice(40, 106)), 0.9)):
        seen[part] = q
    assert not behind_rims(seen).any()
    seen[seen > 0.2] = 0.4  # on one plane they are one
    assert behind_rims(seen)[25:75, 50:95].all()


def test_a_blank_region_takes_the_depth_of_what_is_farther():
    # A grey wall; what is known of it are a near post on the left of it and the far floor's edge on the right.
    picture = np.full((40, 60, 3), 128, np.uint8)
    q, weight = np.zeros((40, 60), np.float32), np.zeros((40, 60), np.float32)
    q[:, 2], weight[:, 2] = 1.0, 0.3
    q[:, 57], weight[:, 57] = 0.25, 0.3
    filler = Filler.of(picture, np.zeros((0, 2)), np.zeros(0), 0.5, 300.0, 3.0)
    filled = filler.fill(q, weight)
    assert filled[20, 30] == pytest.approx(0.25, abs=0.05)
    known = filler.known(weight)
    assert known[20, 57] > known[20, 45] > known[20, 30] > 0

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.moves import camera_path, parse_move
from geometry.plates.compose import Composer
from geometry.plates.safe_box import SafeBox, safe_box, uncovered_frames
from tests.geometry.plates.layer_stacks import at, layer, soft_disc, stack

HW = (90, 120)
WALL = stack(layer("wall", 3.0))  # 20 px are outpainted at left and right, 15 at top and bottom


def test_before_a_wall_the_box_is_as_wide_as_what_was_outpainted() -> None:
    box = safe_box(WALL, HW)
    back = -box.low[2]
    for sideways, canvas, half in ((0, 80, 59.5), (1, 60, 44.5)):
        for room in (-box.low[sideways], box.high[sideways]):
            widest = (canvas - half * (3 + back) / 3) / 50  # where the outermost pixel looks off the canvas
            assert 0.9 * widest - 0.02 < room <= widest
    assert back > 0.1
    assert box.high[2] == pytest.approx(0.8 * 3, rel=0.02)


def test_nothing_is_uncovered_inside_and_something_is_outside() -> None:
    layers = stack(layer("sky", 14), layer("disc", 12, alpha=soft_disc((70, 60), 20)))
    box, composer = safe_box(layers, HW), Composer(layers, HW)
    rng = np.random.default_rng(3)
    for _ in range(25):
        kept = rng.uniform(0, 1)
        offset = kept * np.where(rng.uniform(size=3) < 0.5, box.low, box.high)
        turn = Rotation.from_rotvec(rng.normal(size=3)).as_rotvec()
        turn *= np.radians(box.turn_deg) * (1 - kept) / np.linalg.norm(turn)
        rotation = Rotation.from_rotvec(turn).as_matrix()
        pose = rigid.rigid(rotation, -rotation @ offset)
        assert box.contains(pose)
        assert not composer.frame(layers.picture_camera, pose).uncovered.any()
    outside = at(*(1.15 * box.low))
    assert not box.contains(outside)
    assert composer.frame(layers.picture_camera, outside).uncovered.any()


def test_without_outpainting_only_forwards_is_safe() -> None:
    layers = stack(layer("wall", 3.0), picture=(0, 0, 160, 120))
    box = safe_box(layers, (120, 160))
    np.testing.assert_allclose([*box.low, *box.high[:2]], 0, atol=0.02)  # half a pixel
    assert box.high[2] > 1
    assert box.turn_deg < 0.2
    assert box.contains(at(z=1))
    assert not box.contains(at(x=0.1, z=1))


def test_a_hole_in_the_source_view_leaves_nothing_safe() -> None:
    box = safe_box(stack(layer("disc", 2, alpha=soft_disc((80, 60), 20))), HW)
    assert box.uncovered_px > 5000
    assert not box.contains(np.eye(4))


def test_turning_and_moving_share_the_room() -> None:
    box = SafeBox(np.array([-1.0, -1, -1]), np.array([1.0, 1, 2]), 4.0)
    two_degrees = rigid.rigid(Rotation.from_euler("Y", 2, degrees=True).as_matrix(), np.zeros(3))
    assert box.share(at(x=0.5)) == pytest.approx(0.5)
    assert box.share(at(x=0.5, z=1.5)) == pytest.approx(0.75)
    assert box.share(two_degrees) == pytest.approx(0.5)
    assert box.share(two_degrees @ at(y=-0.25)) == pytest.approx(0.75)


def test_frames_that_leave_the_box_are_named() -> None:
    there_and_back = parse_move("truck=right:1@10; locked@20")
    path = camera_path(there_and_back, WALL.picture_camera, 21, pivot_depth=3.0, easing="linear")
    composer = Composer(WALL, HW)
    truly = [f for f in path.frames if composer.frame(path.camera(f), path.pose(f)).uncovered.any()]
    named = uncovered_frames(WALL, path)
    assert truly == list(range(5, 16))  # 20 px = 0.4 units = frame 4
    assert set(truly) <= set(named)
    assert len(named) <= len(truly) + 2

"""Rims of floor round a mover, before a wall that a camera passes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
import pytest

from geometry.camera import Camera
from geometry.reconstruct.motion.still_looks import Looks, LooksSettings, without_rims
from geometry.reconstruct.motion.still_world import Evidence, StillWorld
from geometry.scene import DepthMap
from geometry.trajectory import CameraPath

WH, COUNT, STEP_PX = (160, 96), 13, 2
SIDE = 24
SETTINGS = LooksSettings(apart=(5, 6))


@dataclass(frozen=True)
class Wall:
    """A ``FrameSource``: a wall 2 units away slides by ``STEP_PX`` a frame; a square before it goes the other way."""

    texture: np.ndarray
    square: tuple[int, int, int] | None
    numbers: range = range(COUNT)
    rate: Fraction = Fraction(25)
    hw: tuple[int, int] = WH[::-1]

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        picture = self.texture[:, number * STEP_PX : number * STEP_PX + WH[0]].copy()
        if self.square is not None:
            picture[truth(number)] = self.square
        return picture

    read = linear = display


class Flat:
    def read(self, frame: int) -> DepthMap:
        return DepthMap(np.full(WH[::-1], 2, np.float32), np.ones(WH[::-1], np.float32))


def truth(number: int) -> np.ndarray:
    mask = np.zeros(WH[::-1], bool)
    left = 20 + 6 * number
    mask[30 : 30 + SIDE, left : left + SIDE] = True
    return mask


def world(texture: np.ndarray, square: tuple[int, int, int] | None) -> StillWorld:
    camera = Camera(100.0, 100.0, WH[0] / 2, WH[1] / 2, WH)
    poses = np.repeat(np.eye(4)[None], COUNT, 0)
    poses[:, 0, 3] = -np.arange(COUNT) * STEP_PX * 2 / 100  # one unit at depth 2 is 50 px
    path = CameraPath(tuple(range(COUNT)), (camera,) * COUNT, poses)
    return StillWorld(Wall(texture, square), path, Flat(), "parallax", WH[0])


@pytest.fixture(scope="module")
def rough() -> np.ndarray:
    noise = np.random.default_rng(2).uniform(0, 255, (WH[1], WH[0] + COUNT * STEP_PX, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def softly(mask: np.ndarray, grown_px: int) -> np.ndarray:
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((2 * grown_px + 1,) * 2, np.uint8))
    return np.where(wide > 0, np.float32(0.7), np.float32(-0.7))


def j(soft: np.ndarray, mask: np.ndarray) -> float:
    return ((soft > 0) & mask).sum() / ((soft > 0) | mask).sum()


def test_the_still_world_looks_the_same_from_elsewhere_and_what_moves_does_not(rough: np.ndarray) -> None:
    share = Looks.of(world(rough, (250, 20, 20)), 6, SETTINGS).alike
    wall = cv2.dilate(truth(6).astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    seen_by_all = np.zeros_like(wall)
    seen_by_all[:, 20:-20] = True
    hidden_elsewhere = np.any([np.roll(truth(6 + d), -d * STEP_PX, 1) for d in (-5, 5)], axis=0)
    assert np.median(share[wall & seen_by_all & ~hidden_elsewhere]) > 0.95
    assert share[truth(6)].mean() < 0.2


def test_a_rim_of_the_wall_is_cut_off(rough: np.ndarray) -> None:
    wide = softly(truth(6), 4)
    cut = without_rims(wide, Looks.of(world(rough, (250, 20, 20)), 6, SETTINGS).alike, SETTINGS)
    assert j(wide, truth(6)) < 0.6
    assert j(cut, truth(6)) > 0.85


def test_before_a_wall_of_its_own_colour_a_thing_keeps_its_mask() -> None:
    plain = np.full((WH[1], WH[0] + COUNT * STEP_PX, 3), 120, np.uint8)
    wide = softly(truth(6), 4)
    alike = Looks.of(world(plain, (120, 122, 118)), 6, SETTINGS).alike
    np.testing.assert_array_equal(without_rims(wide, alike, SETTINGS), wide)


def test_nothing_moving_stays_so() -> None:
    nothing = np.full(WH[::-1], -1, np.float32)
    assert without_rims(nothing, np.ones(WH[::-1], np.float32), SETTINGS) is nothing


def test_what_looks_like_no_other_frame_moves_for_certain_where_flow_says_so(rough: np.ndarray) -> None:
    seen = world(rough, (250, 20, 20))
    looks = Looks.of(seen, 6, SETTINGS)
    inside = cv2.erode(truth(6).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert looks.unlike[inside].mean() > 0.95
    flow = Evidence(np.full(WH[::-1], 0.7, np.float32), np.full(WH[::-1], 0.3, np.float32))
    both = looks.joined(flow, seen.inverse_depth(6), SETTINGS)
    assert both.weight[inside].mean() > 0.9
    far = cv2.dilate(truth(6).astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    far[:, :50] = far[:, -50:] = False
    assert np.median(both.weight[far]) == np.float32(0.3)


def test_the_wall_in_less_light_is_not_unlike_itself(rough: np.ndarray) -> None:
    seen = world(rough, None)
    lit = seen.picture(6)
    seen._pictures[6] = (lit * 0.6).astype(np.uint8)
    assert Looks.of(seen, 6, SETTINGS).unlike[10:-10, 30:-30].mean() < 0.02

"""Cuts, blur, standing cameras, and pictures that show nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest

from geometry.reconstruct.cameras.look import look_at
from geometry.reconstruct.errors import HasCuts, SizeChanged, TooFewFeatures

WH = (320, 192)


@dataclass(frozen=True)
class Pictures:
    """A clip of given pictures."""

    pictures: list
    hw: tuple[int, int] = WH[::-1]
    numbers: range = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "numbers", range(len(self.pictures)))

    def display(self, number, wh=None):
        return self.pictures[number]


def looked(pictures):
    clip = Pictures(pictures)
    return look_at(clip, clip.numbers, WH)


@pytest.fixture(scope="module")
def arc_pictures(arc_clip):
    return [arc_clip.display(n) for n in range(100, 110)]


def texture(seed):
    noise = np.random.default_rng(seed).integers(0, 255, (48, 80, 3), np.uint8)
    return cv2.resize(noise, WH, interpolation=cv2.INTER_CUBIC)


def test_a_hard_cut_is_found_and_refused_with_the_ranges(arc_pictures):
    other = [np.roll(texture(1), 2 * i, axis=1) for i in range(6)]
    look = looked(arc_pictures + other)
    assert look.cuts == (10,)
    with pytest.raises(HasCuts, match="frame 10") as caught:
        look.refuse_cuts()
    assert caught.value.cuts == (10,)
    assert "--range 0-9 or 10-15" in caught.value.hint


def test_a_moving_camera_a_flash_and_a_whip_pan_are_no_cuts(arc_pictures):
    flash = [*arc_pictures[:5], np.full_like(arc_pictures[0], 250), *arc_pictures[5:]]
    whip = [*arc_pictures[:5], *(np.roll(texture(2), 97 * i, axis=1) for i in range(5)), *arc_pictures[5:]]
    for pictures in (arc_pictures, flash, whip):
        assert looked(pictures).cuts == ()


def test_a_blurred_frame_is_told(arc_pictures):
    pictures = list(arc_pictures)
    pictures[4] = cv2.GaussianBlur(pictures[4], (0, 0), 2.5)
    assert looked(pictures).blurred == (4,)


@pytest.mark.parametrize("width", [60, 140])
def test_a_camera_stands_still_whoever_walks_through(width):
    pictures = []
    for i in range(24):
        picture = texture(3)
        left = int((320 - width) * i / 23)
        picture[30:, left : left + width] = np.roll(texture(4), 11 * i, axis=0)[30:, :width]
        pictures.append(picture)
    look = looked(pictures)
    assert look.stands_still
    assert look.motion_px < 0.1
    assert look.moving_share == pytest.approx(width / 320 * 162 / 192, abs=0.12)


def test_a_travelling_and_a_drifting_camera_do_not_stand_still(arc_pictures):
    assert not looked(arc_pictures).stands_still
    assert not looked([np.roll(texture(3), i // 2, axis=1) for i in range(24)]).stands_still


@pytest.mark.parametrize("value", [0, 255])
def test_one_colour_is_refused(value):
    with pytest.raises(TooFewFeatures, match="one even colour"):
        looked([np.full((192, 320, 3), value, np.uint8)] * 6)


def test_a_size_that_changes_is_refused_with_the_frame(arc_pictures):
    with pytest.raises(SizeChanged, match="frame 3: expected a picture of 320x192, got 160x96"):
        looked([*arc_pictures[:3], arc_pictures[3][::2, ::2]])

"""Kinds of shot, on clips that are one of each."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.reconstruct.errors import TooFewFeatures, TooFewFrames
from geometry.reconstruct.shot import analyse_shot
from geometry.reconstruct.tracks import TrackSettings, track_clip

SETTINGS = TrackSettings(points=600)


def analysed(clip):
    return analyse_shot(track_clip(clip, settings=SETTINGS))


def test_travelling_camera_is_parallax(arc_clip):
    shot = analysed(arc_clip)
    assert shot.kind == "parallax"
    assert shot.residual_px > 1.8


def test_turning_camera_is_a_pan_with_its_focal_length(pan_clip):
    shot = analysed(pan_clip)
    assert shot.kind == "pan"
    assert shot.residual_px < 0.2
    assert shot.focal_px == pytest.approx(0.85 * 320, rel=0.03)


def test_standing_camera_is_locked_although_something_moves(locked_clip):
    shot = analysed(locked_clip)
    assert shot.kind == "locked"
    assert shot.motion_px < 0.1


class Blank:
    hw = (96, 160)
    numbers = range(6)

    def display(self, number, wh=None):
        return np.zeros((96, 160, 3), np.uint8)


def test_black_clip_has_too_few_features():
    with pytest.raises(TooFewFeatures) as caught:
        analysed(Blank())
    assert caught.value.hint


def test_one_frame_is_too_few(arc_clip):
    with pytest.raises(TooFewFrames):
        analyse_shot(track_clip(arc_clip, frames=[100], settings=SETTINGS))

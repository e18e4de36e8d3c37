"""Kinds of shot, on clips that are one of each, with and without movers."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from geometry.reconstruct.cameras.disagree import moving_tracks
from geometry.reconstruct.cameras.keyframes import choose_keyframes
from geometry.reconstruct.cameras.look import look_at
from geometry.reconstruct.cameras.shot import analyse_shot
from geometry.reconstruct.cameras.tracks import TrackSettings, track_clip
from geometry.reconstruct.cameras.turns import pair_up
from geometry.reconstruct.errors import TooFewFeatures, TooFewFrames

SETTINGS = TrackSettings(points=600)
WH = (320, 192)


@dataclass(frozen=True)
class Followed:
    """A clip with a textured thing in front of it that stays in the middle of the picture and sways."""

    clip: object
    width: int

    @property
    def numbers(self):
        return self.clip.numbers

    @property
    def hw(self):
        return self.clip.hw

    def display(self, number, wh=None):
        picture = self.clip.display(number, wh).copy()
        noise = np.random.default_rng(8).integers(0, 255, (60, 60, 3), np.uint8)
        thing = cv2.resize(noise, (240, 240), interpolation=cv2.INTER_CUBIC)
        sway = number % 50
        left = 100 + int(6 * np.sin(0.9 * sway))
        picture[20:, left : left + self.width] = np.roll(thing, 2 * sway, axis=0)[:172, : self.width]
        return picture


def analysed(clip):
    return analyse_shot(track_clip(clip, settings=SETTINGS), look_at(clip, clip.numbers, WH))


def test_travelling_camera_is_parallax(arc_clip):
    shot = analysed(arc_clip)
    assert shot.kind == "parallax"
    assert shot.residual_px > 1.0
    assert shot.moving_share < 0.05
    assert shot.cuts == () and shot.blurred_share == 0


def test_turning_camera_is_a_pan_with_its_focal_length(pan_clip):
    shot = analysed(pan_clip)
    assert shot.kind == "pan"
    assert shot.residual_px < 0.2
    assert shot.focal_px == pytest.approx(0.85 * 320, rel=0.03)
    assert not shot.zooms


def test_what_a_pan_follows_does_not_decide(pan_clip):
    shot = analysed(Followed(pan_clip, 110))
    assert shot.kind == "pan"
    assert shot.residual_px < 0.4
    assert 0.15 < shot.moving_share < 0.6


def test_standing_camera_is_locked_although_something_moves(locked_clip):
    shot = analysed(locked_clip)
    assert shot.kind == "locked"
    assert shot.motion_px < 0.1
    assert analysed(Followed(locked_clip, 130)).kind == "locked"


def test_movers_among_parallax_are_the_tracks_that_disagree(arc_clip):
    tracks = track_clip(Followed(arc_clip, 60), settings=SETTINGS)
    keys = [tracks.frames[i] for i in choose_keyframes(tracks)]
    moving = moving_tracks(pair_up(tracks, keys), int(tracks.track.max()) + 1)
    inside = (tracks.xy[:, 0] > 112) & (tracks.xy[:, 0] < 148) & (tracks.xy[:, 1] > 30)
    on_thing = np.bincount(tracks.track, inside) == tracks.lengths()
    long = tracks.lengths() > 10
    assert moving[on_thing & long].mean() > 0.8
    assert moving[~on_thing & long].mean() < 0.15


class Blank:
    hw = (96, 160)
    numbers = range(6)

    def display(self, number, wh=None):
        return np.zeros((96, 160, 3), np.uint8)


def test_black_clip_has_too_few_features():
    with pytest.raises(TooFewFeatures) as caught:
        analyse_shot(track_clip(Blank(), settings=SETTINGS))
    assert caught.value.hint


def test_one_frame_is_too_few(arc_clip):
    with pytest.raises(TooFewFrames):
        analyse_shot(track_clip(arc_clip, frames=[100], settings=SETTINGS))

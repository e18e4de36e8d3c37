"""What kind of shot a clip is: locked off, a turn on the spot (pan), or one with parallax.

A camera that stands still is recognised by what stays in its place (``look.py``). For any other, rotations and focal
length are fitted to the background's tracks, and the *residual is the classifier*: a fraction of a pixel when the
camera only turned, several pixels when it travelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from geometry.reconstruct.cameras.disagree import moving_tracks
from geometry.reconstruct.cameras.keyframes import choose_keyframes
from geometry.reconstruct.cameras.look import Look
from geometry.reconstruct.cameras.tracks import Tracks
from geometry.reconstruct.cameras.turns import (
    Pair,
    Turns,
    background_tracks,
    fit_turns,
    pair_up,
    thinned,
    transfer_errors,
)
from geometry.reconstruct.errors import TooFewFeatures, TooFewFrames

Array = np.ndarray
Kind = Literal["locked", "pan", "parallax"]

PAN_PX = 0.6
PAN_SHARE = 0.03  # a lens's distortion leaves a pan some 1 % of the motion; parallax leaves 20 % and more
SURE_PX = 0.35  # on the background alone, when movers cover most of the picture
BACKGROUND_SHARE = 0.35  # of the tracks that a pan must explain; the rest may be movers
LONG_LENS, LONG_SHARE = 4.0, 0.6  # a flat wall that passes looks like a pan of a very long lens: demand more then
ZOOM_GAIN = 0.7  # a zoom is believed when it leaves at most so much of the residual
MAX_KEYFRAMES = 25
TRACKS_COMPARED = 300
FLAT_SHARE = 0.3  # of the points of two frames that one homography must explain in a pan


@dataclass(frozen=True)
class ShotAnalysis:
    """What the shot is, and what in it makes work hard."""

    kind: Kind
    motion_px: float  # median displacement of the background over its tracks' shared life
    residual_px: float  # median, of the best rotation-only explanation of the background; all motion without one
    focal_px: float | None  # of that explanation; None where nothing turned. A guess when there is parallax
    background_share: float  # of the tracks that the explanation covers (locked: of the corners that stay)
    moving_share: float  # of the picture that moves by itself, as far as one can tell without a solve
    zooms: bool = False  # a pan whose focal length changes
    blurred_share: float = 0.0  # of the frames that are much less sharp than those around them
    cuts: tuple[int, ...] = ()  # frames that begin a new shot


def analyse_still(look: Look) -> ShotAnalysis | None:
    """The analysis of a camera that stands still; None for any other."""
    if not look.stands_still:
        return None
    blurred = len(look.blurred) / len(look.frames)
    return ShotAnalysis("locked", look.motion_px, look.motion_px, None, float(np.median(look.stillness)),
                        look.moving_share, blurred_share=blurred, cuts=look.cuts)


def analyse_shot(tracks: Tracks, look: Look | None = None) -> ShotAnalysis:
    """Of tracks through a clip; ``look`` adds what pictures tell.

    Raises ``TooFewFrames`` for one frame, ``TooFewFeatures`` where too little can be followed.
    """
    if len(tracks.frames) < 2:
        raise TooFewFrames(f"the clip has {len(tracks.frames)} frame", "At least 2 frames are needed, better 20")
    still = analyse_still(look) if look is not None else None
    if still is not None:
        return still
    keys = [tracks.frames[i] for i in choose_keyframes(tracks, most=MAX_KEYFRAMES)]
    pairs = pair_up(tracks, keys)
    if len({pair.a for pair in pairs}) < 0.5 * (len(keys) - 1):
        raise TooFewFeatures(
            "too little of the picture can be followed from frame to frame",
            "Use frames that are sharp, lit, and show texture; trim cuts, fades and whip pans off the clip",
        )
    blurred = len(look.blurred) / len(look.frames) if look else 0.0
    explained = _explained(tracks, keys, pairs)
    kind: Kind = "pan" if explained.is_pan(max(tracks.wh)) else "parallax"
    count = int(tracks.track.max(initial=-1)) + 1
    moving = 1 - explained.share if kind == "pan" else _share(moving_tracks(pairs, count), pairs)
    focal = explained.turns.focal_px if explained.turns else None
    return ShotAnalysis(kind, explained.motion_px, explained.residual_px, focal, explained.share, moving,
                        kind == "pan" and explained.zooms, blurred, look.cuts if look else ())


@dataclass(frozen=True)
class _Explained:
    """How far rotations explain the pairs of frames that lie farthest from each other."""

    turns: Turns | None
    motion_px: float
    all_px: float  # median of all tracks
    residual_px: float  # median of the background's
    share: float
    zooms: bool

    def is_pan(self, side_px: int) -> bool:
        """Rotation explains the picture as a whole, or a large part of it so well that the rest must be movers."""
        if self.turns is None:
            return False
        enough = BACKGROUND_SHARE if self.turns.focal_px < LONG_LENS * side_px else LONG_SHARE
        whole = self.all_px < PAN_PX or self.all_px < min(3 * PAN_PX, PAN_SHARE * self.motion_px)
        return self.share >= enough and (whole or self.residual_px < SURE_PX)


def _explained(tracks: Tracks, keys: Sequence[int], pairs: Sequence[Pair]) -> _Explained:
    plain = _explanation(tracks, keys, pairs, zoom=False)
    if plain.residual_px < PAN_PX:
        return plain
    zoomed = _explanation(tracks, keys, pairs, zoom=True)
    return zoomed if zoomed.residual_px < ZOOM_GAIN * plain.residual_px and zoomed.is_pan(max(tracks.wh)) else plain


def _explanation(tracks: Tracks, keys: Sequence[int], pairs: Sequence[Pair], *, zoom: bool) -> _Explained:
    far = list({pair.a: pair for pair in pairs}.values())  # the farthest partner of each frame comes last
    motion = float(np.median([pair.motion_px for pair in far]))
    flat = np.median([pair.inside[thinned(pair.xy_a)].mean() for pair in far])
    turns = fit_turns(tracks, keys, pairs, zoom=zoom, most=TRACKS_COMPARED) if flat > FLAT_SHARE else None
    if turns is None:
        return _Explained(None, motion, motion, motion, 0.0, zoom)
    errors = transfer_errors(turns, far)
    background = background_tracks(pairs, int(tracks.track.max(initial=-1)) + 1)
    inside = np.concatenate([e[background[p.ids]] for e, p in zip(errors, far, strict=True)])
    residual = float(np.median(inside)) if len(inside) else motion
    every = np.concatenate([e[thinned(p.xy_a)] for e, p in zip(errors, far, strict=True)])
    close = every < max(2 * PAN_PX, min(6 * PAN_PX, 2 * PAN_SHARE * motion))
    return _Explained(turns, motion, float(np.median(every)), residual, float(close.mean()), zoom)


def _share(chosen: Array, pairs: Sequence[Pair]) -> float:
    """Of the tracks that pairs of frames share, how many are in ``chosen``."""
    return float(np.mean(np.concatenate([chosen[pair.ids] for pair in pairs])))

"""A first look at a clip, one small picture at a time: cuts, blur, and whether the camera stands still.

A *hard cut* is one step between two frames where next to nothing can be followed and nothing looks as it did, between
frames that follow each other well (a whip pan also loses its points, but does not stand alone; after a flash things
look as before).

A camera that *stands still* shows its background most of the time everywhere, so the median over spread frames is the
empty set, whoever walks through it. Frames are compared with that picture: its corners stay where they are. A moving
camera leaves mush there, which nothing matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from geometry.reconstruct.errors import HasCuts, SizeChanged, TooFewFeatures
from geometry.scene import FrameSource
from geometry.shapes import expect_shape

Array = np.ndarray

SMALL_SIDE_PX = 320  # of the pictures in which frames are compared with the one before
SPREAD = 25  # frames that are compared with the median picture
CORNERS = 120
CELLS = 14  # along the long side of the median picture: one corner in each
LOST_SHARE = 0.2  # of the corners that survive a cut by chance
WELL_SHARE = 0.4  # of those that survive between two frames of one shot, usually
CUT_LIKENESS = 0.7  # correlation of two small pictures, above which they show the same
BLURRED = 0.5  # of the sharpness that frames around it reach
BLANK = 2.0  # standard deviation of a picture without anything on it, in code values
STILL_PX = 1.5  # compression, a focus that breathes and a tripod on a wooden floor move the picture this much
MIN_STILL_CORNERS = 10
LEAST_CORNER = 2e-4  # smaller eigenvalue of the structure tensor: some grey levels of contrast
MOVING_CODES = 12.0  # from the median picture


@dataclass(frozen=True)
class Look:
    """``frames`` are source frame numbers; ``cuts`` those that begin a new shot."""

    frames: tuple[int, ...]
    followed: Array  # (N,) share of the points of the frame before that are found again; 1 for the first
    sharpness: Array  # (N,) contrast of the finest detail, relative
    cuts: tuple[int, ...]
    spread: tuple[int, ...]  # frames that ``empty`` is made of
    empty: Array  # (h, w) uint8 on the working raster: the median picture
    stillness: Array  # (len(spread),) share of the corners of ``empty`` that lie in their place
    motion_px: float  # median of those that were found; the whole picture where none was
    moving_share: float  # of the pixels that differ from ``empty``: what moves, when the camera does not

    def __post_init__(self) -> None:
        expect_shape("followed", self.followed, (len(self.frames),))
        expect_shape("sharpness", self.sharpness, (len(self.frames),))
        expect_shape("stillness", self.stillness, (len(self.spread),))

    @property
    def stands_still(self) -> bool:
        """Most frames keep half of the background in place; movers may cover more of it for a while."""
        return bool(np.median(self.stillness) > 0.5 and np.percentile(self.stillness, 5) > 0.12)

    @property
    def blurred(self) -> tuple[int, ...]:
        """Frames much less sharp than those around them."""
        around = [np.percentile(self.sharpness[max(i - 12, 0) : i + 13], 90) for i in range(len(self.frames))]
        return tuple(f for f, s, a in zip(self.frames, self.sharpness, around, strict=True) if s < BLURRED * a)

    def refuse_cuts(self) -> None:
        """Raises ``HasCuts`` that names the frames."""
        if self.cuts:
            shots = [f"{a}-{b - 1}" for a, b in pairwise((self.frames[0], *self.cuts, self.frames[-1] + 1))]
            at = ", ".join(str(frame) for frame in self.cuts[:8])
            raise HasCuts(
                f"the clip has {len(self.cuts)} cut(s): a new shot begins at frame {at}",
                f"Use one shot at a time: --range {' or '.join(shots[:8])}",
                self.cuts,
            )


def look_at(clip: FrameSource, frames: Sequence[int], wh: tuple[int, int]) -> Look:
    """Read ``frames`` once, on a raster of ``wh`` pixels; a few of them are kept in memory.

    Raises ``TooFewFeatures`` when nothing is to be seen, ``SizeChanged`` when the pictures change their size.
    """
    index = np.unique(np.linspace(0, len(frames) - 1, min(SPREAD, len(frames))).round().astype(int))
    spread = tuple(frames[i] for i in index)
    glances: list[_Glance] = []
    kept: list[Array] = []
    before: Array | None = None
    for number in frames:
        picture = clip.display(number, wh)
        if picture.shape != (wh[1], wh[0], 3):
            raise SizeChanged(
                f"frame {number}: expected a picture of {wh[0]}x{wh[1]}, got {picture.shape[1]}x{picture.shape[0]}",
                "Use frames of one size: --range",
            )
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        small = _shrunk(grey, SMALL_SIDE_PX)
        glances.append(_glance(grey, small, before))
        before = small
        if number in spread:
            kept.append(grey)
    if np.median([glance.thumb.std() for glance in glances]) < BLANK:
        raise TooFewFeatures("the pictures are black, or of one even colour", "Use frames that show something")
    empty = np.median(np.stack(kept), axis=0).astype(np.uint8)
    differs = [cv2.GaussianBlur(cv2.absdiff(grey, empty), (0, 0), 2.0) > MOVING_CODES for grey in kept]
    stillness, motion_px = _stillness(empty, kept)
    return Look(
        tuple(frames), np.array([g.followed for g in glances]), np.array([g.sharpness for g in glances]),
        _cuts(frames, glances), spread, empty, stillness, motion_px, float(np.mean(differs)),
    )


@dataclass(frozen=True)
class _Glance:
    followed: float
    sharpness: float
    thumb: Array  # (h, w) float32, at most 32 px


def _glance(grey: Array, small: Array, before: Array | None) -> _Glance:
    fine = cv2.Laplacian(grey, cv2.CV_32F)
    coarse = cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 2.0), cv2.CV_32F)
    # Detail against larger detail: what is shown matters less than how sharp it is.
    sharpness = float(fine.std() / (coarse.std() + 1.0))
    followed = 1.0 if before is None else _followed(before, small)
    return _Glance(followed, sharpness, _shrunk(grey, 32).astype(np.float32))


def _shrunk(picture: Array, side_px: int) -> Array:
    scale = min(1.0, side_px / max(picture.shape[:2]))
    wh = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, wh, interpolation=cv2.INTER_AREA)


def _corners(grey: Array) -> Array:
    found = cv2.goodFeaturesToTrack(grey, CORNERS, 0.01, 8)
    return np.zeros((0, 1, 2), np.float32) if found is None else found


def _moved(a: Array, b: Array, corners: Array) -> tuple[Array, Array]:
    """How far each of the (N, 1, 2) corners of ``a`` lies from there in ``b``, px; and whether it was found at all."""
    if not len(corners):
        return np.zeros(0), np.zeros(0, bool)
    window, levels = (15, 15), 3
    ahead, ok, _ = cv2.calcOpticalFlowPyrLK(a, b, corners, np.zeros_like(corners), winSize=window, maxLevel=levels)
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(b, a, ahead, np.zeros_like(corners), winSize=window, maxLevel=levels)
    closed = np.linalg.norm((back - corners)[:, 0], axis=1) < 0.7
    return np.linalg.norm((ahead - corners)[:, 0], axis=1), (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & closed


def _followed(before: Array, now: Array) -> float:
    corners = _corners(before)
    return float(_moved(before, now, corners)[1].mean()) if len(corners) else 0.0


def _stillness(empty: Array, pictures: Sequence[Array]) -> tuple[Array, float]:
    """(N,) shares of the corners of ``empty`` that keep their place; and the median px of all that were found."""
    corners = _steady_corners(empty, pictures)
    if len(corners) < MIN_STILL_CORNERS:
        return np.zeros(len(pictures)), float(max(empty.shape))
    moved, found = (np.stack(a) for a in zip(*(_moved(empty, p, corners) for p in pictures), strict=True))
    motion_px = float(np.median(moved[found])) if found.any() else float(max(empty.shape))
    return (found & (moved < STILL_PX)).mean(1), motion_px


def _steady_corners(empty: Array, pictures: Sequence[Array]) -> Array:
    """(N, 1, 2) the best corner of every cell, where the median picture is a picture of something and not mush."""
    away = np.median(np.stack([cv2.absdiff(empty, picture) for picture in pictures]), axis=0)
    strength = cv2.cornerMinEigenVal(empty, 7)
    strength[cv2.dilate((away > MOVING_CODES / 2).astype(np.uint8), np.ones((9, 9))) > 0] = 0
    cell = max(16, max(empty.shape) // CELLS)
    found = []
    for y in range(0, empty.shape[0], cell):
        for x in range(0, empty.shape[1], cell):
            part = strength[y : y + cell, x : x + cell]
            row, column = np.unravel_index(int(part.argmax()), part.shape)
            if part[row, column] > LEAST_CORNER:
                found.append((x + column, y + row))
    return np.array(found, np.float32).reshape(-1, 1, 2)


def _cuts(frames: Sequence[int], glances: Sequence[_Glance]) -> tuple[int, ...]:
    followed = np.array([glance.followed for glance in glances])
    found = []
    for i in range(1, len(glances)):
        sides = followed[max(i - 3, 1) : i], followed[i + 1 : i + 4]
        if followed[i] > LOST_SHARE or any(len(side) and np.median(side) < WELL_SHARE for side in sides):
            continue
        before, after = glances[max(i - 3, 0) : i], glances[i : i + 3]
        if max(_likeness(a, b) for a in before for b in after) < CUT_LIKENESS:
            found.append(frames[i])
    return tuple(found)


def _likeness(a: _Glance, b: _Glance) -> float:
    x, y = a.thumb - a.thumb.mean(), b.thumb - b.thumb.mean()
    return float((x * y).sum() / (np.linalg.norm(x) * np.linalg.norm(y) + 1e-6))

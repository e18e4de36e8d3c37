"""A layer's soft alpha along its cut, and its own colour there.

Alpha: closed-form matting (Levin et al. 2008) of the pixels near the cut, in tiles, so that its cost goes with the
length of cuts. What is surely inside or outside is found by eroding either side; where a thing is thinner than that,
its middle line still counts as inside, so a railing is not lost. Colour: multi-level foreground estimation (Germer et
al. 2020) unmixes what is seen, alpha F + (1 - alpha) B, into the layer's colour F and the one behind, B.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.masks import closed_form_alpha
from geometry.plates.smooth import nearest
from geometry.shapes import expect_shape

Array = np.ndarray
BAND_SHARE = 3 / 1080  # of the picture's height: how far from the cut alpha is found
LEAST_BAND_PX = 2
TILE, RIM = 256, 8  # px
PRIOR = 0.02
CLEAR, SOLID = 0.02, 0.98  # alpha beyond these is 0 or 1
LEAST_LEAK, LEAST_BESIDE = 0.15, 0.04  # shares of the way to the front's colour: anywhere, and right beside the matte
BETWEEN, CONTRAST = 0.2, 0.15  # of that way: how far beside it; code values
STEEPER = 1.15  # matting spreads a contour over more pixels than the lens did


@dataclass(frozen=True)
class Matte:
    """(H, W) float32 ``alpha``; ``front`` and ``behind`` (H, W, 3) float32 code values in [0, 1], which differ from the
    picture only where alpha is neither 0 nor 1."""

    alpha: Array
    front: Array
    behind: Array

    def __post_init__(self) -> None:
        expect_shape("front", self.front, (*self.alpha.shape, 3))
        expect_shape("behind", self.behind, self.front.shape)


def matted(picture: Array, inside: Array, *, hard: Array | None = None, band_px: int | None = None) -> Matte:
    """``picture`` (H, W, 3) float32 code values in [0, 1]; ``inside`` (H, W) bool: the layer, cut hard.

    Nothing softens at the picture's own border, nor where ``hard`` (H, W) bool says that the cut is none of the
    picture's edges. ``band_px``: how far from the cut.
    """
    expect_shape("picture", picture, (*inside.shape, 3))
    band = band_px or max(round(BAND_SHARE * inside.shape[0]), LEAST_BAND_PX)
    unknown = _unknown(inside, band)
    if hard is not None:
        unknown &= ~hard
    alpha = inside.astype(np.float32)
    prior = cv2.GaussianBlur(alpha, (0, 0), band / 2, borderType=cv2.BORDER_REPLICATE)
    h, w = inside.shape
    for y in range(0, h, TILE):
        for x in range(0, w, TILE):
            own = np.s_[y : y + TILE, x : x + TILE]
            if not unknown[own].any():
                continue
            y0, x0 = max(y - RIM, 0), max(x - RIM, 0)
            cut = np.s_[y0 : y + TILE + RIM, x0 : x + TILE + RIM]
            found = closed_form_alpha(
                picture[cut], inside[cut].astype(np.float32), unknown[cut], prior=prior[cut], prior_weight=PRIOR
            )
            alpha[own] = found[y - y0 : y - y0 + TILE, x - x0 : x - x0 + TILE]
    steep = np.clip((alpha - 0.5) * STEEPER + 0.5, 0, 1)
    alpha = np.where(unknown, np.where(steep < CLEAR, 0, np.where(steep > SOLID, 1, steep)), alpha).astype(np.float32)
    return _unmixed(picture, alpha)


def _unknown(inside: Array, band: int) -> Array:
    """Near the cut, but for the middle lines of what is thin, on either side."""
    unknown = np.zeros(inside.shape, bool)
    for side in (inside, ~inside):
        # What lies beyond the border is as what lies at it.
        deep = cv2.distanceTransform(np.pad(side, 1, mode="edge").astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
        ridge = side & (deep >= cv2.dilate(deep, np.ones((3, 3), np.uint8))) & (deep > 1.2)
        unknown |= side & (deep <= band) & ~ridge
    return unknown


def _unmixed(picture: Array, alpha: Array) -> Matte:
    from pymatting import estimate_foreground_ml

    soft = (alpha > 0) & (alpha < 1)
    if not soft.any():
        return Matte(alpha, picture, picture)
    front, behind = estimate_foreground_ml(
        picture.astype(np.float64), alpha.astype(np.float64), return_background=True
    )
    own, other = picture.copy(), picture.copy()
    own[soft], other[soft] = agreeing(
        picture[soft], alpha[soft], front[soft].astype(np.float32), behind[soft].astype(np.float32)
    )
    return Matte(alpha, own, other)


def agreeing(picture: Array, alpha: Array, front: Array, behind: Array) -> tuple[Array, Array]:
    """``front`` and ``behind`` (..., 3) in [0, 1], changed so that ``alpha`` (...) makes up ``picture`` of them: the
    least changes that do, and where these leave the range, the other one makes up for it."""
    a = alpha[..., None].astype(np.float32)
    lacking = (picture - a * front - (1 - a) * behind) / (a**2 + (1 - a) ** 2)
    front = np.clip(front + a * lacking, 0, 1)
    behind = np.clip((picture - a * front) / np.maximum(1 - a, 1e-6), 0, 1)
    return np.clip((picture - (1 - a) * behind) / np.maximum(a, 1e-6), 0, 1), behind


def leaked(picture: Array, alpha: Array, behind: Array, where: Array) -> Array:
    """(H, W) float32 of pixels beside a matte: how much of the front they show after all, for what stands behind there
    is ``behind`` (H, W, 3), made without them. 0 where what is seen is not between the two, and elsewhere."""
    found = np.zeros(alpha.shape, np.float32)
    if not where.any() or not (alpha >= 1).any():
        return found
    seen, back, front = picture[where], behind[where], nearest(picture, alpha >= 1)[where]
    towards, moved = front - back, seen - back
    length = np.maximum((towards**2).sum(-1), 1e-6)
    share = (moved * towards).sum(-1) / length
    off = ((moved - share[:, None] * towards) ** 2).sum(-1)
    beside = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((3, 3), np.uint8))[where] > 0
    least = np.where(beside, LEAST_BESIDE, LEAST_LEAK)
    is_between = (share > least) & (off < BETWEEN**2 * length) & (length > CONTRAST**2)
    found[where] = np.where(is_between, np.clip(share, 0, 1), 0)
    return found

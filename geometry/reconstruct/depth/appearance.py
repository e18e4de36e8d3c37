"""How well known views agree at a given depth, and depths chosen by that: a plane sweep, and a choice per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from geometry.reconstruct.depth.flow_depth import grain_level
from geometry.reconstruct.depth.kernels import add_difference
from geometry.reconstruct.depth.pair import Pair
from geometry.reconstruct.depth.planes import PlaneGuess

Array = np.ndarray

MOST_COST = 25.0  # of one view: what is more than wrong is not more wrong
GRAIN_COST = 2.7  # what grain of unit deviation adds to the difference of two appearances
PLANE_GAIN = 3.0  # grey levels that a likely plane may look worse than what it replaces
DOUBT_GAIN = 3.0  # how much more of it where nothing is sure
LEAST_SHARE = 0.3  # of what is known around, for a plane to be likely
NOWHERE = 1e4  # appearance of what must match nothing


def appearance(grey: Array, moving: Array | None = None) -> Array:
    """(H, W, 3) float32: brightness and its two gradients, weighted to be compared by absolute difference."""
    plain = grey.astype(np.float32)
    gx = cv2.Scharr(plain, cv2.CV_32F, 1, 0, scale=1 / 16)
    gy = cv2.Scharr(plain, cv2.CV_32F, 0, 1, scale=1 / 16)
    out = np.dstack([0.5 * plain, gx, gy])
    if moving is not None:
        out[moving] = NOWHERE
    return out


@dataclass(frozen=True)
class Comparison:
    """One frame beside its sources. ``sides`` are the sources (look, pair) before and after it in time: a pixel beside
    an occluder is hidden from the views of one side, so the better side counts."""

    grey: Array  # (H, W) uint8
    look: Array  # its ``appearance``
    sides: tuple[tuple[tuple[Array, Pair], ...], ...]
    _filters: dict[int, Any] = field(default_factory=dict, init=False, repr=False)  # by radius

    def cost(self, q: Array) -> Array:
        """(H, W) mean absolute difference at inverse depth ``q`` on the better side."""
        q, most = np.ascontiguousarray(q, np.float32), np.float32(MOST_COST)
        costs = []
        for side in self.sides:
            total = np.zeros(q.shape, np.float32)
            for look, pair in side:
                add_difference(total, q, self.look, look, pair.a, pair.b, most)
            costs.append(total / len(side))
        return np.minimum.reduce(costs)

    def along_picture(self, cost: Array, radius_px: int) -> Array:
        """``cost`` averaged around every pixel over what looks alike."""
        if radius_px not in self._filters:
            self._filters[radius_px] = cv2.ximgproc.createGuidedFilter(self.grey, radius_px, 30.0)
        return self._filters[radius_px].filter(cost)


def sweep_planes(views: Comparison, low: float, high: float, count: int) -> Array:
    """(H, W) inverse depth that looks best among ``count`` planes from ``low`` to ``high`` (Collins 1996).

    It needs no flow, so it holds where things are thin, near, and move far between frames.
    """
    qs = np.linspace(low, high, count).astype(np.float32)
    costs = np.stack([views.along_picture(views.cost(np.full(views.grey.shape, q, np.float32)), 3) for q in qs])
    inner = np.clip(costs.argmin(0), 1, len(qs) - 2)[None]
    before, at, after = (np.take_along_axis(costs, inner + d, 0)[0] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = np.where(bend > 1e-6, 0.5 * (before - after) / np.maximum(bend, 1e-6), 0)
    q = qs[0] + (inner[0] + np.clip(offset, -0.5, 0.5)) * (qs[1] - qs[0])
    return cv2.medianBlur(q.astype(np.float32), 3)


@dataclass(frozen=True)
class Candidate:
    """A depth that a pixel may have; ``penalty`` in grey levels is what it must look better by than one with none."""

    q: Array
    penalty: Array | float


@dataclass(frozen=True)
class Choice:
    q: Array
    support: Array  # (H, W) in [0, 1]: how well the pictures agree at q


def choose(views: Comparison, candidates: Sequence[Candidate], radius_px: int = 3) -> Choice:
    """Per pixel the candidate that looks best."""
    seen = np.stack([views.along_picture(views.cost(c.q), radius_px) for c in candidates])
    penalties = np.stack([np.broadcast_to(np.float32(c.penalty), views.grey.shape) for c in candidates])
    best = (seen + penalties).argmin(0)[None]
    cost, q = (np.take_along_axis(a, best, 0)[0] for a in (seen, np.stack([c.q for c in candidates])))
    return Choice(cv2.medianBlur(q.astype(np.float32), 5), _support(views, cost))


def choose_planes(
    views: Comparison, chosen: Choice, doubt: Array, guesses: Sequence[PlaneGuess], radius_px: int = 8
) -> Choice:
    """The likeliest planes instead of ``chosen`` wherever pictures do not contradict: a plane is a simpler account.

    Both are compared over a wide area, since a plane that is right is right around a pixel too. Where there is
    ``doubt`` (H, W) in [0, 1], what looks a little better means less: a shadow that moves, a gloss, is no depth.
    """
    gain = np.float32(PLANE_GAIN) * (1 + np.float32(DOUBT_GAIN) * cv2.blur(doubt, (2 * radius_px + 1,) * 2))
    before = views.cost(chosen.q)
    best, q, cost = np.zeros(chosen.q.shape, np.float32), chosen.q, before
    for guess in guesses:
        after = views.cost(guess.q)
        loss = views.along_picture(after - before, radius_px) - gain * (guess.share - LEAST_SHARE)
        better = (loss < best) & (guess.share > LEAST_SHARE)
        best, q, cost = (np.where(better, new, old) for new, old in ((loss, best), (guess.q, q), (after, cost)))
    return Choice(q, _support(views, views.along_picture(cost, 3)))


def _support(views: Comparison, cost: Array) -> Array:
    # Resampling alone costs a share of the local contrast; what is more than that is disagreement.
    contrast = cv2.boxFilter(np.abs(views.look[..., 1]) + np.abs(views.look[..., 2]), -1, (9, 9))
    allowed = 2.0 + 0.4 * GRAIN_COST * grain_level(views.grey)
    return (1 / (1 + (np.maximum(cost - allowed, 0) / (4.0 + 0.4 * contrast)) ** 2)).astype(np.float32)


def borders(q: Array, radii_px: Sequence[int]) -> list[Array]:
    """The nearest and the farthest depth around every pixel: where an edge could be moved to."""
    smooth = cv2.medianBlur(q, 5)
    out = []
    for radius in radii_px:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        out += [cv2.dilate(smooth, kernel), cv2.erode(smooth, kernel)]
    return out

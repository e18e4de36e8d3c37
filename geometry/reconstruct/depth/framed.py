"""Places seen through something: mirrors, panes, and plain holes, which nothing tells from them.

What glass and polish show is consistent from everywhere, so that photographs alone are fooled: a mirror is a hole with
a room behind it. But there is a flat rim around it, and that can be seen. Two signs, on the inverse depth ``q`` (H, W):

``behind_planes``: behind one of the scene's large planes, whose surface is beside it on three sides.
``behind_rims``: the first nearer surfaces to the left, right, above and below lie on one plane. Inverse depth is linear
on a plane, so what the left and the right side say of it at the pixel must be what the upper and the lower side say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from geometry.reconstruct.depth.planes import ON_PLANE

Array = np.ndarray

JUMP = 1.08  # of inverse depth, at a silhouette
JUMP_PX = 4  # within which it happens; where surfaces slant or cross, depth changes more slowly
AGREE = 0.08  # relative difference of inverse depth between the two ways across
ALONG = 0.4  # of a side's length, that a large plane is seen along
LEAST_AREA = 0.002  # of the picture, that is worth a doubt
CLOSING = 0.08  # of the picture's width: gaps up to that are filled


def behind_planes(plane_qs: Sequence[Float32[Array, "h w"]], q: Float32[Array, "h w"]) -> Bool[Array, "h w"]:
    """Pixels behind one of ``plane_qs`` (inverse depths of planes, 0 = not met) that it surrounds."""
    out = np.zeros(q.shape, bool)
    for p in plane_qs:
        behind, on = JUMP * q < p, np.abs(q - p) < ON_PLANE * p
        count, labels, stats, _ = cv2.connectedComponentsWithStats(behind.astype(np.uint8), connectivity=4)
        sides = np.zeros(count)
        for axis, length in ((0, stats[:, cv2.CC_STAT_WIDTH]), (1, stats[:, cv2.CC_STAT_HEIGHT])):
            for step in (1, -1):
                touching = np.bincount(labels[behind & _near_in(on, axis, step)], minlength=count)
                sides += touching > ALONG * length * JUMP_PX
        out |= _large(labels, stats, sides >= 3)
    return out


def _near_in(mask: Array, axis: int, step: int) -> Array:
    """Whether ``mask`` holds within ``JUMP_PX`` pixels in one direction."""
    kernel = np.zeros((2 * JUMP_PX + 1,) * 2, np.uint8)
    line = slice(0, JUMP_PX) if step > 0 else slice(JUMP_PX + 1, None)
    kernel[(line, JUMP_PX) if axis == 0 else (JUMP_PX, line)] = 1
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def _large(labels: Array, stats: Array, wanted: Array) -> Array:
    keep = wanted & (stats[:, cv2.CC_STAT_AREA] > LEAST_AREA * labels.size)
    keep[0] = False  # the background
    return keep[labels]


@dataclass(frozen=True)
class _Side:
    """The first nearer surface in one direction: its inverse depth (0: none), and how many pixels away it is."""

    q: Array
    away_px: Array

    def flipped(self) -> _Side:
        return _Side(self.q[:, ::-1], self.away_px[:, ::-1])

    def turned(self) -> _Side:
        return _Side(self.q.T, self.away_px.T)


def behind_rims(q: Float32[Array, "h w"]) -> Bool[Array, "h w"]:
    """Pixels that a flat rim surrounds."""
    across = _between(_nearer_before(q), _nearer_before(q[:, ::-1]).flipped())
    along = _between(_nearer_before(q.T).turned(), _nearer_before(q.T[:, ::-1]).flipped().turned())
    found = ((across > 0) & (along > 0) & (np.abs(across - along) < AGREE * across)).astype(np.uint8)
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3)))
    # Inside a frame some rows and columns meet something else first.
    side = 2 * int(CLOSING * q.shape[1] / 2) + 1
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    found = closed & ((across > 0) | (along > 0)).astype(np.uint8) | found
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found)
    return _large(labels, stats, np.ones(count, bool))


def _nearer_before(q: Array) -> _Side:
    """Of every pixel, the nearer surface to its left that it is seen past."""
    h, w = q.shape
    seen, away = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
    rim, since = np.zeros(h, np.float32), np.zeros(h, np.float32)
    for x in range(1, w):
        here, before = q[:, x], q[:, max(0, x - JUMP_PX) : x].max(1)
        # Past a silhouette, unless it belongs to something behind the rim that is still open.
        fresh = (before > JUMP * here) & (before > rim)
        rim, since = np.where(fresh, before, rim), np.where(fresh, 1, since + 1)
        rim = np.where(JUMP * here > rim, 0, rim)
        seen[:, x], away[:, x] = rim, since
    return _Side(seen, away)


def _between(a: _Side, b: _Side) -> Array:
    """Inverse depth at the pixel of a plane through the surfaces on both sides; 0 where one is missing."""
    q = (a.q * b.away_px + b.q * a.away_px) / np.maximum(a.away_px + b.away_px, 1)
    return np.where((a.q > 0) & (b.q > 0), q, 0)

"""Correlation of two colour pictures, window by window, compiled.

The three channels are one signal: ``cov(a, b) / sqrt((var a + noise) (var b + noise))`` in [-1, 1], near 0 where there
is nothing but noise. A change of light takes nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit

Array = np.ndarray
MIDDLE = 128  # code value that sums are taken about: they stay small
compiled: Any = njit(cache=True, nogil=True, error_model="numpy")


@dataclass(frozen=True)
class Reference:
    """A picture that others are compared with: ``channels`` (3, h, w) float32, their means and variance by window."""

    channels: Array
    mean: Array
    variance: Array
    radius: int
    noise: float  # code values, squared

    @classmethod
    def of(cls, picture: Array, radius: int, noise: float) -> Reference:
        """``picture`` (h, w, 3) uint8; a window has ``2 radius + 1`` pixels a side, fewer at the border."""
        channels = _channels(picture)
        box = (2 * radius + 1, 2 * radius + 1)
        share = cv2.blur(np.ones(picture.shape[:2], np.float32), box, borderType=cv2.BORDER_CONSTANT)

        def average(image: Array) -> Array:
            return cv2.blur(image, box, borderType=cv2.BORDER_CONSTANT) / share

        mean = np.stack([average(channel) for channel in channels])
        variance = np.maximum(average((channels * channels).sum(0)) - (mean * mean).sum(0), 0)
        return cls(channels, mean, variance, radius, noise)

    def correlation(self, other: Array) -> Array:
        """(h, w) float32, with ``other`` (h, w, 3) uint8."""
        noise = np.float32(self.noise)
        return _correlation(self.channels, self.mean, self.variance, _channels(other), self.radius, noise)


def _channels(picture: Array) -> Array:
    return np.ascontiguousarray(np.moveaxis(picture.astype(np.float32) - MIDDLE, -1, 0))


@compiled
def _correlation(a: Array, mean: Array, variance: Array, b: Array, radius: int, noise: float) -> Array:
    """By running sums: of each column over the window's rows, then over its columns."""
    h, w = variance.shape
    out = np.empty((h, w), np.float32)
    sums = np.zeros((5, w), np.float32)
    for y in range(-radius, h):
        if y + radius < h:
            _add(a, b, y + radius, np.float32(1), sums)
        if y - radius - 1 >= 0:
            _add(a, b, y - radius - 1, np.float32(-1), sums)
        if y < 0:
            continue
        rows = min(y + radius + 1, h) - max(y - radius, 0)
        b0 = b1 = b2 = square = both = np.float32(0)
        for x in range(-radius, w):
            new, old = x + radius, x - radius - 1
            if new < w:
                b0, b1, b2 = b0 + sums[0, new], b1 + sums[1, new], b2 + sums[2, new]
                square, both = square + sums[3, new], both + sums[4, new]
            if old >= 0:
                b0, b1, b2 = b0 - sums[0, old], b1 - sums[1, old], b2 - sums[2, old]
                square, both = square - sums[3, old], both - sums[4, old]
            if x < 0:
                continue
            one = np.float32(1) / (rows * (min(new + 1, w) - max(x - radius, 0)))
            m0, m1, m2 = b0 * one, b1 * one, b2 * one
            theirs = max(square * one - m0 * m0 - m1 * m1 - m2 * m2, np.float32(0))
            shared = both * one - mean[0, y, x] * m0 - mean[1, y, x] * m1 - mean[2, y, x] * m2
            out[y, x] = shared / np.sqrt((variance[y, x] + noise) * (theirs + noise))
    return out


@compiled
def _add(a: Array, b: Array, y: int, sign: float, sums: Array) -> None:
    for x in range(b.shape[2]):
        b0, b1, b2 = b[0, y, x], b[1, y, x], b[2, y, x]
        sums[0, x] += sign * b0
        sums[1, x] += sign * b1
        sums[2, x] += sign * b2
        sums[3, x] += sign * (b0 * b0 + b1 * b1 + b2 * b2)
        sums[4, x] += sign * (a[0, y, x] * b0 + a[1, y, x] * b1 + a[2, y, x] * b2)

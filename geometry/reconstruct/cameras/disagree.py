"""Tracks that do not move with the scene: they break the epipolar geometry between key frames again and again.

A fundamental matrix per pair of key frames (MAGSAC, Barath et al. 2019) and the Sampson distance (Hartley and
Zisserman 2004, 11.4.3). One pair cannot see motion along the epipolar line, and a short pair sees hardly any: tracks
are judged by all pairs they live through.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from geometry.reconstruct.cameras.turns import Pair

Array = np.ndarray

INLIER_PX = 1.0
OFF_PX = 2.0
MOST_POINTS = 500  # for the estimate; all are judged
MIN_PAIRS = 2
OFF_SHARE = 0.5  # of the pairs, from which on a track moves by itself


def moving_tracks(pairs: Sequence[Pair], count: int) -> Array:
    """(count,) bool. Meaningless for a camera that does not travel: every matrix fits there."""
    asked, off = np.zeros(count), np.zeros(count)
    for pair in pairs:
        if pair.motion_px < 4 * INLIER_PX:
            continue
        distance = _sampson(pair)
        if distance is not None:
            asked[pair.ids] += 1
            off[pair.ids] += distance > OFF_PX
    return (asked >= MIN_PAIRS) & (off > OFF_SHARE * asked)


def _sampson(pair: Pair) -> Array | None:
    step = max(1, len(pair.ids) // MOST_POINTS)
    f, mask = cv2.findFundamentalMat(
        pair.xy_a[::step], pair.xy_b[::step], cv2.USAC_MAGSAC, INLIER_PX, 0.999, 1000)
    if f is None or f.shape != (3, 3) or mask.sum() < 0.4 * len(mask):
        return None
    a = np.concatenate([pair.xy_a, np.ones((len(pair.ids), 1))], 1)
    b = np.concatenate([pair.xy_b, np.ones((len(pair.ids), 1))], 1)
    line_b, line_a = a @ f.T, b @ f
    across = (b * line_b).sum(1)
    return np.abs(across) / np.sqrt((line_a[:, :2] ** 2 + line_b[:, :2] ** 2).sum(1) + 1e-18)

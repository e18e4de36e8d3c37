"""Texture for what no view shows: a copy of a like part of the same object.

Each hole takes one piece from elsewhere on its object, whole: the one whose surroundings look most like its own. The
cost of every shift at once is a handful of correlations (Fourier transforms). What is coarser than the texture stays as
it was.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.fft import next_fast_len

from geometry.coverage import Coverage
from geometry.warp import smoothed

Array = np.ndarray
COARSE_SIGMA = 20.0  # px of 480 rows: what is finer is texture
SEARCH_ROWS = 240  # of the raster on which pieces are looked for
RING = 3  # px there: how far round a hole its surroundings are compared
LEAST_HOLE = 8e-4  # of the picture
HOLES = 4  # the largest, of each object


def textured(view: Coverage, picture: Array, known: Array) -> Array:
    """(H, W, 3) float32 ``picture``, pure, in which what is not ``known`` (H, W) bool is smooth, with its texture."""
    coarse = smoothed(view, np.dstack([picture, known])[None].astype(np.float32), COARSE_SIGMA)[0]
    detail = np.where(known[..., None] & (coarse[..., 3:] > 0), picture - coarse[..., :3], 0)
    step = max(round(known.shape[0] / SEARCH_ROWS), 1)
    small = cv2.blur(picture, (step, step))[::step, ::step].astype(np.float32)
    out = picture.copy()
    for own in np.unique(view.object_id[~known]):
        hole, given = (view.object_id == own) & ~known, (view.object_id == own) & known
        pieces = _pieces(hole, step)
        if not pieces or not given[::step, ::step].any():
            continue
        search = _Search(small, given[::step, ::step])
        for piece, small_piece in pieces:
            shift = search.best(small_piece)
            if shift is None:
                continue
            rows, columns = np.nonzero(piece)
            rows_q, columns_q = rows + step * shift[0], columns + step * shift[1]
            inside = (rows_q >= 0) & (rows_q < known.shape[0]) & (columns_q >= 0) & (columns_q < known.shape[1])
            rows, columns, rows_q, columns_q = rows[inside], columns[inside], rows_q[inside], columns_q[inside]
            out[rows, columns] += np.where(given[rows_q, columns_q, None], detail[rows_q, columns_q], 0)
    return out


def _pieces(hole: Array, step: int) -> list[tuple[Array, Array]]:
    """The largest connected parts of (H, W) bool ``hole``, largest first, each also on the search's raster."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(hole.astype(np.uint8), connectivity=8)
    sizes = stats[1:count, cv2.CC_STAT_AREA]
    order = 1 + np.argsort(-sizes, kind="stable")[:HOLES]
    whole = [labels == label for label in order if sizes[label - 1] >= LEAST_HOLE * hole.size]
    return [(piece, piece[::step, ::step]) for piece in whole if piece[::step, ::step].any()]


class _Search:
    """Shifts that take a hole's surroundings to like places of ``given`` (h, w) bool."""

    def __init__(self, picture: Array, given: Array) -> None:
        self._given, self._shape = given, tuple(next_fast_len(2 * side, real=True) for side in given.shape)
        self._picture = np.where(given[..., None], picture - picture[given].mean(0), 0)
        self._spread = float((self._picture[given] ** 2).sum(-1).mean())
        self._there = self._transformed(given)
        self._squares = self._transformed((self._picture**2).sum(-1))
        self._colours = [self._transformed(self._picture[..., c]) for c in range(3)]

    def best(self, hole: Array) -> tuple[int, int] | None:
        """(rows, columns) from the (h, w) bool ``hole`` to its likeness; None where there is none."""
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
        ring = (cv2.dilate(hole.astype(np.uint8), disc) > 0) & self._given
        if not ring.any():
            return None
        own = np.where(ring[..., None], self._picture, 0)
        at_ring, at_hole = self._transformed(ring), self._transformed(hole)
        difference = np.conj(at_ring) * self._squares + np.conj(self._transformed((own**2).sum(-1))) * self._there
        for c in range(3):
            difference -= 2 * np.conj(self._transformed(own[..., c])) * self._colours[c]
        met = self._back(np.conj(at_ring) * self._there)
        covered = self._back(np.conj(at_hole) * self._there) / hole.sum()
        cost = self._back(difference) / np.maximum(met, 1) + 2 * self._spread * (1 - covered)
        cost = np.where((met > 0.5 * ring.sum()) & (covered > 0.5), np.round(cost, 3), np.inf)
        row, column = np.unravel_index(int(cost.argmin()), cost.shape)
        if not np.isfinite(cost[row, column]):
            return None
        (h, w), (rows, columns) = self._given.shape, self._shape
        return int(row if row < h else row - rows), int(column if column < w else column - columns)

    def _transformed(self, values: Array) -> Array:
        return np.fft.rfft2(values.astype(np.float32), self._shape)

    def _back(self, values: Array) -> Array:
        return np.fft.irfft2(values, self._shape)

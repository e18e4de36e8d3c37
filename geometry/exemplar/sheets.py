"""Rasters that hold many small charts side by side.

A chart is a plane with a grid; at level l its texels are squares of side 2^l (world units, or pixels for charts of the
picture itself) that start at the plane's origin. So texel (v, u) of level l covers texels (2v..2v+1, 2u..2u+1) of
level l - 1, in every view, whatever part of the plane a sheet has room for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geometry.exemplar.kernels import BORDER, spans

Array = np.ndarray
MOST_TEXELS = 4_000_000


@dataclass(frozen=True)
class Points:
    """Places on charts: ``chart`` (N,) int, ``at`` (N, 2) float64 down and right on the plane, ``level`` (N,) the
    finest level at which each is wanted."""

    chart: Array
    at: Array
    level: Array

    @classmethod
    def all_of(cls, points: Sequence[Points]) -> Points:
        fields = zip(*((p.chart, p.at, p.level) for p in points), strict=True)
        return cls(*(np.concatenate(values) for values in fields))


@dataclass(frozen=True)
class Sheet:
    """``index`` (h, w) int32: the chart that a texel belongs to, -1 = none. Texel (v, u) of chart k lies at row and
    column (v, u) + ``shift[k]``."""

    level: int
    index: Array
    shift: Array  # (K, 2) int64

    @property
    def texel(self) -> float:
        return 2.0**self.level

    def place(self, chart: Array, at: Array) -> Array:
        """(..., 2) float64 rows and columns, texel centres at halves, of places ``at`` (..., 2) on planes."""
        return at / self.texel + self.shift[chart]

    def inside(self, chart: Array, rows: Array, columns: Array) -> Array:
        """Whether these texels exist and belong to these charts."""
        h, w = self.index.shape
        inside = (rows >= 0) & (columns >= 0) & (rows < h) & (columns < w)
        return inside & (self.index[np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1)] == chart)


def sheets(points: Points, charts: int, coarsest: int) -> list[Sheet]:
    """Coarsest first, down to the finest level that is wanted and has room; none when not even the coarsest has."""
    finest = int(points.level.min())
    levels: list[Sheet] = []
    for level in range(max(coarsest, finest), finest - 1, -1):
        sheet = _sheet(points, charts, level)
        if sheet is None:
            break
        levels.append(sheet)
    return levels


def _sheet(points: Points, charts: int, level: int) -> Sheet | None:
    low, high = np.full((charts, 2), np.iinfo(np.int64).max), np.full((charts, 2), np.iinfo(np.int64).min)
    spans(points.chart, points.at, points.level, level, 2.0**level, low, high)
    present = np.flatnonzero(high[:, 0] >= low[:, 0])
    low, room = low - 2, high - low + 5
    corner, hw = _packed(room[present])
    if hw[0] * hw[1] > MOST_TEXELS:
        return None
    shift = np.zeros((charts, 2), np.int64)
    shift[present] = corner - low[present]
    index = np.full(hw, -1, np.int32)
    for k, (top, left), (rows, columns) in zip(present, corner, room[present], strict=True):
        index[top : top + rows, left : left + columns] = k
    return Sheet(level, index, shift)


def _packed(hw: Array) -> tuple[Array, tuple[int, int]]:
    """Corners (K, 2) of rectangles of ``hw`` (K, 2) on shelves, the highest first, and the raster's rows and
    columns."""
    room = hw + BORDER
    across = int(max(room[:, 1].max(), np.sqrt(room.prod(1).sum()) * 1.1)) + BORDER
    corner = np.zeros_like(hw)
    top, left, shelf = BORDER, BORDER, 0
    for k in np.argsort(-room[:, 0], kind="stable"):
        if left + room[k, 1] > across:
            top, left, shelf = top + shelf, BORDER, 0
        corner[k] = top, left
        left, shelf = left + room[k, 1], max(shelf, room[k, 0])
    return corner, (int(top + shelf), across)


def picture_sheets(hw: tuple[int, int], coarsest: int) -> list[Sheet]:
    """One chart, a picture: coarsest first, down to level 0, where its first pixel is texel (0, 0)."""
    found = []
    for level in range(coarsest, -1, -1):
        h, w = (-(-side // 2**level) for side in hw)
        index = np.full((h + 2 * BORDER, w + 2 * BORDER), -1, np.int32)
        index[BORDER:-BORDER, BORDER:-BORDER] = 0
        found.append(Sheet(level, index, np.full((1, 2), BORDER, np.int64)))
    return found


def parents(fine: Sheet, coarse: Sheet, rows: Array, columns: Array) -> tuple[Array, Array]:
    """Rows and columns on ``coarse`` of the texels that cover these of ``fine``."""
    chart = fine.index[rows, columns]
    grid = np.stack([rows, columns], 1) - fine.shift[chart]
    up, across = ((grid >> 1) + coarse.shift[chart]).T
    return up, across


def children(coarse: Sheet, fine: Sheet, flat: Array, odd_row: Array, odd_column: Array) -> Array:
    """Flat indices on ``fine`` of one of the four texels that each texel ``flat`` (N,) of ``coarse`` covers; -1 where
    that is -1 or the fine sheet has no room for it."""
    rows, columns = np.divmod(np.maximum(flat, 0), coarse.index.shape[1])
    chart = coarse.index[rows, columns]
    below = 2 * (rows - coarse.shift[chart, 0]) + odd_row + fine.shift[chart, 0]
    right = 2 * (columns - coarse.shift[chart, 1]) + odd_column + fine.shift[chart, 1]
    kept = (flat >= 0) & (chart >= 0) & fine.inside(chart, below, right)
    return np.where(kept, below * fine.index.shape[1] + right, -1).astype(np.int64)

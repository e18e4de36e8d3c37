"""More picture at its sides, before it is cut into layers.

One side at a time. At a coarse level every row of the new margin is copied from a shifted piece of the picture beside
it: which shift, is the path of least cost down the rows (Viterbi), where a shift costs what it does not fit the
picture's rim, and a change of shift what the two pieces differ along the cut. Patches then make the copies fit, coarse
to fine (``geometry.exemplar.picture``). Depth goes on as slopes do, and as if thin things at the rim were not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geometry.exemplar.kernels import KNOWN
from geometry.exemplar.picture import fill
from geometry.plates.code_values import codes, from_codes
from geometry.plates.depth_edges import behind_thin
from geometry.plates.smooth import biharmonic
from geometry.shapes import expect_shape

Array = np.ndarray
Margins = tuple[int, int, int, int]  # left, top, right, bottom, px
OVERLAP = 3  # texels of the rim that a shifted piece must fit
RISES = 12  # pieces may be shifted so many steps up or down as well, of half a margin or more each
OUTSIDE = 1e6  # squared code values, where a piece would reach beyond the picture
FARTHEST = 4.0  # margins: longer shifts are not tried
LIKENESS = 0.1  # how far what is new shall be like the rim: a thing beyond clear sky is no sky
CHANGE = 200.0  # squared code values that a change of shift costs by itself
DEPTH_RANGE = 1.5  # inverse depth may leave the picture's by this factor

Painter = Callable[[Array, Array], Array]  # of a picture and a mask (H, W) bool: the picture with the mask painted


@dataclass(frozen=True)
class Outpainted:
    """``picture`` (H, W, 3), ``depth`` (H, W), and where in it the source lies: (x0, y0, x1, y1)."""

    picture: Array
    depth: Array
    source: tuple[int, int, int, int]

    def __post_init__(self) -> None:
        expect_shape("depth", self.depth, self.picture.shape[:2])

    @property
    def added(self) -> Array:
        """(H, W) bool."""
        x0, y0, x1, y1 = self.source
        mask = np.ones(self.depth.shape, bool)
        mask[y0:y1, x0:x1] = False
        return mask


def outpainted(picture: Array, depth: Array, margins: Margins, painter: Painter | None = None) -> Outpainted:
    """The source's pixels are the same bytes. ``painter`` paints the margins instead.

    Raises ``ValueError`` for margins below 0 or wider than the picture.
    """
    expect_shape("depth", depth, picture.shape[:2])
    h, w = depth.shape
    left, top, right, bottom = margins
    if min(margins) < 0 or max(left, right) >= w or max(top, bottom) >= h:
        raise ValueError(f"outpaint: expected margins in [0, {w}) and [0, {h}) px, got {margins}")
    pads = ((top, bottom), (left, right))
    source = (left, top, left + w, top + h)
    known = np.pad(np.ones((h, w), bool), pads)
    deep = continued_around(depth, margins)
    canvas = np.pad(picture, (*pads, (0, 0)))
    if painter is not None and max(margins) > 0:
        canvas = np.where(known[..., None], canvas, painter(canvas, ~known))
    elif max(margins) > 0:
        values, scale = codes(picture)
        for turns, margin in enumerate((left, top, right, bottom)):
            values = np.rot90(_widened(np.rot90(values, turns), margin), -turns)
        canvas = np.where(known[..., None], canvas, from_codes(values, scale, picture.dtype))
    return Outpainted(np.ascontiguousarray(canvas), deep, source)


def continued_around(depth: Array, margins: Margins) -> Array:
    """(H, W) float32 z-depth with margins (left, top, right, bottom px), in which it goes on as slopes do."""
    left, top, right, bottom = margins
    pads = ((top, bottom), (left, right))
    known = np.pad(np.ones(depth.shape, bool), pads)
    inverse = biharmonic(np.pad(behind_thin(1 / depth).astype(np.float64), pads), known)
    low, high = (1 / depth).min() / DEPTH_RANGE, (1 / depth).max() * DEPTH_RANGE
    return np.where(known, np.pad(depth, pads), 1 / np.clip(inverse, low, high)).astype(np.float32)


def _widened(picture: Array, margin: int) -> Array:
    """``margin`` more columns on the left of an (h, w, 3) uint8 picture."""
    if margin == 0:
        return picture
    wide = np.pad(picture, ((0, 0), (margin, 0), (0, 0)))
    near = wide[:, : round((FARTHEST + 2) * margin)]
    wanted = np.zeros(near.shape[:2], bool)
    wanted[:, :margin] = True
    near[wanted] = np.rint(fill(near, ~wanted, wanted, _shifts))
    return wide


def _shifts(coarse: Array, state: Array) -> Array:
    """See ``picture.Start``; the unknown columns are on the left."""
    h, w = state.shape
    margin = int((state[h // 2] != KNOWN).sum())
    reach = min(OVERLAP, w - margin - 1)
    last = int(min(FARTHEST * margin, w - margin - reach))
    across = np.arange(min(margin, last), last + 1, max(round(margin / 4), 1))
    step = max(round(margin / 2), -(-h // RISES))
    moves = np.array([(right, down) for right in across for down in step * np.arange(-RISES, RISES + 1)])
    columns = np.arange(margin + reach)
    pieces = np.stack([
        coarse[np.clip(np.arange(h) + down, 0, h - 1)[:, None], np.minimum(columns + right, w - 1)]
        for right, down in moves
    ])  # (K, h, margin + reach, 3)
    rim = coarse[:, margin : margin + reach]
    fits = ((pieces[:, :, margin:] - rim) ** 2).sum((2, 3)).T  # (h, K)
    fits += LIKENESS * ((pieces[:, :, :margin] - rim.mean(1, keepdims=True)) ** 2).sum((2, 3)).T
    row = np.arange(h)[:, None] + moves[:, 1]
    fits[(row < 0) | (row >= h)] += OUTSIDE
    chosen = moves[_least_path(fits, pieces[:, :, :margin])]
    at = np.moveaxis(np.indices((h, w)), 0, -1)
    at[..., 0] = np.clip(at[..., 0] + chosen[:, 1:], 0, h - 1)
    at[..., 1] = np.clip(at[..., 1] + chosen[:, :1], margin, w - 1)
    return at


def _least_path(fits: Array, pieces: Array) -> Array:
    """(h,) states 0..K-1 of least cost: ``fits`` (h, K), and how much ``pieces`` (K, h, m, 3) differ at a change."""
    h, states = fits.shape
    total, back = fits[0], np.zeros((h, states), np.int64)
    for row in range(1, h):
        flat = pieces[:, row].reshape(states, -1).astype(np.float64)  # whole numbers: products are exact in any order
        squares = (flat**2).sum(1)
        change = np.maximum(squares[:, None] + squares - 2 * flat @ flat.T, 0) + CHANGE * flat.shape[1] / 3
        np.fill_diagonal(change, 0)
        cost = total[:, None] + change
        back[row] = cost.argmin(0)
        total = cost.min(0) + fits[row]
    path = [int(total.argmin())]
    for row in range(h - 1, 0, -1):
        path.append(int(back[row, path[-1]]))
    return np.array(path[::-1])

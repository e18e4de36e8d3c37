"""A flat picture continued where it lacks something, from what is known of it: one chart, no surfaces, no light.

``filling`` does the same on unrolled surfaces; patches and levels are those of ``synthesis``. Copies are then brought
to the brightness round the hole: what the patches say of known pixels beside it, less what these are, goes smoothly
through the hole and is taken off (a membrane: Farbman et al. 2009); what is left of it fades within a few pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from geometry.exemplar.charts import halved
from geometry.exemplar.kernels import BORDER, KNOWN, NONE, OPEN
from geometry.exemplar.sheets import picture_sheets
from geometry.exemplar.synthesis import FEWEST, Canvas, continued

Array = np.ndarray
MOST_UP = 6
SMALLEST_SIDE = 12  # of what is known, at the coarsest level
ACROSS = 10  # texels of the coarsest level across a hole
MOST_OPEN = 3000  # there: every one is compared with many patches
LARGEST_ERROR = 24.0  # code values at a rim
SPREAD = 1.0
FADE_PX = 3.0
RIM_ROOM = 16  # px round holes that have to do with errors
RIM_PX = 4.0  # errors at rims are averaged so far along them

Start = Callable[[Array, Array], Array]  # of a coarse picture (h, w, 3) and its state: (h, w, 2) rows and columns


def fill(picture: Array, known: Array, wanted: Array, start: Start | None = None) -> Array:
    """(N, 3) float32 code values of the ``wanted`` (H, W) bool pixels of ``picture`` (H, W, 3) uint8, copied from
    ``known`` ones; pixels that are neither take no part.

    ``start`` says what the coarsest level is copied from first; None: holes grow shut from their rims. With hardly
    anything known all is its mean. Raises ``ValueError`` when nothing is known.
    """
    if not known.any():
        raise ValueError("known: expected some pixels, got none")
    if known.sum() < FEWEST:
        return np.broadcast_to(picture[known].mean(0, dtype=np.float32), (int(wanted.sum()), 3))
    canvases = _canvases(picture, known, wanted)
    first = None if start is None else _flat(start, canvases[0])
    found, said = (_cut(a, known.shape) for a in continued(canvases, first))
    x, y, w, h = cv2.boundingRect(wanted.astype(np.uint8))
    near = np.s_[max(y - RIM_ROOM, 0) : y + h + RIM_ROOM, max(x - RIM_ROOM, 0) : x + w + RIM_ROOM]
    return np.clip(found[wanted] - _error(said[near] - picture[near], wanted[near]), 0, 255)


def _canvases(picture: Array, known: Array, wanted: Array) -> list[Canvas]:
    """Coarsest first. A texel is known where at least two of the four it covers are, else wanted where one is."""
    up = _levels(known, wanted)
    levels = picture_sheets(known.shape, up)
    shown = np.zeros((*levels[-1].index.shape, 4), np.float32)
    shown[levels[-1].index >= 0] = np.dstack([picture * known[..., None], known]).reshape(-1, 4)
    lacking = wanted.astype(np.float32)
    canvases: list[Canvas] = []
    for k in range(up, -1, -1):
        if canvases:
            shown = halved(shown, levels[k + 1], levels[k])
            odd = ((0, lacking.shape[0] % 2), (0, lacking.shape[1] % 2))
            lacking = np.pad(lacking, odd)
            lacking = lacking.reshape(len(lacking) // 2, 2, -1, 2).max((1, 3))
        is_open = np.pad(lacking, BORDER) > 0
        state = np.where(shown[..., 3] > 0, KNOWN, np.where(is_open, OPEN, NONE)).astype(np.float32)
        canvases.insert(0, Canvas(levels[k], np.rint(shown[..., :3]).astype(np.float32), state))
    while len(canvases) > 1 and (canvases[1].state == OPEN).sum() < MOST_OPEN / 4:
        canvases = canvases[1:]  # small enough to be done finer
    return canvases


def _levels(known: Array, wanted: Array) -> int:
    """How many times the picture is halved: until holes are a few patches wide, and while enough is known."""
    widest = 2 * float(cv2.distanceTransform(np.pad(wanted, 1).astype(np.uint8), cv2.DIST_L2, 5).max())
    _, _, w, h = cv2.boundingRect(known.astype(np.uint8))
    by_hole, by_known = np.log2(max(widest / ACROSS, 1)), np.log2(max(min(w, h) / SMALLEST_SIDE, 1))
    return int(np.clip(np.floor(min(by_hole, by_known)), 0, MOST_UP))


def _flat(start: Start, canvas: Canvas) -> Array:
    hw = tuple(side - 2 * BORDER for side in canvas.state.shape)
    at = start(_cut(canvas.picture, hw), _cut(canvas.state, hw)) + BORDER
    flat = np.zeros(canvas.state.shape, np.int64)
    flat[BORDER:-BORDER, BORDER:-BORDER] = at[..., 0] * canvas.state.shape[1] + at[..., 1]
    return flat


def _cut(raster: Array, hw: tuple[int, ...]) -> Array:
    return raster[BORDER : BORDER + hw[0], BORDER : BORDER + hw[1]]


def _error(gap: Array, wanted: Array) -> Array:
    """(N, 3) of the wanted pixels: (H, W, 3) ``gap``, nan where none is known, carried smoothly through them."""
    there = np.isfinite(gap[..., 0])
    if not there.any():
        return np.zeros((int(wanted.sum()), 3), np.float32)
    error = np.where(there[..., None], np.clip(gap, -LARGEST_ERROR, LARGEST_ERROR), 0)
    sums = cv2.GaussianBlur(np.dstack([error, error**2, there]).astype(np.float32), (0, 0), RIM_PX)
    mean, square = (sums[..., k : k + 3] / np.maximum(sums[..., 6:], 1e-6) for k in (0, 3))
    spread = np.maximum(square - mean**2, 0).sum(-1, keepdims=True)
    # Errors that change along the rim are other things or texture; only what is the same all along is light.
    power = (mean**2).sum(-1, keepdims=True)
    rim = mean * power / np.maximum(power + SPREAD * spread, 1e-6)
    rim = np.where(there[..., None], rim, 0).astype(np.float32)
    away, at = distance_transform_edt(~there, return_indices=True)
    rest = (np.where(there[..., None], gap, 0) - rim)[at[0][wanted], at[1][wanted]]
    faded = rest * np.exp((1 - away[wanted]) / FADE_PX)[:, None]
    return membrane(rim, there, wanted)[wanted] + faded.astype(np.float32)


def membrane(values: Array, known: Array, wanted: Array) -> Array:
    """(H, W, C) float32 ``values`` where ``known`` (H, W) bool, carried smoothly through what is ``wanted``: pull and
    push (Gortler et al. 1996), with a few sweeps of relaxation at each level."""
    h, w = known.shape
    if known[wanted | known].all() or min(h, w) < 2:
        return values
    stacked = np.dstack([np.where(known[..., None], values, 0), known, wanted]).astype(np.float32)
    stacked = np.pad(stacked, ((0, h % 2), (0, w % 2), (0, 0)))
    sums = stacked.reshape(len(stacked) // 2, 2, stacked.shape[1] // 2, 2, -1).sum((1, 3))
    total, count, hole = sums[..., :-2], sums[..., -2:-1], sums[..., -1]
    coarse = membrane(total / np.maximum(count, 1), count[..., 0] > 0, hole > 0)
    wh = (2 * coarse.shape[1], 2 * coarse.shape[0])
    large = np.atleast_3d(cv2.resize(coarse, wh, interpolation=cv2.INTER_LINEAR))[:h, :w]
    out = np.where(known[..., None], values, large)
    inside = ((wanted | known)[..., None]).astype(np.float32)
    for _ in range(4):
        mean = np.atleast_3d(cv2.blur(out * inside, (3, 3))) / np.maximum(cv2.blur(inside, (3, 3)), 1e-6)[..., None]
        out = np.where(known[..., None], values, mean)
    return out

"""The compiled loops behind ``fluid``. Loops that run on several threads share nothing between rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

Array = np.ndarray
parallel: Any = njit(cache=True, nogil=True, error_model="numpy", parallel=True)
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
F = np.float32
LEAST_SHARE = 0.25  # of a texel that flows, for its colour to be told from the rest


@inlined
def _bilinear(field: Array, x: float, y: float) -> tuple[float, float]:
    """Both components of (h, w, 2) ``field`` at a place in its pixels; beyond its end the last ones go on."""
    h, w = field.shape[:2]
    x, y = min(max(x - 0.5, 0.0), w - 1.0), min(max(y - 0.5, 0.0), h - 1.0)
    i, j = min(int(x), max(w - 2, 0)), min(int(y), max(h - 2, 0))
    s, t = x - i, y - j
    k, m = min(i + 1, w - 1), min(j + 1, h - 1)
    a = (1 - t) * ((1 - s) * field[j, i, 0] + s * field[j, k, 0]) + t * ((1 - s) * field[m, i, 0] + s * field[m, k, 0])
    b = (1 - t) * ((1 - s) * field[j, i, 1] + s * field[j, k, 1]) + t * ((1 - s) * field[m, i, 1] + s * field[m, k, 1])
    return a, b


@inlined
def _bilinear_one(field: Array, x: float, y: float) -> float:
    """The same of (h, w) ``field``."""
    h, w = field.shape
    x, y = min(max(x - 0.5, 0.0), w - 1.0), min(max(y - 0.5, 0.0), h - 1.0)
    i, j = min(int(x), max(w - 2, 0)), min(int(y), max(h - 2, 0))
    s, t = x - i, y - j
    k, m = min(i + 1, w - 1), min(j + 1, h - 1)
    return (1 - t) * ((1 - s) * field[j, i] + s * field[j, k]) + t * ((1 - s) * field[m, i] + s * field[m, k])


@parallel
def integrated(motion: Array, frames: int, sign: float) -> Array:
    """(frames + 1, h, w, 2) float32 displacements: where each pixel is after so many frames along ``sign`` times
    ``motion`` (h, w, 2), ``D_t(x) = D_(t-1)(x) + M(x + D_(t-1)(x))``. What reaches the raster's end stays there."""
    h, w = motion.shape[:2]
    out = np.zeros((frames + 1, h, w, 2), F)
    for row in prange(h):
        for column in range(w):
            x, y = column + 0.5, row + 0.5
            for t in range(1, frames + 1):
                dx, dy = _bilinear(motion, x, y)
                x, y = min(max(x + sign * dx, 0.0), float(w)), min(max(y + sign * dy, 0.0), float(h))
                out[t, row, column, 0], out[t, row, column, 1] = x - column - 0.5, y - row - 0.5
    return out


@inlined
def _cubic(t: float) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Weights of four neighbours at ``t`` in [0, 1) past the second: Keys' cubic convolution (1981), a = -1/2."""
    s = 1 - t
    return (
        F(-0.5 * t * s * s), F(1 + 0.5 * t * t * (3 * t - 5)), F(1 + 0.5 * s * s * (3 * s - 5)), F(-0.5 * s * t * t)
    )  # fmt: skip


@inlined
def _carried(flows: Any) -> Any:
    return max(F(2) * flows - F(1), F(0))


@parallel
def fetched(own: Array, flows: Array, displacement: Array, trust: Array, step: float) -> tuple[Array, Array]:
    """(h, w, 3) float32 colours of ``own`` (h, w, 3) displaced, and (h, w) float32 how far to trust them: ``trust``
    (h / step, w / step), and less where they come from what does not flow.

    ``flows`` (h, w) float32: 1 = flows, less beside a bank, whose colours are not carried along; where it is 0, and
    where nothing else is found, the own colour stays. ``displacement`` (h / step, w / step, 2) is in its own pixels, of
    ``step`` px.
    """
    h, w = flows.shape
    colour, weight = np.zeros((h, w, 3), F), np.zeros((h, w), F)
    for row in prange(h):
        for column in range(w):
            for c in range(3):
                colour[row, column, c] = own[row, column, c]
            if flows[row, column] == 0:
                weight[row, column] = 1
                continue
            x, y = (column + 0.5) / step, (row + 0.5) / step
            dx, dy = _bilinear(displacement, x, y)
            x, y = column + step * dx, row + step * dy
            i, j = int(np.floor(x)), int(np.floor(y))
            a0, a1, a2, a3 = _cubic(x - i)
            b0, b1, b2, b3 = _cubic(y - j)
            i0, i1 = min(max(i - 1, 0), w - 1), min(max(i, 0), w - 1)
            i2, i3 = min(max(i + 1, 0), w - 1), min(max(i + 2, 0), w - 1)
            red, green, blue, alpha = F(0), F(0), F(0), F(0)
            for k in range(4):
                m = min(max(j - 1 + k, 0), h - 1)
                b = b0 if k == 0 else (b1 if k == 1 else (b2 if k == 2 else b3))
                c0, c1 = b * a0 * _carried(flows[m, i0]), b * a1 * _carried(flows[m, i1])
                c2, c3 = b * a2 * _carried(flows[m, i2]), b * a3 * _carried(flows[m, i3])
                alpha += c0 + c1 + c2 + c3
                red += c0 * own[m, i0, 0] + c1 * own[m, i1, 0] + c2 * own[m, i2, 0] + c3 * own[m, i3, 0]
                green += c0 * own[m, i0, 1] + c1 * own[m, i1, 1] + c2 * own[m, i2, 1] + c3 * own[m, i3, 1]
                blue += c0 * own[m, i0, 2] + c1 * own[m, i1, 2] + c2 * own[m, i2, 2] + c3 * own[m, i3, 2]
            if alpha < F(LEAST_SHARE):
                continue
            scale = F(1) / alpha
            colour[row, column, 0], colour[row, column, 1] = red * scale, green * scale
            colour[row, column, 2] = blue * scale
            weight[row, column] = alpha * _bilinear_one(trust, (column + 0.5) / step, (row + 0.5) / step)
    return colour, weight

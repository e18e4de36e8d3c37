"""sRGB code values of premultiplied pictures to light and back (IEC 61966-2-1), compiled.

What is mixed over time or over a lens is light, so pixels are divided by their alpha, converted, and multiplied again.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

Array = np.ndarray


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _linear(x: float) -> float:
    return x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4


@njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _coded(x: float) -> float:
    return 12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def light(rgba: Array) -> Array:
    """(H, W, 4) float32."""
    out = np.zeros_like(rgba)
    for row in prange(rgba.shape[0]):
        for column in range(rgba.shape[1]):
            alpha = rgba[row, column, 3]
            if alpha > 0:
                scale = 1 / alpha
                out[row, column, 3] = alpha
                for c in range(3):
                    out[row, column, c] = alpha * _linear(rgba[row, column, c] * scale)
    return out


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def code(rgba: Array) -> Array:
    """(H, W, 4) float32."""
    out = np.zeros_like(rgba)
    for row in prange(rgba.shape[0]):
        for column in range(rgba.shape[1]):
            alpha = rgba[row, column, 3]
            if alpha > 0:
                scale = 1 / alpha
                out[row, column, 3] = alpha
                for c in range(3):
                    out[row, column, c] = alpha * _coded(rgba[row, column, c] * scale)
    return out

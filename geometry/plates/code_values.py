"""Pictures of any type as 8-bit code values, which patches are compared in, and back."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def codes(picture: Array) -> tuple[Array, float]:
    """(..., 3) uint8, and the value that 255 stands for: the type's largest, or a float picture's, at least 1."""
    if picture.dtype == np.uint8:
        return picture, 255.0
    white = float(max(picture.max(), 1)) if picture.dtype == np.float32 else float(np.iinfo(picture.dtype).max)
    return np.clip(np.rint(picture * (255 / white)), 0, 255).astype(np.uint8), white


def from_codes(values: Array, white: float, dtype: np.dtype) -> Array:
    """Code values, whole or not, in a picture's own type."""
    scaled = values * (white / 255)
    return scaled.astype(np.float32) if dtype == np.float32 else np.rint(scaled).astype(dtype)

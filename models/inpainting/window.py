"""What inpainting backends share: they see the masked part and what lies round it at a raster that they are good at,
and give back nothing but the masked pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from geometry.shapes import expect_shape
from models.errors import InputRefused

Array = np.ndarray
CONTEXT = 0.35  # of the mask's longer side, seen round it
LEAST_CONTEXT_PX = 64

Paint = Callable[[Array, Array], Array]  # (h, w, 3) uint8 and (h, w) bool: (h, w, 3) float in [0, 1]


def checked(picture: Array, mask: Array) -> None:
    """Raises ``InputRefused``, and ``ValueError`` for shapes."""
    expect_shape("mask", mask, picture.shape[:2])
    if picture.dtype != np.uint8:
        raise InputRefused(f"picture: expected uint8, got {picture.dtype}")
    if not mask.any() or mask.all():
        raise InputRefused(f"mask: expected part of the picture, got {'nothing' if not mask.any() else 'all of it'}")


def filled(picture: Array, mask: Array, side: int, multiple: int, paint: Paint) -> Array:
    """``paint`` sees at most ``side`` px a side, both sides multiples of ``multiple``. See ``Inpainter``."""
    checked(picture, mask)
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    round_it = max(round(CONTEXT * max(w, h)), LEAST_CONTEXT_PX)
    window = np.s_[max(y - round_it, 0) : y + h + round_it, max(x - round_it, 0) : x + w + round_it]
    part, lacking = picture[window], mask[window]
    hw = part.shape[:2]
    scale = min(side / max(hw), 1.0)
    small_wh = (max(round(hw[1] * scale), 1), max(round(hw[0] * scale), 1))
    small = part if scale == 1 else cv2.resize(part, small_wh, interpolation=cv2.INTER_AREA)
    holes = cv2.resize(lacking.astype(np.uint8), small_wh, interpolation=cv2.INTER_NEAREST) > 0
    more = ((0, -small_wh[1] % multiple), (0, -small_wh[0] % multiple))
    made = paint(np.pad(small, (*more, (0, 0)), mode="edge"), np.pad(holes, more, mode="edge"))
    made = np.ascontiguousarray(made[: small_wh[1], : small_wh[0]], np.float32)
    if scale < 1:
        made = cv2.resize(made, hw[::-1], interpolation=cv2.INTER_CUBIC)
    out = picture.copy()
    out[window][lacking] = np.rint(np.clip(made[lacking], 0, 1) * 255)
    return out

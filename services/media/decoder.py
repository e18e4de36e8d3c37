"""What every clip backend delivers: facts about the clip and source code values by frame number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from services.errors import InvalidRequest

Array = np.ndarray

PIXEL_BUDGET = 2**26  # pixels in one picture: 8K is 2**25
FIELD = "clip.path"


@dataclass(frozen=True)
class ClipInfo:
    """Facts about a clip. ``wh`` is the displayed picture; ``coded_wh`` is what the file stores.

    ``bit_depth`` is that of the code values ``read`` returns: 8 (uint8), 16 (uint16) or 32 (float32); ``source_bits``
    what the file holds (10 for 10-bit video, whose code values are spread over the whole of uint16). ``rotation_deg``
    turns the stored picture counter-clockwise. ``matrix``, ``transfer`` and ``primaries`` are the file's colour tags,
    "" = none; a YUV matrix that is not tagged is filled in.
    """

    codec: str
    wh: tuple[int, int]
    coded_wh: tuple[int, int]
    rate: Fraction
    count: int
    bit_depth: int
    source_bits: int
    pixel_aspect: Fraction = Fraction(1)
    rotation_deg: int = 0
    matrix: str = ""
    full_range: bool = True
    transfer: str = ""
    primaries: str = ""
    variable_rate: bool = False
    is_video: bool = False

    @property
    def dtype(self) -> np.dtype:
        return np.dtype({8: np.uint8, 16: np.uint16, 32: np.float32}[self.bit_depth])


class Decoder(Protocol):
    """A backend. ``decode`` returns (H, W, 3) RGB code values, displayed the right way round with square pixels."""

    @property
    def info(self) -> ClipInfo: ...

    @property
    def numbers(self) -> Sequence[int]: ...

    @property
    def files(self) -> Sequence[Path]: ...  # whose bytes are the clip

    def decode(self, number: int) -> Array: ...

    def close(self) -> None: ...


def check_budget(wh: tuple[int, int], path: Path, field: str = FIELD) -> None:
    """Raise ``InvalidRequest`` for a picture of more than ``PIXEL_BUDGET`` pixels, or of none."""
    if min(wh) < 1 or wh[0] * wh[1] > PIXEL_BUDGET:
        raise InvalidRequest(field, f"a picture of 1..{PIXEL_BUDGET} pixels", f"{wh[0]}x{wh[1]} in {path.name}")


def square_wh(wh: tuple[int, int], pixel_aspect: Fraction) -> tuple[int, int]:
    """Raster with square pixels: the number of lines stays, the width follows the pixel aspect."""
    return max(1, round(wh[0] * pixel_aspect)), wh[1]


def square_pixels(image: Array, pixel_aspect: Fraction) -> Array:
    """Resample (H, W, 3) to square pixels; the same array when they are square already."""
    h, w = image.shape[:2]
    wh = square_wh((w, h), pixel_aspect)
    if wh == (w, h):
        return image
    return cv2.resize(image, wh, interpolation=cv2.INTER_AREA if wh[0] < w else cv2.INTER_LINEAR)

"""Clips: a video file or an image sequence, one frame at a time.

    with open_clip("shot.mov") as clip:
        for number in clip.numbers:
            plate = clip.linear(number)     # (H, W, 3) float32 scene-linear Rec.709

Frames of a video are numbered from 0 in presentation order; sequences keep their files' numbers. Pictures are as
displayed: rotation and pixel aspect applied. Memory does not grow with the length of the clip.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from services.errors import InvalidRequest
from services.media import colour
from services.media.decoder import FIELD, ClipInfo, Decoder
from services.media.digest import files_digest
from services.media.sequence import SequenceDecoder, is_sequence

Array = np.ndarray

CACHE_BYTES = 128 * 2**20  # decoded frames kept, so that neighbours in time are decoded once


class ClipReader:
    """A ``geometry.scene.FrameSource`` over one backend, cut to a range of frames. Safe to share between threads."""

    def __init__(self, decoder: Decoder, numbers: Sequence[int], colorspace: str = "") -> None:
        self._decoder = decoder
        self._numbers = numbers
        self._transform = colour.transform_for(decoder.info, colorspace)
        self._cache: OrderedDict[int, Array] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def info(self) -> ClipInfo:
        return self._decoder.info

    @property
    def numbers(self) -> Sequence[int]:
        return self._numbers

    @property
    def rate(self) -> Fraction:
        return self.info.rate

    @property
    def hw(self) -> tuple[int, int]:
        return self.info.wh[1], self.info.wh[0]

    @property
    def bit_depth(self) -> int:
        """Of the code values ``read`` returns: 8, 16 or 32 (float)."""
        return self.info.bit_depth

    @property
    def colorspace(self) -> str:
        """OCIO's name of the colour space the code values are read in."""
        return self._transform.name

    @property
    def files(self) -> Sequence[Path]:
        """Whose bytes are the clip."""
        return self._decoder.files

    @cached_property
    def digest(self) -> str:
        """sha256 of the content: the bytes of the files (of a sequence, those in range), for the keys of stages."""
        return files_digest(self._decoder.files)

    def read(self, number: int) -> Array:
        """(H, W, 3) source code values: uint8, uint16 or float32. Raises ``InvalidRequest`` outside the range."""
        if number not in self._numbers:
            raise InvalidRequest("frame", f"one of {_span(self._numbers)}", number)
        with self._lock:
            picture = self._cache.pop(number, None)
            if picture is None:
                picture = self._decoder.decode(number)
            self._cache[number] = picture
            while len(self._cache) > max(2, CACHE_BYTES // picture.nbytes):
                self._cache.popitem(last=False)
            return picture.copy()

    def linear(self, number: int) -> Array:
        """(H, W, 3) float32 scene-linear Rec.709."""
        return self._transform.linear(self.read(number))

    def encode(self, linear: Array, number: int) -> Array:
        """Inverse of ``linear``: (..., 3) scene-linear to the source's code values, no dither, half rounds to even."""
        return self._transform.encode(linear, self.info.dtype)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> Array:
        """(h, w, 3) uint8 sRGB, area-filtered down to ``wh``."""
        code = self.read(number)
        if isinstance(self._transform, colour.SrgbTransform):
            return _as_uint8(_resized(code, wh))
        linear = _resized(self._transform.linear(code), wh)
        return colour.SrgbTransform().encode(linear, np.dtype(np.uint8))

    def close(self) -> None:
        with self._lock:
            self._cache.clear()
            self._decoder.close()

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _pyav(path: Path) -> Decoder:
    from services.media.video import VideoDecoder

    return VideoDecoder(path)


def _decord(path: Path) -> Decoder:
    from services.media.video_decord import DecordDecoder

    return DecordDecoder(path)


VIDEO_BACKENDS: dict[str, Callable[[Path], Decoder]] = {"pyav": _pyav, "decord": _decord}


def open_clip(
    path: str | Path,
    *,
    first_frame: int | None = None,
    last_frame: int | None = None,
    colorspace: str = "",
    backend: str = "pyav",
) -> ClipReader:
    """Open a video file, a folder of pictures, one picture, or a ``%04d``, ``####`` or glob pattern.

    ``first_frame`` and ``last_frame`` are inclusive source frame numbers. ``backend`` reads video files: ``pyav``, or
    ``decord`` for files of trusted origin. Raises ``InvalidRequest`` that names ``clip.path``, ``clip.range`` or
    ``clip.colorspace`` and says what is wrong.
    """
    if backend not in VIDEO_BACKENDS:
        raise InvalidRequest("clip.backend", f"one of {', '.join(VIDEO_BACKENDS)}", repr(backend))
    path = Path(path).expanduser().absolute()
    if is_sequence(path):
        decoder: Decoder = SequenceDecoder.open(path, first_frame, last_frame)
    else:
        _check_file(path)
        decoder = VIDEO_BACKENDS[backend](path)
    try:
        return ClipReader(decoder, in_range(decoder.numbers, first_frame, last_frame), colorspace)
    except Exception:
        decoder.close()
        raise


def in_range(numbers: Sequence[int], first: int | None, last: int | None) -> Sequence[int]:
    """The part of ascending ``numbers``, without gaps, from ``first`` to ``last``."""
    low = numbers[0] if first is None else first
    high = numbers[-1] if last is None else last
    if low > high or low < numbers[0] or high > numbers[-1]:
        raise InvalidRequest("clip.range", f"frames within {_span(numbers)}", f"{low}-{high}")
    return numbers[numbers.index(low) : numbers.index(high) + 1]


def _span(numbers: Sequence[int]) -> str:
    return f"{numbers[0]}-{numbers[-1]}"


def _check_file(path: Path) -> None:
    if not path.exists():
        raise InvalidRequest(FIELD, "a video file, a folder of pictures or a pattern", f"{path}, which does not exist")
    if not path.is_file():
        raise InvalidRequest(FIELD, "a regular file", path)
    if path.stat().st_size == 0:
        raise InvalidRequest(FIELD, "a video file", f"an empty file: {path.name}")


def _as_uint8(code: Array) -> Array:
    return code if code.dtype == np.uint8 else colour.quantized(colour.normalized(code), np.dtype(np.uint8))


def _resized(image: Array, wh: tuple[int, int] | None) -> Array:
    h, w = image.shape[:2]
    if wh is None or wh == (w, h):
        return image
    shrinks = wh[0] <= w and wh[1] <= h
    return cv2.resize(image, wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

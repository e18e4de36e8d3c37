"""Image sequences: a folder, one picture, or a ``%04d``, ``####`` or glob pattern.

File numbers are kept when all names differ in one whole number before the suffix (``shot.0101.exr``); gaps are errors.
Names without such a counter, time stamps like ``1311868169.163498.png`` among them, are numbered from 0 in the order
of their names. All pictures have one size and one kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from glob import glob
from pathlib import Path

import numpy as np

from services.errors import InvalidRequest
from services.media import images
from services.media.decoder import FIELD, ClipInfo, square_pixels, square_wh

Array = np.ndarray

RATE = Fraction(24)  # pictures do not say
_COUNTER = re.compile(r"^(.*?)(\d+)$")
_TIME_STAMP = re.compile(r"^\d+\.\d+$")
_PRINTF = re.compile(r"%0?(\d*)d")
_HASHES = re.compile(r"#+")


def is_sequence(path: Path) -> bool:
    """Whether a clip's path means pictures rather than a video file."""
    return path.is_dir() or _is_pattern(path) or path.suffix.lower() in images.SUFFIXES


class SequenceDecoder:
    """Numbered pictures as code values; see the module. Headers are checked when it is made."""

    def __init__(self, files: dict[int, Path]) -> None:
        self._files = files
        self._numbers = list(files)
        headers = {number: images.read_header(path, FIELD) for number, path in files.items()}
        first = headers[self._numbers[0]]
        for number, header in headers.items():
            if header != first:
                raise InvalidRequest(FIELD, f"pictures like {files[self._numbers[0]].name}, {_described(first)}",
                                     f"{files[number].name}, {_described(header)}")
        self._info = ClipInfo(
            codec=files[self._numbers[0]].suffix[1:].lower(), wh=square_wh(first.wh, first.pixel_aspect),
            coded_wh=first.wh, rate=RATE, count=len(files), bit_depth=first.bit_depth, source_bits=first.bit_depth,
            pixel_aspect=first.pixel_aspect,
        )

    @classmethod
    def open(cls, path: Path, first: int | None = None, last: int | None = None) -> SequenceDecoder:
        """Find the pictures a clip's path means, from frame ``first`` to ``last``; no frame may be missing there."""
        files = find_files(path)
        low, high = (min(files) if first is None else first), (max(files) if last is None else last)
        if low > high or low < min(files) or high > max(files):
            raise InvalidRequest("clip.range", f"frames within {min(files)}-{max(files)}", f"{low}-{high}")
        for number in range(low, high + 1):
            if number not in files:
                raise InvalidRequest(FIELD, f"every frame from {low} to {high}", f"no frame {number} in {path}")
        return cls({number: files[number] for number in range(low, high + 1)})

    @property
    def info(self) -> ClipInfo:
        return self._info

    @property
    def numbers(self) -> Sequence[int]:
        return self._numbers

    @property
    def files(self) -> Sequence[Path]:
        return tuple(self._files.values())

    def decode(self, number: int) -> Array:
        """(H, W, 3) uint8, uint16 or float32 code values of frame ``number``."""
        return square_pixels(images.read_picture(self._files[number], FIELD), self._info.pixel_aspect)

    def close(self) -> None:
        """Nothing is held open."""


def find_files(path: Path) -> dict[int, Path]:
    """Pictures by frame number, ascending."""
    found = _listed(path)
    if not found:
        raise InvalidRequest(FIELD, "pictures (png, jpg, tif, exr)", f"none in {path}" if path.is_dir() else path)
    suffixes = sorted({file.suffix.lower() for file in found})
    if len(suffixes) > 1:
        raise InvalidRequest(FIELD, "pictures of one kind", f"{' and '.join(suffixes)} in {path}")
    return _numbered(found)


def _is_pattern(path: Path) -> bool:
    if path.exists():  # a real name that happens to hold such characters
        return False
    return bool(_PRINTF.search(path.name) or _HASHES.search(path.name) or any(c in path.name for c in "*?["))


def _listed(path: Path) -> list[Path]:
    if path.is_dir():
        found = [file for file in path.iterdir() if not file.name.startswith(".")]
    elif _is_pattern(path):
        candidates = map(Path, glob(str(path.parent / _glob(path.name))))
        found = [file for file in candidates if _matches(path.name, file.name)]
    else:
        found = [path] if path.is_file() else []
    return sorted(file for file in found if file.suffix.lower() in images.SUFFIXES and file.is_file())


def _glob(name: str) -> str:
    return _HASHES.sub("*", _PRINTF.sub("*", name))


def _matches(pattern: str, name: str) -> bool:
    """Whether ``name`` has digits, as many as asked for, where a printf or hash pattern wants them."""
    match = _PRINTF.search(pattern) or _HASHES.search(pattern)
    if match is None:
        return True
    width = int(match[1] or 1) if match[0].startswith("%") else len(match[0])
    before, after = re.escape(pattern[: match.start()]), re.escape(pattern[match.end() :])
    return re.fullmatch(rf"{before}\d{{{width},}}{after}", name) is not None


def _numbered(found: list[Path]) -> dict[int, Path]:
    counters = [None if _TIME_STAMP.match(file.stem) else _COUNTER.match(file.stem) for file in found]
    if None in counters:
        return dict(enumerate(found))
    matches = [match for match in counters if match]
    prefixes = sorted({match[1] for match in matches})
    if len(prefixes) > 1:
        raise InvalidRequest(FIELD, "one sequence; name it by a pattern", f"several: {', '.join(prefixes[:4])}")
    files: dict[int, Path] = {}
    for number, file in sorted(zip((int(match[2]) for match in matches), found, strict=True)):
        if number in files:
            raise InvalidRequest(FIELD, "one picture for each frame", f"{files[number].name} and {file.name}")
        files[number] = file
    return files


def _described(header: images.PictureHeader) -> str:
    return f"{header.wh[0]}x{header.wh[1]} with {header.bit_depth} bits"

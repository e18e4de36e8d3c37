"""Streaming video out: a picture at a time into a file that appears only when it is complete.

    with VideoWriter(out / "composite.mp4", wh, rate) as video:
        for picture in pictures:
            video.write(picture)            # (H, W, 3) uint8 sRGB
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import cast

import av
import numpy as np
from av.video.reformatter import Interpolation

from services.errors import ResourceExhausted

Array = np.ndarray

_BT709, _LIMITED, _FULL = 1, 1, 2
_EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


@dataclass(frozen=True)
class Codec:
    """FFmpeg encoder, pixel format and private options; ``even`` sides for subsampled chroma."""

    encoder: str
    pix_fmt: str
    options: dict[str, str] = field(default_factory=dict)
    even: tuple[int, int] = (2, 2)


CODECS = {
    "h264": Codec("libx264", "yuv420p", {"crf": "16", "preset": "medium"}),
    "h264_quick": Codec("libx264", "yuv420p", {"crf": "20", "preset": "veryfast"}),  # to look at, not to deliver
    "prores4444": Codec("prores_ks", "yuv444p10le", {"profile": "4444"}, even=(2, 1)),
    "prores4444_alpha": Codec("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16"}, even=(2, 1)),
    "ffv1": Codec("ffv1", "bgr0", even=(1, 1)),  # lossless
}


class VideoWriter:
    """Writes ``path`` (.mp4, .mov or .mkv by its suffix) through a temporary neighbour, renamed on success.

    Odd sides are padded by repeating the last row or column, where the codec needs even ones. Raises ``ValueError`` for
    an unknown codec or a picture of another size.
    """

    def __init__(self, path: Path, wh: tuple[int, int], rate: Fraction, codec: str = "h264") -> None:
        if codec not in CODECS:
            raise ValueError(f"codec: expected one of {', '.join(CODECS)}, got {codec!r}")
        self._codec = CODECS[codec]
        self._path, self._wh, self._count = path, wh, 0
        self._tmp = path.with_name(f".{path.stem}.part{path.suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov") else {}
        self._container = av.open(str(self._tmp), "w", options=options)
        stream = self._container.add_stream(self._codec.encoder, rate=rate, options=dict(self._codec.options))
        self._stream = cast(av.VideoStream, stream)
        self._stream.width, self._stream.height = (n + -n % m for n, m in zip(wh, self._codec.even, strict=True))
        self._stream.pix_fmt = self._codec.pix_fmt
        self._tag()

    def write(self, picture: Array) -> None:
        """Append (H, W, 3) uint8 or uint16 sRGB; (H, W, 4) with straight alpha where the codec has it."""
        (w, h), channels = self._wh, 4 if "yuva" in self._codec.pix_fmt else 3
        if picture.shape != (h, w, channels) or picture.dtype not in (np.uint8, np.uint16):
            expected = f"({h}, {w}, {channels}) uint8 or uint16"
            raise ValueError(f"picture: expected {expected}, got {picture.shape} {picture.dtype}")
        pad = ((0, self._stream.height - h), (0, self._stream.width - w), (0, 0))
        picture = np.pad(picture, pad, mode="edge") if any(map(any, pad)) else np.ascontiguousarray(picture)
        kind = ("rgb24", "rgb48le") if channels == 3 else ("rgba", "rgba64le")
        frame = av.VideoFrame.from_ndarray(picture, kind[picture.dtype == np.uint16])
        is_rgb = self._codec.pix_fmt == "bgr0"
        frame = frame.reformat(
            format=self._codec.pix_fmt, interpolation=_EXACT, src_color_range=_FULL,
            dst_color_range=_FULL if is_rgb else _LIMITED, dst_colorspace=None if is_rgb else _BT709,
        )
        frame.pts = self._count
        self._count += 1
        self._mux(frame)

    def close(self) -> None:
        """Finish the file and give it its name. Raises ``ValueError`` when nothing was written."""
        if self._count == 0:
            self.abandon()
            raise ValueError(f"{self._path.name}: expected at least one picture, got none")
        self._mux(None)
        try:
            self._container.close()
        except OSError as error:
            self._tmp.unlink(missing_ok=True)
            raise self._unwritable(error) from error
        self._tmp.replace(self._path)

    def abandon(self) -> None:
        """Leave no file behind."""
        try:
            self._container.close()
        finally:
            self._tmp.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _mux(self, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:  # the disk is full, or gone
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ResourceExhausted:
        return ResourceExhausted(f"{self._path.name}: cannot write: {error}")

    def _tag(self) -> None:
        """Say what the code values mean, so that players need not guess."""
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = _BT709
        if self._codec.pix_fmt == "bgr0":
            return
        context.colorspace, context.color_range = _BT709, _LIMITED

"""Video files by decord, for 8-bit files of trusted origin: its old FFmpeg can crash on damaged ones.

Facts about the clip (count, tags, rotation) come from ``services.media.video``; decord delivers the pictures, turned
the right way round, converted by its own arithmetic (within a few code values of the exact one). Needs the ``decord``
package.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.errors import InvalidRequest
from services.media.decoder import ClipInfo
from services.media.video import VideoDecoder, displayed

Array = np.ndarray
FIELD = "clip.backend"


class DecordDecoder:
    """A video file as uint8 code values by decord. Raises ``InvalidRequest`` for what decord would decode wrongly."""

    def __init__(self, path: Path) -> None:
        try:
            import decord
        except ImportError as error:
            raise InvalidRequest(FIELD, "pyav, because decord is not installed", "decord") from error
        facts = VideoDecoder(path)
        facts.close()
        self._info, self._path = facts.info, path
        _check_suits(facts)
        self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0))
        if len(self._reader) != self._info.count:
            raise InvalidRequest(FIELD, f"pyav, because the file has {self._info.count} frames",
                                 f"decord, which finds {len(self._reader)}")

    @property
    def info(self) -> ClipInfo:
        return self._info

    @property
    def numbers(self) -> Sequence[int]:
        return range(self._info.count)

    @property
    def files(self) -> Sequence[Path]:
        return (self._path,)

    def decode(self, number: int) -> Array:
        """(H, W, 3) uint8 RGB code values of frame ``number``."""
        upright = self._reader[number].asnumpy()
        # Decord turns the picture but keeps its pixels' aspect, which belongs to the stored picture.
        stored = np.rot90(upright, -(self._info.rotation_deg // 90))
        return displayed(np.ascontiguousarray(stored), self._info)

    def close(self) -> None:
        self._reader = None


def _check_suits(facts: VideoDecoder) -> None:
    if facts.info.bit_depth != 8:
        raise InvalidRequest(FIELD, "pyav for more than 8 bits", "decord")
    if facts.matrix_is_assumed and facts.info.matrix == "bt709":
        raise InvalidRequest(FIELD, "pyav for HD without a YUV matrix tag, which decord takes for BT.601", "decord")

"""Video files by PyAV (FFmpeg): frames by exact number, in presentation order.

Opening reads all packets once without decoding them, which gives the number of frames, their times and the key frames;
memory is a few bytes a frame. Reading decodes forward, and goes back to the right key frame when it must; every frame
is recognised by its time stamp, so that its number does not depend on how it was reached.

Only demuxers of real containers are allowed: play lists and text formats that would open other files are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.stream import Disposition
from av.video.reformatter import Interpolation

from services.errors import InvalidRequest
from services.media.decoder import FIELD, PIXEL_BUDGET, ClipInfo, check_budget, square_pixels, square_wh

Array = np.ndarray

DEMUXERS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mxf", "yuv4mpegpipe")
# Opening a file decodes some of it, and a stream may change its size on the way: the decoder itself keeps the budget.
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": ",".join(DEMUXERS), "max_pixels": str(PIXEL_BUDGET)}

# Names of H.273 code points, as FFmpeg spells them; 2 and 0 mean that the file does not say.
MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
TRANSFERS = {1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4",
             13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 18: "arib-std-b67"}
PRIMARIES = {1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020", 11: "smpte431",
             12: "smpte432"}

# Kr and Kb of each matrix (ITU-T H.273, table 4) and swscale's number for it.
_KR_KB = {"bt709": (0.2126, 0.0722), "fcc": (0.30, 0.11), "bt470bg": (0.299, 0.114), "smpte170m": (0.299, 0.114),
          "smpte240m": (0.212, 0.087), "bt2020nc": (0.2627, 0.0593)}
_SWSCALE = {"bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 5, "smpte240m": 7, "bt2020nc": 9}

# Swscale's default conversion is off by up to 3 code values; with these flags it rounds correctly.
_EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)
_LIMITED, _FULL = 1, 2  # FFmpeg's colour ranges


@dataclass(frozen=True)
class PacketIndex:
    """Presentation order of a video stream. ``pts`` (N,) ascending, or None when the file's time stamps are no use.

    ``keyframe[i]`` is the position of the last key frame at or before position i.
    """

    count: int
    pts: Array | None
    keyframe: Array
    variable_rate: bool


class VideoDecoder:
    """A video file as code values; see the module."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._container: av.container.InputContainer | None = None
        self._next = 0
        self._index = _packet_index(path)
        self._open()
        try:
            frame = self._frame(0)
            self._info = _clip_info(self._stream, frame, self._index, path)
            self.matrix_is_assumed = not frame.format.is_rgb and frame.colorspace in (0, 2)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> ClipInfo:
        return self._info

    @property
    def numbers(self) -> Sequence[int]:
        return range(self._index.count)

    @property
    def files(self) -> Sequence[Path]:
        return (self._path,)

    def decode(self, number: int) -> Array:
        """(H, W, 3) uint8 or uint16 RGB code values of frame ``number``."""
        frame = self._frame(number)
        if (frame.width, frame.height) != self._info.coded_wh:
            want, got = self._info.coded_wh, (frame.width, frame.height)
            raise InvalidRequest(FIELD, f"pictures of {want[0]}x{want[1]}", f"{got[0]}x{got[1]} in frame {number}")
        return displayed(rgb_from_frame(frame, self._info.matrix, self._info.full_range), self._info)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> None:
        """Start again at frame 0."""
        self.close()
        self._container = open_container(self._path)
        self._stream = video_stream(self._container, self._path)
        self._stream.thread_type = "AUTO"
        self._frames = self._container.decode(self._stream)
        self._next = 0

    def _frame(self, position: int) -> av.VideoFrame:
        """The frame at a presentation position."""
        start = int(self._index.keyframe[position])
        if not start <= self._next <= position:
            self._seek(start)
        while True:
            for found, frame in self._positions():
                if found == position:
                    return frame
                if found > position:
                    break
            # Not where the key frame's time promised it: some containers seek coarsely, so start further back.
            if start == 0:
                raise self._damaged(position)
            start = int(self._index.keyframe[start - 1])
            self._seek(start)

    def _positions(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames with their positions, from where the decoder stands."""
        try:
            for frame in self._frames:
                position = self._position(frame)
                if position is not None:
                    self._next = position + 1
                    yield position, frame
        except av.FFmpegError as error:
            raise self._damaged(self._next) from error

    def _position(self, frame: av.VideoFrame) -> int | None:
        if self._index.pts is None:
            return self._next
        if frame.pts is None:
            return None
        position = int(np.searchsorted(self._index.pts, frame.pts))
        known = position < self._index.count and self._index.pts[position] == frame.pts
        return position if known else None

    def _seek(self, keyframe: int) -> None:
        """Let the decoder stand at or before a key frame."""
        if keyframe == 0 or self._index.pts is None:
            self._open()
            return
        assert self._container is not None
        self._container.seek(int(self._index.pts[keyframe]), stream=self._stream)
        self._frames = self._container.decode(self._stream)
        self._next = keyframe

    def _damaged(self, position: int) -> InvalidRequest:
        self._next = -1  # the decoder stands nowhere: the next read seeks
        expected = f"{self._index.count} frames that can be decoded"
        return InvalidRequest(FIELD, expected, f"{self._path.name}, damaged or truncated at frame {position}")


def open_container(path: Path) -> av.container.InputContainer:
    """Open a local file with an allowed demuxer. Raises ``InvalidRequest`` for anything else."""
    try:
        return av.open(str(path), "r", options=dict(OPTIONS))
    except (av.FFmpegError, OSError) as error:
        raise InvalidRequest(FIELD, "a video file (mp4, mov, mkv, avi, ts, mxf)",
                             f"{path.name}, which is something else, damaged or truncated") from error


def video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The first moving picture of a container; cover art does not count."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    got = f"{path.name} with {' and '.join(kinds) or 'nothing'} only"
    raise InvalidRequest(FIELD, "a file with a video stream", got)


def _packet_index(path: Path) -> PacketIndex:
    with open_container(path) as container:
        stream = video_stream(container, path)
        check_budget((stream.width, stream.height), path)
        pts: list[int | None] = []
        keys: list[bool] = []
        total, end_s = 0, 0.0
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    end_s = max(end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream_index != stream.index or packet.size == 0:
                    continue
                if packet.is_corrupt:
                    raise _truncated(path, total)
                total += 1
                if not packet.is_discard:
                    pts.append(packet.pts)
                    keys.append(packet.is_keyframe)
        except (av.FFmpegError, OSError) as error:
            raise _truncated(path, total) from error
        if not pts:
            raise InvalidRequest(FIELD, "a video with frames", f"{path.name} without any")
        if stream.frames > total or _ends_early(container, end_s):
            raise _truncated(path, total)
        # AVI stores no presentation times, and some packets of VP8 show nothing.
        untimed = container.format.name == "avi" or stream.codec_context.name.endswith("vp8")
    if untimed or None in pts or len(set(pts)) < len(pts):
        return _counted_index(path)
    order = np.argsort(np.array(pts, np.int64))
    times = np.array(pts, np.int64)[order]
    keyframe = np.maximum.accumulate(np.where(np.array(keys)[order], np.arange(len(times)), 0))
    return PacketIndex(len(times), times, keyframe, _varies(times))


def _ends_early(container: av.container.InputContainer, end_s: float) -> bool:
    """Matroska's header says how long all streams last, but not how many frames there are."""
    if "matroska" not in container.format.name or container.duration is None:
        return False
    return end_s < container.duration / av.time_base - 0.1


def _truncated(path: Path, frames: int) -> InvalidRequest:
    return InvalidRequest(FIELD, "a complete video file", f"{path.name}, truncated after {frames} frames")


def _counted_index(path: Path) -> PacketIndex:
    """Decode all to count the frames: for streams whose packets have no usable times, or do not show one frame each."""
    with open_container(path) as container:
        try:
            count = sum(1 for _ in container.decode(video_stream(container, path)))
        except av.FFmpegError as error:
            raise InvalidRequest(FIELD, "a video that can be decoded", f"{path.name}, damaged or truncated") from error
    if count == 0:
        raise InvalidRequest(FIELD, "a video with frames", f"{path.name} without any")
    return PacketIndex(count, None, np.zeros(count, np.int64), False)


def _varies(times: Array) -> bool:
    """Whether frames are unevenly spaced by more than the container's own rounding of times."""
    if len(times) < 3:
        return False
    steps = np.diff(times)
    typical = np.median(steps)
    return bool(np.abs(steps - typical).max() > max(1.0, 0.05 * typical))


def _clip_info(stream: av.VideoStream, frame: av.VideoFrame, index: PacketIndex, path: Path) -> ClipInfo:
    coded_wh = (frame.width, frame.height)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    rotation = frame.rotation % 360
    if rotation % 90:
        raise InvalidRequest(FIELD, "a display rotation of 0, 90, 180 or 270 degrees", f"{rotation} in {path.name}")
    w, h = square_wh(coded_wh, aspect)
    check_budget((w, h), path)
    bits = max(component.bits for component in frame.format.components)
    return ClipInfo(
        codec=stream.codec_context.name,
        wh=(h, w) if rotation in (90, 270) else (w, h),
        coded_wh=coded_wh,
        rate=stream.average_rate or stream.guessed_rate or Fraction(24),
        count=index.count,
        bit_depth=8 if bits <= 8 else 16,
        source_bits=bits,
        pixel_aspect=aspect,
        rotation_deg=rotation,
        matrix=_matrix(frame, path),
        full_range=frame.format.is_rgb or frame.color_range == _FULL or frame.format.name.startswith("yuvj"),
        transfer=_tag(TRANSFERS, frame.color_trc),
        primaries=_tag(PRIMARIES, frame.color_primaries),
        variable_rate=index.variable_rate,
        is_video=True,
    )


def _tag(names: dict[int, str], code: int) -> str:
    return "" if code in (0, 2) else names.get(code, f"H.273 code {code}")


def _matrix(frame: av.VideoFrame, path: Path) -> str:
    """The YUV matrix: as tagged, else BT.709 from 720 lines and BT.601 below; "" for RGB."""
    if frame.format.is_rgb:
        return ""
    if frame.colorspace in (0, 2):
        return "bt709" if frame.height >= 720 else "smpte170m"
    if frame.colorspace not in MATRICES:
        raise InvalidRequest(FIELD, f"a YUV matrix of {', '.join(MATRICES.values())}",
                             f"H.273 matrix {frame.colorspace} in {path.name}")
    return MATRICES[frame.colorspace]


def rgb_from_frame(frame: av.VideoFrame, matrix: str, full_range: bool) -> Array:
    """(H, W, 3) RGB code values as stored: uint8, or uint16 spread over 0..65535 for more than 8 bits."""
    bits = max(component.bits for component in frame.format.components)
    if bits > 8 and matrix:
        return _rgb16_from_yuv(frame, matrix, full_range, bits)
    source_range = _FULL if full_range else _LIMITED
    options: dict[str, int] = {"interpolation": _EXACT, "src_color_range": source_range, "dst_color_range": _FULL}
    if matrix:
        options |= {"src_colorspace": _SWSCALE[matrix], "dst_colorspace": _SWSCALE[matrix]}
    return frame.reformat(format="rgb24" if bits <= 8 else "rgb48le", **options).to_ndarray()


def _rgb16_from_yuv(frame: av.VideoFrame, matrix: str, full_range: bool, bits: int) -> Array:
    """Deep YUV by its matrix in float32: swscale's own deep conversion is off by up to 4 of 1023 codes.

    ITU-T H.273, equations 30-44, on values shifted up to 16 bits.
    """
    same = _FULL if full_range else _LIMITED
    yuv = frame.reformat(format="yuv444p16le", interpolation=_EXACT, src_color_range=same, dst_color_range=same)
    full_scale = float((2**bits - 1) << (16 - bits))
    black, luma, chroma = (0.0, full_scale, full_scale) if full_range else (16.0 * 256, 219.0 * 256, 224.0 * 256)
    kr, kb = _KR_KB[matrix]
    kg = 1 - kr - kb
    rgb_from_yuv = np.array([
        [1, 0, 2 * (1 - kr)],
        [1, -2 * kb * (1 - kb) / kg, -2 * kr * (1 - kr) / kg],
        [1, 2 * (1 - kb), 0],
    ])
    scaled = 65535.0 * rgb_from_yuv / (luma, chroma, chroma)
    offset = -scaled @ (black, 32768.0, 32768.0)
    return cv2.transform(yuv.to_ndarray(), np.column_stack([scaled, offset]))


def displayed(rgb: Array, info: ClipInfo) -> Array:
    """A stored picture as it is shown: square pixels first, then turned."""
    return np.ascontiguousarray(np.rot90(square_pixels(rgb, info.pixel_aspect), info.rotation_deg // 90))

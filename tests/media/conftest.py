"""Clips and pictures made on the spot, whose every frame tells its number."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation

Array = np.ndarray
WH = (96, 64)
COUNT = 24
EXACT = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT)


def numbered_picture(number: int, wh: tuple[int, int] = WH) -> Array:
    """(H, W, 3) uint8: smooth ramps, the number as grey level in the middle, a red top-left corner."""
    w, h = wh
    picture = np.zeros((h, w, 3), np.uint8)
    picture[..., 1] = np.linspace(40, 200, w)[None]
    picture[..., 2] = np.linspace(40, 200, h)[:, None]
    picture[h // 4 : 3 * h // 4, w // 4 : 3 * w // 4] = 20 + 8 * number
    picture[: h // 4, : w // 4] = (220, 20, 20)
    return picture


def number_of(picture: Array) -> int:
    """The number a decoded ``numbered_picture`` shows."""
    h, w = picture.shape[:2]
    scale = 257 if picture.dtype == np.uint16 else 1
    level = picture[h // 2 - 4 : h // 2 + 4, w // 2 - 4 : w // 2 + 4].mean() / scale
    return round((level - 20) / 8)


def write_video(
    path: Path,
    pictures: list[Array],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    matrix: int = 1,
    rotation_deg: int = 0,
    aspect: Fraction = Fraction(1),
    times: list[int] | None = None,
    rate: Fraction = Fraction(25),
    limited: bool = True,
) -> Path:
    """A video with B-frames and a key frame every 8 frames. ``matrix`` is FFmpeg's number, 2 leaves it untagged."""
    options = {"crf": "4", "g": "8", "bf": "2"} if options is None else options
    h, w = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = w, h, pix_fmt
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 1 if limited else 2
        if aspect != 1:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation_deg:
            stream.set_display_rotation(rotation_deg)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24" if picture.dtype == np.uint8 else "rgb48le").reformat(
                format=pix_fmt, dst_colorspace=matrix if matrix != 2 else 5, src_color_range=2,
                dst_color_range=1 if limited else 2, interpolation=EXACT)
            frame.pts = i if times is None else times[i]
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames 96x64, B-frames, three groups of pictures, BT.709 tagged."""
    path = tmp_path_factory.mktemp("video") / "numbered.mp4"
    return write_video(path, [numbered_picture(i) for i in range(COUNT)])

"""Still pictures: PNG (8 and 16 bit), JPEG, TIFF and EXR in; PNG out, lossless.

Arrays are (H, W, 3) RGB or (H, W, 4) RGBA code values; masks are (H, W) float32 in [0, 1].
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from services.errors import InvalidRequest
from services.media import exr
from services.media.decoder import check_budget

Array = np.ndarray

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr")
_FORMATS = ("PNG", "JPEG", "TIFF")
_EXIF_ORIENTATION = 0x0112
# One filter for all rows and zlib's fastest level: twice as fast as trying every filter, for a few per cent more bytes.
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)


@dataclass(frozen=True)
class PictureHeader:
    """What a file's header says; ``wh`` after the camera's orientation tag; ``bit_depth`` 8, 16 or 32 (float)."""

    wh: tuple[int, int]
    bit_depth: int
    pixel_aspect: Fraction = Fraction(1)


def read_header(path: Path, field: str = "path") -> PictureHeader:
    """Size and depth without decoding. Raises ``InvalidRequest`` for a missing, empty, foreign or too large file."""
    _check_exists(path, field)
    if path.suffix.lower() == ".exr":
        header = exr.read_header(path, field)
        return PictureHeader(header.wh, 32, header.pixel_aspect)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            wh, mode = image.size, image.mode
            turned = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            depth = _bit_depth(path, image.format, mode)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidRequest(field, "a picture within the pixel budget", path.name) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, field) from error
    check_budget(wh, path, field)
    return PictureHeader((wh[1], wh[0]) if turned else wh, depth)


def _bit_depth(path: Path, kind: str | None, mode: str) -> int:
    """PIL hides the depth of 16-bit RGB pictures: PNG keeps it in byte 24 (IHDR), TIFF in tag 258."""
    if kind == "PNG":
        with open(path, "rb") as file:
            return 16 if struct.unpack("24xB", file.read(25))[0] == 16 else 8
    if kind == "TIFF":
        with Image.open(path, formats=("TIFF",)) as image:
            bits = max(image.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]
        return 8 if bits <= 8 else bits
    return 8


def read_picture(path: Path, field: str = "path") -> Array:
    """(H, W, 3) RGB code values: uint8, uint16, or float32 for EXR. Alpha is dropped, grey is repeated."""
    header = read_header(path, field)
    if header.bit_depth == 32:
        return exr.read_rgb(path, field) if path.suffix.lower() == ".exr" else _read_cv2(path, field, header)
    if header.bit_depth == 16:
        return _read_cv2(path, field, header)
    return _read_pil(path, field, "RGB")


def read_rgba(path: Path, field: str = "path") -> Array:
    """(H, W, 4) uint8 RGBA with straight alpha; 255 where the file has none."""
    read_header(path, field)
    return _read_pil(path, field, "RGBA")


def read_layer(path: Path, field: str = "path") -> tuple[Array, Array]:
    """(h, w, 3) colour and (h, w) alpha as stored, straight or premultiplied: uint8, uint16, or float32 for EXR."""
    header = read_header(path, field)
    if path.suffix.lower() == ".exr":
        channels = exr.read_channels(path, field)
        return exr.colour_of(channels, path, field), exr.alpha_of(channels)
    if header.bit_depth == 8:
        rgba = _read_pil(path, field, "RGBA")
        return np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3])
    bgra = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if bgra is None or bgra.shape[1::-1] != header.wh or bgra.dtype not in (np.uint16, np.float32):
        raise _damaged(path, field)
    if bgra.ndim == 3 and bgra.shape[2] == 4:
        return np.ascontiguousarray(bgra[..., 2::-1]), np.ascontiguousarray(bgra[..., 3])
    alpha = np.full(bgra.shape[:2], 1 if bgra.dtype == np.float32 else 65535, bgra.dtype)
    return np.repeat(bgra[..., None], 3, 2) if bgra.ndim == 2 else np.ascontiguousarray(bgra[..., ::-1]), alpha


def read_plane(path: Path, field: str = "path") -> Array:
    """(h, w) of a grey picture (of a coloured one, its first channel) as stored; channel Z, else Y or R of an EXR."""
    if path.suffix.lower() == ".exr":
        channels = exr.read_channels(path, field)
        name = next((name for name in ("Z", "depth.Z", "Y", "R") if name in channels), None)
        if name is None:
            raise InvalidRequest(field, "a channel Z", f"{path.name} with {', '.join(channels)}")
        return channels[name].astype(np.float32)
    return np.ascontiguousarray(read_picture(path, field)[..., 0])


def read_mask(path: Path, field: str = "path") -> Array:
    """(H, W) float32 in [0, 1] of a grey picture; of a coloured one, its first channel."""
    picture = read_picture(path, field)[..., 0]
    return picture if picture.dtype == np.float32 else picture / np.float32(np.iinfo(picture.dtype).max)


def write_picture(path: Path, picture: Array) -> None:
    """PNG, lossless: (H, W), (H, W, 3) or (H, W, 4), uint8 or uint16. Raises ``ValueError`` for anything else."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"{path.name}: expected a .png")
    data = encode_png(picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def encode_png(picture: Array) -> bytes:
    """The bytes of what ``write_picture`` takes."""
    if picture.dtype not in (np.uint8, np.uint16) or picture.ndim not in (2, 3):
        raise ValueError(f"picture: expected (H, W[, 3 or 4]) uint8 or uint16, got {picture.dtype} {picture.shape}")
    order = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, order[picture.shape[2]])
    done, data = cv2.imencode(".png", picture, PNG)
    if not done:
        raise ValueError(f"picture: expected one PNG can hold, got {picture.dtype} {picture.shape}")
    return data.tobytes()


def write_mask(path: Path, mask: Array) -> None:
    """(H, W) in [0, 1] as an 8-bit grey PNG."""
    write_picture(path, np.rint(np.clip(mask, 0, 1) * 255).astype(np.uint8))


def encode_jpeg(picture: Array, quality: int = 80) -> bytes:
    """(H, W, 3) uint8 sRGB as JPEG bytes, for previews."""
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def read_latlong(path: Path, field: str = "lighting.hdri") -> Array:
    """(H, W, 3) float32 linear radiance of a Radiance ``.hdr`` or an ``.exr`` environment picture."""
    _check_exists(path, field)
    if path.suffix.lower() == ".exr":
        return exr.read_rgb(path, field)
    if path.suffix.lower() != ".hdr":
        raise InvalidRequest(field, "a .hdr or .exr file", path.name)
    check_budget(_hdr_wh(path, field), path, field)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise _damaged(path, field)
    return np.ascontiguousarray(image[..., ::-1], np.float32)


def write_latlong(path: Path, radiance: Array) -> None:
    """(H, W, 3) linear radiance as ``.exr`` (float32) or ``.hdr`` (shared exponent, about 1 % exact)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".exr":
        exr.write_rgb(path, radiance, half=False)
        return
    if path.suffix.lower() != ".hdr":
        raise ValueError(f"{path.name}: expected .hdr or .exr")
    path.write_bytes(cv2.imencode(".hdr", np.ascontiguousarray(radiance[..., ::-1], np.float32))[1].tobytes())


def _hdr_wh(path: Path, field: str) -> tuple[int, int]:
    """Size from the resolution line, ``-Y height +X width``, that ends a Radiance header."""
    with open(path, "rb") as file:
        head = file.read(4096)
    words = head.partition(b"\n\n")[2].split(b"\n", 1)[0].split()
    if not head.startswith(b"#?") or len(words) != 4 or words[0] != b"-Y" or words[2] != b"+X":
        raise _damaged(path, field)
    try:
        return int(words[3]), int(words[1])
    except ValueError as error:
        raise _damaged(path, field) from error


def _read_pil(path: Path, field: str, mode: str) -> Array:
    """PIL, because it refuses a truncated file that OpenCV pads with grey."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.load()
            return np.array(_upright(image).convert(mode))
    except (OSError, SyntaxError, ValueError) as error:
        raise _damaged(path, field) from error


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _read_cv2(path: Path, field: str, header: PictureHeader) -> Array:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise _damaged(path, field)
    if image.dtype not in (np.uint16, np.float32) or (image.shape[1], image.shape[0]) != header.wh:
        raise InvalidRequest(field, f"16-bit or float {header.wh}", f"{image.dtype} {image.shape} in {path.name}")
    return np.ascontiguousarray(image[..., ::-1])


def _check_exists(path: Path, field: str) -> None:
    if not path.is_file():
        raise InvalidRequest(field, "a picture file", f"{path}, which does not exist")
    if path.stat().st_size == 0:
        raise InvalidRequest(field, "a picture", f"an empty file: {path.name}")


def _damaged(path: Path, field: str) -> InvalidRequest:
    return InvalidRequest(field, "a PNG, JPEG, TIFF, HDR or EXR picture", f"{path.name}, damaged or something else")

"""OpenEXR pictures: channels by name, several layers in one file, lossless ZIP.

Headers are read first: a file of a few hundred bytes can ask for gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR

from services.errors import InvalidRequest
from services.media.decoder import check_budget

Array = np.ndarray

BYTE_BUDGET = 2**31  # of all decoded channels of a file
RGB = ("R", "G", "B")


@dataclass(frozen=True)
class ExrHeader:
    """``wh`` is the display window of the first part; ``parts`` the names of each part's channels."""

    wh: tuple[int, int]
    parts: tuple[frozenset[str], ...]
    pixel_aspect: Fraction


def read_header(path: Path, field: str = "path") -> ExrHeader:
    """Header of an EXR file. Raises ``InvalidRequest`` for another format, or for more than the budget."""
    with _opened(path, field, header_only=True) as file:
        decoded_bytes = 0
        parts: list[frozenset[str]] = []
        for part in file.parts:
            wh = _window_wh(part.header["dataWindow"])
            check_budget(wh, path, field)
            check_budget(_window_wh(part.header["displayWindow"]), path, field)
            parts.append(frozenset(channel.name for channel in part.header["channels"]))
            decoded_bytes += wh[0] * wh[1] * 4 * len(parts[-1])
        if decoded_bytes > BYTE_BUDGET:
            raise InvalidRequest(field, f"at most {BYTE_BUDGET} decoded bytes", f"{decoded_bytes} in {path.name}")
        first = file.parts[0].header
        aspect = Fraction(float(first.get("pixelAspectRatio", 1.0))).limit_denominator(1000)
        return ExrHeader(_window_wh(first["displayWindow"]), tuple(parts), aspect)


def read_channels(path: Path, field: str = "path") -> dict[str, Array]:
    """All channels of the first part, (H, W) each on the display window, with the type they are stored in.

    Nothing outside the data window: 0 there. Raises ``InvalidRequest`` for a damaged file.
    """
    return _part_channels(path, field, lambda names: True)


@dataclass(frozen=True)
class ExrPart:
    """``channels`` (h, w) as stored, of the data window, whose first pixel lies at ``xy`` of the display window.

    ``note`` is the text of the attribute ``backlot``.
    """

    name: str
    channels: Mapping[str, Array]
    xy: tuple[int, int] = (0, 0)
    note: str = ""


def read_parts(path: Path, field: str = "path") -> tuple[ExrPart, ...]:
    """All parts of a file, flat ones only. Raises ``InvalidRequest`` as ``read_header``."""
    names = read_header(path, field).parts
    with _opened(path, field, separate_channels=True) as file:
        if [frozenset(part.channels) for part in file.parts] != list(names):
            raise _damaged(path, field)
        return tuple(_part(part, path, field) for part in file.parts)


def _part(part: Any, path: Path, field: str) -> ExrPart:
    if part.header.get("type") not in (None, OpenEXR.scanlineimage, OpenEXR.tiledimage):
        raise InvalidRequest(field, "flat pictures", f"deep ones in {path.name}")
    (left, top), _ = part.header["displayWindow"]
    (x, y), _ = part.header["dataWindow"]
    channels = {name: channel.pixels for name, channel in part.channels.items()}
    return ExrPart(str(part.header.get("name", "")), channels, (int(x - left), int(y - top)),
                   str(part.header.get("backlot", "")))


def write_parts(path: Path, wh: tuple[int, int], parts: Sequence[ExrPart]) -> None:
    """A multipart file on a display window of ``wh``; types as in ``write_channels``."""
    made = []
    for part in parts:
        h, w = next(iter(part.channels.values())).shape
        (x, y), planes = part.xy, {name: np.ascontiguousarray(plane) for name, plane in part.channels.items()}
        header = {
            "name": part.name, "type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION,
            "displayWindow": (np.array([0, 0], np.int32), np.array([wh[0] - 1, wh[1] - 1], np.int32)),
            "dataWindow": (np.array([x, y], np.int32), np.array([x + w - 1, y + h - 1], np.int32)),
            **({"backlot": part.note} if part.note else {}),
        }  # fmt: skip
        made.append(OpenEXR.Part(header, planes, part.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with OpenEXR.File(made) as file:
        file.write(str(path))


def colour_of(channels: Mapping[str, Array], path: Path, field: str = "path", prefix: str = "") -> Array:
    """(h, w, 3) float32 of R, G and B, or of Y alone; ``prefix`` as in ``sky.R``."""
    names = [prefix + name for name in (RGB if prefix + "R" in channels else "YYY")]
    if not set(names) <= set(channels):
        raise InvalidRequest(field, f"channels {', '.join(prefix + name for name in RGB)}",
                             f"{path.name} with {', '.join(channels)}")
    return np.stack([channels[name] for name in names], -1).astype(np.float32)


def alpha_of(channels: Mapping[str, Array], prefix: str = "") -> Array:
    """(h, w) float32; 1 where there is no channel A."""
    if prefix + "A" in channels:
        return channels[prefix + "A"].astype(np.float32)
    return np.ones(next(iter(channels.values())).shape, np.float32)


def read_rgb(path: Path, field: str = "path") -> Array:
    """(H, W, 3) float32 of the first part that has R, G and B; a picture with Y alone is grey."""
    channels = _part_channels(path, field, lambda names: set(RGB) <= names or "Y" in names)
    planes = [channels[name] for name in RGB] if "R" in channels else [channels["Y"]] * 3
    return np.stack(planes, -1).astype(np.float32)


def read_depth(path: Path, field: str = "path") -> Array:
    """(H, W) float32 channel ``Z`` of the first part that has one."""
    return _part_channels(path, field, lambda names: "Z" in names)["Z"].astype(np.float32)


def write_channels(path: Path, channels: Mapping[str, Array], header: Mapping[str, Any] | None = None) -> None:
    """Write (H, W) planes under their full names, e.g. ``object.R``; float16, float32 and uint32 stay what they are.

    Raises ``ValueError`` for another type or for planes of different shapes.
    """
    shape = next(iter(channels.values())).shape
    for name, plane in channels.items():
        if plane.shape != shape or plane.ndim != 2:
            raise ValueError(f"{name}: expected (H, W) = {shape}, got {plane.shape}")
        if plane.dtype not in (np.float16, np.float32, np.uint32):
            raise ValueError(f"{name}: expected float16, float32 or uint32, got {plane.dtype}")
    attributes = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(header or {})}
    planes = {name: np.ascontiguousarray(plane) for name, plane in channels.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with OpenEXR.File(attributes, planes) as file:
        file.write(str(path))


def write_measured(path: Path, channels: Mapping[str, Array]) -> None:
    """Maps at 24 bits a float32 value (2^-16 of it): several times smaller and faster than all digits are."""
    write_channels(path, channels, {"compression": OpenEXR.PXR24_COMPRESSION})


def write_rgb(path: Path, rgb: Array, *, half: bool = True) -> None:
    """(H, W, 3) scene-linear picture."""
    dtype = np.float16 if half else np.float32
    write_channels(path, {name: _as(rgb[..., i], dtype) for i, name in enumerate(RGB)})


def write_depth(path: Path, depth: Array) -> None:
    """(H, W) z-depth as one float32 channel ``Z``."""
    write_channels(path, {"Z": depth.astype(np.float32)})


@dataclass(frozen=True)
class CompositeLayers:
    """Layers of one finished frame; ``composite = plate * ratio * (1 - object alpha) + object`` in linear light."""

    composite: Array  # (H, W, 4) RGBA
    plate: Array  # (H, W, 3)
    object: Array  # (H, W, 4) premultiplied, occluded, matched
    ratio: Array  # (H, W, 3)
    occlusion: Array  # (H, W)
    normal: Array  # (H, W, 3) world
    motion: Array  # (H, W, 2) px to the next frame
    depth: Array  # (H, W) z along the optical axis, 0 = nothing
    object_id: Array  # (H, W) integers, 0 = nothing


def write_layers(path: Path, layers: CompositeLayers) -> None:
    """One multi-layer EXR: half floats, but depth and ids with 32 bits."""
    channels: dict[str, Array] = {}
    for prefix, names, image in (
        ("", "RGBA", layers.composite), ("plate.", "RGB", layers.plate), ("object.", "RGBA", layers.object),
        ("ratio.", "RGB", layers.ratio), ("occlusion.", "A", layers.occlusion[..., None]),
        ("N.", "XYZ", layers.normal), ("motion.", "XY", layers.motion),
    ):
        channels |= {prefix + name: _as(image[..., i], np.float16) for i, name in enumerate(names)}
    channels["depth.Z"] = layers.depth.astype(np.float32)
    channels["id"] = layers.object_id.astype(np.uint32)
    write_channels(path, channels)


def _as(plane: Array, dtype: type) -> Array:
    """Cast; values beyond a half float's range are clipped to it, so that no inf is born."""
    limit = np.finfo(dtype).max
    return np.clip(plane, -limit, limit).astype(dtype)


def _part_channels(path: Path, field: str, wanted: Callable[[frozenset[str]], bool]) -> dict[str, Array]:
    """Channels of the first part whose set of names is ``wanted``, on the display window."""
    parts = read_header(path, field).parts
    index = next((i for i, names in enumerate(parts) if wanted(names)), None)
    if index is None:
        there = ", ".join(sorted(frozenset().union(*parts)))
        raise InvalidRequest(field, "the channels that are needed", f"{path.name} with {there}")
    with _opened(path, field, separate_channels=True) as file:
        # The binding leaves out what it cannot read.
        if len(file.parts) != len(parts) or parts[index] != set(file.parts[index].channels):
            raise _damaged(path, field)
        part = file.parts[index]
        window, frame = part.header["dataWindow"], part.header["displayWindow"]
        return {name: _on_display(channel.pixels, window, frame) for name, channel in part.channels.items()}


def _on_display(pixels: Array, data_window: Any, display_window: Any) -> Array:
    """Lay the data window's pixels on the display window."""
    w, h = _window_wh(display_window)
    if pixels.shape == (h, w) and np.array_equal(data_window[0], display_window[0]):
        return pixels
    x, y = (int(a) - int(b) for a, b in zip(data_window[0], display_window[0], strict=True))
    out = np.zeros((h, w), pixels.dtype)
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + pixels.shape[1], w), min(y + pixels.shape[0], h)
    if x1 > x0 and y1 > y0:
        out[y0:y1, x0:x1] = pixels[y0 - y : y1 - y, x0 - x : x1 - x]
    return out


def _window_wh(window: Any) -> tuple[int, int]:
    (x0, y0), (x1, y1) = ([int(v) for v in corner] for corner in window)
    return x1 - x0 + 1, y1 - y0 + 1


def _opened(path: Path, field: str, **options: Any) -> OpenEXR.File:
    try:
        return OpenEXR.File(str(path), **options)
    except Exception as error:  # the binding raises plain RuntimeError, ValueError and OSError
        raise _damaged(path, field) from error


def _damaged(path: Path, field: str) -> InvalidRequest:
    return InvalidRequest(field, "an EXR picture", f"{path.name}, missing, damaged or something else")

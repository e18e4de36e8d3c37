"""Layered Photoshop documents, 8 or 16 bits, RGB.

Groups are flattened into names like ``group/layer``. A layer that clips is painted into its base, as it belongs to it.
Depth comes along in a hidden group called ``depth NEAR:FAR``: a grey layer for each layer that it is about, under the
same name, inverse-normalised (see ``raw_layers``), metres where it ends in ``m``; painters can paint in it. A hidden
layer called ``picture`` marks the part of the canvas that is the picture, and ``picture FX,FY,CX,CY`` the lens as well,
px of the canvas. The header is read first.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geometry.camera import Camera
from services.errors import InvalidRequest
from services.media.colour import normalized, quantized
from services.media.decoder import check_budget
from services.media.raw_layers import RawLayer, RawLayers, depth_from_code

Array = np.ndarray

LONGEST_SIDE_PX = 30_000
BYTE_BUDGET = 2**32  # of all decoded layers
DEPTH_GROUP = re.compile(r"depth ([\d.e+-]+):([\d.e+-]+)( m)?")
PICTURE = re.compile(r"picture(?: ([\d.e+-]+),([\d.e+-]+),([\d.e+-]+),([\d.e+-]+))?")
_HEADER = struct.Struct(">4sH6xHIIHH")
_MODES = {0: "bitmap", 1: "greyscale", 2: "indexed", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone", 9: "Lab"}
_RGB = 3
_PLAIN = ("NORMAL", "PASS_THROUGH")


def is_psd(path: Path) -> bool:
    return path.suffix.lower() in (".psd", ".psb")


def read_psd(path: Path, field: str) -> RawLayers:
    """Raises ``InvalidRequest`` for a file that is damaged, of another kind, or has a single layer."""
    wh, dtype = _check_header(path, field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what cannot be decoded would be black
            return _Reader(path, field, wh, dtype).read()
    except InvalidRequest:
        raise
    except Exception as error:  # the reader raises whatever a broken byte leads it to
        raise InvalidRequest(field, "a layered PSD", f"{path.name}, damaged: {error}") from error


def _check_header(path: Path, field: str) -> tuple[tuple[int, int], np.dtype]:
    with open(path, "rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size or not head.startswith(b"8BPS"):
        raise InvalidRequest(field, "a layered PSD", f"{path.name}, damaged or something else")
    _, _, _, height, width, bits, mode = _HEADER.unpack(head)
    if max(width, height) > LONGEST_SIDE_PX:
        raise InvalidRequest(field, f"sides of at most {LONGEST_SIDE_PX} px", f"{width}x{height} in {path.name}")
    check_budget((width, height), path, field)
    if bits not in (8, 16):
        raise InvalidRequest(field, "8 or 16 bits a channel", f"{bits} in {path.name}")
    if mode != _RGB:
        raise InvalidRequest(field, "an RGB document", f"{_MODES.get(mode, f'mode {mode}')} in {path.name}")
    return (width, height), np.dtype(np.uint8 if bits == 8 else np.uint16)


@dataclass(frozen=True)
class _Depth:
    xy: tuple[int, int]
    plane: Array


class _Reader:
    """One document; what is left out is noted on the way."""

    def __init__(self, path: Path, field: str, wh: tuple[int, int], dtype: np.dtype) -> None:
        from psd_tools import PSDImage

        self._path, self._field, self._wh, self._dtype = path, field, wh, dtype
        self._document = PSDImage.open(path)
        self._notes: list[str] = []

    def read(self) -> RawLayers:
        depths: dict[str, _Depth] = {}
        wanted: list[tuple[str, Any, float]] = []
        camera, picture, is_metric = None, None, False
        for layer in self._document:
            match = DEPTH_GROUP.fullmatch(layer.name) if layer.is_group() else None
            frame = None if layer.visible or layer.is_group() else PICTURE.fullmatch(layer.name)
            if match:
                depths |= self._depths(layer, float(match[1]), float(match[2]))
                is_metric = match[3] is not None
            elif frame:
                picture = layer.bbox
                if frame[1]:
                    fx, fy, cx, cy = map(float, frame.groups())
                    camera = Camera(fx, fy, cx, cy, self._wh)
            else:
                wanted += self._pixels(layer, "", 1.0)
        self._check_sizes([layer for _, layer, _ in wanted])
        if len(wanted) < 2:
            expected = "a PSD with at least two visible layers of pixels (a flat one is a still: save it as a picture)"
            raise InvalidRequest(self._field, expected, f"{len(wanted)} in {self._path.name}")
        layers = tuple(self._layer(name, layer, opacity, depths.get(name)) for name, layer, opacity in wanted)
        return RawLayers(layers, self._wh, "srgb", camera, picture, is_metric, tuple(self._notes))

    def _pixels(self, layer: Any, above: str, opacity: float) -> Iterator[tuple[str, Any, float]]:
        """Layers of pixels below ``layer``, from the bottom up, with their full name and opacity."""
        name = f"{above}{layer.name}"
        if not layer.visible:
            self._notes.append(f"{name!r} is hidden: left out")
            return
        if layer.blend_mode.name not in _PLAIN:
            mode = layer.blend_mode.name.lower().replace("_", " ")
            self._notes.append(f"{name!r}: blend mode {mode} is laid over as normal")
        opacity *= layer.opacity / 255
        if layer.is_group():
            if layer.has_mask():
                self._notes.append(f"{name!r}: the mask of the group is left out")
            for child in layer:
                yield from self._pixels(child, f"{name}/", opacity)
        elif not layer.has_pixels() or min(layer.size) < 1:
            self._notes.append(f"{name!r} has no pixels of its own: left out")
        elif not layer.clipping:
            yield name, layer, opacity * layer.fill_opacity / 255
            if layer.has_effects() or layer.has_vector_mask():
                self._notes.append(f"{name!r}: its effects or vector mask are left out; rasterise it to keep them")

    def _check_sizes(self, layers: list[Any]) -> None:
        total = 0
        for layer in layers:
            check_budget(layer.size, self._path, self._field)
            total += layer.width * layer.height * 4 * self._dtype.itemsize
        if total > BYTE_BUDGET:
            raise InvalidRequest(self._field, f"at most {BYTE_BUDGET} decoded bytes", f"{total} in {self._path.name}")

    def _layer(self, name: str, layer: Any, opacity: float, depth: _Depth | None) -> RawLayer:
        colour, alpha = self._decoded(layer)
        for clipped in layer.clip_layers:
            if clipped.visible and clipped.has_pixels() and not clipped.is_group():
                colour = self._painted_over(colour, layer, clipped)
        if opacity < 1:
            alpha = quantized(normalized(alpha) * np.float32(opacity), self._dtype)
        found = None
        if depth is not None:
            at = (layer.left - depth.xy[0], layer.top - depth.xy[1])
            found = _cut(depth.plane, at, layer.size, 0.0)
        return RawLayer(name, colour, alpha, layer.offset, found)

    def _decoded(self, layer: Any) -> tuple[Array, Array]:
        colour, shape = layer.numpy("color"), layer.numpy("shape")
        cover = np.ones(colour.shape[:2], np.float32) if shape is None else shape[..., 0]
        mask = layer.mask
        if mask is not None and not mask.disabled and min(mask.size) > 0:
            at = (layer.left - mask.left, layer.top - mask.top)
            cover = cover * _cut(layer.numpy("mask")[..., 0], at, layer.size, mask.background_color / 255)
        return quantized(colour, self._dtype), quantized(cover, self._dtype)

    def _painted_over(self, colour: Array, base: Any, clipped: Any) -> Array:
        """``clipped`` laid over ``base`` where it is: alpha stays the base's."""
        check_budget(clipped.size, self._path, self._field)
        paint, cover = self._decoded(clipped)
        at = (base.left - clipped.left, base.top - clipped.top)
        share = _cut(normalized(cover), at, base.size, 0.0)[..., None] * np.float32(clipped.opacity / 255)
        over = np.stack([_cut(paint[..., i], at, base.size, 0) for i in range(3)], -1)
        return quantized(normalized(colour) * (1 - share) + normalized(over) * share, self._dtype)

    def _depths(self, group: Any, near: float, far: float) -> dict[str, _Depth]:
        """Depth by the name of the layer that it belongs to; 0 where it says nothing."""
        if not 0 < near <= far:
            raise InvalidRequest(self._field, "a depth group named depth NEAR:FAR, 0 < NEAR <= FAR", repr(group.name))
        found = {}
        for layer in group:
            if not layer.is_group() and layer.has_pixels():
                check_budget(layer.size, self._path, self._field)
                colour, cover = self._decoded(layer)
                depth = np.where(cover > 0, depth_from_code(colour[..., 0], near, far), np.float32(0))
                found[layer.name] = _Depth(layer.offset, depth)
        return found


def _cut(plane: Array, xy: tuple[int, int], wh: tuple[int, int], outside: float) -> Array:
    """The part of (h, w) ``plane`` that begins at its pixel ``xy``; ``outside`` where it has none."""
    out = np.full((wh[1], wh[0]), outside, plane.dtype)
    (x, y), (h, w) = xy, plane.shape
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + wh[0], w), min(y + wh[1], h)
    if x0 < x1 and y0 < y1:
        out[y0 - y : y1 - y, x0 - x : x1 - x] = plane[y0:y1, x0:x1]
    return out

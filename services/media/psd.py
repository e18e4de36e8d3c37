"""Layered Photoshop documents, 8 or 16 bits, RGB.

Groups are flattened into names like ``group/layer``, with their masks and opacities. A layer that clips is painted into
its base, as it belongs to it, and one of another blend mode than normal into what lies below it (``psd_blend``).
Colours of an embedded profile become sRGB (``icc``).
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geometry.camera import Camera
from services.errors import InvalidRequest
from services.media.colour import normalized, quantized
from services.media.decoder import check_budget
from services.media.icc import Profile, name_of, read_profile
from services.media.psd_blend import (
    PLAIN,
    UNKNOWN,
    Part,
    blended,
    cut,
    group_cover,
    mask_cover,
    mode_of,
    mode_words,
    painted_into,
    thinned,
)
from services.media.raw_layers import RawLayer, RawLayers, depth_from_code

Array = np.ndarray

LONGEST_SIDE_PX = 30_000
BYTE_BUDGET = 2**32  # of all decoded layers
DEPTH_GROUP = re.compile(r"depth ([\d.e+-]+):([\d.e+-]+)( m)?")
PICTURE = re.compile(r"picture(?: ([\d.e+-]+),([\d.e+-]+),([\d.e+-]+),([\d.e+-]+))?")
_HEADER = struct.Struct(">4sH6xHIIHH")
_MODES = {0: "bitmap", 1: "greyscale", 2: "indexed", 3: "RGB", 4: "CMYK", 7: "multichannel", 8: "duotone", 9: "Lab"}
_RGB = 3


def is_psd(path: Path) -> bool:
    return path.suffix.lower() in (".psd", ".psb")


def read_psd(path: Path, field: str) -> RawLayers:
    """Raises ``InvalidRequest`` for a file that is damaged, of another kind, or has a single layer."""
    wh, dtype = _check_header(path, field)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what cannot be decoded would be black
            return _Reader(path, field, wh, dtype).read()
    except (InvalidRequest, MemoryError):  # too little memory is no fault of the file
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
        self._profile = self._read_profile()

    def _read_profile(self) -> Profile | None:
        """None where colours are sRGB already, or taken as such."""
        from psd_tools.constants import Resource

        data = self._document.image_resources.get_data(Resource.ICC_PROFILE)
        if data is None:
            return None
        profile = read_profile(data)
        if profile is None:
            self._notes.append(f"colour profile {name_of(data)!r} is of a kind that is not understood: taken as sRGB")
            return None
        if profile.is_srgb:
            return None
        self._notes.append(f"colours are brought from {profile.name!r} to sRGB; what lies beyond it is clipped")
        return profile

    def read(self) -> RawLayers:
        depths: dict[str, _Depth] = {}
        wanted: list[Part] = []
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
                wanted += self._parts(layer, ())
        self._check_sizes([part.layer for part in wanted])
        layers = self._laid(wanted, depths)
        if len(layers) < 2:
            expected = "a PSD with at least two visible layers of pixels (a flat one is a still: save it as a picture)"
            raise InvalidRequest(self._field, expected, f"{len(layers)} in {self._path.name}")
        return RawLayers(tuple(layers), self._wh, "srgb", camera, picture, is_metric, tuple(self._notes))

    def _parts(self, layer: Any, groups: tuple[Any, ...]) -> Iterator[Part]:
        """Layers of pixels in ``layer``, from the bottom up."""
        name = "/".join(one.name for one in (*groups, layer))
        if not layer.visible:
            self._notes.append(f"{name!r} is hidden: left out")
            return
        if mode_of(layer) in UNKNOWN or (layer.is_group() and mode_of(layer) not in PLAIN):
            merge = "; merge the group to keep it" if layer.is_group() else ""
            self._notes.append(f"{name!r}: blend mode {mode_words(layer)} is laid over as normal{merge}")
        if layer.is_group():
            parts = [part for child in layer for part in self._parts(child, (*groups, layer))]
            if layer.opacity < 255 and len(parts) > 1:
                each = f"each of its {len(parts)} layers"
                self._notes.append(f"{name!r}: its opacity goes to {each}; more of them shows where they overlap")
            self._note_feather(name, layer)
            yield from parts
        elif not layer.has_pixels() or min(layer.size) < 1:
            self._notes.append(f"{name!r} has no pixels of its own: left out")
        elif not layer.clipping:
            yield Part(name, layer, groups)
            if layer.has_effects() or layer.has_vector_mask():
                self._notes.append(f"{name!r}: its effects or vector mask are left out; rasterise it to keep them")
            self._note_feather(name, layer)

    def _note_feather(self, name: str, layer: Any) -> None:
        parameters = None if layer.mask is None or layer.mask.disabled else layer.mask.parameters
        if parameters is not None and parameters.user_mask_feather:
            self._notes.append(f"{name!r}: the feather of its mask is left out; apply it to keep it")

    def _check_sizes(self, layers: list[Any]) -> None:
        total = 0
        for layer in layers:
            check_budget(layer.size, self._path, self._field)
            total += layer.width * layer.height * 4 * self._dtype.itemsize
        if total > BYTE_BUDGET:
            raise InvalidRequest(self._field, f"at most {BYTE_BUDGET} decoded bytes", f"{total} in {self._path.name}")

    def _laid(self, parts: list[Part], depths: dict[str, _Depth]) -> list[RawLayer]:
        """From the bottom up. What blends is painted into what lies below it in the same group, as far out as its mode
        reaches; what has nothing below it is laid over as normal."""
        laid: list[tuple[Part, RawLayer]] = []
        for part in parts:
            own = self._layer(part, depths.get(part.name))
            within = part.blends_within()
            below = [i for i, (other, _) in enumerate(laid) if other.groups[: len(within)] == within]
            if not (part.blends and below):
                if part.blends:
                    why = "is laid over as normal: there is nothing below it"
                    self._notes.append(f"{part.name!r}: blend mode {mode_words(part.layer)} {why}")
                laid.append((part, own))
                continue
            cover = group_cover(part.groups[len(within) :], own.xy, part.layer.size)
            for i in below:
                laid[i] = laid[i][0], painted_into(laid[i][1], own, part.layer, cover)
            mode = mode_words(part.layer)
            self._notes.append(f"{part.name!r}: blend mode {mode} is painted into the layers below it")
        return [
            replace(own, alpha=thinned(own.alpha, group_cover(part.groups, own.xy, part.layer.size)))
            for part, own in laid
        ]

    def _layer(self, part: Part, depth: _Depth | None) -> RawLayer:
        layer = part.layer
        colour, alpha = self._decoded(layer)
        for clipped in layer.clip_layers:
            if clipped.visible and clipped.has_pixels() and not clipped.is_group():
                colour = self._painted_over(colour, layer, clipped)
            elif clipped.visible:
                self._notes.append(f"{clipped.name!r} on {part.name!r} has no pixels of its own: left out")
        opacity = layer.opacity / 255 * layer.fill_opacity / 255
        found = None
        if depth is not None:
            at = (layer.left - depth.xy[0], layer.top - depth.xy[1])
            found = cut(depth.plane, at, layer.size, 0.0)
        return RawLayer(part.name, colour, thinned(alpha, opacity), layer.offset, found)

    def _decoded(self, layer: Any, is_colour: bool = True) -> tuple[Array, Array]:
        code, shape = layer.numpy("color"), layer.numpy("shape")
        cover = np.ones(code.shape[:2], np.float32) if shape is None else shape[..., 0]
        mask = mask_cover(layer, layer.offset, layer.size)
        colour = quantized(code, self._dtype)
        if is_colour and self._profile is not None:
            colour = self._profile.srgb(colour)
        return colour, quantized(cover if mask is None else cover * mask, self._dtype)

    def _painted_over(self, colour: Array, base: Any, clipped: Any) -> Array:
        """``clipped`` laid over ``base`` where it is, in its mode: alpha stays the base's."""
        check_budget(clipped.size, self._path, self._field)
        paint, cover = self._decoded(clipped)
        at = (base.left - clipped.left, base.top - clipped.top)
        opacity = np.float32(clipped.opacity / 255 * clipped.fill_opacity / 255)
        share = cut(normalized(cover), at, base.size, 0.0) * opacity
        over = np.stack([cut(paint[..., i], at, base.size, 0) for i in range(3)], -1)
        return blended(colour, over, share, clipped)

    def _depths(self, group: Any, near: float, far: float) -> dict[str, _Depth]:
        """Depth by the name of the layer that it belongs to; 0 where it says nothing."""
        if not 0 < near <= far:
            raise InvalidRequest(self._field, "a depth group named depth NEAR:FAR, 0 < NEAR <= FAR", repr(group.name))
        found = {}
        for layer in group:
            if not layer.is_group() and layer.has_pixels():
                check_budget(layer.size, self._path, self._field)
                colour, cover = self._decoded(layer, is_colour=False)
                depth = np.where(cover > 0, depth_from_code(colour[..., 0], near, far), np.float32(0))
                found[layer.name] = _Depth(layer.offset, depth)
        return found


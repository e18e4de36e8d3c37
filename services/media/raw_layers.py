"""Layers as their files hold them, and how they become a ``LayerStack``: alpha, depth and names are settled here.

Depth in files of integers is *inverse-normalised*: white is near, ``1 / z`` runs linearly from ``1 / far`` (0) to
``1 / near`` (1), so that a code value means the same parallax everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.frames import FILM_BACK_MM
from geometry.layers import Encoding, Layer, LayerStack
from geometry.scene import FrameSource
from services.errors import InvalidRequest
from services.media.colour import normalized, quantized

Array = np.ndarray

ALPHAS = ("straight", "premultiplied")
NEAR, FAR, FOCAL_MM = 4.0, 40.0, 35.0


@dataclass(frozen=True)
class LayerOptions:
    """What a file may leave open. ``near`` and ``far`` are the depths of the nearest and the farthest layer, in metres,
    where only their order is known; ``focal_mm`` on a 36 mm wide film back; ``alpha`` one of ``ALPHAS``, "" = the file
    says it, or shows it.
    """

    near: float = NEAR
    far: float = FAR
    focal_mm: float = FOCAL_MM
    alpha: str = ""


@dataclass(frozen=True)
class RawLayer:
    """As ``geometry.layers.Layer``, but ``depth`` may be one number, have holes (0, inf, nan), or be missing."""

    name: str
    colour: Array
    alpha: Array
    xy: tuple[int, int] = (0, 0)
    depth: Array | float | None = None
    motion: Array | None = None
    video: FrameSource | None = None


@dataclass(frozen=True)
class RawLayers:
    """``layers`` from the farthest to the nearest, on a canvas of ``wh`` px. ``camera`` None: the file does not say."""

    layers: tuple[RawLayer, ...]
    wh: tuple[int, int]
    encoding: Encoding = "srgb"
    camera: Camera | None = None
    picture: tuple[int, int, int, int] | None = None
    is_metric: bool = False
    warnings: tuple[str, ...] = field(default=())


def stacked(raw: RawLayers, options: LayerOptions) -> tuple[LayerStack, tuple[str, ...]]:
    """The stack, and what was done to it that the user should know."""
    notes: list[str] = []
    depths = [_without_holes(layer, notes) for layer in raw.layers]
    planes = spread([None if depth is None else float(np.median(depth)) for depth in depths], options.near, options.far)
    unknown = [layer.name for layer, depth in zip(raw.layers, depths, strict=True) if depth is None]
    if unknown:
        span = f"{options.far:g} (far) to {options.near:g} (near)"
        notes.append(f"depth by layer order, from {span}: {_listed(unknown)}")
    layers = tuple(
        Layer(
            name, layer.colour, layer.alpha, np.broadcast_to(np.float32(plane), layer.alpha.shape)
            if depth is None else depth, layer.xy, layer.motion, layer.video,
        )
        for name, layer, depth, plane in zip(unique([layer.name for layer in raw.layers]), raw.layers, depths, planes,
                                             strict=True)
    )
    stack = LayerStack(
        layers, raw.camera or default_camera(raw.wh, options.focal_mm), raw.picture or (0, 0, *raw.wh), raw.encoding,
        raw.is_metric,
    )
    return stack, (*raw.warnings, *notes)


def default_camera(wh: tuple[int, int], focal_mm: float) -> Camera:
    """A centred pinhole with square pixels."""
    focal_px = focal_mm / FILM_BACK_MM * wh[0]
    return Camera(focal_px, focal_px, wh[0] / 2, wh[1] / 2, wh)


def spread(known: Sequence[float | None], near: float, far: float) -> list[float]:
    """Depths for layers in order, farthest first: the ``known`` ones, and between them equal steps of disparity.

    Where the first or last is not known it takes ``far`` or ``near``, or its neighbour's where that lies beyond.
    """
    disparity = {i: 1 / depth for i, depth in enumerate(known) if depth is not None}
    values = list(disparity.values())
    disparity.setdefault(0, min([1 / far, *values]))
    disparity.setdefault(len(known) - 1, max([1 / near, *values]))
    at = sorted(disparity)
    steps = np.interp(range(len(known)), at, [disparity[i] for i in at])
    return [float(1 / step) if depth is None else depth for step, depth in zip(steps, known, strict=True)]


def depth_from_code(code: Array, near: float, far: float) -> Array:
    """(h, w) float32 depth of inverse-normalised code values, integers or floats in [0, 1]."""
    return 1 / (normalized(code) * np.float32(1 / near - 1 / far) + np.float32(1 / far))


def code_from_depth(depth: Array, near: float, far: float) -> Array:
    """Inverse of ``depth_from_code`` as uint16; what lies beyond ``near`` or ``far`` is clipped."""
    span = 1 / near - 1 / far
    return quantized((1 / depth.astype(np.float64) - 1 / far) / (span or 1.0), np.dtype(np.uint16))


def is_plane(depth: Array) -> bool:
    """Whether the depth is one number."""
    return bool(depth.min() == depth.max())


def straight(colour: Array, alpha: Array, said: str, field: str, name: str) -> Array:
    """``colour`` (h, w, 3) as straight code values.

    ``said`` is one of ``ALPHAS``, or "" where nobody says it: then a colour brighter than its alpha shows that it is
    straight. Raises ``InvalidRequest`` where soft edges could be either.
    """
    if not said:
        if (colour > alpha[..., None]).any():
            said = "straight"
        elif ((alpha > 0) & (alpha < _white(alpha))).any():
            raise InvalidRequest(field, "alpha: straight or premultiplied, said by the request or the file",
                                 f"{name}, whose soft edges could be either")
    if said != "premultiplied":
        return colour
    cover = normalized(alpha)[..., None]
    freed = np.divide(normalized(colour), cover, out=np.zeros(colour.shape, np.float32), where=cover > 0)
    return quantized(freed, colour.dtype)


def unique(names: Sequence[str]) -> list[str]:
    """Names that differ: what comes again gets a number."""
    given: list[str] = []
    for name in names:
        count, wanted = 1, name or "layer"
        while wanted in given:
            count += 1
            wanted = f"{name or 'layer'} {count}"
        given.append(wanted)
    return given


def filled(depth: Array) -> Array:
    """(h, w) float32 with every hole (nan, inf, <= 0) given the depth of the nearest pixel that has one."""
    depth = np.asarray(depth, np.float32)
    known = np.isfinite(depth) & (depth > 0)
    if known.all():
        return depth
    _, label = cv2.distanceTransformWithLabels((~known).astype(np.uint8), cv2.DIST_L2, 5,
                                               labelType=cv2.DIST_LABEL_PIXEL)  # fmt: skip
    by_label = np.zeros(label.max() + 1, np.float32)
    by_label[label[known]] = depth[known]
    return by_label[label]


def moved(layers: Sequence[RawLayer], by: tuple[int, int]) -> tuple[RawLayer, ...]:
    """The layers elsewhere on the canvas."""
    return tuple(replace(layer, xy=(layer.xy[0] + by[0], layer.xy[1] + by[1])) for layer in layers)


def _without_holes(layer: RawLayer, notes: list[str]) -> Array | None:
    if layer.depth is None or not isinstance(layer.depth, np.ndarray):
        return None if layer.depth is None else np.broadcast_to(np.float32(layer.depth), layer.alpha.shape)
    known = np.isfinite(layer.depth) & (layer.depth > 0)
    if not known.any():
        notes.append(f"layer {layer.name!r}: its depth is empty")
        return None
    holes = float((~known & (layer.alpha > 0)).mean())
    if holes:
        notes.append(f"layer {layer.name!r}: holes in its depth, {holes:.1%} of it, take what is nearest")
    return filled(layer.depth)


def _white(alpha: Array) -> float:
    return 1.0 if alpha.dtype == np.float32 else float(np.iinfo(alpha.dtype).max)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

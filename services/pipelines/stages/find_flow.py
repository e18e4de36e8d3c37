"""Stage: motion of layers that flow, from painted masks and hints. It leaves ``NN_motion.npy`` and ``flow.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from geometry.layers import Layer, LayerStack
from geometry.plates.fluid import Hint, motion_field, motion_of_video
from services.errors import InvalidRequest
from services.media import images
from services.media.clip import ClipReader
from services.media.colour import normalized
from services.pipelines.blockout_shot import refused
from services.pipelines.context import Artifact, Report
from services.pipelines.plate_inputs import expect_pixels
from services.pipelines.requests import FlowHint, PlateFluid
from services.pipelines.stack_store import load_stack, motion_file

Array = np.ndarray
FILE = "flow.json"


@dataclass(frozen=True)
class FlowConfig:
    fluids: tuple[PlateFluid, ...]  # without the paths of their masks
    rate: str  # frames a second


def find_flow(
    *, out: Path, config: FlowConfig, report: Report, layers: Artifact, source: Path, masks: Sequence[Path],
    clips: Sequence[ClipReader | None],
) -> None:
    """``masks`` and ``clips`` of the fluids, in order; their content is among the stage's inputs."""
    stack = load_stack(layers.path, source)
    motions: dict[int, Array] = {}
    for i, (fluid, mask, clip) in enumerate(zip(config.fluids, masks, clips, strict=True)):
        region = _on_canvas(stack, images.read_mask(mask, f"fluids[{i}].mask"), f"fluids[{i}].mask")
        if not (region > 0).any():
            raise InvalidRequest(f"fluids[{i}].mask", "a picture, white where it flows", "a black one")
        _check_hints(fluid.hints, stack, region, f"fluids[{i}].hints")
        k = _layer(stack, fluid, region, f"fluids[{i}]")
        try:
            added = _motion(stack, k, region, fluid, clip, float(Fraction(config.rate)))
        except ValueError as error:  # what is left to be wrong is the clip, or a hint where the layer has no pixel
            raise refused(f"fluids[{i}].{'hints' if clip is None else 'video'}", error) from error
        motions[k] = added if k not in motions else np.where(added.any(-1, keepdims=True), added, motions[k])
        report(i + 1, len(config.fluids))
    for k, motion in motions.items():
        np.save(motion_file(out, k), motion.astype(np.float32))
    (out / FILE).write_text(json.dumps({"layers": [stack.layers[k].name for k in sorted(motions)]}))


def _on_canvas(stack: LayerStack, mask: Array, field: str) -> Array:
    """A plane of the picture, or of the whole canvas, on the canvas."""
    x0, y0, x1, y1 = stack.picture
    if mask.shape == stack.camera.hw:
        return mask
    if mask.shape != (y1 - y0, x1 - x0):
        expected = f"{x1 - x0} x {y1 - y0} px, as the picture has"
        raise InvalidRequest(field, expected, f"{mask.shape[1]} x {mask.shape[0]}")
    whole = np.zeros(stack.camera.hw, np.float32)
    whole[y0:y1, x0:x1] = mask
    return whole


def _check_hints(hints: Sequence[FlowHint], stack: LayerStack, region: Array, field: str) -> None:
    x, y = stack.picture[:2]
    for i, hint in enumerate(hints):
        expect_pixels(f"{field}[{i}]", (hint.x0, hint.y0, hint.x1, hint.y1), stack.picture_camera.wh)
        column, row = int(np.floor(hint.x0 + x)), int(np.floor(hint.y0 + y))
        inside = 0 <= row < region.shape[0] and 0 <= column < region.shape[1]
        if not inside or region[row, column] <= 0:
            raise InvalidRequest(f"{field}[{i}]", "a start inside the mask", f"{hint.x0:g},{hint.y0:g}")


def _layer(stack: LayerStack, fluid: PlateFluid, region: Array, field: str) -> int:
    """The number of the layer that flows."""
    names = [layer.name for layer in stack]
    if fluid.layer:
        if fluid.layer not in names:
            raise InvalidRequest(f"{field}.layer", f"one of {', '.join(names)}", fluid.layer)
        return names.index(fluid.layer)
    left, seen = region.copy(), np.zeros(len(names))
    for k in range(len(names) - 1, -1, -1):
        layer = stack.layers[k]
        cover = _cut_from(left, layer)
        alpha = normalized(layer.alpha)
        seen[k] = float((cover * alpha).sum())
        _cut_into(left, layer, cover * (1 - alpha))
    if not seen.any():
        raise InvalidRequest(f"{field}.mask", "white where a layer is seen", "none")
    return int(seen.argmax())


def _motion(
    stack: LayerStack, k: int, region: Array, fluid: PlateFluid, video: ClipReader | None, rate: float
) -> Array:
    """(h, w, 2) px a frame on the layer's raster."""
    layer, mask = stack.layers[k], _cut_from(region, stack.layers[k])
    x, y = stack.picture[0] - layer.xy[0], stack.picture[1] - layer.xy[1]
    if video is None:
        frames = rate / (fluid.speed or 1.0)
        arrows = [Hint(hint.x0 + x, hint.y0 + y, hint.x1 + x, hint.y1 + y, frames) for hint in fluid.hints]
        return motion_field(mask, arrows, 1 / np.asarray(layer.depth))
    field = motion_of_video(video) * np.float32((fluid.speed or 1.0) * float(video.rate) / rate)
    whole = [_on_canvas(stack, field[..., axis], "fluids.video") for axis in range(2)]
    return np.stack([_cut_from(plane, layer) for plane in whole], -1) * mask[..., None]


def _window(layer: Layer, hw: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where layer and canvas overlap: on the canvas, and on the layer."""
    (x, y), (h, w) = layer.xy, layer.hw
    y0, y1, x0, x1 = max(y, 0), min(y + h, hw[0]), max(x, 0), min(x + w, hw[1])
    y1, x1 = max(y0, y1), max(x0, x1)
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))


def _cut_from(plane: Array, layer: Layer) -> Array:
    """The layer's part of a plane of the canvas; 0 beyond it."""
    on_canvas, on_layer = _window(layer, plane.shape)
    out = np.zeros(layer.hw, plane.dtype)
    out[on_layer] = plane[on_canvas]
    return out


def _cut_into(plane: Array, layer: Layer, part: Array) -> None:
    on_canvas, on_layer = _window(layer, plane.shape)
    plane[on_canvas] = part[on_layer]

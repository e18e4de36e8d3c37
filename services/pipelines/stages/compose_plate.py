"""Stage: frames of a plate: ``frames/%04d.png``, and ``exr/%04d.exr`` (linear, premultiplied, half; ``Z``) on request.

Frames have the layers' bits, 16 where these are floats; alpha, straight, where layers leave the source view clear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from geometry.layers import LayerStack
from geometry.plates.compose import Composed, Composer
from geometry.plates.lens import Focus, shutter_views
from geometry.trajectory import CameraPath
from services.media import exr, images
from services.media.colour import linear_from_srgb, quantized, srgb_from_linear
from services.pipelines.context import Artifact, Report
from services.pipelines.one_behind import one_behind
from services.pipelines.stack_store import load_stack

Array = np.ndarray
SHUTTER_SAMPLES = 12


@dataclass(frozen=True)
class ComposeConfig:
    frames: tuple[int, ...]
    path: CameraPath  # of the frames and of their neighbours, in the source camera's world
    overscan: float
    period: int  # frames after which what flows is back
    focus: float  # depth; 0 = everything is sharp
    aperture: float
    shutter: float  # share of a frame's time; 0 = none
    has_alpha: bool
    has_exr: bool


class PlateView:
    """The layers as they are drawn; made when the first frame is."""

    def __init__(self, layers: Artifact, flow: Artifact | None, source: Path, hw: tuple[int, int], overscan: float,
                 period: int) -> None:
        self._folders, self._source = (layers.path, None if flow is None else flow.path), source
        self._hw, self._overscan, self._period = hw, overscan, period

    @cached_property
    def stack(self) -> LayerStack:
        return load_stack(self._folders[0], self._source, self._folders[1])

    @cached_property
    def composer(self) -> Composer:
        return Composer(self.stack, self._hw, overscan=self._overscan, period=self._period)


def compose_plate(
    *, out: Path, config: ComposeConfig, report: Report, view: PlateView, layers: Artifact, flow: Artifact | None = None
) -> None:
    """``view`` must be that of ``layers`` and ``flow``. A frame is written while the next one is composed."""
    focus = Focus(config.focus, config.aperture) if config.focus else None

    def composed() -> Iterator[Callable[[], Array]]:
        for frame in config.frames:
            shutter = shutter_views(config.path, frame, share=config.shutter, samples=SHUTTER_SAMPLES)
            seen = view.composer.frame(
                config.path.camera(frame), config.path.pose(frame), time=frame, focus=focus,
                shutter=shutter if config.shutter else None,
            )
            yield partial(_written, out, frame, seen, view.stack, config)

    for done, preview in enumerate(one_behind(composed())):
        report(done + 1, len(config.frames), preview=preview)


def _written(out: Path, frame: int, seen: Composed, stack: LayerStack, config: ComposeConfig) -> Array:
    """Returns its preview."""
    picture = shown(seen, stack, config.has_alpha)
    images.write_picture(out / "frames" / f"{frame:04d}.png", picture)
    if config.has_exr:
        exr.write_channels(out / "exr" / f"{frame:04d}.exr", _channels(seen, stack.encoding))
    return _preview(picture)


def shown(seen: Composed, stack: LayerStack, has_alpha: bool) -> Array:
    """(H, W, 3) sRGB, or (H, W, 4) with straight alpha, of the layers' bits."""
    dtype = np.dtype(np.uint8 if all(layer.colour.dtype == np.uint8 for layer in stack) else np.uint16)
    colour = seen.colour
    if has_alpha:
        cover = seen.alpha[..., None]
        colour = np.divide(colour, cover, out=np.zeros_like(colour), where=cover > 0)
    colour = quantized(srgb_from_linear(colour) if stack.encoding == "linear" else colour, dtype)
    return np.dstack([colour, quantized(seen.alpha, dtype)]) if has_alpha else colour


def _channels(seen: Composed, encoding: str) -> dict[str, Array]:
    colour, cover = seen.colour, seen.alpha[..., None]
    if encoding == "srgb":
        freed = np.divide(colour, cover, out=np.zeros_like(colour), where=cover > 0)
        colour = linear_from_srgb(freed) * cover
    planes = {name: colour[..., i] for i, name in enumerate("RGB")} | {"A": seen.alpha}
    limit = float(np.finfo(np.float16).max)
    halves = {name: np.clip(plane, -limit, limit).astype(np.float16) for name, plane in planes.items()}
    return halves | {"Z": seen.depth.astype(np.float32)}


def _preview(picture: Array) -> Array:
    picture = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    return np.ascontiguousarray(picture[..., :3])

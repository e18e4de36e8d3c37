"""Stage: the layers of a plate, from a file that has them or from one still, as a stack (see ``stack_store``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geometry.exemplar.picture import fill
from geometry.layers import Encoding, LayerStack
from geometry.plates.bands import Selection, selected
from geometry.plates.code_values import codes, from_codes
from geometry.plates.outpaint import Painter, outpainted
from geometry.plates.planes import Card, depth_from_horizon, depth_from_picture
from geometry.plates.separated import agreeing_layers
from geometry.plates.still import StillOptions, from_still
from models.base import Prompt
from services.errors import InvalidRequest
from services.media import exr, images
from services.media.colour import normalized, quantized, srgb_from_linear
from services.media.layered import open_layers
from services.media.raw_layers import LayerOptions, RawLayer, RawLayers, default_camera, stacked
from services.pipelines.blockout_shot import refused
from services.pipelines.context import Report
from services.pipelines.painters import painting
from services.pipelines.plate_inputs import PlateInput, has_depth, horizon_of, words_of
from services.pipelines.requests import PlateLayers, PlateSource, PlateThing
from services.pipelines.stack_store import save_stack

Array = np.ndarray

CAMERA_HEIGHT_M = 1.6
FEWEST, MOST = 2, 4  # layers, where nobody says how many


@dataclass(frozen=True)
class Files:
    """Of a still, beside the picture; their content is in the opened source's digest."""

    depth: Path | None = None
    inpaint: Path | None = None


@dataclass(frozen=True)
class LayersConfig:
    """Requests as ``without_paths`` leaves them."""

    source: PlateSource
    layers: PlateLayers
    options: LayerOptions
    seed: int


def build_layers(*, out: Path, config: LayersConfig, report: Report, opened: PlateInput, files: Files) -> None:
    if opened.kind:
        found = open_layers(opened.path, opened.options, "source.path")
        stack, notes = found.stack, found.warnings
    else:
        stack, notes = _Still(config, opened, files, report).stack()
    save_stack(out, stack, notes)
    report(3, 3)


class _Still:
    """One picture, taken apart."""

    def __init__(self, config: LayersConfig, opened: PlateInput, files: Files, report: Report) -> None:
        self._source, self._layers, self._opened, self._report = config.source, config.layers, opened, report
        self._files, self._seed = files, config.seed
        self._picture, alpha = images.read_layer(opened.path, "source.path")
        self._notes: list[str] = []
        if alpha.min() < (1 if alpha.dtype == np.float32 else np.iinfo(alpha.dtype).max):
            self._notes.append("the picture's alpha is left out: a still is taken as opaque")
        self._hw = alpha.shape
        self._camera = default_camera((self._hw[1], self._hw[0]), opened.options.focal_mm)

    def stack(self) -> tuple[LayerStack, tuple[str, ...]]:
        if self._layers.inpaint:
            self._paint_anew()
        if self._layers.separate:
            return self._separated()
        masks = self._masks()
        depth, is_metric = self._depth(masks)
        self._report(1, 3)
        encoding: Encoding = "linear" if self._picture.dtype == np.float32 else "srgb"
        margins, count = self._layers.outpaint, self._layers.count
        things = tuple(_selection(thing, i, masks[i]) for i, thing in enumerate(self._layers.things))
        try:
            options = StillOptions(
                outpaint=(margins.left, margins.top, margins.right, margins.bottom),
                layers=(count, count) if count else (FEWEST, MOST),
                bands=tuple((band.near, band.far) for band in self._layers.bands), selections=things,
                encoding=encoding, is_metric=is_metric, painter=self._painter(),
            )
            return from_still(self._picture, depth, options, self._camera), tuple(self._notes)
        except ValueError as error:
            raise _refused_layers(error) from error

    def _separated(self) -> tuple[LayerStack, tuple[str, ...]]:
        """Layers of a model; how far they are, their order says."""
        margins = self._layers.outpaint
        sides = (margins.left, margins.top, margins.right, margins.bottom)
        canvas = outpainted(self._picture, np.ones(self._hw, np.float32), sides, self._painter())
        shown, prompt = _shown(canvas.picture), words_of(self._source.generation).prompt
        assert self._opened.separator is not None
        with self._opened.separator.model() as model:
            found = model.separate(shown, self._layers.count or MOST, prompt, (self._seed,))
        self._opened.separator.close()
        self._report(2, 3)
        white = 1.0 if canvas.picture.dtype == np.float32 else float(np.iinfo(canvas.picture.dtype).max)
        pairs = agreeing_layers((canvas.picture / np.float32(white)).astype(np.float32), found)
        dtype = canvas.picture.dtype
        layers = tuple(
            RawLayer(f"layer {k + 1}", quantized(colour, dtype), quantized(alpha, dtype))
            for k, (colour, alpha) in enumerate(pairs)
        )
        raw = RawLayers(
            layers, canvas.depth.shape[::-1], "linear" if dtype == np.float32 else "srgb",
            replace(self._camera, cx=self._camera.cx + margins.left, cy=self._camera.cy + margins.top,
                    wh=canvas.depth.shape[::-1]), canvas.source,
        )  # fmt: skip
        stack, notes = stacked(raw, self._opened.options)
        return stack, (*self._notes, *notes)

    def _depth(self, masks: Sequence[Array | None]) -> tuple[Array, bool]:
        """(H, W), and whether it is in metres."""
        near, far = self._opened.options.near, self._opened.options.far
        try:
            if self._source.horizon:
                standing = [_standing(mask) for mask in masks if mask is not None]
                return self._ground(standing), self._source.camera_height_m is not None
            if self._source.depth or has_depth(self._opened.path):
                return self._given(near, far)
            return self._estimated(near, far)
        except ValueError as error:
            raise refused("source.depth" if not self._source.horizon else "source.horizon", error) from error

    def _ground(self, standing: Sequence[Card]) -> Array:
        return depth_from_horizon(
            self._camera, horizon_of(self._source, self._camera.wh), far=self._opened.options.far, cards=standing,
            height=self._source.camera_height_m or CAMERA_HEIGHT_M,
        )

    def _given(self, near: float, far: float) -> tuple[Array, bool]:
        file = self._files.depth or self._opened.path
        values = exr.read_depth(file, "source.depth") if has_depth(file) else images.read_plane(file, "source.depth")
        metres = values.dtype == np.float32 and self._source.depth_kind in ("", "z") and not self._source.depth_white
        kind = self._source.depth_kind or ("z" if metres else "inverse")
        depth = depth_from_picture(
            values, self._hw, kind=kind, white=self._source.depth_white or None,  # type: ignore[arg-type]
            span=None if metres else (near, far),
        )
        return depth, metres or bool(self._source.near and self._source.far)

    def _estimated(self, near: float, far: float) -> tuple[Array, bool]:
        assert self._opened.depth_model is not None
        with self._opened.depth_model.model() as model:
            found = model.predict(_shown(self._picture))
        self._opened.depth_model.close()
        if found.focal_px is not None and not self._source.focal_mm:
            self._camera = replace(self._camera, fx=found.focal_px, fy=found.focal_px)
        span = None if found.metric else (near, far)
        return depth_from_picture(found.inverse_depth, self._hw, kind="inverse", white="near", span=span), found.metric

    def _masks(self) -> list[Array | None]:
        """(H, W) bool of things that are known already: by a model; or by colour, as on level ground they shall stand
        and no depth says yet where they end."""
        things = self._layers.things
        if self._opened.segmenter is not None:
            with self._opened.segmenter.model() as model:
                found = model.segment(_shown(self._picture), [_prompt(thing) for thing in things])
            self._opened.segmenter.close()
            return [mask > 0.5 for mask in found]
        if not (things and self._source.horizon):
            return [None] * len(things)
        shown, even = _shown(self._picture), np.ones(self._hw, np.float32)
        try:
            return [selected(shown, even, _selection(thing, i, None)) for i, thing in enumerate(things)]
        except ValueError as error:
            raise _refused_layers(error) from error

    def _painter(self) -> Painter | None:
        """What paints margins and hidden parts."""
        return painting(self._opened.painter, words_of(self._source.generation).prompt, self._seed)

    def _paint_anew(self) -> None:
        assert self._files.inpaint is not None
        wanted = images.read_mask(self._files.inpaint, "layers.inpaint") > 0.5
        if wanted.shape != self._hw:
            expected = f"a mask of the picture's {self._hw[1]} x {self._hw[0]} px"
            raise InvalidRequest("layers.inpaint", expected, f"{wanted.shape[1]} x {wanted.shape[0]}")
        if wanted.all() or not wanted.any():
            raise InvalidRequest("layers.inpaint", "a mask with black and white", "all of one")
        painter = self._painter()
        if painter is not None:
            painted = painter(self._picture, wanted)
            self._picture = np.where(wanted[..., None], painted, self._picture)
            return
        values, white = codes(self._picture)
        self._picture = self._picture.copy()
        self._picture[wanted] = from_codes(fill(values, ~wanted, wanted), white, self._picture.dtype)

def _shown(picture: Array) -> Array:
    """(H, W, 3) uint8 sRGB, for models."""
    code = normalized(picture)
    code = srgb_from_linear(code) if picture.dtype == np.float32 else code
    return quantized(code, np.dtype(np.uint8))


def _name(thing: PlateThing, i: int) -> str:
    return thing.name or f"thing {i + 1}"


def _selection(thing: PlateThing, i: int, mask: Array | None) -> Selection:
    if mask is not None:
        return Selection(_name(thing, i), mask=mask)
    points = np.array([*thing.clicks, *thing.outside], np.float64).reshape(-1, 2)
    inside = np.arange(len(points)) < len(thing.clicks)
    return Selection(
        _name(thing, i), thing.box, points if len(points) else None, inside if len(points) else None
    )


def _standing(mask: Array) -> Card:
    """A thing upright on the ground, where its mask ends below."""
    y, x = np.nonzero(mask)
    return Card((float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1)), mask)


def _prompt(thing: PlateThing) -> Prompt:
    selection = _selection(thing, 0, None)
    return Prompt(selection.clicks, selection.inside, thing.box)


def _refused_layers(error: ValueError) -> InvalidRequest:
    """What does not fit is a thing, a band or a margin: geometry's message begins with it."""
    word = str(error).split(maxsplit=1)[0].rstrip(":")
    names = {"selection": ".things", "band": ".bands", "bands": ".bands", "outpaint": ".outpaint"}
    return refused(f"layers{names.get(word, '')}", error)

"""Stage: what belongs to a whole plate: ``plate.mp4``, ``plate.mov`` on request, and the contact sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from geometry.layers import Layer, LayerStack
from services.export.layer_files import srgb_codes
from services.media import images
from services.media.contact_sheet import Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from services.pipelines.context import Artifact, Report
from services.pipelines.stack_store import load_stack

Array = np.ndarray
COLUMNS, TILE_PX, SHOWN_FRAMES, SHOWN_LAYERS = 4, 400, 8, 12
_CHECKS = (70, 96)  # greys behind what is clear
_CHECK_PX = 16
_U8 = np.dtype(np.uint8)


@dataclass(frozen=True)
class FinishConfig:
    title: str
    frames: tuple[int, ...]  # none: layers were all that was asked for
    rate: str
    has_prores: bool
    has_alpha: bool = False
    notes: tuple[tuple[int, str], ...] = ()  # what the sheet says of frames


def finish_plate(
    *, out: Path, config: FinishConfig, report: Report, source: Path, layers: Artifact, **made: Artifact
) -> None:
    """``made``: the stages that left frames."""
    files = {int(file.stem): file for name in sorted(made) for file in (made[name].path / "frames").glob("*.png")}
    if config.frames:
        _movies(out, config, files, report)
    stack = load_stack(layers.path, source)
    tiles = [*_frame_tiles(config, files), *_layer_tiles(stack)]
    sheet = contact_sheet(tiles, config.title, columns=COLUMNS, tile_width_px=TILE_PX)
    images.write_picture(out / "contact_sheet.png", sheet)


def _movies(out: Path, config: FinishConfig, files: dict[int, Path], report: Report) -> None:
    wh, rate = images.read_header(files[config.frames[0]]).wh, Fraction(config.rate)
    movies = [VideoWriter(out / "plate.mp4", wh, rate)]
    if config.has_prores:
        codec = "prores4444_alpha" if config.has_alpha else "prores4444"
        movies.append(VideoWriter(out / "plate.mov", wh, rate, codec))
    try:
        for done, frame in enumerate(config.frames):
            colour, alpha = images.read_layer(files[frame])
            movies[0].write(_over(colour, alpha))
            for movie in movies[1:]:
                movie.write(np.dstack([colour, alpha]) if config.has_alpha else colour)
            report(done + 1, len(config.frames))
        for movie in movies:
            movie.close()
    except BaseException:
        for movie in movies:
            movie.abandon()
        raise


def _frame_tiles(config: FinishConfig, files: dict[int, Path]) -> Iterator[Tile]:
    notes = dict(config.notes)
    for i in evenly(len(config.frames), SHOWN_FRAMES) if config.frames else ():
        frame = config.frames[i]
        colour, alpha = images.read_layer(files[frame])
        label = f"frame {frame}" + (f": {notes[frame]}" if frame in notes else "")
        yield Tile(label, _small(_over(colour, alpha)))


def _layer_tiles(stack: LayerStack) -> Iterator[Tile]:
    """Each layer on the canvas, over a chequered ground, and its depth."""
    for i in evenly(len(stack.layers), SHOWN_LAYERS):
        layer = stack.layers[i]
        rgba = _on_canvas(_shrunk(srgb_codes(layer, stack.encoding, _U8), stack), layer, stack)
        depth = f"{float(layer.depth.min()):.3g}"
        if float(layer.depth.max()) > float(layer.depth.min()):
            depth += f" to {float(layer.depth.max()):.3g}"
        yield Tile(f"{layer.name}, {depth} m" if stack.is_metric else f"{layer.name}, depth {depth}", rgba)


def _scale(stack: LayerStack) -> float:
    return min(1.0, TILE_PX / stack.camera.wh[0])


def _shrunk(rgba: Array, stack: LayerStack) -> Array:
    """Premultiplied float, at the tile's size."""
    scale, (h, w) = _scale(stack), rgba.shape[:2]
    cover = rgba[..., 3:] / np.float32(255)
    premultiplied = np.concatenate([rgba[..., :3] * cover, cover], 2).astype(np.float32)
    wh = max(1, round(w * scale)), max(1, round(h * scale))
    return cv2.resize(premultiplied, wh, interpolation=cv2.INTER_AREA)


def _on_canvas(small: Array, layer: Layer, stack: LayerStack) -> Array:
    scale = _scale(stack)
    w, h = (max(1, round(side * scale)) for side in stack.camera.wh)
    ground = _chequered((h, w)).astype(np.float32)
    x, y = (round(v * scale) for v in layer.xy)
    y0, x0, y1, x1 = max(y, 0), max(x, 0), min(y + small.shape[0], h), min(x + small.shape[1], w)
    if y0 < y1 and x0 < x1:
        part = small[y0 - y : y1 - y, x0 - x : x1 - x]
        ground[y0:y1, x0:x1] = part[..., :3] + ground[y0:y1, x0:x1] * (1 - part[..., 3:])
    return np.rint(np.clip(ground, 0, 255)).astype(np.uint8)


def _over(colour: Array, alpha: Array) -> Array:
    """(H, W, 3) of the picture's dtype; what is clear is black."""
    white = np.iinfo(colour.dtype).max
    if alpha.min() == white:
        return colour
    return np.rint(colour * (alpha[..., None] / np.float64(white))).astype(colour.dtype)


def _chequered(hw: Sequence[int]) -> Array:
    y, x = np.mgrid[: hw[0], : hw[1]] // _CHECK_PX
    return np.repeat(np.where((x + y) % 2, *_CHECKS).astype(np.uint8)[..., None], 3, 2)


def _small(picture: Array) -> Array:
    picture = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    scale = min(1.0, TILE_PX / picture.shape[1])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)

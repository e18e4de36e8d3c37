"""The look of a previs as the user handed it in, opened and checked before any long work starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import cv2
import numpy as np

from services.errors import InvalidRequest
from services.media import images
from services.media.colour import srgb_from_linear
from services.pipelines.blockout_shot import Shot, refused
from services.pipelines.inputs import files_sha256
from services.pipelines.painters import Backend
from services.pipelines.requests import AnchorsRequest, PrevisStyle

Array = np.ndarray
BACKGROUND = "background"  # what no object covers, unless an object is called that
SMALLEST_PX, LARGEST_PX = 16, 16384
ASPECT_SLACK = 0.01


@dataclass(frozen=True)
class Look:
    """``reference`` (H, W, 3) uint8 sRGB; an aligned one is on the shot's raster. ``regions``: object id -> box, px."""

    reference: Array
    aligned_frame: int | None
    regions: Mapping[int, tuple[float, float, float, float]]
    prompt: str
    adapter: Path | None
    digest: str
    warnings: tuple[str, ...] = ()


def open_look(
    request: AnchorsRequest, shot: Shot, painter: Backend, *, reads_text: bool, will_train: bool
) -> Look:
    """``reads_text``: some model of the job takes a prompt; ``will_train``: the painter gets to know the reference.

    Raises ``InvalidRequest`` that names the field.
    """
    style = request.style
    reference, warnings = read_rgb8(Path(style.reference), "style.reference")
    height, width = reference.shape[:2]
    if not SMALLEST_PX <= min(width, height) <= max(width, height) <= LARGEST_PX:
        expected = f"a picture with sides of {SMALLEST_PX}..{LARGEST_PX} px"
        raise InvalidRequest("style.reference", expected, f"{width} x {height}")
    _check_words(style, painter, reads_text, will_train)
    regions = _regions(style, shot, (width, height))
    if style.aligned_frame is not None:
        reference = on_raster(reference, shot.wh, "style.reference")
    adapter = Path(style.adapter) if style.adapter else None
    files = [Path(style.reference)] + (sorted(p for p in adapter.rglob("*") if p.is_file()) if adapter else [])
    digest = f"{files_sha256(files)} {style.aligned_frame} {sorted(regions.items())} {style.prompt}"
    return Look(reference, style.aligned_frame, regions, style.prompt, adapter, digest, warnings)


def _check_words(style: PrevisStyle, painter: Backend, reads_text: bool, will_train: bool) -> None:
    if style.prompt and not reads_text:
        raise InvalidRequest("style.prompt", "none: the embedded painter reads no text; choose another with "
                             "anchors_backend", repr(style.prompt))
    if painter.is_embedded and style.adapter:
        raise InvalidRequest("style.adapter", "none: the embedded painter needs no training", style.adapter)
    if not (painter.is_embedded or style.prompt or style.adapter or will_train):
        raise InvalidRequest("style.prompt", "a prompt, or an adapter trained on the reference: the picture alone "
                             f"tells {painter.name} nothing", "neither")
    if not painter.is_embedded and style.regions:
        raise InvalidRequest("style.regions[0].object", f"none: {painter.name} cannot assign parts of the picture",
                             style.regions[0].object)


def _regions(
    style: PrevisStyle, shot: Shot, wh: tuple[int, int]
) -> dict[int, tuple[float, float, float, float]]:
    found: dict[int, tuple[float, float, float, float]] = {}
    for i, region in enumerate(style.regions):
        field = f"style.regions[{i}]"
        named = _object_ids(region.object, shot, f"{field}.object")
        x0, y0, x1, y1 = region.box
        if not (x0 >= 0 and y0 >= 0 and x1 <= wh[0] and y1 <= wh[1]):
            got = ",".join(f"{v:g}" for v in region.box)
            raise InvalidRequest(f"{field}.box", f"a part of the {wh[0]} x {wh[1]} picture", got)
        found |= dict.fromkeys(named, region.box)
    return found


def _object_ids(name: str, shot: Shot, field: str) -> list[int]:
    """Of the object ``name``, or of all that it is a pattern of (``tree*``); 0 for ``BACKGROUND``."""
    names = shot.blockout.names
    matching = [i for i, known in enumerate(names, 1) if fnmatchcase(known, name)]
    if name not in names and (matching or name == BACKGROUND):
        return matching or [0]
    try:
        return [shot.blockout.object_id(name)]
    except ValueError as error:
        raise refused(field, error) from error


def read_rgb8(path: Path, field: str) -> tuple[Array, tuple[str, ...]]:
    """(H, W, 3) uint8 sRGB of any picture, and warnings. What is transparent gets the mean colour of what is not."""
    depth = images.read_header(path, field).bit_depth
    if depth == 32:
        linear = np.nan_to_num(images.read_picture(path, field), nan=0.0, posinf=1.0, neginf=0.0)
        return np.rint(np.clip(srgb_from_linear(linear), 0, 1) * 255).astype(np.uint8), ()
    if depth == 16:
        return (images.read_picture(path, field) >> 8).astype(np.uint8), ()
    rgba = images.read_rgba(path, field).astype(np.float32)
    colour, alpha = rgba[..., :3], rgba[..., 3:] / 255
    if alpha.min() == 1:
        return colour.astype(np.uint8), ()
    if alpha.max() == 0:
        raise InvalidRequest(field, "a picture that shows something", f"{path.name}, all of it transparent")
    ground = (colour * alpha).sum((0, 1)) / alpha.sum()
    note = f"{path.name}: what is transparent is laid over the mean colour of the rest"
    return np.rint(colour * alpha + ground * (1 - alpha)).astype(np.uint8), (note,)


def on_raster(picture: Array, wh: tuple[int, int], field: str) -> Array:
    """A picture of the shot on its raster. Raises ``InvalidRequest`` for another aspect."""
    height, width = picture.shape[:2]
    if abs(width * wh[1] / (height * wh[0]) - 1) > ASPECT_SLACK:
        raise InvalidRequest(field, f"the aspect of the {wh[0]} x {wh[1]} picture", f"{width} x {height}")
    if (width, height) == wh:
        return picture
    way = cv2.INTER_AREA if width > wh[0] else cv2.INTER_CUBIC
    return cv2.resize(picture, wh, interpolation=way)

"""Stage: one anchor, painted or given. It leaves ``anchors/%04d.png`` on the shot's raster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from geometry.anchors import carry_many
from geometry.coverage import Coverage
from geometry.guides import GuideSource
from geometry.trajectory import CameraPath
from models.base import Style, View, WarpedAnchor
from services.media import images
from services.pipelines.context import Artifact, Report
from services.pipelines.painters import Backend
from services.pipelines.style_inputs import Look

Array = np.ndarray
ANCHORS = "anchors"


@dataclass(frozen=True)
class AnchorConfig:
    frame: int
    camera: CameraPath  # of this frame, and of the aligned reference's
    seed: tuple[int, ...]


class Painter:
    """A model with what it paints: a shot in a style."""

    def __init__(self, backend: Backend, source: GuideSource, look: Look) -> None:
        self._backend, self._source, self._look = backend, source, look

    def paint(self, frame: int, painted: Mapping[int, Array], seed: tuple[int, ...]) -> Array:
        """(H, W, 3) uint8: ``frame`` as it must be after other anchors were ``painted``, by frame."""
        if frame == self._look.aligned_frame:
            return self._look.reference
        with self._backend.model() as model:
            picture = model.paint(self._view(frame, painted), self._style, seed).picture
        if not self._backend.is_embedded:
            return picture
        # What it paints shows one surface in each pixel, like what is carried: silhouettes are drawn over both.
        return Coverage(self._source.sight(frame)).composed(picture.astype(np.float32))

    def _view(self, frame: int, painted: Mapping[int, Array]) -> View:
        guides = self._source.guides(frame)
        found = carry_many(painted, self._source, frame) if painted else None
        return View(
            guides.soft_edges, guides.gbuffer.object_id, None if found is None else WarpedAnchor(
                found.picture, found.known
            ), guides.gbuffer, guides.albedo_id,
        )

    @cached_property
    def _style(self) -> Style:
        look = self._look
        aligned = None if look.aligned_frame is None else self._view(look.aligned_frame, {})
        return Style(look.reference, look.prompt, look.adapter, look.regions, aligned)


def paint_anchor(*, out: Path, config: AnchorConfig, report: Report, painter: Painter, **painted: Artifact) -> None:
    """``painted``: the anchors that came before, ``frame12`` the one at frame 12."""
    pictures = {int(name.removeprefix("frame")): read_anchor(anchor) for name, anchor in painted.items()}
    picture = painter.paint(config.frame, pictures, config.seed)
    _write(out, config.frame, picture, report)


@dataclass(frozen=True)
class GivenConfig:
    frame: int
    wh: tuple[int, int]


def place_anchor(*, out: Path, config: GivenConfig, report: Report, picture: Array) -> None:
    """A picture of the user's, on the raster already."""
    _write(out, config.frame, picture, report)


def read_anchor(anchor: Artifact) -> Array:
    """(H, W, 3) uint8."""
    (file,) = (anchor.path / ANCHORS).glob("*.png")
    return images.read_picture(file)


def _write(out: Path, frame: int, picture: Array, report: Report) -> None:
    images.write_picture(out / anchor_path(frame), picture)
    report(1, 1, preview=picture)


def anchor_path(frame: int) -> str:
    return f"{ANCHORS}/{frame:04d}.png"

"""Stage: what belongs to the whole shot: movie, contact sheet, USD scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geometry.mesh import Model
from geometry.placement import matrix
from geometry.scene import Placement, Scene4D
from services.export import usd
from services.media import images
from services.media.clip import ClipReader
from services.media.colour import srgb_from_linear
from services.media.contact_sheet import Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from services.pipelines.context import Artifact, Report

Array = np.ndarray
SHOWN = 12


@dataclass(frozen=True)
class FinishConfig:
    frames: tuple[int, ...]
    rate: str
    facts: list[dict[str, Any]]


def finish_insert(
    *, out: Path, config: FinishConfig, report: Report, clip: ClipReader, scene: Scene4D,
    placed: Sequence[tuple[Model, Placement, str]], cameras: Artifact, **composites: Artifact,
) -> None:
    """Writes ``composite.mp4``, ``contact_sheet.png`` and ``scene.usda``."""
    folders = [composites[name].path for name in sorted(composites)]
    shown = {config.frames[i] for i in evenly(len(config.frames), SHOWN)}
    shown |= {p.frame for _, p, _ in placed}
    tiles: list[Tile] = []
    h, w = clip.hw
    with VideoWriter(out / "composite.mp4", (w, h), Fraction(config.rate)) as movie:
        for i, number in enumerate(config.frames):
            picture = _picture(folders, number)
            movie.write(picture)
            if number in shown:
                tiles.append(Tile(f"frame {number}", _small(picture)))
            report(i + 1, len(config.frames))
    tiles += _closer(folders, placed[0][1].frame)
    names = ", ".join(name for _, _, name in placed)
    sheet = contact_sheet(tiles, f"insert: {names} in {w} x {h}, {len(config.frames)} frames")
    images.write_picture(out / "contact_sheet.png", sheet)
    usd.write_usd(
        out / "scene.usda", scene.cameras.scaled(scene.source_wh), Fraction(config.rate), mesh=scene.mesh,
        objects=[usd.PlacedObject(name, model.meshes, matrix(placement)) for model, placement, name in placed],
        scale_known=scene.scale_known,
    )


def _picture(folders: Sequence[Path], number: int) -> Array:
    """(H, W, 3) uint8 or uint16 sRGB."""
    for folder in folders:
        path = folder / "composite" / f"{number:04d}.png"
        if path.exists():
            return images.read_picture(path)
        if path.with_suffix(".exr").exists():
            linear = images.read_picture(path.with_suffix(".exr"))
            return np.rint(np.clip(srgb_from_linear(linear), 0, 1) * 65535).astype(np.uint16)
    raise FileNotFoundError(f"composite of frame {number}")


def _small(picture: Array) -> Array:
    picture = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    scale = 480 / picture.shape[1]
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _closer(folders: Sequence[Path], number: int) -> list[Tile]:
    """The placing frame's object close up, its visible mask and the effect matte: where faults show first."""
    picture = _picture(folders, number)
    for folder in folders:
        if (folder / "masks" / f"{number:04d}.png").exists():
            mask = images.read_mask(folder / "masks" / f"{number:04d}.png")
            effect = images.read_mask(folder / "effect" / f"{number:04d}.png")
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tiles = [Tile("visible mask", mask), Tile("effect matte", effect)]
    if len(rows):
        margin = max(rows[-1] - rows[0], columns[-1] - columns[0]) // 4 + 8
        y0, y1 = max(rows[0] - margin, 0), min(rows[-1] + margin, picture.shape[0])
        x0, x1 = max(columns[0] - margin, 0), min(columns[-1] + margin, picture.shape[1])
        close = picture[y0:y1, x0:x1]
        close = close if close.dtype == np.uint8 else (close >> 8).astype(np.uint8)
        tiles.insert(0, Tile(f"frame {number}, close", close))
    return tiles

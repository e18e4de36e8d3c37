"""Stage: what belongs to a whole previs: movie and contact sheet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from services.media import exr, images
from services.media.contact_sheet import Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from services.pipelines.context import Artifact, Report

Array = np.ndarray
COLUMNS, TILE_PX = 4, 400
SHOWN = {"guides": 4, "anchors": 8, "frames": 12}


@dataclass(frozen=True)
class FinishConfig:
    title: str
    frames: tuple[int, ...]  # of the shot
    anchors: tuple[int, ...]
    rate: str
    has_frames: bool  # else anchors or guides were all that was asked for


def finish_previs(*, out: Path, config: FinishConfig, report: Report, **made: Artifact) -> None:
    """Writes ``video.mp4`` where there are frames, and ``contact_sheet.png``."""
    folders = _Folders([made[name].path for name in sorted(made)])
    if config.has_frames:
        picture = folders.picture("frames", config.frames[0])
        with VideoWriter(out / "video.mp4", (picture.shape[1], picture.shape[0]), Fraction(config.rate)) as movie:
            for done, frame in enumerate(config.frames):
                movie.write(folders.picture("frames", frame))
                report(done + 1, len(config.frames))
    sheet = contact_sheet(list(_tiles(config, folders)), config.title, columns=COLUMNS, tile_width_px=TILE_PX)
    images.write_picture(out / "contact_sheet.png", sheet)


class _Folders:
    """Pictures of all artifacts by kind and frame."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files = {path.relative_to(folder).as_posix(): path for folder in folders for path in folder.rglob("*.*")}

    def find(self, kind: str, frame: int, suffix: str = ".png") -> Path:
        return self._files[f"{kind}/{frame:04d}{suffix}"]

    def picture(self, kind: str, frame: int) -> Array:
        return images.read_picture(self.find(kind, frame))


def _tiles(config: FinishConfig, folders: _Folders) -> Iterator[Tile]:
    if config.has_frames:
        for i in evenly(len(config.frames), SHOWN["frames"]):
            frame = config.frames[i]
            label = f"frame {frame}" + (", an anchor" if frame in config.anchors else "")
            yield Tile(label, _small(folders.picture("frames", frame)))
    else:
        for i in evenly(len(config.anchors), SHOWN["anchors"]):
            yield Tile(f"anchor {config.anchors[i]}", _small(folders.picture("anchors", config.anchors[i])))
    count = 1 if config.anchors else SHOWN["guides"]
    for i in evenly(len(config.frames), count):
        frame = config.frames[i]
        yield Tile(f"soft edges {frame}", _small(folders.picture("guides/softedge", frame)))
        yield Tile(f"normals {frame}", _small(folders.picture("guides/normal", frame)))
        yield Tile(f"objects {frame}", _small(coloured_ids(folders.picture("guides/ids", frame)[..., 0])))
        depth = exr.read_depth(folders.find("guides/depth", frame, ".exr"))
        yield Tile(f"depth {frame}", _small(nearness_shown(depth)))


def _small(picture: Array) -> Array:
    scale = min(1.0, TILE_PX / picture.shape[1])
    return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def coloured_ids(ids: Array) -> Array:
    """(H, W, 3) uint8: neighbouring numbers get hues far apart, 0 is black."""
    hue = (ids * 0.618034) % 1
    hsv = np.stack([hue * 179, np.where(ids > 0, 150, 0), np.where(ids > 0, 230, 0)], -1)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)


def nearness_shown(depth: Array) -> Array:
    """(H, W) float in [0, 1]: near is white, nothing (0) is black."""
    near = np.divide(1, depth, out=np.zeros_like(depth), where=depth > 0)
    top = float(np.percentile(near[depth > 0], 99)) if (depth > 0).any() else 1.0
    return np.clip(near / top, 0, 1) ** 0.7

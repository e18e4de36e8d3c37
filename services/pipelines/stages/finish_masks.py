"""Stage: a look at masks: a movie and a contact sheet of the clip, dark where the masks are black."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2

from services.media import images
from services.media.clip import ClipReader
from services.media.contact_sheet import Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from services.pipelines.context import Artifact, Report
from services.pipelines.stages.follow_region import shown_over

SHOWN = 12
TILE_PX = 480


@dataclass(frozen=True)
class FinishConfig:
    frames: tuple[int, ...]
    rate: str


def finish_masks(*, out: Path, config: FinishConfig, report: Report, clip: ClipReader, masks: Artifact) -> None:
    """Writes ``preview.mp4`` and ``contact_sheet.png``."""
    h, w = clip.hw
    shown = {config.frames[i] for i in evenly(len(config.frames), SHOWN)}
    tiles: list[Tile] = []
    with VideoWriter(out / "preview.mp4", (w, h), Fraction(config.rate)) as movie:
        for done, number in enumerate(config.frames):
            mask = images.read_mask(masks.path / "masks" / f"{number:04d}.png")
            picture = shown_over(clip.display(number), mask)
            movie.write(picture)
            if number in shown:
                scale = TILE_PX / w
                small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                tiles.append(Tile(f"frame {number}", small))
            report(done + 1, len(config.frames))
    images.write_picture(out / "contact_sheet.png", contact_sheet(tiles, f"masks: {len(config.frames)} frames"))

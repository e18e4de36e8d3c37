"""Stage: masks of a placed object in every frame: its coverage, less what is in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from services.media import images
from services.pipelines.context import Artifact, Report
from services.pipelines.layer_files import load_layers
from services.pipelines.stages.composite_frames import Sources, visible_objects
from services.pipelines.stages.follow_region import shown_over
from services.pipelines.steadied import HALO
from services.pipelines.supports import Support


@dataclass(frozen=True)
class MaskConfig:
    frames: tuple[int, ...]
    supports: tuple[Support, ...]
    support_of: tuple[int, ...]


def mask_object(
    *, out: Path, config: MaskConfig, report: Report, sources: Sources, layers: Artifact, **_: Artifact
) -> None:
    """Writes ``masks/%04d.png``; a frame without a camera gets an empty one."""
    read = lru_cache(maxsize=2 * HALO + 3)(partial(load_layers, [layers.path]))
    seen = visible_objects(config.supports, config.support_of, sources, read, config.frames)
    for done, (number, visible) in enumerate(zip(config.frames, seen, strict=True)):
        shown = read(number)
        mask = np.zeros(sources.clip.hw, np.float32) if shown is None else shown.alpha * visible
        images.write_mask(out / "masks" / f"{number:04d}.png", mask)
        report(done + 1, len(config.frames), shown_over(sources.clip.display(number), mask))

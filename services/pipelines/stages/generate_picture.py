"""Stage: a picture from text, and from pictures that guide the painter. It leaves ``generated.png``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.media import images
from services.pipelines.context import Report
from services.pipelines.painters import Backend

FILE = "generated.png"
PIXELS = 2**20  # what the models are trained on
MULTIPLE = 16


@dataclass(frozen=True)
class GenerationConfig:
    prompt: str
    negative: str
    aspect: str  # W:H
    seed: tuple[int, ...]


def generate_picture(
    *, out: Path, config: GenerationConfig, report: Report, backend: Backend, controls: Mapping[str, Path],
    concepts: Mapping[str, Path],
) -> None:
    """``controls`` and ``concepts``: files whose content is among the stage's inputs, by kind and by word."""
    report(0, 1)
    guides = {kind: _rgb8(file) for kind, file in controls.items()}
    with backend.model() as model:
        picture = model.generate(
            config.prompt, negative=config.negative, wh=raster(config.aspect), controls=guides, concepts=dict(concepts),
            seed=config.seed,
        )
    backend.close()
    images.write_picture(out / FILE, picture)
    report(1, 1, preview=picture)


def raster(aspect: str) -> tuple[int, int]:
    """Width and height of about ``PIXELS`` pixels, in multiples that every model takes."""
    w, h = (int(word) for word in (aspect or "16:9").split(":"))
    height = (PIXELS * h / w) ** 0.5
    sides = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in (height * w / h, height))
    width, rounded = sides
    return width, rounded


def _rgb8(file: Path) -> np.ndarray:
    picture = images.read_picture(file, "source.generation.controls.picture")
    return picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)

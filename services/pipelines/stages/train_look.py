"""Stage: a learned painter trained on the reference. What it leaves is a ``Style.adapter``, and ``sample.png``: the
reference's own edges, painted in the style."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.edges import picture_soft_edges
from geometry.guides import GuideSource
from models.training.style_lora import StyleSettings, train_style
from services.media import images
from services.pipelines.context import Report
from services.pipelines.painters import Backend
from services.pipelines.style_inputs import Look

Array = np.ndarray


@dataclass(frozen=True)
class TrainingConfig:
    steps: int
    prompt: str
    seed: tuple[int, ...]


def train_look(
    *, out: Path, config: TrainingConfig, report: Report, backend: Backend, look: Look, source: GuideSource
) -> None:
    aligned = look.aligned_frame
    edges = picture_soft_edges(look.reference) if aligned is None else source.guides(aligned).soft_edges
    own_side = round(float(np.sqrt(edges.size)))  # a small picture is not made larger
    settings = StyleSettings(
        steps=config.steps, save_every=config.steps, side_px=min(own_side, StyleSettings.side_px)
    )
    with backend.model() as model:
        trained = train_style(
            model, look.reference, edges, config.prompt, out, config.seed,
            lambda done, total, _: report(done, total), settings,
        )
    shutil.rmtree(out / "state")
    images.write_picture(out / "sample.png", trained.sample.picture)

"""Stage: some steps of training a learned painter on the reference; the next one takes up what this one leaves. The
last one leaves a ``Style.adapter``, and ``sample.png``: the reference's own edges, painted in the style."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.edges import picture_soft_edges
from geometry.guides import GuideSource
from models.training.style_lora import StyleSettings, train_style
from services.media import images
from services.pipelines.context import Artifact, Report
from services.pipelines.painters import Backend
from services.pipelines.style_inputs import Look

Array = np.ndarray
STATE = "state"  # of the training, in its folder


@dataclass(frozen=True)
class TrainingConfig:
    steps: int
    begun: int  # steps that were taken before
    most: int  # to take now
    prompt: str
    seed: tuple[int, ...]


class _FarEnough(Exception):
    """The rest is for the next stage."""


def train_look(
    *, out: Path, config: TrainingConfig, report: Report, backend: Backend, look: Look, source: GuideSource,
    before: Artifact | None = None,
) -> None:
    if before is not None:
        shutil.copytree(before.path / STATE, out / STATE)
    aligned = look.aligned_frame
    edges = picture_soft_edges(look.reference) if aligned is None else source.guides(aligned).soft_edges
    own_side = round(float(np.sqrt(edges.size)))  # a small picture is not made larger
    settings = StyleSettings(
        steps=config.steps, save_every=config.most, side_px=min(own_side, StyleSettings.side_px)
    )
    last = min(config.begun + config.most, config.steps)

    def told(done: int, total: int, _: float) -> None:
        report(done - config.begun, last - config.begun)
        if done == last < total:
            raise _FarEnough

    with backend.model() as model, suppress(_FarEnough):
        trained = train_style(model, look.reference, edges, config.prompt, out, config.seed, told, settings)
        shutil.rmtree(out / STATE)
        images.write_picture(out / "sample.png", trained.sample.picture)

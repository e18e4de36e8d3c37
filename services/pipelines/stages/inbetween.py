"""Stages: the frames from one anchor to the next. They leave ``frames/%04d.png``; both ends are the anchors
themselves, whatever a model made of them, and the last one is left to the next arc."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.guides import GuideSource
from geometry.trajectory import CameraPath
from models.base import Arc, InbetweenModel
from models.errors import InputRefused
from models.inbetween.noise import carried_noise
from services.media import images
from services.pipelines.context import Artifact, Report
from services.pipelines.painters import Backend
from services.pipelines.stages.paint_anchor import read_anchor

Array = np.ndarray
FRAMES = "frames"
LENGTHS = "lengths.json"
LONGER = 8  # frames that an arc may be drawn out by, for a model that takes some lengths only


@dataclass(frozen=True)
class ArcConfig:
    frames: tuple[int, ...]  # from anchor to anchor, both of them among these
    wanted: tuple[int, ...]  # those to write
    cameras: CameraPath
    seed: tuple[int, ...] = ()
    prompt: str = ""
    length: int = 0  # that the model takes, >= len(frames)


def carry_arc(
    *, out: Path, config: ArcConfig, report: Report, backend: Backend, source: GuideSource, first: Artifact,
    last: Artifact, **others: Artifact,
) -> None:
    """With the embedded model. ``others``: further anchors, ``frame12`` the one at frame 12."""
    h, w = source.cameras.camera(config.frames[0]).hw
    arc = Arc(
        read_anchor(first), read_anchor(last), np.broadcast_to(np.float32(0), (len(config.frames), h, w)),
        shot=source, frames=config.frames,
        others={int(name.removeprefix("frame")): read_anchor(anchor) for name, anchor in others.items()},
    )
    with backend.model() as model:
        _write(out, config, report, zip(config.wanted, model.stream(arc, only=config.wanted), strict=True))


def dream_arc(
    *, out: Path, config: ArcConfig, report: Report, backend: Backend, source: GuideSource, first: Artifact,
    last: Artifact, **_: Artifact,
) -> None:
    """With a learned model. An arc that is too short for it stands still at its end, which is cut off again."""
    ends = {config.frames[0]: read_anchor(first), config.frames[-1]: read_anchor(last)}
    made: dict[int, Array] = {}
    if len(config.frames) > 2:
        with backend.model() as model:
            arc = _told(config, source, model, *ends.values())
            report(0, len(config.wanted))
            made = dict(zip(config.frames, model.generate(arc, config.seed).frames, strict=False))
    made |= ends
    _write(out, config, report, ((frame, made[frame]) for frame in config.wanted))


def _told(config: ArcConfig, source: GuideSource, model: InbetweenModel, first: Array, last: Array) -> Arc:
    guides = [source.guides(frame) for frame in config.frames]
    hw = first.shape[:2]
    noise = carried_noise(source, config.frames, model.noise_chw((hw[0], hw[1])), config.seed)
    still = max(config.length - len(config.frames), 0)
    return Arc(
        first, last, _drawn_out([g.soft_edges for g in guides], still),
        _drawn_out([g.gbuffer.depth for g in guides], still), None if noise is None else _drawn_out(noise, still),
        config.prompt,
    )


def _drawn_out(frames: Sequence[Array] | Array, by: int) -> Array:
    return np.stack([*frames, *[frames[-1]] * by])


def _write(out: Path, config: ArcConfig, report: Report, made: Iterator[tuple[int, Array]]) -> None:
    for done, (frame, picture) in enumerate(made):
        images.write_picture(out / FRAMES / f"{frame:04d}.png", picture)
        report(done + 1, len(config.wanted), preview=picture)


@dataclass(frozen=True)
class FitConfig:
    lengths: tuple[int, ...]  # of the arcs, in frames
    hw: tuple[int, int]


def fit_arcs(*, out: Path, config: FitConfig, report: Report, backend: Backend) -> None:
    """How many frames a learned model makes for arcs of some lengths; nothing if it takes them as they are.

    Raises ``InvalidRequest`` when it does not, or not this raster; and what is wrong with its checkpoint.
    """
    with backend.model() as model:
        fitting = {str(length): _fitting(model, length, config.hw) for length in config.lengths}
    (out / LENGTHS).write_text(json.dumps(fitting))
    report(1, 1)


def _fitting(model: InbetweenModel, length: int, hw: tuple[int, int]) -> int:
    for longer in range(length, length + LONGER):
        with suppress(InputRefused):
            model.check(longer, hw)
            return longer
    model.check(length, hw)  # says what it takes
    raise InputRefused(f"expected lengths to agree, got another answer for {length} frames")


def load_lengths(artifact: Artifact) -> dict[int, int]:
    return {int(length): fits for length, fits in json.loads((artifact.path / LENGTHS).read_text()).items()}

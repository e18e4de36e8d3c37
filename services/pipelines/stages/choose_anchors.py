"""Stage: which frames become anchors, and in which order they are painted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from geometry.anchors import painting_order, select
from geometry.guides import GuideSource
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact, Report

FILE = "anchors.json"


@dataclass(frozen=True)
class ChoiceConfig:
    cameras: CameraPath
    frames: tuple[int, ...]
    aligned: int | None  # painted before all others; it may lie outside ``frames``
    longest_gap: int | None  # frames from one anchor to the next


@dataclass(frozen=True)
class Choice:
    """``order`` holds the anchors, and the aligned frame; shares are those of ``geometry.anchors.Selection``."""

    order: tuple[int, ...]
    seen: float  # mean share of the visible surface that some anchor shows
    seen_well: float
    worst: int  # the frame of which most is not seen


def choose_anchors(*, out: Path, config: ChoiceConfig, report: Report, source: GuideSource) -> None:
    aligned = config.aligned
    locked = [aligned] if aligned in config.frames else []
    selection = select(source, config.frames, locked=locked, longest_arc=config.longest_gap)
    report(1, 2)
    anchors = sorted({*selection.frames, *([] if aligned is None else [aligned])})
    facts = {
        "order": painting_order(source, anchors, aligned),
        "seen": float(selection.seen.mean()), "seen_well": float(selection.seen_well.mean()),
        "worst": selection.worst()[0],
    }
    (out / FILE).write_text(json.dumps(facts))
    report(2, 2)


def load_choice(artifact: Artifact) -> Choice:
    facts = json.loads((artifact.path / FILE).read_text())
    return Choice(**{**facts, "order": tuple(facts["order"])})

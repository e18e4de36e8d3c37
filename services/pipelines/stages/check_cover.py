"""Stage: where a camera may go before something shows that no layer covers, and where its path leaves that box."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geometry.plates.safe_box import safe_box, uncovered_frames
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact, Report
from services.pipelines.stack_store import load_stack

FILE = "cover.json"


@dataclass(frozen=True)
class CoverConfig:
    path: CameraPath  # in the source camera's world


def check_cover(*, out: Path, config: CoverConfig, report: Report, source: Path, layers: Artifact) -> None:
    stack = load_stack(layers.path, source)
    box = safe_box(stack, config.path.cameras[0].hw)
    report(1, 2)
    facts = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in asdict(box).items()}
    outside = [
        frame for frame, pose in zip(config.path.frames, config.path.camera_from_world, strict=True)
        if not box.contains(pose)
    ]
    uncovered = list(uncovered_frames(stack, config.path)) if outside else []
    (out / FILE).write_text(json.dumps({"safe_box": facts, "outside": outside, "uncovered_frames": uncovered}))
    report(2, 2)


def load_cover(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.path / FILE).read_text())

"""Stage: layers with what a long, large move comes to see painted behind them, as a stack (see ``stack_store``), and
``keys.json``: the frames at which that was done, and those that still see past the layers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geometry.plates.repaint import repainted
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact, Report
from services.pipelines.painters import Backend, painting
from services.pipelines.stack_store import load_stack, save_stack

FILE = "keys.json"


@dataclass(frozen=True)
class RepaintConfig:
    path: CameraPath  # in the source camera's world
    prompt: str
    seed: int


def repaint_layers(
    *, out: Path, config: RepaintConfig, report: Report, source: Path, layers: Artifact, painter: Backend | None
) -> None:
    found = repainted(load_stack(layers.path, source), config.path, painting(painter, config.prompt, config.seed))
    if painter is not None:
        painter.close()
    save_stack(out, found.stack)
    (out / FILE).write_text(json.dumps({"keys": found.keys, "left": found.left}))
    report(1, 1)


def load_keys(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.path / FILE).read_text())

"""A registry of pipelines that take no time and do as they are told.

A request's ``scene.horizon`` is JSON for ``Plan``; its clip's path is a folder where stages note that they ran.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from services.executors.preview import PreviewSpec
from services.pipelines.context import Context
from services.pipelines.requests import ReconstructRequest
from tests.services.tiny_stages import chunk, first, second

PIPELINES = {"reconstruct": "tests.services.tiny_pipelines:run"}
CALLS = {
    "describe": "services.executors.calls:describe_clip",
    "preview": "tests.services.tiny_pipelines:preview",
}


@dataclass(frozen=True)
class Plan:
    text: str = "a"
    steps: int = 3
    files: int = 1
    chunks: int = 0
    chunk_s: float = 0.0
    second: str = ""  # what happens in the second stage, see ``second``


def run(request: ReconstructRequest, context: Context) -> dict[str, object]:
    plan, notes = Plan(**json.loads(request.scene.horizon or "{}")), Path(request.clip.path)
    if plan.second == "memory" and context.settings.models.runtime.vae_tiling:
        plan = replace(plan, second="")  # now it fits
    one = context.stage(first, config=(plan.text, plan.steps, plan.files), inputs={}, weight=0.5, notes=notes)
    context.deliver(one, "one")
    context.warn("this is a toy")
    two = context.stage(second, config=(plan.second,), inputs={"one": one}, label="Second", weight=0.5, notes=notes)
    context.deliver(two)
    if plan.chunks:
        configs = [(plan.text, number, plan.chunk_s) for number in range(plan.chunks)]
        for artifact in context.chunks(chunk, configs=configs, inputs={"one": one}, weight=0.0, notes=notes):
            context.deliver(artifact, "chunks")
    return {
        "registered_frames": [0, 1, 2],
        "width_px": context.settings.reconstruct.max_side,
        "height_px": 540,
        "scale_known": False,
    }


def preview(scene_dir: str, clip: object, spec: PreviewSpec) -> np.ndarray:
    if not (Path(scene_dir) / "alive").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return np.full((30, spec.width_px or 40, 3), 200, np.uint8)

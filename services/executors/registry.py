"""Which function does what in a worker; imported there, when it is needed."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

PIPELINES = {
    "reconstruct": "services.pipelines.reconstruct:run",
    "import_scene": "services.pipelines.import_scene:run",
    "insert": "services.pipelines.insert:run",
    "propagate_masks": "services.pipelines.propagate_masks:run",
    "guides": "services.pipelines.previs:run_guides",
    "anchors": "services.pipelines.previs:run_anchors",
    "previs": "services.pipelines.previs:run_previs",
    "layers": "services.pipelines.plate:run_layers",
    "plate": "services.pipelines.plate:run_plate",
}

# Short calls that a warm helper process answers.
CALLS = {
    "describe": "services.executors.calls:describe_clip",
    "preview": "services.pipelines.preview:render",
}


def load(module: str) -> ModuleType:
    """This module, or another one with the same names."""
    return import_module(module) if module else sys.modules[__name__]

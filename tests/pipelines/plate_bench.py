"""Small plates on disk, and their pipelines run over one store."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from geometry.layers import LayerStack
from services.artifacts.stages import JobContext
from services.artifacts.store import Store
from services.config import Settings
from services.export.layer_files import write_layer_folder
from services.media import images
from tests.layer_stacks import large

Array = np.ndarray
WH = (96, 64)


class Bench:
    def __init__(self, root: Path) -> None:
        self.root, self.store = root, Store(str(root / "store"), 2**33)
        self.warnings: list[str] = []
        self.ran: set[str] = set()
        self._count = 0

    def run(self, pipeline: Any, request: Any, settings: Settings | None = None) -> tuple[Path, dict[str, Any]]:
        """The output folder and what the pipeline returned; ``ran``: stages that were no hits."""
        files: list[dict[str, Any]] = []
        self.warnings = []

        def emit(message: dict[str, Any]) -> None:
            files.extend(message.get("files", ()))
            if message["kind"] == "warning":
                self.warnings.append(message["message"])

        context = JobContext(self.store, settings or Settings(), emit)
        facts = pipeline(request, context)
        context.close()
        self.ran = {label for label, seconds in context.timings.items() if seconds > 0}
        self._count += 1
        out = self.root / f"out{self._count}"
        for file in files:
            (out / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.store.path(file["key"], file["file"]), out / file["path"])
        return out, facts

    def folder(self, stack: LayerStack | None = None) -> str:
        """A folder with layers: a backdrop, a sea and a rock."""
        path = self.root / "layers"
        if not path.exists():
            write_layer_folder(path, stack or large())
        return str(path)

    def picture(self, name: str, picture: Array) -> str:
        images.write_picture(self.root / name, picture)
        return str(self.root / name)


def still() -> tuple[Array, Array]:
    """A picture (64, 96, 3) uint8 and its depth: a sky, level ground, a red post."""
    rng = np.random.default_rng(2)
    picture = np.zeros((64, 96, 3), np.float32)
    picture[:30] = np.linspace(0, 1, 30)[:, None, None] * (60, 60, 20) + (120, 150, 220)
    picture[30:] = rng.normal(0, 12, (34, 96, 1)) + np.array([110, 120, 60])
    depth = np.full((64, 96), 40.0, np.float32)
    depth[30:] = (1.6 * 90 / (np.arange(30, 64) - 29.0))[:, None].clip(4, 40)
    post = np.s_[14:54, 40:52]
    picture[post], depth[post] = (200, 40, 30), 5
    return np.clip(picture, 0, 255).astype(np.uint8), depth

"""A small yard with a box that moves, as a blockout, and pictures in which every object has a colour of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from examples.film_sets import FilmSet, Piece, write_blockout
from examples.solids import box, quad
from geometry import rigid
from geometry.camera import Camera
from geometry.guides import GuideSource
from geometry.mesh import Material
from geometry.trajectory import CameraPath
from services.artifacts.stages import JobContext
from services.artifacts.store import Store
from services.config import Settings
from services.media import images

Array = np.ndarray
WH, FRAMES = (96, 64), 10
GREY = Material()
COLOURS = np.array([[40, 60, 90], [90, 140, 70], [200, 80, 60], [220, 200, 120], [70, 90, 200]], np.uint8)
NAMES = ("ground", "tower", "shed", "cart")


def yard(frames: int = FRAMES, wh: tuple[int, int] = WH, step: float = 0.22) -> FilmSet:
    """Past a tower and a shed, sideways, while a cart crosses."""
    eyes = [(step * i - 1.0, 1.7, 7.0) for i in range(frames)]
    poses = np.stack([rigid.look_at(eye, (0.5 * eye[0], 1.2, 0)) for eye in eyes])
    lenses = tuple(Camera(f, f, wh[0] / 2, wh[1] / 2, wh) for f in np.linspace(0.9, 1.0, frames) * wh[0])
    pieces = (
        Piece("ground", (quad((-30, 0, 10), (60, 0, 0), (0, 0, -60), GREY),)),
        Piece("tower", (box((-2.2, 0, -2), (-0.8, 3.4, -0.6), GREY),)),
        Piece("shed", (box((0.6, 0, -4), (3.4, 1.8, -1.5), GREY),)),
        Piece("cart", (box((-0.4, 0.1, 0.6), (0.4, 0.8, 1.2), GREY),), _drive if frames > 1 else None),
    )
    return FilmSet(pieces, CameraPath(tuple(range(frames)), lenses, poses))


def _drive(frame: float) -> Array:
    return rigid.rigid(np.eye(3), np.array([0.15 * frame - 0.5, 0, 0]))


def coloured(film_set: FilmSet, frame: int) -> Array:
    """(H, W, 3) uint8: object k in ``COLOURS[k]``, the sky in the first."""
    return COLOURS[object_ids(film_set, frame)]


def object_ids(film_set: FilmSet, frame: int) -> Array:
    return GuideSource(film_set.instances, film_set.path).guides(frame).gbuffer.object_id


class Studio:
    """A yard on disk, and pipelines run over one store."""

    def __init__(self, root: Path, film_set: FilmSet) -> None:
        self.root, self.set, self.store = root, film_set, Store(str(root / "store"), 2**33)
        self.scene = str(write_blockout(film_set, root / "yard.glb"))
        self.warnings: list[str] = []
        self.ran: dict[str, float] = {}
        self._count = 0

    def reference(self, frame: int) -> str:
        file = self.root / f"reference{frame}.png"
        images.write_picture(file, coloured(self.set, frame))
        return str(file)

    def run(self, pipeline: Any, request: Any, settings: Settings | None = None) -> tuple[Path, dict[str, Any]]:
        """The output folder and what the pipeline returned; ``ran``: seconds of the stages that were no hits."""
        files: list[dict[str, Any]] = []
        self.warnings, self.ran = [], {}

        def emit(message: dict[str, Any]) -> None:
            files.extend(message.get("files", ()))
            if message["kind"] == "warning":
                self.warnings.append(message["message"])

        context = JobContext(self.store, settings or Settings(), emit)
        facts = pipeline(request, context)
        context.close()
        self.ran = {label: seconds for label, seconds in context.timings.items() if seconds > 0}
        self._count += 1
        out = self.root / f"out{self._count}"
        for file in files:
            (out / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.store.path(file["key"], file["file"]), out / file["path"])
        return out, facts


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}

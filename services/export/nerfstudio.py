"""``cameras.json`` (Backlot's convention) and nerfstudio's ``transforms.json``: one format, two conventions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from geometry import frames
from geometry.trajectory import CameraPath


def write_cameras_json(file: Path, path: CameraPath, names: Sequence[str] = ()) -> None:
    """Backlot's ``cameras.json``: +Y up, said so in ``convention``."""
    _write(file, frames.cameras_json_from_path(path, names=names))


def write_transforms_json(file: Path, path: CameraPath, names: Sequence[str] = ()) -> None:
    """nerfstudio's own convention: +Z up, no ``convention``; ``names`` are the pictures, relative to the file."""
    names = names or [f"images/{frame:06d}.png" for frame in path.frames]
    document = frames.cameras_json_from_path(path, world_up="+z", names=names)
    del document["convention"]
    _write(file, document)


def read_cameras_json(file: Path) -> CameraPath:
    """Either of the two. Raises ``ValueError`` that names the field, or for a file that is not JSON."""
    document = json.loads(file.read_text())
    if not isinstance(document, dict):
        raise ValueError(f"{file.name}: expected a JSON object, got {type(document).__name__}")
    return frames.path_from_cameras_json(document)


def _write(file: Path, document: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")

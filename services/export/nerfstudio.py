"""``cameras.json`` and nerfstudio's ``transforms.json``: one format; ``convention`` says which way is up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geometry import frames
from geometry.trajectory import CameraPath


def write_cameras_json(file: Path, path: CameraPath, names: Sequence[str] = ()) -> None:
    """Backlot's ``cameras.json``: +Y up, said so in ``convention``."""
    _write(file, frames.cameras_json_from_path(path, names=names))


def write_transforms_json(file: Path, path: CameraPath, names: Sequence[str] = ()) -> None:
    """nerfstudio's ``transforms.json``: OpenGL camera axes, world_from_camera, model OPENCV.

    nerfstudio's own worlds have +Z up. Ours is stored as it is, +Y up, the world of the files beside it:
    ``applied_transform`` is the identity, nerfstudio levels cameras itself as it loads them (``orientation_method`` is
    ``up``), and ``convention``, which it ignores, tells our reader. ``names`` are the pictures, relative to the file.
    """
    names = names or [f"images/{frame:04d}.png" for frame in path.frames]
    _write(file, frames.cameras_json_from_path(path, names=names) | {"applied_transform": np.eye(4)[:3].tolist()})


def read_cameras_json(file: Path) -> CameraPath:
    """Either of the two. Raises ``ValueError`` that names the field, or for a file that is not JSON."""
    document = json.loads(file.read_text())
    if not isinstance(document, dict):
        raise ValueError(f"{file.name}: expected a JSON object, got {type(document).__name__}")
    return frames.path_from_cameras_json(document)


def _write(file: Path, document: dict) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, indent=1) + "\n")

"""COLMAP's sparse model: text out; text or binary in.

``cameras.txt``, ``images.txt`` and ``points3D.txt`` as COLMAP's documentation describes them; poses are
camera_from_world with ``qw qx qy qz``. The world keeps Backlot's axes: COLMAP knows no up.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from geometry import frames
from geometry.camera import Camera
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath

# Model number in binary files, and which parameters it has, in order.
MODELS: dict[str, tuple[int, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": (0, ("f", "cx", "cy")),
    "PINHOLE": (1, ("fx", "fy", "cx", "cy")),
    "SIMPLE_RADIAL": (2, ("f", "cx", "cy", "k1")),
    "RADIAL": (3, ("f", "cx", "cy", "k1", "k2")),
    "OPENCV": (4, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")),
    "FULL_OPENCV": (6, ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")),
}
_MODEL_NAMES = {number: name for name, (number, _) in MODELS.items()}


def write_colmap(
    folder: Path, path: CameraPath, points: SparsePoints | None = None, names: Sequence[str] = ()
) -> None:
    """Write the three text files. ``names`` are the pictures' names, one for each frame (default ``000012.png``)."""
    folder.mkdir(parents=True, exist_ok=True)
    names = names or [f"{frame:06d}.png" for frame in path.frames]
    lenses = list(dict.fromkeys(path.cameras))
    _write(folder / "cameras.txt", "CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]",
           [f"{i} {_camera_line(camera)}" for i, camera in enumerate(lenses, 1)])
    wxyz, translation = frames.colmap_from_backlot(path.camera_from_world)
    images = [
        f"{i + 1} {_numbers([*wxyz[i], *translation[i]])} {lenses.index(camera) + 1} {names[i]}\n"
        for i, camera in enumerate(path.cameras)
    ]
    _write(folder / "images.txt", "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then its points (none)", images)
    rows = [] if points is None else [
        f"{i} {_numbers(xyz)} 128 128 128 {_numbers([error])}"
        for i, (xyz, error) in enumerate(zip(points.xyz, points.error_px, strict=True), 1)
    ]
    _write(folder / "points3D.txt", "POINT3D_ID X Y Z R G B ERROR TRACK[] (none)", rows)


def read_colmap(folder: Path) -> CameraPath:
    """Cameras of a model folder (or the folder above ``sparse/0``). Frame numbers end the pictures' names.

    Raises ``ValueError`` that names the file and what is wrong in it.
    """
    model = find_model(folder)
    if (model / "cameras.bin").exists():
        lenses, images = _binary_cameras(model / "cameras.bin"), _binary_images(model / "images.bin")
    else:
        lenses, images = _text_cameras(model / "cameras.txt"), _text_images(model / "images.txt")
    if not images:
        raise ValueError(f"{model.name}: expected at least one picture, got none")
    numbered = sorted((_frame_number(name), camera_id, pose) for name, camera_id, pose in images)
    return CameraPath(
        tuple(number for number, _, _ in numbered),
        tuple(lenses[camera_id] for _, camera_id, _ in numbered),
        frames.backlot_from_colmap(*(np.array([pose[part] for _, _, pose in numbered])
                                     for part in (slice(0, 4), slice(4, 7)))),
    )


def read_points(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) positions and (N,) errors in px of a ``points3D.txt``; empty when the file is not there."""
    if not file.is_file():
        return np.empty((0, 3)), np.empty(0)
    rows = [line.split() for line in file.read_text().splitlines() if line.strip() and not line.startswith("#")]
    try:
        table = np.array([[float(row[i]) for i in (1, 2, 3, 7)] for row in rows]).reshape(-1, 4)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{file}: expected POINT3D_ID X Y Z R G B ERROR rows, got something else") from error
    return table[:, :3], table[:, 3]


def find_model(folder: Path) -> Path:
    """The folder that holds ``cameras.txt`` or ``cameras.bin``. Raises ``ValueError``."""
    for model in (folder, folder / "sparse" / "0", folder / "sparse"):
        if (model / "cameras.bin").exists() or (model / "cameras.txt").exists():
            return model
    raise ValueError(f"{folder.name}: expected a COLMAP model (cameras.txt or cameras.bin), got none")


def _camera_line(camera: Camera) -> str:
    k1, k2, p1, p2, k3 = camera.distortion
    values = [camera.fx, camera.fy, camera.cx, camera.cy]
    if camera.is_pinhole:
        model = "PINHOLE"
    elif k3 == 0:
        model, values = "OPENCV", [*values, k1, k2, p1, p2]
    else:
        model, values = "FULL_OPENCV", [*values, k1, k2, p1, p2, k3, 0, 0, 0]
    return f"{model} {camera.wh[0]} {camera.wh[1]} {_numbers(values)}"


def _numbers(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values)


def _write(path: Path, columns: str, rows: Sequence[str]) -> None:
    path.write_text("\n".join([f"# {columns}", f"# Number: {len(rows)}", *rows]) + "\n")


def _camera(model: str, wh: tuple[int, int], values: Sequence[float], where: str) -> Camera:
    names = MODELS[model][1]
    if len(values) != len(names):
        raise ValueError(f"{where}: {model}: expected {len(names)} parameters, got {len(values)}")
    got = dict(zip(names, values, strict=True))
    if any(got.get(name) for name in ("k4", "k5", "k6")):
        raise ValueError(f"{where}: {model}: expected k4, k5, k6 of 0 (Brown-Conrady), got {values}")
    fx, fy = got.get("fx", got.get("f", 0.0)), got.get("fy", got.get("f", 0.0))
    k1, k2, p1, p2, k3 = (got.get(name, 0.0) for name in ("k1", "k2", "p1", "p2", "k3"))
    return Camera(fx, fy, got["cx"], got["cy"], wh, (k1, k2, p1, p2, k3))


def _known(model: str, where: str) -> str:
    if model not in MODELS:
        raise ValueError(f"{where}: expected a camera model of {', '.join(MODELS)}, got {model}")
    return model


def _text_cameras(path: Path) -> dict[int, Camera]:
    lenses = {}
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            number, model, w, h, *values = line.split()
            lenses[int(number)] = _camera(_known(model, path.name), (int(w), int(h)), [*map(float, values)], path.name)
    return lenses


def _text_images(path: Path) -> list[tuple[str, int, list[float]]]:
    """Every other line is a picture; the lines between hold its points and may be empty."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    images = []
    for line in lines[::2]:
        if line.strip():
            _, *pose, camera_id, name = line.split(maxsplit=9)
            images.append((name, int(camera_id), [*map(float, pose)]))
    return images


def _unpack(file: BinaryIO, form: str) -> tuple:
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise ValueError(f"{Path(file.name).name}: expected more data, got the end of the file")
    return struct.unpack(form, data)


def _binary_cameras(path: Path) -> dict[int, Camera]:
    lenses = {}
    with path.open("rb") as file:
        (count,) = _unpack(file, "<Q")
        for _ in range(count):
            number, model_number, w, h = _unpack(file, "<iiQQ")
            model = _known(_MODEL_NAMES.get(model_number, f"number {model_number}"), path.name)
            values = _unpack(file, f"<{len(MODELS[model][1])}d")
            lenses[number] = _camera(model, (w, h), values, path.name)
    return lenses


def _binary_images(path: Path) -> list[tuple[str, int, list[float]]]:
    images = []
    with path.open("rb") as file:
        (count,) = _unpack(file, "<Q")
        for _ in range(count):
            _, *pose, camera_id = _unpack(file, "<i7di")
            name = b"".join(iter(lambda: _unpack(file, "<c")[0], b"\0")).decode()
            (points,) = _unpack(file, "<Q")
            file.seek(points * 24, 1)
            images.append((name, camera_id, pose))
    return images


def _frame_number(name: str) -> int:
    match = re.search(r"(\d+)$", Path(name).stem)
    if match is None:
        raise ValueError(f"images: {name}: expected a name that ends in a frame number")
    return int(match[1])

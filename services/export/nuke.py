"""Nuke's ``.chan`` camera: ``frame tx ty tz rx ry rz vfov`` in each line, angles in degrees.

The format stores neither rotation order, film back nor principal point: ``<name>.chan.json`` beside it does. What other
programs wrote is read with rotation order ZXY, Nuke's default, and ``vfov`` as the angle that the picture's whole
height spans. In Nuke that holds for a camera whose ``vaperture`` is ``haperture`` x height / width of the format; its
default film back, 24.576 x 18.672 mm, has the aspect of 4:3 and fits no other picture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from geometry import frames
from geometry.camera import Camera
from geometry.trajectory import CameraPath

COLUMNS = ["frame", "tx", "ty", "tz", "rx", "ry", "rz", "vfov"]


def write_chan(file: Path, path: CameraPath, rotation_order: str = frames.CHAN_ROTATION_ORDER) -> None:
    """Write the file and its sidecar. Set the Nuke camera's rotation order and film back to what the sidecar says."""
    rows = frames.chan_from_backlot(path.camera_from_world, rotation_order)
    lines = [
        " ".join([str(number), *(f"{value:.12g}" for value in (*row, frames.vfov_deg(camera)))])
        for number, row, camera in zip(path.frames, rows, path.cameras, strict=True)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")
    sidecar_path(file).write_text(json.dumps(_sidecar(path, rotation_order), indent=1) + "\n")


def read_chan(file: Path, wh: tuple[int, int] | None = None) -> CameraPath:
    """Cameras of a ``.chan`` file. Without a sidecar: a centred lens on raster ``wh``.

    Raises ``ValueError`` that names the line, or the raster when nothing says it.
    """
    rows = np.array([_row(line, i) for i, line in enumerate(file.read_text().splitlines(), 1) if line.strip()])
    if len(rows) == 0:
        raise ValueError(f"{file.name}: expected at least one line, got none")
    sidecar = json.loads(sidecar_path(file).read_text()) if sidecar_path(file).exists() else {}
    raster = tuple(sidecar["wh"]) if sidecar else wh
    if raster is None:
        raise ValueError(f"wh: expected the raster in {sidecar_path(file).name} (a .chan does not store it), got none")
    lenses = sidecar.get("lenses", [{}] * len(rows))
    if len(lenses) != len(rows):
        raise ValueError(f"{sidecar_path(file).name}: lenses: expected {len(rows)}, got {len(lenses)}")
    cameras = tuple(_camera(row[7], lens, raster) for row, lens in zip(rows, lenses, strict=True))
    order = sidecar.get("rotation_order", frames.CHAN_ROTATION_ORDER)
    return CameraPath(tuple(int(n) for n in rows[:, 0]), cameras, frames.backlot_from_chan(rows[:, 1:7], order))


def sidecar_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def _sidecar(path: CameraPath, rotation_order: str) -> dict[str, Any]:
    back = frames.film_back_from_camera(path.cameras[0])
    lenses = [
        {"focal_mm": frames.film_back_from_camera(camera).focal_mm, "fx_over_fy": camera.fx / camera.fy,
         "cx": camera.cx, "cy": camera.cy, "distortion": list(camera.distortion)}
        for camera in path.cameras
    ]
    return {
        "columns": COLUMNS, "rotation_order": rotation_order, "film_back_mm": [back.width_mm, back.height_mm],
        "wh": list(path.cameras[0].wh), "distortion_order": "k1 k2 p1 p2 k3", "lenses": lenses,
    }


def _row(line: str, number: int) -> list[float]:
    words = line.split()
    if len(words) != len(COLUMNS):
        missing = ", so no focal length" if len(words) == len(COLUMNS) - 1 else ""
        raise ValueError(f"line {number}: expected {' '.join(COLUMNS)}, got {len(words)} numbers{missing}")
    return [float(word) for word in words]


def _camera(vfov_deg: float, lens: dict[str, Any], wh: tuple[int, int]) -> Camera:
    if not 0 < vfov_deg < 180:
        raise ValueError(f"vfov: expected an angle between 0 and 180 degrees, got {vfov_deg:g}")
    fy = wh[1] / 2 / np.tan(np.radians(vfov_deg) / 2)
    k1, k2, p1, p2, k3 = lens.get("distortion", (0.0,) * 5)
    return Camera(fy * lens.get("fx_over_fy", 1.0), fy, lens.get("cx", wh[0] / 2), lens.get("cy", wh[1] / 2), wh,
                  (k1, k2, p1, p2, k3))

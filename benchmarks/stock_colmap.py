"""COLMAP as it comes, to be compared with: sequential SIFT and incremental mapping, all defaults, one camera.

    python -m benchmarks.stock_colmap IMAGES OUT

runs on a folder of pictures named by number and writes OUT/stock.json: ``seconds`` (and those of each part), ``focal``
of the largest model and ``poses``, its ``camera_from_world`` (3 x 4) by frame number. A program of its own, because
pycolmap and OpenCV can abort each other in one process.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pycolmap


def solve(pictures: Path, out: Path) -> dict[str, Any]:
    """What ``stock.json`` holds; no ``poses`` when there is no model."""
    pycolmap.logging.minloglevel = 2
    out.mkdir(parents=True, exist_ok=True)
    database = out / "stock.db"
    database.unlink(missing_ok=True)
    marks = [time.monotonic()]
    pycolmap.extract_features(database, pictures, camera_mode=pycolmap.CameraMode.SINGLE)
    marks.append(time.monotonic())
    pycolmap.match_sequential(database)
    marks.append(time.monotonic())
    models = pycolmap.incremental_mapping(database, pictures, out)
    marks.append(time.monotonic())
    parts = {name: b - a for name, a, b in zip(("sift", "match", "map"), marks, marks[1:], strict=False)}
    best = max(models.values(), key=lambda model: model.num_reg_images(), default=None)
    found = [] if best is None else [image for image in best.images.values() if image.has_pose]
    return {
        "seconds": marks[-1] - marks[0], "parts": parts,
        "focal": None if best is None else next(iter(best.cameras.values())).mean_focal_length(),
        "poses": {int(Path(i.name).stem): i.cam_from_world().matrix().tolist() for i in found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    result = solve(arguments.pictures, arguments.out)
    (arguments.out / "stock.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()

"""A layer stack as ``.2p5d``; ``services.media.twop5d`` says what the numbers mean, and reads it again.

The format's picture is symmetric about the optical axis: of a canvas that is not, the part that is missing is added.
"""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from geometry.layers import Layer, LayerStack
from services.export.layer_files import depth_range, srgb_codes, stems
from services.media import images
from services.media.colour import normalized
from services.media.raw_layers import code_from_depth, is_plane
from services.media.twop5d import DATA, GENERATOR

VERSION = "1.0.0"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same layers, the same bytes


def write_2p5d(file: Path, stack: LayerStack) -> None:
    camera = stack.camera
    width, height = (2 * max(c, n - c) for c, n in zip((camera.cx, camera.cy), camera.wh, strict=True))
    near, far = depth_range(stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        plates = []
        for stem, layer in zip(stems(stack), stack, strict=True):
            plate = _placed(stack, layer, (width, height), far) | {"filename": f"{stem}.png"}
            _put(archive, f"{stem}.png", images.encode_png(srgb_codes(layer, stack.encoding)))
            code = code_from_depth(layer.depth, near, far)
            mean = float(normalized(code).mean(dtype=np.float64))
            if is_plane(layer.depth):
                plate |= {"z": float(layer.depth.flat[0]) / far}
            else:
                plate |= {"z": 1 / (mean * (1 / near - 1 / far) + 1 / far) / far}
                plate |= {"depth_map_filename": f"{stem}_depth.png"}
                _put(archive, f"{stem}_depth.png", images.encode_png(code))
            plates.append(plate | {"mean_depth": mean})
        fov_deg = math.degrees(2 * math.atan(width / 2 / camera.fx))
        asset = {"max_depth": far, "min_depth": near, "field_of_view": fov_deg}
        document = {"meta": {"version": VERSION, "generator": GENERATOR}, "asset": asset, "plates": plates}
        _put(archive, DATA, json.dumps(document, indent=1).encode())


def _placed(stack: LayerStack, layer: Layer, wh: tuple[float, float], far: float) -> dict[str, Any]:
    h, w = layer.hw
    x, y = layer.xy[0] + w / 2 - stack.camera.cx, stack.camera.cy - layer.xy[1] - h / 2
    return {
        "name": layer.name, "width": w, "height": h, "x": x / wh[0], "y": y / wh[1], "scale_x": w / wh[0],
        "scale_y": h / wh[1], "scale_z": 1.0, "rotation_x": 0.0, "rotation_y": 0.0, "rotation_z": 0.0,
    }  # fmt: skip


def _put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)

"""A layer stack as a multipart EXR: a part for each layer, linear and premultiplied, with its z-depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geometry.layers import LayerStack
from services.export.layer_files import linear_channels
from services.media import exr
from services.media.layer_exr import note_of


def write_layer_exr(file: Path, stack: LayerStack) -> None:
    note = note_of(stack.camera, stack.picture, stack.is_metric)
    parts = [
        exr.ExrPart(
            layer.name, {**linear_channels(layer, stack.encoding), "Z": np.asarray(layer.depth, np.float32)}, layer.xy,
            note,
        )
        for layer in stack
    ]
    exr.write_parts(file, stack.camera.wh, parts)

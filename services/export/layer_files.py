"""A layer stack as a folder that people edit and Backlot opens again: pictures, 16-bit depth, ``plate.yaml``.

PNG with straight alpha for layers of integers; for linear floats EXR, premultiplied as that format has it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from geometry.layers import Layer, LayerStack
from services.media import exr, images
from services.media.colour import linear_from_srgb, normalized, quantized, srgb_from_linear
from services.media.layer_folder import FILE
from services.media.raw_layers import code_from_depth, is_plane

Array = np.ndarray


def stems(stack: LayerStack) -> list[str]:
    """File names without suffix, in order: ``00_sky``."""
    words = (re.sub(r"[^A-Za-z0-9]+", "_", layer.name).strip("_") for layer in stack)
    return [f"{i:02d}_{word or 'layer'}" for i, word in enumerate(words)]


def srgb_codes(layer: Layer, encoding: str, dtype: np.dtype | None = None) -> Array:
    """(h, w, 4) straight RGBA in sRGB: uint8 or uint16, the layer's own unless ``dtype`` says; floats become uint16."""
    dtype = dtype or (np.dtype(np.uint16) if layer.colour.dtype == np.float32 else layer.colour.dtype)
    if encoding == "srgb" and layer.colour.dtype == dtype:
        return np.dstack([layer.colour, layer.alpha])
    colour = normalized(layer.colour)
    colour = srgb_from_linear(colour) if encoding == "linear" else colour
    return np.dstack([quantized(colour, dtype), quantized(normalized(layer.alpha), dtype)])


def linear_channels(layer: Layer, encoding: str) -> dict[str, Array]:
    """R, G, B (scene-linear, premultiplied) and A; half floats where the layer has 8 bits, which they hold exactly."""
    colour, alpha = normalized(layer.colour), normalized(layer.alpha)
    colour = (linear_from_srgb(colour) if encoding == "srgb" else colour) * alpha[..., None]
    dtype = np.float16 if layer.colour.dtype == np.uint8 else np.float32
    limit = np.finfo(dtype).max
    planes = {name: np.clip(colour[..., i], -limit, limit) for i, name in enumerate("RGB")}
    return {name: plane.astype(dtype) for name, plane in {**planes, "A": alpha}.items()}


def picture_names(stack: LayerStack) -> list[str]:
    """Of the files that ``write_layer_folder`` writes, one a layer."""
    suffix = ".exr" if stack.encoding == "linear" else ".png"
    return [stem + suffix for stem in stems(stack)]


def write_layer_folder(folder: Path, stack: LayerStack, videos: Mapping[str, Path] | None = None) -> list[str]:
    """Returns the pictures' names, one a layer. ``videos`` are files by the name of the layer that shows them."""
    entries: list[dict[str, Any]] = []
    for stem, name, layer in zip(stems(stack), picture_names(stack), stack, strict=True):
        if stack.encoding == "linear":
            exr.write_channels(folder / name, linear_channels(layer, "linear"))
        else:
            images.write_picture(folder / name, srgb_codes(layer, "srgb"))
        depth = _depth(folder, stem, layer)
        entry: dict[str, Any] = {"name": layer.name, "file": name, "at": list(layer.xy), "depth": depth}
        if layer.motion is not None:
            entry |= {"motion": f"{stem}_motion.exr"}
            planes = {axis: layer.motion[..., i].astype(np.float32) for i, axis in enumerate("XY")}
            exr.write_channels(folder / f"{stem}_motion.exr", planes)
        if videos and layer.name in videos:
            source = videos[layer.name]
            entry |= {"video": f"{stem}_video{source.suffix}"}
            shutil.copy(source, folder / f"{stem}_video{source.suffix}")
        entries.append(entry)
    camera = stack.camera
    document = {
        "size": list(camera.wh), "lens_px": [float(v) for v in (camera.fx, camera.fy, camera.cx, camera.cy)],
        "picture": [int(v) for v in stack.picture], "metric": stack.is_metric, "encoding": stack.encoding,
        "alpha": "premultiplied" if stack.encoding == "linear" else "straight", "layers": entries,
    }
    head = "# Layers from the farthest to the nearest; depth is z along the view. The folder is a source for Backlot.\n"
    (folder / FILE).write_text(head + yaml.safe_dump(document, sort_keys=False, default_flow_style=None, width=110))
    return picture_names(stack)


def _depth(folder: Path, stem: str, layer: Layer) -> float | dict[str, Any]:
    if is_plane(layer.depth):
        return float(layer.depth.flat[0])
    near, far = float(layer.depth.min()), float(layer.depth.max())
    images.write_picture(folder / f"{stem}_depth.png", code_from_depth(layer.depth, near, far))
    return {"file": f"{stem}_depth.png", "near": near, "far": far}


def depth_range(stack: LayerStack) -> tuple[float, float]:
    """The nearest and the farthest depth of all layers."""
    ends: Sequence[float] = [float(end) for layer in stack for end in (layer.depth.min(), layer.depth.max())]
    return min(ends), max(ends)

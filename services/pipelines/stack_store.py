"""A ``LayerStack`` as the files of a stage, to the bit: arrays as they are, the rest in ``stack.json``.

Layers that are planes keep one number. A layer's video stays where the source has it: only its name is kept.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from geometry.camera import Camera
from geometry.layers import Layer, LayerStack
from services.media.clip import ClipReader, open_clip
from services.media.raw_layers import is_plane

Array = np.ndarray
FILE = "stack.json"


def save_stack(folder: Path, stack: LayerStack, notes: tuple[str, ...] = ()) -> None:
    """``notes`` are for the user, and come back with ``load_notes``."""
    entries = [_saved(folder, f"{i:02d}", layer) for i, layer in enumerate(stack)]
    document = {
        "camera": asdict(stack.camera), "picture": stack.picture, "encoding": stack.encoding,
        "is_metric": stack.is_metric, "layers": entries, "notes": notes,
    }
    (folder / FILE).write_text(json.dumps(document, indent=1))


def load_stack(folder: Path, source: Path, flow: Path | None = None) -> LayerStack:
    """``source`` is where videos lie; ``flow`` a folder with motion by layer, which takes the place of its own."""
    document = json.loads((folder / FILE).read_text())
    lens = document["camera"]
    camera = Camera(**{**lens, "wh": tuple(lens["wh"]), "distortion": tuple(lens["distortion"])})
    layers = tuple(_loaded(folder, source, flow, f"{i:02d}", entry) for i, entry in enumerate(document["layers"]))
    return LayerStack(layers, camera, tuple(document["picture"]), document["encoding"], document["is_metric"])


def load_notes(folder: Path) -> tuple[str, ...]:
    return tuple(json.loads((folder / FILE).read_text())["notes"])


def motion_file(folder: Path, i: int) -> Path:
    """Of layer ``i``, (h, w, 2) float32."""
    return folder / f"{i:02d}_motion.npy"


def videos(stack: LayerStack) -> dict[str, Path]:
    """The files of layers that are clips, by the layers' names."""
    return {layer.name: layer.video.files[0] for layer in stack if isinstance(layer.video, ClipReader)}


def _saved(folder: Path, stem: str, layer: Layer) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": layer.name, "xy": layer.xy}
    np.save(folder / f"{stem}_colour.npy", layer.colour)
    np.save(folder / f"{stem}_alpha.npy", layer.alpha)
    if is_plane(layer.depth):
        entry["depth"] = float(layer.depth.flat[0])
    else:
        np.save(folder / f"{stem}_depth.npy", np.asarray(layer.depth, np.float32))
    if layer.motion is not None:
        np.save(folder / f"{stem}_motion.npy", layer.motion)
    if isinstance(layer.video, ClipReader):
        entry["video"] = layer.video.files[0].name
    return entry


def _loaded(folder: Path, source: Path, flow: Path | None, stem: str, entry: dict[str, Any]) -> Layer:
    colour, alpha = np.load(folder / f"{stem}_colour.npy"), np.load(folder / f"{stem}_alpha.npy")
    if "depth" in entry:
        depth = np.broadcast_to(np.float32(entry["depth"]), alpha.shape)
    else:
        depth = np.load(folder / f"{stem}_depth.npy")
    layer = Layer(entry["name"], colour, alpha, depth, tuple(entry["xy"]))
    for place in (flow, folder):
        if place is not None and (place / f"{stem}_motion.npy").is_file():
            layer = replace(layer, motion=np.load(place / f"{stem}_motion.npy"))
            break
    if "video" in entry:
        layer = replace(layer, video=open_clip(next(source.rglob(entry["video"]))))
    return layer

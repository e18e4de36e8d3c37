"""EXR files with several layers: a part each, or channels like ``sky.R``.

Linear light, premultiplied as the format has it; ``Z`` is z-depth. Files of ours carry the lens in the attribute
``backlot`` and keep their order; others are ordered by their depth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geometry.camera import Camera
from services.errors import InvalidRequest
from services.media import exr
from services.media.raw_layers import RawLayer, RawLayers, straight

Array = np.ndarray


def is_layered_exr(path: Path, field: str) -> bool:
    """Whether the file holds more than one picture."""
    parts = exr.read_header(path, field).parts
    return sum(len(_prefixes(names)) for names in parts) > 1


def read_layer_exr(path: Path, field: str, alpha: str = "") -> RawLayers:
    """``alpha`` is one of ``raw_layers.ALPHAS``, "" = premultiplied. Raises ``InvalidRequest``."""
    wh = exr.read_header(path, field).wh
    parts = exr.read_parts(path, field)
    layers = [layer for part in parts for layer in _layers(part, path, field, alpha or "premultiplied")]
    if not layers:
        raise InvalidRequest(field, "an EXR with channels R, G and B", f"{path.name} without")
    note = _note(parts[0].note, field)
    if not note and all(layer.depth is not None for layer in layers):
        layers.sort(key=_farness, reverse=True)
    camera, picture = None, None
    if note:
        fx, fy, cx, cy = note["lens_px"]
        camera, picture = Camera(fx, fy, cx, cy, wh), tuple(note["picture"])
    return RawLayers(tuple(layers), wh, "linear", camera, picture, bool(note.get("is_metric")))


def note_of(camera: Camera, picture: tuple[int, int, int, int], is_metric: bool) -> str:
    """What ``read_layer_exr`` finds again."""
    lens = [camera.fx, camera.fy, camera.cx, camera.cy]
    return json.dumps({"lens_px": lens, "picture": picture, "is_metric": is_metric})


def _note(text: str, field: str) -> dict[str, Any]:
    try:
        note = json.loads(text or "{}")
        if note and (len(note["lens_px"]), len(note["picture"])) != (4, 4):
            raise ValueError("four numbers each")
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRequest(field, "an attribute backlot as Backlot writes it", f"{text[:80]!r}") from error
    return note


def _prefixes(names: frozenset[str]) -> list[str]:
    """What stands before R, G, B of each picture among channels' names."""
    starts = {name[:-1] for name in names if name == "R" or name.endswith(".R")}
    return sorted(start for start in starts if {start + "G", start + "B"} <= names)


def _layers(part: exr.ExrPart, path: Path, field: str, said: str) -> Iterator[RawLayer]:
    prefixes = _prefixes(frozenset(part.channels))
    for prefix in prefixes:
        alpha = exr.alpha_of(part.channels, prefix)
        name = "/".join(word for word in (part.name, prefix.rstrip(".")) if word) or "layer"
        colour = straight(exr.colour_of(part.channels, path, field, prefix), alpha, said, field, name)
        depth = part.channels.get(prefix + "Z", part.channels.get("depth.Z") if len(prefixes) == 1 else None)
        yield RawLayer(name, colour, alpha, part.xy, None if depth is None else depth.astype(np.float32))


def _farness(layer: RawLayer) -> float:
    assert isinstance(layer.depth, np.ndarray)
    seen = layer.depth[(layer.alpha > 0) & np.isfinite(layer.depth) & (layer.depth > 0)]
    return float(np.median(seen)) if seen.size else np.inf

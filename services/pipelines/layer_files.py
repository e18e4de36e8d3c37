"""Render layers on disk: one file per frame that holds only the part of the picture that differs from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geometry.scene import RenderLayers

Array = np.ndarray

_HALF = ("beauty", "ratio", "normal", "motion")


def save_layers(folder: Path, frame: int, layers: RenderLayers) -> None:
    """Half floats for what is displayed; depth and alpha keep single precision."""
    touched = (layers.alpha > 0) | (layers.ratio != 1).any(-1) | (layers.depth > 0)
    window = _bounding_window(touched)
    arrays = {name: getattr(layers, name)[window] for name in RenderLayers.__dataclass_fields__}
    arrays |= {name: arrays[name].astype(np.float16) for name in _HALF}
    arrays["object_id"] = arrays["object_id"].astype(np.uint8)
    origin = np.array([window[0].start, window[1].start, *touched.shape])
    np.savez(folder / f"{frame:06d}.npz", window=origin, **arrays)


def load_layers(folders: Sequence[Path], frame: int) -> RenderLayers | None:
    """The layers of a frame on the whole raster, from whichever folder has them; ``None`` when none has."""
    for folder in folders:
        path = folder / f"{frame:06d}.npz"
        if path.exists():
            with np.load(path) as stored:
                return _whole(dict(stored))
    return None


def _bounding_window(touched: Array) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    if len(rows) == 0:
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _whole(stored: dict[str, Array]) -> RenderLayers:
    y, x, h, w = (int(n) for n in stored.pop("window"))
    whole = {}
    for name, part in stored.items():
        dtype = np.int32 if name == "object_id" else np.float32
        full = np.full((h, w, *part.shape[2:]), 1 if name == "ratio" else 0, dtype)
        full[y : y + part.shape[0], x : x + part.shape[1]] = part
        whole[name] = full
    return RenderLayers(**whole)

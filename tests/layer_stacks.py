"""Small layer stacks for the tests of files and services."""

from __future__ import annotations

import numpy as np

from geometry.camera import Camera
from geometry.layers import Layer, LayerStack

WH = (48, 32)


def painted(dtype: type = np.uint16, *, relief: bool = True) -> LayerStack:
    """Sky (plane, covers all), hills (relief, soft edges, reaches beyond the canvas), a hut (plane, small)."""
    rng = np.random.default_rng(4)
    return LayerStack(
        (
            _layer("sky", (32, 48), (0, 0), np.full((32, 48), 60.0), 1.0, rng, dtype),
            _layer("land/hills", (20, 60), (-6, 14), _slope(20, 60) if relief else np.full((20, 60), 18.0), 0.5, rng,
                   dtype),
            _layer("hut", (9, 11), (21, 16), np.full((9, 11), 7.5), 0.0, rng, dtype),
        ),
        Camera(50.0, 50.0, 24.0, 16.0, WH), (2, 1, 46, 31), "linear" if dtype is np.float32 else "srgb", True,
    )


def _layer(
    name: str, hw: tuple[int, int], xy: tuple[int, int], depth: np.ndarray, softness: float, rng: np.random.Generator,
    dtype: type,
) -> Layer:
    """``softness`` 1: opaque; 0.5: a soft top; 0: a soft left side and clear corner."""
    h, w = hw
    alpha = np.ones(hw)
    if softness == 0.5:
        alpha = np.clip(np.arange(h)[:, None] / 6, 0, 1) * np.ones(w)
    elif softness == 0:
        alpha = np.clip(np.arange(w)[None] / 4, 0, 1) * np.ones((h, 1))
        alpha[:2, :2] = 0
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    colour = rng.random((h, w, 3)) * white
    cast = (lambda a: a.astype(np.float32)) if dtype is np.float32 else (lambda a: np.rint(a).astype(dtype))
    return Layer(name, cast(colour), cast(alpha * white), depth.astype(np.float32), xy)


def _slope(h: int, w: int) -> np.ndarray:
    return np.linspace(30, 9, h)[:, None] + np.zeros(w)


def large() -> LayerStack:
    """96 x 64: a backdrop with a margin of 8 px round the picture, a sea below, a rock in front."""
    rng = np.random.default_rng(6)
    sky = np.linspace(200, 90, 80)[:, None, None] * np.ones((80, 112, 3)) + rng.normal(0, 3, (80, 112, 1))
    sea = np.stack([rng.uniform(20, 60, (38, 112)), rng.uniform(60, 120, (38, 112)), np.full((38, 112), 150)], -1)
    rock = np.ones((30, 24, 3)) * (70, 60, 50) + rng.normal(0, 8, (30, 24, 1))
    y, x = np.mgrid[:30, :24]
    inside = np.hypot((x - 11.5) / 12, (y - 29) / 29)
    layers = (
        ("sky", sky, np.full((80, 112), 255), (0, 0), np.full((80, 112), 60.0)),
        ("sea", sea, np.full((38, 112), 255), (0, 42), np.linspace(50, 6, 38)[:, None] + np.zeros(112)),
        ("rock", rock, np.clip((1.02 - inside) * 12, 0, 1) * 255, (44, 36), np.full((30, 24), 7.0)),
    )
    return LayerStack(
        tuple(
            Layer(name, np.clip(np.rint(colour), 0, 255).astype(np.uint8), np.rint(alpha).astype(np.uint8),
                  depth.astype(np.float32), xy)
            for name, colour, alpha, xy, depth in layers
        ),
        Camera(90.0, 90.0, 56.0, 40.0, (112, 80)), (8, 8, 104, 72), "srgb", True,
    )  # fmt: skip

"""Small stacks for the tests of ``geometry.plates``: pictures of smooth noise on surfaces whose shape is known."""

from __future__ import annotations

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.layers import Layer, LayerStack

Array = np.ndarray
CANVAS = Camera(150.0, 150.0, 80.0, 60.0, (160, 120))
PICTURE = (20, 15, 140, 105)


def smooth(hw: tuple[int, int], seed: int, cell: int = 8) -> Array:
    """(H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0.1, 0.9, (hw[0] // cell + 2, hw[1] // cell + 2, 3)).astype(np.float32)
    return (255 * np.clip(cv2.resize(small, hw[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)).astype(np.uint8)


def layer(name: str, depth: Array | float, *, alpha: Array | None = None, seed: int = 0, cell: int = 8) -> Layer:
    """One that fills the canvas."""
    hw = CANVAS.hw
    opaque = np.full(hw, 255, np.uint8) if alpha is None else alpha
    return Layer(name, smooth(hw, seed, cell), opaque, np.broadcast_to(np.asarray(depth, np.float32), hw))


def stack(*layers: Layer, picture: tuple[int, int, int, int] = PICTURE) -> LayerStack:
    return LayerStack(layers, CANVAS, picture)


def soft_disc(centre: tuple[float, float], radius: float) -> Array:
    """(H, W) uint8 coverage."""
    y, x = np.mgrid[: CANVAS.wh[1], : CANVAS.wh[0]] + 0.5
    return (255 * np.clip(radius + 0.5 - np.hypot(x - centre[0], y - centre[1]), 0, 1)).astype(np.uint8)


def at(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Array:
    """(4, 4) camera_from_world of a camera that was carried there."""
    pose = np.eye(4)
    pose[:3, 3] = -x, -y, -z
    return pose

"""A painted landscape in layers, made by code: sky with clouds, hills, a lake, a tree with thin branches, a railing."""

from __future__ import annotations

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.layers import Layer, LayerStack
from geometry.plates.fluid import Hint, motion_field

Array = np.ndarray
OUTPAINTED = 0.16  # of the picture, on every side
LENS_HEIGHT_M = 1.7


def landscape(wh: tuple[int, int], *, still: bool = False) -> LayerStack:
    """The picture is ``wh`` px large, 8 bits deep; ``still``: nothing flows."""
    margin = round(wh[0] * OUTPAINTED), round(wh[1] * OUTPAINTED)
    w, h = wh[0] + 2 * margin[0], wh[1] + 2 * margin[1]
    camera = Camera(float(wh[0]), float(wh[0]), w / 2, h / 2, (w, h))
    layers = (_sky(camera, still), _hills(camera), _lake(camera, still), _tree(camera), _railing(camera))
    return LayerStack(layers, camera, (*margin, margin[0] + wh[0], margin[1] + wh[1]), is_metric=True)


def _sky(camera: Camera, still: bool) -> Layer:
    h, w = camera.hw
    down = np.linspace(0, 1.6, h, dtype=np.float32)[:, None, None]
    blue = np.clip(1 - down, 0, 1) * (0.25, 0.42, 0.72) + np.clip(down, 0, 1) * (0.93, 0.78, 0.62)
    cloud = np.clip(0.15 + 0.6 * _noise((h, w), h / 4, 1), 0, 1)[..., None]
    motion = None
    if not still:
        mask = np.arange(h)[:, None].repeat(w, 1) < 0.45 * h
        motion = motion_field(mask, [Hint(w / 2, h / 5, w / 2 + 0.02 * w, h / 5)])
    return _layer("sky", blue * (1 - 0.85 * cloud) + 0.8 * cloud, np.ones((h, w)), 400.0, motion)


def _hills(camera: Camera) -> Layer:
    h, w = camera.hw
    y = np.arange(h, dtype=np.float32)[:, None]
    horizon = h / 2
    far = horizon - 0.09 * h - 0.06 * h * _noise((1, w), w / 5, 3)
    near = horizon - 0.03 * h - 0.03 * h * _noise((1, w), w / 5, 4)
    slopes = 60 - 15 * np.clip((y - near) / (0.15 * h), 0, 1), 120 - 30 * np.clip((y - far) / h, 0, 1)
    depth = np.where(y > near, *slopes)
    woods = np.clip(y - near + 0.5, 0, 1)[..., None]
    rock = np.array((0.34, 0.40, 0.45)) + 0.05 * _noise((h, w), h / 25, 5)[..., None]
    green = np.array((0.22, 0.33, 0.20)) + 0.07 * _noise((h, w), h / 60, 6)[..., None]
    alpha = np.clip(y - far + 0.5, 0, 1) * np.clip(horizon + 0.04 * h - y, 0, 1)
    return _layer("hills", rock * (1 - woods) + green * woods, alpha, depth)


def _lake(camera: Camera, still: bool) -> Layer:
    """A level plane below the lens; its ripples and its bank are in perspective."""
    h, w = camera.hw
    y, x = np.mgrid[:h, :w].astype(np.float32) + np.float32(0.5)
    below = np.maximum(y - camera.cy, 1.0)
    depth = LENS_HEIGHT_M * camera.fy / below
    ripples = _noise((1024, 1024), 40, 11)
    east, north = (x - camera.cx) / below * 170, depth * 25
    seen = cv2.remap(ripples, (east % 1023).astype(np.float32), (north % 1023).astype(np.float32), cv2.INTER_LINEAR)
    seen *= np.clip(below / (0.06 * h), 0.1, 1)
    water = (0.25, 0.36, 0.42) + 0.1 * seen[..., None] + 0.5 * np.clip(seen - 1.4, 0, 1)[..., None]
    bank = (y > 0.88 * h + 0.02 * h * _noise((1, w), w / 10, 13))[..., None]
    earth = np.array((0.28, 0.26, 0.16)) + 0.08 * _noise((h, w), h / 70, 14)[..., None]
    motion = None
    if not still:
        mask = (y > camera.cy + 0.02 * h) & ~bank[..., 0]
        motion = motion_field(mask, [Hint(w / 2, 0.8 * h, w / 2 + 0.06 * w, 0.81 * h)], 1 / depth)
    return _layer("lake", np.where(bank, earth, water), np.clip(y - camera.cy - 2, 0, 1), depth, motion)


def _tree(camera: Camera) -> Layer:
    h, w = camera.hw
    drawing, rng = np.zeros((h, w), np.uint8), np.random.default_rng(21)

    def branch(x: float, y: float, angle: float, length: float, thick: float, forks: int) -> None:
        end = x + np.cos(angle) * length, y - np.sin(angle) * length
        a, b = ([round(16 * value) for value in place] for place in ((x, y), end))
        cv2.line(drawing, a, b, 255, max(round(thick), 1), cv2.LINE_AA, 4)
        for _ in range(3 if forks else 0):
            branch(*end, angle + rng.uniform(-0.6, 0.6), length * rng.uniform(0.6, 0.85), 0.62 * thick, forks - 1)

    branch(0.22 * w, 0.93 * h, np.pi / 2, 0.2 * h, 0.02 * h, 6)
    bark = np.array((0.16, 0.11, 0.08)) + 0.04 * _noise((h, w), h / 90, 22)[..., None]
    return _layer("tree", bark, drawing / 255, 6.0)


def _railing(camera: Camera) -> Layer:
    h, w = camera.hw
    drawing, thick = np.zeros((h, w), np.uint8), max(round(0.005 * h), 1)
    for share in (0.80, 0.86, 0.92):
        cv2.line(drawing, (0, round(share * h)), (w, round((share + 0.01) * h)), 255, thick, cv2.LINE_AA)
    for x in np.linspace(0, w, 24).astype(int):
        cv2.line(drawing, (int(x), round(0.79 * h)), (int(x), h), 255, thick, cv2.LINE_AA)
    paint = np.array((0.5, 0.12, 0.09)) + 0.03 * _noise((h, w), h / 45, 23)[..., None]
    return _layer("railing", paint, drawing / 255, 3.0)


def _layer(name: str, colour: Array, alpha: Array, depth: Array | float, motion: Array | None = None) -> Layer:
    codes = (255 * np.clip(colour, 0, 1) + 0.5).astype(np.uint8)
    h, w = codes.shape[:2]
    opacity = (255 * np.broadcast_to(alpha, (h, w)) + 0.5).astype(np.uint8)
    return Layer(name, codes, opacity, np.broadcast_to(np.asarray(depth, np.float32), (h, w)), motion=motion)


def _noise(hw: tuple[int, int], cell: float, seed: int) -> Array:
    """(H, W) float32 of several octaves, variance 1."""
    rng, total = np.random.default_rng(seed), np.zeros(hw, np.float32)
    for octave in range(5):
        size = max(cell / 2**octave, 1.0)
        small = rng.standard_normal((int(hw[0] / size) + 3, int(hw[1] / size) + 3)).astype(np.float32)
        total += cv2.resize(small, hw[::-1], interpolation=cv2.INTER_CUBIC) * np.float32(0.55**octave)
    return total / total.std()

"""Painted stills whose depth, alpha and hidden parts are known; things are drawn finely and shrunk."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

FINE = 4


@dataclass(frozen=True)
class PaintedStill:
    """Front over back; all float32: pictures (H, W, 3) in [0, 1], ``alpha`` and ``depth`` (H, W)."""

    front: np.ndarray
    back: np.ndarray
    alpha: np.ndarray
    depth: np.ndarray

    @property
    def picture(self) -> np.ndarray:
        a = self.alpha[..., None]
        return a * self.front + (1 - a) * self.back

    @property
    def bytes(self) -> np.ndarray:
        return np.rint(self.picture * 255).astype(np.uint8)


def texture(hw: tuple[int, int], colour: tuple[float, float, float], contrast: float, seed: int) -> np.ndarray:
    """(H, W, 3) of blotches of several sizes."""
    rng = np.random.default_rng(seed)
    total = np.zeros(hw, np.float32)
    for size in (2, 5, 13):
        total += cv2.GaussianBlur(rng.normal(size=hw).astype(np.float32), (0, 0), size) * size
    return np.clip(np.array(colour, np.float32) * (1 + contrast * total[..., None]), 0, 1)


def covered(hw: tuple[int, int], lines: list[tuple[float, float, float, float, float]]) -> np.ndarray:
    """(H, W) coverage of straight strokes (x0, y0, x1, y1, width) px."""
    fine = np.zeros((hw[0] * FINE, hw[1] * FINE), np.uint8)
    for x0, y0, x1, y1, width in lines:
        ends = [(round(x * FINE), round(y * FINE)) for x, y in ((x0, y0), (x1, y1))]
        cv2.line(fine, *ends, 255, max(round(width * FINE), 1))
    return cv2.resize(fine, hw[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def railing(hw: tuple[int, int] = (240, 320)) -> PaintedStill:
    """Posts and two rails, 4 and 3 px wide, before a hill and a sky."""
    h, w = hw
    strokes = [(0, 0.55 * h, w, 0.5 * h, 4.0), (0, 0.8 * h, w, 0.77 * h, 3.0)]
    strokes += [(x, 0.45 * h, x + 2, h, 4.0) for x in range(20, w, 45)]
    strokes += [(0.6 * w, 0.5 * h, 0.8 * w, 0.1 * h, 3.0), (0.7 * w, 0.3 * h, 0.85 * w, 0.25 * h, 2.0)]  # a branch
    alpha = covered(hw, strokes)
    back = texture(hw, (0.45, 0.6, 0.85), 0.1, 1)
    hill = np.arange(h)[:, None] > 0.65 * h + 0.05 * h * np.sin(np.arange(w) / 40)
    back = np.where(hill[..., None], texture(hw, (0.35, 0.55, 0.25), 0.5, 2), back)
    depth = np.where(hill, 12, 40)
    return PaintedStill(texture(hw, (0.16, 0.1, 0.08), 0.4, 3), back, alpha, _depth(alpha, 3, depth))


def disc(hw: tuple[int, int] = (160, 200)) -> PaintedStill:
    """A thing 60 px wide before a wall of another colour."""
    h, w = hw
    y, x = (np.indices((h * FINE, w * FINE)) + 0.5) / FINE
    inside = (np.hypot(x - w / 2, y - h / 2) < 30).astype(np.float32)
    alpha = cv2.resize(inside, (w, h), interpolation=cv2.INTER_AREA)
    back = texture(hw, (0.7, 0.6, 0.3), 0.4, 5)
    return PaintedStill(texture(hw, (0.6, 0.15, 0.2), 0.3, 4), back, alpha, _depth(alpha, 2, np.full(hw, 10)))


def _depth(alpha: np.ndarray, near: float, far: np.ndarray) -> np.ndarray:
    return np.where(alpha > 0.5, near, far).astype(np.float32)

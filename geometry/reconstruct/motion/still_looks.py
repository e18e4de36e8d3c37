"""Where a travelling camera sees the same from far apart: masks of what moves lose what the still world shows there.

Flow bleeds over contours, so that a thing that moves drags a rim of floor into its mask. That rim looks, in frames long
before and after, as the depth of the still world says it must; the thing does not, once it has left. What looks alike
all over (a turning table of one colour) tells nothing that way, and is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.reconstruct.motion.still_world import StillWorld

Array = np.ndarray


@dataclass(frozen=True)
class LooksSettings:
    apart: tuple[int, ...] = (8, 12, 18)  # frames, on both sides
    tolerance: float = 8.0  # code values
    alike: float = 0.6  # share of the frames in which a pixel looks as if it stood still
    core_px: int = 4  # inside its contour a thing is itself
    tells: float = 0.3  # a thing whose core looks alike to a greater share is not to be judged so


def without_rims(world: StillWorld, frame: int, soft: Array, s: LooksSettings) -> Array:
    """``soft`` (h, w), positive where something moves, and negative on what only stands beside it."""
    moving = (soft > 0).astype(np.uint8)
    if not moving.any():
        return soft
    alike = looks_still(world, frame, s) > s.alike
    core = cv2.erode(moving, np.ones((2 * s.core_px + 1,) * 2, np.uint8)) > 0
    count, parts = cv2.connectedComponents(moving)
    told = np.zeros(count, bool)
    for part in range(1, count):
        inner = core & (parts == part)
        told[part] = inner.any() and alike[inner].mean() < s.tells
    return np.where(alike & told[parts], np.minimum(soft, -1), soft)


def looks_still(world: StillWorld, frame: int, s: LooksSettings) -> Array:
    """(h, w) share of the frames around, that see a pixel's place, in which it looks the same; 0 where none does."""
    picture = world.picture(frame)
    kernel = np.ones((3, 3), np.uint8)  # half a pixel of misalignment is no motion
    low = cv2.subtract(cv2.erode(picture, kernel), np.full(4, s.tolerance))
    high = cv2.add(cv2.dilate(picture, kernel), np.full(4, s.tolerance))
    agree, seen = (np.zeros(picture.shape[:2], np.float32) for _ in range(2))
    frames = world.cameras.frames
    at = frames.index(frame)
    for i in sorted({at + side * step for step in s.apart for side in (-1, 1)}):
        if 0 <= i < len(frames):
            x, y = np.moveaxis(world.still_map(frame, frames[i]), -1, 0)
            there = cv2.remap(world.picture(frames[i]), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            inside = (x >= 0) & (y >= 0) & (x < world.wh[0] - 1) & (y < world.wh[1] - 1)
            agree += inside * (cv2.inRange(there, low, high) > 0)
            seen += inside
    return cv2.blur(agree / np.maximum(seen, 1), (3, 3))

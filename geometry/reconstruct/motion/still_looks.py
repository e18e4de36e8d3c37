"""Where a travelling camera sees the same from far apart, and where it does not.

Flow bleeds over contours, so that a thing that moves drags a rim of floor into its mask. That rim looks, in frames long
before and after, as the depth of the still world says it must; the thing does not, once it has left. What looks alike
all over (a turning table of one colour) tells nothing that way, and is left alone.

What looks alike in none of them, and is no shadow, moves for certain where flow says so: a side of plain colour, what
is seen for a moment between two things. Where flow is silent it may move; depth can be wrong instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from geometry.reconstruct.motion.shadows import Light, ShadowSettings, shadow
from geometry.reconstruct.motion.still_world import Evidence, StillWorld

Array = np.ndarray


@dataclass(frozen=True)
class LooksSettings:
    apart: tuple[int, ...] = (8, 12, 18)  # frames, on both sides
    tolerance: float = 8.0  # code values
    alike: float = 0.6  # share of the frames in which a pixel looks as if it stood still
    core_px: int = 4  # inside its contour a thing is itself
    tells: float = 0.3  # a thing whose core looks alike to a greater share is not to be judged so
    nowhere: float = 0.2  # share of the frames, below which a pixel looks alike in none, if so many
    fewest: int = 3  # see its place
    certain: float = 0.9  # value and weight of evidence that it moves where flow says so,
    perhaps: float = 0.45  # and where flow does not (too little for a region of its own), if the place's depth is known
    slack: float = 0.35  # so well, relative
    shaded: float = 0.4  # share of the frames, from which on it is the same place in a shadow
    noise: float = 1.0  # code values
    shadow: ShadowSettings = field(default_factory=ShadowSettings)


@dataclass(frozen=True)
class Looks:
    """How the frames around see the places of one frame's pixels."""

    alike: Array  # (h, w) share of those that see a place, in which it looks the same; 0 where none sees it
    unlike: Array  # (h, w) bool: it looks the same in none, and is not in another light there

    @classmethod
    def of(cls, world: StillWorld, frame: int, s: LooksSettings) -> Looks:
        picture = world.picture(frame)
        light = Light.of(picture)
        kernel = np.ones((3, 3), np.uint8)  # half a pixel of misalignment is no motion
        low = cv2.subtract(cv2.erode(picture, kernel), np.full(4, s.tolerance))
        high = cv2.add(cv2.dilate(picture, kernel), np.full(4, s.tolerance))
        agree, seen, shaded = (np.zeros(picture.shape[:2], np.float32) for _ in range(3))
        for other in _around(world, frame, s):
            x, y = np.moveaxis(world.still_map(frame, other), -1, 0)
            there = cv2.remap(world.picture(other), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            inside = (x >= 0) & (y >= 0) & (x < world.wh[0] - 1) & (y < world.wh[1] - 1)
            agree += inside * (cv2.inRange(there, low, high) > 0)
            seen += inside
            shaded += inside & shadow(light, Light.of(there), s.noise, s.shadow)
        share = agree / np.maximum(seen, 1)
        return cls(cv2.blur(share, (3, 3)), (share < s.nowhere) & (seen >= s.fewest) & (shaded < s.shaded * seen))

    def joined(self, known: Evidence, depth: tuple[Array, Array, Array], s: LooksSettings) -> Evidence:
        """``known`` evidence by flow, and this; ``depth`` is the still world's least, likely and greatest inverse
        depth (h, w) there."""
        certain = self.unlike & (known.value > 0)
        least = np.float32(s.certain) * certain
        flow = Evidence(np.maximum(known.value, np.where(certain, least, -1)), np.maximum(known.weight, least))
        placed = depth[2] - depth[0] < s.slack * depth[1]
        return flow.plus(Evidence(np.ones_like(known.value), np.float32(s.perhaps) * (self.unlike & placed)))


def _around(world: StillWorld, frame: int, s: LooksSettings) -> list[int]:
    frames = world.cameras.frames
    at = frames.index(frame)
    indices = sorted({at + side * step for step in s.apart for side in (-1, 1)})
    return [frames[i] for i in indices if 0 <= i < len(frames)]


def without_rims(soft: Array, alike: Array, s: LooksSettings) -> Array:
    """``soft`` (h, w), positive where something moves, and negative on what only stands beside it."""
    moving = (soft > 0).astype(np.uint8)
    if not moving.any():
        return soft
    same = alike > s.alike
    core = cv2.erode(moving, np.ones((2 * s.core_px + 1,) * 2, np.uint8)) > 0
    count, parts = cv2.connectedComponents(moving)
    told = np.zeros(count, bool)
    for part in range(1, count):
        inner = core & (parts == part)
        told[part] = inner.any() and same[inner].mean() < s.tells
    return np.where(same & told[parts], np.minimum(soft, -1), soft)

"""What the little street really looks like: paint that lies in its surfaces, antialiased, the same in every frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from geometry.guides import GuideSource
from geometry.mesh import linear_from_srgb, srgb_from_linear

PER_PX = 4
LIGHT = np.array([0.35, 0.8, 0.49])
PAINTS = np.array(
    [[150, 180, 230], [150, 140, 120], [190, 90, 70], [90, 120, 170], [60, 60, 50], [210, 170, 60]], float
)
WAVES = (  # per unit, and along what
    (2.1, (1, 0.3, -0.2)), (3.7, (-0.4, 1, 0.5)), (8.3, (0.2, -0.6, 1)), (13.1, (1, 0.7, 0.9)), (5.2, (0.6, -1, 0)),
)  # fmt: skip


def true_picture(
    source: GuideSource, frame: int, *, paints: np.ndarray = PAINTS, plain: bool = False
) -> np.ndarray:
    """(H, W, 3) uint8. Light is that of a matt surface in a fixed sun, on its shape at the first frame. ``plain``: one
    colour for each object."""
    w, h = source.cameras.camera(frame).wh
    fine = source.scaled((w * PER_PX, h * PER_PX), keep=1)
    sight = fine.sight(frame)
    rest = replace(sight, surface=fine.sight(source.cameras.frames[0]).surface).gbuffer()
    p, ids = rest.position.astype(float), rest.object_id
    pattern = sum(np.sin(f * (p @ d) + k) for k, (f, d) in enumerate(WAVES))
    shade = 0.55 + 0.45 * np.clip(rest.normal @ LIGHT, 0, 1)
    codes = paints[ids] * np.where((ids > 0) & (not plain), shade * (1 + 0.11 * pattern), 1)[..., None]
    light = linear_from_srgb(np.rint(np.clip(codes, 0, 255)).astype(np.uint8))
    return srgb_from_linear(cv2.resize(light, (w, h), interpolation=cv2.INTER_AREA))

"""How what moves stands to the camera: which end of it is nearer, in the picture of one frame and over time.

What stands is held up by the ground on both sides of its middle: the lowest edge of its outline's convex hull that a
plumb line through the middle meets is where it stands. Both ends of that edge have a depth on the ground, and between
them lies the foot of an upright board that the thing is seen as. A foot in the air, or two feet close together, say
little; so the slope is taken with its deviation, against a prior that all is as far away as its middle.

Slopes are changes of log z-depth over the mask's whole extent, across and along gravity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray

LIFTED = 0.04  # relative deviation of a foot's depth: it may be off the ground
PRIOR = 0.2  # deviation of the slope across what moves
MOST = 0.5  # of any slope


@dataclass(frozen=True)
class Slant:
    """Of one frame. ``across`` and ``along`` are slopes, nan where unknown."""

    down: Array  # (2,) unit direction of gravity in the picture
    extent: tuple[float, float]  # px, across and along
    off: float  # share of the extent across, from the contact that its depth is known by to its middle
    across: float
    across_sigma: float
    along: float

    def per_px(self, across: float, along: float) -> Array:
        """(2,) change of log depth per pixel to the right and down, of smoothed slopes."""
        side = np.array([-self.down[1], self.down[0]])
        return side * across / self.extent[0] + self.down * along / self.extent[1]


def standing_edge(px: Array, down: Array) -> tuple[Array, Array] | None:
    """The two ends (2,) of the hull's edge below the middle of (N, 2) ``px``; None for less than three points."""
    hull = cv2.convexHull(px.astype(np.float32))[:, 0].astype(np.float64)
    if len(hull) < 3:
        return None
    side = np.array([-down[1], down[0]])
    off = (hull - px.mean(0)) @ side
    edges = [(a, b) for a, b, u, v in zip(hull, np.roll(hull, -1, 0), off, np.roll(off, -1), strict=True)
             if min(u, v) <= 0 < max(u, v)]
    if not edges:
        return None
    a, b = max(edges, key=lambda edge: float((edge[0] + edge[1]) @ down))
    return (a, b) if a @ side < b @ side else (b, a)


def across(
    px: Array, down: Array, breadth: float, ground_z: Callable[[Array], tuple[float, float] | None]
) -> tuple[float, float]:
    """Slope and its deviation of the mask's pixels (N, 2); nan where an end of it stands on nothing that is known.

    ``ground_z`` gives the z-depth and relative deviation of a pixel that touches the ground.
    """
    edge = standing_edge(px, down)
    ends = [ground_z(end) for end in edge] if edge is not None else []
    if edge is None or any(end is None for end in ends):
        return np.nan, np.nan
    (near, near_sigma), (far, far_sigma) = (end for end in ends if end is not None)
    base = float((edge[1] - edge[0]) @ np.array([-down[1], down[0]]))
    if base < 1:
        return np.nan, np.nan
    longer = breadth / base
    return float(np.log(far / near)) * longer, float(np.hypot(np.hypot(near_sigma, far_sigma), LIFTED)) * longer


def believed(value: Array, sigma: Array) -> tuple[Array, Array]:
    """(N,) slopes drawn to the prior by how little is known of them, and their deviation; 0 where nothing is."""
    with np.errstate(invalid="ignore"):
        share = PRIOR**2 / (PRIOR**2 + sigma**2)
    known = np.isfinite(value) & np.isfinite(share)
    share = np.where(known, share, 0.0)
    return np.clip(np.where(known, value, 0.0) * share, -MOST, MOST), PRIOR * np.sqrt(1 - share) + 1e-3

"""What the previs benchmark measures in pictures: (H, W, 3) in [0, 1] unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.camera import resample
from geometry.flow import Flow

Array = np.ndarray

EDGE = 0.06  # of a picture's range, over a pixel: what counts as an edge in it
NEAR_PX = 2.0
SSIM_SIGMA, SSIM_K = 1.5, (0.01, 0.03)


def ssim(picture: Array, truth: Array) -> float:
    """Structural similarity of brightness, mean over the picture (Wang et al. 2004)."""
    a, b = (cv2.cvtColor(p.astype(np.float32), cv2.COLOR_RGB2GRAY).astype(np.float64) for p in (picture, truth))
    c1, c2 = ((k * 1.0) ** 2 for k in SSIM_K)
    mean_a, mean_b = _around(a), _around(b)
    var_a, var_b, both = _around(a * a) - mean_a**2, _around(b * b) - mean_b**2, _around(a * b) - mean_a * mean_b
    structure = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(structure.mean())


def _around(values: Array) -> Array:
    return cv2.GaussianBlur(values, (0, 0), SSIM_SIGMA)


def picture_edges(picture: Array) -> Array:
    """(H, W) bool: some channel changes by more than ``EDGE`` over a pixel."""
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 0.7)
    across, down = (cv2.Scharr(smooth, cv2.CV_32F, *axis) / 32 for axis in ((1, 0), (0, 1)))
    return np.hypot(across, down).max(-1) > EDGE / 2


@dataclass(frozen=True)
class Recall:
    """Silhouette pixels with an edge of the truth near them, and how many of these have one in ours; they add up."""

    true: int = 0
    found: int = 0

    def __add__(self, other: Recall) -> Recall:
        return Recall(self.true + other.true, self.found + other.found)

    @property
    def share(self) -> float:
        return self.found / self.true if self.true else float("nan")


def silhouette_recall(silhouettes: Array, picture: Array, truth: Array) -> Recall:
    """``silhouettes`` (H, W) bool. Where even the truth shows no edge, two objects look the same: they do not count."""
    shown = silhouettes & _near(picture_edges(truth))
    return Recall(int(shown.sum()), int((shown & _near(picture_edges(picture))).sum()))


def _near(edges: Array) -> Array:
    if not edges.any():
        return edges
    return cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= NEAR_PX


def warp_error(picture: Array, following: Array, flow: Flow) -> float:
    """Mean absolute difference of a frame and the next one brought back along the exact ``flow`` to it."""
    back = resample(following.astype(np.float32), flow.target_px)
    visible, box = flow.visible.astype(np.uint8), np.ones((3, 3), np.uint8)
    seen = cv2.erode(visible, box, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    return float(np.abs(back - picture)[seen].mean())


def inner_ids(sample_ids: Array, hw: tuple[int, int]) -> Array:
    """(H, W) object ids of pixels that show one object only, as their neighbours do; 0 elsewhere.

    ``sample_ids`` (n H, n W).
    """
    per_px = sample_ids.shape[0] // hw[0]
    blocks = sample_ids.reshape(hw[0], per_px, hw[1], per_px)
    low, high = (f(f(blocks, axis=3), axis=1).astype(np.float32) for f in (np.min, np.max))
    box = np.ones((3, 3), np.uint8)
    low, high = cv2.erode(low, box), cv2.dilate(high, box)
    return np.where(low == high, low, 0).astype(np.int64)


def bled_pixels(picture: Array, inner: Array, colours: Array, known: Sequence[int]) -> int:
    """Pixels of ``inner_ids`` among the objects ``known`` whose colour (uint8) is nearer to that of another object.

    ``colours`` (K, 3) by object id: of a reference in which every object has one of its own.
    """
    apart = np.abs(picture.astype(np.int16)[:, :, None] - colours.astype(np.int16)).sum(-1)
    return int(((apart.argmin(-1) != inner) & np.isin(inner, list(known))).sum())


def palette(count: int) -> Array:
    """(count, 3) uint8, all well apart; at most 64."""
    levels = np.array([20, 92, 164, 236])
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    if count > len(grid):
        raise ValueError(f"count: expected at most {len(grid)}, got {count}")
    return grid[(np.arange(count) * 37 + 21) % len(grid)].astype(np.uint8)

"""Inverse depth from dense flow to several known views, fused robustly.

Dense flow is DIS (Kroeger et al. 2016), a float32 (H, W, 2) field ``source_from_frame``. Its error along an epipolar
line is that of the picture's texture along it, so every view's inverse depth comes with a variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.reconstruct.depth.pair import Pair, Triangulation

Array = np.ndarray

FLOW_NOISE_PX = 0.15
TEXTURE_LEVELS = 2.0  # grey levels per px along the epipolar line where the flow's error has doubled
PATCH_PX = 9  # that flow follows as one
AGREEING = 0.02  # relative difference of inverse depth between views
WHITE_NOISE = 0.021  # mean square of the gradient below that white noise of unit deviation leaves


@dataclass(frozen=True)
class FlowDepth:
    """(H, W): inverse depth, its expected relative error (1 = nothing known), and mean square texture along the
    epipolar lines in grey levels per px, what grain alone looks like taken off. ``of_its_own`` in [0, 1]: how much of
    the texture that was followed is the pixel's own, and not that of an edge beside it, which drags its depth along."""

    q: Array
    error: Array
    texture: Array
    of_its_own: Array


def dense_flows(grey: Array, others: Sequence[Array]) -> list[Array]:
    """Flow from ``grey`` to each of ``others``, each on one thread: the blocks of DIS follow their number."""
    with one_opencv_thread(), ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda other: _dense_flow(grey, other), others))


def _dense_flow(a: Array, b: Array) -> Array:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return dis.calc(a, b, np.zeros((*a.shape, 2), np.float32))


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def fuse_flows(grey: Array, pairs: Sequence[Pair], flows: Sequence[Array], still: Sequence[Array | None],
               typical_q: float) -> FlowDepth:
    """Robust inverse-variance mean over the views of what flow triangulates to.

    ``still`` is, for each view, a float32 picture of the source that is 0 where something moves, or None.
    """
    views = [pair.triangulate(flow) for pair, flow in zip(pairs, flows, strict=True)]
    slopes2 = _slopes_along_lines(grey, views)
    grain = WHITE_NOISE * grain_level(grey) ** 2
    texture = np.maximum(cv2.GaussianBlur(slopes2, (0, 0), 2.5) - grain, 0)
    close = np.maximum(cv2.GaussianBlur(slopes2, (0, 0), 1.0) - grain, 0)
    of_its_own = np.minimum(3 * close / (cv2.blur(slopes2, (PATCH_PX, PATCH_PX)) + np.float32(1e-3)), 1)
    noise2 = FLOW_NOISE_PX**2 * (1 + TEXTURE_LEVELS**2 / np.maximum(texture, 1e-3))
    weights = [_inverse_variance(*each, noise2) for each in zip(views, flows, still, strict=True)]
    qs, ws = np.stack([view.q for view in views]), np.stack(weights)
    ws *= (qs > 0.02 * typical_q) & (qs < 50 * typical_q)
    q = _weighted_median(qs, ws)
    for _ in range(2):
        relative2 = ((qs - q) / np.maximum(q, 1e-9)) ** 2
        robust = ws / (1 + relative2 / AGREEING**2)
        total = robust.sum(0)
        q = np.where(total > 0, (robust * qs).sum(0) / np.maximum(total, 1e-12), q)
    spread2 = (robust * ((qs - q) / np.maximum(q, 1e-9)) ** 2).sum(0) / np.maximum(total, 1e-12)
    promised2 = 1 / np.maximum(total * q * q, 1e-12)
    agreeing = (robust > 0.3 * ws).sum(0) * (total > 0)
    error = np.sqrt(promised2 + spread2 / 2) + np.where(agreeing < 2, 0.1, 0)
    return FlowDepth(q.astype(np.float32), np.minimum(error, 1).astype(np.float32), texture, of_its_own)


def _inverse_variance(view: Triangulation, flow: Array, still: Array | None, noise2: Array) -> Array:
    """Of one view's q; nearly 0 where the match is wrong, outside, or on something mobile."""
    h, w = flow.shape[:2]
    x, y = flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    inside = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    weight = inside * np.exp(-(view.across_px**2)) * view.px_per_q**2 / noise2
    return weight if still is None else weight * (cv2.remap(still, x, y, cv2.INTER_LINEAR) > 0.99)


def _slopes_along_lines(grey: Array, views: Sequence[Triangulation]) -> Array:
    """Square gradient, grey levels per px, along the epipolar lines: only that can tell depth."""
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32)
    return sum(((gx * v.direction_x + gy * v.direction_y) ** 2 for v in views), np.zeros_like(gx)) / len(views)


def grain_level(grey: Array) -> float:
    """Deviation of white noise in grey levels (Immerkaer 1996), from the quietest part of the picture."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey.astype(np.float32), -1, kernel))
    return float(np.percentile(response[::2, ::2], 25) / 0.3186 / 6)


def _weighted_median(values: Array, weights: Array) -> Array:
    """Along axis 0; 0 where no weight is."""
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    cumulated = np.cumsum(weights, 0)
    index = np.minimum((cumulated < 0.5 * cumulated[-1]).sum(0), len(values) - 1)
    return np.take_along_axis(values, index[None], 0)[0] * (cumulated[-1] > 0)

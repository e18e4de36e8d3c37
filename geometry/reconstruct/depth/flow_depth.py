"""Inverse depth from dense flow to several known views, fused robustly.

Dense flow is DIS (Kroeger et al. 2016), a float32 (H, W, 2) field ``source_from_frame``. Its error along an epipolar
line is that of the picture's texture along it, so every view's inverse depth comes with a variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.reconstruct.depth.kernels import fuse_views

Array = np.ndarray

FINEST_SCALE = 1  # of the flow, as a power of one half
FLOW_REACH_PX = 8  # half a patch of it, on the whole picture
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


def dense_flows(grey: Array, others: Sequence[Array], expected: Sequence[Array]) -> Array:
    """(V, H, W, 2) flow from ``grey`` to each of ``others``, on one thread: the blocks of DIS follow their number.

    ``expected`` are flows that DIS tries at every scale beside what it has found so far: it is they that lead through
    what repeats, and over steps that are larger than things are.
    """
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis.setFinestScale(FINEST_SCALE)
    with one_opencv_thread():
        return np.stack([dis.calc(grey, other, flow) for other, flow in zip(others, expected, strict=True)])


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def fuse_flows(grey: Array, lines: Sequence[tuple[Array, Array]], flows: Array, moving: Sequence[Array | None],
               typical_q: float) -> FlowDepth:
    """Robust inverse-variance mean over the views of what their ``flows`` (V, H, W, 2) triangulate to.

    ``lines`` are the views' ``pair.line_of``; ``moving`` (H, W) bool is, for each view, what moves in it, or None.
    """
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32)
    a, b = (np.stack(parts).astype(np.float32) for parts in zip(*lines, strict=True))
    usable = np.stack([_lands_on_still(*each) for each in zip(flows, moving, strict=True)])
    q, total, spread2, agreeing, slopes2 = fuse_views(
        flows, a, b, usable, gx, gy, (0.02 * typical_q, 50 * typical_q), AGREEING)
    grain = WHITE_NOISE * grain_level(grey) ** 2
    texture = np.maximum(cv2.GaussianBlur(slopes2, (0, 0), 2.5) - grain, 0)
    close = np.maximum(cv2.GaussianBlur(slopes2, (0, 0), 1.0) - grain, 0)
    of_its_own = np.minimum(3 * close / (cv2.blur(slopes2, (PATCH_PX, PATCH_PX)) + np.float32(1e-3)), 1)
    noise2 = FLOW_NOISE_PX**2 * (1 + TEXTURE_LEVELS**2 / np.maximum(texture, 1e-3))
    promised2 = noise2 / np.maximum(total * q * q, 1e-12)
    error = np.sqrt(promised2 + spread2 / 2) + np.where(agreeing < 2, np.float32(0.1), np.float32(0))
    return FlowDepth(q, np.minimum(error, 1), texture, of_its_own)


def _lands_on_still(flow: Array, moving: Array | None) -> Array:
    """Whether the place (H, W) that ``flow`` leads to stands still."""
    h, w = flow.shape[:2]
    if moving is None:
        return np.ones((h, w), bool)
    x, y = flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap((~moving).astype(np.float32), x, y, cv2.INTER_LINEAR) > 0.99


def grain_level(grey: Array) -> float:
    """Deviation of white noise in grey levels (Immerkaer 1996), from the quietest part of the picture."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey.astype(np.float32), -1, kernel))
    return float(np.percentile(response[::2, ::2], 25) / 0.3186 / 6)

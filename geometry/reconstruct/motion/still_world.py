"""The world that stands still, seen on a small pinhole raster (at most 480 px), and evidence of what does not.

Two things speak: how the world looks (background.py, before cameras that do not travel; still_looks.py, before others)
and dense flow (flow_votes.py, all kinds). Neither believes what a shadow does: the same texture in other light stands
still (shadows.py). Evidence is positive where something moves; masks.py makes masks and objects of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from geometry.camera import Camera, LensWarp
from geometry.reconstruct.depth.pair import Pair
from geometry.reconstruct.motion.shadows import ShadowSettings
from geometry.scene import DepthSource, FrameSource
from geometry.trajectory import CameraPath

Array = np.ndarray
Kind = Literal["locked", "pan", "parallax"]
MOST_PICTURES = 64  # small ones, that are kept
MOST_PAIRS = 16  # of frames: each is asked for several depths


@dataclass(frozen=True)
class EvidenceSettings:
    side_px: int = 480  # of the raster that evidence is gathered on
    steps: tuple[int, ...] = (1, 3, 6)
    flow_blur_px: float = 0.8
    forward_backward_px: float = 3.0
    moving_sigmas: float = 4.0
    floor_px: float = 0.15  # flow is never better than this
    hardly: float = 0.2  # weight of a vote by pictures that agree either way
    samples: int = 28  # frames that know the background
    own_frames: int = 6  # a frame's neighbours are not asked: a mover has not left yet
    tolerance: float = 8.0  # code values
    still_share: float = 0.4  # of the votes, from which on a pixel stands still
    moving_share: float = 0.1
    rival_share: float = 0.15  # more votes for something else, and a pixel moves for certain
    shadow: ShadowSettings = field(default_factory=ShadowSettings)
    shade_weight: float = 0.5  # of evidence that a shadow lies there, and nothing moves


@dataclass(frozen=True)
class Evidence:
    """``value`` (h, w) in [-1, 1], positive where something moves; ``weight`` (h, w) >= 0, how far to believe it."""

    value: Array
    weight: Array

    def plus(self, other: Evidence, share: float | Array = 1.0) -> Evidence:
        """Both together, the other's weight times ``share``."""
        theirs = other.weight * share
        weight = self.weight + theirs
        value = (self.value * self.weight + other.value * theirs) / np.maximum(weight, np.float32(1e-6))
        return Evidence(value.astype(np.float32), weight.astype(np.float32))


class StillWorld:
    """Pictures on the small pinhole raster, and how the still world goes from one frame to another."""

    def __init__(
        self, clip: FrameSource, cameras: CameraPath, depth: DepthSource | None, kind: Kind, side_px: int
    ) -> None:
        self.clip, self.cameras, self.depth, self.kind = clip, cameras, depth, kind
        wh = cameras.cameras[0].wh
        scale = min(1.0, side_px / max(wh))
        self.wh = round(wh[0] * scale), round(wh[1] * scale)
        self._warps: dict[Camera, LensWarp] = {}
        self._depths: dict[int, tuple[Array, Array, Array]] = {}  # of the last frames
        self._pictures: dict[int, Array] = {}  # the same
        self._pairs: dict[tuple[int, int], Pair] = {}

    def warp(self, frame: int) -> LensWarp:
        lens = self.cameras.camera(frame).scaled(self.wh)
        if lens not in self._warps:
            self._warps[lens] = LensWarp.of(lens)
        return self._warps[lens]

    def picture(self, frame: int) -> Array:
        """(h, w, 3) uint8, undistorted, small."""
        if frame not in self._pictures:
            if len(self._pictures) >= MOST_PICTURES:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[frame] = self._undistorted(self.clip.display(frame, self.wh), frame, cv2.INTER_LINEAR)
        return self._pictures[frame]

    def _undistorted(self, small: Array, frame: int, interpolation: int) -> Array:
        warp = self.warp(frame)
        if warp.pinhole.wh == warp.lens.wh:
            return small
        grid = (warp.lens_px_from_pinhole - 0.5).astype(np.float32)
        return cv2.remap(small, grid[..., 0], grid[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)

    def homography(self, source: int, target: int) -> Array:
        """(3, 3) ``source_from_target`` of what is far away, for pixel positions as OpenCV counts them."""
        s, t = self.warp(source).pinhole, self.warp(target).pinhole
        turn = self.cameras.pose(source)[:3, :3] @ self.cameras.pose(target)[:3, :3].T
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        return np.linalg.inv(half) @ s.k @ turn @ np.linalg.inv(t.k) @ half

    def still_map(self, frame: int, other: int) -> Array:
        """(h, w, 2) where in ``other`` each pixel of ``frame`` is if it stands still, as OpenCV counts pixels."""
        if self.kind != "parallax":
            h, w = self.warp(frame).pinhole.hw
            return mapped(self.homography(other, frame), w, h)
        return self.seen_at(frame, other, self.inverse_depth(frame)[1])

    def residual(self, frame: int, other: int, match: Array, still: Array) -> Array:
        """(h, w) px that ``match`` (h, w, 2), where each pixel was found in ``other``, misses the still world by;
        ``still`` is ``still_map`` of the two."""
        if self.kind == "locked":
            return length(match - still)
        if self.kind == "pan":
            h, w = match.shape[:2]
            here = np.stack(np.meshgrid(np.arange(4, w, 8), np.arange(4, h, 8)), -1).reshape(-1, 2)
            better = refined(self.homography(other, frame), here, match[4::8, 4::8].reshape(-1, 2))
            return length(match - mapped(better, w, h))
        low, _, high = self.inverse_depth(frame)
        far = self.seen_at(frame, other, low)
        along, off = cv2.split(self.seen_at(frame, other, high) - far), cv2.split(match - far)
        length2 = along[0] * along[0] + along[1] * along[1] + np.float32(1e-6)
        share = np.clip((off[0] * along[0] + off[1] * along[1]) / length2, 0, 1)
        return cv2.magnitude(off[0] - share * along[0], off[1] - share * along[1])

    def seen_at(self, frame: int, other: int, q: Array) -> Array:
        """``still_map`` for an inverse depth (h, w)."""
        return np.stack(self.pair(frame, other).source_px(q), -1) - np.float32(0.5)

    def pair(self, frame: int, other: int) -> Pair:
        found = self._pairs.get((frame, other))
        if found is None:
            found = Pair.between(self.warp(frame).pinhole, self.cameras.pose(frame),
                                 self.warp(other).pinhole, self.cameras.pose(other))
            for old in list(self._pairs)[: -MOST_PAIRS + 1]:
                self._pairs.pop(old, None)  # another thread may have been here
            self._pairs[frame, other] = found
        return found

    def depth_from(self, frame: int, other: int) -> Array:
        """(h, w) likely inverse depth in ``frame`` of what stands still, as ``other`` has it."""
        own, theirs = self.inverse_depth(frame)[1], self.inverse_depth(other)[1]
        there = self.warp(other).pinhole
        step = self.cameras.pose(frame) @ np.linalg.inv(self.cameras.pose(other))
        q = own
        for _ in range(2):
            at = self.seen_at(frame, other, q)
            near = cv2.remap(theirs, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            ray = (at + np.float32(0.5) - (there.cx, there.cy)) / (there.fx, there.fy)
            z = (ray @ step[2, :2] + step[2, 2]) / np.maximum(near, 1e-9) + step[2, 3]
            q = np.where((near > 0) & (z > 0), 1 / np.maximum(z, 1e-9), own).astype(np.float32)
        return q

    def inverse_depth(self, frame: int) -> tuple[Array, Array, Array]:
        """Least, likely and greatest inverse depth (h, w) of what stands still there."""
        if frame not in self._depths:
            if len(self._depths) > 40:
                del self._depths[next(iter(self._depths))]
            self._depths[frame] = self._read_depth(frame)
        return self._depths[frame]

    def _read_depth(self, frame: int) -> tuple[Array, Array, Array]:
        assert self.depth is not None
        found = self.depth.read(frame)
        q = (1 / np.maximum(found.depth, 1e-12) * (found.depth > 0)).astype(np.float32)
        q, confidence = (
            self._undistorted(cv2.resize(image, self.wh, interpolation=cv2.INTER_AREA), frame, cv2.INTER_NEAREST)
            for image in (q, found.confidence)
        )
        q = _closed(q, confidence)
        relative = 2 * np.clip((1 - confidence) / 10, 0.01, 0.03)
        kernel = np.ones((5, 5), np.uint8)  # flow smears depth edges this far
        return cv2.erode(q * (1 - relative), kernel), q, cv2.dilate(q * (1 + relative), kernel)


def _closed(q: Array, confidence: Array) -> Array:
    """``q`` without holes: what nobody confirms does not lie behind what is confirmed around it.

    A mover that keeps pace with the camera looks like something far away, seen through the wall.
    """
    trust = confidence**2
    around = q
    for sigma in (40.0, 10.0):
        mass = cv2.GaussianBlur(trust, (0, 0), sigma)
        around = np.where(mass > 0.02, cv2.GaussianBlur(trust * q, (0, 0), sigma) / np.maximum(mass, 1e-6), around)
    return np.where((confidence < 0.15) & (q < 0.95 * around), around, q).astype(np.float32)


def refined(homography: Array, xy: Array, xy_other: Array) -> Array:
    """``homography`` other_from_here, fitted to matches (N, 2) of which it holds nearly: no camera only turns."""
    moved = cv2.perspectiveTransform(xy[:, None].astype(np.float64), homography)[:, 0]
    off = np.linalg.norm(moved - xy_other, axis=1)
    near = off < max(6.0, 2 * float(np.median(off)))
    if near.sum() < 30:
        return homography
    better, _ = cv2.findHomography(xy[near], xy_other[near], cv2.USAC_MAGSAC, 1.0, maxIters=500)
    return homography if better is None else better


def mapped(homography: Array, w: int, h: int) -> Array:
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    m = homography.astype(np.float32)
    z = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    return np.stack([(m[0, 0] * x + m[0, 1] * y + m[0, 2]) / z, (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / z], -1)


def sampled(image: Array, flow: Array, *, interpolation: int = cv2.INTER_LINEAR, border: float = 1e3) -> Array:
    """``image`` (h, w[, C]) of the frame that ``flow`` leads to, brought here; ``border`` outside."""
    h, w = flow.shape[:2]
    x, y = flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=(border,) * 4)


def length(vectors: Array) -> Array:
    """(h, w) of (h, w, 2) float32."""
    return cv2.magnitude(*cv2.split(vectors))

"""Straight edges of pictures, to a fraction of a pixel, and how well each is known.

LSD segments (Grompone von Gioi et al. 2010) that are pieces of one edge are joined and fitted again to the steepest
places of the picture along them; the scatter about the fitted line says how well its direction is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.shapes import expect_shape

Array = np.ndarray

MIN_LENGTH = 0.025  # of the picture's long side
ORIENTATIONS, MOST_ALIKE = 12, 40  # segments kept for every orientation: planks must not drown the rest
SAMPLES, REACH_PX, STEP_PX = 24, 2.5, 0.5  # places along a segment, and how far across it its edge is looked for
SMOOTH_PX = 1.0
END_PX = 0.2  # how well an end is known at best
LEAST_SIGMA = np.deg2rad(0.08)  # of a direction: no lens and no wall is straighter
ON_LINE_PX, GAP = 0.8, 0.7  # pieces of one edge: off its line, and apart by so much of the longer one


@dataclass(frozen=True)
class Segments:
    """Ends (N, 2, 2), undistorted px from the principal point; ``rotation`` (N, 3, 3) is reference_from_camera.

    ``sigma`` (N,) rad is how well the direction of each is known in the picture.
    """

    ends: Array
    rotation: Array
    sigma: Array
    side_px: int  # long side of the picture
    seen: float = 1.0  # in so many pictures each line is, about

    def __post_init__(self) -> None:
        expect_shape("ends", self.ends, (None, 2, 2))
        expect_shape("rotation", self.rotation, (len(self.ends), 3, 3))
        expect_shape("sigma", self.sigma, (len(self.ends),))

    @property
    def length(self) -> Array:
        return np.linalg.norm(self.ends[:, 1] - self.ends[:, 0], axis=1)


def segments_of(pictures: Sequence[Array], cameras: Sequence[Camera], rotation: Array) -> Segments:
    """Of grey pictures; ``rotation`` (K, 3, 3) is camera_from_reference of each. Distortion is removed."""
    ends, sigmas, turns = [], [], []
    for grey, camera, turn in zip(pictures, cameras, rotation, strict=True):
        found, sigma = find_segments(grey)
        ends.append(camera.normalized_from_px(found) * cameras[0].fx)
        sigmas.append(sigma)
        turns.append(np.tile(turn.T, (len(found), 1, 1)))
    return Segments(np.concatenate(ends), np.concatenate(turns), np.concatenate(sigmas), max(cameras[0].wh),
                    _times_seen(cameras[0], rotation))


def _times_seen(camera: Camera, rotation: Array) -> float:
    """How many of the pictures show the same, on average: all that are taken within one field of view."""
    view = rotation[:, 2]
    turn = np.arccos(np.clip(view @ view.T, -1, 1))
    field = 2 * np.arctan(0.5 * max(camera.wh) / camera.fx)
    return float(np.maximum(1 - turn / field, 0).sum(1).mean())


def find_segments(grey: Array) -> tuple[Array, Array]:
    """(N, 2, 2) px and (N,) rad: the longest of every orientation, and how well their directions are known."""
    lines, *_ = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(grey)
    if lines is None:
        return np.zeros((0, 2, 2)), np.zeros(0)
    ends = lines.reshape(-1, 2, 2).astype(np.float64)
    ends = ends[_length(ends) > MIN_LENGTH * max(grey.shape)]
    ends, scatter = _fitted(grey, _joined(ends))
    sigma = np.hypot(_sigma(ends, np.hypot(scatter, END_PX)), LEAST_SIGMA)
    keep = _longest_of_each(ends)
    return ends[keep] + 0.5, sigma[keep]  # OpenCV counts pixel centres from 0


def _length(ends: Array) -> Array:
    return np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)


def _sigma(ends: Array, end_px: Array) -> Array:
    return np.sqrt(2.0) * end_px / np.maximum(_length(ends), 1.0)


def _longest_of_each(ends: Array) -> Array:
    along = ends[:, 1] - ends[:, 0]
    orientation = (np.arctan2(along[:, 1], along[:, 0]) / np.pi % 1 * ORIENTATIONS).astype(int) % ORIENTATIONS
    order = np.lexsort((-_length(ends), orientation))
    rank = np.arange(len(order)) - np.searchsorted(orientation[order], orientation[order])
    return np.sort(order[rank < MOST_ALIKE])


def _joined(ends: Array) -> Array:
    """Pieces of one straight edge made one segment, the longest first."""
    left = list(ends[np.argsort(-_length(ends), kind="stable")])
    whole = []
    while left:
        one = left.pop(0)
        rest = np.array(left).reshape(-1, 2, 2)
        while len(rest):
            mine = _continues(one, rest)
            if not mine.any():
                break
            points = np.concatenate([one[None], rest[mine]]).reshape(-1, 2)
            rest = rest[~mine]
            along = (points - one[0]) @ (one[1] - one[0])
            one = np.stack([points[along.argmin()], points[along.argmax()]])
        whole.append(one)
        left = list(rest)
    return np.array(whole).reshape(-1, 2, 2)


def _continues(one: Array, others: Array) -> Array:
    """(N,) bool: which lie on the line of ``one``, close to it; no worse from their own line's view."""
    along = one[1] - one[0]
    length = np.linalg.norm(along)
    along = along / length
    across = np.array([-along[1], along[0]])
    off, place = np.abs((others - one[0]) @ across), (others - one[0]) @ along
    gap = np.maximum(place.min(1) - length, -place.max(1))
    # A short piece has no say on the direction: the line of the longer one is extended to it.
    return (off.max(1) < ON_LINE_PX) & (gap < GAP * length) & (gap > -0.3 * np.ptp(place, axis=1))


def _fitted(grey: Array, ends: Array) -> tuple[Array, Array]:
    """The segments, moved to the steepest places across them, and the scatter (N,) px of an end."""
    if not len(ends):
        return ends, np.zeros(0)
    smooth = cv2.GaussianBlur(grey, (0, 0), SMOOTH_PX).astype(np.float32)
    along = ends[:, 1] - ends[:, 0]
    across = np.stack([-along[:, 1], along[:, 0]], 1) / _length(ends)[:, None]
    share = np.linspace(0.03, 0.97, SAMPLES)
    offset = np.arange(-REACH_PX - STEP_PX, REACH_PX + 1.5 * STEP_PX, STEP_PX)
    middle = ends[:, None, 0] + share[:, None] * along[:, None]
    at = (middle[:, :, None] + offset[:, None] * across[:, None, None]).astype(np.float32)
    flat = at.reshape(len(ends), -1, 2)
    seen = cv2.remap(smooth, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    slope = np.diff(seen.reshape(at.shape[:3]).astype(np.float64), axis=2) / STEP_PX
    slope *= np.sign(np.median(slope.sum(2), axis=1))[:, None, None]
    found, weight = _steepest(slope, 0.5 * (offset[1:] + offset[:-1]))
    return _lines_through(ends, across, share - 0.5, found, weight)


def _steepest(slope: Array, offset: Array) -> tuple[Array, Array]:
    """(N, S) where across the segment the picture is steepest, and (N, S) how much it says so: 0 at the border."""
    k = np.clip(slope.argmax(2), 1, len(offset) - 2)[..., None]
    low, top, high = (np.take_along_axis(slope, k + d, 2)[..., 0] for d in (-1, 0, 1))
    bend = low - 2 * top + high
    peak = (top > 0) & (bend < 0) & (top >= low) & (top >= high)
    shift = np.where(peak, 0.5 * (low - high) / np.where(bend < 0, bend, -1.0), 0.0)
    return offset[k[..., 0]] + shift * (offset[1] - offset[0]), np.where(peak, top, 0.0)


def _lines_through(ends: Array, across: Array, share: Array, found: Array, weight: Array) -> tuple[Array, Array]:
    """A robust line through each segment's places; those that have too few keep theirs, at a pixel's scatter."""
    start = weight / np.maximum(weight.max(1, keepdims=True), 1e-6) > 0.2
    weights = start.astype(float)
    constant, lean = np.zeros(len(ends)), np.zeros(len(ends))
    for _ in range(6):
        total = np.maximum(weights.sum(1), 1e-9)
        m, c = (weights * share).sum(1) / total, (weights * found).sum(1) / total
        centred = share - m[:, None]
        lean = (weights * centred * (found - c[:, None])).sum(1) / np.maximum((weights * centred**2).sum(1), 1e-9)
        constant = c - lean * m
        off = np.abs(found - constant[:, None] - lean[:, None] * share)
        weights = start / (1 + (off / 0.3) ** 2) ** 2
    enough = (weights > 0.3).sum(1) >= SAMPLES // 2
    spread = np.sqrt((weights * off**2).sum(1) / np.maximum(weights.sum(1), 1e-9))
    moved = ends + (constant[:, None] + lean[:, None] * np.array([-0.5, 0.5]))[..., None] * across[:, None]
    return np.where(enough[:, None, None], moved, ends), np.where(enough, 2 * spread, 1.0)

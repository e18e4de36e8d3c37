"""What the benchmarks measure.

Masks are (H, W), pictures (H, W, 3) in [0, 1], pixels (x, y), lengths in px or scene units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from geometry import rigid

Array = np.ndarray


def iou(mask: Array, truth: Array) -> float:
    """J: intersection over union of two boolean masks; 1 when both are empty (DAVIS, Perazzi et al. 2016)."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def boundary_f(mask: Array, truth: Array, tolerance_px: float) -> float:
    """F: harmonic mean of the shares of each mask's contour within ``tolerance_px`` of the other's."""
    ours, theirs = _contour(mask), _contour(truth)
    if not ours.any() and not theirs.any():
        return 1.0
    if not ours.any() or not theirs.any():
        return 0.0
    precision = float((_distance_to(theirs)[ours] <= tolerance_px).mean())
    recall = float((_distance_to(ours)[theirs] <= tolerance_px).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _contour(mask: Array) -> Array:
    """Mask pixels with a 4-neighbour outside. Beyond the picture's border the mask is taken to go on."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    return mask & (cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_REPLICATE) == 0)


def _distance_to(pixels: Array) -> Array:
    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def drift_px(px: Array, truth_px: Array, reference: int) -> Array:
    """(N, A) distances of anchors (N, A, 2) from the truth, the offset of frame ``reference`` taken away."""
    offset = px - truth_px
    return np.linalg.norm(offset - offset[reference], axis=-1)


def centroid_px(mask: Array) -> Array:
    """(2,) weighted mean pixel centre of a mask in [0, 1]; nan when it is empty."""
    total = mask.sum(dtype=np.float64)
    if total == 0:
        return np.full(2, np.nan)
    x = (mask.sum(0, dtype=np.float64) * (np.arange(mask.shape[1]) + 0.5)).sum()
    y = (mask.sum(1, dtype=np.float64) * (np.arange(mask.shape[0]) + 0.5)).sum()
    return np.array([x, y]) / total


def psnr(picture: Array, truth: Array, region: Array | None = None) -> float:
    """dB with peak 1 over the pixels of boolean ``region`` (all when None); inf when equal, nan for no pixels."""
    difference = picture.astype(np.float64) - truth
    squares = (difference if region is None else difference[region]) ** 2
    if squares.size == 0:
        return float("nan")
    mean = squares.mean()
    return float(-10 * np.log10(mean)) if mean > 0 else float("inf")


def changed_outside(source: Array, result: Array, effect: Array) -> int:
    """Pixels whose code values differ although ``effect`` is 0 there."""
    return int(np.count_nonzero((source != result).any(-1) & (effect == 0)))


def contact_gap_px(mask: Array, truth: Array, foot_px: float = 6.0) -> float:
    """Median distance between the lower edges of two coverage masks, over the columns where the truth's edge lies
    within ``foot_px`` of its lowest point; nan when there are none. Edges are where coverage crosses one half."""
    edge, true_edge = _lower_edge(mask), _lower_edge(truth)
    if np.isnan(true_edge).all():
        return float("nan")
    foot = (true_edge >= np.nanmax(true_edge) - foot_px) & ~np.isnan(edge)
    return float(np.median(np.abs(edge - true_edge)[foot])) if foot.any() else float("nan")


def _lower_edge(mask: Array) -> Array:
    """(W,) y of the lowest crossing of one half in each column; nan where a column has none."""
    padded = np.vstack([mask, np.zeros_like(mask[:1])]).astype(np.float64)
    inside = padded > 0.5
    rows = len(mask) - np.argmax(inside[::-1], axis=0)  # of the last pixel inside
    columns = np.arange(mask.shape[1])
    upper, lower = padded[rows, columns], padded[np.minimum(rows + 1, len(mask)), columns]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(inside.any(0), rows + 0.5 + (upper - 0.5) / (upper - lower), np.nan)


def grain_sigma(channel: Array, region: Array | None = None) -> float:
    """Deviation of white noise in one channel from its second differences both ways, which cancel any smooth
    picture (Immerkaer 1996). ``region``: boolean, pixels to use."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
    response = np.abs(cv2.filter2D(channel.astype(np.float64), -1, kernel))[1:-1, 1:-1]
    if region is not None:
        response = response[region[1:-1, 1:-1]]
    return float(np.sqrt(np.pi / 2) * response.mean() / 6)


@dataclass(frozen=True)
class PoseError:
    """Camera centres after the best similarity onto the truth."""

    ate: float  # root mean square distance, true units
    ate_of_path: float  # the same as a share of the true path's length
    scale: float


def pose_error(centres: Array, truth: Array) -> PoseError:
    """Absolute trajectory error of (N, 3) camera centres. Raises ``ValueError`` for fewer than 3."""
    scale, truth_from_ours = rigid.align_similarity(centres, truth)
    distance = np.linalg.norm(rigid.transform(truth_from_ours, scale * centres) - truth, axis=1)
    ate = float(np.sqrt((distance**2).mean()))
    length = float(np.linalg.norm(np.diff(truth, axis=0), axis=1).sum())
    return PoseError(ate, ate / length, scale)


@dataclass(frozen=True)
class DepthError:
    """After the depth is multiplied by the median of truth / depth."""

    abs_rel: float  # mean |d - g| / g
    delta: float  # share of max(d / g, g / d) < 1.25
    coverage: float  # share of the true pixels that have a depth


def depth_error(depth: Array, truth: Array) -> DepthError:
    """Depths of 0 are unknown. Raises ``ValueError`` when no pixel is known in both."""
    known = (depth > 0) & (truth > 0)
    if not known.any():
        raise ValueError("depth: expected pixels known in both maps, got none")
    ours, theirs = depth[known].astype(np.float64), truth[known].astype(np.float64)
    ours = ours * np.median(theirs / ours)
    ratio = np.maximum(ours / theirs, theirs / ours)
    return DepthError(
        float((np.abs(ours - theirs) / theirs).mean()), float((ratio < 1.25).mean()), known.sum() / (truth > 0).sum()
    )


@dataclass(frozen=True)
class RotationError:
    """Of camera rotations, whatever the worlds' own directions."""

    step_deg: float  # root mean square error of the turn from one pose to the next (RPE)
    worst_deg: float  # largest error of a pose after the best common turn of the world


def rotation_error(camera_from_world: Array, truth: Array) -> RotationError:
    """Of (N, 4, 4) poses. Raises ``ValueError`` for fewer than 2."""
    if len(truth) < 2:
        raise ValueError(f"truth: expected at least 2 poses, got {len(truth)}")
    ours, theirs = (Rotation.from_matrix(poses[:, :3, :3]) for poses in (camera_from_world, truth))
    steps, true_steps = ours[1:] * ours[:-1].inv(), theirs[1:] * theirs[:-1].inv()
    world = (ours.inv() * theirs).mean()
    return RotationError(
        float(np.degrees(np.sqrt(((steps * true_steps.inv()).magnitude() ** 2).mean()))),
        float(np.degrees((ours * world * theirs.inv()).magnitude().max())),
    )


def scale_to(depth: Array, truth: Array) -> float:
    """Median of truth / depth over what is known (> 0) in both. Raises ``ValueError`` when nothing is."""
    known = (depth > 0) & (truth > 0)
    if not known.any():
        raise ValueError("depth: expected pixels known in both maps, got none")
    return float(np.median(truth[known].astype(np.float64) / depth[known]))


def confident_depth_error(depth: Array, confidence: Array, truth: Array, share: float) -> DepthError:
    """Error of the most confident ``share`` of the true pixels, (N,) each, after ``scale_to`` over just these.

    Equal confidences are kept or left out together, so that it may be more. A pixel without a depth has no confidence;
    if it is among them all the same, it is wrong by 100 %.
    """
    there = truth > 0
    depth, truth = depth[there].astype(np.float64), truth[there].astype(np.float64)
    confidence = np.where(depth > 0, confidence[there], -1.0)
    left_out = len(confidence) - math.ceil(share * len(confidence) - 1e-9)
    kept = confidence >= np.partition(confidence, left_out)[left_out]
    ours, theirs = depth[kept], truth[kept]
    ours = ours * scale_to(ours, theirs)
    with np.errstate(divide="ignore"):
        ratio = np.maximum(ours / theirs, theirs / ours)
    return DepthError(
        float((np.abs(ours - theirs) / theirs).mean()), float((ratio < 1.25).mean()), float((depth > 0).mean())
    )


@dataclass(frozen=True)
class DepthDoubt:
    """Does the confidence know what is wrong? Shares of the pixels that have a depth and a true one."""

    wrong: float
    wrong_doubted: float  # of the wrong ones; nan when none is
    right_trusted: float  # of the others


def depth_doubt(
    depth: Array, confidence: Array, truth: Array, scale: float, *, wrong_by: float = 0.1, doubted_below: float = 0.5
) -> DepthDoubt:
    """``wrong_by`` is the relative error from which a depth (times ``scale``) is wrong."""
    known = (depth > 0) & (truth > 0)
    wrong = np.abs(scale * depth[known] - truth[known]) > wrong_by * truth[known]
    doubted = confidence[known] < doubted_below
    return DepthDoubt(_mean(wrong), _mean(doubted[wrong]), _mean(~doubted[~wrong]))


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


@dataclass(frozen=True)
class EdgeCounts:
    """Edge pixels; counts of several pictures add up."""

    true: int = 0
    found: int = 0  # of the true ones
    ours: int = 0
    right: int = 0  # of ours

    def __add__(self, other: EdgeCounts) -> EdgeCounts:
        return EdgeCounts(
            self.true + other.true, self.found + other.found, self.ours + other.ours, self.right + other.right)

    @property
    def recall(self) -> float:
        return self.found / self.true if self.true else float("nan")

    @property
    def f(self) -> float:
        """Harmonic mean of recall and precision."""
        total = self.found * self.ours + self.right * self.true
        return 2 * self.found * self.right / total if total else 0.0


def depth_edges(depth: Array, jump: float = 1.1) -> Array:
    """(H, W) bool: the nearer pixel of each two neighbours whose depths, both known, differ by a factor > ``jump``."""
    edges = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        a, b = np.moveaxis(depth, axis, 0)[:-1], np.moveaxis(depth, axis, 0)[1:]
        known = (a > 0) & (b > 0)
        marked = np.moveaxis(edges, axis, 0)
        marked[:-1] |= known & (b > jump * a)
        marked[1:] |= known & (a > jump * b)
    return edges


def edge_counts(depth: Array, truth: Array, tolerance_px: float) -> EdgeCounts:
    """An edge is found, or right, when the other map has one within ``tolerance_px``. Where there is no true depth
    nobody knows whether an edge is right: ours do not count there."""
    theirs = depth_edges(truth)
    ours = depth_edges(depth) & (truth > 0)
    near_ours, near_theirs = ((_distance_to(e) <= tolerance_px if e.any() else e) for e in (ours, theirs))
    return EdgeCounts(*(int(np.count_nonzero(e)) for e in (theirs, theirs & near_ours, ours, ours & near_theirs)))

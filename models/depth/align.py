"""A depth prediction made to agree with a scene's sparse points.

Inverse depth q = 1/z throughout. A relative prediction p is true up to a scale and a shift, q = a p + b (Ranftl 2020);
a metric one up to a scale. Both are fitted robustly to the points that the frame sees. What remains is smooth: it is
spread from the points over pixels that are near and at a similar depth, on a bilateral grid (Chen 2007), and taken
off; what still remains says how far the result can be believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.scene import DepthMap, SparsePoints
from geometry.shapes import expect_shape
from models.base import DepthPrediction
from models.errors import AlignmentFailed

Array = np.ndarray

FEWEST_POINTS = 12
TRIALS = 300
HUBER = 1.5  # deviations beyond which a residual counts linearly
LARGEST_ERROR = 0.3  # a typical relative error above this is no agreement at all
MOST_ERROR_PX = 1.5  # of points that are believed
GRID_CELLS = (10, 16, 8)  # over rows, columns and log depth
PRIOR_WEIGHT = 0.5  # points' worth of belief that nothing remains
LARGEST_RESIDUAL = 0.25  # of log depth, that is still taken off
SMALLEST_ERROR = 0.005
ROUNDS = 4
BEYOND = 3.0  # times as far as the farthest point, or as near: no farther, no nearer


@dataclass(frozen=True)
class SeenPoints:
    """Sparse points as one frame sees them: ``px`` (N, 2) on its raster, z-depth ``z`` (N,)."""

    px: Array
    z: Array

    def __post_init__(self) -> None:
        expect_shape("px", self.px, (None, 2))
        expect_shape("z", self.z, (len(self.px),))


@dataclass(frozen=True)
class Alignment:
    """q = ``scale`` * p + ``shift``; ``error`` is the typical relative error left, ``inliers`` a share of points.

    Points that agree have inverse depths from ``lowest`` to ``highest``.
    """

    scale: float
    shift: float
    error: float
    inliers: float
    lowest: float
    highest: float


def seen_points(camera: Camera, camera_from_world: Array, points: SparsePoints, frame: int) -> SeenPoints:
    """The good points that lie in the picture of ``frame``, and that it saw, where that is known."""
    good = (points.error_px < MOST_ERROR_PX) & np.isfinite(points.xyz).all(1)
    if points.seen is not None:
        good &= (points.seen[:, 0] <= frame) & (frame <= points.seen[:, 1])
    local = rigid.transform(camera_from_world, points.xyz[good])
    px = camera.px_from_cam(local)
    with np.errstate(invalid="ignore"):
        inside = (local[:, 2] > 0) & (px >= 0).all(1) & (px < camera.wh).all(1)
    local, px = local[inside], px[inside]
    # A lens model bends far-off directions back into the picture: a true pixel leads back to where it came from.
    straight = np.abs(camera.normalized_from_px(px) - local[:, :2] / local[:, 2:]).max(1, initial=0) < 1e-3
    return SeenPoints(px[straight], local[straight, 2])


def fit(prediction: DepthPrediction, points: SeenPoints, *, seed: tuple[int, ...]) -> Alignment:
    """Scale, and shift where the prediction is relative, that agree with most points.

    Raises ``AlignmentFailed`` when there are few points or the prediction has nothing to do with them.
    """
    if len(points.z) < FEWEST_POINTS:
        raise AlignmentFailed(f"depth: expected at least {FEWEST_POINTS} points to align to, got {len(points.z)}")
    p, q = _sampled(prediction.inverse_depth, points.px), 1 / points.z
    tolerance = np.maximum(q, 0.1 * np.median(q))  # relative error, forgiving towards infinity
    scale, shift = _least_median(p, q, tolerance, prediction.metric, np.random.default_rng(list(seed)))
    for _ in range(10):
        residual = (scale * p + shift - q) / tolerance
        spread = _spread(residual)
        weight = np.minimum(1, HUBER * spread / np.maximum(np.abs(residual), 1e-12)) * (np.abs(residual) < 6 * spread)
        scale, shift = _least_squares(p, q, weight / tolerance**2, prediction.metric)
    residual = np.abs(scale * p + shift - q) / tolerance
    inlier = residual < 4 * spread
    error = _spread(residual[inlier]) if inlier.any() else np.inf
    if not (scale > 0 and error < LARGEST_ERROR):
        raise AlignmentFailed(
            f"depth: the prediction does not agree with the scene (scale {scale:.3g}, error {error:.2f})"
        )
    return Alignment(
        float(scale), float(shift), error, float(inlier.mean()), float(q[inlier].min()), float(q[inlier].max())
    )


def apply(prediction: DepthPrediction, alignment: Alignment, points: SeenPoints, *, correct: bool = True) -> DepthMap:
    """z-depth on the prediction's raster, in the points' units, positive everywhere; confidence from the residuals.

    ``correct`` takes off what the points say remains near them. ``points`` may be empty: confidence is then low.
    """
    q = alignment.scale * prediction.inverse_depth.astype(np.float64) + alignment.shift
    low, high = alignment.lowest / BEYOND, alignment.highest * BEYOND
    beyond = (q < low) | (q > high)
    q = np.clip(q, low, high)
    remaining, error, agreement = _residuals(q, alignment.error, points)
    if correct:
        q = np.clip(q * np.exp(remaining), low, high)
    confidence = np.where(beyond, 0, np.clip(1 - 10 * error, 0, 1) * np.clip((agreement - 0.2) / 0.3, 0, 1))
    return DepthMap((1 / q).astype(np.float32), confidence.astype(np.float32))


def _sampled(image: Array, px: Array) -> Array:
    """Bilinear samples at (N, 2) pixels, whose first centre is (0.5, 0.5)."""
    coordinates = np.stack([px[:, 1], px[:, 0]]) - 0.5
    return ndimage.map_coordinates(image.astype(np.float64), coordinates, order=1, mode="nearest")


def _least_median(
    p: Array, q: Array, tolerance: Array, metric: bool, rng: np.random.Generator
) -> tuple[float, float]:
    """The line through two points (for a metric prediction, one) that leaves the least median residual."""
    a, b = rng.integers(len(p), size=(2, TRIALS))
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = q[a] / p[a] if metric else (q[a] - q[b]) / (p[a] - p[b])
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, 0)
    shift = np.zeros_like(scale) if metric else q[a] - scale * p[a]
    residual = np.abs(scale[:, None] * p + shift[:, None] - q) / tolerance
    best = int(np.median(residual, axis=1).argmin())
    return float(scale[best]), float(shift[best])


def _least_squares(p: Array, q: Array, weight: Array, metric: bool) -> tuple[float, float]:
    if metric:
        return float((weight * p * q).sum() / max((weight * p * p).sum(), 1e-30)), 0.0
    total = max(weight.sum(), 1e-30)
    mean_p, mean_q = (weight * p).sum() / total, (weight * q).sum() / total
    variance = (weight * (p - mean_p) ** 2).sum()
    scale = (weight * (p - mean_p) * (q - mean_q)).sum() / max(variance, 1e-30)
    return float(scale), float(mean_q - scale * mean_p)


def _spread(residual: Array) -> float:
    """Standard deviation of the good part (median absolute deviation from zero)."""
    return float(max(1.4826 * np.median(np.abs(residual)), 1e-6))


def _residuals(q: Array, typical: float, points: SeenPoints) -> tuple[Array, Array, Array]:
    """Around every pixel: what remains in log q, the relative error to expect once it is taken off, and the share of
    points that agree about it."""
    h, w = q.shape
    ends = np.log([q.min(), q.max() * (1 + 1e-9)])
    cells = np.array(GRID_CELLS)

    def cell_of(px: Array, log_q: Array) -> Array:
        depth = (log_q - ends[0]) / max(ends[1] - ends[0], 1e-9)
        share = np.stack([px[..., 1] / h, px[..., 0] / w, depth])
        return share * (cells - 1).reshape(3, *[1] * depth.ndim)

    log_q = np.log(_sampled(q, points.px))
    at = cell_of(points.px, log_q)
    residual = np.clip(-np.log(points.z) - log_q, -LARGEST_RESIDUAL, LARGEST_RESIDUAL)
    local = np.zeros_like(residual)
    # Outliers are errors of the scene, or things in front: forgotten by reweighting (Geman-McClure).
    for _ in range(ROUNDS if len(residual) else 0):
        spread = max(_spread(residual - local), SMALLEST_ERROR)
        trust = 1 / (1 + ((residual - local) / (2 * spread)) ** 2) ** 2
        mean = _blurred(at, trust * residual) / (_blurred(at, trust) + PRIOR_WEIGHT)
        local = ndimage.map_coordinates(mean, at, order=1, mode="nearest")
    if not len(residual):
        trust, mean = local, np.zeros(GRID_CELLS)
    trusted = _blurred(at, trust)
    # Far from any point the error is what the fit as a whole leaves, and more, for nobody has looked.
    variance = _blurred(at, trust * (residual - local) ** 2) + PRIOR_WEIGHT * (2 * typical) ** 2
    agreement = (trusted + PRIOR_WEIGHT) / (_blurred(at, np.ones_like(trust)) + PRIOR_WEIGHT)
    where = cell_of(pixel_centres((w, h)), np.log(q))
    remaining, variance, agreement = (
        ndimage.map_coordinates(grid, where, order=1, mode="nearest")
        for grid in (mean, variance / (trusted + PRIOR_WEIGHT), agreement)
    )
    return remaining, np.sqrt(variance), agreement


def _blurred(at: Array, values: Array) -> Array:
    """Values (N,) at (3, N) places of the grid, spread such that one counts fully where it lies."""
    grid = np.zeros(GRID_CELLS)
    np.add.at(grid, tuple(np.round(at).astype(int)), values)
    return ndimage.gaussian_filter(grid, 1.0, mode="constant") * (2 * np.pi) ** 1.5

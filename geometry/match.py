"""What makes a render look filmed: the plate's grain, its sharpness, its black and white points, its shutter.

Grain is measured and added in the *display-referred* domain, float32 code values scaled to [0, 1], where it was seen;
sharpness is applied to linear layers. Both go into the layers, before compositing. Pictures are (H, W, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np

from geometry.shapes import expect_shape

Array = np.ndarray

BINS = 12  # brightness bins of a grain curve
TAPS = 11  # side of the grain's correlation kernel
LEAST_SIGMA = 0.25 / 255  # less than quantisation itself: a clean plate
BOX_SIGMA_PX = 12**-0.5  # a render is averaged over each pixel's square


# --- grain ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GrainModel:
    """Standard deviation by channel and brightness, and how grains hang together in space and between channels."""

    level: Array  # (BINS,) brightness of each bin's centre, ascending, code value in [0, 1]
    sigma: Array  # (BINS, 3)
    kernel: Array  # (TAPS, TAPS, 3) unit-energy filter: white noise in, grain of unit variance out
    mixing: Array  # (3, 3) Cholesky factor of the correlation between channels

    def __post_init__(self) -> None:
        expect_shape("sigma", self.sigma, (len(self.level), 3))
        expect_shape("kernel", self.kernel, (TAPS, TAPS, 3))
        expect_shape("mixing", self.mixing, (3, 3))

    def sigma_at(self, picture: Array) -> Array:
        """(H, W, 3) grain sigma for each code value of ``picture``."""
        return np.dstack([np.interp(picture[..., c], self.level, self.sigma[:, c]) for c in range(3)])


def no_grain() -> GrainModel:
    kernel = np.zeros((TAPS, TAPS, 3))
    kernel[TAPS // 2, TAPS // 2] = 1
    return GrainModel(np.linspace(0, 1, BINS), np.zeros((BINS, 3)), kernel, np.eye(3))


def measure_grain(pairs: Iterable[tuple[Array, Array]]) -> GrainModel:
    """Grain of a few frames, from their flat parts.

    Each pair is an (H, W, 3) float frame in [0, 1] and its neighbour in time carried onto it (``masks.carried_onto``):
    the same scene with other grain. What both share is texture; what they do not share is grain, so its variance is
    that of the frame less the covariance of the two. A part is flat when its structure, seen at a scale where grain
    averages out, is the weakest of its brightness; the median variance there, after a local quadratic fit, is the
    curve. The fit swallows part of coarse grain, which is given back (``_width_table``).
    """
    measured = [_grain_samples(np.asarray(a, np.float32), np.asarray(b, np.float32)) for a, b in pairs]
    if not measured:
        raise ValueError("pairs: expected at least one frame, got none")
    means = np.concatenate([part.means for part in measured])
    variances = np.concatenate([part.variances for part in measured])
    if len(means) < 40 or np.median(variances) < LEAST_SIGMA**2:
        return no_grain()
    level = (np.arange(BINS) + 0.5) / BINS
    neighbour = np.mean([part.neighbour for part in measured], axis=0)
    covariance = np.mean([part.covariance for part in measured], axis=0)
    sigma, kernel = np.empty((BINS, 3)), np.empty((TAPS, TAPS, 3))
    for c in range(3):
        width_y, width_x, kept = _grain_width(neighbour[:, c])
        kernel[..., c] = np.outer(_taps(width_y), _taps(width_x))
        sigma[:, c] = _curve(means[:, c], variances[:, c] / kept, level)
    return GrainModel(level, sigma, kernel, _mixing(covariance))


@dataclass(frozen=True)
class _GrainSamples:
    means: Array  # (N, 3) brightness of flat patches
    variances: Array  # (N, 3)
    covariance: Array  # (3, 3) between channels, of normalised residuals
    neighbour: Array  # (2, 3) correlation with the next pixel below, and to the right, after detrending


PATCH = 12


def _grain_samples(picture: Array, neighbour: Array) -> _GrainSamples:
    patches, others = _patches(picture), _patches(neighbour)
    residual, carried = _detrended(patches), _detrended(others)
    means = patches.mean((1, 2))
    inside = (patches.min((1, 2, 3)) > 1.5 / 255) & (patches.max((1, 2, 3)) < 1 - 1.5 / 255)
    # Structure survives averaging over 3 x 3, grain hardly; texture therefore shows as a high ratio, and as outliers.
    coarse = np.abs(residual.reshape(-1, PATCH // 3, 3, PATCH // 3, 3, 3).mean((2, 4))).mean((1, 2, 3))
    keep = np.flatnonzero(inside)
    if len(keep) == 0:
        return _GrainSamples(np.empty((0, 3)), np.empty((0, 3)), np.eye(3), np.zeros((2, 3)))
    flat = keep[_flattest(coarse[keep], means[keep].mean(1))]
    residual, carried, means = residual[flat], carried[flat], means[flat]
    variances = (residual * (residual - carried)).sum((1, 2)) / (PATCH * PATCH - 6)
    scale = np.sqrt(np.maximum((residual**2).mean((1, 2)), 1e-12))[:, None, None]
    unit, shared = residual / scale, carried / scale
    covariance = np.einsum("nhwc,nhwd->cd", unit, unit - shared) / unit[..., 0].size
    return _GrainSamples(means, variances, (covariance + covariance.T) / 2, _neighbour_correlation(unit, shared))


def _patches(picture: Array) -> Array:
    """(N, PATCH, PATCH, 3) tiles."""
    h, w = (n // PATCH * PATCH for n in picture.shape[:2])
    return picture[:h, :w].reshape(h // PATCH, PATCH, w // PATCH, PATCH, 3).swapaxes(1, 2).reshape(-1, PATCH, PATCH, 3)


def _detrended(patches: Array) -> Array:
    """(N, P, P, 3) minus each patch's best quadratic."""
    q = _quadratics().astype(np.float32)
    flat = patches.reshape(len(patches), -1, 3)
    return (flat - q @ (q.T @ flat)).reshape(patches.shape)


@lru_cache(maxsize=1)
def _quadratics() -> Array:
    """(P * P, 6) orthonormal basis of quadratic patches."""
    y, x = (np.mgrid[0:PATCH, 0:PATCH] - (PATCH - 1) / 2) / PATCH
    return np.linalg.qr(np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], -1).reshape(-1, 6))[0]


def _flattest(structure: Array, brightness: Array) -> Array:
    """Indices of the patches of each of 8 brightness ranges that show no more structure than grain alone would.

    Patches of mere grain crowd at the low end, within about 1.7 x of its first decile; taking the very lowest instead
    would choose those whose grain happens to be weak.
    """
    chosen = []
    edges = np.quantile(brightness, np.linspace(0, 1, 9))
    for low, high in pairwise(edges):
        members = np.flatnonzero((brightness >= low) & (brightness <= high))
        chosen.append(members[structure[members] <= 1.7 * np.quantile(structure[members], 0.1)])
    return np.unique(np.concatenate(chosen))


def _curve(means: Array, variances: Array, level: Array) -> Array:
    """(BINS,) sigma: robust by bin, carried over to bins that saw nothing, then lightly smoothed."""
    index = np.minimum((means * BINS).astype(int), BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    enough = counts >= 8
    if not enough.any():
        return np.full(BINS, np.sqrt(max(np.median(variances), 0.0)))
    medians = [np.median(variances[index == b]) if enough[b] else np.nan for b in range(BINS)]
    binned = np.sqrt(np.maximum(medians, 0.0))
    filled = np.interp(level, level[enough], binned[enough])
    mass = np.where(enough, np.sqrt(counts), 0.5)
    weights = np.array([0.25, 1.0, 0.25])
    return np.convolve(filled * mass, weights, "same") / np.convolve(mass, weights, "same")


def _neighbour_correlation(unit: Array, shared: Array) -> Array:
    """(2, 3) of (N, P, P, 3) residuals: with the next pixel below, and to the right; texture taken out."""
    power = (unit * (unit - shared)).mean((0, 1, 2))
    below = (unit[:, 1:] * (unit - shared)[:, :-1]).mean((0, 1, 2))
    right = (unit[:, :, 1:] * (unit - shared)[:, :, :-1]).mean((0, 1, 2))
    return np.stack([below, right]) / np.maximum(power, 1e-9)


def _taps(width_px: float) -> Array:
    """(TAPS,) gaussian of unit energy; width 0 is a single tap."""
    x = np.arange(TAPS) - TAPS // 2
    taps = np.exp(-0.5 * (x / width_px) ** 2) if width_px > 0 else (x == 0).astype(float)
    return taps / np.sqrt((taps**2).sum())


WIDTHS_PX = np.concatenate([[0.0], np.arange(0.3, 1.85, 0.1)])


@lru_cache(maxsize=1)
def _width_table() -> tuple[Array, Array]:
    """What a quadratic fit leaves of grain of widths (y, x): neighbour correlation (K, K, 2) and variance (K, K)."""
    lag = np.abs(np.subtract.outer(np.arange(PATCH), np.arange(PATCH)))
    line = []
    for width in WIDTHS_PX:
        full = np.correlate(_taps(width), _taps(width), "full")[TAPS - 1 :]
        line.append(np.pad(full, (0, PATCH))[lag])
    q = _quadratics()
    count = len(WIDTHS_PX)
    correlation, kept = np.empty((count, count, 2)), np.empty((count, count))
    for i in range(count):
        for j in range(count):
            covariance = np.kron(line[i], line[j])
            covariance = covariance - q @ (q.T @ covariance)
            covariance = covariance - (covariance @ q) @ q.T
            grid = covariance.reshape(PATCH, PATCH, PATCH, PATCH)
            power = np.einsum("yxyx->", grid) / PATCH**2
            pairs = PATCH * (PATCH - 1)
            below = np.einsum("yxyx->", grid[1:, :, :-1, :]) / pairs
            right = np.einsum("yxyx->", grid[:, 1:, :, :-1]) / pairs
            correlation[i, j] = below / power, right / power
            kept[i, j] = power * PATCH**2 / (PATCH**2 - 6)
    return correlation, kept


def _grain_width(neighbour: Array) -> tuple[float, float, float]:
    """Widths (y, x) in px that explain the measured neighbour correlations (2,), and the share of variance kept."""
    correlation, kept = _width_table()
    i, j = np.unravel_index(np.abs(correlation - neighbour).sum(-1).argmin(), kept.shape)
    return float(WIDTHS_PX[i]), float(WIDTHS_PX[j]), float(kept[i, j])


def _mixing(covariance: Array) -> Array:
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-9))
    correlation = covariance / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)  # a difference of measurements need not be positive
    correlation = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    return np.linalg.cholesky(correlation / np.sqrt(np.outer(np.diag(correlation), np.diag(correlation))))


def grain_field(model: GrainModel, hw: tuple[int, int], rng: np.random.Generator) -> Array:
    """(H, W, 3) grain of unit variance, correlated as measured."""
    white = rng.standard_normal((hw[0] + TAPS - 1, hw[1] + TAPS - 1, 3), np.float32)
    mixed = white @ model.mixing.T.astype(np.float32)
    reach = TAPS // 2
    fields = [cv2.filter2D(mixed[..., c], -1, model.kernel[..., c].astype(np.float32)) for c in range(3)]
    return np.dstack(fields)[reach : reach + hw[0], reach : reach + hw[1]]


def add_grain(picture: Array, weight: Array, model: GrainModel, rng: np.random.Generator) -> Array:
    """``picture`` (H, W, 3) display-referred in [0, 1] plus ``weight`` (H, W) x the grain of its brightness."""
    expect_shape("weight", weight, picture.shape[:2])
    if not model.sigma.any() or not weight.any():
        return picture.astype(np.float32)
    field = grain_field(model, picture.shape[:2], rng)
    return (picture + weight[..., None] * model.sigma_at(picture) * field).astype(np.float32)


Transfer = Callable[[Array], Array]


def grain_object(
    beauty: Array,
    alpha: Array,
    visible: Array,
    model: GrainModel,
    rng: np.random.Generator,
    *,
    to_display: Transfer,
    to_linear: Transfer,
) -> Array:
    """(H, W, 3) premultiplied linear ``beauty`` with the plate's grain: layers carry it, not the composite only.

    ``alpha`` and ``visible`` (H, W). What shows of the plate brings its own grain, in shadow too: where A = alpha x
    visible covers part of a pixel, the object's part is raised so that both, added in quadrature, make one grain.
    """
    coverage = alpha * visible
    rows, columns = np.flatnonzero((coverage > 0).any(1)), np.flatnonzero((coverage > 0).any(0))
    if len(rows) == 0 or not model.sigma.any():
        return beauty
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    part, share = coverage[box], alpha[box][..., None]
    colour = np.divide(beauty[box], share, out=np.zeros_like(beauty[box]), where=share > 1e-3)
    lacking = np.sqrt(np.clip(1 - (1 - part) ** 2, 0, 1))
    weight = np.minimum(np.divide(lacking, part, out=np.zeros_like(part), where=part > 1e-3), 2.0)
    grained = to_linear(add_grain(to_display(colour), weight, model, rng).clip(0.0, None))
    out = beauty.copy()
    out[box] = np.where(part[..., None] > 1e-3, grained * share, beauty[box])
    return out


# --- sharpness -----------------------------------------------------------------------------------------------------


def measure_blur_px(pictures: Iterable[Array], default_px: float = 0.6) -> float:
    """Gaussian sigma, in pixels, of the plate's sharpest edges; ``default_px`` when it has too few.

    An edge of a step blurred by a gaussian has the profile of a gaussian in its gradient: its sigma is
    (area under the profile) / (its peak) / sqrt(2 pi). The lower quartile over strong edges is what the lens resolves;
    the others are soft in the world, or out of focus. ``pictures`` (H, W, 3) linear or display-referred.
    """
    widths = np.concatenate([_edge_sigmas(np.asarray(picture, np.float32)) for picture in pictures])
    if len(widths) < LEAST_EDGES:
        return default_px
    return float(np.clip(np.percentile(widths, 25), BOX_SIGMA_PX, 4.0))


EDGE_REACH = 8
LEAST_EDGES = 30  # fewer say nothing about a frame's sharpness
LEAST_MOTION_PX = 3.0  # a frame, between the slowest and the fastest


def _edge_sigmas(picture: Array) -> Array:
    """(N,) sigma of axis-aligned strong edges, along rows and along columns."""
    grey = picture @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    return np.concatenate([_row_edge_sigmas(grey), _row_edge_sigmas(grey.T)])


def _row_edge_sigmas(grey: Array) -> Array:
    # Averaging along the edge lowers grain and leaves the profile across it alone.
    smooth = cv2.blur(np.ascontiguousarray(grey), (1, 5))
    gradient = smooth[:, 1:] - smooth[:, :-1]
    slope = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3)[:, 1:] / 8
    magnitude = np.abs(gradient)
    reach = EDGE_REACH
    core = magnitude[:, reach:-reach]
    if core.size == 0:
        return np.empty(0)
    peak = (core >= magnitude[:, reach - 1 : -reach - 1]) & (core > magnitude[:, reach + 1 : -reach + 1])
    upright = np.abs(slope[:, reach:-reach]) < 0.06 * core
    strong = core > max(0.04, float(np.percentile(core, 97)))
    rows, columns = np.nonzero(peak & upright & strong)
    if len(rows) > 4000:
        best = np.argsort(-core[rows, columns], kind="stable")[:4000]
        rows, columns = rows[best], columns[best]
    offsets = np.arange(-reach, reach + 1)
    profile = gradient[rows[:, None], columns[:, None] + reach + offsets]
    profile = profile * np.sign(profile[:, reach : reach + 1])
    height = profile[:, reach]
    # One step and flat sides: what lies beyond must not slope, or it is not an isolated edge.
    sides = np.abs(profile[:, [0, 1, 2, -3, -2, -1]]).max(1)
    isolated = sides < 0.12 * height
    if not isolated.any():
        return np.empty(0)
    return _profile_sigma(profile[isolated])


def _profile_sigma(profile: Array) -> Array:
    """(N,) sigma of gradient profiles by their second moment, without the width of the difference itself."""
    offsets = np.arange(-EDGE_REACH, EDGE_REACH + 1)
    mass = np.where(profile > 0.04 * profile[:, [EDGE_REACH]], profile, 0.0)
    # Only the run around the peak: ripples further out would dominate the moment.
    for step in (1, -1):
        alive = np.ones(len(mass), bool)
        for i in range(EDGE_REACH + step, EDGE_REACH + step * (EDGE_REACH + 1), step):
            alive &= mass[:, i] > 0
            mass[:, i] *= alive
    total = mass.sum(1)
    mean = (mass * offsets).sum(1) / total
    variance = (mass * (offsets - mean[:, None]) ** 2).sum(1) / total
    # The floor of 4 % cuts a gaussian at 2.54 sigma, which costs 3.7 % of its width.
    return 1.037 * np.sqrt(np.maximum(variance - 1 / 12, 0.0))


def match_sharpness(layer: Array, blur_sigma_px: float) -> Array:
    """A box-filtered render layer (H, W[, C]) with the plate's blur; its own width is subtracted in quadrature."""
    missing = blur_sigma_px**2 - BOX_SIGMA_PX**2
    if missing < 0.01:
        return layer
    return cv2.GaussianBlur(layer, (0, 0), float(np.sqrt(missing)), borderType=cv2.BORDER_REPLICATE)


# --- black and white points ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """Darkest and brightest code values (3,) that the plate reaches, in [0, 1]."""

    black: Array
    white: Array

    def limit(self, picture: Array) -> Array:
        """(H, W, 3) display-referred picture kept within the plate's own range."""
        return np.clip(picture, self.black, self.white).astype(np.float32)


def measure_range(pictures: Iterable[Array]) -> Range:
    """Robust black and white points of display-referred frames: the .05 and 99.95 percentiles, the widest of all."""
    points = np.array([np.percentile(picture.reshape(-1, 3), (0.05, 99.95), axis=0) for picture in pictures])
    return Range(points[:, 0].min(0), points[:, 1].max(0))


# --- shutter -------------------------------------------------------------------------------------------------------


def shutter_times(frame: float, shutter_deg: float, count: int) -> Array:
    """(count,) fractional frame numbers, the middles of equal parts of an exposure centred on ``frame``."""
    if count < 1:
        raise ValueError(f"count: expected >= 1, got {count}")
    return frame + shutter_deg / 360 * ((np.arange(count) + 0.5) / count - 0.5)


def measure_shutter_deg(frames: Iterable[tuple[Array, Array]], default_deg: float = 180.0) -> float:
    """Shutter angle from how much softer edges are where the picture moves across them.

    Each item is an (H, W, 3) display-referred frame and its typical motion (2,) in px a frame. An edge that moves m px
    across itself in a frame is smeared over a box of ``m * shutter / 360`` px, of variance a twelfth of its square, on
    top of the lens's own blur: a straight line through (m^2, sigma^2) has the slope we look for. ``default_deg`` when
    the camera never moves fast enough to tell.
    """
    motion2, sigma2 = [], []
    for picture, motion in frames:
        grey = np.asarray(picture, np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
        for plane, across in ((grey, motion[0]), (np.ascontiguousarray(grey.T), motion[1])):
            widths = _row_edge_sigmas(plane)
            if len(widths) >= LEAST_EDGES and abs(across) < 2 * EDGE_REACH:
                motion2.append(float(across) ** 2)
                sigma2.append(float(np.median(widths)) ** 2)
    if len(motion2) < 4 or max(motion2) - min(motion2) < LEAST_MOTION_PX**2:
        return default_deg
    x, y = np.array(motion2), np.array(sigma2)
    # Theil and Sen: the median slope over all pairs that differ enough; a few soft frames do not tilt it.
    dx, dy = np.subtract.outer(x, x), np.subtract.outer(y, y)
    apart = dx > 0.25 * (x.max() - x.min())
    slope = float(np.median(dy[apart] / dx[apart]))
    return float(np.clip(360 * np.sqrt(12 * max(slope, 0.0)), 0.0, 360.0))


def choose_shutter_samples(motion_px: float, shutter_deg: float = 180.0, most: int = 16) -> int:
    """Sub-frame samples so that none is more than about 1 px from the next; 1 when the blur would not be seen."""
    blur_px = motion_px * shutter_deg / 360
    return 1 if blur_px < 0.5 else int(np.clip(np.ceil(blur_px) + 1, 2, most))

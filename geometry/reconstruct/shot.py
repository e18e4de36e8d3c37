"""What kind of shot a clip is: locked off, a turn on the spot (pan), or one with parallax.

A turning camera moves every picture point by ``K R K^-1``, whatever its distance. So rotations and one focal length are
fitted to the tracks of spread-out frames, and the *residual is the classifier*: a fraction of a pixel when the camera
only turned, several pixels when it travelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from geometry.reconstruct.errors import TooFewFeatures, TooFewFrames
from geometry.reconstruct.tracks import Tracks

Array = np.ndarray

LOCKED_PX = 0.5  # compression noise and a tripod on a wooden floor move the picture this much
PAN_PX = 0.6
PAN_SHARE = 0.03  # a lens's distortion leaves a pan some 1 % of the motion; parallax leaves 20 % and more
MIN_COMMON = 30  # tracks two frames must share to be compared
POINTS_PER_PAIR = 60
SOFT_PX = 0.5
FOCAL_RATIOS = np.geomspace(0.4, 8.0, 61)  # f / max(W, H)


@dataclass(frozen=True)
class ShotAnalysis:
    kind: Literal["locked", "pan", "parallax"]
    motion_px: float  # median displacement of tracks over their shared life
    residual_px: float  # median, of the best rotation-only explanation
    focal_px: float | None  # of that explanation; None where nothing turned. A guess when there is parallax
    moving_share: float  # of tracks, that the explanation does not cover (movers, and parallax when there is any)


@dataclass(frozen=True)
class _Pair:
    """Positions (K, 2) of shared points, from the picture's middle, in frames ``a`` and ``b`` (indices)."""

    a: int
    b: int
    xy_a: Array
    xy_b: Array

    @property
    def motion_px(self) -> float:
        return float(np.median(np.linalg.norm(self.xy_b - self.xy_a, axis=1)))


def analyse_shot(tracks: Tracks, *, seed: int = 0) -> ShotAnalysis:
    """Raises ``TooFewFrames`` for one frame, ``TooFewFeatures`` where too little can be followed."""
    if len(tracks.frames) < 2:
        raise TooFewFrames(f"the clip has {len(tracks.frames)} frame", "At least 2 frames are needed, better 20")
    frames = _spread(tracks.frames, 25)
    pairs = _pairs(tracks, frames, np.random.default_rng([seed, 11]))
    if len(pairs) < 0.5 * (len(frames) - 1):
        raise TooFewFeatures(
            "too little of the picture can be followed from frame to frame",
            "Use frames that are sharp, lit, and show texture; trim cuts, fades and whip pans off the clip",
        )
    reach = {pair.a: pair for pair in pairs}  # the farthest partner of each frame comes last
    motion = float(np.median([pair.motion_px for pair in reach.values()]))
    if motion < LOCKED_PX:
        rest = np.concatenate([np.linalg.norm(p.xy_b - p.xy_a, axis=1) for p in reach.values()])
        return ShotAnalysis("locked", motion, motion, None, float((rest > 4 * LOCKED_PX).mean()))
    homographies = [_homography(pair) for pair in pairs]
    known = [(p, h) for p, h in zip(pairs, homographies, strict=True) if h is not None]
    focal = _focal([h for p, h in known if p.motion_px > 2], max(tracks.wh))
    focal, residuals = _fit_rotations(known, len(frames), focal)
    far = {p.a: r for (p, _), r in zip(known, residuals, strict=True)}
    spread = np.concatenate(list(far.values()))
    residual = float(np.median(spread))
    moving = float((spread > max(2.0, 4 * residual)).mean())
    turned_only = residual < PAN_PX or residual < min(3 * PAN_PX, PAN_SHARE * motion)
    return ShotAnalysis("pan" if turned_only else "parallax", motion, residual, focal, moving)


def _spread(frames: tuple[int, ...], count: int) -> list[int]:
    index = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    return [frames[i] for i in index]


def _pairs(tracks: Tracks, frames: list[int], rng: np.random.Generator) -> list[_Pair]:
    """Each frame with its neighbours at 1, 3 and the farthest steps that still share enough points."""
    middle = np.array(tracks.wh) / 2
    pairs = []
    for a, frame in enumerate(frames):
        alive = len(tracks.at(frame)[0])
        enough = max(MIN_COMMON, 0.25 * alive)
        reach = [b for b in range(a + 1, len(frames)) if len(tracks.common(frame, frames[b])[0]) >= enough]
        if not reach:
            continue
        for b in sorted({reach[0], min(a + 3, reach[-1]), reach[-1]}):
            _, xy_a, xy_b = tracks.common(frame, frames[b])
            if len(xy_a) >= MIN_COMMON:
                pairs.append(_Pair(a, b, xy_a - middle, xy_b - middle))
    return [_thinned(pair, rng) for pair in pairs]


def _thinned(pair: _Pair, rng: np.random.Generator) -> _Pair:
    keep = rng.permutation(len(pair.xy_a))[:4 * POINTS_PER_PAIR]
    return _Pair(pair.a, pair.b, pair.xy_a[keep], pair.xy_b[keep])


def _homography(pair: _Pair) -> Array | None:
    h, _ = cv2.findHomography(pair.xy_a, pair.xy_b, cv2.USAC_MAGSAC, 1.5, maxIters=2000, confidence=0.999)
    if h is None or np.linalg.det(h) <= 1e-9:
        return None
    return h / np.cbrt(np.linalg.det(h))


def _focal(homographies: list[Array], side_px: int) -> float:
    """The focal length that makes every ``K^-1 H K`` most nearly a rotation."""
    if not homographies:
        return 1.2 * side_px
    scores = []
    for ratio in FOCAL_RATIOS:
        k = np.diag([ratio * side_px, ratio * side_px, 1.0])
        turned = np.linalg.inv(k) @ np.stack(homographies) @ k
        off = turned @ np.swapaxes(turned, 1, 2) - np.eye(3)
        scores.append(np.median(np.linalg.norm(off, axis=(1, 2))))
    return float(FOCAL_RATIOS[int(np.argmin(scores))] * side_px)


def _fit_rotations(known: list[tuple[_Pair, Array]], count: int, focal: float) -> tuple[float, list[Array]]:
    """Soft-L1 adjustment of one rotation per frame and the focal length; also residuals (K,) px per pair."""
    a, b = np.array([p.a for p, _ in known]), np.array([p.b for p, _ in known])
    # The same number of points for every pair (a pair with fewer repeats some), so that pairs stack.
    pick = [np.arange(POINTS_PER_PAIR) % len(p.xy_a) for p, _ in known]
    xy_a = np.stack([p.xy_a[k] for (p, _), k in zip(known, pick, strict=True)])
    xy_b = np.stack([p.xy_b[k] for (p, _), k in zip(known, pick, strict=True)])
    rotations, f = _adjusted(a, b, xy_a, xy_b, _chained(known, count, focal), focal)
    residuals = [
        np.linalg.norm(_turned(rotations[p.b] @ rotations[p.a].T, f, p.xy_a) - p.xy_b, axis=1) for p, _ in known
    ]
    return f, residuals


def _adjusted(a: Array, b: Array, xy_a: Array, xy_b: Array, start: Array, focal: float) -> tuple[Array, float]:
    """Levenberg-Marquardt over rotations (N, 3, 3), the first held, and focal length; (P, K, 2) positions per pair."""

    def cost(rotations: Array, f: float) -> float:
        off = _turned(rotations[b] @ np.swapaxes(rotations[a], 1, 2), f, xy_a) - xy_b
        return float(np.sqrt(1 + (off**2).sum(-1) / SOFT_PX**2).sum())

    rotations, f, damping = start, focal, 1e-3
    best = cost(rotations, f)
    for _ in range(40):
        normal, gradient = _normal_equations(a, b, xy_a, xy_b, rotations, f)
        step = np.zeros(len(gradient))
        free = np.arange(3, len(gradient))
        damped = normal[np.ix_(free, free)] + damping * np.diag(np.diag(normal)[free] + 1e-9)
        step[free] = -np.linalg.solve(damped, gradient[free])
        turned = Rotation.from_rotvec(step[:-1].reshape(-1, 3)).as_matrix() @ rotations
        longer = f * float(np.exp(np.clip(step[-1], -0.3, 0.3)))
        # A rotation cannot tell a focal length that is far from what a lens has.
        value = cost(turned, longer) if 0.3 * focal < longer < 3.5 * focal else np.inf
        if value < best:
            gain, rotations, f, best, damping = best - value, turned, longer, value, damping / 5
            if gain < 1e-6 * best:
                break
        elif damping > 1e6:
            break
        else:
            damping *= 8
    return rotations, f


def _normal_equations(
    a: Array, b: Array, xy_a: Array, xy_b: Array, rotations: Array, f: float
) -> tuple[Array, Array]:
    """Of the soft-L1 cost by (rotation vectors of all frames, log f)."""
    b_from_a = rotations[b] @ np.swapaxes(rotations[a], 1, 2)
    rays = np.concatenate([xy_a / f, np.ones((*xy_a.shape[:-1], 1))], -1)
    out = rays @ np.swapaxes(b_from_a, 1, 2)
    z = np.maximum(out[..., 2], 1e-3)
    moved = f * out[..., :2] / z[..., None]
    off = moved - xy_b
    weight = 1 / np.sqrt(1 + (off**2).sum(-1) / SOFT_PX**2)
    project = np.zeros((*z.shape, 2, 3))
    project[..., 0, 0] = project[..., 1, 1] = f / z
    project[..., 2] = -moved / z[..., None]
    # exp(w_b) out = out - [out]x w_b, and out moves by R [ray]x w_a when frame a turns by w_a.
    by_b = -project @ _cross(out)
    by_a = project @ b_from_a[:, None] @ _cross(rays)
    by_f = (_turned(b_from_a, f * (1 + 1e-5), xy_a) - moved)[..., None] / 1e-5
    jacobian = np.concatenate([by_a, by_b, by_f], -1)  # (P, K, 2, 7)
    weighted = jacobian * weight[..., None, None]
    blocks = np.einsum("pkri,pkrj->pij", weighted, jacobian)
    sides = np.einsum("pkri,pkr->pi", weighted, off)
    size = 3 * len(rotations) + 1
    axes = np.arange(3)
    index = np.concatenate([3 * a[:, None] + axes, 3 * b[:, None] + axes, np.full((len(a), 1), size - 1)], 1)
    normal, gradient = np.zeros((size, size)), np.zeros(size)
    np.add.at(normal, (index[:, :, None], index[:, None, :]), blocks)
    np.add.at(gradient, index, sides)
    return normal, gradient


def _cross(v: Array) -> Array:
    """(..., 3) to the (..., 3, 3) matrix of ``v x``."""
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    return np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)


def _chained(known: list[tuple[_Pair, Array]], count: int, focal: float) -> Array:
    """(count, 3, 3) rotations to start from, chained over the pairs by breadth."""
    k = np.diag([focal, focal, 1.0])
    rotations = np.tile(np.eye(3), (count, 1, 1))
    seen = {0}
    for pair, h in sorted(known, key=lambda item: (item[0].a, item[0].b)):
        if pair.a in seen and pair.b not in seen:
            u, _, vt = np.linalg.svd(np.linalg.inv(k) @ h @ k)
            rotations[pair.b] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt @ rotations[pair.a]
            seen.add(pair.b)
    return rotations


def _turned(b_from_a: Array, focal: float, xy: Array) -> Array:
    """(..., K, 2) positions after the camera turned by (..., 3, 3)."""
    rays = np.concatenate([xy / focal, np.ones((*xy.shape[:-1], 1))], -1)
    out = rays @ np.swapaxes(b_from_a, -1, -2)
    return focal * out[..., :2] / np.maximum(out[..., 2:], 1e-3)

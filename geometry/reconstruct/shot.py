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
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from geometry.reconstruct.errors import TooFewFeatures, TooFewFrames
from geometry.reconstruct.tracks import Tracks

Array = np.ndarray

LOCKED_PX = 0.5  # compression noise and a tripod on a wooden floor move the picture this much
PAN_PX = 0.6
PAN_SHARE = 0.03  # a lens's distortion leaves a pan some 1 % of the motion; parallax leaves 20 % and more
MIN_COMMON = 30  # tracks two frames must share to be compared
POINTS_PER_PAIR = 60
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
    start = _chained(known, count, focal)
    part = [(p.a, p.b, p.xy_a[:POINTS_PER_PAIR], p.xy_b[:POINTS_PER_PAIR]) for p, _ in known]
    a = np.concatenate([np.full(len(xa), i) for i, _, xa, _ in part])
    b = np.concatenate([np.full(len(xa), j) for _, j, xa, _ in part])
    xy_a = np.concatenate([xa for _, _, xa, _ in part])
    xy_b = np.concatenate([xb for _, _, _, xb in part])

    def residual(parameters: Array) -> Array:
        f, rotations = _unpacked(parameters, start)
        return (_turned(rotations[b] @ np.swapaxes(rotations[a], 1, 2), f, xy_a) - xy_b).ravel()

    x0 = np.concatenate([[np.log(focal)], np.zeros(3 * (count - 1))])
    bounds = (np.r_[np.log(focal) - 1.2, np.full(len(x0) - 1, -1.0)], np.r_[np.log(focal) + 1.2, np.full(len(x0) - 1, 1.0)])
    fit = least_squares(residual, x0, loss="soft_l1", f_scale=0.5, x_scale="jac", max_nfev=25, bounds=bounds)
    f, rotations = _unpacked(fit.x, start)
    residuals = []
    for pair, _ in known:
        b_from_a = rotations[pair.b] @ rotations[pair.a].T
        moved = _turned(np.broadcast_to(b_from_a, (len(pair.xy_a), 3, 3)), f, pair.xy_a)
        residuals.append(np.linalg.norm(moved - pair.xy_b, axis=1))
    return f, residuals


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


def _unpacked(parameters: Array, start: Array) -> tuple[float, Array]:
    small = np.concatenate([np.zeros((1, 3)), parameters[1:].reshape(-1, 3)])
    return float(np.exp(parameters[0])), Rotation.from_rotvec(small).as_matrix() @ start


def _turned(b_from_a: Array, focal: float, xy: Array) -> Array:
    rays = np.concatenate([xy / focal, np.ones((len(xy), 1))], 1)
    out = (b_from_a @ rays[..., None])[..., 0]
    return focal * out[:, :2] / np.maximum(out[:, 2:], 1e-3)

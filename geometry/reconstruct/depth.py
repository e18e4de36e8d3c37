"""Dense depth of a static scene from known cameras; needs no weights.

Inverse depth ``q = 1 / z`` throughout. For each frame:

1. dense flow to a few frames at useful baselines is triangulated and fused robustly (``triangulate_views``);
2. a plane sweep at half size (``sweep_planes``) sees what flow drags along: thin, near and fast things;
3. where the two agree, and at sparse points, a plane is fitted around every pixel along the picture's regions
   (``fill_planar``);
4. each pixel chooses among all these and the nearer and farther depths beside it, by what the pictures say
   (``snap_edges``): depth edges land on the picture's;
5. a second pass keeps what other frames confirm and takes the median over them.

All of it on the undistorted (pinhole) working raster, delivered on the lens's raster. Results do not depend on the
number of threads: dense flow, whose blocks follow the thread count, is run on one thread per flow.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera, LensWarp
from geometry.reconstruct.pair import Pair, Triangulation
from geometry.scene import DepthMap, FrameSource, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DepthSettings:
    sources_per_side: int = 3
    baseline_share: tuple[float, float] = (0.03, 0.15)  # of the median depth, nearest and farthest source
    min_overlap: float = 0.6  # of the picture that a source must share
    flow_blur_px: float = 1.0  # grain would be followed as if it were texture
    flow_noise_px: float = 0.15
    texture_levels: float = 2.0  # grey levels per px along the epipolar line where depth counts as half seen
    snap_radii_px: tuple[int, ...] = (3, 7)
    sweep_planes: int = 40  # at half size
    sweep_views_per_side: int = 2  # the farthest in time: wide baselines tell planes apart
    sweep_radius_px: int = 3  # of the support there
    min_support: float = 0.12  # below, a pixel takes its neighbours' depth
    min_agreement: float = 0.1  # the same, after the second pass
    confirm_share: float = 0.02
    fill_lambda: float = 300.0
    fill_sigma: float = 3.0
    cached_bytes: int = 256 << 20


@dataclass(frozen=True)
class RawDepth:
    """First pass, on the pinhole raster: ``q`` > 0 everywhere, ``confidence`` in [0, 1]."""

    q: Array
    confidence: Array


class DepthFolder:
    """Depth maps as files, one .npz per frame: a ``DepthSource`` that can be written to."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def write(self, frame: int, depth: DepthMap) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        confidence = np.round(depth.confidence * 255).astype(np.uint8)
        np.savez(self.path / f"{frame:06d}.npz", depth=depth.depth.astype(np.float32), confidence=confidence)

    def read(self, frame: int) -> DepthMap:
        """Raises ``KeyError`` for a frame that has no map."""
        path = self.path / f"{frame:06d}.npz"
        if not path.exists():
            raise KeyError(f"frame {frame} has no depth map")
        with np.load(path) as data:
            return DepthMap(data["depth"], data["confidence"].astype(np.float32) / 255)

    def __contains__(self, frame: int) -> bool:
        return (self.path / f"{frame:06d}.npz").exists()


class DepthSolver:
    """Depth of the frames of ``cameras``. ``raw`` is pass one; ``fused`` needs ``raw`` of the neighbours on file."""

    def __init__(
        self, clip: FrameSource, cameras: CameraPath, points: SparsePoints, *, settings: DepthSettings | None = None
    ) -> None:
        self.clip, self.cameras = clip, cameras
        self.settings = settings or DepthSettings()
        good = (points.error_px < 1.5) & np.isfinite(points.xyz).all(1)
        self.points = points.xyz[good]
        self._warps: dict[Camera, LensWarp] = {}
        self._pictures = _Cache(self.settings.cached_bytes // 2)
        self._raws = _Cache(self.settings.cached_bytes // 2)
        self._median_depth = self._depth_scale()

    # -- geometry of the choice

    def _depth_scale(self) -> float:
        frames = self.cameras.frames[:: max(1, len(self.cameras) // 12)]
        depths = [self._visible(frame)[1] for frame in frames]
        seen = np.concatenate(depths)
        if not len(seen):
            raise ValueError("points: expected some that the cameras see, got none")
        return float(np.median(seen))

    def _visible(self, frame: int) -> tuple[Array, Array]:
        """Pixels (K, 2) on the pinhole raster and depths (K,) of the sparse points that ``frame`` could see."""
        camera = self.warp(frame).pinhole
        local = rigid.transform(self.cameras.pose(frame), self.points)
        px = camera.px_from_cam(local)
        inside = (local[:, 2] > 0) & (px >= 0).all(1) & (px < camera.wh).all(1)
        return px[inside], local[inside, 2]

    def sources(self, frame: int) -> list[int]:
        """Frames to compare ``frame`` with: both sides in time, baselines spread over the wanted range."""
        index, s = self.cameras.index(frame), self.settings
        centres, axes = self.cameras.centres, self.cameras.view_directions
        _, depths = self._visible(frame)
        scale = float(np.median(depths)) if len(depths) > 20 else self._median_depth
        baseline = np.linalg.norm(centres - centres[index], axis=1) / scale
        overlaps = axes @ axes[index] > np.cos(np.deg2rad(20))
        chosen: list[int] = []
        for side in (range(index - 1, -1, -1), range(index + 1, len(centres))):
            usable = [i for i in side if overlaps[i]]
            chosen += _spread_baselines(usable, baseline, s.baseline_share, s.sources_per_side)
        return [self.cameras.frames[i] for i in sorted(chosen)]

    def warp(self, frame: int) -> LensWarp:
        lens = self.cameras.camera(frame)
        if lens not in self._warps:
            self._warps[lens] = LensWarp.of(lens)
        return self._warps[lens]

    # -- pictures and flow, kept for as long as they are likely to be needed again

    def picture(self, frame: int) -> Array:
        """(H, W, 3) uint8, undistorted."""
        return self._pictures.get(frame, lambda: self._undistorted(frame))

    def _undistorted(self, frame: int) -> Array:
        warp = self.warp(frame)
        picture = self.clip.display(frame, warp.lens.wh)
        if warp.pinhole.wh == warp.lens.wh:
            return picture
        # Beyond the lens's picture its edge goes on, so that filters see no black frame.
        grid = (warp.lens_px_from_pinhole - 0.5).astype(np.float32)
        return cv2.remap(picture, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def grey(self, frame: int) -> Array:
        return self._pictures.get((frame, "grey"), lambda: cv2.cvtColor(self.picture(frame), cv2.COLOR_RGB2GRAY))

    def _flows(self, frame: int, sources: Sequence[int]) -> list[Array]:
        """Dense flow ``source_from_frame`` (H, W, 2) for each source."""
        blurred = {n: cv2.GaussianBlur(self.grey(n), (0, 0), self.settings.flow_blur_px) for n in (frame, *sources)}
        with _one_opencv_thread(), ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda n: _dense_flow(blurred[frame], blurred[n]), sources))

    # -- pass one

    def raw(self, frame: int) -> RawDepth:
        """Depth from this frame and its sources alone."""
        s = self.settings
        sources = self.sources(frame)
        pairs = [self._pair(frame, other) for other in sources]
        guide = self._guide(frame)
        grey = self.grey(frame)
        flows = self._flows(frame, sources)
        seen = triangulate_views(grey, pairs, flows, 1 / self._median_depth, s)
        sides = ([k for k, n in enumerate(sources) if n < frame], [k for k, n in enumerate(sources) if n > frame])
        pictures = [self.grey(n) for n in sources]
        farthest = (sides[0][: s.sweep_views_per_side], sides[1][-s.sweep_views_per_side :])
        swept = sweep_planes(grey, pictures, pairs, farthest, *self._q_range(frame), s)
        # Beside an occluder flow is dragged along; two ways that agree are right, one alone hardly spreads.
        agree = np.abs(seen.q - swept) < 0.04 * swept
        spreading = np.where(agree, np.maximum(seen.weight, 0.3 * seen.texture), 0.02 * seen.weight)
        prior = self._filled(guide, seen.q, spreading, frame)
        snapped = snap_edges(grey, pictures, pairs, sides, np.where(seen.weight > 0, seen.q, prior), (prior, swept), s)
        by_flow = seen.weight * (np.abs(snapped.q - seen.q) < 0.02 * snapped.q)
        by_sweep = 0.6 * seen.texture * (np.abs(snapped.q - swept) < 0.03 * snapped.q)
        confidence = np.maximum(by_flow, by_sweep) * snapped.support
        # One more fill: unsupported pixels follow their supported neighbours along the picture's edges.
        filled = self._filled(guide, snapped.q, np.minimum(confidence, 0.3), frame)
        mixed = confidence * snapped.q + (1 - confidence) * filled
        # Between two surfaces there is nothing: where the two differ, it is one or the other.
        chosen = np.where(confidence > s.min_support, snapped.q, filled)
        q = np.where(np.abs(snapped.q - filled) > 0.05 * snapped.q, chosen, mixed)
        return RawDepth(q.astype(np.float32), (confidence * seen.credible).astype(np.float32))

    def _q_range(self, frame: int) -> tuple[float, float]:
        """Inverse depths that the sparse points of ``frame`` lie between, with some room."""
        _, depth = self._visible(frame)
        if len(depth) < 20:
            return 0.2 / self._median_depth, 4 / self._median_depth
        near, far = np.percentile(depth, [0.5, 99.5])
        return 0.7 / far, 1.4 / near

    def _pair(self, frame: int, other: int) -> Pair:
        return Pair.between(self.warp(frame).pinhole, self.cameras.pose(frame),
                            self.warp(other).pinhole, self.cameras.pose(other))

    def _guide(self, frame: int) -> Array:
        """Grain would wall every pixel in, and a wide tolerance for it would leak over real edges: it is taken out."""
        return cv2.bilateralFilter(self.picture(frame), 7, 30, 3)

    def _filled(self, guide: Array, q: Array, weight: Array, frame: int) -> Array:
        """``q`` spread from where ``weight`` is, and from the sparse points, along the picture's smooth regions."""
        px, depth = self._visible(frame)
        weight = weight.astype(np.float32) + np.float32(1e-6)
        total = weight * q
        column, row = px[:, 0].astype(int), px[:, 1].astype(int)
        total[row, column] += (0.5 / depth).astype(np.float32)
        weight[row, column] += np.float32(0.5)
        smooth = cv2.ximgproc.createFastGlobalSmootherFilter(guide, self.settings.fill_lambda, self.settings.fill_sigma)
        out = fill_planar(smooth.filter, total / weight, weight)
        bounds = 1 / depth if len(depth) else np.array([1 / self._median_depth])
        return np.clip(out, 0.3 * bounds.min(), 3 * bounds.max()).astype(np.float32)

    # -- pass two

    def fused(self, frame: int, raw: Callable[[int], RawDepth]) -> DepthMap:
        """Median over what other frames confirm, on the lens's raster; ``raw`` gives the first pass of any frame."""
        s = self.settings
        own = self._raws.get(frame, partial(raw, frame))
        near = [self.cameras.frames[i] for i in (self.cameras.index(frame) + d for d in (-2, -1, 1, 2))
                if 0 <= i < len(self.cameras)]
        others = sorted(set(self.sources(frame)) | set(near))
        stack, votes, seen = [own.q], np.zeros_like(own.q), np.zeros_like(own.q)
        for other in others:
            theirs = self._raws.get(other, partial(raw, other))
            pair = self._pair(frame, other)
            sampled = pair.sample(theirs.q, own.q, interpolation=cv2.INTER_NEAREST)
            trust = pair.sample(theirs.confidence, own.q)
            # Their depth of the point, brought back along our ray: z_s = (a + q b) / q, so q = a / (z_s - b).
            theirs_z = np.float32(1) / np.maximum(sampled, 1e-12)
            back = pair.a[..., 2] / np.where(theirs_z > pair.b[2], theirs_z - pair.b[2], np.nan)
            agrees = (np.abs(back - own.q) < s.confirm_share * own.q) & (sampled > 0)
            visible = (sampled > 0) & ~(back > own.q * (1 + 2 * s.confirm_share))  # not hidden by something nearer
            stack.append(np.where(agrees, back, np.nan))
            votes += np.where(agrees, 0.3 + 0.7 * trust, 0)
            seen += visible
        with np.errstate(all="ignore"):
            q = _nan_median(np.stack(stack))
        agreement = np.clip((votes - 0.5) / np.clip(0.5 * seen, 1.0, 3.0), 0, 1)
        confidence = np.sqrt(own.confidence * agreement) * _away_from_edges(q)
        # What moves, or nothing confirms, takes what is around it: a steady guess instead of a flickering one.
        doubtful = agreement < s.min_agreement
        filled = self._filled(self._guide(frame), q, np.where(doubtful, 0, np.minimum(agreement, 0.3)), frame)
        return self._delivered(frame, np.where(doubtful, filled, q), confidence)

    def _delivered(self, frame: int, q: Array, confidence: Array) -> DepthMap:
        warp = self.warp(frame)
        if warp.pinhole.wh != warp.lens.wh:
            linear = warp.distort(q)
            nearest = warp.distort(q, interpolation=cv2.INTER_NEAREST)
            # Across a depth edge an average is a place where nothing is.
            q = np.where(np.abs(linear - nearest) < 0.01 * nearest, linear, nearest)
            confidence = warp.distort(confidence)
        depth = np.where(q > 0, 1 / np.maximum(q, 1e-12), 0).astype(np.float32)
        return DepthMap(depth, np.clip(confidence, 0, 1).astype(np.float32))


def solve_depth(solver: DepthSolver, folder: DepthFolder, workdir: Path, progress: Progress | None = None) -> None:
    """Both passes for all frames, with bounded memory; frames that ``folder`` holds already are left as they are."""
    frames = solver.cameras.frames
    workdir.mkdir(parents=True, exist_ok=True)
    files = {frame: workdir / f"raw_{frame:06d}.npz" for frame in frames}
    for done, frame in enumerate(frames):
        if not files[frame].exists():
            _write_raw(files[frame], solver.raw(frame))
        if progress is not None:
            progress(done + 1, 2 * len(frames))
    for done, frame in enumerate(frames):
        if frame not in folder:
            folder.write(frame, solver.fused(frame, lambda n: _read_raw(files[n])))
        if progress is not None:
            progress(len(frames) + done + 1, 2 * len(frames))
    for path in files.values():
        path.unlink(missing_ok=True)


def _write_raw(path: Path, raw: RawDepth) -> None:
    np.savez(path, q=raw.q, confidence=np.round(raw.confidence * 255).astype(np.uint8))


def _read_raw(path: Path) -> RawDepth:
    with np.load(path) as data:
        return RawDepth(data["q"], data["confidence"].astype(np.float32) / 255)


# --- one frame ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FusedViews:
    """``q`` and ``weight`` (H, W): weight is 1 - 10 x the expected relative error, 0 where nothing is known."""

    q: Array
    weight: Array
    texture: Array  # in [0, 1]: is there anything that could tell depth
    credible: Array  # in [0, 1]: the same, with what grain alone would look like taken off


def triangulate_views(
    grey: Array, pairs: Sequence[Pair], flows: Sequence[Array], typical_q: float, s: DepthSettings
) -> FusedViews:
    """Robust inverse-variance mean over the views of what flow triangulates to."""
    views = [pair.triangulate(flow) for pair, flow in zip(pairs, flows, strict=True)]
    weights = [_view_weight(view, flow, s) for view, flow in zip(views, flows, strict=True)]
    qs, ws = np.stack([view.q for view in views]), np.stack(weights)
    ws *= (qs > 0.02 * typical_q) & (qs < 50 * typical_q)
    q = _weighted_median(qs, ws)
    for _ in range(2):
        spread = (qs - q) / np.maximum(q, 1e-9)
        robust = ws / (1 + (spread / 0.02) ** 2)
        total = robust.sum(0)
        q = np.where(total > 0, (robust * qs).sum(0) / np.maximum(total, 1e-12), q)
    spread2 = (robust * ((qs - q) / np.maximum(q, 1e-9)) ** 2).sum(0) / np.maximum(total, 1e-12)
    # ``ws`` are inverse variances of q: the relative error they promise, and the one the views' spread shows.
    promised2 = 1 / np.maximum(total * q * q, 1e-12)
    agreeing = (robust > 0.3 * ws).sum(0) * (total > 0)
    relative = np.sqrt(promised2 + spread2 / 2) + np.where(agreeing < 2, 0.1, 0)
    texture = _texture_along_lines(grey, views)
    seen = texture / (texture + s.texture_levels**2)
    # White noise of unit deviation leaves a mean square of 0.021: what grain makes is no texture.
    real = np.maximum(texture - 0.021 * grain_level(grey) ** 2, 0)
    credible = real / (real + 0.25 * s.texture_levels**2)
    weight = np.clip(1 - 10 * relative, 0, 1) * seen
    return FusedViews(q.astype(np.float32), weight.astype(np.float32), seen, credible)


def _view_weight(view: Triangulation, flow: Array, s: DepthSettings) -> Array:
    """Inverse variance of one view's q; nearly 0 where the match is wrong, outside, or on something mobile."""
    h, w = flow.shape[:2]
    x, y = flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    inside = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    return inside * np.exp(-(view.across_px**2)) * (view.px_per_q / s.flow_noise_px) ** 2


def _texture_along_lines(grey: Array, views: Sequence[Triangulation]) -> Array:
    """Mean square gradient, grey levels per px, along the epipolar lines: only that can tell depth."""
    smooth = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 1.0)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 32)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 32)
    total = sum((gx * v.direction_x + gy * v.direction_y) ** 2 for v in views) / len(views)
    return cv2.boxFilter(total, -1, (9, 9))


def grain_level(grey: Array) -> float:
    """Deviation of white noise in grey levels (Immerkaer 1996), from the quietest part of the picture."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey.astype(np.float32), -1, kernel))
    return float(np.percentile(response, 25) / 0.3186 / 6)


def fill_planar(smooth: Callable[[Array], Array], q: Array, weight: Array) -> Array:
    """``q`` (H, W) fitted around every pixel by a plane, over the support of the edge-aware filter ``smooth``.

    The inverse depth of a plane is linear in the pixel, so a first-order fit goes on where floors and walls go on;
    a second, reweighted fit forgets what does not belong to the plane.
    """
    h, w = q.shape
    x = np.broadcast_to(np.linspace(-1, 1, w, dtype=np.float32), (h, w))
    y = np.broadcast_to(np.linspace(-h / w, h / w, h, dtype=np.float32)[:, None], (h, w))
    ridge = np.float32((8 / w) ** 2)
    fit = q
    for robust in (False, True):
        part = weight / (1 + ((q - fit) / (0.03 * np.maximum(fit, 1e-12))) ** 2) if robust else weight
        part = (part + 1e-9).astype(np.float32)
        total = np.maximum(smooth(part), 1e-12)
        mx, my, mq = (smooth(part * v) / total for v in (x, y, q))
        xx, xy, yy = (smooth(part * v) / total for v in (x * x, x * y, y * y))
        xq, yq = (smooth(part * v) / total for v in (x * q, y * q))
        xx, yy, xy = np.maximum(xx - mx * mx, 0) + ridge, np.maximum(yy - my * my, 0) + ridge, xy - mx * my
        xq, yq = xq - mx * mq, yq - my * mq
        determinant = np.maximum(xx * yy - xy * xy, ridge * ridge)
        slope_x, slope_y = (yy * xq - xy * yq) / determinant, (xx * yq - xy * xq) / determinant
        # Little farther out than the support: a slope is known only there.
        dx, dy = (np.clip(v, -1.5 * np.sqrt(s), 1.5 * np.sqrt(s)) for v, s in ((x - mx, xx), (y - my, yy)))
        fit = np.clip(mq + slope_x * dx + slope_y * dy, 0.75 * mq, 1.35 * mq)
    return fit


def sweep_planes(
    grey: Array, pictures: Sequence[Array], pairs: Sequence[Pair], sides: tuple[Sequence[int], Sequence[int]],
    low: float, high: float, s: DepthSettings,
) -> Array:
    """(H, W) inverse depth that looks best among planes from ``low`` to ``high`` (Collins 1996), at half size.

    It needs no flow, so it holds where things are thin, near, and move far between frames.
    """
    h, w = grey.shape
    half = (w // 2, h // 2)
    small = cv2.resize(grey, half, interpolation=cv2.INTER_AREA)
    reference = _appearance(small)
    looks = [_appearance(cv2.resize(p, half, interpolation=cv2.INTER_AREA)) for p in pictures]
    halved = [pair.resized(half) for pair in pairs]
    qs = np.linspace(low, high, s.sweep_planes).astype(np.float32)

    def cost_of(q: float) -> Array:
        cost = _photometric(reference, looks, halved, sides, np.full(reference.shape[:2], q, np.float32), 25.0)
        return cv2.ximgproc.guidedFilter(small, cost, s.sweep_radius_px, 40.0)

    with ThreadPoolExecutor(2) as pool:
        costs = np.stack(list(pool.map(cost_of, qs)))
    best = costs.argmin(0)
    inner = np.clip(best, 1, len(qs) - 2)[None]
    before, at, after = (np.take_along_axis(costs, inner + d, 0)[0] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    offset = np.where(bend > 1e-6, 0.5 * (before - after) / np.maximum(bend, 1e-6), 0)
    q = qs[0] + (inner[0] + np.clip(offset, -0.5, 0.5)) * (qs[1] - qs[0])
    return cv2.resize(cv2.medianBlur(q.astype(np.float32), 3), (w, h), interpolation=cv2.INTER_NEAREST)


@dataclass(frozen=True)
class Snapped:
    q: Array
    support: Array  # (H, W) in [0, 1]: how well the pictures agree at q


def snap_edges(
    grey: Array, pictures: Sequence[Array], pairs: Sequence[Pair], sides: tuple[Sequence[int], Sequence[int]],
    q: Array, others: Sequence[Array], s: DepthSettings,
) -> Snapped:
    """Choose per pixel between its own depth and the nearest and farthest around it, by what the pictures say.

    A pixel beside an occluder is hidden from the views of one side: the better side (before or after in time) counts.
    """
    smooth = cv2.medianBlur(q, 5)
    candidates = [q, *others]
    for radius in s.snap_radii_px:
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        candidates += [cv2.dilate(smooth, kernel), cv2.erode(smooth, kernel)]
    reference = _appearance(grey)
    looks = [_appearance(picture) for picture in pictures]
    noise = GRAIN_COST * grain_level(grey)
    def cost_of(number: int) -> Array:
        cost = _photometric(reference, looks, pairs, sides, candidates[number], 25.0)
        cost = cv2.ximgproc.guidedFilter(grey, cost, 3, 30.0)
        # Its own depth wins ties, and a change must pay: else noise speckles what is flat.
        return cost + np.float32(0.0 if number == 0 else 0.6)

    best_cost, best_q = np.full(q.shape, np.inf, np.float32), q
    with ThreadPoolExecutor(2) as pool:
        for candidate, cost in zip(candidates, pool.map(cost_of, range(len(candidates))), strict=True):
            better = cost < best_cost
            best_cost, best_q = np.where(better, cost, best_cost), np.where(better, candidate, best_q)
    snapped = cv2.medianBlur(best_q.astype(np.float32), 5)
    # Resampling alone costs a share of the local contrast; what is more than that is disagreement.
    contrast = cv2.boxFilter(np.abs(reference[..., 1]) + np.abs(reference[..., 2]), -1, (9, 9))
    support = 1 / (1 + (np.maximum(best_cost - 2.0 - 0.4 * noise, 0) / (4.0 + 0.4 * contrast)) ** 2)
    return Snapped(snapped, support.astype(np.float32))


def _appearance(grey: Array) -> Array:
    """(H, W, 3) float32: brightness and its two gradients, weighted to be compared by absolute difference."""
    smooth = grey.astype(np.float32)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0, scale=1 / 16)
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1, scale=1 / 16)
    return np.dstack([0.5 * smooth, gx, gy])


SUM = np.ones((1, 3), np.float32)
GRAIN_COST = 2.7  # what grain of unit deviation adds to the difference of two appearances


def _photometric(
    reference: Array, looks: Sequence[Array], pairs: Sequence[Pair], sides: tuple[Sequence[int], Sequence[int]],
    q: Array, limit: float,
) -> Array:
    """Mean absolute difference of appearance on the better side, at most ``limit``."""
    costs = []
    for side in sides:
        if not side:
            continue
        total = np.zeros(q.shape, np.float32)
        for k in side:
            seen = pairs[k].sample(looks[k], q, border=1e4)
            total += np.minimum(cv2.transform(cv2.absdiff(seen, reference), SUM), np.float32(limit))
        costs.append(total / len(side))
    return costs[0] if len(costs) == 1 else np.minimum(costs[0], costs[1])


# --- small pieces ------------------------------------------------------------------------------------------------


def _spread_baselines(usable: list[int], baseline: Array, wanted: tuple[float, float], count: int) -> list[int]:
    """Up to ``count`` of ``usable`` (nearest in time first), baselines spread geometrically over ``wanted``."""
    if not usable:
        return []
    chosen: list[int] = []
    for target in np.geomspace(*wanted, count):
        rest = [i for i in usable if i not in chosen]
        if rest:
            chosen.append(min(rest, key=lambda i: (abs(np.log((baseline[i] + 1e-9) / target)), i)))
    return chosen


def _dense_flow(a: Array, b: Array) -> Array:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return dis.calc(a, b, np.zeros((*a.shape, 2), np.float32))


def _weighted_median(values: Array, weights: Array) -> Array:
    """Along axis 0; 0 where no weight is."""
    order = np.argsort(values, axis=0)
    values, weights = np.take_along_axis(values, order, 0), np.take_along_axis(weights, order, 0)
    cumulated = np.cumsum(weights, 0)
    index = (cumulated < 0.5 * cumulated[-1]).sum(0)
    index = np.minimum(index, len(values) - 1)
    return np.take_along_axis(values, index[None], 0)[0] * (cumulated[-1] > 0)


def _away_from_edges(q: Array) -> Array:
    """Factor below 1 within two pixels of a depth edge: which side such a pixel belongs to is a toss-up."""
    kernel = np.ones((5, 5), np.uint8)
    jump = cv2.dilate(q, kernel) - cv2.erode(q, kernel)
    return np.where(jump > 0.1 * q, np.float32(0.5), np.float32(1))


def _nan_median(stack: Array) -> Array:
    """Lower median along axis 0 of what is not nan; row 0 is never nan."""
    ordered = np.sort(stack, axis=0)  # nan sorts last
    middle = (np.isfinite(stack).sum(0) - 1) // 2
    return np.take_along_axis(ordered, middle[None], 0)[0]


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


class _Cache:
    """Arrays (or ``RawDepth``), least recently used first out, up to a number of bytes."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit, self.held = limit_bytes, 0
        self.items: OrderedDict[object, Any] = OrderedDict()

    def get(self, key: object, make: Callable[[], Any]) -> Any:
        if key not in self.items:
            self.put(key, make())
        self.items.move_to_end(key)
        return self.items[key]

    def put(self, key: object, value: Any) -> None:
        self.items[key] = value
        self.held += _bytes_of(value)
        while self.held > self.limit and len(self.items) > 1:
            self.held -= _bytes_of(self.items.popitem(last=False)[1])


def _bytes_of(value: Any) -> int:
    return value.q.nbytes + value.confidence.nbytes if isinstance(value, RawDepth) else value.nbytes

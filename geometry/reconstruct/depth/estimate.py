"""Dense depth of a static scene from known cameras; needs no weights.

Inverse depth ``q = 1 / z`` throughout, all on the undistorted (pinhole) working raster. First pass, each frame alone,
at half size:

1. a plane sweep sees what flow drags along: thin, near and fast things (``appearance``);
2. dense flow to a few frames at useful baselines, sought around what the sweep and sparse points say, is triangulated
   and fused robustly (``flow_depth``);
3. where the two agree, and at sparse points, a plane is fitted around every pixel along the picture's regions
   (``fill``); the scene's large planes go on where pictures are blank (``planes``);
4. each pixel chooses among all these and the nearer and farther depths beside it, by what the pictures say.

Second pass: the median over what neighbouring frames confirm; then pixels choose again at full size, so that depth
edges land on the picture's. What moves neither votes nor is trusted, and gets depth 0 itself. Depth is delivered on
the lens's raster. Results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from geometry.reconstruct.depth.appearance import (
    Candidate,
    Choice,
    borders,
    choose,
    choose_planes,
    sweep_planes,
)
from geometry.reconstruct.depth.depth_views import Cache, DepthViews, ViewSettings, farthest, nearest
from geometry.reconstruct.depth.flow_depth import FLOW_REACH_PX, TEXTURE_LEVELS, FlowDepth, one_opencv_thread
from geometry.reconstruct.depth.framed import behind_planes, behind_rims
from geometry.reconstruct.depth.kernels import confirm, lower_median
from geometry.reconstruct.depth.planes import PlaneGuess, likely_planes
from geometry.scene import DepthMap, FrameSource, MotionSource, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray
Progress = Callable[[int, int], None]

GUESSED = 0.1  # confidence of the best of mere guesses
LEAST_AGREEMENT = 0.02
MOST_AT_ONCE = 8  # frames: each holds some 100 MB at 960 x 540


@dataclass(frozen=True)
class DepthSettings:
    views: ViewSettings = field(default_factory=ViewSettings)
    sweep_planes: int = 32
    sweep_views_per_side: int = 2  # the farthest in time: wide baselines tell planes apart
    edge_radii_px: tuple[int, ...] = (2, 4)  # at half size
    full_radii_px: tuple[int, ...] = (4,)
    full_views_per_side: int = 2
    choice_penalty: float = 0.6  # grey levels: a change must pay, else noise speckles what is flat
    min_support: float = 0.12  # below, a pixel takes its neighbours' depth
    min_agreement: float = 0.1  # the same, in the second pass
    confirm_share: float = 0.02
    cached_bytes: int = 128 << 20


@dataclass(frozen=True)
class RawDepth:
    """First pass at half size: ``q`` > 0 except where something moves, ``confidence`` in [0, 1]."""

    q: Array
    confidence: Array

    @property
    def nbytes(self) -> int:
        return self.q.nbytes + self.confidence.nbytes


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
    """Depth of the frames of ``cameras``. ``raw`` is pass one; ``fused`` needs ``raw`` of the neighbours.

    ``motion`` tells what moves by itself; without it everything is taken to stand still.
    """

    def __init__(
        self, clip: FrameSource, cameras: CameraPath, points: SparsePoints, *, motion: MotionSource | None = None,
        settings: DepthSettings | None = None,
    ) -> None:
        self.cameras, self.settings = cameras, settings or DepthSettings()
        self.views = DepthViews(clip, cameras, points, motion, self.settings.views)
        self._raws = Cache(self.settings.cached_bytes)

    # -- pass one

    def raw(self, frame: int) -> RawDepth:
        """Depth from this frame and its sources alone."""
        s, v = self.settings, self.views
        sources, filler, moving = v.sources(frame), v.filler(frame), v.half_moving(frame)
        nothing = np.zeros(v.half_wh(frame)[::-1], np.float32)
        if not sources:
            return _without(moving, RawDepth(filler.fill(nothing, nothing), nothing))
        views = v.half_comparison(frame, sources)
        apart = v.half_comparison(frame, farthest(frame, sources, s.sweep_views_per_side))
        swept = sweep_planes(apart, *v.q_range(frame), s.sweep_planes)
        guess = choose(views, [Candidate(filler.fill(nothing, nothing), 0), Candidate(swept, s.choice_penalty)]).q
        hints = _Hints.of(v.flow_depth(frame, sources, guess), swept, np.float32(1) if moving is None else ~moving)
        guesses = likely_planes(v.planes, v.plane_qs(frame), hints.q, hints.error, hints.spreading, filler.smooth)
        prior = filler.fill(hints.q, hints.spreading)
        own = np.where(hints.sure > 0, hints.q, prior)
        candidates = [Candidate(own, s.choice_penalty * (1 - hints.sure))]
        candidates += [Candidate(q, s.choice_penalty) for q in (prior, swept, *borders(own, s.edge_radii_px))]
        free = choose(views, candidates)
        choice = choose_planes(views, free, 1 - hints.confidence(free, ()), guesses)
        confidence = hints.confidence(choice, guesses)
        # One more fill: unsupported pixels follow their supported neighbours along the picture's edges.
        filled = filler.fill(choice.q, np.minimum(confidence, 0.3))
        mixed = confidence * choice.q + (1 - confidence) * filled
        # A guess near what is known is better than one far away, though neither is to be trusted.
        confidence = np.maximum(confidence, GUESSED * filler.known(confidence))
        # Between two surfaces there is nothing: where the two differ, it is one or the other.
        chosen = np.where(confidence > s.min_support, choice.q, filled)
        q = np.where(np.abs(choice.q - filled) > 0.05 * choice.q, chosen, mixed)
        return _without(moving, RawDepth(q.astype(np.float32), confidence.astype(np.float32)))

    # -- pass two

    def fused(self, frame: int, raw: Callable[[int], RawDepth]) -> DepthMap:
        """Median over what other frames confirm, on the lens's raster; ``raw`` gives the first pass of any frame."""
        s = self.settings
        own, sources = self._raws.get(frame, partial(raw, frame)), self.views.sources(frame)
        median = self._median(frame, own, sources, raw)
        planes = self.views.plane_qs(frame)
        # What moves, or nothing confirms, takes what is around it: a steady guess instead of a flickering one.
        doubtful = median.agreement < s.min_agreement
        weight = np.where(doubtful | (own.q == 0), 0, np.minimum(median.agreement, 0.3))
        filler = self.views.filler(frame)
        q = np.where(doubtful, filler.fill(median.q, weight), median.q)
        confidence = np.sqrt(own.confidence * np.maximum(median.agreement, LEAST_AGREEMENT))
        confidence *= np.where(behind_planes(planes, q) | behind_rims(q), np.float32(GUESSED), np.float32(1))
        return self._sharpened(frame, sources, q, confidence)

    def _median(self, frame: int, own: RawDepth, sources: Sequence[int], raw: Callable[[int], RawDepth]) -> _Median:
        s, index = self.settings, self.cameras.index(frame)
        near = [self.cameras.frames[i] for i in (index - 2, index - 1, index + 1, index + 2)
                if 0 <= i < len(self.cameras)]
        others = sorted({*sources, *near})
        stack = np.empty((1 + len(others), *own.q.shape), np.float32)
        stack[0], votes, seen = own.q, np.zeros_like(own.q), np.zeros_like(own.q)
        for back, other in zip(stack[1:], others, strict=True):
            theirs, pair = self._raws.get(other, partial(raw, other)), self.views.half_pair(frame, other)
            confirm(back, votes, seen, own.q, theirs.q, theirs.confidence, pair.a, pair.b, np.float32(s.confirm_share))
        agreement = np.clip((votes - 0.5) / np.clip(0.5 * seen, 1.0, 3.0), 0, 1)
        return _Median(lower_median(stack), agreement)

    def _sharpened(self, frame: int, sources: Sequence[int], q: Array, confidence: Array) -> DepthMap:
        """At full size, edges where the picture has them."""
        s, wh = self.settings, self.views.warp(frame).pinhole.wh
        q, confidence = _enlarged(q, wh), cv2.resize(confidence, wh, interpolation=cv2.INTER_LINEAR)
        if sources:
            candidates = [Candidate(q, 0.0), *(Candidate(b, s.choice_penalty) for b in borders(q, s.full_radii_px))]
            beside = nearest(frame, sources, s.full_views_per_side)
            choice = choose(self.views.full_comparison(frame, beside), candidates, 4)
            confidence = confidence * choice.support
            q = choice.q
        confidence = _calibrated(confidence) * _away_from_edges(q)
        moving = self.views.moving(frame)
        if moving is not None:
            q, confidence = np.where(moving, 0, q), np.where(moving, 0, confidence)
        return self._delivered(frame, q, confidence)

    def _delivered(self, frame: int, q: Array, confidence: Array) -> DepthMap:
        warp = self.views.warp(frame)
        if warp.pinhole.wh != warp.lens.wh:
            linear = warp.distort(q)
            nearest = warp.distort(q, interpolation=cv2.INTER_NEAREST)
            # Across a depth edge an average is a place where nothing is.
            q = np.where(np.abs(linear - nearest) < 0.01 * nearest, linear, nearest)
            confidence = np.where(q > 0, warp.distort(confidence), 0)
        depth = np.where(q > 0, 1 / np.maximum(q, 1e-12), 0).astype(np.float32)
        return DepthMap(depth, np.clip(confidence, 0, 1).astype(np.float32))


def solve_depth(solver: DepthSolver, folder: DepthFolder, workdir: Path, progress: Progress | None = None) -> None:
    """Both passes for all frames, with bounded memory; frames that ``folder`` holds already are left as they are."""
    frames = solver.cameras.frames
    workdir.mkdir(parents=True, exist_ok=True)
    files = {frame: workdir / f"raw_{frame:06d}.npz" for frame in frames}

    def first(frame: int) -> None:
        if not files[frame].exists():
            _write_raw(files[frame], solver.raw(frame))

    def second(frame: int) -> None:
        if frame not in folder:
            folder.write(frame, solver.fused(frame, lambda n: _read_raw(files[n])))

    with one_opencv_thread(), ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1)) as pool:
        for before, step in ((0, first), (len(frames), second)):
            for done, _ in enumerate(pool.map(step, frames)):
                if progress is not None:
                    progress(before + done + 1, 2 * len(frames))
    for path in files.values():
        path.unlink(missing_ok=True)


def _write_raw(path: Path, raw: RawDepth) -> None:
    np.savez(path, q=raw.q, confidence=np.round(raw.confidence * 255).astype(np.uint8))


def _read_raw(path: Path) -> RawDepth:
    with np.load(path) as data:
        return RawDepth(data["q"], data["confidence"].astype(np.float32) / 255)


# --- small pieces ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Hints:
    """What flow and the sweep say of each pixel (H, W), before the pictures are asked."""

    q: Array  # by flow
    error: Array  # its expected relative error
    swept: Array
    sure: Array  # [0, 1]: of flow alone
    spreading: Array  # [0, 1]: weight with which the pixel speaks for its neighbours
    textured: Array  # [0, 1]
    own_texture: Array  # [0, 1]: not that of an edge beside it

    @classmethod
    def of(cls, flow: FlowDepth, swept: Array, still: Array | np.float32) -> _Hints:
        """``still`` is 0 where something moves."""
        sure = np.maximum(1 - 10 * flow.error, 0) * still
        textured = flow.texture / (flow.texture + TEXTURE_LEVELS**2) * still
        # Beside an occluder flow is dragged along; two ways that agree are right, one alone hardly spreads.
        spreading = np.where(_near(swept, flow.q, 0.04), np.maximum(sure, 0.3 * textured), 0.02 * sure)
        return cls(flow.q, flow.error, swept, sure, spreading * (0.02 + flow.of_its_own), textured, flow.of_its_own)

    def confidence(self, choice: Choice, guesses: Sequence[PlaneGuess]) -> Array:
        """The best reason there is to believe in ``choice``, by how well the pictures agree."""
        followed = 0.1 + 0.9 * self.own_texture
        reasons = [self.sure * followed * _near(choice.q, self.q, 0.02),
                   0.5 * self.textured * followed * _near(choice.q, self.swept, 0.03)]
        reasons += [0.9 * g.trust * _near(choice.q, g.q, 0.01) for g in guesses]
        return np.maximum.reduce(reasons) * choice.support


@dataclass(frozen=True)
class _Median:
    q: Array
    agreement: Array  # (H, W) in [0, 1]: how far other frames confirm it


def _without(moving: Array | None, raw: RawDepth) -> RawDepth:
    if moving is None:
        return raw
    return RawDepth(np.where(moving, np.float32(0), raw.q), np.where(moving, np.float32(0), raw.confidence))


def _near(a: Array, b: Array, share: float) -> Array:
    return np.abs(a - b) < share * a


def _enlarged(q: Array, wh: tuple[int, int]) -> Array:
    """Smooth on surfaces; at depth edges one side or the other, nothing between."""
    linear = cv2.resize(q, wh, interpolation=cv2.INTER_LINEAR)
    nearest = cv2.resize(q, wh, interpolation=cv2.INTER_NEAREST_EXACT)
    return np.where(np.abs(linear - nearest) < 0.02 * nearest, linear, nearest)


def _calibrated(confidence: Array) -> Array:
    """What agrees in several ways is better than each of them promises: fitted to rendered clips, from 0.5 on."""
    return np.where(confidence > 0.5, 0.5 + 0.5 * np.maximum(2 * confidence - 1, 0) ** 0.6, confidence)


def _away_from_edges(q: Array) -> Array:
    """Factor below 1 within two pixels of a depth edge, where which side a pixel belongs to is a toss-up, and on the
    near side as far as flow's patches reach, which drag the background along with what stands before it."""
    near, far = (np.ones((2 * px + 1,) * 2, np.uint8) for px in (2, FLOW_REACH_PX))
    close = cv2.dilate(q, near) - cv2.erode(q, near) > 0.1 * q
    before = 1.1 * cv2.erode(q, far) < q
    return np.where(close, np.float32(0.5), np.float32(1)) * np.where(before, np.float32(0.6), np.float32(1))

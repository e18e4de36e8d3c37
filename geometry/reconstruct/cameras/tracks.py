"""Long sub-pixel point tracks over a clip.

Points are predicted from frame to frame (pyramidal Lucas-Kanade, forward-backward checked) and then *refined against
the patch they were born with* by an affine, gain-and-bias-invariant alignment (Baker & Matthews 2004, inverse
compositional), so that a track does not creep away from its point however long it lives. A point whose patch no longer
looks like the one it was born with ends, and an emptied bucket of the grid is seeded again. Two frames and the living
patches are all that is in memory.

Positions are pixels of the working raster, first pixel's centre (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from geometry.scene import FrameSource
from geometry.shapes import expect_shape

Array = np.ndarray
Progress = Callable[[int, int], None]

WORKING_SIDE_PX = 960
COVER_CELLS = 12  # along the picture's long side


@dataclass(frozen=True)
class TrackSettings:
    """How many points are followed, and how strictly."""

    points: int = 1200  # alive at a time
    window_px: int = 15  # of the frame-to-frame prediction
    levels: int = 4
    forward_backward_px: float = 0.7
    patch_radius_px: int = 7  # of the patch that is remembered
    min_correlation: float = 0.85  # with the remembered patch
    max_stretch: float = 2.0  # of the patch, before it is given up
    iterations: int = 3
    min_roundness: float = 0.08  # smaller over larger eigenvalue of a patch's structure tensor; 0 along an edge


@dataclass(frozen=True)
class Tracks:
    """Observations sorted by frame, then track: point ``track[i]`` was seen at ``xy[i]`` in frame ``frame[i]``.

    ``frame`` holds source frame numbers, ``track`` 0-based ids, ``xy`` (N, 2) pixels of a raster of ``wh`` pixels.
    """

    frame: Array
    track: Array
    xy: Array
    frames: tuple[int, ...]  # all frames that were looked at, also those without a point
    wh: tuple[int, int]

    def __post_init__(self) -> None:
        expect_shape("xy", self.xy, (None, 2))
        expect_shape("frame", self.frame, (len(self.xy),))
        expect_shape("track", self.track, (len(self.xy),))

    @cached_property
    def _bounds(self) -> dict[int, slice]:
        start = np.searchsorted(self.frame, self.frames, "left")
        end = np.searchsorted(self.frame, self.frames, "right")
        return {f: slice(int(a), int(b)) for f, a, b in zip(self.frames, start, end, strict=True)}

    def at(self, frame: int) -> tuple[Array, Array]:
        """``track`` (K,) and ``xy`` (K, 2) of one frame."""
        part = self._bounds[frame]
        return self.track[part], self.xy[part]

    def common(self, a: int, b: int) -> tuple[Array, Array, Array]:
        """Tracks seen in both frames: ids (K,), positions in ``a`` (K, 2) and in ``b`` (K, 2)."""
        ids_a, xy_a = self.at(a)
        ids_b, xy_b = self.at(b)
        ids, ia, ib = np.intersect1d(ids_a, ids_b, assume_unique=True, return_indices=True)
        return ids, xy_a[ia], xy_b[ib]

    def covered(self, a: int, b: int) -> float:
        """Share of the picture of ``a``, as far as it holds points at all, that still holds points seen in ``b`` too.

        By cells, not by points: what a camera follows keeps its points longest, and is only a part of the picture.
        """
        cell = max(self.wh) / COVER_CELLS
        every, kept = (np.unique(xy // cell, axis=0) for xy in (self.at(a)[1], self.common(a, b)[1]))
        return len(kept) / max(len(every), 1)

    def lengths(self) -> Array:
        """Number of frames of each track id."""
        return np.bincount(self.track, minlength=int(self.track.max(initial=-1)) + 1)

    def keep(self, tracks: Array) -> Tracks:
        """Only the observations of tracks whose entry in the boolean ``tracks`` is set (ids stay)."""
        mask = tracks[self.track]
        return Tracks(self.frame[mask], self.track[mask], self.xy[mask], self.frames, self.wh)


def working_wh(hw: tuple[int, int]) -> tuple[int, int]:
    """Size of the working raster of a displayed picture: at most 960 px on the long side."""
    scale = min(1.0, WORKING_SIDE_PX / max(hw))
    return max(1, round(hw[1] * scale)), max(1, round(hw[0] * scale))


def track_clip(
    clip: FrameSource,
    *,
    frames: Sequence[int] | None = None,
    settings: TrackSettings | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Follow points through ``frames`` (all when None). Deterministic; no randomness."""
    numbers = tuple(clip.numbers if frames is None else frames)
    settings = settings or TrackSettings()
    wh = working_wh(clip.hw)
    tracker = _Tracker(wh, settings)
    found: list[tuple[Array, Array]] = []
    for i, number in enumerate(numbers):
        grey = cv2.cvtColor(clip.display(number, wh), cv2.COLOR_RGB2GRAY)
        found.append(tracker.step(grey))
        if progress is not None:
            progress(i + 1, len(numbers))
    counts = [len(ids) for ids, _ in found]
    frame = np.repeat(np.array(numbers, np.int64), counts)
    track = np.concatenate([ids for ids, _ in found]) if found else np.zeros(0, np.int64)
    xy = np.concatenate([xy for _, xy in found]) if found else np.zeros((0, 2))
    return Tracks(frame, track, xy.astype(np.float64), numbers, wh)


class _Tracker:
    """The living points; positions inside are OpenCV's (first pixel's centre at 0)."""

    def __init__(self, wh: tuple[int, int], settings: TrackSettings) -> None:
        self.wh, self.settings = wh, settings
        self.previous: Array | None = None
        self.next_id = 0
        self.ids = np.zeros(0, np.int64)
        self.xy = np.zeros((0, 2), np.float32)
        self.affine = np.zeros((0, 2, 2), np.float32)  # here_from_patch
        side = 2 * settings.patch_radius_px + 1
        self.patches = Patches.empty(side)
        # Buckets keep points evenly spread: as many square cells as wanted points, one new point at most in each.
        self.cell = max(8, int(np.sqrt(wh[0] * wh[1] / settings.points)))

    def step(self, grey: Array) -> tuple[Array, Array]:
        if self.previous is not None and len(self.ids):
            self._follow(self.previous, grey)
        self._seed(grey)
        self.previous = grey
        return self.ids.copy(), self.xy + np.float32(0.5)

    def _follow(self, previous: Array, now: Array) -> None:
        s = self.settings
        ahead, ok = _lucas_kanade(previous, now, self.xy, self.xy, s.levels, s)
        # On the way back the answer is known: it only has to be the best one around.
        back, ok_back = _lucas_kanade(now, previous, ahead, self.xy, 1, s)
        closed = np.linalg.norm(back - self.xy, axis=1) < s.forward_backward_px
        self._filter(ok & ok_back & closed, ahead)
        xy, affine, correlation = self.patches.align(now, self.xy, self.affine, s.iterations)
        moved = np.linalg.norm(xy - self.xy, axis=1)
        stretch = np.linalg.svd(affine, compute_uv=False) if len(affine) else np.ones((0, 2))
        good = (correlation > s.min_correlation) & (moved < 2.0) & self._inside(xy)
        good &= (stretch[:, 0] < s.max_stretch) & (stretch[:, 1] > 1 / s.max_stretch)
        self.affine = affine
        self._filter(good, xy)

    def _inside(self, xy: Array) -> Array:
        margin = self.settings.patch_radius_px + 1
        return (xy >= margin).all(1) & (xy[:, 0] < self.wh[0] - margin) & (xy[:, 1] < self.wh[1] - margin)

    def _filter(self, keep: Array, xy: Array) -> None:
        self.ids, self.xy, self.affine = self.ids[keep], xy[keep], self.affine[keep]
        self.patches = self.patches.select(keep)

    def _seed(self, grey: Array) -> None:
        s = self.settings
        if len(self.ids) >= 0.9 * s.points:
            return
        taken = np.zeros(grey.shape, np.uint8)
        for x, y in self.xy.astype(int):
            cv2.circle(taken, (int(x), int(y)), self.cell // 2, 255, -1)
        xy = _corners(grey, taken == 0, self.cell, s)
        xy = xy[self._inside(xy)]
        if not len(xy):
            return
        self.ids = np.concatenate([self.ids, self.next_id + np.arange(len(xy))])
        self.next_id += len(xy)
        self.xy = np.concatenate([self.xy, xy])
        self.affine = np.concatenate([self.affine, np.tile(np.eye(2, dtype=np.float32), (len(xy), 1, 1))])
        self.patches = self.patches.joined(Patches.cut(grey, xy, s.patch_radius_px))


def _lucas_kanade(
    a: Array, b: Array, xy: Array, start: Array, levels: int, s: TrackSettings
) -> tuple[Array, Array]:
    """(N, 2) float32 positions in ``b`` of the points ``xy`` of ``a``, and whether each was found."""
    found, ok, _ = cv2.calcOpticalFlowPyrLK(
        a, b, xy, start.copy(), winSize=(s.window_px, s.window_px), maxLevel=levels,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW, criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.02),
    )
    return found, ok[:, 0] > 0


def _corners(grey: Array, free: Array, cell: int, s: TrackSettings) -> Array:
    """The strongest corner of every cell of the grid that lies in ``free``: (K, 2) float32 (x, y)."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    strength = cv2.cornerMinEigenVal(smooth, 7)
    # A point on an edge slides along it, and a whole floor of planks then tilts.
    values = cv2.cornerEigenValsAndVecs(smooth, 2 * s.patch_radius_px - 1, 3)
    strength[~free | (values[..., 1] < s.min_roundness * values[..., 0])] = 0
    # Absolute floor: about 2 grey levels of contrast; below it tracks follow noise.
    floor = max(2e-5, 1e-3 * float(strength.max(initial=0)))
    h, w = grey.shape
    rows, columns = h // cell, w // cell
    tiles = strength[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell).swapaxes(1, 2)
    flat = tiles.reshape(rows * columns, cell * cell)
    best = flat.argmax(1)
    good = flat[np.arange(len(flat)), best] > floor
    index = np.arange(len(flat))
    x = index % columns * cell + best % cell
    y = index // columns * cell + best // cell
    return np.stack([x, y], -1)[good].astype(np.float32)


@dataclass(frozen=True)
class Patches:
    """What points looked like when they were born: N patches of side x side, and what alignment needs of them."""

    values: Array  # (N, P) zero mean, unit norm
    solver: Array  # (N, 6, P) change of position and affine part by change of value
    grid: Array  # (P, 2) offsets

    @classmethod
    def empty(cls, side: int) -> Patches:
        radius = side // 2
        y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
        p = side * side
        zero = np.zeros
        grid = np.stack([x.ravel(), y.ravel()], -1)
        return cls(zero((0, p), np.float32), zero((0, 6, p), np.float32), grid)

    @classmethod
    def cut(cls, grey: Array, xy: Array, radius: int) -> Patches:
        blank = cls.empty(2 * radius + 1)
        grid = blank.grid
        image = grey.astype(np.float32)
        gx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
        gy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
        columns = (xy[:, None, 0] + grid[:, 0]).astype(int)
        rows = (xy[:, None, 1] + grid[:, 1]).astype(int)
        values, dx, dy = image[rows, columns], gx[rows, columns], gy[rows, columns]
        values, norm = _normalised(values)
        dx, dy = dx / norm, dy / norm
        x, y = grid[:, 0], grid[:, 1]
        steepest = np.stack([dx, dy, dx * x, dx * y, dy * x, dy * y], -1)
        # Gain and bias are free: only what is orthogonal to the patch and to a constant tells of motion.
        steepest -= steepest.mean(1, keepdims=True)
        steepest -= values[..., None] * (values[..., None] * steepest).sum(1, keepdims=True)
        weight = np.exp(-(x**2 + y**2) / (2 * (0.6 * radius) ** 2)).astype(np.float32)
        weighted = steepest * weight[:, None]
        normal = np.swapaxes(weighted, 1, 2) @ steepest
        # A little damping of the affine part: patches with one corner cannot tell all of it.
        damping = np.diag([0, 0, 1, 1, 1, 1]).astype(np.float32)
        normal += damping * (1e-2 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 6)
        normal += np.eye(6, dtype=np.float32) * 1e-9
        solver = np.linalg.inv(normal).astype(np.float32) @ np.swapaxes(weighted, 1, 2)
        return cls(values, solver, grid)

    def select(self, keep: Array) -> Patches:
        return Patches(self.values[keep], self.solver[keep], self.grid)

    def joined(self, other: Patches) -> Patches:
        return Patches(
            np.concatenate([self.values, other.values]), np.concatenate([self.solver, other.solver]), self.grid)

    def align(self, grey: Array, xy: Array, affine: Array, iterations: int) -> tuple[Array, Array, Array]:
        """Refine (N, 2) positions and (N, 2, 2) affine parts; also the correlation (N,) that was reached."""
        if not len(xy):
            return xy, affine, np.zeros(0, np.float32)
        xy, affine = xy.copy(), affine.copy()
        correlation = np.zeros(len(xy), np.float32)
        image = grey.astype(np.float32)
        for step in range(iterations + 1):
            at = (xy[:, None] + self.grid @ np.swapaxes(affine, 1, 2)).astype(np.float32)
            seen = cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            seen, _ = _normalised(seen)
            correlation = (seen * self.values).sum(1)
            if step == iterations:
                break
            change = (self.solver @ (seen - self.values)[..., None])[..., 0]
            # Inverse composition: here_from_patch <- here_from_patch o inverse(change).
            matrix = np.eye(2, dtype=np.float32) + change[:, 2:].reshape(-1, 2, 2)
            new_affine = affine @ np.linalg.inv(matrix)
            xy = xy - (new_affine @ change[:, :2, None])[..., 0]
            affine = new_affine
        return xy, affine, correlation


def _normalised(patches: Array) -> tuple[Array, Array]:
    """(N, P) patches with zero mean and unit norm, and the norm (N, 1) that was divided out."""
    centred = patches - patches.mean(1, keepdims=True)
    norm = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-3)
    return centred / norm, norm

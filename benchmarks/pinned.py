"""Points pinned to something stiff of a truth clip, and how far a solve lets them drift.

A point is chosen in a reference frame. It is then put where the *solve's* cameras see it best, given its true pixels in
the unbroken run of frames around the reference in which it is seen; what is measured is the solve, not a placement. Its
projections are compared with the truth in every frame that holds it, hidden or not, the reference's offset taken away.

For a thing that moves, poses are ``camera_from_thing``: the camera's after the thing's own motion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks import metrics
from geometry import rigid
from geometry.camera import pixel_centres
from geometry.reconstruct.triangulate import triangulate
from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath

Array = np.ndarray

POINTS = 150
CLEAR_PX = 4  # a point keeps this far from depth edges
SAME_DEPTH = 0.02  # a point nearer to the truth's depth than this share of it is seen
SHORTEST_RUN = 8  # frames; with fewer a point is hardly known


@dataclass(frozen=True)
class PinnedPoints:
    """N points: true ``px`` (V, N, 2), nan outside the picture, and whether each is ``seen`` (V, N)."""

    frames: tuple[int, ...]
    reference: int  # index into ``frames``
    px: Array
    seen: Array

    def __post_init__(self) -> None:
        expect_shape("px", self.px, (len(self.frames), None, 2))
        expect_shape("seen", self.seen, self.px.shape[:2])

    @property
    def run(self) -> Array:
        """(V, N) bool: the unbroken run of frames around the reference in which each point is seen."""
        after = np.minimum.accumulate(self.seen[self.reference :])
        before = np.minimum.accumulate(self.seen[self.reference :: -1])[::-1]
        return np.concatenate([before[:-1], after])

    def keep(self, chosen: Array) -> PinnedPoints:
        return PinnedPoints(self.frames, self.reference, self.px[:, chosen], self.seen[:, chosen])


def pin(
    truth: CameraPath, read_depth: Callable[[int], Array], reference: int, where: Array, seed: int
) -> PinnedPoints:
    """At most ``POINTS`` pixels of ``where`` (H, W) in frame number ``reference``; ``read_depth(frame)`` (H, W)."""
    depth = read_depth(reference)
    edges = metrics.depth_edges(depth).astype(np.uint8)
    clear = cv2.dilate(edges, np.ones((2 * CLEAR_PX + 1,) * 2, np.uint8)) == 0
    rows, columns = np.nonzero(where & clear & (depth > 0))
    pick = np.random.default_rng([seed, reference]).permutation(len(rows))[:POINTS]
    rows, columns = rows[pick], columns[pick]
    camera, pose = truth.camera(reference), truth.pose(reference)
    rays = camera.rays_from_px(pixel_centres(camera.wh)[rows, columns])
    points = rigid.transform(rigid.inverse(pose), rays * depth[rows, columns, None])
    views = [_look(truth, frame, points, read_depth(frame)) for frame in truth.frames]
    px, seen = (np.stack(values) for values in zip(*views, strict=True))
    pinned = PinnedPoints(truth.frames, truth.index(reference), px, seen)
    return pinned.keep(pinned.run.sum(0) >= SHORTEST_RUN)


def _look(truth: CameraPath, frame: int, points: Array, depth: Array) -> tuple[Array, Array]:
    """(N, 2) pixels, nan outside the picture, and (N,) bool: nothing is in front of the point."""
    camera = truth.camera(frame)
    in_camera = rigid.transform(truth.pose(frame), points)
    px = camera.px_from_cam(in_camera)
    inside: Array = np.all((px > 1) & (px < np.array(camera.wh) - 1), axis=-1)  # nan is not
    column, row = np.where(inside[:, None], px, 0).astype(int).T
    seen = inside & (np.abs(depth[row, column] - in_camera[:, 2]) < SAME_DEPTH * in_camera[:, 2])
    return np.where(inside[:, None], px, np.nan), seen


@dataclass(frozen=True)
class Drift:
    """Distances in px: ``all`` (K,) over points and frames, ``returned`` (L,) where a point is seen again after it had
    left or was hidden. inf: the solve loses the point, or puts it behind the camera."""

    all: Array
    returned: Array

    @classmethod
    def joined(cls, drifts: Sequence[Drift]) -> Drift:
        nothing = [np.zeros(0)]
        return cls(np.concatenate([d.all for d in drifts] or nothing),
                   np.concatenate([d.returned for d in drifts] or nothing))


def drift(points: PinnedPoints, solved: CameraPath, *, on_the_ray: bool) -> Drift:
    """Of a solve that knows the reference frame; its other unknown frames are left out.

    ``on_the_ray``: the cameras only turn, so a point lies on the reference's ray at any distance.
    Raises ``KeyError`` for an unknown reference.
    """
    reference = points.frames[points.reference]
    solved.index(reference)
    known = [i for i, frame in enumerate(points.frames) if frame in solved]
    path = solved.select([points.frames[i] for i in known])
    px, run, seen = points.px[known], points.run[known], points.seen[known]
    if px.shape[1] == 0:
        return Drift(np.zeros(0), np.zeros(0))
    if on_the_ray:
        rays = path.camera(reference).rays_from_px(px[path.index(reference)])
        world = rigid.transform(rigid.inverse(path.pose(reference)), rays)
    else:
        world = triangulate(path, np.where(run[..., None], px, np.nan)).points
    ours = np.stack([c.px_from_cam(rigid.transform(p, world))
                     for c, p in zip(path.cameras, path.camera_from_world, strict=True)])
    there = np.isfinite(px[..., 0])
    off = metrics.drift_px(ours, px, path.index(reference))
    off = np.where(there & ~np.isfinite(off), np.inf, off)
    return Drift(off[there], off[there & seen & ~run])

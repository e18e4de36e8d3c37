"""Bundle adjustment in numpy: poses (or only rotations), points (or only directions) and the lens, all at once.

Levenberg-Marquardt on robust reprojection errors; points are eliminated by the Schur complement, which is a dense
product here: some hundred frames, some thousand points (Triggs et al. 2000, sections 4 and 6). An error may be
*whitened*: what a track knows badly, its place along a line, then counts little.

Pixels count from the principal point. Distortion is Brown's radial part (k1, k2, k3), as in ``Camera``. Only numpy:
this also runs in the process that may not load OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geometry.shapes import expect_shape

Array = np.ndarray

MOST_ZOOM_STEP = 0.3  # of log focal, in one step
LENS_SIGMA = np.array([0.3, 0.5, 0.5])  # what k1, k2, k3 of a lens are like
ZOOM_SIGMA = 0.5


@dataclass(frozen=True)
class Views:
    """Point ``point[i]`` (0..P-1) was seen at ``xy[i]`` in frame ``frame[i]`` (0..F-1); no pair of both twice."""

    frame: Array
    point: Array
    xy: Array  # (M, 2) px from the principal point
    whitening: Array | None = None  # (M, 2, 2)

    def __post_init__(self) -> None:
        expect_shape("xy", self.xy, (None, 2))
        expect_shape("frame", self.frame, (len(self.xy),))
        expect_shape("point", self.point, (len(self.xy),))
        if self.whitening is not None:
            expect_shape("whitening", self.whitening, (len(self.xy), 2, 2))


@dataclass(frozen=True)
class Bundle:
    """``rotation`` and ``translation`` are camera_from_world; without translations ``points`` are unit directions."""

    rotation: Array  # (F, 3, 3)
    translation: Array | None  # (F, 3)
    points: Array  # (P, 3)
    focal: Array  # (F,) px; all alike unless the shot zooms
    distortion: Array  # (3,) k1, k2, k3

    def __post_init__(self) -> None:
        expect_shape("rotation", self.rotation, (None, 3, 3))
        expect_shape("focal", self.focal, (len(self.rotation),))
        expect_shape("points", self.points, (None, 3))
        expect_shape("distortion", self.distortion, (3,))
        if self.translation is not None:
            expect_shape("translation", self.translation, (len(self.rotation), 3))


@dataclass(frozen=True)
class Freedom:
    """What may change besides poses and points."""

    focal: bool = True
    zoom: bool = False  # a focal length of its own for every frame
    distortion: int = 0  # how many of k1, k2, k3


@dataclass(frozen=True)
class Adjusted:
    bundle: Bundle
    error_px: Array  # (M,) of every view, not whitened
    cost: float  # mean robust squared error
    focal_sigma: float  # relative standard deviation of the (mean) focal length; 0 when it was held


def adjust(
    bundle: Bundle, views: Views, freedom: Freedom, *, loss_px: float = 1.0, rounds: int = 25, tolerance: float = 1e-5
) -> Adjusted:
    """The bundle with the least Cauchy cost of scale ``loss_px`` near the given one."""
    order = np.argsort(views.point, kind="stable")
    sorted_views = Views(
        views.frame[order], views.point[order], views.xy[order],
        None if views.whitening is None else views.whitening[order],
    )
    problem = _Problem(sorted_views, freedom, loss_px, bundle)
    damping, best = 1e-4, problem.cost(bundle)
    for _ in range(rounds):
        system = problem.system(bundle)
        moved, value = bundle, np.inf
        while damping < 1e8:
            moved = problem.stepped(bundle, *system.step(damping))
            value = problem.cost(moved)
            if value < best:
                break
            damping *= 6
        if not value < best:
            break
        gain, bundle, best = best - value, moved, value
        damping = max(damping / 8, 1e-9)
        if gain < tolerance * best:
            break
    error = np.empty(len(order))
    error[order] = np.linalg.norm(problem.residual(bundle), axis=1)
    return Adjusted(bundle, error, best / len(order), problem.focal_sigma(bundle))


def project(bundle: Bundle, views: Views) -> Array:
    """(M, 2) where the bundle says the views are, px from the principal point; nan behind the camera."""
    at = (bundle.rotation[views.frame] @ bundle.points[views.point][..., None])[..., 0]
    if bundle.translation is not None:
        at = at + bundle.translation[views.frame]
    flat = at[:, :2] / np.where(at[:, 2:] > 1e-9, at[:, 2:], np.nan)
    return bundle.focal[views.frame][:, None] * flat * _radial(bundle.distortion, flat)[0]


def _radial(distortion: Array, flat: Array) -> tuple[Array, Array]:
    """(M, 1) factor of Brown's model, and its derivative by the squared radius."""
    k1, k2, k3 = distortion
    r2 = (flat**2).sum(1, keepdims=True)
    return 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), k1 + r2 * (2 * k2 + r2 * 3 * k3)


def turned(rotation: Array, vector: Array) -> Array:
    """(N, 3, 3) rotations after small turns by (N, 3) rotation vectors from the left (Rodrigues)."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    axis = cross_matrix(vector)
    safe = np.maximum(angle, 1e-12)
    turn = np.eye(3) + np.sinc(angle / np.pi) * axis + (1 - np.cos(angle)) / safe**2 * (axis @ axis)
    return turn @ rotation


def cross_matrix(v: Array) -> Array:
    """(..., 3) to the (..., 3, 3) matrix of ``v x``."""
    zero = np.zeros_like(v[..., 0])
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    return np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)


@dataclass(frozen=True)
class _System:
    """Normal equations by frames and lens (C) and by points (P blocks of p), and what joins them."""

    frames: Array  # (C, C)
    points: Array  # (P, p, p)
    joint: Array  # (P, p, C)
    frames_side: Array  # (C,)
    points_side: Array  # (P, p)
    held: int  # leading parameters that stay: the first frame's pose

    def _reduced(self, damping: float) -> tuple[Array, Array, Array]:
        """(C, C) and (C,) without the points, and the (P, p, p) inverses that eliminated them."""
        diagonal = np.arange(self.points.shape[1])
        points = self.points.copy()
        points[:, diagonal, diagonal] *= 1 + damping
        points[:, diagonal, diagonal] += 1e-12 + 1e-9 * np.trace(points, axis1=1, axis2=2)[:, None]
        inverse = np.linalg.inv(points)
        root = np.swapaxes(np.linalg.cholesky(inverse), 1, 2)
        weighted = (root @ self.joint).reshape(-1, len(self.frames))  # so that one product with itself is all
        reduced = self.frames.copy()
        reduced[np.arange(len(reduced)), np.arange(len(reduced))] *= 1 + damping
        reduced -= weighted.T @ weighted
        side = self.frames_side - weighted.T @ (root @ self.points_side[..., None]).ravel()
        return reduced, side, inverse

    def step(self, damping: float) -> tuple[Array, Array]:
        """Changes (C,) of frames and lens, (P, p) of points."""
        reduced, side, inverse = self._reduced(damping)
        free = np.arange(self.held, len(side))
        change = np.zeros(len(side))
        matrix = reduced[np.ix_(free, free)]
        matrix[np.arange(len(free)), np.arange(len(free))] += 1e-10 * np.abs(np.diag(matrix)).max(initial=1e-12)
        change[free] = -np.linalg.solve(matrix, side[free])
        rest = self.points_side + self.joint @ change
        return change, -(inverse @ rest[..., None])[..., 0]

    def covariance(self) -> Array:
        """(C, C) of frames and lens, for errors of 1 px; 0 where they are held, very large where nothing tells."""
        reduced, _, _ = self._reduced(0.0)
        free = np.arange(self.held, len(reduced))
        matrix = reduced[np.ix_(free, free)]
        ridge = 1e-10 * np.diag(matrix).max(initial=1e-12)
        covariance = np.zeros_like(reduced)
        covariance[np.ix_(free, free)] = np.linalg.inv(matrix + ridge * np.eye(len(free)))
        return covariance


@dataclass(frozen=True)
class _Problem:
    views: Views  # sorted by point
    freedom: Freedom
    loss_px: float
    start: Bundle

    @property
    def _width(self) -> int:
        """Parameters of one frame."""
        return (3 if self.start.translation is None else 6) + self.freedom.zoom

    def residual(self, bundle: Bundle) -> Array:
        """(M, 2) px; a point behind the camera is far off."""
        return np.nan_to_num(project(bundle, self.views) - self.views.xy, nan=1e3)

    def _whitened(self, vectors: Array) -> Array:
        """(M, 2, ...) after whitening."""
        white = self.views.whitening
        return vectors if white is None else np.einsum("mij,mj...->mi...", white, vectors)

    def cost(self, bundle: Bundle) -> float:
        square = (self._whitened(self.residual(bundle)) ** 2).sum(1) / self.loss_px**2
        return float(self.loss_px**2 * np.log1p(square).sum() + self._prior(bundle)[1])

    def _prior(self, bundle: Bundle) -> tuple[Array, float]:
        """Of distortion and zoom: (F + 3,) weighted offsets, and their cost."""
        count = self.freedom.distortion
        lens = np.zeros(3)
        lens[:count] = bundle.distortion[:count] / LENS_SIGMA[:count]
        zoom = np.zeros(len(bundle.focal))
        if self.freedom.zoom:
            zoom = np.log(bundle.focal / self.start.focal) / ZOOM_SIGMA
        return np.r_[zoom, lens], float((zoom**2).sum() + (lens**2).sum())

    def system(self, bundle: Bundle) -> _System:
        views, width, count = self.views, self._width, len(bundle.points)
        by_frame, by_lens, by_point = (self._whitened(j) for j in self._jacobians(bundle))
        off = self._whitened(self.residual(bundle))
        weight = 1 / (1 + (off**2).sum(1) / self.loss_px**2)
        lens, frames = by_lens.shape[2], len(bundle.rotation)
        size = frames * width + lens
        weighted_frame, weighted_lens = by_frame * weight[:, None, None], by_lens * weight[:, None, None]
        starts = np.flatnonzero(np.r_[True, views.point[1:] != views.point[:-1]])
        ids = views.point[starts]

        def of_points(values: Array) -> Array:
            out = np.zeros((count, *values.shape[1:]))
            out[ids] = np.add.reduceat(values, starts, axis=0)
            return out

        weighted_point = np.swapaxes(by_point * weight[:, None, None], 1, 2)
        joint = np.zeros((count, by_point.shape[2], size))
        columns = views.frame[:, None] * width + np.arange(width)
        joint[views.point[:, None], :, columns] = np.swapaxes(weighted_point @ by_frame, 1, 2)
        joint[:, :, frames * width :] = of_points(weighted_point @ by_lens)
        matrix, side = np.zeros((size, size)), np.zeros(size)
        blocks = _of_frames(np.swapaxes(weighted_frame, 1, 2) @ by_frame, views.frame, frames)
        at = np.arange(frames * width).reshape(frames, width)
        matrix[at[:, :, None], at[:, None, :]] = blocks
        cross = _of_frames(np.swapaxes(weighted_frame, 1, 2) @ by_lens, views.frame, frames)
        matrix[: frames * width, frames * width :] = cross.reshape(frames * width, lens)
        matrix[frames * width :, : frames * width] = matrix[: frames * width, frames * width :].T
        matrix[frames * width :, frames * width :] = np.einsum("mki,mkj->ij", weighted_lens, by_lens)
        side[: frames * width] = _of_frames(
            (np.swapaxes(weighted_frame, 1, 2) @ off[..., None])[..., 0], views.frame, frames).ravel()
        side[frames * width :] = np.einsum("mki,mk->i", weighted_lens, off)
        self._add_prior(bundle, matrix, side, width)
        return _System(
            matrix, of_points(weighted_point @ by_point), joint, side,
            of_points((weighted_point @ off[..., None])[..., 0]), 3 if bundle.translation is None else 6,
        )

    def focal_sigma(self, bundle: Bundle) -> float:
        """From the spread of the errors; twice that, since neighbouring views of a point err together."""
        if not (self.freedom.focal or self.freedom.zoom):
            return 0.0
        system = self.system(bundle)
        covariance, frames, width = system.covariance(), len(bundle.rotation), self._width
        mean = np.zeros(len(covariance))
        if self.freedom.zoom:
            mean[width - 1 : frames * width : width] = 1 / frames
        else:
            mean[frames * width] = 1.0
        spread = np.median((self._whitened(self.residual(bundle)) ** 2).sum(1)) / 1.39  # of a 2D normal
        return 2 * float(np.sqrt(max(mean @ covariance @ mean, 0) * spread))

    def _add_prior(self, bundle: Bundle, matrix: Array, side: Array, width: int) -> None:
        offset, _ = self._prior(bundle)
        frames, count = len(bundle.rotation), self.freedom.distortion
        lens = np.arange(len(side) - count, len(side))
        matrix[lens, lens] += 1 / LENS_SIGMA[:count] ** 2
        side[lens] += offset[frames : frames + count] / LENS_SIGMA[:count]
        if self.freedom.zoom:
            zoom = np.arange(frames) * width + width - 1
            matrix[zoom, zoom] += 1 / ZOOM_SIGMA**2
            side[zoom] += offset[:frames] / ZOOM_SIGMA

    def _jacobians(self, bundle: Bundle) -> tuple[Array, Array, Array]:
        """Of the views by their frame (M, 2, c), the lens (M, 2, l) and their point (M, 2, p)."""
        views, rotation = self.views, bundle.rotation[self.views.frame]
        arm = (rotation @ bundle.points[views.point][..., None])[..., 0]
        at = arm if bundle.translation is None else arm + bundle.translation[views.frame]
        z = np.maximum(at[:, 2:], 1e-6)
        flat = at[:, :2] / z
        focal = bundle.focal[views.frame][:, None]
        radial, slope = _radial(bundle.distortion, flat)
        by_flat = (focal * radial)[..., None] * np.eye(2)
        by_flat += 2 * (focal * slope)[..., None] * (flat[:, :, None] * flat[:, None, :])
        by_at = np.concatenate([by_flat, -(by_flat @ flat[..., None])], 2) / z[..., None]
        by_frame = [-by_at @ cross_matrix(arm)]
        if bundle.translation is not None:
            by_frame.append(by_at)
        pixel = (focal * radial * flat)[..., None]
        r2 = (flat**2).sum(1, keepdims=True)
        lens = [focal * flat * r2 ** (i + 1) for i in range(self.freedom.distortion)]
        if self.freedom.zoom:
            by_frame.append(pixel)
        elif self.freedom.focal:
            lens.insert(0, pixel[..., 0])
        by_lens = np.stack(lens, -1) if lens else np.zeros((len(at), 2, 0))
        by_point = by_at @ rotation
        if bundle.translation is None:
            by_point = by_point @ tangents(bundle.points)[views.point]
        return np.concatenate(by_frame, 2), by_lens, by_point

    def stepped(self, bundle: Bundle, change: Array, moved: Array) -> Bundle:
        frames, width = len(bundle.rotation), self._width
        own, lens = change[: frames * width].reshape(frames, width), change[frames * width :]
        focal, distortion = bundle.focal, bundle.distortion.copy()
        if self.freedom.zoom:
            focal = focal * np.exp(np.clip(own[:, -1], -MOST_ZOOM_STEP, MOST_ZOOM_STEP))
        elif self.freedom.focal:
            focal = focal * np.exp(np.clip(lens[0], -MOST_ZOOM_STEP, MOST_ZOOM_STEP))
        count = self.freedom.distortion
        distortion[:count] += lens[len(lens) - count :]
        rotation = turned(bundle.rotation, own[:, :3])
        if bundle.translation is None:
            points = bundle.points + (tangents(bundle.points) @ moved[..., None])[..., 0]
            points = points / np.linalg.norm(points, axis=1, keepdims=True)
            return replace(bundle, rotation=rotation, points=points, focal=focal, distortion=distortion)
        return Bundle(rotation, bundle.translation + own[:, 3:6], bundle.points + moved, focal, distortion)


def _of_frames(values: Array, frame: Array, frames: int) -> Array:
    """(M, ...) summed by frame to (F, ...)."""
    order = np.argsort(frame, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(frame[order]) > 0])
    out = np.zeros((frames, *values.shape[1:]))
    out[frame[order][starts]] = np.add.reduceat(values[order], starts, axis=0)
    return out


def tangents(directions: Array) -> Array:
    """(P, 3, 2) an orthonormal basis across each unit direction."""
    axis = np.eye(3)[np.argmin(np.abs(directions), axis=1)]
    first = np.cross(directions, axis)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(directions, first)], -1)

"""World points from tracks through known cameras, all points at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath

Array = np.ndarray

HUBER_PX = 0.5
ROUNDS = 6
MOST_CONDITION = 1e12  # of the normal equations; beyond, the rays are parallel


@dataclass(frozen=True)
class Triangulated:
    """Points that could not be solved are nan with an error of inf: too few views, parallel rays, behind a camera."""

    points: Array  # (N, 3) world
    error_px: Array  # (N,) median reprojection error over the views
    covariance: Array  # (N, 3, 3) of the position for tracks of 1 px standard deviation

    def __post_init__(self) -> None:
        expect_shape("points", self.points, (None, 3))
        expect_shape("error_px", self.error_px, (len(self.points),))
        expect_shape("covariance", self.covariance, (len(self.points), 3, 3))


def triangulate(
    cameras: CameraPath, tracks: Float[Array, "v n 2"], *, min_views: int = 4,
    whitening: Float[Array, "v n 2 2"] | None = None,
) -> Triangulated:
    """(V, N, 2) pixel tracks, nan where unseen, to world points.

    ``whitening`` multiplies each view's pixel error, so that what a track knows badly (its place along a line) counts
    little. Linear solution, then Gauss-Newton with Huber weights on the reprojection error (Hartley and Zisserman 2004,
    12.2).
    """
    seen = np.isfinite(tracks[..., 0]).T  # (N, V)
    rays = np.stack([c.normalized_from_px(np.nan_to_num(t)) for c, t in zip(cameras.cameras, tracks, strict=True)], 1)
    white = np.eye(2) if whitening is None else np.nan_to_num(np.moveaxis(whitening, 1, 0))
    pose, focal = cameras.camera_from_world, np.array([c.fx for c in cameras.cameras])
    count = seen.shape[0]
    rows = rays[..., None] * pose[None, :, None, 2] - pose[None, :, :2]  # (N, V, 2, 4)
    rows = ((white @ rows) * seen[..., None, None]).reshape(count, -1, 4)
    points, good, _ = _solve(rows[..., :3], -rows[..., 3])
    good &= seen.sum(1) >= min_views
    residual = np.zeros((count, len(cameras), 2))
    covariance = np.zeros((count, 3, 3))
    for _ in range(ROUNDS):
        cam = np.einsum("vij,nj->nvi", pose[:, :3, :3], points) + pose[:, :3, 3]
        good &= ((cam[..., 2] > 0) | ~seen).all(1)
        z = np.where(cam[..., 2:] > 0, cam[..., 2:], 1.0)
        flat = cam[..., :2] / z
        residual = (white @ ((flat - rays) * focal[:, None])[..., None])[..., 0] * seen[..., None]
        jacobian = (pose[None, :, :2, :3] - flat[..., None] * pose[None, :, 2:3, :3]) / z[..., None]
        jacobian = (white @ (jacobian * focal[:, None, None])) * seen[..., None, None]
        weight = np.sqrt(np.minimum(1.0, HUBER_PX / np.maximum(np.linalg.norm(residual, axis=-1), 1e-9)))
        rows = (jacobian * weight[..., None, None]).reshape(count, -1, 3)
        step, solvable, covariance = _solve(rows, (residual * weight[..., None]).reshape(count, -1))
        good &= solvable
        points = np.where(good[:, None], points - step, points)
    distance = np.where(seen, np.linalg.norm(residual, axis=-1), np.nan)
    error = np.full(count, np.inf)
    error[good] = np.nanmedian(distance[good], axis=1)
    return Triangulated(np.where(good[:, None], points, np.nan), error, covariance)


def _solve(rows: Array, right: Array) -> tuple[Array, Array, Array]:
    """Least squares (N, M, 3) x = (N, M) by normal equations, which of them are solvable, and their inverses."""
    normal = np.einsum("nmi,nmj->nij", rows, rows)
    values = np.linalg.eigvalsh(normal)
    good = values[:, 0] * MOST_CONDITION > values[:, 2]
    good &= values[:, 2] > 0
    inverse = np.linalg.inv(np.where(good[:, None, None], normal, np.eye(3)))
    return np.einsum("nij,nmj,nm->ni", inverse, rows, right), good, inverse

"""World points from tracks through known cameras, all points at once."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from geometry.trajectory import CameraPath

Array = np.ndarray

HUBER_PX = 0.5
ROUNDS = 6
MOST_CONDITION = 1e12  # of the normal equations; beyond, the rays are parallel


def triangulate(
    cameras: CameraPath, tracks: Float[Array, "v n 2"], *, min_views: int = 4
) -> tuple[Float[Array, "n 3"], Float[Array, " n"]]:
    """(V, N, 2) pixel tracks, nan where unseen, to (N, 3) world points and (N,) median reprojection errors in px.

    Points that cannot be solved are nan with an error of inf: fewer than ``min_views`` views, parallel rays, or behind
    a camera. Linear solution, then Gauss-Newton with Huber weights on the reprojection error (Hartley and Zisserman
    2004, 12.2).
    """
    seen = np.isfinite(tracks[..., 0]).T  # (N, V)
    rays = np.stack([c.normalized_from_px(np.nan_to_num(t)) for c, t in zip(cameras.cameras, tracks, strict=True)], 1)
    pose, focal = cameras.camera_from_world, np.array([c.fx for c in cameras.cameras])
    count = seen.shape[0]
    rows = rays[..., None] * pose[None, :, None, 2] - pose[None, :, :2]  # (N, V, 2, 4)
    rows = (rows * seen[..., None, None]).reshape(count, -1, 4)
    points, good = _solve(rows[..., :3], -rows[..., 3])
    good &= seen.sum(1) >= min_views
    residual = np.zeros((count, len(cameras), 2))
    for _ in range(ROUNDS):
        cam = np.einsum("vij,nj->nvi", pose[:, :3, :3], points) + pose[:, :3, 3]
        good &= ((cam[..., 2] > 0) | ~seen).all(1)
        z = np.where(cam[..., 2:] > 0, cam[..., 2:], 1.0)
        flat = cam[..., :2] / z
        residual = (flat - rays) * focal[:, None] * seen[..., None]
        jacobian = (pose[None, :, :2, :3] - flat[..., None] * pose[None, :, 2:3, :3]) / z[..., None]
        jacobian = jacobian * focal[:, None, None] * seen[..., None, None]
        weight = np.sqrt(np.minimum(1.0, HUBER_PX / np.maximum(np.linalg.norm(residual, axis=-1), 1e-9)))
        weighted = jacobian * weight[..., None, None]
        step, solvable = _solve(weighted.reshape(count, -1, 3), (residual * weight[..., None]).reshape(count, -1))
        good &= solvable
        points = np.where(good[:, None], points - step, points)
    distance = np.where(seen, np.linalg.norm(residual, axis=-1), np.nan)
    error = np.full(count, np.inf)
    error[good] = np.nanmedian(distance[good], axis=1)
    return np.where(good[:, None], points, np.nan), error


def _solve(rows: Array, right: Array) -> tuple[Array, Array]:
    """Least squares (N, M, 3) x = (N, M) by normal equations, and which of them are solvable."""
    normal = np.einsum("nmi,nmj->nij", rows, rows)
    values = np.linalg.eigvalsh(normal)
    good = values[:, 0] * MOST_CONDITION > values[:, 2]
    good &= values[:, 2] > 0
    safe = np.where(good[:, None, None], normal, np.eye(3))
    return np.linalg.solve(safe, np.einsum("nmi,nm->ni", rows, right)[..., None])[..., 0], good

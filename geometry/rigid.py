"""Rigid and similarity motions as 4x4 float64 matrices named ``target_from_source``.

Batch axes come first: every function that takes one (4, 4) matrix takes (..., 4, 4) too.
Quaternions are ``wxyz``; angles are radians.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num
from scipy.spatial.transform import Rotation

Array = np.ndarray
Triple = Num[Array, "3"] | Sequence[float]  # a point or a direction, as people write it


def rigid(rotation: Num[Array, "*batch 3 3"], translation: Num[Array, "*batch 3"]) -> Float[Array, "*batch 4 4"]:
    """(..., 3, 3) rotation and (..., 3) translation to (..., 4, 4)."""
    rotation = np.asarray(rotation, np.float64)
    out = np.zeros((*rotation.shape[:-2], 4, 4))
    out[..., :3, :3] = rotation
    out[..., :3, 3] = translation
    out[..., 3, 3] = 1.0
    return out


def inverse(target_from_source: Num[Array, "*batch 4 4"]) -> Float[Array, "*batch 4 4"]:
    """Inverse of rigid motions; (..., 4, 4). The rotation part must be orthonormal (no scale)."""
    rotation_t = np.swapaxes(target_from_source[..., :3, :3], -1, -2)
    translation = -(rotation_t @ target_from_source[..., :3, 3:])[..., 0]
    return rigid(rotation_t, translation)


def transform(target_from_source: Num[Array, "4 4"], points: Num[Array, "*batch 3"]) -> Num[Array, "*batch 3"]:
    """Apply one (4, 4) motion to (..., 3) points."""
    return points @ target_from_source[:3, :3].T + target_from_source[:3, 3]


def from_quaternion(wxyz: Num[Array, "*batch 4"], translation: Num[Array, "*batch 3"]) -> Float[Array, "*batch 4 4"]:
    """(..., 4) ``wxyz`` and (..., 3) translation to (..., 4, 4)."""
    xyzw = np.roll(np.asarray(wxyz, np.float64), -1, axis=-1)
    return rigid(Rotation.from_quat(xyzw).as_matrix(), translation)


def quaternion(target_from_source: Num[Array, "*batch 4 4"]) -> Float[Array, "*batch 4"]:
    """Unit quaternion ``wxyz`` with w >= 0; (..., 4)."""
    xyzw = Rotation.from_matrix(target_from_source[..., :3, :3]).as_quat(canonical=True)
    return np.roll(xyzw, 1, axis=-1)


def rotation_angle(a_from_b: Num[Array, "*batch 4 4"]) -> Float[Array, "*batch"] | np.floating:
    """Angle in radians of the rotation part, accurate near zero; (...)."""
    return Rotation.from_matrix(a_from_b[..., :3, :3]).magnitude()


def look_at(eye: Triple, target: Triple, up: Triple = (0.0, 1.0, 0.0)) -> Float[Array, "4 4"]:
    """``camera_from_world`` (OpenCV axes) of a camera at ``eye`` that looks at ``target``.

    Raises ``ValueError`` when the view direction is parallel to ``up``.
    """
    forward = np.asarray(target, np.float64) - np.asarray(eye, np.float64)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, np.asarray(up, np.float64))
    length = np.linalg.norm(right)
    if length < 1e-9:
        raise ValueError("look_at: the view direction is parallel to up")
    right /= length
    rotation = np.stack([right, np.cross(forward, right), forward])
    return rigid(rotation, -rotation @ np.asarray(eye, np.float64))


def rotation_between(source: Triple, target: Triple) -> Float[Array, "3 3"]:
    """Smallest rotation (3, 3) that turns direction ``source`` into direction ``target``."""
    a = np.asarray(source, np.float64) / np.linalg.norm(source)
    b = np.asarray(target, np.float64) / np.linalg.norm(target)
    axis = np.cross(a, b)
    sine, cosine = np.linalg.norm(axis), float(a @ b)
    if sine < 1e-12:
        if cosine > 0:
            return np.eye(3)
        # Opposite directions: half a turn about any perpendicular axis.
        axis = np.cross(a, np.eye(3)[np.argmin(np.abs(a))])
        sine = np.linalg.norm(axis)
    return Rotation.from_rotvec(axis / sine * np.arctan2(np.linalg.norm(np.cross(a, b)), cosine)).as_matrix()


def interpolate(a: Float[Array, "4 4"], b: Float[Array, "4 4"], weight: float) -> Float[Array, "4 4"]:
    """Motion between two (4, 4) ``frame_from_world`` at ``weight`` in [0, 1].

    Rotations follow the geodesic; the *origin* of the frame (the camera's centre, say) moves on a straight line.
    """
    ra, rb = a[:3, :3], b[:3, :3]
    step = Rotation.from_matrix(rb @ ra.T).as_rotvec()
    rotation = Rotation.from_rotvec(weight * step).as_matrix() @ ra
    centre = (1 - weight) * (-ra.T @ a[:3, 3]) + weight * (-rb.T @ b[:3, 3])
    return rigid(rotation, -rotation @ centre)


def align_similarity(source: Num[Array, "n 3"], target: Num[Array, "n 3"]) -> tuple[float, Float[Array, "4 4"]]:
    """Least-squares similarity (Umeyama 1991, eq. 40-43) of (N, 3) onto (N, 3).

    Returns ``(scale, target_from_source)`` with ``target ~ scale * R @ source + t``.
    Raises ``ValueError`` for fewer than 3 points.
    """
    if len(source) < 3:
        raise ValueError(f"source: expected at least 3 points, got {len(source)}")
    mean_s, mean_t = source.mean(0), target.mean(0)
    s0, t0 = source - mean_s, target - mean_t
    u, d, vt = np.linalg.svd(t0.T @ s0 / len(source))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = float((d * np.diag(sign)).sum() / (s0**2).sum(1).mean())
    return scale, rigid(rotation, mean_t - scale * rotation @ mean_s)

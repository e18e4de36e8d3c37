"""Which way is up, and where the floor is, from sparse points and the cameras.

Nobody tells a solve about gravity. People hold cameras level: the mean of the cameras' up directions, made
perpendicular to their right-hand directions, is near it. A large plane of points whose normal is near that guess, or
walls that are perpendicular to it, then give it more exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geometry import rigid
from geometry.scene import Plane
from geometry.trajectory import CameraPath

Array = np.ndarray

SNAP = np.deg2rad(25.0)  # a plane's normal this near to the prior replaces it
TRIALS = 600
MIN_SHARE = 0.08  # of the points that a plane must hold to be believed


@dataclass(frozen=True)
class Ground:
    """``up`` is a unit vector; ``plane`` the lowest large level plane, None where there is none."""

    up: Array
    plane: Plane | None


def find_ground(cameras: CameraPath, xyz: Array, *, seed: int = 0) -> Ground:
    """``xyz`` (N, 3) static points in the cameras' world."""
    prior = camera_up(cameras)
    points = xyz[np.isfinite(xyz).all(1)]
    if len(points) < 50:
        return Ground(prior, None)
    tolerance = 0.006 * _scene_size(cameras, points)
    rng = np.random.default_rng([seed, 23])
    found = _level_plane(points, prior, tolerance, rng)
    if found is None:
        return Ground(prior, None)
    up = found.normal
    # Several level planes may exist (table, shelf, floor): the lowest that still holds enough points is the ground.
    height = points @ up
    plane = Plane(up, _lowest_level(height, tolerance, MIN_SHARE * len(points)))
    # A ceiling alone is no ground: the floor lies below the cameras.
    below = np.median(plane.distance(cameras.centres)) > 0
    return Ground(up, plane if below else None)


def camera_up(cameras: CameraPath) -> Array:
    """Unit direction that is most nearly perpendicular to all cameras' x axes, on the side of their mean -y.

    A camera may pitch all it likes, but is rarely rolled: x stays level. Where all x axes are alike only the
    mean -y axis is known, made perpendicular to them.
    """
    right, up = cameras.camera_from_world[:, 0, :3], -cameras.camera_from_world[:, 1, :3]
    mean_up = up.mean(0) / np.linalg.norm(up.mean(0))
    # Minimise sum (x . u)^2 with a weak pull to the mean -y: the pull decides only what the x axes leave open.
    matrix = right.T @ right / len(right) - 0.002 * np.outer(mean_up, mean_up)
    direction = np.linalg.eigh(matrix)[1][:, 0]
    return direction if direction @ mean_up > 0 else -direction


def world_y_up(ground: Ground) -> Array:
    """(4, 4) rotation ``new_from_old`` that turns ``ground.up`` to +Y."""
    return rigid.rigid(rigid.rotation_between(ground.up, np.array([0.0, 1.0, 0.0])), np.zeros(3))


def standing(rotation: Array, up: Array) -> Array:
    """(N, 4, 4) ``camera_from_world`` of a camera that only turns, in a world that its height measures.

    ``rotation`` (N, 3, 3) is camera_from_reference and ``up`` (3,) in the reference frame. The camera's centre lies at
    (0, 1, 0) over the ground y = 0; the first frame looks along -Z.
    """
    forward = rotation[0][2]
    back = up * (forward @ up) - forward
    if np.linalg.norm(back) < 1e-6:  # straight up or down: what is up in the picture lies ahead
        back = np.cross(rotation[0][0], up)
    back = back / np.linalg.norm(back)
    reference_from_world = np.stack([np.cross(up, back), up, back], 1)
    turned = rotation @ reference_from_world
    return rigid.rigid(turned, -turned[:, :, 1])


def _scene_size(cameras: CameraPath, points: Array) -> float:
    """Median distance between cameras and points."""
    centre = cameras.centres.mean(0)
    return float(np.median(np.linalg.norm(points - centre, axis=1)))


def _level_plane(points: Array, prior: Array, tolerance: float, rng: np.random.Generator) -> Plane | None:
    """The plane with most points among those whose normal is near ``prior``; refined by least squares."""
    corners = points[rng.integers(len(points), size=(TRIALS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals / np.maximum(length, 1e-12)[:, None]
    normals *= np.sign(normals @ prior)[:, None]
    near = (length > 1e-9) & (normals @ prior > np.cos(SNAP))
    if not near.any():
        return None
    normals, offsets = normals[near], (normals[near] * corners[near, 0]).sum(1)
    counts = (np.abs(points @ normals.T - offsets) < tolerance).sum(0)
    best = int(np.argmax(counts))
    if counts[best] < MIN_SHARE * len(points):
        return None
    normal, offset, scale = normals[best], float(offsets[best]), 0.5 * tolerance
    for _ in range(30):
        away = np.abs(points @ normal - offset)
        inside = away < tolerance
        # A rug on a floor makes two layers in one slab: a plane through both is tilted, so one of them has to win.
        weight = np.where(inside, 1 / (1 + (away / scale) ** 2) ** 2, 0)
        if inside.sum() < 10:
            return None
        middle = weight @ points / weight.sum()
        normal = np.linalg.svd((points[inside] - middle) * np.sqrt(weight[inside, None]), full_matrices=False)[2][2]
        normal = normal * np.sign(normal @ prior)
        offset = float(normal @ middle)
        spread = np.average(away, weights=weight**2)
        scale = max(0.8 * scale, spread) if scale > spread else scale
    return Plane(normal, offset) if normal @ prior > np.cos(SNAP) else None


def _lowest_level(height: Array, tolerance: float, enough: float) -> float:
    """Height of the lowest slab of points that holds ``enough``; the fullest slab when none does."""
    ordered = np.sort(height)
    count = np.searchsorted(ordered, ordered + 2 * tolerance, "right") - np.arange(len(ordered))
    full = np.flatnonzero(count >= enough)
    start = int(full[0]) if len(full) else int(np.argmax(count))
    # Within reach of the first full slab, the fullest one: the first only touches the floor's noise.
    window = np.arange(start, np.searchsorted(ordered, ordered[start] + 2 * tolerance, "right"))
    start = int(window[np.argmax(count[window])])
    return float(np.median(ordered[start : start + count[start]]))

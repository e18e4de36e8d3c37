"""Large planes of a scene (floors, walls, table tops) from its sparse points, and what they say in a picture.

The inverse depth of a plane is linear in the pixel: with ``n @ x = d`` in the camera's frame and x = z * ray,
``1 / z = n @ ray / d``. A plane found once in the world is the same in every frame, whatever a frame can see of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from scipy.spatial import cKDTree

from geometry.camera import Camera, pixel_rays
from geometry.scene import Plane

Array = np.ndarray

ON_PLANE = 0.015  # relative difference of inverse depth up to which a pixel lies on a plane
LEAST_KNOWN = 2e-4
ENOUGH_KNOWN = 0.1  # weight around, where a plane is half trusted
FRINGE = 3.0  # x the tolerance
NEIGHBOURS = 40
MOST_DRAWS_AT = 1500  # points that take part in the search


@dataclass(frozen=True)
class PlaneSearch:
    tolerance: float = 0.006  # x the scene's median depth
    cell: float = 0.025  # the same: what lies in one counts once: area matters, not how much there is to see on it
    most: int = 10
    min_share: float = 0.012  # of all points
    min_points: int = 16
    min_width: float = 0.15  # spread across over spread along: a row of points is no plane
    draws: int = 3000
    seed: int = 0


@dataclass(frozen=True)
class LargePlane:
    plane: Plane
    size: float  # of its points beside those of the largest, in (0, 1]


def find_planes(points: Array, scale: float, search: PlaneSearch | None = None) -> tuple[LargePlane, ...]:
    """Planes through many of (N, 3) ``points``, largest first, by repeated random search (Fischler & Bolles 1981).

    ``scale`` is the scene's typical distance.
    """
    s = search or PlaneSearch()
    rest = _thinned(points, s.cell * scale)
    least = max(s.min_points, int(s.min_share * len(rest)))
    found: list[tuple[Plane, int]] = []
    while len(rest) >= least and len(found) < s.most:
        rng = np.random.default_rng([s.seed, len(rest)])
        normal, offset = _best_draw(rest, s.tolerance * scale, s.draws, rng)
        distance = np.abs(rest @ normal - offset)
        near = distance < s.tolerance * scale
        if near.sum() < least:
            break
        centre = rest[near].mean(0)
        _, spread, axes = np.linalg.svd(rest[near] - centre, full_matrices=False)
        if spread[1] > s.min_width * spread[0]:
            found.append((Plane(axes[2], float(axes[2] @ centre)), int(near.sum())))
        # Noisy points of a plane lie beside it; they must not make another.
        rest = rest[distance > FRINGE * s.tolerance * scale]
    largest = max((size for _, size in found), default=1)
    return tuple(LargePlane(plane, size / largest) for plane, size in found)


def _thinned(points: Array, cell: float) -> Array:
    """The mean of what lies in each cell."""
    _, number, count = np.unique(np.floor(points / cell), axis=0, return_inverse=True, return_counts=True)
    sums = [np.bincount(number.ravel(), weights=points[:, k]) for k in range(3)]
    return np.stack(sums, 1) / count[:, None]


def _best_draw(points: Array, tolerance: float, draws: int, rng: np.random.Generator) -> tuple[Array, float]:
    """Of planes through three points: any three, and three neighbours, which find small planes (Myatt et al. 2002)."""
    some = points[:: max(1, len(points) // MOST_DRAWS_AT)]
    near = min(NEIGHBOURS, len(some))
    first = rng.integers(0, len(some), draws)
    around = cKDTree(some).query(some[first], near)[1]
    pick = rng.integers(0, near, (2, draws))
    beside = np.where(np.arange(draws) % 2, np.take_along_axis(around, pick.T, 1).T,
                      rng.integers(0, len(some), (2, draws)))
    a, b, c = some[first], some[beside[0]], some[beside[1]]
    normals = np.cross(b - a, c - a)
    length = np.linalg.norm(normals, axis=1)
    normals /= np.maximum(length, 1e-12)[:, None]
    offsets = (normals * a).sum(1)
    count = (np.abs(some @ normals.T - offsets) < tolerance).sum(0) * (length > 0)
    best = int(count.argmax())
    return normals[best], float(offsets[best])


def plane_q(plane: Plane, camera: Camera, camera_from_world: Array) -> Array:
    """(H, W) float32 inverse depth of the plane; 0 where the ray never meets it."""
    normal = camera_from_world[:3, :3] @ plane.normal
    offset = plane.offset + normal @ camera_from_world[:3, 3]
    if abs(offset) < 1e-9:
        return np.zeros(camera.hw, np.float32)
    q = pixel_rays(camera) @ normal / offset
    return np.maximum(q, 0).astype(np.float32)


@dataclass(frozen=True)
class PlaneGuess:
    """Per pixel (H, W) a plane that much of what is known around lies on: its inverse depth, and that share, less for
    small planes: of two that explain the same, the larger is the simpler. ``trust`` in [0, 1] is low where little is
    known around at all."""

    q: Array
    share: Array
    trust: Array


def likely_planes(
    planes: Sequence[LargePlane], plane_qs: Sequence[Array], q: Array, error: Array, weight: Array,
    smooth: Callable[[Array], Array], count: int = 3,
) -> list[PlaneGuess]:
    """The ``count`` likeliest planes of every pixel, by the depth ``q`` with relative ``error`` known around it with
    ``weight`` in [0, 1]: in the region of the picture that the edge-aware filter ``smooth`` knows, else farther away.
    """
    if not plane_qs:
        return []
    around = partial(_around, smooth=smooth)
    known = around(weight) + np.float32(LEAST_KNOWN)
    on = [around(weight * (np.abs(q - p) < (ON_PLANE + 2 * error) * p)) * (p > 0) for p in plane_qs]
    shares = np.stack([part * (0.7 + 0.3 * np.sqrt(one.size)) / known for part, one in zip(on, planes, strict=True)])
    order = np.argsort(-shares, axis=0)[:count]
    stack = np.stack(plane_qs)
    enough = known / (known + np.float32(ENOUGH_KNOWN))
    return [PlaneGuess(np.take_along_axis(stack, k[None], 0)[0], share, share * enough)
            for k in order for share in [np.take_along_axis(shares, k[None], 0)[0]]]


def _around(weight: Array, smooth: Callable[[Array], Array]) -> Array:
    weight = weight.astype(np.float32)
    near, far = (2 * (weight.shape[1] // part) + 1 for part in (16, 6))
    return (np.maximum(smooth(weight), 0) + np.float32(0.1) * cv2.blur(weight, (near, near))
            + np.float32(0.02) * cv2.blur(weight, (far, far)))

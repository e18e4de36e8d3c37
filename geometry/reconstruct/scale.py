"""Metres for a scene that was solved without a measure.

Each function returns the factor by which the scene must grow; ``CameraPath.in_world(eye, factor)``, ``scaled_points``
and depth times factor apply it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geometry import rigid
from geometry.reconstruct.errors import DistanceNotSeen
from geometry.scene import DepthMap, Plane, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray


def scale_from_distance(a_world: Array, b_world: Array, metres: float) -> float:
    """Factor that makes the distance of two (3,) points ``metres``. Raises ``DistanceNotSeen`` when they coincide."""
    distance = float(np.linalg.norm(np.asarray(a_world) - np.asarray(b_world)))
    if not distance > 1e-12:
        raise DistanceNotSeen("the two points of the known distance coincide", "Choose two points farther apart")
    return metres / distance


def scale_from_camera_height(cameras: CameraPath, ground: Plane | None, height_m: float) -> float:
    """Factor that puts the cameras' median height over ``ground`` at ``height_m`` metres."""
    if ground is None:
        raise DistanceNotSeen("no ground was found under the camera",
                              "Give a known distance between two points instead")
    height = float(np.median(ground.distance(cameras.centres)))
    if not height > 1e-9:
        raise DistanceNotSeen("the camera does not stand above the ground that was found",
                              "Give a known distance between two points instead")
    return height_m / height


def surface_point(cameras: CameraPath, depth: DepthMap, frame: int, xy_px: tuple[float, float]) -> Array:
    """(3,) world point that pixel ``xy_px`` (working raster) of ``frame`` shows.

    The median over a few pixels around it. Raises ``DistanceNotSeen`` outside the picture and where depth is unknown.
    """
    h, w = depth.depth.shape
    x, y = xy_px
    if not (0 <= x < w and 0 <= y < h):
        raise DistanceNotSeen(f"pixel ({x:g}, {y:g}) lies outside the picture of {w}x{h}", "Choose one inside")
    column, row = int(x), int(y)
    near = depth.depth[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
    known = near[(near > 0) & np.isfinite(near)]
    if not len(known):
        raise DistanceNotSeen(f"no depth is known at pixel ({x:g}, {y:g})", "Choose a textured, unmoving point")
    ray = cameras.camera(frame).rays_from_px(np.array([x, y]))
    return rigid.transform(rigid.inverse(cameras.pose(frame)), ray * float(np.median(known)))


def scaled_points(points: SparsePoints, factor: float) -> SparsePoints:
    return replace(points, xyz=points.xyz * factor)


def scaled_plane(plane: Plane, factor: float) -> Plane:
    return replace(plane, offset=plane.offset * factor)

"""Depth of a shot whose camera only turns or stands still: nothing is seen from two sides, so the ground is all."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.mesh import Mesh
from geometry.scene import DepthMap, Plane
from geometry.trajectory import CameraPath

Array = np.ndarray

MOST_HEIGHTS = 100.0  # of the camera above the ground, that a ray goes before it counts as never meeting it
MESH_HEIGHTS = 30.0  # the same, for the mesh: beyond, a pixel of error is metres
CONFIDENCE = 0.2  # that nothing stands on the ground is a guess
LOOKS = 12  # frames that say what is seen


def ground_depth(
    camera: Camera, camera_from_world: Float[Array, "4 4"], ground: Plane, moving: Array | None = None
) -> DepthMap:
    """Where rays meet the ground, on the lens's raster; 0 above the horizon and where something is ``moving`` (H, W).

    Raises ``ValueError`` for a camera that is not above the ground.
    """
    depth = _along_axis(camera.rays_from_px(pixel_centres(camera.wh)), camera_from_world, ground, MOST_HEIGHTS)
    depth = np.where(np.isfinite(depth), depth, 0).astype(np.float32)
    if moving is not None:
        depth[moving] = 0
    return DepthMap(depth, np.where(depth > 0, np.float32(CONFIDENCE), np.float32(0)))


def _along_axis(rays: Array, camera_from_world: Array, ground: Plane, most_heights: float) -> Array:
    """z-depth (...) at which (..., 3) camera rays with z = 1 meet the ground; inf beyond ``most_heights``."""
    world_from_camera = rigid.inverse(camera_from_world)
    origin = world_from_camera[:3, 3]
    height = float(ground.distance(origin))
    if height <= 0:
        raise ValueError(f"ground: expected below the camera, got a camera {height:g} above it")
    depth = ground.intersect(origin, rays @ world_from_camera[:3, :3].T)
    far = depth * np.linalg.norm(rays, axis=-1) > most_heights * height
    return np.where((depth > 0) & ~far, depth, np.inf)


def ground_quad(cameras: CameraPath, ground: Plane) -> Mesh | None:
    """A rectangle that covers the ground the cameras see, up to ``MESH_HEIGHTS``; None when they see none."""
    seen = [_seen_ground(cameras.camera(frame), cameras.pose(frame), ground)
            for frame in cameras.frames[:: max(1, len(cameras) // LOOKS)]]
    points = np.concatenate(seen)
    if len(points) == 0:
        return None
    across = rigid.rotation_between((0, 1, 0), ground.normal) @ np.eye(3)[:, [2, 0]]  # (3, 2): z, x; z x x is up
    low, high = (points @ across).min(0), (points @ across).max(0)
    margin = 0.05 * (high - low).max()
    low, high = low - margin, high + margin
    corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    vertices = corners @ across.T + ground.offset * ground.normal
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(vertices, faces, normals=np.tile(ground.normal, (4, 1)), name="scene")


def _seen_ground(camera: Camera, camera_from_world: Array, ground: Plane) -> Array:
    """(K, 3) world points of a coarse grid of pixels."""
    grid = cv2.resize(pixel_centres(camera.wh), (33, 25), interpolation=cv2.INTER_LINEAR)
    rays = camera.rays_from_px(grid).reshape(-1, 3)
    depth = _along_axis(rays, camera_from_world, ground, MESH_HEIGHTS)
    met = np.isfinite(depth)
    return rigid.transform(rigid.inverse(camera_from_world), rays[met] * depth[met, None])

"""From an anchor on a surface to the object's pose and size, and to its motion over the surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from scipy.interpolate import PchipInterpolator
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.scene import Placement, Plane, RigidTrack
from geometry.trajectory import CameraPath

Array = np.ndarray
UP = np.array([0.0, 1.0, 0.0])
AGREE = np.radians(2.5)  # a patch of surface is seldom measured better than this
LEVEL = np.radians(8.0)  # a solve's gravity is seldom better than this; a surface measured on its own is
SNAP = np.radians(15.0)


def upright(support: Plane) -> Num[Array, "3"]:
    """The object's up.

    Gravity, where surface and gravity agree within 2.5 degrees. A surface up to 8 degrees off is taken for level all
    the same, and for a better witness of gravity than the solve: the object stands flat. Up to 15 degrees it is a slope
    to stand upright on; beyond, up is the surface's normal.
    """
    level = float(support.normal @ UP)
    is_flat = level > np.cos(AGREE)
    is_slope = np.cos(SNAP) < level <= np.cos(LEVEL)
    return UP if is_flat or is_slope else support.normal


def orientation(
    up: Num[Array, "3"], base: Num[Array, "3"], camera_centre: Num[Array, "3"], yaw: float
) -> Float[Array, "3 3"]:
    """(3, 3) ``world_from_object``: +Y along ``up``, +Z along the horizontal direction to the camera turned by ``yaw``.

    ``yaw`` in radians, counter-clockwise seen from above. Raises ``ValueError`` when the camera is straight above.
    """
    to_camera = camera_centre - base
    forward = to_camera - (to_camera @ up) * up
    length = np.linalg.norm(forward)
    if length < 1e-6 * np.linalg.norm(to_camera):
        raise ValueError("yaw: the camera looks straight down on the base, no horizontal direction leads to it")
    z0 = forward / length
    x0 = np.cross(up, z0)
    z = np.cos(yaw) * z0 + np.sin(yaw) * x0
    return np.stack([np.cross(up, z), up, z], axis=1)


def height_from_px(
    camera: Camera, camera_from_world: Float[Array, "4 4"], base: Num[Array, "3"], up: Num[Array, "3"],
    height_px: float,
) -> float:
    """Height in scene units whose projection from ``base`` along ``up`` is ``height_px`` long (Euclidean px).

    Raises ``ValueError`` when no height in front of the camera is that long in the picture.
    """
    foot = camera.px_from_cam(rigid.transform(camera_from_world, base))

    def excess(height: float) -> float:
        top = rigid.transform(camera_from_world, base + height * up)
        if top[2] <= 1e-9:
            return np.inf
        return float(np.linalg.norm(camera.px_from_cam(top) - foot)) - height_px

    distance = float(np.linalg.norm(rigid.transform(camera_from_world, base)))
    high = 1e-3 * distance
    while excess(high) < 0:
        high *= 1.5
        if high > 100 * distance:
            raise ValueError(
                f"height_px: no height reaches {height_px:g} px here (the surface is seen along its up axis)"
            )
    if not np.isfinite(excess(high)):
        raise ValueError(f"height_px: an object of {height_px:g} px would reach behind the camera")
    return float(brentq(excess, high / 1.5 if high > 1e-3 * distance else 0.0, high, xtol=1e-12 * distance))


def place(
    *, frame: int, anchor: Num[Array, "3"], support: Plane, camera_centre: Num[Array, "3"], yaw: float, scale: float,
    base_centre: Num[Array, "3"],
) -> Placement:
    """Stand an object whose base centre is ``base_centre`` (object units) on ``anchor``."""
    rotation = orientation(upright(support), anchor, camera_centre, yaw)
    translation = anchor - scale * rotation @ base_centre
    return Placement(frame, rigid.rigid(rotation, translation), scale, anchor, support)


def matrix(placement: Placement) -> Float[Array, "4 4"]:
    """(4, 4) ``world_from_object`` with the scale folded in."""
    return placement.world_from_object @ np.diag([placement.scale] * 3 + [1.0])


@dataclass(frozen=True)
class PathKey:
    """At ``frame`` the base stands on pixel ``at`` (x, y), turned by ``yaw`` radians from how it was placed."""

    frame: int
    at: tuple[float, float]
    yaw: float


def path_on_support(placement: Placement, keys: Sequence[PathKey], cameras: CameraPath) -> RigidTrack:
    """The motion of an object that slides over its support from key to key; the placing frame is a key of its own.

    Eased: monotone cubics (Fritsch and Carlson 1980) through the keys, without overshoot, at rest before the first and
    after the last. ``cameras`` are of the raster the pixels are meant in. Raises ``ValueError`` that names the key for
    a frame without camera, one used twice, or a pixel that does not show the support.
    """
    up, points, turns = upright(placement.support), {placement.frame: placement.anchor}, {placement.frame: 0.0}
    for key in keys:
        if key.frame in points:
            raise ValueError(f"key {key.frame}: expected a frame once, and not the one the object is placed in")
        if key.frame not in cameras:
            raise ValueError(f"key {key.frame}: expected a frame whose camera is known")
        points[key.frame] = _on_support(placement.support, cameras, key)
        turns[key.frame] = key.yaw
    at = sorted(points)
    frames = tuple(range(at[0], at[-1] + 1))
    if len(at) == 1:
        return RigidTrack(placement.frame, frames, np.eye(4)[None])
    where = PchipInterpolator(at, np.array([points[f] for f in at]))(frames)
    turn = PchipInterpolator(at, np.array([turns[f] for f in at]))(frames)
    rotation = Rotation.from_rotvec(turn[:, None] * up).as_matrix()
    return RigidTrack(placement.frame, frames, rigid.rigid(rotation, where - rotation @ placement.anchor))


def _on_support(support: Plane, cameras: CameraPath, key: PathKey) -> Array:
    world_from_camera = rigid.inverse(cameras.pose(key.frame))
    ray = world_from_camera[:3, :3] @ cameras.camera(key.frame).rays_from_px(np.array(key.at))
    t = float(support.intersect(world_from_camera[:3, 3], ray))
    if not (np.isfinite(t) and t > 0):
        raise ValueError(f"key {key.frame}: pixel {key.at[0]:g},{key.at[1]:g} does not show the surface")
    return world_from_camera[:3, 3] + t * ray

"""A camera that stands still: one pose for all frames; focal length and horizon from straight lines, if there are any.

The lines are those of the median picture, so that people who walk through do not count.
"""

from __future__ import annotations

import numpy as np

from geometry.camera import Camera
from geometry.reconstruct.cameras.solution import CameraSolve, PointViews, ShotToSolve
from geometry.reconstruct.cameras.turns import FOCAL_GUESS
from geometry.reconstruct.cameras.vanishing import Axes, find_axes, segments_of
from geometry.reconstruct.ground import standing
from geometry.scene import Plane, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray

LEVEL_UP = np.array([0.0, -1.0, 0.0])  # in the camera
NO_POINTS = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros((0, 2), np.int64))
GROUND = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
GIVE_FOCAL = "Give the focal length and the horizon: few straight lines are seen"


def solve_locked(shot: ShotToSolve) -> CameraSolve:
    w, h = shot.wh
    lines = segments_of([shot.look.empty], [Camera(w, w, w / 2, h / 2, shot.wh)], np.eye(3)[None])
    axes = find_axes(lines, focal_px=shot.focal_px, seed=shot.seed)
    focal = shot.focal_px or (axes.focal_px if axes and axes.focal_known else FOCAL_GUESS * max(shot.wh))
    focal_known = shot.focal_px is not None or (axes is not None and axes.focal_known)
    if axes is not None and axes.focal_px != focal:
        axes = find_axes(lines, focal_px=focal, seed=shot.seed)  # up, as the focal length that is used sees it
    lens = Camera(focal, focal, w / 2, h / 2, shot.wh)
    up, horizon_known = known_up(axes, shot, lens)
    pose = standing(np.eye(3)[None], up)
    shot.report(100, 100)
    count = len(shot.frames)
    return CameraSolve(
        CameraPath(shot.frames, (lens,) * count, np.repeat(pose, count, axis=0)), NO_POINTS, PointViews.none(), GROUND,
        shot.shot, (), shot.shot.residual_px, 0.0, "vanishing points" if axes and axes.up_known else "level camera", (),
        focal_known, horizon_known, None, "" if focal_known and horizon_known else GIVE_FOCAL,
    )


def known_up(axes: Axes | None, shot: ShotToSolve, lens: Camera) -> tuple[Array, bool]:
    """(3,) up in the first frame: by the given horizon, else by lines; a level camera and False when neither is there.
    """
    if shot.horizon is not None:
        return up_from_horizon(lens, shot.horizon), True
    if axes is not None and axes.up_known:
        return axes.up, True
    return LEVEL_UP, False


def up_from_horizon(lens: Camera, horizon: tuple[float, float, float, float]) -> Array:
    """(3,) up in the camera: across the plane of the rays to two points of the horizon."""
    rays = lens.rays_from_px(np.array(horizon).reshape(2, 2))
    up = np.cross(rays[0], rays[1])
    up = up / np.linalg.norm(up)
    return up if up[1] < 0 else -up

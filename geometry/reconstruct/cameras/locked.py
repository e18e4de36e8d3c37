"""A camera that stands still: one pose for all frames; focal length and horizon from straight lines, if there are any.

The lines are those of the median picture, so that people who walk through do not count.
"""

from __future__ import annotations

import numpy as np

from geometry.camera import Camera
from geometry.reconstruct.cameras.lines import segments_of
from geometry.reconstruct.cameras.solution import CameraSolve, Horizon, PointViews, ShotToSolve
from geometry.reconstruct.cameras.turns import FOCAL_GUESS
from geometry.reconstruct.cameras.vanishing import Axes, find_axes
from geometry.reconstruct.ground import standing
from geometry.scene import Plane, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray

LEVEL_UP = np.array([0.0, -1.0, 0.0])  # in the camera
NO_POINTS = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros((0, 2), np.int64))
GROUND = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
LIKELY_UP = np.deg2rad(4.0)


def solve_locked(shot: ShotToSolve) -> CameraSolve:
    w, h = shot.wh
    lines = segments_of([shot.look.empty], [Camera(w, w, w / 2, h / 2, shot.wh)], np.eye(3)[None])
    axes = find_axes(lines, focal_px=shot.focal_px, seed=shot.seed)
    focal = shot.focal_px or (axes.focal_px if axes and axes.focal_likely else FOCAL_GUESS * max(shot.wh))
    focal_known = shot.focal_px is not None or (axes is not None and axes.focal_known)
    lens = Camera(focal, focal, w / 2, h / 2, shot.wh)
    up, horizon_known = known_up(axes, lens, np.eye(3), LEVEL_UP)
    if axes is not None and axes.focal_px != focal:  # up, as the focal length that is used sees it: known it is not
        up, _ = known_up(find_axes(lines, focal_px=focal, seed=shot.seed), lens, np.eye(3), LEVEL_UP)
        horizon_known = False
    method = "level camera" if up is LEVEL_UP else "vanishing points"
    if shot.horizon is not None:
        up, horizon_known, method = up_from_horizon(lens, shot.horizon), True, "given horizon"
    pose = standing(np.eye(3)[None], up)
    shot.report(100, 100)
    count = len(shot.frames)
    return CameraSolve(
        CameraPath(shot.frames, (lens,) * count, np.repeat(pose, count, axis=0)), NO_POINTS, PointViews.none(), GROUND,
        shot.shot, (), shot.shot.residual_px, 0.0, method, (),
        focal_known, horizon_known, None, missing_advice(focal_known, horizon_known),
    )


def known_up(axes: Axes | None, lens: Camera, turn: Array, level: Array) -> tuple[Array, bool]:
    """(3,) up in the reference frame, and whether lines say so; ``turn`` (3, 3) is camera_from_reference of ``lens``.

    Lines that leave it open are believed as far as they are likely and leave the lower half of the picture on the
    ground, where things are stood; else up is ``level``, that of a camera held level.
    """
    if axes is not None and axes.up_known:
        return axes.up, True
    if axes is not None and axes.up_sigma < LIKELY_UP and _ground_below(turn @ axes.up, lens):
        return axes.up, False
    return level, False


def _ground_below(up: Array, lens: Camera) -> bool:
    """Whether every pixel of the picture's lower half sees the ground."""
    w, h = lens.wh
    return bool((lens.rays_from_px(np.array([[0.0, h / 2 + 1], [w, h / 2 + 1], [0.0, h], [w, h]])) @ up < 0).all())


def missing_advice(focal_known: bool, horizon_known: bool) -> str:
    """What the user can give where straight lines leave something open."""
    missing = [name for name, known in (("focal length", focal_known), ("horizon", horizon_known)) if not known]
    return f"Straight lines leave the {' and the '.join(missing)} open: give what you know" if missing else ""


def up_from_horizon(lens: Camera, horizon: Horizon) -> Array:
    """(3,) up in the camera: across the plane of the rays to two points of the horizon."""
    rays = lens.rays_from_px(np.array(horizon).reshape(2, 2))
    up = np.cross(rays[0], rays[1])
    up = up / np.linalg.norm(up)
    return up if up[1] < 0 else -up

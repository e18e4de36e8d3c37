"""Small moving scenes and the cameras that look at them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.guides import GuideSource
from geometry.mesh import Mesh, baked
from geometry.render.base import Instance
from geometry.trajectory import CameraPath
from tests.geometry.render.shapes_for_render import at, ball, box, quad

Placing = Callable[[float], tuple[Instance, ...]]
WH = (160, 120)


def block(width: float, height: float, depth: float, x: float, y: float, z: float) -> Mesh:
    """A closed box with its centre at (x, y, z)."""
    matrix = np.diag([width, height, depth, 1.0])
    matrix[:3, 3] = x, y, z
    return baked(box(), matrix)


def street(frame: float) -> tuple[Instance, ...]:
    """Ground (1), two houses (2, 3), a lamp post (4) and a ball (5) that rolls to the left and turns."""
    turn = rigid.look_at((0, 0, 0), (np.sin(0.1 * frame), 0, np.cos(0.1 * frame)))
    return (
        Instance((quad((0, 0, 0), (20, 0, 0), (0, 0, -20)),), np.eye(4), 1),
        Instance((block(3, 4, 3, -3, 2, -2),), np.eye(4), 2),
        Instance((block(2, 6, 2, 3, 3, -5),), np.eye(4), 3),
        Instance((block(0.15, 3, 0.15, 0.8, 1.5, 1),), np.eye(4), 4),
        Instance((ball(0.8, 12),), at(1.5 - 0.1 * frame, 0.8, 0) @ turn, 5),
    )


def path(frames: int = 8, wh: tuple[int, int] = WH, *, step: float = 0.15) -> CameraPath:
    """Sideways and forward past the street, with a zoom."""
    poses = [rigid.look_at((step * i - 0.5, 1.8, 7 - 0.1 * i), (0, 1.5, 0)) for i in range(frames)]
    focal = [wh[0] * (0.9 + 0.01 * i) for i in range(frames)]
    cameras = tuple(Camera(f, f, wh[0] / 2 + 3, wh[1] / 2 - 2, wh) for f in focal)
    return CameraPath(tuple(range(frames)), cameras, np.stack(poses))


def street_guides(frames: int = 8, wh: tuple[int, int] = WH) -> GuideSource:
    return GuideSource(street, path(frames, wh), keep=12)


def looking_from(*eyes: tuple[float, float, float], target: tuple[float, float, float] = (0, 0, 0)) -> CameraPath:
    """One frame an eye, 53 degrees wide."""
    lens = Camera(160, 160, 80, 60, WH)
    poses = np.stack([rigid.look_at(eye, target) for eye in eyes])
    return CameraPath(tuple(range(len(eyes))), (lens,) * len(eyes), poses)


def wall(frame: float) -> tuple[Instance, ...]:
    """18 x 18 in the plane z = 0."""
    return (Instance((quad((0, 0, 0), (9, 0, 0), (0, 9, 0)),), np.eye(4), 1),)

"""What every solver takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from geometry.reconstruct.cameras.look import Look
from geometry.reconstruct.cameras.shot import ShotAnalysis
from geometry.reconstruct.cameras.tracks import Tracks
from geometry.scene import FrameSource, MotionSource, Plane, SparsePoints
from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath

Array = np.ndarray
Report = Callable[..., None]  # report(done, total)
Horizon = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True)
class Gate:
    """What a solve with parallax must reach to be believed."""

    min_registered: float = 0.9  # share of frames
    min_range: float = 0.5  # share of frames without a gap, kept when fewer are registered
    focal_ratio: tuple[float, float] = (0.4, 8.0)  # f / max(W, H)
    max_k1: float = 0.5
    max_reprojection_px: float = 1.0
    min_triangulation_deg: float = 1.5
    min_points: int = 50
    min_depth_spread: float = 0.03  # points on a sphere around the camera: it only turned


@dataclass(frozen=True)
class PointViews:
    """Which frame saw which sparse point where: (M,) source frame, (M,) index into the points, (M, 2) px."""

    frame: Array
    point: Array
    xy: Array

    def __post_init__(self) -> None:
        expect_shape("xy", self.xy, (None, 2))
        expect_shape("frame", self.frame, (len(self.xy),))
        expect_shape("point", self.point, (len(self.xy),))

    @classmethod
    def none(cls) -> PointViews:
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2)))


@dataclass(frozen=True)
class ShotToSolve:
    """A shot, and what is known of it. Pixels are those of the working raster."""

    clip: FrameSource
    frames: tuple[int, ...]
    wh: tuple[int, int]
    look: Look
    tracks: Tracks | None  # None: locked, nothing was followed
    shot: ShotAnalysis
    focal_px: float | None  # held when given
    horizon: Horizon | None  # two points on the horizon in the first frame
    masks: MotionSource | None  # what moves, if somebody knows
    seed: int
    workdir: Path
    gate: Gate
    report: Report


@dataclass(frozen=True)
class CameraSolve:
    """An upright (+Y up) solve on the working raster, in scene units.

    Where the camera does not travel (``shot.kind`` locked or pan) there are no points, and the world is measured by the
    camera's height: its centre lies at (0, 1, 0), the ground is y = 0.
    """

    cameras: CameraPath
    points: SparsePoints
    views: PointViews
    ground: Plane | None
    shot: ShotAnalysis  # ``kind`` is the one that was solved
    unregistered: tuple[int, ...]
    reprojection_px: float
    median_triangulation_deg: float  # 0 without parallax
    method: str
    attempts: tuple[str, ...]
    focal_known: bool  # given, or measured to some percents
    horizon_known: bool  # given, or measured; else cameras are taken to be held level
    model_folder: Path | None  # COLMAP's own files; their world is *not* turned upright
    advice: str = ""  # what would help, where something is missing

    @property
    def depth_is_a_guess(self) -> bool:
        """A camera that does not travel sees no depth: only the ground plane and the frames' rotations are known."""
        return self.shot.kind != "parallax"


class Solver(Protocol):
    """Raises a ``ReconstructError`` when it cannot."""

    def __call__(self, shot: ShotToSolve) -> CameraSolve: ...

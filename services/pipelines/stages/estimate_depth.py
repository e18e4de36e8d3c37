"""Stage: dense depth of every frame that has a camera."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.reconstruct.depth.estimate import DepthFolder, DepthSolver, solve_depth
from geometry.reconstruct.depth.ground_depth import ground_depth
from geometry.reconstruct.motion.masks import MotionFolder
from geometry.scene import MotionSource, Plane
from geometry.trajectory import CameraPath
from services.errors import Unsolvable
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_folder import CAMERAS, MOTION, load_cameras


@dataclass(frozen=True)
class DepthConfig:
    seed: int


def estimate_depth(
    *, out: Path, config: DepthConfig, report: Report, clip: ClipReader, cameras: Artifact,
    motion: Artifact | None = None,
) -> None:
    """Writes one depth map per frame, see ``DepthFolder``; what moves by ``motion`` gets none.

    Cameras that share one centre see no depth: theirs is that of the ground under them, with little confidence.
    """
    path, points = load_cameras(cameras)
    moving = None if motion is None else MotionFolder(motion.path / MOTION)
    ground = load_ground(cameras)
    if path.has_one_centre and ground is not None:
        _write_ground(DepthFolder(out), path, ground, moving, report)
        return
    if len(points.xyz) == 0:
        raise Unsolvable(
            "scene: no point of the picture agrees with the given cameras",
            "Check that the cameras belong to this clip and to its frame numbers",
        )
    solver = DepthSolver(clip, path, points, motion=moving)
    solve_depth(solver, DepthFolder(out), out / "work", report)
    shutil.rmtree(out / "work", ignore_errors=True)


def load_ground(cameras: Artifact) -> Plane | None:
    """The ground that came with the cameras."""
    about = json.loads((cameras.path / CAMERAS).read_text())["scene"]["ground"]
    return about and Plane(np.array(about["normal"]), about["offset"])


def _write_ground(
    folder: DepthFolder, path: CameraPath, ground: Plane, motion: MotionSource | None, report: Report
) -> None:
    for done, frame in enumerate(path.frames):
        moving = None if motion is None else motion.read(frame) > 0
        folder.write(frame, ground_depth(path.camera(frame), path.pose(frame), ground, moving))
        report(done + 1, len(path))

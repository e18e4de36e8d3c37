"""Stage: dense depth of every frame that has a camera."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from geometry.reconstruct.depth import DepthFolder, DepthSolver, solve_depth
from services.errors import Unsolvable
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_folder import load_cameras


@dataclass(frozen=True)
class DepthConfig:
    seed: int


def estimate_depth(*, out: Path, config: DepthConfig, report: Report, clip: ClipReader, cameras: Artifact) -> None:
    """Writes one depth map per frame, see ``DepthFolder``."""
    path, points = load_cameras(cameras)
    if len(points.xyz) == 0:
        raise Unsolvable(
            "scene: no point of the picture agrees with the given cameras",
            "Check that the cameras belong to this clip and to its frame numbers",
        )
    solver = DepthSolver(clip, path, points)
    solve_depth(solver, DepthFolder(out), out / "work", report)
    shutil.rmtree(out / "work", ignore_errors=True)

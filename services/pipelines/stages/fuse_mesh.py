"""Stage: one static mesh of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geometry.mesh import save_ply
from geometry.reconstruct.depth import fuse
from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.reconstruct.depth.ground_depth import ground_quad
from geometry.reconstruct.motion.masks import MotionFolder
from geometry.reconstruct.motion.movers import StillDepth
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_folder import MESH, MOTION, load_cameras
from services.pipelines.stages.estimate_depth import load_ground


@dataclass(frozen=True)
class FuseConfig:
    pass


def fuse_mesh(
    *, out: Path, config: FuseConfig, report: Report, cameras: Artifact, depth: Artifact, motion: Artifact
) -> None:
    """Writes ``mesh.ply`` of what stands still, or nothing where no depth is confident enough for a surface.

    Where the cameras share one centre, the ground is the only surface there is.
    """
    path, _ = load_cameras(cameras)
    ground = load_ground(cameras)
    if path.has_one_centre and ground is not None:
        mesh = ground_quad(path, ground)
    else:
        still = StillDepth(DepthFolder(depth.path), MotionFolder(motion.path / MOTION))
        mesh = fuse.fuse_mesh(path, still, progress=report)
    if mesh is not None:
        save_ply(mesh, out / MESH)

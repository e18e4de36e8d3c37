"""Stage: one static mesh of the scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geometry.mesh import save_ply
from geometry.reconstruct import fuse
from geometry.reconstruct.depth import DepthFolder
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_folder import MESH, load_cameras


@dataclass(frozen=True)
class FuseConfig:
    pass


def fuse_mesh(*, out: Path, config: FuseConfig, report: Report, cameras: Artifact, depth: Artifact) -> None:
    """Writes ``mesh.ply``, or nothing where no depth is confident enough for a surface."""
    path, _ = load_cameras(cameras)
    mesh = fuse.fuse_mesh(path, DepthFolder(depth.path), progress=report)
    if mesh is not None:
        save_ply(mesh, out / MESH)

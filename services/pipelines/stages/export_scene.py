"""Stage: a scene as files that other tools open. All are one world, +Y up, on the displayed raster."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from geometry.mesh import save_ply
from geometry.reconstruct.motion.movers import write_movers
from geometry.scene import Scene4D
from geometry.trajectory import CameraPath
from services.export import colmap, nerfstudio, nuke, usd
from services.media import exr, images
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_folder import CAMERAS, MESH, MOTION, MOVERS, save_points, scene_document

Array = np.ndarray


@dataclass(frozen=True)
class ExportConfig:
    frames: tuple[int, int]
    rate: str
    scale: float | None
    usd: bool  # scene.usda; insert makes its own, with the objects in it


def export_scene(
    *, out: Path, config: ExportConfig, report: Report, scene: Scene4D, cameras: Artifact, mesh: Artifact, **_: Artifact
) -> None:
    """Writes cameras in every format, ``depth/``, ``confidence/``, ``motion/`` where it is known, and the mesh."""
    (out / CAMERAS).write_text(scene_document(scene, cameras))
    _write_cameras(out, scene, scene.cameras.scaled(scene.source_wh))
    if config.usd:
        usd.write_usd(
            out / "scene.usda", scene.cameras.scaled(scene.source_wh), Fraction(config.rate), mesh=scene.mesh,
            ground=scene.ground, scale_known=scene.scale_known,
        )
    if scene.mesh is not None and config.scale is None:
        shutil.copy(mesh.path / MESH, out / MESH)
    elif scene.mesh is not None:
        save_ply(scene.mesh, out / MESH)
    if scene.motion is not None:
        write_movers(out / MOVERS, scene.movers)
    frames = scene.cameras.frames
    for i, frame in enumerate(frames):
        found = scene.depth.read(frame)
        exr.write_depth(out / "depth" / f"{frame:04d}.exr", _on(found.depth, scene.source_wh))
        images.write_mask(out / "confidence" / f"{frame:04d}.png", _on(found.confidence, scene.source_wh))
        if scene.motion is not None:
            images.write_picture(out / MOTION / f"{frame:04d}.png", _on(scene.motion.read(frame), scene.source_wh))
        report(i + 1, len(frames))


def _write_cameras(out: Path, scene: Scene4D, path: CameraPath) -> None:
    """``colmap/``, ``transforms.json`` and ``cameras.chan``; pictures are ``images/%04d.png`` to those who look."""
    names = [f"{frame:04d}.png" for frame in path.frames]
    colmap.write_colmap(out / "colmap", path, scene.points, names)
    save_points(out / "colmap", scene.points)  # with what the text model does not hold: who saw each point
    nerfstudio.write_transforms_json(out / "transforms.json", path, [f"images/{name}" for name in names])
    nuke.write_chan(out / "cameras.chan", path)


def _on(picture: Array, wh: tuple[int, int]) -> Array:
    """On the displayed raster; values are taken, never mixed across an edge."""
    return cv2.resize(picture, wh, interpolation=cv2.INTER_NEAREST_EXACT)

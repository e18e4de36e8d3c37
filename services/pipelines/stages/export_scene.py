"""Stage: a scene as files that other tools open, and as pictures for people."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from geometry.scene import Scene4D
from services.export import colmap
from services.media import exr, images
from services.media.clip import ClipReader
from services.media.contact_sheet import Tile, contact_sheet, evenly
from services.media.encode import VideoWriter
from services.pipelines.context import Artifact, Report
from services.pipelines.scene_folder import CAMERAS, MESH, save_points, scene_document

Array = np.ndarray
PREVIEW_WIDTH_PX = 480
SHOWN = 6


@dataclass(frozen=True)
class ExportConfig:
    frames: tuple[int, int]
    rate: str
    scale: float | None
    sheet: bool  # a contact sheet of the scene; insert makes its own


def export_scene(
    *, out: Path, config: ExportConfig, report: Report, clip: ClipReader, scene: Scene4D, cameras: Artifact,
    mesh: Artifact, **_: Artifact,
) -> None:
    """Writes ``cameras.json``, ``colmap/``, ``depth/``, ``confidence/``, ``mesh.ply`` and ``preview.mp4``."""
    (out / CAMERAS).write_text(scene_document(scene, cameras))
    on_source = scene.cameras.scaled(scene.source_wh)
    colmap.write_colmap(out / "colmap", on_source, scene.points)
    save_points(out / "colmap", scene.points)  # with what the text model does not hold: who saw each point
    if scene.mesh is not None and config.scale is None:
        shutil.copy(mesh.path / MESH, out / MESH)
    elif scene.mesh is not None:
        from geometry.mesh import save_ply

        save_ply(scene.mesh, out / MESH)
    near, far = _depth_range(scene)
    tiles = []
    frames = scene.cameras.frames
    shown = {frames[i] for i in evenly(len(frames), SHOWN)}
    h = round(PREVIEW_WIDTH_PX * clip.hw[0] / clip.hw[1])
    with VideoWriter(out / "preview.mp4", (2 * PREVIEW_WIDTH_PX, h), Fraction(config.rate)) as movie:
        for i, frame in enumerate(frames):
            found = scene.depth.read(frame)
            exr.write_depth(out / "depth" / f"{frame:04d}.exr", _on(found.depth, scene.source_wh))
            images.write_mask(out / "confidence" / f"{frame:04d}.png", _on(found.confidence, scene.source_wh))
            plate = clip.display(frame, (PREVIEW_WIDTH_PX, h))
            picture = depth_picture(found.depth, near, far)
            coloured = cv2.resize(picture, (PREVIEW_WIDTH_PX, h), interpolation=cv2.INTER_AREA)
            movie.write(np.hstack([plate, coloured]))
            if frame in shown:
                confidence = cv2.resize(found.confidence, (PREVIEW_WIDTH_PX, h), interpolation=cv2.INTER_AREA)
                tiles += [Tile(f"frame {frame}", plate), Tile("depth", coloured), Tile("confidence", confidence)]
            report(i + 1, len(frames), coloured)
    if config.sheet:
        title = f"reconstruct: {len(frames)} of {len(clip.numbers)} frames, {clip.hw[1]} x {clip.hw[0]}"
        images.write_picture(out / "contact_sheet.png", contact_sheet(tiles, title, columns=6))


def _depth_range(scene: Scene4D) -> tuple[float, float]:
    """Depths that the preview's colours span, over the whole clip so that they do not pump."""
    frames = scene.cameras.frames
    samples = [scene.depth.read(frames[i]).depth[::8, ::8] for i in evenly(len(frames), 6)]
    known = np.concatenate([d[d > 0] for d in samples])
    if len(known) == 0:
        return 1.0, 2.0
    near, far = np.percentile(known, (1, 99))
    return float(near), float(max(far, near * 1.001))


def depth_picture(depth: Array, near: float, far: float) -> Array:
    """(H, W, 3) uint8: bright is near, by inverse depth; black is unknown."""
    inverse = np.divide(1.0, depth, out=np.zeros_like(depth), where=depth > 0)
    share = np.clip((inverse - 1 / far) / (1 / near - 1 / far), 0, 1)
    coloured = cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where((depth > 0)[..., None], coloured, 0).astype(np.uint8)


def _on(picture: Array, wh: tuple[int, int]) -> Array:
    """On the displayed raster; values are taken, never mixed across an edge."""
    return cv2.resize(picture, wh, interpolation=cv2.INTER_NEAREST_EXACT)

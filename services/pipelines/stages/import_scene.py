"""Stage: a scene that an earlier reconstruct job delivered, as the artifacts its stages would have left."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.reconstruct.motion.masks import MotionFolder
from geometry.reconstruct.motion.movers import write_movers
from services.errors import InvalidRequest
from services.media.clip import ClipReader
from services.pipelines.context import Report
from services.pipelines.scene_folder import (
    CAMERAS,
    MESH,
    MOTION,
    MOVERS,
    delivered_document,
    load_delivered,
    save_points,
)

FIELD = "scene.scene_dir"
SCENE_FILES = (CAMERAS, MESH, "colmap/points*", "depth/*.exr", "confidence/*.png", MOVERS, f"{MOTION}/*.png")


@dataclass(frozen=True)
class ImportSceneConfig:
    frames: tuple[int, int]


def import_scene(*, out: Path, config: ImportSceneConfig, report: Report, clip: ClipReader, folder: Path) -> None:
    """Writes cameras, points, depth and mesh. Raises ``InvalidRequest`` when the scene is not one of this clip."""
    document, scene = delivered_document(folder), load_delivered(folder)
    path = scene.cameras
    wh = clip.hw[1], clip.hw[0]
    if scene.source_wh != wh:
        raise InvalidRequest(FIELD, f"a scene of a {wh} picture", scene.source_wh)
    frames = [number for number in path.frames if number in clip.numbers]
    if not frames:
        raise InvalidRequest(FIELD, f"cameras for frames {config.frames[0]}-{config.frames[1]}", "none of them")
    document["frames"] = [entry for entry in document["frames"] if entry["frame"] in frames]
    (out / CAMERAS).write_text(json.dumps(document, indent=1))
    save_points(out, scene.points)
    if (folder / MESH).exists():
        shutil.copy(folder / MESH, out / MESH)
    depths, motion = DepthFolder(out), MotionFolder(out / MOTION)
    if scene.motion is not None:
        write_movers(out / MOVERS, scene.movers)
    for i, frame in enumerate(frames):
        depths.write(frame, scene.depth.read(frame))
        if scene.motion is not None:
            motion.write(frame, scene.motion.read(frame))
        report(i + 1, len(frames))

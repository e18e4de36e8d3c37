"""Stage: a scene that an earlier reconstruct job delivered, as the artifacts its stages would have left."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geometry.reconstruct.depth import DepthFolder
from geometry.scene import DepthMap, SparsePoints
from services.errors import InvalidRequest
from services.export.colmap import read_points
from services.media import exr, images
from services.media.clip import ClipReader
from services.pipelines.context import Report
from services.pipelines.scene_folder import CAMERAS, MESH, POINTS, path_from_document

FIELD = "scene.scene_dir"
SCENE_FILES = (CAMERAS, MESH, "colmap/points3D.txt", "depth/*.exr", "confidence/*.png")


@dataclass(frozen=True)
class ImportSceneConfig:
    frames: tuple[int, int]


def import_scene(*, out: Path, config: ImportSceneConfig, report: Report, clip: ClipReader, folder: Path) -> None:
    """Writes cameras, points, depth and mesh. Raises ``InvalidRequest`` when the scene is not one of this clip."""
    document = json.loads((folder / CAMERAS).read_text())
    if "scene" not in document:
        raise InvalidRequest(FIELD, "a folder made by a reconstruct job", f"{CAMERAS} of another program in {folder}")
    path = path_from_document(document)
    wh = clip.hw[1], clip.hw[0]
    if path.cameras[0].wh != wh:
        raise InvalidRequest(FIELD, f"a scene of a {wh} picture", path.cameras[0].wh)
    frames = [number for number in path.frames if number in clip.numbers]
    if not frames:
        raise InvalidRequest(FIELD, f"cameras for frames {config.frames[0]}-{config.frames[1]}", "none of them")
    document["frames"] = [entry for entry in document["frames"] if entry["frame"] in frames]
    (out / CAMERAS).write_text(json.dumps(document, indent=1))
    xyz, error_px = read_points(folder / "colmap" / "points3D.txt")
    points = SparsePoints(xyz, error_px, np.full(len(xyz), 2))
    np.savez(out / POINTS, xyz=points.xyz, error_px=points.error_px, track_length=points.track_length)
    if (folder / MESH).exists():
        shutil.copy(folder / MESH, out / MESH)
    depths, working = DepthFolder(out), tuple(document["scene"]["working_wh"])
    for i, frame in enumerate(frames):
        depth = exr.read_depth(folder / "depth" / f"{frame:04d}.exr", FIELD)
        confidence = images.read_mask(folder / "confidence" / f"{frame:04d}.png", FIELD)
        nearest = {"dsize": working, "interpolation": cv2.INTER_NEAREST_EXACT}
        depths.write(frame, DepthMap(cv2.resize(depth, **nearest), cv2.resize(confidence, **nearest)))
        report(i + 1, len(frames))

"""A ``Scene4D`` as the artifacts of its stages, or as the output folder of a reconstruct job."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geometry import frames
from geometry.mesh import Mesh
from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.reconstruct.motion.masks import MotionFolder
from geometry.reconstruct.motion.movers import MovingDepth, read_movers, scaled
from geometry.scene import DepthMap, DepthSource, Plane, Scene4D, SparsePoints
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.export import colmap
from services.media import exr, images
from services.pipelines.context import Artifact

CAMERAS = "cameras.json"
POINTS = "points.npz"
MESH = "mesh.ply"
MOTION = "motion"  # a folder
MOVERS = "movers.json"


@dataclass(frozen=True)
class ScaledDepth:
    """Depth in other units than it was solved in."""

    source: DepthSource
    scale: float

    def read(self, frame: int) -> DepthMap:
        found = self.source.read(frame)
        return DepthMap(found.depth * np.float32(self.scale), found.confidence)


@dataclass(frozen=True)
class DeliveredDepth:
    """The ``depth/`` and ``confidence/`` pictures of a reconstruct job, on the working raster."""

    folder: Path
    working_wh: tuple[int, int]

    def read(self, frame: int) -> DepthMap:
        depth = exr.read_depth(self.folder / "depth" / f"{frame:04d}.exr", "scene.scene_dir")
        confidence = images.read_mask(self.folder / "confidence" / f"{frame:04d}.png", "scene.scene_dir")
        nearest = cv2.INTER_NEAREST_EXACT
        return DepthMap(*(cv2.resize(a, self.working_wh, interpolation=nearest) for a in (depth, confidence)))


@dataclass(frozen=True)
class DeliveredMotion:
    """The ``motion/`` pictures of a reconstruct job, on the working raster; empty where there is none."""

    folder: Path
    working_wh: tuple[int, int]

    def read(self, frame: int) -> np.ndarray:
        path = self.folder / MOTION / f"{frame:04d}.png"
        if not path.exists():
            return np.zeros(self.working_wh[::-1], np.uint8)
        labels = images.read_picture(path, "scene.scene_dir")
        labels = labels[..., 0] if labels.ndim == 3 else labels
        return cv2.resize(labels, self.working_wh, interpolation=cv2.INTER_NEAREST_EXACT)


def load_delivered(folder: Path) -> Scene4D:
    """The output folder of a reconstruct job as it lies there. Raises ``InvalidRequest`` for any other folder."""
    document = delivered_document(folder)
    about = document["scene"]
    path, working_wh = frames.path_from_cameras_json(document), tuple(about["working_wh"])
    return Scene4D(
        cameras=path.scaled(working_wh),
        source_wh=path.cameras[0].wh,
        points=_delivered_points(folder / "colmap"),
        depth=DeliveredDepth(folder, working_wh),
        mesh=load_ply(folder / MESH) if (folder / MESH).exists() else None,
        ground=about["ground"] and Plane(np.array(about["ground"]["normal"]), about["ground"]["offset"]),
        scale_known=about["scale_known"],
        motion=DeliveredMotion(folder, working_wh) if (folder / MOVERS).exists() else None,
        movers=read_movers(folder / MOVERS) if (folder / MOVERS).exists() else (),
    )


def _delivered_points(folder: Path) -> SparsePoints:
    """The scene's points; from COLMAP's text alone when that is all there is, which says less."""
    if (folder / POINTS).is_file():
        return load_points(folder)
    xyz, error_px = colmap.read_points(folder / "points3D.txt")
    return SparsePoints(xyz, error_px, np.full(len(xyz), 2))


def load_points(folder: Path) -> SparsePoints:
    with np.load(folder / POINTS) as stored:
        return SparsePoints(**{name: stored[name] for name in stored.files})


def delivered_document(folder: Path) -> dict[str, Any]:
    """``cameras.json`` of a reconstruct job."""
    field, expected = "scene.scene_dir", f"the output folder of a reconstruct job, with {CAMERAS}"
    try:
        document = json.loads((folder / CAMERAS).read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(field, expected, folder) from error
    if "scene" not in document:
        raise InvalidRequest(field, expected, f"{CAMERAS} of another program in {folder}")
    return document


def save_cameras(
    folder: Path, cameras: CameraPath, points: SparsePoints, source_wh: tuple[int, int], ground: Plane | None,
    info: dict[str, Any], *, scale_known: bool = False,
) -> None:
    """``cameras.json`` on the displayed raster, with what a ``Scene4D`` needs besides under the key ``scene``."""
    document = frames.cameras_json_from_path(cameras.scaled(source_wh))
    document["scene"] = {
        "working_wh": list(cameras.cameras[0].wh),
        "ground": _plane_data(ground),
        "scale_known": scale_known,
        "info": info,
    }
    (folder / CAMERAS).write_text(json.dumps(document, indent=1))
    save_points(folder, points)


def save_points(folder: Path, points: SparsePoints) -> None:
    xyz, error_px, length = points.xyz, points.error_px, points.track_length
    if points.seen is None:
        np.savez(folder / POINTS, xyz=xyz, error_px=error_px, track_length=length)
    else:
        np.savez(folder / POINTS, xyz=xyz, error_px=error_px, track_length=length, seen=points.seen)


def scene_document(scene: Scene4D, cameras: Artifact) -> str:
    """The ``cameras.json`` of a finished scene: in metres where the scale is known."""
    document = frames.cameras_json_from_path(scene.cameras.scaled(scene.source_wh))
    document["scene"] = json.loads((cameras.path / CAMERAS).read_text())["scene"] | {
        "ground": _plane_data(scene.ground), "scale_known": scene.scale_known,
    }
    return json.dumps(document, indent=1)


def _plane_data(plane: Plane | None) -> dict[str, Any] | None:
    return None if plane is None else {"normal": plane.normal.tolist(), "offset": float(plane.offset)}


def load_cameras(cameras: Artifact) -> tuple[CameraPath, SparsePoints]:
    """Cameras on the working raster, and the points that came with them."""
    document = json.loads((cameras.path / CAMERAS).read_text())
    path = frames.path_from_cameras_json(document).scaled(tuple(document["scene"]["working_wh"]))
    return path, load_points(cameras.path)


def load_scene(
    cameras: Artifact, depth: Artifact, mesh: Artifact | None, scale: float | None, motion: Artifact | None = None
) -> Scene4D:
    """Put a scene together; ``scale`` is metres per stored unit, ``None`` when nothing new is known of it."""
    document = json.loads((cameras.path / CAMERAS).read_text())
    about = document["scene"]
    path, points = load_cameras(cameras)
    ground = about["ground"] and Plane(np.array(about["ground"]["normal"]), about["ground"]["offset"])
    has_mesh = mesh is not None and (mesh.path / MESH).exists()
    scene = Scene4D(
        cameras=path,
        source_wh=(document["w"], document["h"]),
        points=points,
        depth=DepthFolder(depth.path),
        mesh=load_ply(mesh.path / MESH) if mesh is not None and has_mesh else None,
        ground=ground,
        scale_known=about["scale_known"],
    )
    if scale is not None:
        scene = scaled_scene(scene, scale)
    if motion is None or not (motion.path / MOVERS).exists():
        return scene
    movers = tuple(scaled(mover, scale or 1.0) for mover in read_movers(motion.path / MOVERS))
    masks = MotionFolder(motion.path / MOTION)
    return replace(scene, motion=masks, movers=movers, depth=MovingDepth(scene.depth, masks, movers))


def scaled_scene(scene: Scene4D, scale: float) -> Scene4D:
    """The scene in metres."""
    return replace(
        scene,
        cameras=scene.cameras.in_world(np.eye(4), scale),
        points=replace(scene.points, xyz=scene.points.xyz * scale),
        depth=ScaledDepth(scene.depth, scale),
        mesh=scene.mesh and replace(scene.mesh, vertices=scene.mesh.vertices * scale),
        ground=scene.ground and replace(scene.ground, offset=scene.ground.offset * scale),
        scale_known=True,
    )


def load_ply(path: Path) -> Mesh:
    """The fused mesh as it was saved; our own file, in the world's axes."""
    import trimesh

    loaded = trimesh.load_mesh(path, process=False)
    return Mesh(np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int32), name="scene")

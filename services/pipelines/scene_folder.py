"""A ``Scene4D`` as the artifacts of its stages, or as the output folder of a reconstruct job."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from geometry import frames
from geometry.mesh import Mesh
from geometry.reconstruct.depth import DepthFolder
from geometry.scene import DepthMap, DepthSource, Plane, Scene4D, SparsePoints
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact

CAMERAS = "cameras.json"
POINTS = "points.npz"
MESH = "mesh.ply"


@dataclass(frozen=True)
class ScaledDepth:
    """Depth in other units than it was solved in."""

    source: DepthSource
    scale: float

    def read(self, frame: int) -> DepthMap:
        found = self.source.read(frame)
        return DepthMap(found.depth * np.float32(self.scale), found.confidence)


def save_cameras(
    folder: Path, cameras: CameraPath, points: SparsePoints, source_wh: tuple[int, int], ground: Plane | None, info: dict[str, Any]
) -> None:
    """``cameras.json`` on the displayed raster, with what a ``Scene4D`` needs besides under the key ``scene``."""
    document = frames.cameras_json_from_path(cameras.scaled(source_wh))
    document["scene"] = {
        "working_wh": list(cameras.cameras[0].wh),
        "ground": None if ground is None else {"normal": ground.normal.tolist(), "offset": ground.offset},
        "scale_known": False,
        "info": info,
    }
    (folder / CAMERAS).write_text(json.dumps(document, indent=1))
    np.savez(folder / POINTS, xyz=points.xyz, error_px=points.error_px, track_length=points.track_length)


def load_scene(cameras: Artifact, depth: Artifact, mesh: Artifact | None, scale: float | None) -> Scene4D:
    """Put a scene together; ``scale`` is metres per solved unit, ``None`` while nobody knows."""
    document = json.loads((cameras.path / CAMERAS).read_text())
    about = document["scene"]
    path = frames.path_from_cameras_json(document)
    with np.load(cameras.path / POINTS) as stored:
        points = SparsePoints(stored["xyz"], stored["error_px"], stored["track_length"])
    ground = about["ground"] and Plane(np.array(about["ground"]["normal"]), about["ground"]["offset"])
    scene = Scene4D(
        cameras=path.scaled(tuple(about["working_wh"])),
        source_wh=path.cameras[0].wh,
        points=points,
        depth=DepthFolder(depth.path),
        mesh=mesh and load_ply(mesh.path / MESH),
        ground=ground,
    )
    return scene if scale is None else scaled_scene(scene, scale)


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

    loaded = trimesh.load(path, process=False, force="mesh")
    return Mesh(np.asarray(loaded.vertices, np.float64), np.asarray(loaded.faces, np.int32), name="scene")

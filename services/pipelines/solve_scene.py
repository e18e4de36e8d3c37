"""From a clip to a ``Scene4D``: the part that insert and reconstruct share.

    cameras (solved or imported) -> dense depth -> fused mesh -> scale
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geometry.reconstruct.errors import ReconstructError
from geometry.reconstruct.scale import scale_from_camera_height, scale_from_distance, surface_point
from geometry.scene import Scene4D
from services.errors import InvalidRequest
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Context
from services.pipelines.inputs import files_sha256
from services.pipelines.requests import SceneOptions
from services.pipelines.scene_folder import CAMERAS, delivered_document, load_scene
from services.pipelines.stages.estimate_depth import DepthConfig, estimate_depth
from services.pipelines.stages.export_scene import ExportConfig, export_scene
from services.pipelines.stages.fuse_mesh import FuseConfig, fuse_mesh
from services.pipelines.stages.import_scene import SCENE_FILES, ImportSceneConfig, import_scene
from services.pipelines.stages.solve_cameras import ImportConfig, SolveConfig, imported_cameras, solve_cameras


@dataclass(frozen=True)
class SolvedScene:
    """A scene with the artifacts it came from. ``scale`` is metres per solved unit, ``None`` while nobody knows."""

    scene: Scene4D
    cameras: Artifact
    depth: Artifact
    mesh: Artifact
    scale: float | None
    facts: dict[str, Any]


def check_scene_options(options: SceneOptions) -> None:
    """What can be refused before anything is computed. Raises ``InvalidRequest``."""
    if options.horizon:
        raise InvalidRequest("scene.horizon", "nothing: shots with parallax find their own", options.horizon)
    for name in ("cameras_file", "scene_dir"):
        value = getattr(options, name)
        if value and not Path(value).exists():
            raise InvalidRequest(f"scene.{name}", "an existing path", value)
    if options.cameras_file and options.scene_dir:
        raise InvalidRequest("scene", "cameras_file or scene_dir", "both")
    if options.scene_dir:
        delivered_document(Path(options.scene_dir))


def may_have_scale(options: SceneOptions) -> bool:
    """Whether the scene can turn out to be in metres; a solve alone never is."""
    return bool(options.known_distance or options.camera_height_m or options.scene_dir or options.cameras_file)


def solve_scene(clip: ClipReader, options: SceneOptions, seed: int, context: Context, share: float) -> SolvedScene:
    """Run (or look up) the stages; they take ``share`` of the job's progress."""
    frames = clip.numbers[0], clip.numbers[-1]
    clip_inputs = {"clip": clip.digest, "colorspace": clip.colorspace}
    if options.scene_dir:
        folder = Path(options.scene_dir)
        files = sorted(p for pattern in SCENE_FILES for p in folder.glob(pattern))
        imported = context.stage(
            import_scene, label="read scene", weight=share, config=ImportSceneConfig(frames),
            inputs={"scene": files_sha256(files), **clip_inputs}, clip=clip, folder=folder,
        )
        cameras = depth = mesh = imported
    else:
        cameras = _cameras(clip, options, frames, clip_inputs, seed, context, share * 0.3)
        depth = context.stage(
            estimate_depth, label="estimate depth", weight=share * 0.6, config=DepthConfig(seed),
            inputs={"cameras": cameras, **clip_inputs}, clip=clip,
        )
        mesh = context.stage(
            fuse_mesh, label="fuse mesh", weight=share * 0.1, config=FuseConfig(),
            inputs={"cameras": cameras, "depth": depth},
        )
    unscaled = load_scene(cameras, depth, mesh, None)
    scale = _scale(unscaled, options, clip)
    scene = load_scene(cameras, depth, mesh, scale)
    about = json.loads((cameras.path / CAMERAS).read_text())["scene"]
    known = scene.scale_known or bool(about["scale_known"])
    facts = about["info"] | {"scale": scale, "scale_known": known, "options": asdict(options)}
    for frame in about["info"].get("unregistered", [])[:1]:
        count = len(about["info"]["unregistered"])
        context.warn(f"{count} frame(s) have no camera, the first is {frame}: nothing is inserted there")
    return SolvedScene(scene, cameras, depth, mesh, scale, facts)


def _cameras(
    clip: ClipReader, options: SceneOptions, frames: tuple[int, int], clip_inputs: dict[str, str], seed: int,
    context: Context, weight: float,
) -> Artifact:
    if options.cameras_file:
        file = Path(options.cameras_file)
        files = sorted(p for p in file.rglob("*") if p.is_file()) if file.is_dir() else [file]
        return context.stage(
            imported_cameras, label="read cameras", weight=weight, config=ImportConfig(frames),
            inputs={"cameras": files_sha256(files), **clip_inputs}, clip=clip, file=str(file),
        )
    return context.stage(
        solve_cameras, label="solve cameras", weight=weight, config=SolveConfig(frames, options.focal_mm, seed),
        inputs=clip_inputs, clip=clip,
    )


def _scale(scene: Scene4D, options: SceneOptions, clip: ClipReader) -> float | None:
    """Metres per unit from what the user knows, else ``None``."""
    known = options.known_distance
    try:
        if known is not None:
            frame = clip.numbers[0]
            if frame not in scene.cameras:
                raise InvalidRequest("scene.known_distance", "a first frame whose camera is known", f"frame {frame}")
            ratio = np.array(scene.working_wh) / scene.source_wh
            start, end = (
                surface_point(scene.cameras, scene.depth.read(frame), frame, tuple(np.array(px) * ratio))
                for px in ((known.x0, known.y0), (known.x1, known.y1))
            )
            return scale_from_distance(start, end, known.metres)
        if options.camera_height_m is not None:
            return scale_from_camera_height(scene.cameras, scene.ground, options.camera_height_m)
    except ReconstructError as error:
        field = "scene.known_distance" if known is not None else "scene.camera_height_m"
        raise InvalidRequest(field, "a length that the scene shows", str(error)) from error
    return None


def deliver_scene(
    solved: SolvedScene, clip: ClipReader, context: Context, weight: float, *, sheet: bool = False
) -> None:
    """Cameras, depth and mesh into the job's result."""
    artifact = context.stage(
        export_scene, label="export scene", weight=weight,
        config=ExportConfig((clip.numbers[0], clip.numbers[-1]), str(clip.rate), solved.scale, sheet),
        inputs={"cameras": solved.cameras, "depth": solved.depth, "mesh": solved.mesh, "clip": clip.digest},
        clip=clip, scene=solved.scene,
    )
    context.deliver(artifact)

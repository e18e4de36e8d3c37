"""From a clip to a ``Scene4D``: the part that insert and reconstruct share.

    cameras (solved or imported) -> dense depth -> fused mesh -> scale
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from geometry import rigid
from geometry.reconstruct.errors import ReconstructError
from geometry.reconstruct.motion.masks import Click
from geometry.reconstruct.motion.still_world import Kind
from geometry.reconstruct.scale import scale_from_camera_height, scale_from_distance, surface_point
from geometry.scene import Scene4D
from services.errors import InvalidRequest
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Context
from services.pipelines.inputs import cameras_digest, files_sha256
from services.pipelines.learned import open_checkpoint
from services.pipelines.requests import SceneOptions
from services.pipelines.scene_folder import CAMERAS, delivered_document, load_cameras, load_scene
from services.pipelines.stages.estimate_depth import DepthConfig, estimate_depth
from services.pipelines.stages.export_scene import ExportConfig, export_scene
from services.pipelines.stages.fuse_mesh import FuseConfig, fuse_mesh
from services.pipelines.stages.import_scene import SCENE_FILES, ImportSceneConfig, import_scene
from services.pipelines.stages.learned_depth import LearnedDepthConfig, learned_depth
from services.pipelines.stages.preview_scene import PreviewConfig, preview_scene
from services.pipelines.stages.solve_cameras import ImportConfig, SolveConfig, imported_cameras, solve_cameras
from services.pipelines.stages.track_movers import SETTING, MoversConfig, track_movers


@dataclass(frozen=True)
class SolvedScene:
    """A scene with the artifacts it came from. ``scale`` is metres per solved unit, ``None`` while nobody knows."""

    scene: Scene4D
    cameras: Artifact
    depth: Artifact
    mesh: Artifact
    motion: Artifact
    scale: float | None
    facts: dict[str, Any]


def check_scene_options(options: SceneOptions, clip: ClipReader) -> None:
    """What can be refused before anything is computed. Raises ``InvalidRequest``."""
    h, w = clip.hw
    if options.horizon_line and options.kind == "parallax":
        raise InvalidRequest("scene.horizon", "nothing: shots with parallax find their own", options.horizon)
    for i, click in enumerate(options.movers):
        if not (0 <= click.x < w and 0 <= click.y < h):
            expected = f"a pixel inside the {w} x {h} picture"
            raise InvalidRequest(f"scene.movers[{i}].at_px", expected, f"{click.x:g},{click.y:g}")
        if click.frame is not None and click.frame not in clip.numbers:
            raise InvalidRequest(
                f"scene.movers[{i}].frame", f"one of {clip.numbers[0]}-{clip.numbers[-1]}", click.frame
            )
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
        cameras = depth = mesh = motion = imported
    else:
        cameras = _cameras(clip, options, frames, clip_inputs, seed, context, share * 0.3)
        depth = _depth(clip, cameras, clip_inputs, seed, context, share * 0.4)
        motion = _movers(clip, options, cameras, depth, clip_inputs, seed, context, share * 0.2)
        mesh = context.stage(
            fuse_mesh, label="fuse mesh", weight=share * 0.1, config=FuseConfig(),
            inputs={"cameras": cameras, "depth": depth, "motion": motion},
        )
    scale = _scale(load_scene(cameras, depth, mesh, None, motion), options, clip)
    scene = load_scene(cameras, depth, mesh, scale, motion)
    about = json.loads((cameras.path / CAMERAS).read_text())["scene"]
    known = scene.scale_known or bool(about["scale_known"])
    facts = about["info"] | {
        "scale": scale, "scale_known": known, "movers": len(scene.movers), "options": asdict(options),
    }
    if scene.cameras.has_one_centre:
        context.warn("the camera does not travel: things stand on a guessed ground, and only what moves can hide them")
    if about["info"].get("advice"):
        context.warn(about["info"]["advice"])
    for frame in about["info"].get("unregistered", [])[:1]:
        count = len(about["info"]["unregistered"])
        context.warn(f"{count} frame(s) have no camera, the first is {frame}: nothing is inserted there")
    return SolvedScene(scene, cameras, depth, mesh, motion, scale, facts)


def _cameras(
    clip: ClipReader, options: SceneOptions, frames: tuple[int, int], clip_inputs: dict[str, str], seed: int,
    context: Context, weight: float,
) -> Artifact:
    if options.cameras_file:
        file = Path(options.cameras_file)
        return context.stage(
            imported_cameras, label="read cameras", weight=weight, config=ImportConfig(frames),
            inputs={"cameras": cameras_digest(file), **clip_inputs}, clip=clip, file=str(file),
        )
    return context.stage(
        solve_cameras, label="solve cameras", weight=weight, inputs=clip_inputs, clip=clip,
        config=SolveConfig(frames, options.focal_mm, seed, _asked_kind(options), options.horizon_line),
    )


def _asked_kind(options: SceneOptions) -> Literal["", "parallax", "pan", "locked"]:
    return cast(Literal["", "parallax", "pan", "locked"], options.kind)  # checked by ``SceneOptions``


def _movers(
    clip: ClipReader, options: SceneOptions, cameras: Artifact, depth: Artifact, clip_inputs: dict[str, str],
    seed: int, context: Context, weight: float,
) -> Artifact:
    """Found by their motion; those clicked at are followed by the tracker that the configuration names."""
    clicks = tuple(Click(clip.numbers[0] if c.frame is None else c.frame, c.x, c.y) for c in options.movers)
    config = MoversConfig((clip.numbers[0], clip.numbers[-1]), _kind(cameras), clicks, seed)
    sources: dict[str, Artifact | str] = {"cameras": cameras, "depth": depth, **clip_inputs}
    backend = context.settings.reconstruct.segmentation_backend
    checkpoint = None
    if clicks and backend != "embedded":
        checkpoint = open_checkpoint(backend, "video_segmentation", SETTING, context.settings.models)
        sources["weights"] = checkpoint.digest
        config = replace(config, runtime=context.settings.models.runtime)
    return context.stage(
        track_movers, label="find movers", weight=weight, config=config, inputs=sources, clip=clip,
        scene=load_scene(cameras, depth, None, None), checkpoint=checkpoint,
    )


def _kind(cameras: Artifact) -> Kind:
    """How the camera moves, whoever solved it."""
    path, _ = load_cameras(cameras)
    if not path.has_one_centre:
        return "parallax"
    turn = rigid.rotation_angle(path.camera_from_world @ rigid.inverse(path.camera_from_world[0]))
    return "locked" if float(np.max(turn)) < 1e-9 else "pan"


def _depth(
    clip: ClipReader, cameras: Artifact, clip_inputs: dict[str, str], seed: int, context: Context, weight: float
) -> Artifact:
    """Embedded, or by the checkpoint that the configuration names; a guess from the ground needs no model."""
    backend = context.settings.reconstruct.depth_backend
    if backend == "embedded" or load_cameras(cameras)[0].has_one_centre:
        return context.stage(
            estimate_depth, label="estimate depth", weight=weight, config=DepthConfig(seed),
            inputs={"cameras": cameras, **clip_inputs}, clip=clip,
        )
    checkpoint = open_checkpoint(backend, "depth", "reconstruct.depth_backend", context.settings.models)
    return context.stage(
        learned_depth, label="learned depth", weight=weight,
        config=LearnedDepthConfig(context.settings.models.runtime, seed),
        inputs={"cameras": cameras, "weights": checkpoint.digest, **clip_inputs}, clip=clip, checkpoint=checkpoint,
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
    solved: SolvedScene, clip: ClipReader | None, context: Context, weight: float, *, title: str = "",
    rate: Fraction = Fraction(24),
) -> None:
    """Cameras, depth, mesh and preview into the job's result, at ``rate`` where there is no clip.

    With a ``title`` come a contact sheet and ``scene.usda``; insert makes its own.
    """
    scene, frames = solved.scene, solved.scene.cameras.frames
    span, rate = (frames[0], frames[-1]), rate if clip is None else clip.rate
    sources: dict[str, Artifact | str] = {
        "cameras": solved.cameras, "depth": solved.depth, "mesh": solved.mesh, "motion": solved.motion,
        "scale": repr(solved.scale),
    }
    exported = context.stage(
        export_scene, label="export scene", weight=weight * 0.4,
        config=ExportConfig(span, str(rate), solved.scale, bool(title)), inputs=sources, scene=scene,
    )
    context.deliver(exported)
    previewed = context.stage(
        preview_scene, label="preview", weight=weight * 0.6, config=PreviewConfig(span, str(rate), title),
        inputs=sources | ({} if clip is None else {"clip": clip.digest}), clip=clip, scene=scene,
    )
    context.deliver(previewed)

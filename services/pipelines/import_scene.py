"""import_scene: a modelled mesh with cameras, delivered as a reconstruct job delivers its scene.

Units: what stores none (OBJ, PLY, .chan, COLMAP, other programs' JSON) is in the unit of its partner. The scale is
known when either of the two says how long its unit is.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from geometry.mesh import MeshError, Model, load_model
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.export.cameras import cameras_of_clip, is_metric, metres_per_unit
from services.media.clip import ClipReader
from services.pipelines import inputs
from services.pipelines.context import Context
from services.pipelines.requests import ImportSceneRequest
from services.pipelines.scene_folder import CAMERAS, load_scene
from services.pipelines.solve_scene import SolvedScene, deliver_scene
from services.pipelines.stages.model_scene import ModelConfig, model_scene
from services.pipelines.stages.write_report import clip_facts, versions, write_report

RATE = 24.0
WITHOUT_CAMERAS = (".obj", ".ply")


def run(request: ImportSceneRequest, context: Context) -> dict[str, Any]:
    """Returns figures for the caller; files are delivered on the way."""
    with ExitStack() as stack:
        clip = stack.enter_context(inputs.open_plate(request.clip)) if request.clip is not None else None
        mesh_file, cameras_file = Path(request.path), Path(request.cameras_file or request.path)
        model = _model(request)
        for warning in model.warnings:
            context.warn(warning)
        rate = clip.rate if clip is not None else Fraction(request.rate or RATE).limit_denominator(1001)
        path = _cameras(request, clip, rate)
        numbers = path.frames if clip is None else tuple(clip.numbers)
        missing = tuple(sorted(set(numbers) - set(path.frames)))
        if missing:
            context.warn(f"{len(missing)} frame(s) have no camera, the first is {missing[0]}: they are left out")
        mesh_unit, camera_unit = metres_per_unit(mesh_file), metres_per_unit(cameras_file)
        if camera_unit is None and mesh_unit is not None:
            path = path.in_world(np.eye(4), mesh_unit)
        render = context.settings.render
        config = ModelConfig(
            source_wh=path.cameras[0].wh, frames=path.frames,
            scale=mesh_unit or camera_unit or 1.0,
            scale_known=is_metric(mesh_file) or is_metric(cameras_file), method=cameras_file.name,
            unregistered=missing, renderer=f"{render.backend}/{render.variant}",
        )
        artifact = context.stage(
            model_scene, label="render depth", weight=0.6, config=config,
            inputs={
                "mesh": inputs.mesh_digest(mesh_file), "cameras": inputs.cameras_digest(cameras_file),
                "rate": str(rate),
            },
            path=path, meshes=model.meshes,
        )
        scene = load_scene(artifact, artifact, artifact, None)
        info = json.loads((artifact.path / CAMERAS).read_text())["scene"]["info"]
        facts = info | {"scale": None, "scale_known": config.scale_known}
        w, h = scene.source_wh
        title = f"import: {mesh_file.name}, {len(path)} of {len(numbers)} frames, {w} x {h}"
        solved = SolvedScene(scene, artifact, artifact, artifact, artifact, None, facts)
        deliver_scene(solved, clip, context, weight=0.39, title=title, rate=rate)
        document = {
            "job": "import_scene", "clip": clip and clip_facts(clip), "request": asdict(request), "scene": facts,
            "backends": {"depth": config.renderer}, "versions": versions(), "timings_s": context.timings,
        }
        context.deliver(context.stage(write_report, label="report", weight=0.01, config=document, inputs={}))
        return {"frames": len(numbers), "registered_frames": list(path.frames), "scale_known": config.scale_known,
                "width_px": w, "height_px": h}


def _model(request: ImportSceneRequest) -> Model:
    try:
        return load_model(request.path)
    except MeshError as error:
        raise InvalidRequest("path", "a mesh that can be rendered", str(error)) from error


def _cameras(request: ImportSceneRequest, clip: ClipReader | None, rate: Fraction) -> CameraPath:
    """On the displayed raster. Raises ``InvalidRequest``."""
    if not request.cameras_file and Path(request.path).suffix.lower() in WITHOUT_CAMERAS:
        raise InvalidRequest("cameras_file", "cameras: an OBJ or PLY file holds none", "nothing")
    wh = (request.width_px, request.height_px) if request.width_px else None
    return cameras_of_clip(
        request.cameras_file or request.path, rate=rate, field="cameras_file" if request.cameras_file else "path",
        wh=wh if clip is None else (clip.hw[1], clip.hw[0]), numbers=None if clip is None else clip.numbers,
    )

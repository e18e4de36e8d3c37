"""reconstruct: cameras, depth and mesh of a clip."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from services.media.clip import ClipReader
from services.pipelines import inputs
from services.pipelines.context import Context
from services.pipelines.requests import ReconstructRequest
from services.pipelines.solve_scene import SolvedScene, check_scene_options, deliver_scene, solve_scene
from services.pipelines.stages.write_report import clip_facts, versions, write_report


def run(request: ReconstructRequest, context: Context) -> dict[str, Any]:
    """Returns figures for the caller; files are delivered on the way."""
    with inputs.open_plate(request.clip) as clip:
        check_scene_options(request.scene, clip)
        solved = solve_scene(clip, request.scene, request.seed, context, share=0.85)
        deliver_scene(solved, clip, context, weight=0.14, title=_title(solved, clip))
        document = {
            "job": "reconstruct",
            "clip": clip_facts(clip),
            "request": asdict(request),
            "scene": solved.facts,
            "backends": {"cameras": solved.facts["method"], "depth": "embedded"},
            "versions": versions(),
            "timings_s": context.timings,
        }
        context.deliver(context.stage(write_report, label="report", weight=0.01, config=document, inputs={}))
        scene = solved.scene
        return {
            "frames": len(clip.numbers), "registered_frames": list(scene.cameras.frames),
            "scale_known": scene.scale_known, "width_px": scene.source_wh[0], "height_px": scene.source_wh[1],
        }


def _title(solved: SolvedScene, clip: ClipReader) -> str:
    found, h, w = len(solved.scene.cameras), *clip.hw
    return f"reconstruct: {solved.facts['kind']}, {found} of {len(clip.numbers)} frames, {w} x {h}"

"""propagate_masks: where a placed object, or a region that one frame shows, is seen in every frame.

    clip -> scene -> object: place, cover, hide; region: look it up on its surface, or follow its mover
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from geometry.placement import matrix
from geometry.render import make_renderer
from geometry.render.base import Environment
from services.errors import InvalidRequest
from services.media import images
from services.media.clip import ClipReader
from services.pipelines import inputs
from services.pipelines.context import Artifact, Context
from services.pipelines.inputs import Prop
from services.pipelines.learned import open_checkpoint
from services.pipelines.placing import check_scale, distinct_supports, place_prop
from services.pipelines.requests import PropagateMasksRequest
from services.pipelines.solve_scene import SolvedScene, check_scene_options, may_have_scale, solve_scene
from services.pipelines.stages.composite_frames import Sources
from services.pipelines.stages.finish_masks import FinishConfig, finish_masks
from services.pipelines.stages.follow_region import (
    FollowConfig,
    LearnedFollowConfig,
    follow_region,
    learned_follow,
)
from services.pipelines.stages.mask_object import MaskConfig, mask_object
from services.pipelines.stages.measure_plate import PlateConfig, load_plate_look, measure_plate
from services.pipelines.stages.render_frames import RenderConfig, build_stage, render_frames
from services.pipelines.stages.track_movers import SETTING
from services.pipelines.stages.write_report import clip_facts, versions, write_report
from services.pipelines.supports import Motion

SPP = 16  # enough for the coverage of an edge


def run(request: PropagateMasksRequest, context: Context) -> dict[str, Any]:
    """Returns figures for the caller; files are delivered on the way."""
    with inputs.open_plate(request.clip) as clip:
        check_scene_options(request.scene, clip)
        if request.placement is not None:
            (prop,) = inputs.open_props([request.placement], clip, ["placement"])
            check_scale(prop, may_have_scale(request.scene))
            masks, facts = _of_object(request, prop, clip, context)
        else:
            masks, facts = _of_region(request, clip, context)
        context.deliver(masks)
        finished = context.stage(
            finish_masks, label="finish", weight=0.05, config=FinishConfig(tuple(clip.numbers), str(clip.rate)),
            inputs={"masks": masks, "clip": clip.digest}, clip=clip,
        )
        context.deliver(finished)
        document = {
            "job": "propagate_masks", "clip": clip_facts(clip), "request": asdict(request), "scene": facts,
            "backends": {"segmentation": context.settings.reconstruct.segmentation_backend},
            "versions": versions(), "timings_s": context.timings,
        }
        context.deliver(context.stage(write_report, label="report", weight=0.01, config=document, inputs={}))
        return {"frames": len(clip.numbers)}


def _of_object(
    request: PropagateMasksRequest, prop: Prop, clip: ClipReader, context: Context
) -> tuple[Artifact, dict[str, Any] | None]:
    solved = solve_scene(clip, request.scene, request.seed, context, share=0.6)
    check_scale(prop, solved.scene.scale_known)
    placed = place_prop(clip, prop, solved, request.seed, context, 0.04)
    measured = context.stage(
        measure_plate, label="measure plate", weight=0.01, config=PlateConfig((clip.numbers[0], clip.numbers[-1])),
        inputs={"clip": clip.digest}, clip=clip,
    )
    look = load_plate_look(measured)
    settings = context.settings.render
    supports, support_of = distinct_supports([placed])
    config = RenderConfig(
        frames=tuple(clip.numbers), world_from_object=(tuple(map(tuple, matrix(placed.placement).tolist())),),
        motions=(Motion.of(placed.track),), supports=(), support_of=(0,), support_albedo=(0.5, 0.5, 0.5),
        source_wh=(clip.hw[1], clip.hw[0]), spp=SPP, seed=request.seed, shutter_deg=look.shutter_deg,
        renderer=f"{settings.backend}/{settings.variant}",
    )
    white = Environment(np.ones((2, 4, 3), np.float32))
    stage = build_stage(
        config, make_renderer(*config.renderer.split("/")), solved.scene.cameras, [prop.model], white
    )
    layers = context.stage(
        render_frames, label="cover", weight=0.15, config=config,
        inputs={"cameras": solved.cameras, "object": prop.digest}, stage=stage,
    )
    masks = context.stage(
        mask_object, label="hide", weight=0.14, config=MaskConfig(tuple(clip.numbers), supports, support_of),
        inputs={
            "layers": layers, "cameras": solved.cameras, "depth": solved.depth, "motion": solved.motion,
            "clip": clip.digest,
        },
        sources=Sources(clip, solved.scene, look, None),
    )
    return masks, solved.facts | {"placement": placed.facts(solved.scene)}


def _of_region(
    request: PropagateMasksRequest, clip: ClipReader, context: Context
) -> tuple[Artifact, dict[str, Any] | None]:
    shown = clip.numbers[0] if request.frame is None else request.frame
    if shown not in clip.numbers:
        raise InvalidRequest("frame", f"one of {clip.numbers[0]}-{clip.numbers[-1]}", shown)
    mask, digest = _painted(request, clip)
    config = FollowConfig((clip.numbers[0], clip.numbers[-1]), shown, _box(request, clip), request.seed)
    sources: dict[str, Artifact | str] = {"clip": clip.digest, "mask": digest}
    backend = context.settings.reconstruct.segmentation_backend
    if backend != "embedded":
        checkpoint = open_checkpoint(backend, "video_segmentation", SETTING, context.settings.models)
        masks = context.stage(
            learned_follow, label="follow", weight=0.94,
            config=LearnedFollowConfig(config, context.settings.models.runtime),
            inputs=sources | {"weights": checkpoint.digest}, clip=clip, checkpoint=checkpoint, mask=mask,
        )
        return masks, None
    solved = solve_scene(clip, request.scene, request.seed, context, share=0.7)
    _check_shown(solved, shown)
    masks = context.stage(
        follow_region, label="follow", weight=0.24, config=config,
        inputs=sources | {"cameras": solved.cameras, "depth": solved.depth, "motion": solved.motion},
        clip=clip, scene=solved.scene, mask=mask,
    )
    return masks, solved.facts


def _check_shown(solved: SolvedScene, shown: int) -> None:
    if shown not in solved.scene.cameras:
        raise InvalidRequest("frame", "a frame whose camera is known", shown)


def _painted(request: PropagateMasksRequest, clip: ClipReader) -> tuple[np.ndarray | None, str]:
    """(H, W) float32 mask of the displayed picture and its digest; nothing for a box."""
    if not request.mask:
        return None, ""
    mask = images.read_mask(Path(request.mask), "mask")
    if mask.shape != clip.hw:
        raise InvalidRequest("mask", f"a mask of (H, W) = {clip.hw}", mask.shape)
    if not (mask > 0.5).any():
        raise InvalidRequest("mask", "white where the region is", "black everywhere")
    return mask, inputs.files_sha256([Path(request.mask)])


def _box(request: PropagateMasksRequest, clip: ClipReader) -> tuple[float, float, float, float] | None:
    h, w = clip.hw
    box = request.box
    if box is not None and not (box[0] >= 0 and box[1] >= 0 and box[2] <= w and box[3] <= h):
        raise InvalidRequest("box", f"inside the {w} x {h} picture", ",".join(f"{v:g}" for v in box))
    return box

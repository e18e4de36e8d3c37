"""insert: objects into a clip.

    clip -> scene (cameras, depth, mesh) -> anchors -> light, plate look
    -> layers and composites, chunk by chunk -> finish
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from geometry.light import GAUGE
from geometry.placement import matrix
from geometry.render import make_renderer
from services.errors import InvalidRequest
from services.media.clip import ClipReader
from services.pipelines import inputs
from services.pipelines.context import Artifact, Context
from services.pipelines.placing import Placed, check_scale, distinct_supports, place_prop
from services.pipelines.requests import InsertRequest
from services.pipelines.solve_scene import SolvedScene, check_scene_options, deliver_scene, may_have_scale, solve_scene
from services.pipelines.stages.composite_frames import CompositeConfig, Sources, composite_frames
from services.pipelines.stages.finish_insert import FinishConfig, finish_insert
from services.pipelines.stages.light import (
    GivenLight,
    LightConfig,
    estimated_light,
    given_light,
    load_light,
    load_light_facts,
    view_yaw,
)
from services.pipelines.stages.measure_plate import PlateConfig, PlateLook, load_plate_look, measure_plate
from services.pipelines.stages.render_frames import RenderConfig, build_stage, render_frames
from services.pipelines.stages.write_report import clip_facts, versions, write_report
from services.pipelines.steadied import HALO
from services.pipelines.supports import Motion

CHUNK = 12  # frames per stage: what a crash can cost
FIRST_CHUNKS = (1, HALO)  # small ones, so that the first picture comes soon


def run(request: InsertRequest, context: Context) -> dict[str, Any]:
    """Returns figures for the caller; files are delivered on the way."""
    with inputs.open_plate(request.clip) as clip:
        props = inputs.open_props(request.objects, clip)
        check_scene_options(request.scene, clip)
        hdri_digest = inputs.check_hdri(request.lighting.hdri)
        roto = inputs.open_holdout(request.holdout)
        _check_backend(request)
        for prop in props:
            check_scale(prop, may_have_scale(request.scene))
            for warning in prop.model.warnings:
                context.warn(f"{prop.name}: {warning}")
        solved = solve_scene(clip, request.scene, request.seed, context, share=0.45)
        for prop in props:
            check_scale(prop, solved.scene.scale_known)
        placed = [place_prop(clip, prop, solved, request.seed, context, 0.05 / len(props)) for prop in props]
        light = _light(request, clip, solved, placed[0], hdri_digest, context)
        look = context.stage(
            measure_plate, label="measure plate", weight=0.01, config=PlateConfig((clip.numbers[0], clip.numbers[-1])),
            inputs={"clip": clip.digest}, clip=clip,
        )
        plate_look = load_plate_look(look)
        config = _render_config(request, clip, placed, light, plate_look, context)
        artifacts = {"cameras": solved.cameras, "depth": solved.depth, "motion": solved.motion, "light": light}
        digests = {f"object{p.prop.object_id}": p.prop.digest for p in placed} | ({"roto": roto.digest} if roto else {})
        sources = Sources(clip, solved.scene, plate_look, roto)
        stage = build_stage(
            config, make_renderer(*config.renderer.split("/")), solved.scene.cameras, [p.prop.model for p in placed],
            load_light(light),
        )
        composites = []
        for artifact in _frames(request, context, config, stage, sources, artifacts, digests, look, placed):
            context.deliver(artifact)
            composites.append(artifact)
        facts = [p.facts(solved.scene) for p in placed]
        finished = context.stage(
            finish_insert, label="finish", weight=0.04, config=FinishConfig(tuple(clip.numbers), str(clip.rate), facts),
            inputs={**{f"c{i:05d}": c for i, c in enumerate(composites)}, "cameras": solved.cameras, **digests},
            clip=clip, scene=solved.scene, placed=[(p.prop.model, p.placement, p.prop.name) for p in placed],
        )
        context.deliver(finished)
        deliver_scene(solved, clip, context, weight=0.05)
        document = _report(request, clip, solved, facts, light, sources.look, context)
        context.deliver(context.stage(write_report, label="report", weight=0.01, config=document, inputs={}))
        return {"frames": len(clip.numbers), "objects": len(props)}


def _check_backend(request: InsertRequest) -> None:
    if request.backend not in ("", "none"):
        raise InvalidRequest("backend", "none: no harmoniser is installed", request.backend)


def _light(
    request: InsertRequest, clip: ClipReader, solved: SolvedScene, placed: Placed, hdri_digest: str, context: Context
) -> Artifact:
    scene, lighting = solved.scene, request.lighting
    frame = placed.placement.frame
    scene_inputs: dict[str, Artifact | str] = {
        "cameras": solved.cameras, "depth": solved.depth, "mesh": solved.mesh, "motion": solved.motion,
        "scale": repr(solved.scale),
    }
    if lighting.hdri:
        yaw = view_yaw(scene.cameras.pose(frame)) + np.radians(lighting.hdri_yaw_deg)
        return context.stage(
            given_light, label="light", weight=0.02,
            config=GivenLight(frame, float(yaw), lighting.exposure_ev, placed.middle),
            inputs={"hdri": hdri_digest, **scene_inputs}, hdri_path=lighting.hdri, clip=clip, scene=scene,
            anchor=placed.anchor,
        )
    return context.stage(
        estimated_light, label="estimate light", weight=0.02,
        config=LightConfig(frame, lighting.exposure_ev, placed.middle), inputs=scene_inputs,
        clip=clip, scene=scene, anchor=placed.anchor,
    )


def _render_config(
    request: InsertRequest, clip: ClipReader, placed: Sequence[Placed], light: Artifact, look: PlateLook,
    context: Context,
) -> RenderConfig:
    settings = context.settings.render
    supports, support_of = distinct_supports(placed)
    albedo = load_light_facts(light).get("support_albedo") or [GAUGE] * 3
    return RenderConfig(
        frames=(),
        world_from_object=tuple(tuple(map(tuple, matrix(p.placement).tolist())) for p in placed),
        motions=tuple(Motion.of(p.track) for p in placed),
        supports=supports,
        support_of=support_of,
        support_albedo=tuple(albedo),
        source_wh=(clip.hw[1], clip.hw[0]),
        spp=settings.draft_spp if request.draft else settings.spp,
        seed=request.seed,
        shutter_deg=_shutter_deg(request, look),
        renderer=f"{settings.backend}/{settings.variant}",
    )


def _shutter_deg(request: InsertRequest, look: PlateLook) -> float:
    if not request.matching.motion_blur:
        return 0.0
    asked = request.matching.shutter_deg
    return look.shutter_deg if asked is None else asked


def _chunks(numbers: Sequence[int]) -> list[tuple[int, ...]]:
    """Runs of frames, none shorter than the halo that its neighbours look at, but for the first and the last."""
    ends = list(accumulate(FIRST_CHUNKS))
    ends += range(ends[-1] + CHUNK, len(numbers) + CHUNK, CHUNK)
    bounds = [0, *(end for end in ends if end < len(numbers)), len(numbers)]
    return [tuple(numbers[a:b]) for a, b in pairwise(bounds)]


def _frames(
    request: InsertRequest, context: Context, config: RenderConfig, stage: Any, sources: Sources,
    artifacts: Mapping[str, Artifact], digests: Mapping[str, str], look: Artifact, placed: Sequence[Placed],
) -> Iterator[Artifact]:
    """Render and composite chunk by chunk. A chunk's masks look at its neighbours' layers, so it waits for the next."""
    numbers = list(sources.clip.numbers)
    chunks = _chunks(numbers)
    share = 0.35 / len(chunks)
    rendered = context.chunks(
        render_frames, label="render", weight=0.35 * 0.6, configs=[replace(config, frames=chunk) for chunk in chunks],
        inputs={"cameras": artifacts["cameras"], "light": artifacts["light"], **digests}, stage=stage,
    )
    layers: list[Artifact] = []
    for k in range(len(chunks) + 1):
        if k < len(chunks):
            layers.append(next(rendered))
        if k > 0:
            near = range(max(k - 2, 0), min(k + 1, len(chunks)))
            yield context.stage(
                composite_frames, label="composite", weight=share * 0.4,
                config=CompositeConfig(
                    frames=chunks[k - 1], names=tuple(p.prop.name for p in placed), supports=config.supports,
                    support_of=config.support_of, grain=request.matching.grain, sharpness=request.matching.sharpness,
                    seed=request.seed,
                ),
                inputs={
                    **{f"layers{i:05d}": layers[i] for i in near}, "look": look, "clip": sources.clip.digest,
                    **{name: value for name, value in artifacts.items() if name != "light"},
                    **{name: value for name, value in digests.items() if name == "roto"},
                },
                sources=sources,
            )


def _report(
    request: InsertRequest, clip: ClipReader, solved: SolvedScene, facts: Sequence[dict[str, Any]], light: Artifact,
    look: PlateLook, context: Context,
) -> dict[str, Any]:
    render = context.settings.render
    return {
        "job": "insert",
        "clip": clip_facts(clip),
        "request": asdict(request),
        "scene": solved.facts,
        "objects": list(facts),
        "light": load_light_facts(light),
        "plate": {
            "grain_sigma": look.grain.sigma.mean(0).tolist(), "blur_px": look.blur_px, "shutter_deg": look.shutter_deg,
        },
        "backends": {"render": f"{render.backend}/{render.variant}", "harmonize": "none"},
        "versions": versions(),
        "timings_s": context.timings,
    }

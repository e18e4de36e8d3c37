"""plate: layers, or one still taken apart, become a picture with parallax that a camera moves through.

    source -> layers -> [repaint at key frames] -> [what flows] -> safe box -> frames, chunk by chunk -> package, scenes
    -> finish

The layers' key holds the source's content and how it is cut; a frame's the layers, what flows and the camera beside it:
another move takes nothing apart again.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from geometry.layers import LayerStack
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.media.clip import ClipReader, open_clip
from services.pipelines.context import Artifact, Context
from services.pipelines.inputs import files_sha256
from services.pipelines.plate_inputs import (
    RATE,
    PlateInput,
    open_camera,
    open_generator,
    open_painter,
    open_source,
    placed_path,
    without_paths,
    words_of,
)
from services.pipelines.requests import (
    AnimatePlateRequest,
    BuildLayersRequest,
    PlateFluid,
    PlateGeneration,
    PlateSource,
)
from services.pipelines.stack_store import load_notes, load_stack
from services.pipelines.stages.build_layers import Files, LayersConfig, build_layers
from services.pipelines.stages.check_cover import CoverConfig, check_cover, load_cover
from services.pipelines.stages.compose_plate import ComposeConfig, PlateView, compose_plate
from services.pipelines.stages.export_plate import ExportConfig, export_plate
from services.pipelines.stages.find_flow import FlowConfig, find_flow
from services.pipelines.stages.finish_plate import FinishConfig, finish_plate
from services.pipelines.stages.generate_picture import FILE as GENERATED
from services.pipelines.stages.generate_picture import GenerationConfig, generate_picture
from services.pipelines.stages.package_layers import package_layers
from services.pipelines.stages.repaint_layers import RepaintConfig, load_keys, repaint_layers
from services.pipelines.stages.write_report import versions, write_report

CHUNK = 24  # frames per stage: what a crash can cost
PERIOD = 60  # frames after which what flows is back
LISTED = 8  # frames that a warning names
GENERATION_SEED = 1


@dataclass(frozen=True)
class Layers:
    """The layers of a job."""

    opened: PlateInput
    artifact: Artifact
    stack: LayerStack
    context: Context
    warnings: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        self.context.warn(message)
        self.warnings.append(message)


def run_layers(request: BuildLayersRequest, context: Context) -> dict[str, Any]:
    """Returns figures for the caller; files are delivered on the way. So does the other."""
    layers = _layers(request, context, None, 0.6)
    _package(layers, None, 0.3)
    return _finish(layers, "layers", request, None, Fraction(24), {}, [], 0.1)


def run_plate(request: AnimatePlateRequest, context: Context) -> dict[str, Any]:
    imported = open_camera(request.camera)
    rate = Fraction(request.camera.rate or RATE).limit_denominator(1001)
    layers = _layers(request, context, imported, 0.25)
    path = placed_path(
        request.camera, imported, layers.stack.picture_camera.pinhole(), middle_depth(layers.stack), request.seed
    )
    facts: dict[str, Any] = {"pivot_depth": request.camera.pivot_depth or middle_depth(layers.stack)}
    if request.camera.repaint:
        layers, facts["repainted"] = _repainted(layers, request, path, 0.1)
    flow = _flow(layers, request.fluids, rate, 0.05)
    cover = _cover(layers, path, 0.1)
    has_alpha = cover["safe_box"]["uncovered_px"] > 0
    frames = _frames(layers, request, path, flow, has_alpha, 0.3 if request.camera.repaint else 0.4)
    _package(layers, flow, 0.1)
    scene = context.stage(
        export_plate, label="scenes", weight=0.02, config=ExportConfig(path, str(rate)),
        inputs={"layers": layers.artifact}, source=layers.opened.path,
    )
    context.deliver(scene)
    facts |= {"rate": str(rate), "frames": [path.frames[0], path.frames[-1]], "cover": cover}
    if flow is not None:
        layers = replace(layers, stack=load_stack(layers.artifact.path, layers.opened.path, flow.path))
    return _finish(layers, "plate", request, path, rate, facts, frames, 0.08)


def middle_depth(stack: LayerStack) -> float:
    """Halfway in disparity between the nearest and the farthest layer: what an orbit turns about."""
    depths = [layer.median_depth for layer in stack]
    return 2 / (1 / min(depths) + 1 / max(depths))


def _layers(
    request: BuildLayersRequest | AnimatePlateRequest, context: Context, imported: CameraPath | None, weight: float
) -> Layers:
    settings = context.settings
    source = request.source if request.source.path else _generated(request, context, 0.5 * weight)
    weight = weight if request.source.path else 0.5 * weight
    lens_mm = None if imported is None else 36 * imported.cameras[0].fx / imported.cameras[0].wh[0]
    opened = open_source(source, request.layers, settings.plate, settings.models, lens_mm)
    plain, cut = without_paths(source, request.layers)
    files = Files(*(Path(file) if file else None for file in (request.source.depth, request.layers.inpaint)))
    models = {
        name: backend.digest
        for name, backend in (("depth_model", opened.depth_model), ("segmenter", opened.segmenter),
                              ("painter", opened.painter), ("separator", opened.separator))
        if backend is not None
    }  # fmt: skip
    artifact = context.stage(
        build_layers, label="layers", weight=weight, config=LayersConfig(plain, cut, opened.options, request.seed),
        inputs={"source": opened.digest, **models}, opened=opened, files=files,
    )
    layers = Layers(opened, artifact, load_stack(artifact.path, opened.path), context)
    for note in load_notes(artifact.path):
        layers.warn(note)
    return layers


def _generated(request: BuildLayersRequest | AnimatePlateRequest, context: Context, weight: float) -> PlateSource:
    """The source with a picture made from text in place of none."""
    generation, settings = request.source.generation, context.settings
    backend = open_generator(request.source, settings.plate, settings.models)
    controls = {control.kind: Path(control.picture) for control in generation.controls}
    concepts = {concept.word: Path(concept.file) for concept in generation.concepts}
    words = words_of(generation)
    config = GenerationConfig(words.prompt, words.negative, generation.aspect, (request.seed, GENERATION_SEED))
    names = " ".join((*controls, *concepts))
    files = files_sha256([*controls.values(), *concepts.values()])
    artifact = context.stage(
        generate_picture, label="picture", weight=weight, config=config,
        inputs={"model": backend.digest, "names": names, "files": files},
        backend=backend, controls=controls, concepts=concepts,
    )
    context.deliver(artifact)
    return replace(request.source, path=str(artifact.path / GENERATED), generation=PlateGeneration())


def _repainted(
    layers: Layers, request: AnimatePlateRequest, path: CameraPath, weight: float
) -> tuple[Layers, dict[str, Any]]:
    """The layers with what the camera comes to see beyond them, and the key frames."""
    settings = layers.context.settings
    painter = layers.opened.painter or open_painter(settings.plate, settings.models)
    inputs: dict[str, Any] = {"layers": layers.artifact}
    if painter is not None:
        inputs["painter"] = painter.digest
    artifact = layers.context.stage(
        repaint_layers, label="repaint", weight=weight, inputs=inputs, source=layers.opened.path, painter=painter,
        config=RepaintConfig(path, words_of(request.source.generation).prompt, request.seed),
    )
    stack = load_stack(artifact.path, layers.opened.path)
    return replace(layers, artifact=artifact, stack=stack), load_keys(artifact)


def _flow(layers: Layers, fluids: Sequence[PlateFluid], rate: Fraction, weight: float) -> Artifact | None:
    if not fluids:
        return None
    masks = [Path(fluid.mask) for fluid in fluids]
    with ExitStack() as opened:
        clips = [opened.enter_context(_clip(fluid.video, i)) if fluid.video else None for i, fluid in enumerate(fluids)]
        plain = tuple(replace(fluid, mask="mask", video="video" if fluid.video else "") for fluid in fluids)
        digests = " ".join(clip.digest if clip is not None else "-" for clip in clips)
        return layers.context.stage(
            find_flow, label="what flows", weight=weight, config=FlowConfig(plain, str(rate)),
            inputs={"layers": layers.artifact, "masks": files_sha256(masks), "clips": digests},
            source=layers.opened.path, masks=masks, clips=clips,
        )


def _clip(path: str, i: int) -> ClipReader:
    try:
        return open_clip(path)
    except InvalidRequest as error:
        raise InvalidRequest(f"fluids[{i}].video", error.expected, error.got) from error


def _cover(layers: Layers, path: CameraPath, weight: float) -> dict[str, Any]:
    artifact = layers.context.stage(
        check_cover, label="safe box", weight=weight, config=CoverConfig(path), inputs={"layers": layers.artifact},
        source=layers.opened.path,
    )
    cover = load_cover(artifact)
    clear = cover["safe_box"]["uncovered_px"]
    if clear:
        layers.warn(f"the layers leave {clear} px of the source view clear: no camera is safe")
    elif cover["uncovered_frames"]:
        layers.warn("the camera leaves the safe box of report.json, and may see past the layers in "
                    f"{_listed(cover['uncovered_frames'])}: outpaint more, or move less")
    return cover


def _frames(
    layers: Layers, request: AnimatePlateRequest, path: CameraPath, flow: Artifact | None, has_alpha: bool,
    weight: float,
) -> list[Artifact]:
    camera, frames = request.camera, path.frames
    period = max(len(frames), 2) if camera.loop else PERIOD
    view = PlateView(layers.artifact, flow, layers.opened.path, path.cameras[0].hw, camera.overscan, period)
    made = []
    for start in range(0, len(frames), CHUNK):
        chunk = frames[start : start + CHUNK]
        config = ComposeConfig(
            frames=chunk, path=path.select(frames[max(start - 1, 0) : start + CHUNK + 1]), overscan=camera.overscan,
            period=period, focus=camera.focus, aperture=camera.aperture or camera.focus / 100,
            shutter=camera.shutter_deg / 360, has_alpha=has_alpha, has_exr=request.codec == "exr",
        )
        inputs = {"layers": layers.artifact} | ({} if flow is None else {"flow": flow})
        artifact = layers.context.stage(
            compose_plate, label="frames", weight=weight * len(chunk) / len(frames), config=config, inputs=inputs,
            view=view,
        )
        layers.context.deliver(artifact)
        made.append(artifact)
    return made


def _package(layers: Layers, flow: Artifact | None, weight: float) -> None:
    inputs = {"layers": layers.artifact} | ({} if flow is None else {"flow": flow})
    artifact = layers.context.stage(
        package_layers, label="package", weight=weight, config=None, inputs=inputs, source=layers.opened.path
    )
    layers.context.deliver(artifact)


def _finish(
    layers: Layers, job: str, request: BuildLayersRequest | AnimatePlateRequest, path: CameraPath | None,
    rate: Fraction, facts: dict[str, Any], made: Sequence[Artifact], weight: float,
) -> dict[str, Any]:
    context, stack = layers.context, layers.stack
    (w, h), frames = stack.camera.wh, path.frames if path is not None else ()
    name = layers.opened.path.name
    cover = facts.get("cover", {"uncovered_frames": [], "safe_box": {"uncovered_px": 0}})
    title = f"{job}: {name}, {len(stack.layers)} layers on {w} x {h} px"
    has_prores = isinstance(request, AnimatePlateRequest) and request.codec == "prores"
    config = FinishConfig(
        title + (f", {len(frames)} frames" if frames else ""), frames, str(rate), has_prores,
        has_alpha=cover["safe_box"]["uncovered_px"] > 0,
        notes=tuple((frame, "outside the safe box") for frame in cover["uncovered_frames"]),
    )
    inputs = {"layers": layers.artifact} | {f"made{i:05d}": artifact for i, artifact in enumerate(made)}
    context.deliver(context.stage(
        finish_plate, label="finish", weight=0.9 * weight, config=config, inputs=inputs, source=layers.opened.path
    ))  # fmt: skip
    document = {
        "job": job, "request": asdict(request), "canvas": [w, h], "picture": list(stack.picture),
        "encoding": stack.encoding, "is_metric": stack.is_metric, "layers": _layer_facts(stack),
        "backends": {"layers": layers.opened.kind or "still", **layers.opened.backends}, **facts,
        "warnings": layers.warnings, "versions": versions(), "timings_s": context.timings,
    }
    context.deliver(context.stage(write_report, label="report", weight=0.1 * weight, config=document, inputs={}))
    return {"layers": len(stack.layers), "frames": len(frames), "width_px": w, "height_px": h}


def _layer_facts(stack: LayerStack) -> list[dict[str, Any]]:
    """From the farthest to the nearest."""
    return [
        {
            "name": layer.name, "at": list(layer.xy), "width": layer.hw[1], "height": layer.hw[0],
            "depth": [float(np.min(layer.depth)), layer.median_depth, float(np.max(layer.depth))],
            "flows": layer.motion is not None, "is_video": layer.video is not None,
        }
        for layer in stack
    ]  # fmt: skip


def _listed(frames: Sequence[int]) -> str:
    shown = ", ".join(map(str, frames[:LISTED]))
    return f"frame(s) {shown}" + (f" and {len(frames) - LISTED} more" if len(frames) > LISTED else "")

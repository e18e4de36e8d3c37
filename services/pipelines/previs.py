"""previs: a blockout, a camera and one reference picture become a video.

    scene, camera -> survey -> choice of anchors -> guides, chunk by chunk -> anchors, one by one
    -> arcs between them -> finish

An anchor's key holds its view, the look and the anchors that it was carried from; an arc's holds its anchors. What the
user does to one anchor is done last: no other anchor sees it, so that only the arcs on both sides of it are made again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from geometry.guides import GuideSource
from services.errors import InvalidRequest, Unsolvable
from services.pipelines.blockout_shot import Shot, open_shot
from services.pipelines.context import Artifact, Context
from services.pipelines.inputs import files_sha256
from services.pipelines.painters import Backend, choose
from services.pipelines.requests import AnchorEdit, AnchorsRequest, GuidesRequest, PrevisRequest
from services.pipelines.stages.check_model import check_model
from services.pipelines.stages.choose_anchors import Choice, ChoiceConfig, choose_anchors, load_choice
from services.pipelines.stages.finish_previs import FinishConfig, finish_previs
from services.pipelines.stages.inbetween import ArcConfig, FitConfig, carry_arc, dream_arc, fit_arcs, load_lengths
from services.pipelines.stages.paint_anchor import (
    AnchorConfig,
    GivenConfig,
    Painter,
    anchor_path,
    paint_anchor,
    place_anchor,
)
from services.pipelines.stages.render_guides import GuidesConfig, render_guides
from services.pipelines.stages.survey_shot import Survey, SurveyConfig, load_survey, survey_shot
from services.pipelines.stages.train_look import TrainingConfig, train_look
from services.pipelines.stages.write_report import versions, write_report
from services.pipelines.style_inputs import Look, on_raster, open_look, read_rgb8

CHUNK = 24  # frames of guides per stage: what a crash can cost
ARC_CHUNK = 96  # frames between anchors per stage: each chunk of an arc has to find out anew what anchors do not show
LESSON = 100  # steps of training per stage
LISTED = 8  # frames that a warning names
NEIGHBOURS = 4  # anchors on either side of an arc's own that may show what these do not
ANCHOR_SEED, ARC_SEED, STYLE_SEED = 1, 2, 3


@dataclass(frozen=True)
class Work:
    """A shot while it is made; ``made`` are the stages whose files are delivered."""

    shot: Shot
    source: GuideSource
    survey: Survey
    context: Context
    made: list[Artifact] = field(default_factory=list)

    def deliver(self, artifact: Artifact) -> None:
        self.context.deliver(artifact)
        self.made.append(artifact)


@dataclass(frozen=True)
class Painting:
    """What anchors are made with, and which."""

    request: AnchorsRequest
    look: Look
    backend: Backend
    choice: Choice
    edits: Mapping[int, AnchorEdit]
    learns: bool  # the painter is trained on the reference first

    def frames(self, shot: Shot) -> tuple[int, ...]:
        """Those of the shot that have an anchor."""
        return tuple(sorted(({*self.choice.order, *self.edits}) & set(shot.frames)))


def run_guides(request: GuidesRequest, context: Context) -> dict[str, Any]:
    """Returns figures for the caller; files are delivered on the way. So do the others."""
    work = _surveyed(open_shot(request.shot), context, 0.1)
    _guides(work, 0.8)
    return _finish(work, "guides", request, {}, 0.1)


def run_anchors(request: AnchorsRequest, context: Context) -> dict[str, Any]:
    work, painting = _begin(request, context, None)
    _check_painter(work, painting)
    _guides(work, 0.1)
    painting = _trained(work, painting, 0.2)
    _, anchors = _anchors(work, painting, 0.55 if painting.learns else 0.75)
    return _finish(work, "anchors", request, _painting_facts(work, painting), 0.05, tuple(anchors))


def run_previs(request: PrevisRequest, context: Context) -> dict[str, Any]:
    settings = context.settings
    mover = choose("inbetween", "inbetween_backend", request.inbetween_backend, settings.previs.inbetween_backend,
                   settings.models)
    work, painting = _begin(request, context, mover)
    lengths = _fitting(work, painting, mover, 0.05)
    _check_painter(work, painting)
    _guides(work, 0.1)
    painting = _trained(work, painting, 0.15)
    painted, anchors = _anchors(work, painting, 0.2 if painting.learns else 0.35)
    painting.backend.close()
    _arcs(work, painting, mover, lengths, painted, anchors, 0.35 if mover.is_embedded else 0.3)
    facts = _painting_facts(work, painting)
    facts["backends"]["inbetween"] = mover.name
    return _finish(work, "previs", request, facts, 0.1, tuple(anchors))


def _begin(request: AnchorsRequest, context: Context, mover: Backend | None) -> tuple[Work, Painting]:
    settings = context.settings
    painter = choose("anchors", "anchors_backend", request.anchors_backend, settings.previs.anchors_backend,
                     settings.models)
    shot = open_shot(request.shot, request.style)
    reads_text = not painter.is_embedded or (mover is not None and not mover.is_embedded)
    will_train = settings.previs.style_steps > 0
    look = open_look(request, shot, painter, reads_text=reads_text, will_train=will_train)
    for warning in look.warnings:
        context.warn(warning)
    edits = _edits(request, shot)
    work = _surveyed(shot, context, 0.05)
    is_learned = mover is not None and not mover.is_embedded
    artifact = context.stage(
        choose_anchors, label="choose anchors", weight=0.05,
        config=ChoiceConfig(
            shot.cameras, shot.frames, look.aligned_frame, settings.previs.longest_arc - 1 if is_learned else None
        ),
        inputs={"scene": shot.digest}, source=work.source,
    )
    learns = will_train and not painter.is_embedded and look.adapter is None
    return work, Painting(request, look, painter, load_choice(artifact), edits, learns)


def _edits(request: AnchorsRequest, shot: Shot) -> dict[int, AnchorEdit]:
    for i, edit in enumerate(request.anchors):
        if edit.frame not in shot.frames:
            expected = f"a frame of {shot.frames[0]}-{shot.frames[-1]}"
            raise InvalidRequest(f"anchors[{i}].frame", expected, edit.frame)
        if edit.redo and edit.frame == request.style.aligned_frame:
            raise InvalidRequest(f"anchors[{i}].redo", "another frame than the aligned one, which is the reference",
                                 edit.frame)
        if edit.picture:
            on_raster(read_rgb8(Path(edit.picture), f"anchors[{i}].picture")[0], shot.wh, f"anchors[{i}].picture")
    return {edit.frame: edit for edit in request.anchors}


def _surveyed(shot: Shot, context: Context, weight: float) -> Work:
    for warning in shot.warnings:
        context.warn(warning)
    artifact = context.stage(
        survey_shot, label="survey", weight=weight, config=SurveyConfig(shot.cameras), inputs={"scene": shot.digest},
        shot=shot,
    )
    survey = load_survey(artifact)
    if len(survey.empty) == len(shot.cameras):
        raise Unsolvable("the camera sees nothing of the scene in any frame",
                         "Look at its direction, and at the units of scene and camera")
    if survey.empty:
        context.warn(f"the camera sees nothing in {_listed(survey.empty)}")
    for name, frames in survey.inside.items():
        context.warn(f"the camera may stand inside {name!r}, whose inner side it sees in {_listed(frames)}")
    if survey.is_still and len(shot.frames) > 1:
        context.warn("nothing moves: every frame is the same picture")
    return Work(shot, shot.guides(), survey, context)


def _listed(frames: Sequence[int]) -> str:
    shown = ", ".join(map(str, frames[:LISTED]))
    return f"frame(s) {shown}" + (f" and {len(frames) - LISTED} more" if len(frames) > LISTED else "")


def _guides(work: Work, weight: float) -> None:
    frames = work.shot.frames
    configs = [
        GuidesConfig(frames[start : start + CHUNK], work.shot.cameras.select(frames[start : start + CHUNK + 1]))
        for start in range(0, len(frames), CHUNK)
    ]
    for artifact in work.context.chunks(
        render_guides, label="guides", weight=weight, configs=configs, inputs={"scene": work.shot.digest},
        source=work.source,
    ):
        work.deliver(artifact)


def _check_painter(work: Work, painting: Painting) -> None:
    backend = painting.backend
    if not backend.is_embedded:
        work.context.stage(check_model, label="check the model", weight=0, config=backend.name,
                           inputs={"model": backend.digest}, backend=backend)  # fmt: skip


def _trained(work: Work, painting: Painting, weight: float) -> Painting:
    """With a painter that has learned the reference, where it shall."""
    look, backend, steps = painting.look, painting.backend, work.context.settings.previs.style_steps
    if not painting.learns:
        return painting
    inputs: dict[str, Artifact | str] = {
        "scene": work.shot.digest if look.aligned_frame is not None else "", "look": look.digest,
        "model": backend.digest,
    }
    for begun in range(0, steps, LESSON):
        artifact = work.context.stage(
            train_look, label="learn the style", weight=weight * min(LESSON, steps - begun) / steps,
            config=TrainingConfig(steps, begun, LESSON, look.prompt, (painting.request.seed, STYLE_SEED)),
            inputs=inputs, backend=backend, look=look, source=work.source,
        )
        inputs["before"] = artifact
    return replace(painting, look=replace(look, adapter=artifact.path, digest=f"{look.digest} {artifact.digest}"))


def _anchors(
    work: Work, painting: Painting, weight: float
) -> tuple[dict[int, Artifact], dict[int, Artifact]]:
    """Anchors by frame: as they are painted without the user's edits, and those of the shot as they shall be."""
    order, edits = painting.choice.order, painting.edits
    share = weight / (len(order) + len(edits))
    painter = Painter(painting.backend, work.source, painting.look)
    painted: dict[int, Artifact] = {}
    for frame in order:
        painted[frame] = _painted(work, painting, painter, frame, painted, 0, share)
    anchors = {frame: painted[frame] for frame in order if frame in work.shot.frames}
    for frame, edit in edits.items():
        if edit.picture:
            anchors[frame] = _given(work, edit, share)
            continue
        before = order[: order.index(frame)] if frame in order else order
        seen = {other: painted[other] for other in before}
        anchors[frame] = _painted(work, painting, painter, frame, seen, edit.redo, share)
    anchors = dict(sorted(anchors.items()))
    for artifact in anchors.values():
        work.deliver(artifact)
    return painted, anchors


def _painted(
    work: Work, painting: Painting, painter: Painter, frame: int, seen: Mapping[int, Artifact], redo: int,
    weight: float,
) -> Artifact:
    aligned = painting.look.aligned_frame
    views = sorted({frame} if aligned is None else {frame, aligned})
    # All anchors of a shot take one seed: the same noise makes the same things.
    config = AnchorConfig(frame, work.shot.cameras.select([*views]), (painting.request.seed, ANCHOR_SEED, redo))
    return work.context.stage(
        paint_anchor, label="anchors", weight=weight, config=config,
        inputs={"scene": work.shot.digest, "look": painting.look.digest, "model": painting.backend.digest,
                **{f"frame{other}": artifact for other, artifact in seen.items()}},
        painter=painter,
    )


def _given(work: Work, edit: AnchorEdit, weight: float) -> Artifact:
    picture, warnings = read_rgb8(Path(edit.picture), "anchors.picture")
    for warning in warnings:
        work.context.warn(warning)
    return work.context.stage(
        place_anchor, label="anchors", weight=weight, config=GivenConfig(edit.frame, work.shot.wh),
        inputs={"picture": files_sha256([Path(edit.picture)])},
        picture=on_raster(picture, work.shot.wh, "anchors.picture"),
    )


def _spans(frames: Sequence[int], anchors: Sequence[int]) -> list[tuple[int, ...]]:
    """The frames of each arc, both anchors among them; of a single anchor, that one."""
    if len(anchors) == 1:
        return [tuple(anchors)]
    return [tuple(frame for frame in frames if a <= frame <= b) for a, b in pairwise(anchors)]


def _fitting(work: Work, painting: Painting, mover: Backend, weight: float) -> dict[int, int]:
    """How many frames a learned model makes for arcs of some lengths; it is told what it cannot do before anything is
    painted."""
    if mover.is_embedded:
        return {}
    spans = _spans(work.shot.frames, painting.frames(work.shot))
    w, h = work.shot.wh
    config = FitConfig(tuple(sorted({len(span) for span in spans if len(span) > 2})), (h, w))
    artifact = work.context.stage(
        fit_arcs, label="check the model", weight=weight, config=config, inputs={"model": mover.digest}, backend=mover
    )
    mover.close()
    return load_lengths(artifact)


def _arcs(
    work: Work, painting: Painting, mover: Backend, lengths: Mapping[int, int], painted: Mapping[int, Artifact],
    anchors: Mapping[int, Artifact], weight: float,
) -> None:
    frames, spans = work.shot.frames, _spans(work.shot.frames, list(anchors))
    for span in spans:
        wanted = span if span[-1] == frames[-1] else span[:-1]
        step = ARC_CHUNK if mover.is_embedded else len(wanted)
        for start in range(0, len(wanted), step):
            chunk = wanted[start : start + step]
            config = ArcConfig(span, chunk, work.shot.cameras.select(span))
            if not mover.is_embedded:
                config = replace(config, seed=(painting.request.seed, ARC_SEED), prompt=painting.look.prompt,
                                 length=lengths.get(len(span), 0))
            ends = {"first": anchors[span[0]], "last": anchors[span[-1]]}
            others = _others(painted, span) if mover.is_embedded else {}
            artifact = work.context.stage(
                carry_arc if mover.is_embedded else dream_arc, label="frames",
                weight=weight * len(chunk) / len(frames), config=config,
                inputs={"scene": work.shot.digest, "model": mover.digest, **ends, **others},
                backend=mover, source=work.source,
            )
            work.deliver(artifact)


def _others(painted: Mapping[int, Artifact], span: Sequence[int]) -> dict[str, Artifact]:
    """Anchors near an arc, as they are without the user's edits: these must touch no arc but their own."""
    before = sorted(frame for frame in painted if frame < span[0])[-NEIGHBOURS:]
    after = sorted(frame for frame in painted if frame > span[-1])[:NEIGHBOURS]
    return {f"frame{frame}": painted[frame] for frame in (*before, *after)}


def _painting_facts(work: Work, painting: Painting) -> dict[str, Any]:
    choice, edits = painting.choice, painting.edits
    return {
        "backends": {"anchors": painting.backend.name},
        "anchors": [
            {
                "frame": frame, "relative_path": anchor_path(frame),
                "source": "given" if frame in edits and edits[frame].picture else "painted",
                "redo": edits[frame].redo if frame in edits else 0,
            }
            for frame in painting.frames(work.shot)
        ],
        "coverage": {"seen": choice.seen, "seen_well": choice.seen_well, "worst_frame": choice.worst},
    }


def _finish(
    work: Work, job: str, request: GuidesRequest | AnchorsRequest, facts: dict[str, Any], weight: float,
    anchors: Sequence[int] = (),
) -> dict[str, Any]:
    shot, context = work.shot, work.context
    (w, h), frames = shot.wh, shot.frames
    config = FinishConfig(
        title=f"{job}: {w} x {h}, frames {frames[0]}-{frames[-1]}", frames=frames, anchors=tuple(anchors),
        rate=str(shot.rate), has_frames=job == "previs",
    )
    inputs = {f"made{i:05d}": artifact for i, artifact in enumerate(work.made)}
    context.deliver(context.stage(finish_previs, label="finish", weight=0.9 * weight, config=config, inputs=inputs))
    document = {
        "job": job, "request": asdict(request), "width": w, "height": h, "rate": str(shot.rate),
        "frames": [frames[0], frames[-1]], "objects": _objects(work), **facts, "warnings": list(shot.warnings),
        "survey": asdict(work.survey), "versions": versions(), "timings_s": context.timings,
    }
    context.deliver(context.stage(write_report, label="report", weight=0.1 * weight, config=document, inputs={}))
    return {"frames": len(frames), "width_px": w, "height_px": h, "anchors": facts.get("anchors", [])}


def _objects(work: Work) -> list[dict[str, Any]]:
    """By their number in ``guides/ids``."""
    return [
        {"id": i, "name": name, "frames_seen": work.survey.seen.get(name, 0)}
        for i, name in enumerate(work.shot.blockout.names, 1)
    ]

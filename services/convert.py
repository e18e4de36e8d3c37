"""Protobuf messages to requests and back from the journal to messages; nothing else converts.

Field paths of errors are those of the messages; ``objects.height`` of the third object reads ``objects[2].height``.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from backlot.v1 import common_pb2, insertion_pb2, jobs_pb2, media_pb2, plate_pb2, previs_pb2, scene_pb2
from google.longrunning import operations_proto_pb2
from google.protobuf import timestamp_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from services.artifacts.access import Access
from services.artifacts.assets import RESULT_PREFIX, AssetFile
from services.errors import InvalidRequest, from_data, to_status
from services.executors.preview import PreviewSpec
from services.jobs.journal import Event, Job, ResultFile, State
from services.pipelines import requests

RECONSTRUCT, IMPORT_SCENE, INSERT, PROPAGATE_MASKS = "reconstruct", "import_scene", "insert", "propagate_masks"
GUIDES, ANCHORS, PREVIS = "guides", "anchors", "previs"
LAYERS, PLATE = "layers", "plate"
SCENE_KINDS = (RECONSTRUCT, IMPORT_SCENE)  # whose result is a scene
ANCHOR_KINDS = (ANCHORS, PREVIS)  # whose result has anchors
JobRequest = (
    requests.ReconstructRequest | requests.ImportSceneRequest | requests.InsertRequest
    | requests.PropagateMasksRequest | requests.GuidesRequest | requests.AnchorsRequest | requests.BuildLayersRequest
    | requests.AnimatePlateRequest
)


def job_request(kind: str, data: bytes, access: Access) -> JobRequest:
    """The request of a job, from the serialised message."""
    if kind == RECONSTRUCT:
        return reconstruct_request(scene_pb2.ReconstructSceneRequest.FromString(data), access)
    if kind == IMPORT_SCENE:
        return import_scene_request(scene_pb2.ImportSceneRequest.FromString(data), access)
    if kind == INSERT:
        return insert_request(insertion_pb2.InsertObjectRequest.FromString(data), access)
    if kind == PROPAGATE_MASKS:
        return propagate_masks_request(insertion_pb2.PropagateMasksRequest.FromString(data), access)
    if kind == GUIDES:
        message = previs_pb2.RenderGuidesRequest.FromString(data)
        return requests.GuidesRequest(previs_shot(message.shot, access))
    if kind == ANCHORS:
        return anchors_request(previs_pb2.RenderAnchorsRequest.FromString(data), access)
    if kind == PREVIS:
        return previs_request(previs_pb2.RenderPrevisRequest.FromString(data), access)
    if kind == LAYERS:
        return build_layers_request(plate_pb2.BuildLayersRequest.FromString(data), access)
    if kind == PLATE:
        return animate_plate_request(plate_pb2.AnimatePlateRequest.FromString(data), access)
    raise InvalidRequest("kind", ", ".join(_REQUESTS), kind)


def no_cache(kind: str, data: bytes) -> bool:
    return bool(_REQUESTS[kind].FromString(data).no_cache)


def reconstruct_request(
    message: scene_pb2.ReconstructSceneRequest, access: Access
) -> requests.ReconstructRequest:
    return requests.ReconstructRequest(
        clip=clip(message.clip, access), scene=scene_options(message.scene, access), seed=message.seed
    )


def import_scene_request(message: scene_pb2.ImportSceneRequest, access: Access) -> requests.ImportSceneRequest:
    return requests.ImportSceneRequest(
        path=path(message.path, access, "path"),
        cameras_file=path(message.cameras_file, access, "cameras_file"),
        clip=clip(message.clip, access) if message.HasField("clip") else None,
        width_px=message.width_px,
        height_px=message.height_px,
        rate=message.rate,
    )


def insert_request(message: insertion_pb2.InsertObjectRequest, access: Access) -> requests.InsertRequest:
    return requests.InsertRequest(
        clip=clip(message.clip, access),
        objects=tuple(inserted_object(m, access, f"objects[{i}]") for i, m in enumerate(message.objects)),
        scene=scene_options(message.scene, access),
        lighting=requests.Lighting(
            hdri=path(message.lighting.hdri, access, "lighting.hdri"),
            hdri_yaw_deg=message.lighting.hdri_yaw_deg,
            exposure_ev=message.lighting.exposure_ev,
        ),
        matching=requests.Matching(**_present(message.matching)),
        holdout=path(message.holdout, access, "holdout"),
        draft=message.draft,
        backend=message.backend or "none",
        seed=message.seed,
    )


def propagate_masks_request(
    message: insertion_pb2.PropagateMasksRequest, access: Access
) -> requests.PropagateMasksRequest:
    box = message.box
    return requests.PropagateMasksRequest(
        clip=clip(message.clip, access),
        frame=_optional(message, "frame"),
        placement=inserted_object(message.placement, access, "placement") if message.HasField("placement") else None,
        box=(box.x0, box.y0, box.x1, box.y1) if message.HasField("box") else None,
        mask=path(message.mask, access, "mask"),
        scene=scene_options(message.scene, access),
        seed=message.seed,
    )


def anchors_request(message: previs_pb2.RenderAnchorsRequest, access: Access) -> requests.AnchorsRequest:
    return requests.AnchorsRequest(**_painting(message, access))


def previs_request(message: previs_pb2.RenderPrevisRequest, access: Access) -> requests.PrevisRequest:
    return requests.PrevisRequest(**_painting(message, access), inbetween_backend=message.inbetween_backend)


def _painting(
    message: previs_pb2.RenderAnchorsRequest | previs_pb2.RenderPrevisRequest, access: Access
) -> dict[str, Any]:
    return {
        "shot": previs_shot(message.shot, access),
        "style": previs_style(message.style, access),
        "anchors": tuple(_anchor_edit(edit, access, f"anchors[{i}]") for i, edit in enumerate(message.anchors)),
        "anchors_backend": message.anchors_backend,
        "seed": message.seed,
    }


def previs_shot(message: previs_pb2.PrevisShot, access: Access) -> requests.PrevisShot:
    return requests.PrevisShot(
        scene=path(message.scene, access, "shot.scene"),
        camera=message.camera,
        cameras_file=path(message.cameras_file, access, "shot.cameras_file"),
        first_frame=_optional(message, "first_frame"),
        last_frame=_optional(message, "last_frame"),
        frames=message.frames,
        width_px=message.width_px,
        height_px=message.height_px,
        rate=message.rate,
        up_axis=message.up_axis,
        move=message.move,
        animation=message.animation,
    )


def previs_style(message: previs_pb2.PrevisStyle, access: Access) -> requests.PrevisStyle:
    return requests.PrevisStyle(
        reference=path(message.reference, access, "style.reference"),
        aligned_frame=_optional(message, "aligned_frame"),
        regions=tuple(_region(region, f"style.regions[{i}]") for i, region in enumerate(message.regions)),
        prompt=message.prompt,
        adapter=path(message.adapter, access, "style.adapter"),
    )


def _region(message: previs_pb2.StyleRegion, field: str) -> requests.StyleRegion:
    box = message.box
    try:
        return requests.StyleRegion(message.object, (box.x0, box.y0, box.x1, box.y1))
    except InvalidRequest as error:
        raise InvalidRequest(f"{field}.box", error.expected, error.got) from None


def _anchor_edit(message: previs_pb2.AnchorEdit, access: Access, field: str) -> requests.AnchorEdit:
    try:
        picture = path(message.picture, access, f"{field}.picture")
        return requests.AnchorEdit(message.frame, picture, message.redo)
    except InvalidRequest as error:
        raise InvalidRequest(error.field.replace("anchors.", f"{field}.", 1), error.expected, error.got) from None


def build_layers_request(message: plate_pb2.BuildLayersRequest, access: Access) -> requests.BuildLayersRequest:
    return requests.BuildLayersRequest(
        plate_source(message.source, access), plate_layers(message.layers, access), message.seed
    )


def animate_plate_request(message: plate_pb2.AnimatePlateRequest, access: Access) -> requests.AnimatePlateRequest:
    camera = message.camera
    return requests.AnimatePlateRequest(
        source=plate_source(message.source, access),
        layers=plate_layers(message.layers, access),
        camera=requests.PlateCamera(
            **{**_present(camera), "cameras_file": path(camera.cameras_file, access, "camera.cameras_file")}
        ),
        fluids=tuple(_fluid(fluid, access, f"fluids[{i}]") for i, fluid in enumerate(message.fluids)),
        codec=message.codec,
        seed=message.seed,
    )


def plate_source(message: plate_pb2.PlateSource, access: Access) -> requests.PlateSource:
    generation = message.generation
    return requests.PlateSource(**{
        **_present(message),
        "path": path(message.path, access, "source.path"),
        "depth": path(message.depth, access, "source.depth"),
        "generation": requests.PlateGeneration(
            generation.prompt, generation.negative_prompt, generation.look,
            tuple(_control(control, access, f"source.generation.controls[{i}]")
                  for i, control in enumerate(generation.controls)),
            tuple(_concept(concept, access, f"source.generation.concepts[{i}]")
                  for i, concept in enumerate(generation.concepts)),
            generation.aspect,
        ),
    })  # fmt: skip


def _control(message: plate_pb2.ControlPicture, access: Access, field: str) -> requests.ControlPicture:
    with _indexed("source.generation.controls", field):
        return requests.ControlPicture(message.kind, path(message.picture, access, f"{field}.picture"))


def _concept(message: plate_pb2.LearnedConcept, access: Access, field: str) -> requests.LearnedConcept:
    with _indexed("source.generation.concepts", field):
        return requests.LearnedConcept(message.word, path(message.file, access, f"{field}.file"))


def plate_layers(message: plate_pb2.PlateLayers, access: Access) -> requests.PlateLayers:
    margins = message.outpaint
    return requests.PlateLayers(
        count=message.count,
        bands=tuple(_band(band, f"layers.bands[{i}]") for i, band in enumerate(message.bands)),
        things=tuple(_thing(thing, f"layers.things[{i}]") for i, thing in enumerate(message.things)),
        outpaint=requests.PlateMargins(margins.left, margins.top, margins.right, margins.bottom),
        inpaint=path(message.inpaint, access, "layers.inpaint"),
        separate=message.separate,
    )


def _band(message: plate_pb2.DepthBand, field: str) -> requests.DepthBand:
    with _indexed("layers.bands", field):
        return requests.DepthBand(message.near, message.far)


def _thing(message: plate_pb2.PlateThing, field: str) -> requests.PlateThing:
    box = message.box
    with _indexed("layers.things", field):
        return requests.PlateThing(
            message.name, tuple((click.x, click.y) for click in message.clicks),
            tuple((click.x, click.y) for click in message.outside),
            (box.x0, box.y0, box.x1, box.y1) if message.HasField("box") else None,
        )


def _fluid(message: plate_pb2.PlateFluid, access: Access, field: str) -> requests.PlateFluid:
    with _indexed("fluids", field):
        return requests.PlateFluid(
            path(message.mask, access, f"{field}.mask"),
            tuple(requests.FlowHint(hint.x0, hint.y0, hint.x1, hint.y1) for hint in message.hints), message.layer,
            message.speed, path(message.video, access, f"{field}.video"),
        )


@contextmanager
def _indexed(plain: str, field: str) -> Iterator[None]:
    """Errors of one of several messages name it."""
    try:
        yield
    except InvalidRequest as error:
        named = error.field if error.field.startswith(field) else error.field.replace(plain, field, 1)
        raise InvalidRequest(named, error.expected, error.got) from None


def clip(message: common_pb2.Clip, access: Access) -> requests.Clip:
    return requests.Clip(
        path=path(message.path, access, "clip.path"),
        first_frame=_optional(message, "first_frame"),
        last_frame=_optional(message, "last_frame"),
        colorspace=message.colorspace,
    )


def scene_options(message: common_pb2.SceneOptions, access: Access) -> requests.SceneOptions:
    known = message.known_distance
    return requests.SceneOptions(
        cameras_file=path(message.cameras_file, access, "scene.cameras_file"),
        scene_dir=path(message.scene_dir, access, "scene.scene_dir"),
        focal_mm=_optional(message, "focal_mm"),
        horizon=message.horizon,
        known_distance=requests.KnownDistance(known.x0, known.y0, known.x1, known.y1, known.metres)
        if message.HasField("known_distance")
        else None,
        camera_height_m=_optional(message, "camera_height_m"),
        kind=_shot_kind(message.kind),
        movers=tuple(_mover_click(click, f"scene.movers[{i}]") for i, click in enumerate(message.movers)),
    )


def _shot_kind(number: int) -> str:
    if number not in common_pb2.ShotKind.values():
        raise InvalidRequest("scene.kind", "a ShotKind", number)
    name = common_pb2.ShotKind.Name(number).removeprefix("SHOT_KIND_").lower()
    return "" if name == "unspecified" else name


def _mover_click(message: common_pb2.MoverClick, field: str) -> requests.MoverClick:
    if not message.HasField("at_px"):
        raise InvalidRequest(f"{field}.at_px", "a position in the picture", "none")
    return requests.MoverClick(message.at_px.x, message.at_px.y, _optional(message, "frame"))


def inserted_object(message: common_pb2.InsertedObject, access: Access, field: str) -> requests.InsertedObject:
    if not message.HasField("at_px"):
        raise InvalidRequest(f"{field}.at_px", "a position in the picture", "none")
    try:
        return requests.InsertedObject(
            path=path(message.path, access, f"{field}.path"),
            at_px=(message.at_px.x, message.at_px.y),
            frame=_optional(message, "frame"),
            height_m=_optional(message, "height_m"),
            height_px=_optional(message, "height_px"),
            scale=_optional(message, "scale"),
            yaw_deg=message.yaw_deg,
            object_up=message.object_up,
            attach=message.attach or "world",
            name=message.name,
        )
    except InvalidRequest as error:
        raise InvalidRequest(error.field.replace("objects.", f"{field}.", 1), error.expected, error.got) from None


def preview_spec(message: scene_pb2.PreviewPlacementRequest, access: Access) -> PreviewSpec:
    scene = path(message.scene_dir, access, "scene_dir")
    if not scene:
        raise InvalidRequest("scene_dir", "the output folder of a reconstruct job", "nothing")
    return PreviewSpec(
        scene_dir=scene,
        clip=clip(message.clip, access),
        object=inserted_object(message.object, access, "object"),
        frame=_optional(message, "frame"),
        width_px=message.width_px or None,
    )


def path(message: common_pb2.MediaPath, access: Access, field: str) -> str:
    """A path on this machine that may be read; empty when the message names none."""
    where = message.WhichOneof("location")
    if where == "uri":
        return access.local(message.uri, field)
    if where == "asset":
        return access.asset(message.asset.asset_id, message.asset.relative_path, field)
    return ""


def operation(
    job: Job, last: Event, files: Sequence[ResultFile], warnings: Iterable[str]
) -> operations_proto_pb2.Operation:
    """``files`` and ``warnings`` are needed of a job that succeeded."""
    message = operations_proto_pb2.Operation(name=job.name, done=job.state.is_final)
    message.metadata.Pack(job_metadata(job, last))
    if job.error:
        message.error.CopyFrom(error_status(job))
    elif job.state is State.SUCCEEDED:
        message.response.Pack(_RESPONSES[job.kind](result=job_result(job, files, warnings)))
    return message


def job_metadata(job: Job, last: Event) -> jobs_pb2.JobMetadata:
    return jobs_pb2.JobMetadata(
        kind=job.kind,
        state=job_state(job.state),
        stage=last.stage,
        fraction=last.fraction,
        create_time=timestamp(job.created_s),
        start_time=timestamp(job.started_s) if job.started_s else None,
        end_time=timestamp(job.ended_s) if job.ended_s else None,
        request_id=job.request_id or "",
        last_seq=last.seq,
        result_asset_id=result_asset(job.name) if last.delivered else "",
        priority=job.priority,
        paused=job.paused,
        pinned=job.pinned,
        attempts=job.attempts,
    )


def scene(job: Job) -> scene_pb2.Scene:
    """The metadata of a pipeline that makes scenes has the fields of the message."""
    assert job.result is not None
    facts = job.result["metadata"]
    return scene_pb2.Scene(
        name=job.name,
        result_asset_id=result_asset(job.name),
        registered_frames=facts["registered_frames"],
        width_px=facts["width_px"],
        height_px=facts["height_px"],
        scale_known=facts["scale_known"],
    )


def anchors(job: Job) -> previs_pb2.ListAnchorsResponse:
    """The metadata of a pipeline that paints anchors has the fields of the messages, and the names of sources."""
    assert job.result is not None
    return previs_pb2.ListAnchorsResponse(
        result_asset_id=result_asset(job.name),
        anchors=[
            previs_pb2.Anchor(**{
                **anchor, "source": previs_pb2.AnchorSource.Value(f"ANCHOR_SOURCE_{anchor['source'].upper()}"),
            })
            for anchor in job.result["metadata"]["anchors"]
        ],
    )


def job_result(job: Job, files: Sequence[ResultFile], warnings: Iterable[str]) -> jobs_pb2.JobResult:
    return jobs_pb2.JobResult(
        result_asset_id=result_asset(job.name),
        file_count=len(files),
        total_bytes=sum(file.size_bytes for file in files),
        warnings=warnings,
    )


def job_message(job: Job, last: Event) -> jobs_pb2.Job:
    return jobs_pb2.Job(
        name=job.name, metadata=job_metadata(job, last), error=error_status(job) if job.error else None
    )


def job_event(job: Job, event: Event) -> jobs_pb2.JobEvent:
    return jobs_pb2.JobEvent(
        seq=event.seq,
        time=timestamp(event.time_s),
        state=job_state(event.state),
        stage=event.stage,
        done=event.done,
        total=event.total,
        fraction=event.fraction,
        preview=jobs_pb2.Preview(data=event.preview, mime_type="image/jpeg") if event.preview else None,
        warning=event.warning,
        files=[
            jobs_pb2.ResultFile(relative_path=file.path, size_bytes=file.size_bytes, sha256=file.sha256)
            for file in event.files
        ],
        result_asset_id=result_asset(job.name) if event.delivered else "",
        error=error_status(job) if event.state in (State.FAILED, State.CANCELLED) and job.error else None,
    )


def job_state(state: State) -> jobs_pb2.JobState:
    return jobs_pb2.JobState.Value(f"JOB_STATE_{state.value}")


def state_filter(state: jobs_pb2.JobState) -> State | None:
    if state == jobs_pb2.JOB_STATE_UNSPECIFIED:
        return None
    if state not in jobs_pb2.JobState.values():
        raise InvalidRequest("state", "a value of JobState", state)
    return State(jobs_pb2.JobState.Name(state).removeprefix("JOB_STATE_"))


def error_status(job: Job) -> status_pb2.Status:
    assert job.error is not None
    return to_status(from_data(job.error))


def stored_file(file: AssetFile) -> media_pb2.StoredFile:
    return media_pb2.StoredFile(
        relative_path=file.path, size_bytes=file.size_bytes, sha256=file.sha256, received_bytes=file.received_bytes
    )


def result_asset(job_name: str) -> str:
    return RESULT_PREFIX + job_name.removeprefix("jobs/")


def job_of_asset(asset: str) -> str:
    return "jobs/" + asset.removeprefix(RESULT_PREFIX)


def timestamp(seconds: float) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    return message


_REQUESTS: dict[str, Any] = {
    RECONSTRUCT: scene_pb2.ReconstructSceneRequest,
    IMPORT_SCENE: scene_pb2.ImportSceneRequest,
    INSERT: insertion_pb2.InsertObjectRequest,
    PROPAGATE_MASKS: insertion_pb2.PropagateMasksRequest,
    GUIDES: previs_pb2.RenderGuidesRequest,
    ANCHORS: previs_pb2.RenderAnchorsRequest,
    PREVIS: previs_pb2.RenderPrevisRequest,
    LAYERS: plate_pb2.BuildLayersRequest,
    PLATE: plate_pb2.AnimatePlateRequest,
}
_RESPONSES: dict[str, Callable[..., Message]] = {
    RECONSTRUCT: scene_pb2.ReconstructResponse,
    IMPORT_SCENE: scene_pb2.ReconstructResponse,
    INSERT: insertion_pb2.InsertResponse,
    PROPAGATE_MASKS: insertion_pb2.PropagateMasksResponse,
    GUIDES: previs_pb2.RenderGuidesResponse,
    ANCHORS: previs_pb2.RenderAnchorsResponse,
    PREVIS: previs_pb2.RenderPrevisResponse,
    LAYERS: plate_pb2.BuildLayersResponse,
    PLATE: plate_pb2.AnimatePlateResponse,
}


def _optional(message: Message, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def _present(message: Message) -> dict[str, Any]:
    """The fields that are set, by name: for dataclasses with the same names and defaults of their own."""
    return {field.name: value for field, value in message.ListFields()}

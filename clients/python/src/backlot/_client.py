"""The synchronous client."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from backlot import _uploads
from backlot._channel import OPTIONS, TIMEOUT_S, Certificate, Deadline, Retry, Tls, credentials
from backlot._downloads import Sink
from backlot._errors import NotFound, from_rpc
from backlot._events import Anchor, Event, JobSummary, QueueSummary, ResultFile, checked
from backlot._requests import (
    AnchorsRequest,
    AnimatePlateRequest,
    BuildLayersRequest,
    Clip,
    GuidesRequest,
    ImportSceneRequest,
    Input,
    InsertedObject,
    InsertRequest,
    PathLike,
    Places,
    PlateSource,
    PrevisRequest,
    PrevisShot,
    PrevisStyle,
    PropagateMasksRequest,
    ReconstructRequest,
    Request,
    as_clip,
    as_plate_source,
)
from backlot._uploads import OnUpload
from backlot.v1 import (
    common_pb2,
    insertion_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    media_pb2,
    media_pb2_grpc,
    plate_pb2_grpc,
    previs_pb2,
    previs_pb2_grpc,
    scene_pb2_grpc,
)


class Client:
    """A connection to a server.

    ``tls``: True, or a PEM file of root certificates; ``token`` and ``certificate`` (PEM files of it and its key) say
    who calls.
    ``shares_files``: the server sees this machine's files and reads inputs in place; otherwise they are uploaded.
    ``patience_s``: how long broken streams are tried again while nothing comes through.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str = "",
        tls: Tls = False,
        certificate: Certificate | None = None,
        shares_files: bool = False,
        patience_s: float = 60.0,
    ) -> None:
        secure = credentials(tls, token, certificate)
        self._channel = (
            grpc.secure_channel(target, secure, OPTIONS) if secure else grpc.insecure_channel(target, OPTIONS)
        )
        self._shares_files = shares_files
        self._patience_s = patience_s
        self._media = media_pb2_grpc.MediaServiceStub(self._channel)
        self._scenes = scene_pb2_grpc.SceneServiceStub(self._channel)
        self._insertion = insertion_pb2_grpc.InsertionServiceStub(self._channel)
        self._previs = previs_pb2_grpc.PrevisServiceStub(self._channel)
        self._plates = plate_pb2_grpc.PlateServiceStub(self._channel)
        self._jobs = jobs_pb2_grpc.JobServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationsStub(self._channel)
        self._starters = {
            ReconstructRequest: self._scenes.ReconstructScene,
            ImportSceneRequest: self._scenes.ImportScene,
            InsertRequest: self._insertion.InsertObject,
            PropagateMasksRequest: self._insertion.PropagateMasks,
            GuidesRequest: self._previs.RenderGuides,
            AnchorsRequest: self._previs.RenderAnchors,
            PrevisRequest: self._previs.RenderPrevis,
            BuildLayersRequest: self._plates.BuildLayers,
            AnimatePlateRequest: self._plates.AnimatePlate,
        }

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def reconstruct(self, clip: Clip | PathLike, **options: Any) -> Job:
        """Solves a clip; ``options`` are the other fields of ``ReconstructRequest``."""
        return self.submit(ReconstructRequest(as_clip(clip), **options))

    def import_scene(self, path: PathLike, **options: Any) -> Job:
        """Makes a scene of a modelled mesh and cameras; ``options`` are the other fields of ``ImportSceneRequest``."""
        return self.submit(ImportSceneRequest(os.fspath(path), **options))

    def insert(self, clip: Clip | PathLike, objects: Sequence[InsertedObject], **options: Any) -> Job:
        """Puts objects into a clip; ``options`` are the other fields of ``InsertRequest``."""
        return self.submit(InsertRequest(as_clip(clip), tuple(objects), **options))

    def propagate_masks(self, clip: Clip | PathLike, **options: Any) -> Job:
        """Follows a region; ``options`` are the other fields of ``PropagateMasksRequest``."""
        return self.submit(PropagateMasksRequest(as_clip(clip), **options))

    def render_guides(self, shot: PrevisShot) -> Job:
        """Draws what geometry knows of each frame of a blockout."""
        return self.submit(GuidesRequest(shot))

    def render_anchors(self, shot: PrevisShot, style: PrevisStyle, **options: Any) -> Job:
        """Paints the anchors of a shot; ``options`` are the other fields of ``AnchorsRequest``."""
        return self.submit(AnchorsRequest(shot, style, **options))

    def render_previs(self, shot: PrevisShot, style: PrevisStyle, **options: Any) -> Job:
        """Makes a video of a blockout; ``options`` are the other fields of ``PrevisRequest``."""
        return self.submit(PrevisRequest(shot, style, **options))

    def build_layers(self, source: PlateSource | PathLike, **options: Any) -> Job:
        """Takes a picture apart, or opens layers; ``options`` are the other fields of ``BuildLayersRequest``."""
        return self.submit(BuildLayersRequest(as_plate_source(source), **options))

    def animate_plate(self, source: PlateSource | PathLike, **options: Any) -> Job:
        """Moves a camera through layers; ``options`` are the other fields of ``AnimatePlateRequest``."""
        return self.submit(AnimatePlateRequest(as_plate_source(source), **options))

    def submit(
        self, request: Request, *, request_id: str = "", priority: int | None = None, on_upload: OnUpload | None = None
    ) -> Job:
        """Brings the inputs to the server and starts the job. The same ``request_id`` again gives the same job.
        ``priority`` (0 to 100) orders the jobs of one tenant; None = 50."""
        places = self._place(request.inputs, on_upload)
        request_id = request_id or uuid.uuid4().hex
        message: Any = request.to_proto(places, request_id)
        if priority is not None:
            message.priority = priority
        operation = self._call(self._starters[type(request)], message)
        return Job(self, operation.name)

    def job(self, name: str) -> Job:
        return Job(self, name)

    def jobs(self) -> Iterator[JobSummary]:
        """All jobs, newest first."""
        request = jobs_pb2.ListJobsRequest()
        while True:
            page = self._call(self._jobs.ListJobs, request)
            yield from map(JobSummary.from_proto, page.jobs)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def queue(self) -> QueueSummary:
        """How the caller's own queue stands."""
        return QueueSummary.from_proto(self._call(self._jobs.GetQueue, jobs_pb2.GetQueueRequest()))

    def pause(self, paused: bool = True) -> QueueSummary:
        """Starts no further job of the caller's, or goes on with them; those that run go on."""
        request = jobs_pb2.UpdateQueueRequest(paused=paused)
        return QueueSummary.from_proto(self._call(self._jobs.UpdateQueue, request))

    def upload(self, source: Input, on_upload: OnUpload | None = None) -> common_pb2.MediaPath:
        """Uploads what the server does not hold yet, and says where it lies. A broken connection is taken up again."""
        asset = _uploads.scan(source)
        retry = Retry(self._patience_s)
        while missing := _uploads.missing_files(asset, self._stored_files(asset.asset_id)):
            retry.note(sum(missing.values()))
            messages = _uploads.upload_messages(asset, missing, on_upload)
            try:
                self._media.Upload(messages)
                break
            except grpc.RpcError as error:
                time.sleep(retry.wait_s(error))
        return asset.place

    def _place(self, inputs: Iterable[tuple[str, Input]], on_upload: OnUpload | None) -> Places:
        if self._shares_files:
            return {source: _uploads.in_place(source) for _, source in inputs}
        return {source: self.upload(source, on_upload) for _, source in inputs}

    def _stored_files(self, asset_id: str) -> Iterator[media_pb2.StoredFile]:
        request = media_pb2.DescribeRequest(media=common_pb2.MediaPath(asset=common_pb2.AssetPath(asset_id=asset_id)))
        while True:
            try:
                page = self._call(self._media.Describe, request)
            except NotFound:
                return
            yield from page.files
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def _call(self, method: Any, request: Any) -> Any:
        try:
            return method(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc(error) from error


class Job:
    """A job on the server, running or done; ``name`` is all that is needed to come back to it."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def watch(self, after_seq: int = 0, timeout_s: float | None = None) -> Iterator[Event]:
        """Events after ``after_seq``, each once and in order, until the job ends; reconnects by itself.

        Raises ``Unavailable`` when the job has not ended after ``timeout_s``.
        """
        seq, retry, deadline = after_seq, Retry(self._client._patience_s), Deadline(timeout_s)
        while True:
            broken: grpc.RpcError | None = None
            request = jobs_pb2.WatchJobRequest(name=self.name, after_seq=seq)
            call = self._client._jobs.WatchJob(request, timeout=deadline.left_s)
            try:
                for message in call:
                    if message.seq <= seq:
                        continue
                    seq = message.seq
                    retry.note(seq)
                    event = Event.from_proto(message)
                    yield event
                    if event.state.final:
                        return
            except grpc.RpcError as error:
                broken = error
            finally:
                call.cancel()
            time.sleep(retry.wait_s(broken))

    def wait(self, on_event: Callable[[Event], None] | None = None) -> Event:
        """Waits for the end and returns the last event. Raises the job's error if it failed or was cancelled."""
        for event in self.watch():
            if on_event:
                on_event(event)
            last = event
        return checked(last)

    def anchors(self) -> tuple[Anchor, ...]:
        """What a finished job of ``render_anchors`` or ``render_previs`` has painted, by frame."""
        request = previs_pb2.ListAnchorsRequest(name=self.name)
        found = self._client._call(self._client._previs.ListAnchors, request)
        return tuple(map(Anchor.from_proto, found.anchors))

    def cancel(self) -> None:
        """Asks the job to stop; finished stages are kept. ``watch`` tells when it has."""
        request = operations_pb2.CancelOperationRequest(name=self.name)
        self._client._call(self._client._operations.CancelOperation, request)

    def update(
        self, *, priority: int | None = None, paused: bool | None = None, pinned: bool | None = None
    ) -> JobSummary:
        """Changes the job's place in the queue (0 to 100, higher first), has it wait, or keeps its result for good."""
        request = jobs_pb2.UpdateJobRequest(name=self.name, priority=priority, paused=paused, pinned=pinned)
        return JobSummary.from_proto(self._client._call(self._client._jobs.UpdateJob, request))

    def download(self, out_dir: PathLike, on_event: Callable[[Event], None] | None = None) -> Event:
        """Follows the job and fetches its files as soon as they are announced, until it ends; returns the last event.

        Files that lie there with the same content are not fetched again. Raises the job's error if it failed or was
        cancelled, and ``CorruptFile`` when a file does not have the announced content.
        """
        for event in self.watch():
            for file in event.files:
                self.fetch(event.asset_id, file, out_dir)
            if on_event:
                on_event(event)
            last = event
        return checked(last)

    def fetch(self, asset_id: str, file: ResultFile, out_dir: PathLike) -> Path:
        """One file of the result."""
        sink, retry = Sink(Path(out_dir), file), Retry(self._client._patience_s)
        if sink.present:
            return sink.path
        with sink:
            while not sink.complete:
                request = media_pb2.DownloadRequest(asset_id=asset_id, relative_path=file.path, offset=sink.offset)
                broken: grpc.RpcError | None = None
                try:
                    for chunk in self._client._media.Download(request):
                        sink.write(chunk)
                except grpc.RpcError as error:
                    broken = error
                if not sink.complete:
                    retry.note(sink.offset)
                    time.sleep(retry.wait_s(broken))
            sink.commit()
        return sink.path

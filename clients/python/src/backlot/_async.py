"""The asynchronous client: ``_client`` with ``await``."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
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


class AsyncClient:
    """A connection to a server, for one event loop; the arguments are those of ``Client``."""

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
            grpc.aio.secure_channel(target, secure, OPTIONS) if secure else grpc.aio.insecure_channel(target, OPTIONS)
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

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def reconstruct(self, clip: Clip | PathLike, **options: Any) -> AsyncJob:
        """Solves a clip; ``options`` are the other fields of ``ReconstructRequest``."""
        return await self.submit(ReconstructRequest(as_clip(clip), **options))

    async def import_scene(self, path: PathLike, **options: Any) -> AsyncJob:
        """Makes a scene of a modelled mesh and cameras; ``options`` are the other fields of ``ImportSceneRequest``."""
        return await self.submit(ImportSceneRequest(os.fspath(path), **options))

    async def insert(self, clip: Clip | PathLike, objects: Sequence[InsertedObject], **options: Any) -> AsyncJob:
        """Puts objects into a clip; ``options`` are the other fields of ``InsertRequest``."""
        return await self.submit(InsertRequest(as_clip(clip), tuple(objects), **options))

    async def propagate_masks(self, clip: Clip | PathLike, **options: Any) -> AsyncJob:
        """Follows a region; ``options`` are the other fields of ``PropagateMasksRequest``."""
        return await self.submit(PropagateMasksRequest(as_clip(clip), **options))

    async def render_guides(self, shot: PrevisShot) -> AsyncJob:
        """Draws what geometry knows of each frame of a blockout."""
        return await self.submit(GuidesRequest(shot))

    async def render_anchors(self, shot: PrevisShot, style: PrevisStyle, **options: Any) -> AsyncJob:
        """Paints the anchors of a shot; ``options`` are the other fields of ``AnchorsRequest``."""
        return await self.submit(AnchorsRequest(shot, style, **options))

    async def render_previs(self, shot: PrevisShot, style: PrevisStyle, **options: Any) -> AsyncJob:
        """Makes a video of a blockout; ``options`` are the other fields of ``PrevisRequest``."""
        return await self.submit(PrevisRequest(shot, style, **options))

    async def build_layers(self, source: PlateSource | PathLike, **options: Any) -> AsyncJob:
        """Takes a picture apart, or opens layers; ``options`` are the other fields of ``BuildLayersRequest``."""
        return await self.submit(BuildLayersRequest(as_plate_source(source), **options))

    async def animate_plate(self, source: PlateSource | PathLike, **options: Any) -> AsyncJob:
        """Moves a camera through layers; ``options`` are the other fields of ``AnimatePlateRequest``."""
        return await self.submit(AnimatePlateRequest(as_plate_source(source), **options))

    async def submit(
        self, request: Request, *, request_id: str = "", priority: int | None = None, on_upload: OnUpload | None = None
    ) -> AsyncJob:
        """Brings the inputs to the server and starts the job. The same ``request_id`` again gives the same job.
        ``priority`` (0 to 100) orders the jobs of one tenant; None = 50."""
        places = await self._place(request.inputs, on_upload)
        request_id = request_id or uuid.uuid4().hex
        message: Any = request.to_proto(places, request_id)
        if priority is not None:
            message.priority = priority
        operation = await self._call(self._starters[type(request)], message)
        return AsyncJob(self, operation.name)

    def job(self, name: str) -> AsyncJob:
        return AsyncJob(self, name)

    async def jobs(self) -> AsyncIterator[JobSummary]:
        """All jobs, newest first."""
        request = jobs_pb2.ListJobsRequest()
        while True:
            page = await self._call(self._jobs.ListJobs, request)
            for job in page.jobs:
                yield JobSummary.from_proto(job)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def queue(self) -> QueueSummary:
        """How the caller's own queue stands."""
        return QueueSummary.from_proto(await self._call(self._jobs.GetQueue, jobs_pb2.GetQueueRequest()))

    async def pause(self, paused: bool = True) -> QueueSummary:
        """Starts no further job of the caller's, or goes on with them; those that run go on."""
        request = jobs_pb2.UpdateQueueRequest(paused=paused)
        return QueueSummary.from_proto(await self._call(self._jobs.UpdateQueue, request))

    async def upload(self, source: Input, on_upload: OnUpload | None = None) -> common_pb2.MediaPath:
        """Uploads what the server does not hold yet, and says where it lies. A broken connection is taken up again."""
        asset = await asyncio.to_thread(_uploads.scan, source)
        retry = Retry(self._patience_s)
        while missing := _uploads.missing_files(asset, await self._stored_files(asset.asset_id)):
            retry.note(sum(missing.values()))
            messages = _uploads.upload_messages(asset, missing, on_upload)
            try:
                await self._media.Upload(_off_loop(messages))
                break
            except grpc.RpcError as error:
                await asyncio.sleep(retry.wait_s(error))
        return asset.place

    async def _place(self, inputs: Iterable[tuple[str, Input]], on_upload: OnUpload | None) -> Places:
        if self._shares_files:
            return {source: _uploads.in_place(source) for _, source in inputs}
        return {source: await self.upload(source, on_upload) for _, source in inputs}

    async def _stored_files(self, asset_id: str) -> list[media_pb2.StoredFile]:
        media = common_pb2.MediaPath(asset=common_pb2.AssetPath(asset_id=asset_id))
        request = media_pb2.DescribeRequest(media=media)
        files: list[media_pb2.StoredFile] = []
        while True:
            try:
                page = await self._call(self._media.Describe, request)
            except NotFound:
                return files
            files.extend(page.files)
            if not page.next_page_token:
                return files
            request.page_token = page.next_page_token

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc(error) from error


class AsyncJob:
    """A job on the server, running or done; ``name`` is all that is needed to come back to it."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self._client = client
        self.name = name

    async def watch(self, after_seq: int = 0, timeout_s: float | None = None) -> AsyncIterator[Event]:
        """Events after ``after_seq``, each once and in order, until the job ends; reconnects by itself.

        Raises ``Unavailable`` when the job has not ended after ``timeout_s``.
        """
        seq, retry, deadline = after_seq, Retry(self._client._patience_s), Deadline(timeout_s)
        while True:
            broken: grpc.RpcError | None = None
            request = jobs_pb2.WatchJobRequest(name=self.name, after_seq=seq)
            call = self._client._jobs.WatchJob(request, timeout=deadline.left_s)
            try:
                async for message in call:
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
            await asyncio.sleep(retry.wait_s(broken))

    async def wait(self, on_event: Callable[[Event], None] | None = None) -> Event:
        """Waits for the end and returns the last event. Raises the job's error if it failed or was cancelled."""
        async for event in self.watch():
            if on_event:
                on_event(event)
            last = event
        return checked(last)

    async def anchors(self) -> tuple[Anchor, ...]:
        """What a finished job of ``render_anchors`` or ``render_previs`` has painted, by frame."""
        request = previs_pb2.ListAnchorsRequest(name=self.name)
        found = await self._client._call(self._client._previs.ListAnchors, request)
        return tuple(map(Anchor.from_proto, found.anchors))

    async def cancel(self) -> None:
        """Asks the job to stop; finished stages are kept. ``watch`` tells when it has."""
        request = operations_pb2.CancelOperationRequest(name=self.name)
        await self._client._call(self._client._operations.CancelOperation, request)

    async def update(
        self, *, priority: int | None = None, paused: bool | None = None, pinned: bool | None = None
    ) -> JobSummary:
        """Changes the job's place in the queue (0 to 100, higher first), has it wait, or keeps its result for good."""
        request = jobs_pb2.UpdateJobRequest(name=self.name, priority=priority, paused=paused, pinned=pinned)
        return JobSummary.from_proto(await self._client._call(self._client._jobs.UpdateJob, request))

    async def download(self, out_dir: PathLike, on_event: Callable[[Event], None] | None = None) -> Event:
        """Follows the job and fetches its files as soon as they are announced; see ``Job.download``."""
        async for event in self.watch():
            for file in event.files:
                await self.fetch(event.asset_id, file, out_dir)
            if on_event:
                on_event(event)
            last = event
        return checked(last)

    async def fetch(self, asset_id: str, file: ResultFile, out_dir: PathLike) -> Path:
        """One file of the result."""
        sink, retry = Sink(Path(out_dir), file), Retry(self._client._patience_s)
        if await asyncio.to_thread(lambda: sink.present):
            return sink.path
        with sink:
            while not sink.complete:
                request = media_pb2.DownloadRequest(asset_id=asset_id, relative_path=file.path, offset=sink.offset)
                broken: grpc.RpcError | None = None
                try:
                    async for chunk in self._client._media.Download(request):
                        sink.write(chunk)
                except grpc.RpcError as error:
                    broken = error
                if not sink.complete:
                    retry.note(sink.offset)
                    await asyncio.sleep(retry.wait_s(broken))
            sink.commit()
        return sink.path


async def _off_loop(messages: Iterable[media_pb2.UploadRequest]) -> AsyncIterator[media_pb2.UploadRequest]:
    """Reads the next chunk in a thread, so that the disk does not hold up the event loop."""
    iterator = iter(messages)
    while (message := await asyncio.to_thread(next, iterator, None)) is not None:
        yield message

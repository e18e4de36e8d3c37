"""A real gRPC server with a scripted job: what the client's tests talk to.

Run as a program it is an embedded server: it serves until its standard input closes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent import futures
from dataclasses import dataclass, field

import grpc
from backlot.v1 import (
    insertion_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    media_pb2,
    media_pb2_grpc,
    scene_pb2_grpc,
)
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import any_pb2, empty_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

JOB, RESULT = "jobs/1", "result-1"


@dataclass
class Stored:
    total_bytes: int
    sha256: str
    data: bytearray = field(default_factory=bytearray)


class TinyServer(
    media_pb2_grpc.MediaServiceServicer,
    jobs_pb2_grpc.JobServiceServicer,
    scene_pb2_grpc.SceneServiceServicer,
    insertion_pb2_grpc.InsertionServiceServicer,
    operations_pb2_grpc.OperationsServicer,
):
    """State that outlives a restart of the port; ``cuts`` breaks streams off, one per entry."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Stored]] = {}
        self.events: list[jobs_pb2.JobEvent] = []
        self.requests: list[object] = []
        self.calls: list[str] = []
        self.cuts: dict[str, list[int]] = {"Upload": [], "Download": [], "WatchJob": []}
        self.refusal: status_pb2.Status | None = None
        self.queue_paused = False
        self.cancelled = threading.Event()

    def start(self, address: str = "127.0.0.1:0") -> tuple[grpc.Server, str]:
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        media_pb2_grpc.add_MediaServiceServicer_to_server(self, server)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(self, server)
        scene_pb2_grpc.add_SceneServiceServicer_to_server(self, server)
        insertion_pb2_grpc.add_InsertionServiceServicer_to_server(self, server)
        operations_pb2_grpc.add_OperationsServicer_to_server(self, server)
        port = server.add_insecure_port(address)
        server.start()
        return server, address if address.startswith("unix:") else f"127.0.0.1:{port}"

    def publish(self, *files: tuple[str, bytes], **event: object) -> None:
        """Adds an event that announces files with this content."""
        stored = self.files.setdefault(RESULT, {})
        announced = []
        for path, data in files:
            sha256 = hashlib.sha256(data).hexdigest()
            stored[path] = Stored(len(data), sha256, bytearray(data))
            announced.append(jobs_pb2.ResultFile(relative_path=path, size_bytes=len(data), sha256=sha256))
        message = jobs_pb2.JobEvent(
            seq=len(self.events) + 1, state=jobs_pb2.JOB_STATE_RUNNING, files=announced, result_asset_id=RESULT
        )
        for name, value in event.items():
            if name == "error":
                message.error.CopyFrom(value)
            else:
                setattr(message, name, value)
        self.events.append(message)

    def _cut(self, call: str) -> int:
        """After how many messages this stream breaks off; a large number when it does not."""
        return self.cuts[call].pop(0) if self.cuts[call] else 1 << 30

    def Upload(self, requests: Iterable[media_pb2.UploadRequest], context: grpc.ServicerContext) -> object:
        cut = self._cut("Upload")
        self.calls.append("Upload")
        for number, message in enumerate(requests):
            if number == cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            asset = self.files.setdefault(message.asset_id, {})
            stored = asset.setdefault(message.relative_path, Stored(message.total_bytes, message.sha256))
            if message.offset != len(stored.data):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "offset")
            stored.data += message.data
        return media_pb2.UploadResponse()

    def Describe(self, request: media_pb2.DescribeRequest, context: grpc.ServicerContext) -> object:
        """Two files a page, so that pages are followed."""
        if request.media.asset.asset_id not in self.files:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such asset")
        asset = self.files[request.media.asset.asset_id]
        start = int(request.page_token or 0)
        names = sorted(asset)
        files = [
            media_pb2.StoredFile(
                relative_path=name,
                size_bytes=asset[name].total_bytes,
                sha256=asset[name].sha256,
                received_bytes=len(asset[name].data),
            )
            for name in names[start : start + 2]
        ]
        more = start + 2 < len(names)
        return media_pb2.DescribeResponse(files=files, next_page_token=str(start + 2) if more else "")

    def Download(self, request: media_pb2.DownloadRequest, context: grpc.ServicerContext) -> Iterator[object]:
        cut = self._cut("Download")
        self.calls.append(f"Download {request.relative_path} {request.offset}")
        data = bytes(self.files[request.asset_id][request.relative_path].data)
        for number, offset in enumerate(range(request.offset, len(data), 1000)):
            if number == cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            yield media_pb2.DownloadResponse(offset=offset, data=data[offset : offset + 1000])

    def WatchJob(self, request: jobs_pb2.WatchJobRequest, context: grpc.ServicerContext) -> Iterator[object]:
        if request.name != JOB:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no job {request.name}")
        cut = self._cut("WatchJob")
        self.calls.append(f"WatchJob {request.after_seq}")
        for number, event in enumerate(self.events[request.after_seq :]):
            if number == cut:
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            yield event
        if self.events[-1].state == jobs_pb2.JOB_STATE_RUNNING:
            while not self.cancelled.wait(0.02):
                if not context.is_active():
                    return
            yield jobs_pb2.JobEvent(
                seq=len(self.events) + 1,
                state=jobs_pb2.JOB_STATE_CANCELLED,
                error=status_pb2.Status(code=code_pb2.CANCELLED, message="somebody asked for it"),
            )

    def ListJobs(self, request: jobs_pb2.ListJobsRequest, context: grpc.ServicerContext) -> object:
        """One job a page, two pages."""
        number = int(request.page_token or 2)
        metadata = jobs_pb2.JobMetadata(kind="insert", state=jobs_pb2.JOB_STATE_RUNNING, stage="a", fraction=0.5)
        job = jobs_pb2.Job(name=f"jobs/{number}", metadata=metadata)
        return jobs_pb2.ListJobsResponse(jobs=[job], next_page_token="1" if number == 2 else "")

    def UpdateJob(self, request: jobs_pb2.UpdateJobRequest, context: grpc.ServicerContext) -> object:
        given = {field.name: value for field, value in request.ListFields() if field.name != "name"}
        self.calls.append(f"UpdateJob {request.name} {given}")
        return jobs_pb2.Job(name=request.name, metadata=jobs_pb2.JobMetadata(state=jobs_pb2.JOB_STATE_QUEUED, **given))

    def GetQueue(self, request: object, context: grpc.ServicerContext) -> object:
        return jobs_pb2.Queue(paused=self.queue_paused, queued=3, running=1)

    def UpdateQueue(self, request: jobs_pb2.UpdateQueueRequest, context: grpc.ServicerContext) -> object:
        self.queue_paused = request.paused
        return self.GetQueue(request, context)

    def InsertObject(self, request: object, context: grpc.ServicerContext) -> object:
        if self.refusal is not None:
            context.set_trailing_metadata([("grpc-status-details-bin", self.refusal.SerializeToString())])
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, self.refusal.message)
        self.requests.append(request)
        return operations_pb2.Operation(name=JOB)

    ReconstructScene = ImportScene = InsertObject

    def CancelOperation(self, request: object, context: grpc.ServicerContext) -> object:
        self.cancelled.set()
        return empty_pb2.Empty()


def bad_request(field_path: str, message: str, reason: str = "INVALID_REQUEST") -> status_pb2.Status:
    info, bad = any_pb2.Any(), any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="backlot"))
    violation = error_details_pb2.BadRequest.FieldViolation(field=field_path, description=message)
    bad.Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=message, details=[info, bad])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--config")
    parser.add_argument("--journal")
    parser.add_argument("--store")
    parser.add_argument("--listen")
    parser.add_argument("--ready-fd", type=int)
    options = parser.parse_args()
    if options.config == "broken":
        sys.exit("unknown key: slotz")
    tiny = TinyServer()
    tiny.publish(("contact_sheet.png", b"sheet"), stage="solving", fraction=0.25)
    if options.config != "endless":
        tiny.publish(
            ("composite.mp4", b"film"), ("report.json", options.store.encode()), state=jobs_pb2.JOB_STATE_SUCCEEDED
        )
    server, address = tiny.start(options.listen)
    os.write(options.ready_fd, f"{address}\n".encode())
    sys.stdin.buffer.read()
    server.stop(0).wait()


if __name__ == "__main__":
    main()

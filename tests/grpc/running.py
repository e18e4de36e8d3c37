"""Clients of a server under test, and the server as a process of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from backlot.v1 import (
    common_pb2,
    insertion_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    media_pb2_grpc,
    previs_pb2_grpc,
    scene_pb2,
    scene_pb2_grpc,
)
from google.longrunning import operations_pb2_grpc, operations_proto_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.config import ROOT, Config
from services.server import running_server


class Stubs:
    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        if credentials:
            self.channel = grpc.aio.secure_channel(address, credentials)
        else:
            self.channel = grpc.aio.insecure_channel(address)
        self.media = media_pb2_grpc.MediaServiceStub(self.channel)
        self.scenes = scene_pb2_grpc.SceneServiceStub(self.channel)
        self.insertion = insertion_pb2_grpc.InsertionServiceStub(self.channel)
        self.previs = previs_pb2_grpc.PrevisServiceStub(self.channel)
        self.jobs = jobs_pb2_grpc.JobServiceStub(self.channel)
        self.operations = operations_pb2_grpc.OperationsStub(self.channel)

    async def submit(self, notes: Path, *, request_id: str = "", no_cache: bool = False, **plan: Any) -> str:
        """Start a tiny job; the name of its Operation."""
        return (await self.scenes.ReconstructScene(tiny_request(notes, request_id, no_cache, **plan))).name

    async def events(self, name: str, after_seq: int = 0) -> list[jobs_pb2.JobEvent]:
        """All events up to the end."""
        call = self.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name, after_seq=after_seq))
        return [event async for event in call]

    async def operation(self, name: str) -> operations_proto_pb2.Operation:
        return await self.operations.GetOperation(operations_proto_pb2.GetOperationRequest(name=name))

    async def ended(self, name: str, timeout_s: float = 30.0) -> operations_proto_pb2.Operation:
        request = operations_proto_pb2.WaitOperationRequest(name=name)
        request.timeout.FromNanoseconds(int(timeout_s * 1e9))
        operation = await self.operations.WaitOperation(request)
        assert operation.done, f"{name} still runs"
        return operation

    async def cancel(self, name: str) -> None:
        await self.operations.CancelOperation(operations_proto_pb2.CancelOperationRequest(name=name))


def tiny_request(
    notes: Path, request_id: str = "", no_cache: bool = False, **plan: Any
) -> scene_pb2.ReconstructSceneRequest:
    clip = common_pb2.Clip(path=common_pb2.MediaPath(uri=str(notes)))
    scene = common_pb2.SceneOptions(horizon=json.dumps(plan))
    return scene_pb2.ReconstructSceneRequest(request_id=request_id, clip=clip, scene=scene, no_cache=no_cache)


@asynccontextmanager
async def serving(config: Config, **options: Any) -> AsyncIterator[Stubs]:
    async with running_server(config, **options) as address:
        stubs = Stubs(address)
        try:
            yield stubs
        finally:
            await stubs.channel.close()


async def until(happened: Callable[[], Any], timeout_s: float = 15.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not happened():
            await asyncio.sleep(0.01)


async def failure(call: Awaitable[Any]) -> status_pb2.Status:
    """The rich status that ``call`` fails with, after checking what holds for all of them."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    data = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(data)
    assert (status.code, status.message) == (caught.value.code().value[0], caught.value.details())
    assert sum(detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for detail in status.details) == 1
    return status


async def wrong_field(call: Awaitable[Any]) -> str:
    """The field that the INVALID_ARGUMENT that ``call`` fails with names."""
    status, bad = await failure(call), error_details_pb2.BadRequest()
    assert status.code == code_pb2.INVALID_ARGUMENT
    assert any(detail.Unpack(bad) for detail in status.details)
    return bad.field_violations[0].field


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked how does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class ServerProcess:
    """``python -m services.server`` as users start it."""

    def __init__(self, process: asyncio.subprocess.Process, address: str) -> None:
        self.process, self.address = process, address

    @classmethod
    async def start(
        cls, config: Config, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> ServerProcess:
        """Its address is empty when it has died before it served."""
        settings = folder / "test.yaml"
        server = {name: getattr(config.server, name) for name in ("registry", "media_roots", "executor", "helpers")}
        given = {
            "server": server, "store": {"cap_bytes": config.store.cap_bytes}, "ray": dataclasses.asdict(config.ray),
        }  # fmt: skip
        settings.write_text(json.dumps(given))  # JSON is YAML
        read, write = os.pipe()
        with open(folder / "server.log", "ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.server", "--config", str(settings), "--listen", "127.0.0.1:0",
                "--journal", config.server.journal, "--store", config.store.url, "--ready-fd", str(write), *arguments,
                cwd=ROOT, pass_fds=(write,), stdin=asyncio.subprocess.PIPE, stderr=log,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        os.close(write)
        with os.fdopen(read) as ready:
            address = await asyncio.to_thread(ready.readline)
        return cls(process, address.strip())

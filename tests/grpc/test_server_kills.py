"""The real server and its workers, killed at random moments and at every failpoint: every job ends, nothing twice."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import grpc
import numpy as np
import pytest
from backlot.v1 import common_pb2, jobs_pb2, media_pb2
from google.longrunning import operations_proto_pb2

from services import failpoints
from services.config import Config, StoreConfig
from services.jobs.journal import State
from tests.grpc.running import ServerProcess, Stubs
from tests.services import kill_campaign
from tests.services.tiny_stages import runs


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_random_moments(config: Config, notes: Path, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng([seed])
    folders = [notes / str(number) for number in range(3)]
    names: list[str] = []
    for attempt in range(12):
        server = await ServerProcess.start(config, tmp_path)
        stubs = Stubs(server.address)
        for number, folder in enumerate(folders[len(names) :], len(names)):
            folder.mkdir(exist_ok=True)
            names.append(await stubs.submit(folder, request_id=str(number), text=f"{number}", files=20))
        if attempt == 11:
            for name in names:
                assert (await stubs.ended(name)).HasField("response")
        else:
            await asyncio.sleep(float(random.uniform(0, 1.2)))
            server.process.send_signal(signal.SIGKILL)
            await server.process.wait()
        if attempt == 11:
            events = [await stubs.events(name) for name in names]
        await stubs.channel.close()
    server.process.terminate()
    assert await server.process.wait() == 0
    for told in events:
        assert [event.seq for event in told] == list(range(1, len(told) + 1))
        paths = [file.relative_path for event in told for file in event.files]
        assert len(paths) == len(set(paths)) == 21
    store = Path(config.store.url)
    committed = list(store.glob("stages/??/*/manifest.json"))
    assert len(committed) == 6  # three first stages of different text, and what follows from each
    assert not list((store / "staging").iterdir())
    assert all(runs(folder, "first") >= 1 for folder in folders)


# Jobs of the first version's journal name files that are not there.
ENDS = kill_campaign.ENDS | dict.fromkeys(("running", "queued", "urgent"), (State.FAILED,))


async def _everything(stubs: Stubs, root: Path, notes: Path) -> None:
    """All that a server may be asked for; what it has been asked for before is repeated."""
    names = []
    for text, plan in (("plain", {"files": 3}), ("doomed", {"second": "wait"}), ("paused", {})):
        names.append(await stubs.submit(notes, request_id=text, text=text, **plan))
        with (root / "answered").open("a") as stream:
            stream.write(f"{names[-1]}\n")
    _, doomed, paused = names
    await _change(stubs, paused, paused=True)
    await stubs.media.Upload(iter(_pieces(await _received(stubs))))
    while (await _state(stubs, doomed)) == jobs_pb2.JOB_STATE_QUEUED:
        await asyncio.sleep(0.02)
    await stubs.cancel(doomed)
    await _change(stubs, paused, paused=False)
    for job in (await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs:
        await stubs.ended(job.name, 120)
        if job.metadata.request_id == "first":
            await stubs.operations.DeleteOperation(operations_proto_pb2.DeleteOperationRequest(name=job.name))


async def _change(stubs: Stubs, name: str, *, paused: bool) -> None:
    if not (await stubs.operation(name)).done:
        await stubs.jobs.UpdateJob(jobs_pb2.UpdateJobRequest(name=name, paused=paused))


async def _state(stubs: Stubs, name: str) -> int:
    metadata = jobs_pb2.JobMetadata()
    (await stubs.operation(name)).metadata.Unpack(metadata)
    return metadata.state


async def _received(stubs: Stubs) -> int:
    try:
        asset = common_pb2.AssetPath(asset_id="plate-00")
        described = await stubs.media.Describe(media_pb2.DescribeRequest(media=common_pb2.MediaPath(asset=asset)))
    except grpc.aio.AioRpcError as error:
        if error.code() != grpc.StatusCode.NOT_FOUND:
            raise
        return 0
    return described.files[0].received_bytes if described.files else 0


def _pieces(begun: int) -> list[media_pb2.UploadRequest]:
    data = kill_campaign.UPLOAD
    whole = {"asset_id": "plate-00", "relative_path": "plate.exr", "total_bytes": len(data)}
    sha256 = hashlib.sha256(data).hexdigest()
    return [media_pb2.UploadRequest(sha256=sha256, offset=begun, data=data[begun:], **whole)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("point", failpoints.POINTS)
async def test_killed_at_a_failpoint(config: Config, tmp_path: Path, point: str, seed: int) -> None:
    root = tmp_path / "root"
    config = dataclasses.replace(
        config,
        server=dataclasses.replace(config.server, journal=str(root / "journal"), media_roots=(str(root),)),
        store=StoreConfig(str(root / "store"), kill_campaign.SMALL),
    )
    time = random.Random(f"{point} {seed}").randint(1, 1 + seed)
    for armed in (f"{point}@{time}", point):
        shutil.rmtree(root, ignore_errors=True)
        kill_campaign.prepare(root)
        await _live(config, root, {"BACKLOT_FAILPOINTS": armed, "BACKLOT_FAILPOINTS_FOLDER": str(root)})
        if (root / point).exists():
            break
    assert (root / point).exists(), f"{point} was never reached"
    before = kill_campaign.outputs(root)
    await _live(config, root)
    kill_campaign.check(root, before, ENDS)


async def _live(config: Config, root: Path, armed: Mapping[str, str] | None = None) -> None:
    """A server's life, up to its end or until it is killed."""
    server = await ServerProcess.start(config, root.parent, environment=armed)
    stubs = Stubs(server.address or "127.0.0.1:9")
    try:
        await _everything(stubs, root, root / "notes")
    except grpc.aio.AioRpcError as error:
        if not armed or error.code() != grpc.StatusCode.UNAVAILABLE:
            raise
    await stubs.channel.close()
    if server.process.returncode is None:
        server.process.terminate()
    await server.process.wait()

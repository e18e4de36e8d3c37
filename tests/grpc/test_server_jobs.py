"""Jobs through the front door: submitted, watched, cancelled, killed, resumed."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from backlot.v1 import jobs_pb2, scene_pb2
from google.longrunning import operations_proto_pb2
from google.rpc import code_pb2, error_details_pb2

from services.config import Config
from services.errors import Unavailable
from services.jobs.journal import Journal
from tests.grpc.running import ServerProcess, Stubs, failure, is_alive, serving, tiny_request, until, wrong_field
from tests.services.tiny_stages import runs

QUEUED, RUNNING, SUCCEEDED = jobs_pb2.JOB_STATE_QUEUED, jobs_pb2.JOB_STATE_RUNNING, jobs_pb2.JOB_STATE_SUCCEEDED


async def test_a_job_runs_and_tells_about_it(stubs: Stubs, notes: Path) -> None:
    name = await stubs.submit(notes, files=3)
    events = await stubs.events(name)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    states = list(dict.fromkeys(event.state for event in events))
    assert states == [QUEUED, RUNNING, SUCCEEDED]
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert [event.warning for event in events if event.warning] == ["this is a toy"]
    assert any(event.preview.mime_type == "image/jpeg" and event.preview.data[:2] == b"\xff\xd8" for event in events)
    assert {event.stage for event in events} == {"", "first", "Second"}
    paths = [file.relative_path for event in events for file in event.files]
    assert paths == ["one/0000.txt", "one/0001.txt", "one/0002.txt", "two.bin"]

    operation = await stubs.operation(name)
    assert operation.done
    response, metadata = scene_pb2.ReconstructResponse(), jobs_pb2.JobMetadata()
    assert operation.response.Unpack(response)
    assert operation.metadata.Unpack(metadata)
    assert (response.result.file_count, response.result.total_bytes) == (4, 3 + 1000)
    assert list(response.result.warnings) == ["this is a toy"]
    assert metadata.result_asset_id == response.result.result_asset_id == events[-1].result_asset_id
    assert (metadata.kind, metadata.state, metadata.last_seq) == ("reconstruct", SUCCEEDED, events[-1].seq)
    times = [time.ToNanoseconds() for time in (metadata.create_time, metadata.start_time, metadata.end_time)]
    assert times == sorted(times)

    scene = await stubs.scenes.GetScene(scene_pb2.GetSceneRequest(name=name))
    assert list(scene.registered_frames) == [0, 1, 2]
    assert scene.width_px == 960  # from the settings


async def test_chunks_are_made_where_nobody_helps(stubs: Stubs, notes: Path) -> None:
    events = await stubs.events(await stubs.submit(notes, chunks=3))
    assert events[-1].state == SUCCEEDED
    assert sum(file.relative_path.startswith("chunks/") for event in events for file in event.files) == 3


async def test_finished_stages_are_shared_between_jobs_unless_asked_anew(stubs: Stubs, notes: Path) -> None:
    for _ in range(2):
        await stubs.ended(await stubs.submit(notes))
    assert (runs(notes, "first"), runs(notes, "second")) == (1, 1)
    await stubs.ended(await stubs.submit(notes, no_cache=True))
    assert (runs(notes, "first"), runs(notes, "second")) == (2, 2)


async def test_watching_again_loses_and_doubles_nothing(stubs: Stubs, notes: Path) -> None:
    name = await stubs.submit(notes, second="wait")
    seen: list[int] = []
    for take in (1, 2, 1):  # and break off
        request = jobs_pb2.WatchJobRequest(name=name, after_seq=seen[-1] if seen else 0)
        call = stubs.jobs.WatchJob(request)
        for _ in range(take):
            seen.append((await call.read()).seq)
        call.cancel()
    (notes / "go").touch()
    rest = await stubs.events(name, seen[-1])
    seen += [event.seq for event in rest]
    assert seen == list(range(1, len(seen) + 1))
    assert rest[-1].state == SUCCEEDED
    assert await stubs.events(name, seen[-1]) == []
    assert await stubs.events(name) == await stubs.events(name)


async def test_a_hundred_duplicates_are_one_job(stubs: Stubs, notes: Path) -> None:
    names = await asyncio.gather(*(stubs.submit(notes, request_id="same") for _ in range(100)))
    assert len(set(names)) == 1
    assert len((await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs) == 1
    await stubs.ended(names[0])
    assert await stubs.submit(notes, request_id="same") == names[0]
    assert runs(notes, "first") == 1


async def test_another_request_under_a_used_id_is_refused(stubs: Stubs, notes: Path) -> None:
    await stubs.submit(notes, request_id="same")
    with pytest.raises(grpc.aio.AioRpcError, match="request_id") as caught:
        await stubs.submit(notes, request_id="same", text="other")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_queued_job_is_cancelled_at_once(stubs: Stubs, notes: Path) -> None:
    running = await stubs.submit(notes, second="wait")
    queued = await stubs.submit(notes, text="queued")
    begun = time.monotonic()
    await stubs.cancel(queued)
    operation = await stubs.operation(queued)
    assert time.monotonic() - begun < 0.5
    assert operation.error.code == code_pb2.CANCELLED
    assert (await stubs.events(queued))[-1].error.code == code_pb2.CANCELLED
    (notes / "go").touch()
    assert (await stubs.ended(running)).HasField("response")
    assert runs(notes, "first") == 1  # the cancelled one never ran


async def test_a_running_job_is_cancelled_at_the_next_step(stubs: Stubs, notes: Path) -> None:
    name = await stubs.submit(notes, second="wait")
    await until(lambda: runs(notes, "second"))
    begun = time.monotonic()
    await stubs.cancel(name)
    operation = await stubs.ended(name)
    assert time.monotonic() - begun < 4  # before it would be insisted on
    assert operation.error.code == code_pb2.CANCELLED
    await stubs.cancel(name)  # again: nothing happens
    (notes / "go").touch()
    await stubs.ended(await stubs.submit(notes, second="wait"))
    assert runs(notes, "first") == 1  # finished stages were kept


async def test_a_deaf_worker_is_killed(with_server: Callable[..., Config], notes: Path) -> None:
    async with serving(with_server(cancel_grace_s=0.3)) as stubs:
        name = await stubs.submit(notes, second="deaf")
        await until((notes / "deaf").exists)
        await stubs.cancel(name)
        assert (await stubs.ended(name, 15)).error.code == code_pb2.CANCELLED
    assert not is_alive(int((notes / "second.runs").read_text()))


async def test_a_killed_worker_is_replaced_and_finished_stages_are_not_run_again(
    stubs: Stubs, notes: Path, config: Config
) -> None:
    name = await stubs.submit(notes, second="die once", files=2)
    events = await stubs.events(name)
    assert events[-1].state == SUCCEEDED
    assert (runs(notes, "first"), runs(notes, "second")) == (1, 2)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    paths = [file.relative_path for event in events for file in event.files]
    assert paths == ["one/0000.txt", "one/0001.txt", "two.bin"]  # none twice
    assert [event.warning for event in events if event.warning] == ["this is a toy"]
    assert not list((config.server.journal_folder / "tmp").iterdir())
    assert not list((Path(config.store.url) / "staging").iterdir())


async def test_no_cache_does_not_run_finished_stages_again_either(stubs: Stubs, notes: Path) -> None:
    await stubs.ended(await stubs.submit(notes, second="die once", no_cache=True))
    assert (runs(notes, "first"), runs(notes, "second")) == (1, 2)


async def test_a_poison_job_fails_and_the_queue_goes_on(stubs: Stubs, notes: Path) -> None:
    poison = await stubs.submit(notes, second="die")
    good = await stubs.submit(notes, text="good")
    operation = await stubs.ended(poison)
    assert operation.error.code == code_pb2.INTERNAL
    assert "started 3 times" in operation.error.message
    assert (await stubs.ended(good)).HasField("response")


@pytest.mark.parametrize(
    ("second", "code", "words"),
    [
        ("unsolvable", code_pb2.FAILED_PRECONDITION, "the camera does not move. film it again"),
        ("bug", code_pb2.INTERNAL, "ZeroDivisionError: one over nothing (log: "),
        ("memory", code_pb2.RESOURCE_EXHAUSTED, "needs more memory"),
        ("disk", code_pb2.RESOURCE_EXHAUSTED, "is full"),
    ],
)
async def test_errors_cross_the_process_typed_and_are_not_tried_again(
    stubs: Stubs, notes: Path, second: str, code: int, words: str
) -> None:
    name = await stubs.submit(notes, second=second)
    error = (await stubs.ended(name)).error
    assert error.code == code
    assert words in error.message
    infos = [detail for detail in error.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    assert (await stubs.events(name))[-1].error == error
    assert runs(notes, "second") == 1


async def test_the_log_that_an_error_names_tells_more(stubs: Stubs, notes: Path) -> None:
    error = (await stubs.ended(await stubs.submit(notes, second="bug"))).error
    log = Path(error.message.rpartition("(log: ")[2].rstrip(")"))
    text = log.read_text()
    assert "second" in text
    assert '"job": "jobs/' in text
    assert "Traceback" in text


async def test_jobs_are_listed_in_pages_newest_first(stubs: Stubs, notes: Path) -> None:
    await stubs.submit(notes, second="wait")
    names = [await stubs.submit(notes, text=str(number)) for number in range(4)]
    request, listed = jobs_pb2.ListJobsRequest(page_size=2, state=QUEUED), []
    while True:
        page = await stubs.jobs.ListJobs(request)
        listed.append([job.name for job in page.jobs])
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == [[names[3], names[2]], [names[1], names[0]]]
    operations = await stubs.operations.ListOperations(operations_proto_pb2.ListOperationsRequest(page_size=3))
    assert [operation.name for operation in operations.operations] == [names[3], names[2], names[1]]
    (notes / "go").touch()


async def test_deleted_jobs_are_gone_and_their_results_may_go(stubs: Stubs, notes: Path, config: Config) -> None:
    name = await stubs.submit(notes, second="wait")
    delete = operations_proto_pb2.DeleteOperationRequest(name=name)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.operations.DeleteOperation(delete)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    (notes / "go").touch()
    await stubs.ended(name)
    pins = Path(config.store.url) / "pins"
    assert len(list(pins.iterdir())) == 2
    await stubs.operations.DeleteOperation(delete)
    assert not list(pins.iterdir())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.operation(name)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_waiting_ends_with_its_timeout(stubs: Stubs, notes: Path) -> None:
    name = await stubs.submit(notes, second="wait")
    request = operations_proto_pb2.WaitOperationRequest(name=name)
    request.timeout.FromMilliseconds(50)
    assert not (await stubs.operations.WaitOperation(request)).done


async def test_a_full_queue_says_when_to_come_back(with_server: Callable[..., Config], notes: Path) -> None:
    async with serving(with_server(queue_limit=2)) as stubs:
        for number in range(3):
            await stubs.submit(notes, text=str(number), second="wait")
        status, retry = await failure(stubs.submit(notes, text="one too many")), error_details_pb2.RetryInfo()
        assert status.code == code_pb2.RESOURCE_EXHAUSTED
        assert any(detail.Unpack(retry) for detail in status.details)
        assert retry.retry_delay.seconds > 0
        assert len((await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs) == 3


async def test_a_queue_and_its_jobs_are_steered(stubs: Stubs, notes: Path) -> None:
    queue = await stubs.jobs.UpdateQueue(jobs_pb2.UpdateQueueRequest(paused=True))
    assert (queue.paused, queue.queued, queue.running) == (True, 0, 0)
    request = tiny_request(notes, text="urgent")
    request.priority = 80
    name = (await stubs.scenes.ReconstructScene(request)).name
    assert (await stubs.jobs.GetQueue(jobs_pb2.GetQueueRequest())).queued == 1
    change = jobs_pb2.UpdateJobRequest(name=name, priority=90, paused=True, pinned=True)
    metadata = (await stubs.jobs.UpdateJob(change)).metadata
    assert (metadata.priority, metadata.paused, metadata.pinned, metadata.attempts) == (90, True, True, 0)
    assert not (await stubs.jobs.UpdateQueue(jobs_pb2.UpdateQueueRequest(paused=False))).paused
    assert (await stubs.jobs.UpdateJob(jobs_pb2.UpdateJobRequest(name=name))).metadata.state == QUEUED
    assert await wrong_field(stubs.jobs.UpdateJob(jobs_pb2.UpdateJobRequest(name=name, priority=101))) == "priority"
    request = tiny_request(notes, text="wrong")
    request.priority = -1
    assert await wrong_field(stubs.scenes.ReconstructScene(request)) == "priority"
    await stubs.cancel(name)
    delete = operations_proto_pb2.DeleteOperationRequest(name=name)
    assert (await failure(stubs.operations.DeleteOperation(delete))).code == code_pb2.FAILED_PRECONDITION
    await stubs.jobs.UpdateJob(jobs_pb2.UpdateJobRequest(name=name, pinned=False))
    await stubs.operations.DeleteOperation(delete)


async def test_a_server_that_stops_parks_its_jobs_and_the_next_goes_on(config: Config, notes: Path) -> None:
    async with serving(config) as stubs:
        name = await stubs.submit(notes, second="wait")
        await until(lambda: runs(notes, "second"))
    pid = int((notes / "second.runs").read_text())
    assert not is_alive(pid)
    (notes / "go").touch()
    async with serving(config) as stubs:
        assert (await stubs.ended(name)).HasField("response")
    assert runs(notes, "first") == 1


async def test_one_journal_has_one_server(config: Config) -> None:
    async with serving(config):
        with pytest.raises(Unavailable, match="in use by another server"):
            Journal(config.server.journal_folder)


async def test_a_watcher_that_vanishes_does_not_disturb_the_job(stubs: Stubs, notes: Path) -> None:
    name = await stubs.submit(notes, second="wait")
    calls = [stubs.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name)) for _ in range(50)]
    for call in calls:
        await call.read()
        call.cancel()
    (notes / "go").touch()
    assert (await stubs.ended(name)).HasField("response")


async def test_submitting_is_quick_while_jobs_run(stubs: Stubs, notes: Path) -> None:
    times = []
    for number in range(40):
        begun = time.monotonic()
        await stubs.submit(notes, text=str(number), second="wait")
        times.append(time.monotonic() - begun)
    assert sorted(times)[37] < 0.25  # p95; the goal of 50 ms is measured by the benchmark, on a quiet machine


async def test_a_killed_server_continues_its_jobs_when_it_is_back(config: Config, notes: Path, tmp_path: Path) -> None:
    server = await ServerProcess.start(config, tmp_path)
    stubs = Stubs(server.address)
    name = await stubs.submit(notes, second="wait")
    queued = await stubs.submit(notes, text="queued")
    await until(lambda: runs(notes, "second"))
    seen = (await stubs.operation(name)).metadata
    worker = int((notes / "second.runs").read_text())
    server.process.send_signal(signal.SIGKILL)
    await server.process.wait()
    await stubs.channel.close()
    await until(lambda: not is_alive(worker), 5)
    (notes / "go").touch()

    server = await ServerProcess.start(config, tmp_path)
    stubs = Stubs(server.address)
    for job in (name, queued):
        assert (await stubs.ended(job)).HasField("response")
    assert runs(notes, "first") == 2  # once for each job
    events = await stubs.events(name)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    metadata = jobs_pb2.JobMetadata()
    seen.Unpack(metadata)
    assert 0 < metadata.last_seq < events[-1].seq
    await stubs.channel.close()
    server.process.terminate()
    assert await server.process.wait() == 0
    with sqlite3.connect(config.server.journal_folder / "journal.sqlite") as journal:
        assert journal.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    journal.close()


async def test_an_embedded_server_ends_with_its_input(config: Config, notes: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    server = await ServerProcess.start(config, tmp_path, "--embedded")
    stubs = Stubs(server.address)
    name = await stubs.submit(elsewhere, second="wait")  # below no media root: its own user's files are read in place
    await until(lambda: runs(elsewhere, "second"))
    worker = int((elsewhere / "second.runs").read_text())
    await stubs.channel.close()
    assert name
    assert server.process.stdin
    server.process.stdin.close()
    begun = time.monotonic()
    assert await server.process.wait() == 0
    assert time.monotonic() - begun < 10
    assert not is_alive(worker)



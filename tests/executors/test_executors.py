"""What every executor does alike: one suite for the local one and, where Ray is installed, for a cluster's."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from services.config import Config, RayConfig, ServerConfig, StoreConfig
from services.errors import Cancelled, OutOfMemory, Unsolvable
from services.executors.base import Executor, Task, WorkerDied
from services.executors.helped import HelpedExecutor
from services.pipelines.requests import Clip, ReconstructRequest, SceneOptions
from tests.grpc.running import is_alive, until
from tests.services.tiny_stages import runs

LIMIT_S = 120


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    server = ServerConfig(registry="tests.services.tiny_pipelines", slots=2, cancel_grace_s=1.0)
    return Config(server, RayConfig(cpus=0.5), StoreConfig(str(tmp_path / "store"), 10**9))


def _task(notes: Path, job: str = "jobs/1", **plan: Any) -> Task:
    return Task(job, "reconstruct", ReconstructRequest(Clip(str(notes)), SceneOptions(horizon=json.dumps(plan))))


def _pid(notes: Path, stage: str = "second") -> int:
    return int((notes / f"{stage}.runs").read_text().split()[-1])


async def test_a_task_runs_and_tells_about_it(executor: Executor, notes: Path) -> None:
    messages: list[dict[str, Any]] = []
    result = await executor.run(_task(notes), messages.append)
    assert result["metadata"]["registered_frames"] == [0, 1, 2]
    assert set(result["timings"]) == {"first", "Second"}
    assert {message["kind"] for message in messages} == {"progress", "warning", "files"}
    assert _pid(notes) != os.getpid()


async def test_errors_keep_their_type(executor: Executor, notes: Path) -> None:
    with pytest.raises(Unsolvable, match="film it again") as caught:
        await executor.run(_task(notes, second="unsolvable"), lambda message: None)
    assert caught.value.hint == "film it again"
    with pytest.raises(OutOfMemory):
        await executor.run(_task(notes, text="b", second="memory"), lambda message: None)


async def test_a_worker_that_dies_is_noticed(executor: Executor, notes: Path) -> None:
    with pytest.raises(WorkerDied):
        await executor.run(_task(notes, second="die"), lambda message: None)


async def test_a_task_is_asked_to_stop(executor: Executor, notes: Path) -> None:
    running = asyncio.create_task(executor.run(_task(notes, second="wait"), lambda message: None))
    await until(lambda: runs(notes, "second"), LIMIT_S)
    executor.cancel("jobs/other")
    executor.cancel("jobs/1")
    with pytest.raises(Cancelled):
        await running
    await until(lambda: not is_alive(_pid(notes)), LIMIT_S)


async def test_nothing_is_left_when_the_server_gives_up_on_a_task(
    executor: Executor, notes: Path, tmp_path: Path
) -> None:
    running = asyncio.create_task(executor.run(_task(notes, second="wait"), lambda message: None))
    await until(lambda: runs(notes, "second"), LIMIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not is_alive(_pid(notes))
    assert not list((tmp_path / "server").glob("tmp/*"))


async def test_chunks_on_several_workers_give_the_result_of_one(
    executor: Executor, config: Config, notes: Path, tmp_path: Path
) -> None:
    def delivered(messages: list[dict[str, Any]]) -> dict[str, str]:
        return {f["path"]: f["sha256"] for m in messages if m["kind"] == "files" for f in m["files"]}

    together: list[dict[str, Any]] = []
    helped = HelpedExecutor(executor, helpers=1)
    await helped.run(_task(notes, chunks=12, chunk_s=0.5), together.append)
    assert runs(notes, "chunk") == 12
    pids = set((notes / "chunk.runs").read_text().split())
    alone: list[dict[str, Any]] = []
    await executor.run(Task(**{**vars(_task(notes, "jobs/2", chunks=12, chunk_s=0.0)), "salt": "x"}), alone.append)
    assert delivered(together) == delivered(alone)
    assert len(delivered(alone)) == 14
    assert len(pids) <= 2

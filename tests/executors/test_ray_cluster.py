"""A cluster of several nodes on this machine; one is lost in the middle of a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.artifacts.store import Store
from services.config import Config, RayConfig, ServerConfig, StoreConfig
from services.executors.base import Task
from services.jobs.journal import Job, Journal, State
from services.jobs.runner import Runner
from services.pipelines.requests import Clip, ReconstructRequest, SceneOptions
from tests.grpc.running import ServerProcess, Stubs, is_alive, until
from tests.services.tiny_stages import runs

LIMIT_S = 240


@pytest.fixture
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})  # nothing runs on the head
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_next_server_goes_on_where_one_was_killed(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    notes = tmp_path / "notes"
    notes.mkdir()
    server = ServerConfig(
        registry="tests.services.tiny_pipelines", media_roots=(str(tmp_path),), journal=str(tmp_path / "journal"),
        executor="ray",
    )
    config = Config(server, RayConfig(cluster.address), StoreConfig(str(tmp_path / "store"), 10**9))
    first = await ServerProcess.start(config, tmp_path)
    stubs = Stubs(first.address)
    name = await stubs.submit(notes, second="wait")
    await until(lambda: runs(notes, "second"), LIMIT_S)
    worker = int((notes / "second.runs").read_text())
    first.process.kill()
    await first.process.wait()
    await stubs.channel.close()
    await until(lambda: not is_alive(worker), LIMIT_S)  # the cluster ends what its server has left
    second = await ServerProcess.start(config, tmp_path)
    stubs = Stubs(second.address)
    await until(lambda: runs(notes, "second") == 2, LIMIT_S)
    (notes / "go").touch()
    assert (await stubs.ended(name, LIMIT_S)).HasField("response")
    assert runs(notes, "first") == 1
    assert not (notes / "again.runs").exists()
    await stubs.channel.close()
    second.process.terminate()
    assert await second.process.wait() == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_job_survives_the_loss_of_its_node(cluster: Any, tmp_path: Path) -> None:
    from services.executors.ray_executor import RayExecutor

    notes = tmp_path / "notes"
    notes.mkdir()
    server = ServerConfig(registry="tests.services.tiny_pipelines", cancel_grace_s=1.0, retry_delay_s=0.1)
    config = Config(server, RayConfig(cluster.address), StoreConfig(str(tmp_path / "store"), 10**9))

    def task_for(job: Job) -> Task:
        scene = SceneOptions(horizon=job.request.decode())
        return Task(job.name, job.kind, ReconstructRequest(Clip(str(notes)), scene))

    lost = cluster.add_node(num_cpus=1)
    journal, store = Journal(tmp_path / "journal"), Store(config.store.url, 10**9)
    executor = RayExecutor(config, tmp_path / "logs")
    runner = Runner(journal, store, executor, config, task_for)
    runner.start()
    name = runner.submit("reconstruct", json.dumps({"second": "wait"}).encode()).name
    await until(lambda: runs(notes, "second"), LIMIT_S)
    worker = int((notes / "second.runs").read_text())
    cluster.remove_node(lost, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    await until(lambda: not is_alive(worker), LIMIT_S)
    await until(lambda: runs(notes, "second") == 2, LIMIT_S)
    (notes / "go").touch()
    job = await runner.wait(name, LIMIT_S)
    assert (job.state, job.attempts) == (State.SUCCEEDED, 2)
    assert runs(notes, "first") == 1
    assert not (notes / "again.runs").exists()
    await runner.close()
    executor.close()
    journal.close()

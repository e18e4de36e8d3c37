"""What operators see: metrics, readiness, logs."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import sqlite3
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import services.readiness
from services.config import Config, ServerConfig
from services.errors import InvalidRequest
from services.listening import check_listen
from tests.grpc.running import Stubs, failure, serving

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _scraped(port: int) -> dict[str, float]:
    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            return str(answer.read().decode())

    lines = (await asyncio.to_thread(read)).splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


async def test_figures_tell_of_jobs_and_calls(
    with_server: Callable[..., Config], notes: Path, free_port: int
) -> None:
    async with serving(with_server(metrics=f"127.0.0.1:{free_port}")) as stubs:
        await stubs.ended(await stubs.submit(notes))
        await failure(stubs.operation("jobs/none"))
        figures = await _scraped(free_port)
        assert figures['backlot_jobs{state="SUCCEEDED",tenant="local"}'] == 1
        again = await _scraped(free_port)
    assert figures["backlot_ready"] == figures["backlot_slots"] == 1
    assert figures['backlot_free_bytes{disk="store"}'] > 0
    assert figures["process_resident_memory_bytes"] > 2**20
    get = 'method="/google.longrunning.Operations/GetOperation"'
    assert figures[f'backlot_calls_total{{code="NOT_FOUND",{get}}}'] == 1
    assert figures[f"backlot_call_seconds_count{{{get}}}"] == 1
    for seen in (figures, again):  # a job is counted once
        assert seen.get('backlot_job_seconds_count{kind="reconstruct",state="SUCCEEDED"}', 1) == 1
    assert again['backlot_job_seconds_count{kind="reconstruct",state="SUCCEEDED"}'] == 1


def test_figures_are_for_this_machine_or_for_known_ones() -> None:
    check_listen(ServerConfig(metrics="127.0.0.1:9"))
    with pytest.raises(InvalidRequest, match=r"server\.metrics: .*server\.tls_client_ca"):
        check_listen(ServerConfig(metrics="0.0.0.0:9"))
    with pytest.raises(InvalidRequest, match=r"server\.metrics: expected HOST:PORT"):
        check_listen(ServerConfig(metrics="9090"))


async def test_health_can_be_watched(stubs: Stubs) -> None:
    call = health_pb2_grpc.HealthStub(stubs.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await call.read()).status == SERVING
    call.cancel()


async def _status_becomes(stubs: Stubs, wanted: int) -> None:
    health = health_pb2_grpc.HealthStub(stubs.channel)
    async with asyncio.timeout(20):
        for name in ("", "backlot.v1.JobService"):
            while (await health.Check(health_pb2.HealthCheckRequest(service=name))).status != wanted:
                await asyncio.sleep(0.05)


async def test_a_server_that_cannot_write_is_not_ready(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(services.readiness, "PERIOD_S", 0.1)
    monkeypatch.setattr(services.readiness, "_BUSY_S", 0.1)
    async with serving(config) as stubs:
        await _status_becomes(stubs, SERVING)
        shutil.move(tmp_path / "store", tmp_path / "away")
        await _status_becomes(stubs, NOT_SERVING)
        shutil.move(tmp_path / "away", tmp_path / "store")
        await _status_becomes(stubs, SERVING)
        other = sqlite3.connect(tmp_path / "journal" / "journal.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await _status_becomes(stubs, NOT_SERVING)
        other.close()
        await _status_becomes(stubs, SERVING)


async def test_a_jobs_log_names_job_and_stage(stubs: Stubs, notes: Path, config: Config) -> None:
    name = await stubs.submit(notes)
    await stubs.ended(name)
    logs = list((config.server.journal_folder / "logs").rglob("*.log"))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines() if line.startswith("{")]
    begun = [line for line in lines if line["message"] == "stage begins"]
    assert {line["stage"] for line in begun} >= {"first", "Second"}
    assert {line["job"] for line in begun} == {name}


async def test_calls_that_nobody_serves_are_no_figures(stubs: Stubs) -> None:
    call = stubs.channel.unary_unary("/made.up/Name", lambda x: x, lambda x: x)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED

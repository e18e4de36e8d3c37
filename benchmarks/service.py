"""The service under load, under kills, under clients that vanish: figures of a real server with jobs that take no time.

    python -m benchmarks.service --out DIR [--only kills,restart,...] [--seeds 50] [--soak 2000] [--disconnects 1000]

Every part starts from an empty folder below DIR. A small soak or few seeds show the same defects, less sharply.
``kills`` is the small pipeline, without a front door; the real server and its workers are killed by
``pytest -m slow tests/grpc/test_server_kills.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np
from backlot.v1 import jobs_pb2

from benchmarks.markdown import figure_table
from services import failpoints
from services.artifacts.store import Store
from services.config import ROOT, Config, ServerConfig, StoreConfig
from services.executors.base import Task
from services.jobs.journal import Job, Journal
from services.jobs.runner import Runner
from services.pipelines.requests import Clip, ReconstructRequest, SceneOptions
from tests.grpc.running import ServerProcess, Stubs, until
from tests.services import kill_campaign
from tests.services.inline_executor import InlineExecutor
from tests.services.tiny_stages import runs

Figures = dict[str, float]
PATIENCE_S = 300.0
SOAK_STEP = 20  # jobs that are asked for together
ROWS = (
    ("SIGKILLs at failpoints, small pipeline", "kills", ".0f", f"50 x {len(failpoints.POINTS)}"),
    ("jobs lost, outputs or files doubled, finished stages run again", "kill_faults", ".0f", "0"),
    ("restart to first stage running (s)", "restart_s", ".2f", "<= 5"),
    ("jobs lost by the restart", "restart_lost", ".0f", "0"),
    ("cancel: queued (s)", "cancel_queued_s", ".3f", "<= 0.2"),
    ("cancel: running (s)", "cancel_running_s", ".3f", "one step"),
    ("cancel: a worker that does not listen (s)", "cancel_hard_s", ".1f", "<= 15"),
    ("jobs made by 100 concurrent duplicates", "duplicate_jobs", ".0f", "1"),
    ("clients that vanished", "disconnects", ".0f", "1,000"),
    ("descriptors left by them", "disconnect_descriptors", ".0f", "0"),
    ("watchers' events lost or doubled over broken connections", "watch_faults", ".0f", "0"),
    ("broken connections", "watch_breaks", ".0f", ""),
    ("submit p95 while jobs run (ms)", "submit_p95_ms", ".1f", "<= 50"),
    ("soak: jobs", "soak_jobs", ".0f", "2,000"),
    ("soak: slope of RSS (MiB per 100 jobs)", "soak_mib_per_100", ".2f", "< 1"),
    ("soak: descriptors leaked", "soak_descriptors", ".0f", "0"),
    ("soak: temporary files left", "soak_files", ".0f", "0"),
    ("two tenants, jobs of 1 : 4 lengths: share of the first (%)", "tenant_share_percent", ".1f", "50 +- 5"),
)


@dataclass(frozen=True)
class Place:
    """Where one part works."""

    folder: Path
    arguments: argparse.Namespace

    @property
    def notes(self) -> Path:
        folder = self.folder / "media" / "notes"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def config(self) -> Config:
        server = ServerConfig(
            media_roots=(str(self.folder / "media"),), journal=str(self.folder / "journal"),
            registry="tests.services.tiny_pipelines",
        )
        return Config(server=server, store=StoreConfig(str(self.folder / "store"), 10**9))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[tuple[ServerProcess, Stubs]]:
        server = await ServerProcess.start(self.config, self.folder)
        stubs = Stubs(server.address)
        try:
            yield server, stubs
        finally:
            await stubs.channel.close()
            if server.process.returncode is None:
                server.process.terminate()
            await server.process.wait()


async def kills(at: Place) -> Figures:
    """Every point in every seed, shared out among processes."""
    count = at.arguments.processes

    async def some(number: int) -> tuple[int, list[str]]:
        first, last = (at.arguments.seeds * i // count for i in (number, number + 1))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.services.kill_campaign", str(at.folder / str(number)), str(first), str(last),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return int(out), [line for line in err.decode().splitlines() if line.startswith(kill_campaign.FAULT)]

    parts = await asyncio.gather(*map(some, range(count)))
    faults = [fault for _, told in parts for fault in told]
    for fault in faults:
        print(fault)
    return {"kills": sum(kills for kills, _ in parts), "kill_faults": len(faults)}


async def restart(at: Place) -> Figures:
    async with at.serving() as (server, stubs):
        names = [await stubs.submit(at.notes, text=f"{n}", second="wait") for n in range(3)]
        await until(lambda: runs(at.notes, "second"), PATIENCE_S)
        server.process.send_signal(signal.SIGKILL)
        await server.process.wait()
    begun = time.monotonic()
    async with at.serving() as (_, stubs):
        await until(lambda: runs(at.notes, "second") > 1, PATIENCE_S)
        restarted_s = time.monotonic() - begun
        (at.notes / "go").touch()
        ended = [await stubs.ended(name, PATIENCE_S) for name in names]
    lost = sum(not operation.HasField("response") for operation in ended)
    return {"restart_s": restarted_s, "restart_lost": lost}


async def cancel(at: Place) -> Figures:
    async with at.serving() as (_, stubs):
        async def seconds(name: str) -> float:
            begun = time.monotonic()
            await stubs.cancel(name)
            await stubs.ended(name, PATIENCE_S)
            return time.monotonic() - begun

        running = await stubs.submit(at.notes, second="wait")
        queued = await stubs.submit(at.notes, text="queued")
        await until(lambda: runs(at.notes, "second"), PATIENCE_S)
        figures = {"cancel_queued_s": await seconds(queued), "cancel_running_s": await seconds(running)}
        deaf = await stubs.submit(at.notes, second="deaf")
        await until((at.notes / "deaf").exists, PATIENCE_S)
        return figures | {"cancel_hard_s": await seconds(deaf)}


async def duplicates(at: Place) -> Figures:
    async with at.serving() as (_, stubs):
        names = await asyncio.gather(*(stubs.submit(at.notes, request_id="same") for _ in range(100)))
        await stubs.ended(names[0], PATIENCE_S)
        listed = (await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs
        return {"duplicate_jobs": max(len(listed), len(set(names)))}


async def vanish(at: Place) -> Figures:
    async with at.serving() as (server, stubs):
        name = await stubs.submit(at.notes, second="wait")
        await until(lambda: runs(at.notes, "second"), PATIENCE_S)
        before = _descriptors(server)
        for number in range(at.arguments.disconnects):
            other = Stubs(server.address)
            await other.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name)).read()
            await other.channel.close()  # in the middle of the stream
            if number % 100 == 99:
                print(f"{number + 1} clients have vanished")
        await asyncio.sleep(1.0)
        left = _descriptors(server) - before
        (at.notes / "go").touch()
        assert (await stubs.ended(name, PATIENCE_S)).HasField("response"), "the job has not gone on"
        return {"disconnects": at.arguments.disconnects, "disconnect_descriptors": left}


async def watch(at: Place) -> Figures:
    """Break off after every few events, until the end."""
    async with at.serving() as (server, stubs):
        name = await stubs.submit(at.notes, files=20, steps=200, chunks=30, chunk_s=0.02)
        seen: list[int] = []
        breaks, final = 0, False
        while not final:
            other = Stubs(server.address)
            call = other.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name, after_seq=seen[-1] if seen else 0))
            for _ in range(1 + breaks % 3):
                event = await call.read()
                if event is grpc.aio.EOF:
                    break
                seen.append(event.seq)
                final = event.state not in (jobs_pb2.JOB_STATE_QUEUED, jobs_pb2.JOB_STATE_RUNNING)
            await other.channel.close()
            breaks += 1
        expected = [event.seq for event in await stubs.events(name)]
        return {"watch_breaks": breaks, "watch_faults": len(set(expected) ^ set(seen)) + len(seen) - len(set(seen))}


async def submit(at: Place) -> Figures:
    async with at.serving() as (_, stubs):
        times_s = []
        for number in range(200):
            begun = time.monotonic()
            await stubs.submit(at.notes, text=str(number))
            times_s.append(time.monotonic() - begun)
        return {"submit_p95_ms": 1000 * float(np.percentile(times_s, 95))}


async def soak(at: Place) -> Figures:
    async with at.serving() as (server, stubs):
        jobs = at.arguments.soak
        after: list[int] = []  # jobs
        rss_mib: list[float] = []
        descriptors: list[int] = []
        for begin in range(0, jobs, SOAK_STEP):
            texts = map(str, range(begin, min(begin + SOAK_STEP, jobs)))
            names = await asyncio.gather(*(stubs.submit(at.notes, text=text) for text in texts))
            ended = await asyncio.gather(*(stubs.ended(name, PATIENCE_S) for name in names))
            assert all(operation.HasField("response") for operation in ended), "a job has failed"
            await asyncio.sleep(0.2)  # the last workers are buried
            after.append(begin)
            rss_mib.append(_rss_mib(server))
            descriptors.append(_descriptors(server))
            print(f"{begin + SOAK_STEP} jobs, {rss_mib[-1]:.1f} MiB, {descriptors[-1]} descriptors", flush=True)
        warm = len(after) // 10
        slope = float(np.polyfit(after[warm:], rss_mib[warm:], 1)[0])
        leaked = descriptors[-1] - descriptors[warm]
        left = [*(at.folder / "journal" / "tmp").iterdir(), *(at.folder / "store" / "staging").iterdir()]
        return {
            "soak_jobs": jobs, "soak_mib_per_100": 100 * slope, "soak_descriptors": leaked, "soak_files": len(left),
        }  # fmt: skip


async def tenants(at: Place) -> Figures:
    """The real scheduler; jobs are slept, as only their lengths matter."""
    config = replace(at.config, server=replace(at.config.server, queue_limit=10_000))
    lengths_s = {"a": 0.05, "b": 0.2}

    def task_for(job: Job) -> Task:
        scene = SceneOptions(horizon=job.request.decode())
        return Task(job.name, job.kind, ReconstructRequest(Clip(str(at.notes)), scene))

    journal, store = Journal(at.folder / "journal"), Store(config.store.url, 10**9)
    executor = InlineExecutor(config)
    runner = Runner(journal, store, executor, config, task_for)
    runner.start()
    for number in range(240):
        for tenant, length_s in lengths_s.items():
            plan = {"text": f"{tenant}{number}", "steps": 1, "chunks": 1, "chunk_s": length_s}
            runner.submit("reconstruct", json.dumps(plan).encode(), tenant=tenant)
    begun, used_s = time.monotonic(), dict.fromkeys(lengths_s, 0.0)
    while time.monotonic() - begun < at.arguments.tenants_s:
        await asyncio.sleep(0.05)
    for job in journal.jobs():
        if job.started_s and job.ended_s:
            used_s[job.tenant] += job.ended_s - job.started_s
    await runner.close()
    journal.close()
    return {"tenant_share_percent": 100 * used_s["a"] / sum(used_s.values())}


def _descriptors(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def _rss_mib(server: ServerProcess) -> float:
    pages = int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


PARTS: dict[str, Callable[[Place], Awaitable[Figures]]] = {
    part.__name__: part for part in (kills, restart, cancel, duplicates, vanish, watch, submit, soak, tenants)
}


async def measure(arguments: argparse.Namespace) -> Figures:
    figures: Figures = {}
    for name in arguments.only:
        folder = arguments.out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        figures |= await PARTS[name](Place(folder.resolve(), arguments))
        print(f"{name}: {figures}", flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), metavar="PART,...")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--processes", type=int, default=2, help="that kill")
    parser.add_argument("--soak", type=int, default=200)
    parser.add_argument("--disconnects", type=int, default=200)
    parser.add_argument("--tenants-s", type=float, default=20.0)
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what parts in this process have to say
    print(figure_table(ROWS, {"measured": asyncio.run(measure(arguments))}))


if __name__ == "__main__":
    main()

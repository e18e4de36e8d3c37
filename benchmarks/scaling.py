"""How jobs of many chunks scale with workers: measured with one and two here, modelled up to 1,000.

    python -m benchmarks.scaling --out DIR [--job guides|sleep] [--frames 240] [--size 960x540] [--by-cpu]
        [--store-mib-s N]

``guides`` draws the guides of a blockout, one thread a worker; ``sleep`` is the tests' job, whose chunks take a second
each and no processor: what sharing them out costs by itself. On a busy machine ``--by-cpu`` takes CPU seconds for
seconds, as a worker with a core of its own would have them. Bandwidth of the store (writing, hashing and committing
outputs like those chunks) and of the journal are measured here, too; on a cluster give that of its storage.

The model, with its assumptions:

- A job is a serial part (solve, anchors, finish) and chunks that do not need each other (Amdahl, "Validity of the
  single processor approach", 1967). Chunks are handed out one by one, so that with ``n`` workers they take
  ceil(chunks / n) rounds; a helper has to start and to run through what is finished (``start_s``).
- All workers share the store's bandwidth: writing and reading the chunks takes at least their bytes / bandwidth.
- Many jobs at once are a queue with ``n`` servers (M/M/n, Erlang's formula C): arrivals at random, times exponential,
  which is more scattered than renders of similar shots are; so waits are rather over- than underestimated.
- The server itself writes some events a second per worker into one SQLite file, which takes so many.
- Nothing fails, and all workers are alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.film_sets import write_blockout
from services.artifacts.store import Store
from services.config import Config, ServerConfig, StoreConfig
from services.executors.base import Executor, Task
from services.executors.helped import HelpedExecutor
from services.executors.local import LocalExecutor
from services.jobs.journal import Journal
from services.pipelines.requests import Clip, GuidesRequest, PrevisShot, ReconstructRequest, SceneOptions
from tests.pipelines.previs_shots import yard

EVENTS_PER_WORKER_S = 5.0  # one every EVENT_INTERVAL_S of services.artifacts.stages
LOAD = 0.8  # of all workers, in the queueing model
SLEPT_CHUNKS = 24
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "BACKLOT_RENDER_THREADS"), "1")


@dataclass(frozen=True)
class Workload:
    """One job: seconds of its serial part, of one chunk and of a helper's start; bytes of one chunk, in MiB."""

    serial_s: float
    chunks: int
    chunk_s: float
    start_s: float
    chunk_mib: float

    def seconds(self, workers: int, store_mib_s: float) -> float:
        """Of one job alone on ``workers``."""
        rounds = math.ceil(self.chunks / workers)
        moved_s = 2 * self.chunks * self.chunk_mib / store_mib_s  # written once, read once by what follows
        started_s = self.start_s if workers > 1 else 0.0
        return self.serial_s + max(rounds * self.chunk_s + started_s, moved_s)

    def jobs_per_hour(self, workers: int, store_mib_s: float, journal_events_s: float) -> float:
        """Of so many jobs that every worker always has one, each on one worker."""
        by_workers = workers / self.seconds(1, math.inf)
        by_store = store_mib_s / (2 * self.chunks * self.chunk_mib)
        by_journal = journal_events_s / EVENTS_PER_WORKER_S / self.seconds(1, math.inf)
        return 3600 * min(by_workers, by_store, by_journal)


def waiting_share(workers: int, load: float) -> float:
    """Erlang's formula C: how likely an arriving job has to wait; ``load`` in (0, 1) per worker."""
    blocked = 1.0  # formula B, by its recursion
    for n in range(1, workers + 1):
        blocked = workers * load * blocked / (n + workers * load * blocked)
    return blocked / (1 - load * (1 - blocked))


def mean_wait_s(workers: int, load: float, job_s: float) -> float:
    return waiting_share(workers, load) * job_s / (workers * (1 - load))


@dataclass(frozen=True)
class Job:
    """What is run: ``stage`` is the label of its chunks, ``registry`` where its pipeline is found."""

    kind: str
    request: Any
    stage: str
    registry: str = ""


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu_s: float  # of all workers
    chunk_seconds: float  # of all chunks that the job made itself
    chunks: int
    chunk_mib: float


def slept(folder: Path) -> Job:
    (folder / "notes").mkdir(parents=True, exist_ok=True)
    plan = json.dumps({"chunks": SLEPT_CHUNKS, "chunk_s": 1.0})
    request = ReconstructRequest(Clip(str(folder / "notes")), SceneOptions(horizon=plan))
    return Job("reconstruct", request, "chunk", "tests.services.tiny_pipelines")


def guides(folder: Path, frames: int, wh: tuple[int, int]) -> Job:
    folder.mkdir(parents=True, exist_ok=True)
    scene = write_blockout(yard(frames, wh, step=10.0 / frames), folder / "yard.glb")
    return Job("guides", GuidesRequest(PrevisShot(str(scene), width_px=wh[0], height_px=wh[1])), "guides")


async def measured(folder: Path, workers: int, job: Job) -> Run:
    """From nothing, on a store of its own."""
    config = Config(server=ServerConfig(registry=job.registry), store=StoreConfig(str(folder / "store"), 10**11))
    executor: Executor = HelpedExecutor(LocalExecutor(config, folder, folder / "logs"), workers - 1)
    begun, cpu_s = time.monotonic(), _cpu_of_children_s()
    result = await executor.run(Task("jobs/1", job.kind, job.request), lambda message: None)
    seconds, cpu_s = time.monotonic() - begun, _cpu_of_children_s() - cpu_s
    keys = {line["key"] for line in _log(folder / "logs" / "jobs-1.log") if line.get("stage") == job.stage}
    store = Store(config.store.location, 10**11)
    size = sum(file.size_bytes for key in keys for file in store.files(key))
    return Run(seconds, cpu_s, result["timings"][job.stage], len(keys), size / len(keys) / 2**20)


def _cpu_of_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _log(file: Path) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in file.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["message"] == "stage is there"]


def store_mib_s(folder: Path, chunk_mib: float) -> float:
    """Of writing, hashing and committing outputs of that size."""
    store, count, block = Store(str(folder), 10**11), 8, os.urandom(2**20)
    blocks = max(1, round(chunk_mib))

    def write(out: Path) -> None:
        with (out / "chunk").open("wb") as stream:
            for _ in range(blocks):
                stream.write(block)

    begun = time.monotonic()
    for number in range(count):
        store.produce(f"{number:064x}", write)
    return count * blocks / (time.monotonic() - begun)


def journal_events_s(folder: Path, count: int = 5000) -> float:
    journal = Journal(folder)
    job = journal.start(journal.add("reconstruct", b"", None, 50))
    begun = time.monotonic()
    for number in range(count):
        journal.progress(job, "stage", number, count, number / count)
    seconds = time.monotonic() - begun
    journal.close()
    return count / seconds


def workload(one: Run, two: Run) -> Workload:
    """What explains both runs; a start that costs nothing measurable is none."""
    chunk_s = one.chunk_seconds / one.chunks
    serial_s = one.seconds - one.chunk_seconds
    start_s = two.seconds - serial_s - math.ceil(one.chunks / 2) * chunk_s
    return Workload(serial_s, one.chunks, chunk_s, max(0.0, start_s), one.chunk_mib)


def workload_by_cpu(one: Run, two: Run) -> Workload:
    """What the second worker uses beside its chunks is its start."""
    chunks_s = one.chunk_seconds * one.cpu_s / one.seconds
    start_s = max(0.0, two.cpu_s - one.cpu_s)
    return Workload(one.cpu_s - chunks_s, one.chunks, chunks_s / one.chunks, start_s, one.chunk_mib)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--job", choices=("guides", "sleep"), default="guides")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(960, 540))
    parser.add_argument("--by-cpu", action="store_true")
    parser.add_argument("--store-mib-s", type=float, help="of the storage that all workers share; default: measured")
    given = parser.parse_args()
    os.environ |= ONE_THREAD
    out = given.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    runs = {}
    for workers in (1, 2):
        folder = out / str(workers)
        job = slept(folder) if given.job == "sleep" else guides(folder, given.frames, given.size)
        runs[workers] = asyncio.run(measured(folder, workers, job))
        print(f"{workers} worker(s): {runs[workers].seconds:.1f} s, {runs[workers].cpu_s:.1f} of CPU", flush=True)
    work = (workload_by_cpu if given.by_cpu else workload)(runs[1], runs[2])
    bandwidth, events_s = store_mib_s(out / "store", work.chunk_mib), journal_events_s(out / "journal")
    print(f"{work}\nstore {bandwidth:.0f} MiB/s, journal {events_s:.0f} events/s\n")
    print(scaling_table(work, given.store_mib_s or bandwidth, events_s))


def scaling_table(job: Workload, store_mib_s: float, journal_events_s: float) -> str:
    lines = ["| workers | one job (s) | speed-up | jobs an hour | mean wait at 80 % load (s) |", "|---" * 5 + "|"]
    alone_s = job.seconds(1, store_mib_s)
    for workers in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000):
        seconds = job.seconds(workers, store_mib_s)
        rate = job.jobs_per_hour(workers, store_mib_s, journal_events_s)
        wait_s = mean_wait_s(workers, LOAD, alone_s)
        lines.append(f"| {workers} | {seconds:.1f} | {alone_s / seconds:.1f} | {rate:.0f} | {wait_s:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

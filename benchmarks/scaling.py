"""How jobs of many chunks scale with workers: measured with one and two here, modelled up to 1,000.

    python -m benchmarks.scaling --out DIR [--chunks 24] [--chunk-s 1.0] [--chunk-mib 24] [--store-mib-s 1000]

The model, with its assumptions:

- A job is a serial part (solve, anchors, finish) and chunks that do not need each other (Amdahl, "Validity of the
  single processor approach", 1967). Chunks are handed out one by one, so that with ``n`` workers they take
  ceil(chunks / n) rounds; a helper has to start and to run through what is finished (``start_s``).
- All workers share the store's bandwidth: writing and reading the chunks takes at least their bytes / bandwidth.
- Many jobs at once are a queue with ``n`` servers (M/M/n, Erlang's formula C): arrivals at random, times exponential,
  which is more scattered than renders of similar shots are; so waits are rather over- than underestimated.
- The server itself writes some events a second per worker into one SQLite file: ``JOURNAL_EVENTS_S`` is its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from services.config import Config, ServerConfig, StoreConfig
from services.executors.base import Executor, Task
from services.executors.helped import HelpedExecutor
from services.executors.local import LocalExecutor
from services.pipelines.requests import Clip, ReconstructRequest, SceneOptions

EVENTS_PER_WORKER_S = 5.0  # one every EVENT_INTERVAL_S of services.artifacts.stages
JOURNAL_EVENTS_S = 5000.0  # small transactions in one SQLite file, without waiting for the disk
LOAD = 0.8  # of all workers, in the queueing model


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

    def jobs_per_hour(self, workers: int, store_mib_s: float) -> float:
        """Of so many jobs that every worker always has one, each on one worker."""
        by_workers = workers / self.seconds(1, math.inf)
        by_store = store_mib_s / (2 * self.chunks * self.chunk_mib)
        by_journal = JOURNAL_EVENTS_S / EVENTS_PER_WORKER_S / self.seconds(1, math.inf)
        return 3600 * min(by_workers, by_store, by_journal)


def waiting_share(workers: int, load: float) -> float:
    """Erlang's formula C: how likely an arriving job has to wait; ``load`` in (0, 1) per worker."""
    blocked = 1.0  # formula B, by its recursion
    for n in range(1, workers + 1):
        blocked = workers * load * blocked / (n + workers * load * blocked)
    return blocked / (1 - load * (1 - blocked))


def mean_wait_s(workers: int, load: float, job_s: float) -> float:
    return waiting_share(workers, load) * job_s / (workers * (1 - load))


async def measured(folder: Path, workers: int, chunks: int, chunk_s: float) -> float:
    """Seconds of the tests' job of chunks that sleep: what sharing them out costs, whatever they compute."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "notes").mkdir(parents=True)
    server = ServerConfig(registry="tests.services.tiny_pipelines")
    config = Config(server=server, store=StoreConfig(str(folder / "store"), 10**9))
    executor: Executor = HelpedExecutor(LocalExecutor(config, folder, folder / "logs"), workers - 1)
    plan = json.dumps({"chunks": chunks, "chunk_s": chunk_s})
    request = ReconstructRequest(Clip(str(folder / "notes")), SceneOptions(horizon=plan))
    begun = time.monotonic()
    await executor.run(Task("jobs/1", "reconstruct", request), lambda message: None)
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=24)
    parser.add_argument("--chunk-s", type=float, default=1.0)
    parser.add_argument("--chunk-mib", type=float, default=24.0)
    parser.add_argument("--store-mib-s", type=float, default=1000.0)
    given = parser.parse_args()
    times_s = {
        workers: asyncio.run(measured(given.out.resolve() / str(workers), workers, given.chunks, given.chunk_s))
        for workers in (1, 2)
    }
    serial_s = max(0.0, times_s[1] - given.chunks * given.chunk_s)
    start_s = max(0.0, times_s[2] - serial_s - math.ceil(given.chunks / 2) * given.chunk_s)
    job = Workload(serial_s, given.chunks, given.chunk_s, start_s, given.chunk_mib)
    print(f"measured: 1 worker {times_s[1]:.1f} s, 2 workers {times_s[2]:.1f} s\n")
    print("| workers | one job (s) | speed-up | jobs an hour | mean wait at 80 % load (s) |\n|---|---|---|---|---|")
    alone_s = job.seconds(1, given.store_mib_s)
    for workers in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000):
        seconds = job.seconds(workers, given.store_mib_s)
        rate, wait_s = job.jobs_per_hour(workers, given.store_mib_s), mean_wait_s(workers, LOAD, alone_s)
        print(f"| {workers} | {seconds:.1f} | {alone_s / seconds:.1f} | {rate:.0f} | {wait_s:.2f} |")


if __name__ == "__main__":
    main()

"""The executor of one machine: a fresh, supervised worker process for every task.

Fresh, so that no job inherits another's memory, threads or crashes; stages in the store make up for the start.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from services.config import Config
from services.errors import Cancelled, from_data
from services.executors.base import Assignment, Message, Task, WorkerDied
from services.executors.process import CANCEL, WorkerProcess, frame

_OOM_COUNTER = Path("/sys/fs/cgroup/memory.events")


class _Attempt:
    """A task that runs, and the wish that it stop."""

    def __init__(self) -> None:
        self.worker: WorkerProcess | None = None
        self.cancelled = False
        self.insisting: asyncio.Task[None] | None = None


class LocalExecutor:
    """``folder`` holds temporary files and belongs to this server alone; ``logs`` holds one file per job."""

    def __init__(self, config: Config, folder: Path, logs: Path) -> None:
        self._config, self._logs, self._temp = config, logs, folder / "tmp"
        self._attempts: dict[str, _Attempt] = {}
        shutil.rmtree(self._temp, ignore_errors=True)  # left by a server that was killed

    @property
    def slots(self) -> int:
        return self._config.server.slots

    def log_file(self, job: str) -> Path:
        return self._logs / f"{job.replace('/', '-')}.log"

    def forget(self, job: str) -> None:
        self.log_file(job).unlink(missing_ok=True)

    async def run(self, task: Task, on_message: Callable[[Message], None]) -> dict[str, Any]:
        attempt = self._attempts[task.job] = _Attempt()
        log_file, out_of_memory_before = self.log_file(task.job), _out_of_memory_kills()
        try:
            temp = self._temp / uuid.uuid4().hex
            worker = await WorkerProcess.spawn("services.executors.worker", log_file, temp)
            attempt.worker = worker
            worker.send(frame(Assignment(task, self._config, str(log_file))))
            if attempt.cancelled:
                self._ask_to_stop(attempt)
            while message := await worker.message():
                if message["kind"] == "result":
                    return {"metadata": message["metadata"], "timings": message["timings"]}
                if message["kind"] == "error":
                    raise from_data(message["error"])
                on_message(message)
            status = await worker.exit_status()
            if attempt.cancelled:
                raise Cancelled("the job was cancelled")
            raise WorkerDied(status, str(log_file), _out_of_memory_kills() > out_of_memory_before)
        finally:
            del self._attempts[task.job]
            if attempt.insisting:
                attempt.insisting.cancel()
            if attempt.worker:
                await attempt.worker.end()

    def cancel(self, job: str) -> None:
        attempt = self._attempts.get(job)
        if attempt and not attempt.cancelled:
            attempt.cancelled = True
            if attempt.worker:
                self._ask_to_stop(attempt)

    def _ask_to_stop(self, attempt: _Attempt) -> None:
        attempt.insisting = asyncio.create_task(self._insist(attempt))

    async def _insist(self, attempt: _Attempt) -> None:
        assert attempt.worker is not None
        attempt.worker.send(CANCEL)
        for number in (signal.SIGTERM, signal.SIGKILL):
            await asyncio.sleep(self._config.server.cancel_grace_s)
            attempt.worker.signal(number)


def _out_of_memory_kills() -> int:
    """How many processes the kernel has ended in our control group for want of memory; 0 where it does not tell."""
    try:
        lines = _OOM_COUNTER.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

"""What runs jobs: a Protocol, the task it is given, and how it fails.

``run`` returns ``{"metadata": what the pipeline returned, "timings": seconds per stage}``. Messages are those of
``services.artifacts.stages``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from services.config import Config

Message = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """One attempt at a job. ``request`` is a dataclass of ``services.pipelines.requests``; jobs of equal
    ``salt`` share stages. ``frugal``: the last attempt has run out of memory, see ``services.config.frugal``.
    ``owner``: who releases in the store what the job needs; empty = nobody needs it longer than the attempt lives.
    ``helper``: 0 = runs the job; others run the same pipeline to help with its chunks, and nobody hears them."""

    job: str
    kind: str
    request: Any
    salt: str = ""
    frugal: bool = False
    owner: str = ""
    helper: int = 0


@dataclass(frozen=True)
class Assignment:
    """What a worker is told."""

    task: Task
    config: Config
    log_file: str


class WorkerDied(Exception):
    """The process ended without an answer; ``out_of_memory`` when the kernel ended it for that."""

    def __init__(self, exit_status: int, log_file: str, out_of_memory: bool = False) -> None:
        self.exit_status, self.log_file, self.out_of_memory = exit_status, log_file, out_of_memory
        super().__init__(f"the worker died (exit status {exit_status}); its log is {log_file}")


class Executor(Protocol):
    @property
    def slots(self) -> int:
        """Tasks that may run at the same time."""
        ...

    async def run(self, task: Task, on_message: Callable[[Message], None]) -> dict[str, Any]:
        """Run one task to its end. Raises ``BacklotError`` as the pipeline did, or ``WorkerDied``. When the coroutine
        is cancelled, the task's processes are gone before it ends."""
        ...

    def cancel(self, job: str) -> None:
        """Ask a running task to stop: ``run`` soon raises ``Cancelled``. Other jobs' names are ignored."""
        ...

    def forget(self, job: str) -> None:
        """Remove what is kept about a job that has ended: its log."""
        ...

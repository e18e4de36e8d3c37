"""Two halves of a stage's work at once: what must go in order, and what can be done beside the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_behind(jobs: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Each job's result, in order. A job runs in a thread of its own while the iterable makes the next one; never more
    than one runs and one waits. What a job raises is raised here."""
    with ThreadPoolExecutor(1) as beside:
        running: Future[T] | None = None
        for job in jobs:
            if running is not None:
                yield running.result()
            running = beside.submit(job)
        if running is not None:
            yield running.result()

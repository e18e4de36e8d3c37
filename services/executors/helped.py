"""Several workers for one job: where a job comes to chunks that do not need each other, helpers run its pipeline, too.

Whatever is finished is a hit for them, and what others are at they leave out; so the store alone brings them together,
and the result is that of one worker. A helper that fails or dies is no harm: the job itself computes what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from services.errors import BacklotError
from services.executors.base import Executor, Message, Task, WorkerDied

log = logging.getLogger(__name__)


class HelpedExecutor:
    """``inner``, with up to ``helpers`` workers more for each job."""

    def __init__(self, inner: Executor, helpers: int) -> None:
        self._inner, self._helpers = inner, helpers
        self.forget = inner.forget

    @property
    def slots(self) -> int:
        return self._inner.slots

    def cancel(self, job: str) -> None:
        """Helpers end with the job."""
        self._inner.cancel(job)

    async def run(self, task: Task, on_message: Callable[[Message], None]) -> dict[str, Any]:
        helping: dict[int, asyncio.Task[None]] = {}

        def told(message: Message) -> None:
            if message["kind"] != "chunks":
                return on_message(message)
            for number in range(1, min(self._helpers, message["count"] - 1) + 1):
                if number not in helping or helping[number].done():
                    helping[number] = asyncio.create_task(self._help(task, number))
            return None

        try:
            return await self._inner.run(task, told)
        finally:
            for helper in helping.values():
                helper.cancel()
            await asyncio.gather(*helping.values(), return_exceptions=True)

    async def _help(self, task: Task, number: int) -> None:
        name = f"{task.job}-helper{number}"
        try:
            await self._inner.run(replace(task, job=name, helper=number), lambda message: None)
        except (BacklotError, WorkerDied):
            log.warning("a helper has failed", exc_info=True, extra={"job": task.job})
        finally:
            self._inner.forget(name)

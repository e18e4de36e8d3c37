"""An executor for tests that runs a worker's code in the process of the runner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from services.config import Config
from services.errors import from_data
from services.executors import worker
from services.executors.base import Assignment, Message, Task
from services.executors.channel import answer


class _Channel:
    """A worker's, without a socket."""

    def __init__(self, on_message: Callable[[Message], None]) -> None:
        self._on_message, self.cancelled = on_message, threading.Event()
        self.refused: Exception | None = None

    def send(self, message: Message) -> None:
        try:
            self._on_message(message)
        except Exception as error:
            self.refused = error
            raise


class InlineExecutor:
    """``began`` has the tasks in the order they were started."""

    def __init__(self, config: Config) -> None:
        self._config, self.slots = config, config.server.slots
        self._channels: dict[str, _Channel] = {}
        self.began: list[Task] = []

    async def run(self, task: Task, on_message: Callable[[Message], None]) -> dict[str, Any]:
        channel = self._channels[task.job] = _Channel(on_message)
        self.began.append(task)
        await asyncio.sleep(0.005)  # when somebody may ask it to stop
        message = answer(lambda: worker.run(Assignment(task, self._config, "log"), channel), "log")  # type: ignore[arg-type]
        if channel.refused:
            raise channel.refused
        if message["kind"] == "error":
            raise from_data(message["error"])
        return {"metadata": message["metadata"], "timings": message["timings"]}

    def cancel(self, job: str) -> None:
        if channel := self._channels.get(job):
            channel.cancelled.set()

    def forget(self, job: str) -> None:
        pass

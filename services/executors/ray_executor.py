"""The executor of a Ray cluster: each task gets an actor on a node that has what it asks for.

The actor runs the task as that machine's own executor does (``services.executors.local``), so that limits, cancelling
and cleaning up are the same everywhere; a node that is lost is a worker that died, and the server, which alone holds
the journal, starts the job again over the store. The application, the media roots and ``server.files`` lie at the same
paths on every node; the store does, too, or ``store.remote`` brings outputs together.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnschedulableError, OutOfMemoryError, RayError, RayTaskError

from services.config import ROOT, Config
from services.errors import BacklotError, Cancelled, Unavailable, as_data, from_data
from services.executors.base import Message, Task, WorkerDied
from services.executors.local import LocalExecutor

log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Attempt:
    host: Any = None
    cancelled: bool = False
    insisting: asyncio.Task[None] | None = None


class RayExecutor:
    """Joins the cluster that ``config.ray`` names, or starts one on this machine; leaves it with ``close``."""

    def __init__(self, config: Config, logs: Path) -> None:
        self._config, self._logs = config, logs
        self._attempts: dict[str, _Attempt] = {}
        wanted = config.ray
        self._options: dict[str, Any] = {
            "num_cpus": wanted.cpus, "num_gpus": wanted.gpus, "resources": dict(wanted.resources), "max_restarts": 0,
            **({"memory": wanted.memory_bytes} if wanted.memory_bytes else {}),
        }
        ours = signal.getsignal(signal.SIGTERM)
        ray.init(
            address=wanted.address or "local", include_dashboard=False, log_to_driver=False, namespace="backlot",
            configure_logging=False, runtime_env={"env_vars": {"PYTHONPATH": _search_path()}},
        )
        signal.signal(signal.SIGTERM, ours)  # Ray has put its own in the place of the server's

    @property
    def slots(self) -> int:
        return self._config.server.slots

    def log_file(self, job: str) -> Path:
        return self._logs / f"{job.replace('/', '-')}.log"

    def forget(self, job: str) -> None:
        self.log_file(job).unlink(missing_ok=True)

    async def run(self, task: Task, on_message: Callable[[Message], None]) -> dict[str, Any]:
        attempt = self._attempts[task.job] = _Attempt()
        try:
            attempt.host = ray.remote(_Host).options(**self._options).remote(self._config, str(self._logs))
            async for reference in attempt.host.run.options(num_returns="streaming").remote(task):
                message = await reference
                if message["kind"] == "ended":
                    return _outcome(message)
                on_message(message)
            raise WorkerDied(-1, str(self.log_file(task.job)))
        except RayTaskError:
            raise  # our own fault
        except RayError as error:
            if attempt.cancelled:
                raise Cancelled("the job was cancelled") from error
            if isinstance(error, ActorUnschedulableError):
                raise Unavailable("no node of the cluster could start a worker") from error
            log.warning("a node of the cluster or its actor is gone", exc_info=True, extra={"job": task.job})
            memory = isinstance(error, OutOfMemoryError)
            raise WorkerDied(-1, str(self.log_file(task.job)), memory) from error
        finally:
            del self._attempts[task.job]
            if attempt.insisting:
                attempt.insisting.cancel()
            await self._end(attempt.host)

    def cancel(self, job: str) -> None:
        attempt = self._attempts.get(job)
        if attempt and not attempt.cancelled:
            attempt.cancelled = True
            attempt.insisting = asyncio.create_task(self._insist(attempt, job))

    def close(self) -> None:
        ray.shutdown()

    async def _insist(self, attempt: _Attempt, job: str) -> None:
        """The node's executor insists by itself; but an actor may wait for a node, or hang."""
        attempt.host.cancel.remote(job)
        await asyncio.sleep(3 * self._config.server.cancel_grace_s)
        ray.kill(attempt.host)

    async def _end(self, host: Any) -> None:
        """No process of the task is left behind."""
        if host is None:
            return
        with contextlib.suppress(RayError, TimeoutError):
            async with asyncio.timeout(self._config.server.cancel_grace_s):
                await host.end.remote()
        ray.kill(host)


def _search_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def _outcome(message: Message) -> dict[str, Any]:
    if "error" in message:
        raise from_data(message["error"])
    if "death" in message:
        raise WorkerDied(*message["death"])
    result: dict[str, Any] = message["result"]
    return result


class _Host:
    """On a node: one task, by the executor of that machine."""

    def __init__(self, config: Config, logs: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="backlot-")
        self._executor = LocalExecutor(config, Path(self._folder), Path(logs))
        self._running: asyncio.Task[Message] | None = None

    async def run(self, task: Task) -> AsyncIterator[Message]:
        messages: asyncio.Queue[Message | None] = asyncio.Queue()
        self._running = asyncio.create_task(self._run(task, messages.put_nowait))
        self._running.add_done_callback(lambda _: messages.put_nowait(None))
        while (message := await messages.get()) is not None:
            yield message
        yield {"kind": "ended"} | await self._running

    async def _run(self, task: Task, on_message: Callable[[Message], None]) -> Message:
        try:
            return {"result": await self._executor.run(task, on_message)}
        except BacklotError as error:
            return {"error": as_data(error)}
        except WorkerDied as death:
            return {"death": (death.exit_status, death.log_file, death.out_of_memory)}

    async def cancel(self, job: str) -> None:
        self._executor.cancel(job)

    async def end(self) -> None:
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)

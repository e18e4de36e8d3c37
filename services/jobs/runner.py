"""From the journal to executor slots and back.

One rule carries crashes: a job is in the journal before its request is answered, and its final state is written once.
What happens between may happen again; finished stages are in the store. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from services.artifacts.store import Store
from services.config import Config
from services.errors import (
    BacklotError,
    Cancelled,
    InternalError,
    InvalidRequest,
    ResourceExhausted,
    Unsolvable,
    as_data,
)
from services.executors.base import Executor, Message, Task, WorkerDied
from services.jobs.journal import Event, Job, Journal, ResultFile, State

log = logging.getLogger(__name__)


class Bell:
    """Wakes all who wait; nobody who looked before waiting misses a ring, as there is one thread."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class Runner:
    """``task_for(job)`` makes what the executor is given. ``keep_results`` pins results in the store until their job is
    deleted; else they are kept while this process lives."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        executor: Executor,
        config: Config,
        task_for: Callable[[Job], Task],
        keep_results: bool = True,
    ) -> None:
        self._journal, self._store, self._executor, self._config = journal, store, executor, config
        self._task_for, self._keep_results = task_for, keep_results
        self._user = store.user()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._bells: dict[str, Bell] = {}
        self._shrinking: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Queue again what a server that died left running."""
        for job in reversed(self._journal.jobs(State.RUNNING)):
            if job.cancel_asked:
                self._finish(job, State.CANCELLED, error=as_data(Cancelled("the job was cancelled")))
            else:
                log.info("queued again after the server's end", extra={"job": job.name})
                self._journal.requeue(job, count_attempt=False)
        self._fill_slots()

    async def close(self) -> None:
        """Stop workers and put their jobs back into the queue, where the next server on this journal finds them."""
        self._closing = True
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._shrinking:
            await self._shrinking
        self._user.close()

    def repeated(self, kind: str, request: bytes, request_id: str) -> Job | None:
        """The job that the same request has started before, if it has."""
        if len(request_id) > 64:
            raise InvalidRequest("request_id", "at most 64 characters", len(request_id))
        job = self._journal.by_request_id(request_id) if request_id else None
        if job and (job.kind, job.request) != (kind, request):
            raise InvalidRequest("request_id", "one not used before, or the same request again", request_id)
        return job

    def submit(self, kind: str, request: bytes, request_id: str = "", priority: int = 50) -> Job:
        """A new job. ``request`` is the serialised message, checked, and not ``repeated``."""
        if not 0 <= priority <= 100:
            raise InvalidRequest("priority", "0..100", priority)
        job = self._journal.add(kind, request, request_id or None, priority)
        if self._journal.queue_length() > self._config.server.queue_limit:
            self._journal.delete(job)
            raise ResourceExhausted(f"{self._config.server.queue_limit} jobs are waiting already")
        self._fill_slots()
        return self._journal.job(job.name)

    def cancel(self, name: str) -> None:
        """At once when the job waits; a running one is asked to stop. Nothing happens to one that has ended."""
        job = self._journal.job(name)
        if job.state is State.QUEUED:
            self._finish(job, State.CANCELLED, error=as_data(Cancelled("the job was cancelled")))
        elif job.state is State.RUNNING:
            self._journal.ask_cancel(job)
            self._executor.cancel(name)

    def delete(self, name: str) -> None:
        job = self._journal.job(name)
        if not job.state.is_final:
            raise Unsolvable(f"{name} has not ended", "Cancel it first")
        for key in {file.key for file in self._journal.files(job)}:
            self._store.unpin(key, _owner(job))
        self._journal.delete(job)
        self._executor.forget(name)

    async def watch(self, name: str, after_seq: int = 0) -> AsyncIterator[Event]:
        """Events after ``after_seq``, old and new, up to the one with a final state."""
        job = self._journal.job(name)
        while True:
            events = self._journal.events(job, after_seq)
            for event in events:
                yield event
                after_seq = event.seq
            if events and events[-1].state.is_final:
                return
            if not events:
                if self._journal.job(name).state.is_final:
                    return
                await self._bell(name).wait()

    async def wait(self, name: str, timeout_s: float | None) -> Job:
        """The job once it has ended, or as it is after ``timeout_s``."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self._journal.job(name).state.is_final:
                    await self._bell(name).wait()
        return self._journal.job(name)

    def _fill_slots(self) -> None:
        while not self._closing and len(self._running) < self._executor.slots and (job := self._journal.next_queued()):
            job = self._journal.start(job)
            self._ring(job)
            self._running[job.name] = asyncio.create_task(self._run(job))

    async def _run(self, job: Job) -> None:
        try:
            await self._attempt(job)
        except asyncio.CancelledError:
            self._journal.requeue(job, count_attempt=False)
            raise
        except Exception:
            log.exception("the runner failed", extra={"job": job.name})
            self._finish(job, State.FAILED, error=as_data(InternalError("the server failed; its log says why")))
        finally:
            del self._running[job.name]
            self._ring(job)
            self._shrink_store()
            self._fill_slots()

    async def _attempt(self, job: Job) -> None:
        """One start of one job, up to a final state or back into the queue."""
        try:
            if self._journal.job(job.name).cancel_asked:
                raise Cancelled("the job was cancelled")
            task = self._task_for(job)
            result = await self._executor.run(task, lambda message: self._record(job, message))
        except Cancelled as error:
            self._finish(job, State.CANCELLED, error=as_data(error))
        except BacklotError as error:
            self._finish(job, State.FAILED, error=as_data(error))
        except WorkerDied as error:
            self._after_death(job, error)
        else:
            self._finish(job, State.SUCCEEDED, result=result)
            if not self._keep_results:
                self._executor.forget(job.name)

    def _after_death(self, job: Job, death: WorkerDied) -> None:
        log.error("the worker died", extra={"job": job.name, "exit_status": death.exit_status})
        if death.out_of_memory:
            error: BacklotError = ResourceExhausted(f"the job needs more memory than there is (log: {death.log_file})")
            self._finish(job, State.FAILED, error=as_data(error))
        elif job.attempts < self._config.server.max_attempts:
            self._journal.requeue(job, count_attempt=True)
        else:
            error = InternalError(f"the job was started {job.attempts} times; each time {death}")
            self._finish(job, State.FAILED, error=as_data(error))

    def _record(self, job: Job, message: Message) -> None:
        if message["kind"] == "progress":
            preview = base64.b64decode(message.get("preview", ""))
            place = (message["stage"], message["done"], message["total"], message["fraction"])
            self._journal.progress(job, *place, preview)
        elif message["kind"] == "warning":
            self._journal.warn(job, message["message"])
        elif message["kind"] == "files":
            files = [ResultFile(**file) for file in message["files"]]
            for key in {file.key for file in files}:
                self._keep(job, key)
            self._journal.deliver(job, files)
        else:
            raise ValueError(f"message: expected progress, warning or files, got {message['kind']}")
        self._ring(job)

    def _keep(self, job: Job, key: str) -> None:
        if self._keep_results:
            self._store.pin(key, _owner(job))
        else:
            self._user.use(key)

    def _finish(self, job: Job, state: State, *, result: Any = None, error: dict[str, str] | None = None) -> None:
        self._journal.finish(job, state, result=result, error=error)
        log.info("job ended", extra={"job": job.name, "state": state.value, "error": error})
        self._ring(job)
        self._bells.pop(job.name, None)

    def _shrink_store(self) -> None:
        if not self._closing and (self._shrinking is None or self._shrinking.done()):
            self._shrinking = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        try:
            await asyncio.to_thread(self._store.collect)
        except (OSError, BacklotError):
            log.exception("the store could not be shrunk")

    def _bell(self, name: str) -> Bell:
        return self._bells.setdefault(name, Bell())

    def _ring(self, job: Job) -> None:
        if bell := self._bells.get(job.name):
            bell.ring()


def _owner(job: Job) -> str:
    return job.name.replace("/", "-")

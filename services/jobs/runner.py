"""From the journal to executor slots and back.

One rule carries crashes: a job is in the journal before its request is answered, and its final state is written once.
What happens between may happen again; finished stages are in the store. A journal that cannot be written for a while
(a full disk, a lock) ends no job: what is to be recorded waits. Everything here runs on the event loop.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from services.artifacts.assets import AssetStore
from services.artifacts.store import Store
from services.config import Config, TenantConfig, frugal
from services.errors import (
    BacklotError,
    Cancelled,
    InternalError,
    InvalidRequest,
    OutOfMemory,
    ResourceExhausted,
    Unavailable,
    Unsolvable,
    as_data,
)
from services.executors.base import Executor, Message, Task, WorkerDied
from services.failpoints import failpoint
from services.identity import LOCAL
from services.jobs.journal import Event, Job, Journal, ResultFile, State
from services.jobs.share import FairShare

log = logging.getLogger(__name__)

JOURNAL_RETRY_S = 1.0
DEFAULT_PRIORITY = 50
Ending = Callable[[], object]  # tells the journal how an attempt has ended


class _NotRecorded(Exception):
    """The journal, or the store, did not take what a worker had to say."""


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
    deleted; else they are kept while this process lives. ``assets`` are uploads that go after their time."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        executor: Executor,
        config: Config,
        task_for: Callable[[Job], Task],
        keep_results: bool = True,
        assets: AssetStore | None = None,
    ) -> None:
        self._journal, self._store, self._executor, self._config = journal, store, executor, config
        self._task_for, self._keep_results, self._assets = task_for, keep_results, assets
        self._user = store.user()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._share = FairShare(lambda tenant: self._tenant(tenant).share)
        self._alarm: asyncio.TimerHandle | None = None
        self._bells: dict[str, Bell] = {}
        self._shrinking: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        """Queue again what a server that died left running, and end what it was about to end."""
        for job in reversed(self._journal.jobs(State.RUNNING)):
            if job.cancel_asked:
                self._finish(job, State.CANCELLED, error=as_data(Cancelled("the job was cancelled")))
            else:
                log.info("queued again after the server's end", extra={"job": job.name})
                self._journal.requeue(job, count_attempt=False)
        for job in self._journal.half_deleted():
            self._remove(job)
        for job in filter(None, map(self._journal.of_owner, self._store.holders())):
            if job.state.is_final:
                self._release(job)
        self._fill_slots()
        self._shrink_store()

    async def close(self) -> None:
        """Stop workers and put their jobs back into the queue, where the next server on this journal finds them."""
        self._closing = True
        if self._alarm:
            self._alarm.cancel()
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._shrinking:
            await self._shrinking
        self._user.close()

    def repeated(self, kind: str, request: bytes, request_id: str, tenant: str = LOCAL) -> Job | None:
        """The job that the same request has started before, if it has."""
        if len(request_id) > 64:
            raise InvalidRequest("request_id", "at most 64 characters", len(request_id))
        job = self._journal.by_request_id(request_id, tenant) if request_id else None
        if job and (job.kind, job.request) != (kind, request):
            raise InvalidRequest("request_id", "one not used before, or the same request again", request_id)
        return job

    def submit(
        self, kind: str, request: bytes, request_id: str = "", priority: int = DEFAULT_PRIORITY, tenant: str = LOCAL
    ) -> Job:
        """A new job. ``request`` is the serialised message, checked, and not ``repeated``."""
        check_priority(priority)
        for limit, waiting in (
            (self._tenant(tenant).queue_limit, self._journal.count(State.QUEUED, tenant)),
            (self._config.server.queue_limit, self._journal.count(State.QUEUED)),
        ):
            if limit and waiting >= limit:
                raise ResourceExhausted(f"{waiting} jobs are waiting already")
        failpoint("runner.submit")
        job = self._journal.add(kind, request, request_id or None, priority, tenant)
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

    def change(
        self, name: str, *, priority: int | None = None, paused: bool | None = None, pinned: bool | None = None
    ) -> Job:
        """None = as it is. A running job that is paused stops at its next step and waits; finished stages are kept."""
        job = self._journal.job(name)
        if priority is not None:
            check_priority(priority)
        if job.state.is_final and (priority is not None or paused is not None):
            raise Unsolvable(f"{name} has ended", "Only its pin can be changed")
        job = self._journal.change(job, priority=priority, paused=paused, pinned=pinned)
        if paused and job.state is State.RUNNING:
            self._executor.cancel(name)
        self._fill_slots()
        return job

    def pause(self, tenant: str, paused: bool) -> None:
        """Whether the tenant's queue stands still. What runs goes on."""
        self._journal.pause_tenant(tenant, paused)
        self._fill_slots()

    def delete(self, name: str) -> None:
        job = self._journal.job(name)
        if not job.state.is_final:
            raise Unsolvable(f"{name} has not ended", "Cancel it first")
        if job.pinned:
            raise Unsolvable(f"{name} is pinned", "Take the pin away first")
        self._remove(job)

    def _remove(self, job: Job) -> None:
        """Marked first, so that a server that comes back ends it."""
        self._journal.change(job, deleting=True)
        for key in {file.key for file in self._journal.files(job)}:
            self._store.unpin(key, job.owner)
        self._journal.delete(job)
        self._executor.forget(job.name)

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
        """Start what may start; and look again when something that waits a while may, or the journal can be used."""
        if self._closing:
            return
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        try:
            while len(self._running) < self._executor.slots and (job := self._next()):
                job = self._journal.start(job)
                self._ring(job)
                self._share.begin(job.name, job.tenant)
                self._running[job.name] = asyncio.create_task(self._run(job))
            next_s = self._journal.next_time_s()
        except BacklotError:
            log.exception("no job could be started")
            next_s = time.time() + JOURNAL_RETRY_S
        if next_s is not None:
            self._alarm = asyncio.get_running_loop().call_later(max(0.0, next_s - time.time()), self._fill_slots)

    def _next(self) -> Job | None:
        running, slots = self._share.running(), self._executor.slots
        waiting = self._journal.waiting_tenants()
        may = [tenant for tenant in waiting if running[tenant] < (self._tenant(tenant).running_limit or slots)]
        tenant = self._share.next(may)
        return self._journal.next_queued(tenant) if tenant is not None else None

    async def _run(self, job: Job) -> None:
        try:
            await self._settle(job, await self._attempt(job))
        except asyncio.CancelledError:
            with contextlib.suppress(BacklotError):  # then the next server finds it running, and queues it again
                self._journal.requeue(job, count_attempt=False)
            raise
        finally:
            del self._running[job.name]
            self._share.end(job.name)
            self._ring(job)
            self._shrink_store()
            self._fill_slots()

    async def _settle(self, job: Job, ending: Ending) -> None:
        """Tell the journal, as soon as it listens."""
        while True:
            try:
                ending()
                return
            except (Unavailable, ResourceExhausted):
                log.exception("the end of an attempt could not be recorded yet", extra={"job": job.name})
                await asyncio.sleep(JOURNAL_RETRY_S)

    async def _attempt(self, job: Job) -> Ending:
        """One start of one job; how it ended."""
        failpoint("runner.attempt")
        try:
            now = self._journal.job(job.name)
            if now.cancel_asked or now.paused:  # before the executor knew of it
                raise Cancelled("the job was cancelled")
            task = replace(self._task_for(job), owner=job.owner if self._keep_results else "")
            result = await self._executor.run(task, lambda message: self._record(job, message))
        except Cancelled as error:
            return partial(self._after_stop, job, error)
        except OutOfMemory as error:
            return self._after_memory_ran_out(job, error)
        except Unavailable as error:
            return self._again_or(job, error)
        except BacklotError as error:
            return self._failed(job, error)
        except WorkerDied as error:
            return self._after_death(job, error)
        except _NotRecorded:
            log.exception("an attempt is given up", extra={"job": job.name})
            return partial(
                self._journal.requeue, job, count_attempt=False, not_before_s=time.time() + JOURNAL_RETRY_S
            )
        except Exception:
            log.exception("the runner failed", extra={"job": job.name})
            return self._failed(job, InternalError("the server failed; its log says why"))
        failpoint("runner.result")
        return partial(self._succeeded, job, result)

    def _succeeded(self, job: Job, result: Any) -> None:
        self._finish(job, State.SUCCEEDED, result=result)
        if not self._keep_results:
            self._executor.forget(job.name)

    def _failed(self, job: Job, error: BacklotError) -> Ending:
        return partial(self._finish, job, State.FAILED, error=as_data(error))

    def _after_stop(self, job: Job, error: Cancelled) -> None:
        """Somebody asked for it: to cancel the job, or to pause it."""
        if self._journal.job(job.name).cancel_asked:
            self._finish(job, State.CANCELLED, error=as_data(error))
        else:
            self._journal.requeue(job, count_attempt=False)

    def _after_memory_ran_out(self, job: Job, error: OutOfMemory) -> Ending:
        settings = self._config.settings
        if job.frugal or frugal(settings) == settings:
            return self._failed(job, error)
        log.info("started again with less memory", extra={"job": job.name})
        return partial(self._journal.requeue, job, count_attempt=True, frugal=True)

    def _again_or(self, job: Job, error: BacklotError) -> Ending:
        """Later, unless it has been started often enough."""
        server = self._config.server
        if job.attempts >= server.max_attempts:
            return self._failed(job, error)
        log.info("tried again later", extra={"job": job.name, "error": str(error)})
        delay_s = server.retry_delay_s * 2 ** (job.attempts - 1)
        return partial(self._journal.requeue, job, count_attempt=True, not_before_s=time.time() + delay_s)

    def _after_death(self, job: Job, death: WorkerDied) -> Ending:
        log.error("the worker died", extra={"job": job.name, "exit_status": death.exit_status})
        if death.out_of_memory:
            error = OutOfMemory(f"the job needs more memory than there is (log: {death.log_file})")
            return self._after_memory_ran_out(job, error)
        return self._again_or(job, InternalError(f"the job was started {job.attempts} times; each time {death}"))

    def _record(self, job: Job, message: Message) -> None:
        try:
            self._told(job, message)
        except BacklotError as error:
            raise _NotRecorded from error
        self._ring(job)

    def _told(self, job: Job, message: Message) -> None:
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
        elif message["kind"] != "chunks":  # an invitation to helpers, where there are any
            raise ValueError(f"message: expected progress, warning, files or chunks, got {message['kind']}")

    def _keep(self, job: Job, key: str) -> None:
        if self._keep_results:
            self._store.pin(key, job.owner)
        else:
            self._user.use(key)

    def _finish(self, job: Job, state: State, *, result: Any = None, error: dict[str, str] | None = None) -> None:
        self._journal.finish(job, state, result=result, error=error)
        self._release(job)
        log.info("job ended", extra={"job": job.name, "state": state.value, "error": error})
        self._ring(job)
        self._bells.pop(job.name, None)

    def _release(self, job: Job) -> None:
        """From now on only its result is kept. What cannot be released now is when the next server starts."""
        try:
            self._store.release(job.owner)
        except OSError:
            log.exception("what the job has used stays in the store", extra={"job": job.name})

    def _shrink_store(self) -> None:
        if not self._closing and (self._shrinking is None or self._shrinking.done()):
            self._shrinking = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        try:
            self._remove_expired()
            if self._assets and (days := self._config.server.keep_uploads_days):
                await self._remove_uploads(self._assets, time.time() - days * 86400)
            await asyncio.to_thread(self._store.collect)
        except (OSError, BacklotError):
            log.exception("the store could not be shrunk")

    def _remove_expired(self) -> None:
        days = self._config.server.keep_results_days
        for job in self._journal.ended_before(time.time() - days * 86400) if days else ():
            log.info("deleted after its time", extra={"job": job.name})
            self._remove(job)

    async def _remove_uploads(self, assets: AssetStore, since_s: float) -> None:
        for folder in await asyncio.to_thread(assets.idle, since_s):
            if self._journal.mentions(folder.name):
                continue
            doomed = assets.root / f".{folder.name}"  # at once, before a request can come that names it
            folder.rename(doomed)
            await asyncio.to_thread(shutil.rmtree, doomed, ignore_errors=True)

    def _tenant(self, tenant: str) -> TenantConfig:
        return self._config.server.tenants.get(tenant, TenantConfig())

    def _bell(self, name: str) -> Bell:
        return self._bells.setdefault(name, Bell())

    def _ring(self, job: Job) -> None:
        if bell := self._bells.get(job.name):
            bell.ring()


def check_priority(priority: int) -> None:
    if not 0 <= priority <= 100:
        raise InvalidRequest("priority", "0..100", priority)

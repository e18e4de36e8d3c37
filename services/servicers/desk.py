"""What the servicers share: hand in a request, show a job."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.longrunning import operations_proto_pb2

from services import convert
from services.artifacts.access import Access
from services.artifacts.store import Store
from services.errors import NotFound
from services.executors.base import Task
from services.identity import tenant_of
from services.jobs.journal import Job, Journal, State
from services.jobs.runner import DEFAULT_PRIORITY, Runner
from services.sandbox import Sandbox


@dataclass(frozen=True)
class Desk:
    journal: Journal
    runner: Runner
    access: Access
    sandbox: Sandbox

    async def submit(
        self, kind: str, request: Any, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        """Check the request, then take it in; a bad one never becomes a job, and a repeated one none of its own."""
        data, tenant = request.SerializeToString(deterministic=True), tenant_of(context)
        if self.runner.repeated(kind, data, request.request_id, tenant) is None:
            await self.sandbox.check(convert.job_request(kind, data, self.access.of(tenant)))
        return self._taken_in(kind, request, data, tenant)

    def _taken_in(self, kind: str, request: Any, data: bytes, tenant: str) -> operations_proto_pb2.Operation:
        """Without a pause, so that of equal requests at the same time only one becomes a job."""
        job = self.runner.repeated(kind, data, request.request_id, tenant)
        if job is None:
            priority = request.priority if request.HasField("priority") else DEFAULT_PRIORITY
            job = self.runner.submit(kind, data, request.request_id, priority, tenant)
        return self.operation(job)

    def job(self, name: str, context: grpc.aio.ServicerContext) -> Job:
        """A job of the caller's: another tenant's is not there."""
        return job_of(self.journal, name, tenant_of(context))

    def operation(self, job: Job) -> operations_proto_pb2.Operation:
        succeeded = job.state is State.SUCCEEDED
        files = self.journal.files(job) if succeeded else []
        warnings = self.journal.warnings(job) if succeeded else []
        return convert.operation(job, self.journal.last_event(job), files, warnings)


def task_for(job: Job, access: Access) -> Task:
    """``no_cache`` sets the job's stages apart by its own name: anew, but not again after a crash."""
    salt = job.name if convert.no_cache(job.kind, job.request) else ""
    return Task(job.name, job.kind, convert.job_request(job.kind, job.request, access.of(job.tenant)), salt, job.frugal)


def job_of(journal: Journal, name: str, tenant: str) -> Job:
    job = journal.job(name)
    if job.tenant != tenant:
        raise NotFound(f"there is no job {name}")  # the words of the journal: nobody learns of others' jobs
    return job


def result_folder(asset: str, tenant: str, journal: Journal, store: Store, root: Path) -> Path:
    """A folder of links that shows the result of a job that succeeded as if it lay there."""
    job = job_of(journal, convert.job_of_asset(asset), tenant)
    if job.state is not State.SUCCEEDED:
        raise NotFound(f"{asset} is not complete: {job.name} is {job.state.value}")
    folder = root / asset
    for file in journal.files(job):
        link, target = folder / file.path, store.path(file.key, file.file)
        if not target.exists():
            with suppress(NotFound):
                store.fetch(file.key)
        if not target.exists():
            raise NotFound(f"{asset} is no longer in the store: run the job again")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
    return folder

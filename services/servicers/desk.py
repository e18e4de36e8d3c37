"""What the servicers share: hand in a request, show a job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.longrunning import operations_proto_pb2

from services import convert
from services.artifacts.access import Access
from services.artifacts.store import Store
from services.errors import NotFound
from services.executors.base import Task
from services.jobs.journal import Job, Journal, State
from services.jobs.runner import Runner


@dataclass(frozen=True)
class Desk:
    journal: Journal
    runner: Runner
    access: Access

    def submit(self, kind: str, request: Any) -> operations_proto_pb2.Operation:
        """Check the request, then take it in; a bad one never becomes a job, and a repeated one none of its own."""
        data = request.SerializeToString(deterministic=True)
        job = self.runner.repeated(kind, data, request.request_id)
        if job is None:
            convert.job_request(kind, data, self.access)
            job = self.runner.submit(kind, data, request.request_id)
        return self.operation(job)

    def operation(self, job: Job) -> operations_proto_pb2.Operation:
        succeeded = job.state is State.SUCCEEDED
        files = self.journal.files(job) if succeeded else []
        warnings = self.journal.warnings(job) if succeeded else []
        return convert.operation(job, self.journal.last_event(job), files, warnings)


def task_for(job: Job, access: Access) -> Task:
    """``no_cache`` sets the job's stages apart by its own name: anew, but not again after a crash."""
    salt = job.name if convert.no_cache(job.kind, job.request) else ""
    return Task(job.name, job.kind, convert.job_request(job.kind, job.request, access), salt)


def result_folder(asset: str, journal: Journal, store: Store, root: Path) -> Path:
    """A folder of links that shows the result of a job that succeeded as if it lay there."""
    job = journal.job(convert.job_of_asset(asset))
    if job.state is not State.SUCCEEDED:
        raise NotFound(f"{asset} is not complete: {job.name} is {job.state.value}")
    folder = root / asset
    for file in journal.files(job):
        link, target = folder / file.path, store.path(file.key, file.file)
        if not target.exists():
            raise NotFound(f"{asset} is no longer in the store: run the job again")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)
    return folder

"""JobService: watch and list jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
from backlot.v1 import jobs_pb2, jobs_pb2_grpc

from services import convert
from services.errors import InvalidRequest
from services.identity import tenant_of
from services.jobs.journal import State
from services.servicers.desk import Desk
from services.servicers.pages import page_before, page_limit, page_token


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[jobs_pb2.JobEvent]:
        if request.after_seq < 0:
            raise InvalidRequest("after_seq", ">= 0", request.after_seq)
        job = self._desk.job(request.name, context)
        async for event in self._desk.runner.watch(request.name, request.after_seq):
            if event.state.is_final:
                job = self._desk.journal.job(request.name)  # now it has its error
            yield convert.job_event(job, event)

    async def ListJobs(
        self, request: jobs_pb2.ListJobsRequest, context: grpc.aio.ServicerContext
    ) -> jobs_pb2.ListJobsResponse:
        limit, state = page_limit(request.page_size), convert.state_filter(request.state)
        jobs = self._desk.journal.jobs(state, page_before(request.page_token), limit + 1, tenant_of(context))
        shown = [convert.job_message(job, self._desk.journal.last_event(job)) for job in jobs[:limit]]
        return jobs_pb2.ListJobsResponse(jobs=shown, next_page_token=page_token(jobs, limit))

    async def UpdateJob(
        self, request: jobs_pb2.UpdateJobRequest, context: grpc.aio.ServicerContext
    ) -> jobs_pb2.Job:
        wanted = {name: getattr(request, name) for name in ("priority", "paused", "pinned") if request.HasField(name)}
        job = self._desk.runner.change(self._desk.job(request.name, context).name, **wanted)
        return convert.job_message(job, self._desk.journal.last_event(job))

    async def GetQueue(
        self, request: jobs_pb2.GetQueueRequest, context: grpc.aio.ServicerContext
    ) -> jobs_pb2.Queue:
        return self._queue(tenant_of(context))

    async def UpdateQueue(
        self, request: jobs_pb2.UpdateQueueRequest, context: grpc.aio.ServicerContext
    ) -> jobs_pb2.Queue:
        if request.HasField("paused"):
            self._desk.runner.pause(tenant_of(context), request.paused)
        return self._queue(tenant_of(context))

    def _queue(self, tenant: str) -> jobs_pb2.Queue:
        journal = self._desk.journal
        return jobs_pb2.Queue(
            paused=journal.is_paused(tenant),
            queued=journal.count(State.QUEUED, tenant),
            running=journal.count(State.RUNNING, tenant),
        )

"""google.longrunning.Operations over jobs."""

from __future__ import annotations

import grpc
from google.longrunning import operations_pb2_grpc, operations_proto_pb2
from google.protobuf import empty_pb2

from services.errors import InvalidRequest
from services.identity import tenant_of
from services.servicers.desk import Desk
from services.servicers.pages import page_before, page_limit, page_token


class OperationsServicer(operations_pb2_grpc.OperationsServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def GetOperation(
        self, request: operations_proto_pb2.GetOperationRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return self._desk.operation(self._desk.job(request.name, context))

    async def ListOperations(
        self, request: operations_proto_pb2.ListOperationsRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.ListOperationsResponse:
        if request.filter:
            raise InvalidRequest("filter", "nothing (JobService.ListJobs filters by state)", request.filter)
        limit = page_limit(request.page_size)
        before = page_before(request.page_token)
        jobs = self._desk.journal.jobs(before=before, limit=limit + 1, tenant=tenant_of(context))
        operations = [self._desk.operation(job) for job in jobs[:limit]]
        return operations_proto_pb2.ListOperationsResponse(
            operations=operations, next_page_token=page_token(jobs, limit)
        )

    async def CancelOperation(
        self, request: operations_proto_pb2.CancelOperationRequest, context: grpc.aio.ServicerContext
    ) -> empty_pb2.Empty:
        self._desk.runner.cancel(self._desk.job(request.name, context).name)
        return empty_pb2.Empty()

    async def DeleteOperation(
        self, request: operations_proto_pb2.DeleteOperationRequest, context: grpc.aio.ServicerContext
    ) -> empty_pb2.Empty:
        self._desk.runner.delete(self._desk.job(request.name, context).name)
        return empty_pb2.Empty()

    async def WaitOperation(
        self, request: operations_proto_pb2.WaitOperationRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        timeout = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else None
        job = self._desk.job(request.name, context)
        return self._desk.operation(await self._desk.runner.wait(job.name, timeout))

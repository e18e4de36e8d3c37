"""PrevisService."""

from __future__ import annotations

import grpc
from backlot.v1 import previs_pb2, previs_pb2_grpc
from google.longrunning import operations_proto_pb2

from services import convert
from services.errors import NotFound
from services.jobs.journal import State
from services.servicers.desk import Desk


class PrevisServicer(previs_pb2_grpc.PrevisServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def RenderGuides(
        self, request: previs_pb2.RenderGuidesRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.GUIDES, request, context)

    async def RenderAnchors(
        self, request: previs_pb2.RenderAnchorsRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.ANCHORS, request, context)

    async def RenderPrevis(
        self, request: previs_pb2.RenderPrevisRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.PREVIS, request, context)

    async def ListAnchors(
        self, request: previs_pb2.ListAnchorsRequest, context: grpc.aio.ServicerContext
    ) -> previs_pb2.ListAnchorsResponse:
        job = self._desk.job(request.name, context)
        if job.kind not in convert.ANCHOR_KINDS or job.state is not State.SUCCEEDED or job.result is None:
            raise NotFound(f"{job.name} has made no anchors: it is a job of kind {job.kind}, {job.state.value}")
        return convert.anchors(job)

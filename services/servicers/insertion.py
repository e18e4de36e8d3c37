"""InsertionService."""

from __future__ import annotations

import grpc
from backlot.v1 import insertion_pb2, insertion_pb2_grpc
from google.longrunning import operations_proto_pb2

from services import convert
from services.servicers.desk import Desk


class InsertionServicer(insertion_pb2_grpc.InsertionServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def PropagateMasks(
        self, request: insertion_pb2.PropagateMasksRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.PROPAGATE_MASKS, request, context)

    async def InsertObject(
        self, request: insertion_pb2.InsertObjectRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.INSERT, request, context)

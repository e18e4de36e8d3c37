"""PlateService."""

from __future__ import annotations

import grpc
from backlot.v1 import plate_pb2, plate_pb2_grpc
from google.longrunning import operations_proto_pb2

from services import convert
from services.servicers.desk import Desk


class PlateServicer(plate_pb2_grpc.PlateServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def BuildLayers(
        self, request: plate_pb2.BuildLayersRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.LAYERS, request, context)

    async def AnimatePlate(
        self, request: plate_pb2.AnimatePlateRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.PLATE, request, context)

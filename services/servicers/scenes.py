"""SceneService: solve, import, describe, preview."""

from __future__ import annotations

import base64

import grpc
from backlot.v1 import jobs_pb2, scene_pb2, scene_pb2_grpc
from google.longrunning import operations_proto_pb2

from services import convert
from services.errors import NotFound
from services.executors.preview import Helper
from services.identity import tenant_of
from services.jobs.journal import State
from services.servicers.desk import Desk


class SceneServicer(scene_pb2_grpc.SceneServiceServicer):
    def __init__(self, desk: Desk, helper: Helper) -> None:
        self._desk, self._helper = desk, helper

    async def ReconstructScene(
        self, request: scene_pb2.ReconstructSceneRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.RECONSTRUCT, request, context)

    async def ImportScene(
        self, request: scene_pb2.ImportSceneRequest, context: grpc.aio.ServicerContext
    ) -> operations_proto_pb2.Operation:
        return await self._desk.submit(convert.IMPORT_SCENE, request, context)

    async def GetScene(
        self, request: scene_pb2.GetSceneRequest, context: grpc.aio.ServicerContext
    ) -> scene_pb2.Scene:
        job = self._desk.job(request.name, context)
        if job.kind not in convert.SCENE_KINDS or job.state is not State.SUCCEEDED or job.result is None:
            raise NotFound(f"{job.name} has made no scene: it is a job of kind {job.kind}, {job.state.value}")
        return convert.scene(job)

    async def PreviewPlacement(
        self, request: scene_pb2.PreviewPlacementRequest, context: grpc.aio.ServicerContext
    ) -> scene_pb2.PreviewPlacementResponse:
        spec = convert.preview_spec(request, self._desk.access.of(tenant_of(context)))
        await self._desk.sandbox.check(spec)
        value = await self._helper.call("preview", spec.scene_dir, spec.clip, spec)
        picture = jobs_pb2.Preview(data=base64.b64decode(value["jpeg"]), mime_type="image/jpeg")
        return scene_pb2.PreviewPlacementResponse(preview=picture)

"""MediaService: files in and out. Disk work runs in threads, one chunk at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
from backlot.v1 import media_pb2, media_pb2_grpc

from services import convert
from services.artifacts.assets import RESULT_PREFIX, AssetFile, AssetStore, Upload
from services.artifacts.store import Store
from services.errors import InvalidRequest, NotFound
from services.executors.preview import Helper
from services.identity import tenant_of
from services.pipelines.requests import Clip
from services.servicers.desk import Desk
from services.servicers.pages import page_limit

CHUNK_BYTES = 2**20


class MediaServicer(media_pb2_grpc.MediaServiceServicer):
    def __init__(self, desk: Desk, assets: AssetStore, store: Store, helper: Helper) -> None:
        self._desk, self._assets, self._store, self._helper = desk, assets, store, helper

    async def Upload(
        self, request_iterator: AsyncIterator[media_pb2.UploadRequest], context: grpc.aio.ServicerContext
    ) -> media_pb2.UploadResponse:
        assets, asset, path = self._assets.of(tenant_of(context)), "", ""
        upload: Upload | None = None
        touched: dict[str, AssetFile] = {}
        taken: asyncio.Future[AssetFile] | None = None  # what came last is hashed and written while the next one comes
        try:
            async for request in request_iterator:
                if taken:
                    touched[path] = await taken
                if request.asset_id and asset and request.asset_id != asset:
                    raise InvalidRequest("asset_id", f"one asset per stream: {asset}", request.asset_id)
                asset = asset or request.asset_id
                if upload is None or (request.relative_path and request.relative_path != path):
                    if upload:
                        upload.close()
                    path = request.relative_path
                    whole = (request.sha256, request.total_bytes, request.offset)
                    upload = await asyncio.to_thread(assets.begin, asset, path, *whole)
                taken = asyncio.ensure_future(asyncio.to_thread(upload.take, request.offset, request.data))
            if taken:
                touched[path] = await taken
        finally:
            if taken and not taken.done():
                await asyncio.wait([taken])
            if upload:
                upload.close()
        if not asset:
            raise InvalidRequest("asset_id", "at least one message with an asset", "none")
        return media_pb2.UploadResponse(asset_id=asset, files=[convert.stored_file(file) for file in touched.values()])

    async def Download(
        self, request: media_pb2.DownloadRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[media_pb2.DownloadResponse]:
        place, file = await self._find(request.asset_id, request.relative_path, context)
        if not 0 <= request.offset <= file.size_bytes:
            raise InvalidRequest("offset", f"0..{file.size_bytes}", request.offset)
        if request.limit_bytes < 0:
            raise InvalidRequest("limit_bytes", ">= 0", request.limit_bytes)
        end = min(file.size_bytes, request.offset + (request.limit_bytes or file.size_bytes))
        facts: dict[str, Any] = {"total_bytes": file.size_bytes, "sha256": file.sha256}
        with open(place, "rb") as stream:
            stream.seek(offset := request.offset)
            while facts or offset < end:
                data = await asyncio.to_thread(stream.read, min(CHUNK_BYTES, end - offset))
                if not data and offset < end:
                    raise NotFound(f"{request.relative_path} ends at {offset} of {file.size_bytes} bytes")
                yield media_pb2.DownloadResponse(offset=offset, data=data, **facts)
                offset, facts = offset + len(data), {}

    async def Describe(
        self, request: media_pb2.DescribeRequest, context: grpc.aio.ServicerContext
    ) -> media_pb2.DescribeResponse:
        asset = request.media.asset
        response = media_pb2.DescribeResponse()
        if request.media.HasField("asset"):
            limit = page_limit(request.page_size)
            files = [file for file in self._files(asset.asset_id, context) if _is_below(file.path, asset.relative_path)]
            files = [file for file in files if file.path > request.page_token]
            response.files.extend(convert.stored_file(file) for file in files[:limit])
            response.next_page_token = files[limit - 1].path if len(files) > limit else ""
        elif not request.media.HasField("uri"):
            raise InvalidRequest("media", "an asset or a clip", "nothing")
        if request.probe_clip:
            path = convert.path(request.media, self._desk.access.of(tenant_of(context)), "media")
            await self._desk.sandbox.check(Clip(path), "clip")
            response.clip.CopyFrom(media_pb2.ClipInfo(**await self._helper.call("describe", path)))
        return response

    async def _find(self, asset: str, path: str, context: grpc.aio.ServicerContext) -> tuple[Path, AssetFile]:
        if not asset.startswith(RESULT_PREFIX):
            return self._assets.of(tenant_of(context)).file(asset, path)
        file = self._desk.journal.file(self._desk.job(convert.job_of_asset(asset), context), path)
        place = self._store.path(file.key, file.file)
        if not place.exists():
            with suppress(NotFound):
                await asyncio.to_thread(self._store.fetch, file.key)
        if not place.exists():
            raise NotFound(f"{path} is no longer in the store: run the job again")
        return place, AssetFile(path, file.sha256, file.size_bytes, file.size_bytes)

    def _files(self, asset: str, context: grpc.aio.ServicerContext) -> list[AssetFile]:
        if not asset.startswith(RESULT_PREFIX):
            return self._assets.of(tenant_of(context)).files(asset)
        files = self._desk.journal.files(self._desk.job(convert.job_of_asset(asset), context))
        return [AssetFile(file.path, file.sha256, file.size_bytes, file.size_bytes) for file in files]


def _is_below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")

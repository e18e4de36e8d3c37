"""Files in and out, and what requests may name."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import cv2
import grpc
import numpy as np
import pytest
from backlot.v1 import common_pb2, jobs_pb2, media_pb2, scene_pb2

from services.config import Config
from tests.grpc.running import Stubs, serving, tiny_request, until, wrong_field

ASSET = "clip-0001"
DATA = np.random.default_rng(0).bytes(3 * 2**20 + 17)
CHUNK = 2**20


def _messages(
    data: bytes = DATA, begin: int = 0, asset: str = ASSET, path: str = "shots/a.bin", sha256: str = ""
) -> Iterator[media_pb2.UploadRequest]:
    sha256 = sha256 or hashlib.sha256(data).hexdigest()
    for offset in range(begin, max(len(data), 1), CHUNK):
        yield media_pb2.UploadRequest(
            asset_id=asset, relative_path=path, offset=offset, data=data[offset : offset + CHUNK],
            total_bytes=len(data), sha256=sha256,
        )  # fmt: skip


def _asset(path: str = "", asset: str = ASSET) -> common_pb2.MediaPath:
    return common_pb2.MediaPath(asset=common_pb2.AssetPath(asset_id=asset, relative_path=path))


async def _download(stubs: Stubs, asset: str, path: str, offset: int = 0, limit: int = 0) -> bytes:
    request = media_pb2.DownloadRequest(asset_id=asset, relative_path=path, offset=offset, limit_bytes=limit)
    data = b""
    async for chunk in stubs.media.Download(request):
        assert chunk.offset == offset + len(data)
        data += chunk.data
    return data


async def test_what_is_uploaded_comes_back(stubs: Stubs) -> None:
    response = await stubs.media.Upload(_messages())
    (file,) = response.files
    assert (file.relative_path, file.size_bytes, file.received_bytes) == ("shots/a.bin", len(DATA), len(DATA))
    assert await _download(stubs, ASSET, "shots/a.bin") == DATA
    assert await _download(stubs, ASSET, "shots/a.bin", 2**20 - 5, 10) == DATA[2**20 - 5 : 2**20 + 5]
    assert await _download(stubs, ASSET, "shots/a.bin", len(DATA)) == b""


async def test_several_files_in_one_stream_one_of_them_empty(stubs: Stubs) -> None:
    def messages() -> Iterator[media_pb2.UploadRequest]:
        yield from _messages(b"one", path="a.txt")
        yield from _messages(b"", path="empty.txt")
        yield from _messages(b"three", path="b/c.txt")

    response = await stubs.media.Upload(messages())
    received = {file.relative_path: file.received_bytes for file in response.files}
    assert received == {"a.txt": 3, "empty.txt": 0, "b/c.txt": 5}
    described = await stubs.media.Describe(media_pb2.DescribeRequest(media=_asset()))
    assert [f.relative_path for f in described.files] == ["a.txt", "b/c.txt", "empty.txt"]
    assert await _download(stubs, ASSET, "empty.txt") == b""
    page = await stubs.media.Describe(media_pb2.DescribeRequest(media=_asset(), page_size=2))
    rest = await stubs.media.Describe(
        media_pb2.DescribeRequest(media=_asset(), page_size=2, page_token=page.next_page_token)
    )
    assert [f.relative_path for f in (*page.files, *rest.files)] == ["a.txt", "b/c.txt", "empty.txt"]
    assert rest.next_page_token == ""


async def test_an_upload_that_breaks_goes_on_where_it_ended(stubs: Stubs, config: Config) -> None:
    sent = asyncio.Event()

    async def cut() -> AsyncIterator[media_pb2.UploadRequest]:
        messages = _messages()
        yield next(messages)
        yield next(messages)
        sent.set()
        await asyncio.sleep(60)

    call = stubs.media.Upload(cut())
    await sent.wait()
    part = config.server.journal_folder / "assets" / ASSET / "parts" / "shots" / "a.bin"
    await until(lambda: part.exists() and part.stat().st_size == 2 * CHUNK)
    call.cancel()
    (file,) = (await stubs.media.Describe(media_pb2.DescribeRequest(media=_asset()))).files
    assert (file.received_bytes, file.size_bytes) == (2 * CHUNK, len(DATA))
    await asyncio.sleep(0.2)
    with pytest.raises(grpc.aio.AioRpcError, match="no complete file"):
        await _download(stubs, ASSET, "shots/a.bin")
    assert await wrong_field(stubs.media.Upload(_messages(begin=CHUNK))) == "offset"
    (file,) = (await stubs.media.Upload(_messages(begin=2 * CHUNK))).files
    assert file.received_bytes == len(DATA)
    assert await _download(stubs, ASSET, "shots/a.bin") == DATA


async def test_content_that_does_not_match_its_sha256_is_dropped(stubs: Stubs) -> None:
    assert await wrong_field(stubs.media.Upload(_messages(b"abc", sha256="0" * 64))) == "sha256"
    assert len((await stubs.media.Describe(media_pb2.DescribeRequest(media=_asset()))).files) == 0
    await stubs.media.Upload(_messages(b"abc"))


@pytest.mark.parametrize(
    "path", ["../x", "/etc/passwd", "a/../../x", "a//b", ".", "a\\b", "", "a/\0b", "x" * 300, "./a", "a/", "..", "a\nb"]
)
async def test_paths_that_lead_elsewhere_are_refused(stubs: Stubs, path: str, config: Config) -> None:
    assert await wrong_field(stubs.media.Upload(_messages(b"abc", path=path))) == "relative_path"
    assets = config.server.journal_folder / "assets"
    assert not [found for found in assets.rglob("*") if found.is_file()]


@pytest.mark.parametrize("asset", ["short", "UPPERCASE-1", "../../../x", "result-0123456789abcdef", "a" * 81])
async def test_asset_names_that_are_not_the_clients_are_refused(stubs: Stubs, asset: str) -> None:
    assert await wrong_field(stubs.media.Upload(_messages(b"abc", asset=asset))) == "asset_id"


async def test_a_complete_file_does_not_change(stubs: Stubs) -> None:
    await stubs.media.Upload(_messages(b"abc"))
    assert await wrong_field(stubs.media.Upload(_messages(b"abd"))) == "sha256"
    assert await _download(stubs, ASSET, "shots/a.bin") == b"abc"


async def test_more_data_than_announced_is_refused(stubs: Stubs) -> None:
    message = next(_messages(b"abc"))
    message.data = b"abcd"
    assert await wrong_field(stubs.media.Upload(iter([message]))) == "data"


async def test_results_are_read_while_the_job_runs_and_after(stubs: Stubs, notes: Path) -> None:
    name = await stubs.submit(notes, second="wait", files=2)
    async for event in stubs.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name)):
        if event.files:
            break
    asset = event.result_asset_id
    assert await _download(stubs, asset, "one/0001.txt") == b"a"
    (notes / "go").touch()
    await stubs.ended(name)
    assert await _download(stubs, asset, "two.bin", 990) == b"a" * 10
    described = await stubs.media.Describe(media_pb2.DescribeRequest(media=_asset("one", asset)))
    assert [file.relative_path for file in described.files] == ["one/0000.txt", "one/0001.txt"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _download(stubs, asset, "../journal.sqlite")
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_a_result_can_be_the_input_of_the_next_job(stubs: Stubs, notes: Path, config: Config) -> None:
    name = await stubs.submit(notes)
    await stubs.ended(name)
    request = tiny_request(notes, text="next")
    request.scene.scene_dir.CopyFrom(_asset("one", "result-" + name.removeprefix("jobs/")))
    operation = await stubs.ended((await stubs.scenes.ReconstructScene(request)).name)
    assert operation.HasField("response")
    linked = config.server.journal_folder / "results" / ("result-" + name.removeprefix("jobs/"))
    assert (linked / "one" / "0000.txt").read_text() == "a"


async def test_only_files_below_the_media_roots_may_be_named(stubs: Stubs, notes: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").touch()
    (notes / "link").symlink_to(outside)
    sequence = notes / "sequence"
    sequence.mkdir()
    (sequence / "0001.png").symlink_to(outside / "secret.png")
    attacks = [
        str(outside), f"{notes}/../../outside", f"{notes}/link", f"{notes}/link/secret.png", f"file://{outside}",
        "relative/path", "http://127.0.0.1/x", "file://elsewhere/x", f"{notes}/%2e%2e/../../../outside/secret.png",
        str(sequence), f"{sequence}/%04d.png", f"{sequence}/*.png", f"{notes}/\0", "/proc/self/environ", "~/x",
    ]  # fmt: skip
    for uri in attacks:
        request = tiny_request(notes)
        request.clip.path.uri = uri
        assert await wrong_field(stubs.scenes.ReconstructScene(request)) == "clip.path", uri
    request = tiny_request(notes)
    request.clip.path.uri = f"file://{notes}/missing.mp4"
    assert await wrong_field(stubs.scenes.ReconstructScene(request)) == "clip.path"
    (notes / "link").unlink()
    (sequence / "0001.png").unlink()
    request.clip.path.uri = f"file://{notes}"
    await stubs.ended((await stubs.scenes.ReconstructScene(request)).name)


async def test_a_clip_is_described_by_another_process(stubs: Stubs, notes: Path) -> None:
    for number in range(10, 13):
        cv2.imwrite(str(notes / f"{number:04d}.png"), np.full((20, 30, 3), number, np.uint8))
    request = media_pb2.DescribeRequest(media=common_pb2.MediaPath(uri=f"{notes}/%04d.png"), probe_clip=True)
    clip = (await stubs.media.Describe(request)).clip
    assert (clip.width_px, clip.height_px, clip.first_frame, clip.frame_count, clip.bit_depth) == (30, 20, 10, 3, 8)
    (notes / "empty.mp4").touch()
    request.media.uri = f"{notes}/empty.mp4"
    assert await wrong_field(stubs.media.Describe(request)) == "clip.path"


async def test_previews_come_from_a_warm_process_that_is_replaced_when_it_dies(stubs: Stubs, notes: Path) -> None:
    request = scene_pb2.PreviewPlacementRequest(
        scene_dir=common_pb2.MediaPath(uri=str(notes)),
        clip=common_pb2.Clip(path=common_pb2.MediaPath(uri=str(notes))),
        object=common_pb2.InsertedObject(
            path=common_pb2.MediaPath(uri=str(notes)), at_px=common_pb2.PixelPoint(x=1, y=2), scale=1
        ),
        width_px=50,
    )
    with pytest.raises(grpc.aio.AioRpcError, match="died") as caught:
        await stubs.scenes.PreviewPlacement(request)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    (notes / "alive").touch()
    preview = (await stubs.scenes.PreviewPlacement(request)).preview
    picture = cv2.imdecode(np.frombuffer(preview.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (30, 50, 3)


async def test_uploads_outlive_the_server(config: Config) -> None:
    async with serving(config) as stubs:
        await stubs.media.Upload(_messages(b"abc"))
    async with serving(config) as stubs:
        assert await _download(stubs, ASSET, "shots/a.bin") == b"abc"


async def test_an_upload_that_is_no_clip_never_becomes_a_job(stubs: Stubs, notes: Path) -> None:
    await stubs.media.Upload(_messages(b"ffconcat version 1.0\nfile /etc/passwd\n", path="a.mp4"))
    request = tiny_request(notes)
    request.clip.path.CopyFrom(_asset("a.mp4"))
    assert await wrong_field(stubs.scenes.ReconstructScene(request)) == "clip.path"
    assert len((await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs) == 0
    probe = media_pb2.DescribeRequest(media=_asset("a.mp4"), probe_clip=True)
    assert await wrong_field(stubs.media.Describe(probe)) == "clip.path"

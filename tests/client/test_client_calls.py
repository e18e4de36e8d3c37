"""The library against a real server whose streams break off."""

from __future__ import annotations

import hashlib
from pathlib import Path

import backlot
import pytest
from backlot._requests import Input, InputKind
from backlot.v1 import jobs_pb2
from google.rpc import code_pb2, status_pb2
from tiny_server import JOB, RESULT, TinyServer, bad_request

SUCCEEDED = jobs_pb2.JOB_STATE_SUCCEEDED
FRAME = bytes(range(256)) * 20  # 5,120 bytes: six chunks


def test_watch_takes_up_broken_streams_without_losing_or_doubling_events(tiny: TinyServer, target: str) -> None:
    for number in range(9):
        tiny.publish(done=number)
    tiny.publish(state=SUCCEEDED)
    tiny.cuts["WatchJob"] = [3, 0, 4]
    with backlot.Client(target) as client:
        seen = [event.seq for event in client.job(JOB).watch()]
    assert seen == list(range(1, 11))
    assert tiny.calls == ["WatchJob 0", "WatchJob 3", "WatchJob 3", "WatchJob 7"]


def test_watch_survives_a_restart_of_the_server(tiny: TinyServer, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 's'}"
    tiny.publish(stage="first")
    server, _ = tiny.start(address)
    with backlot.Client(address) as client:
        events = client.job(JOB).watch()
        assert next(events).stage == "first"
        server.stop(0).wait()
        tiny.publish(state=SUCCEEDED, stage="second")
        server, _ = tiny.start(address)
        assert [event.stage for event in events] == ["second"]
    server.stop(0).wait()


def test_watch_gives_up_when_nothing_comes_back(tmp_path: Path) -> None:
    with (
        backlot.Client(f"unix:{tmp_path / 'nobody'}", patience_s=0.2) as client,
        pytest.raises(backlot.Unavailable),
    ):
        client.job(JOB).wait()


def test_watch_ends_after_its_timeout(tiny: TinyServer, target: str) -> None:
    tiny.publish()
    with backlot.Client(target) as client, pytest.raises(backlot.Unavailable):
        list(client.job(JOB).watch(timeout_s=0.3))


def test_download_resumes_inside_a_file_and_skips_what_is_there(tiny: TinyServer, target: str, tmp_path: Path) -> None:
    tiny.publish(("composite/0000.png", FRAME), ("empty.txt", b""))
    tiny.publish(("report.json", b"{}"), state=SUCCEEDED)
    tiny.cuts["Download"] = [2]
    with backlot.Client(target) as client:
        client.job(JOB).download(tmp_path)
        assert (tmp_path / "composite/0000.png").read_bytes() == FRAME
        assert (tmp_path / "empty.txt").read_bytes() == b""
        assert [call for call in tiny.calls if "0000" in call] == [
            "Download composite/0000.png 0",
            "Download composite/0000.png 2000",
        ]
        tiny.calls.clear()
        (tmp_path / "report.json").write_bytes(b"[]")
        client.job(JOB).download(tmp_path)
    assert [call for call in tiny.calls if call.startswith("Download")] == ["Download report.json 0"]
    assert (tmp_path / "report.json").read_bytes() == b"{}"


def test_wrong_content_is_refused_and_leaves_nothing(tiny: TinyServer, target: str, tmp_path: Path) -> None:
    tiny.publish(("a.png", FRAME), state=SUCCEEDED)
    tiny.files[RESULT]["a.png"].data[700] ^= 1
    with backlot.Client(target) as client, pytest.raises(backlot.CorruptFile, match="a.png: expected sha256"):
        client.job(JOB).download(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../../b", "..\\a", "c:a", ""])
def test_a_server_cannot_write_outside_the_output_folder(
    name: str, tiny: TinyServer, target: str, tmp_path: Path
) -> None:
    tiny.publish((name, b"x"), state=SUCCEEDED)
    out = tmp_path / "out"
    with backlot.Client(target) as client, pytest.raises(backlot.CorruptFile, match="below the output folder"):
        client.job(JOB).download(out)
    assert list(tmp_path.iterdir()) == []


def _sequence(folder: Path) -> Path:
    folder.mkdir()
    for number in range(5):
        (folder / f"f.{number:04d}.png").write_bytes(bytes([number]) * (3 << 20) if number == 3 else b"x" * number)
    (folder / ".hidden").write_bytes(b"no")
    return folder


def test_upload_resumes_and_a_second_one_sends_nothing(tiny: TinyServer, target: str, tmp_path: Path) -> None:
    folder = _sequence(tmp_path / "plate")
    source = Input(str(folder), InputKind.CLIP)
    tiny.cuts["Upload"] = [5, 0]  # inside the large file, then at once
    progress: list[tuple[int, int]] = []
    with backlot.Client(target) as client:
        place = client.upload(source, lambda there, total: progress.append((there, total)))
        held = tiny.files[place.asset.asset_id]
        assert {name: bytes(file.data) for name, file in held.items()} == {
            path.name: path.read_bytes() for path in folder.glob("f.*")
        }
        assert tiny.calls == ["Upload"] * 3
        assert progress[-1] == ((3 << 20) + 7, (3 << 20) + 7)
        assert client.upload(source) == place
        assert tiny.calls == ["Upload"] * 3
    assert place.asset.relative_path == ""


def test_inputs_are_uploaded_or_named_in_place(tiny: TinyServer, target: str, tmp_path: Path) -> None:
    clip = tmp_path / "shot.mp4"
    clip.write_bytes(b"film")
    mesh = tmp_path / "chair.glb"
    mesh.write_bytes(b"mesh")
    chair = backlot.InsertedObject(str(mesh), (1.5, 2.0), height_px=80)
    for shares_files in (False, True):
        with backlot.Client(target, shares_files=shares_files) as client:
            job = client.insert(backlot.Clip(str(clip), 3, 9), [chair], matching=backlot.Matching(grain=False))
            assert job.name == JOB
    sent, named = tiny.requests
    assert named.clip.path.uri == str(clip)
    assert sent.clip.path.asset.relative_path == "shot.mp4"
    assert bytes(tiny.files[sent.objects[0].path.asset.asset_id]["chair.glb"].data) == b"mesh"
    for request in (sent, named):
        assert (request.clip.first_frame, request.clip.last_frame) == (3, 9)
        assert request.objects[0].WhichOneof("height") == "height_px"
        assert not request.objects[0].HasField("frame")
        assert request.matching.HasField("grain")
        assert not request.matching.grain
        assert not request.HasField("holdout")
        assert not request.scene.HasField("scene_dir")
    assert sent.request_id != named.request_id


def test_errors_carry_reason_and_field(tiny: TinyServer, target: str, tmp_path: Path) -> None:
    tiny.refusal = bad_request("objects[0].at_px", "objects[0].at_px: expected a pixel of the picture, got (-1, 2)")
    with backlot.Client(target, shares_files=True) as client:
        with pytest.raises(backlot.InvalidRequest, match="got \\(-1, 2\\)") as caught:
            client.insert("a.mp4", [backlot.InsertedObject("b.glb", (-1, 2), scale=1)])
        assert (caught.value.field, caught.value.reason) == ("objects[0].at_px", "INVALID_REQUEST")
        with pytest.raises(backlot.NotFound, match="jobs/7"):
            client.job("jobs/7").wait()


def test_a_failed_job_raises_what_the_server_says(tiny: TinyServer, target: str) -> None:
    error = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="no parallax. A moving camera helps")
    tiny.publish(state=jobs_pb2.JOB_STATE_FAILED, error=error)
    with backlot.Client(target) as client, pytest.raises(backlot.Unsolvable, match="A moving camera helps"):
        client.job(JOB).wait()


def test_cancel_is_seen_by_who_watches(tiny: TinyServer, target: str) -> None:
    tiny.publish()
    with backlot.Client(target) as client:
        events = client.job(JOB).watch()
        next(events)
        client.job(JOB).cancel()
        assert [event.state for event in events] == [backlot.JobState.CANCELLED]


def test_a_job_and_the_queue_are_steered(tiny: TinyServer, target: str) -> None:
    with backlot.Client(target) as client:
        job = client.job(JOB)
        changed = job.update(priority=0, paused=False)  # what is given travels, zero and False too
        assert (changed.priority, changed.paused, changed.pinned) == (0, False, False)
        assert job.update(pinned=True).pinned
        assert client.pause() == backlot.QueueSummary(paused=True, queued=3, running=1)
        assert client.queue().paused
        assert not client.pause(False).paused
    assert tiny.calls == [
        f"UpdateJob {JOB} {{'priority': 0, 'paused': False}}", f"UpdateJob {JOB} {{'pinned': True}}",
    ]  # fmt: skip


def test_jobs_are_listed_over_pages(target: str) -> None:
    with backlot.Client(target) as client:
        assert [job.name for job in client.jobs()] == ["jobs/2", "jobs/1"]


def test_a_token_needs_tls() -> None:
    with pytest.raises(backlot.InvalidRequest, match="token"):
        backlot.Client("127.0.0.1:1", token="secret")


async def test_the_async_client_does_the_same(tiny: TinyServer, target: str, tmp_path: Path) -> None:
    folder = _sequence(tmp_path / "plate")
    tiny.publish(("a/b.bin", FRAME))
    tiny.publish(state=SUCCEEDED)
    tiny.cuts.update(Upload=[5], Download=[2], WatchJob=[1])
    async with backlot.AsyncClient(target) as client:
        job = await client.reconstruct(folder)
        last = await job.download(tmp_path / "out")
        assert last.state is backlot.JobState.SUCCEEDED
        assert [summary.name async for summary in client.jobs()] == ["jobs/2", "jobs/1"]
        assert (await job.update(priority=7)).priority == 7
        assert (await client.pause()).paused
        assert (await client.queue()).paused
        with pytest.raises(backlot.NotFound):
            await client.job("jobs/7").wait()
    (request,) = tiny.requests
    held = tiny.files[request.clip.path.asset.asset_id]["f.0003.png"]
    assert hashlib.sha256(held.data).hexdigest() == held.sha256
    assert (tmp_path / "out/a/b.bin").read_bytes() == FRAME
    assert tiny.calls.count("Upload") == 2
    assert "WatchJob 1" in tiny.calls

"""Hostile uploads: refused with typed errors, by a process with little memory and little time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import services.sandbox
from services.artifacts.assets import AssetStore
from services.errors import InvalidRequest
from services.sandbox import CAMERAS, OTHER, Inspection, Sandbox
from tests.media.conftest import numbered_picture, write_video
from tests.media.hostile import build


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    one = Sandbox(tmp_path / "server", AssetStore(tmp_path / "assets"))
    yield one
    await one.close()


def _peak_bytes(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def test_every_hostile_file_is_refused_and_none_ends_its_reader(sandbox: Sandbox, tmp_path: Path) -> None:
    corpus = list(build(tmp_path))
    assert len({item.name for item in corpus}) == len(corpus) >= 400
    await sandbox.inspect(Inspection(write_video(tmp_path / "fine.mp4", [numbered_picture(0)] * 3), OTHER, "f",
        tmp_path))
    first, wrong, longest_s = sandbox.pid, [], 0.0
    for item in corpus:
        begun = time.monotonic()
        home = item.path if item.path.is_dir() else item.path.parent
        try:
            await sandbox.inspect(Inspection(item.path, item.kind, "clip.path", home))
            wrong.append(f"{item.name}: taken for good")
        except InvalidRequest as error:
            if not error.field.startswith("clip.path") or len(str(error)) > 4000:
                wrong.append(f"{item.name}: {str(error)[:200]}")
        longest_s = max(longest_s, time.monotonic() - begun)
        if sandbox.pid != first:
            wrong.append(f"{item.name}: ended its reader")
            first = sandbox.pid
    assert wrong == []
    assert longest_s < 30
    assert _peak_bytes(sandbox.pid) < 2 * 2**30
    assert not Path("/owned").exists()


async def test_a_file_that_makes_its_reader_wait(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "fine.mp4", [numbered_picture(0)] * 3)
    await sandbox.inspect(Inspection(video, OTHER, "clip.path", tmp_path))
    before = sandbox.pid
    os.mkfifo(tmp_path / "endless.json")  # whoever opens it waits for a writer
    monkeypatch.setattr(services.sandbox, "PATIENCE_S", 0.5)
    with pytest.raises(InvalidRequest, match="read within 30 s"):
        await sandbox.inspect(Inspection(tmp_path / "endless.json", CAMERAS, "scene.cameras_file", tmp_path))
    assert sandbox.pid is None
    monkeypatch.undo()
    await sandbox.inspect(Inspection(video, OTHER, "again", tmp_path))
    assert sandbox.pid not in (None, before)


async def test_a_reader_that_dies_is_replaced(sandbox: Sandbox, tmp_path: Path) -> None:
    video = write_video(tmp_path / "fine.mp4", [numbered_picture(0)] * 3)
    await sandbox.inspect(Inspection(video, OTHER, "clip.path", tmp_path))
    os.kill(sandbox.pid or 0, signal.SIGKILL)
    with pytest.raises(InvalidRequest, match="ends its reader"):
        await sandbox.inspect(Inspection(video, OTHER, "killed", tmp_path))
    await sandbox.inspect(Inspection(video, OTHER, "after", tmp_path))


async def test_what_was_read_once_is_not_read_again(sandbox: Sandbox, tmp_path: Path) -> None:
    wanted = Inspection(write_video(tmp_path / "a.mp4", [numbered_picture(0)] * 3), OTHER, "clip.path", tmp_path)
    await sandbox.inspect(wanted)
    wanted.path.unlink()
    await sandbox.inspect(wanted)

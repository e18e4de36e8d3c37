"""``python -m tests.services.kill_campaign FOLDER FIRST LAST [START STEP]``: SIGKILL at every failpoint (from START on
every STEP-th), for seeds FIRST..LAST - 1.

The real journal, runner, store and worker in one small process without a front door, over a journal of the first
version that has jobs waiting, running and ended. It is killed once and started again. Prints how many kills there were;
those that did harm are told on standard error, and make the exit status 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import cv2
from backlot.v1 import common_pb2, scene_pb2

from services import failpoints
from services.artifacts.assets import AssetStore
from services.artifacts.store import Store
from services.config import Config, ServerConfig, StoreConfig
from services.errors import NotFound
from services.executors.base import Task
from services.jobs.journal import Job, Journal, State
from services.jobs.runner import Runner
from services.pipelines.requests import Clip, ReconstructRequest, SceneOptions
from tests.services.inline_executor import InlineExecutor
from tests.services.tiny_stages import runs

FIRST_JOURNAL = Path(__file__).parent / "data" / "journal_v1.sqlite"
UPLOAD = b"plate" * 100
ENDS = {  # of jobs that do not simply succeed
    "failed": (State.FAILED,), "cancelled": (State.CANCELLED,), "asked": (State.CANCELLED,),
    "doomed": (State.CANCELLED, State.SUCCEEDED),
}  # fmt: skip
FAULT = "harm done: "
SMALL = 10_000  # bytes that the store is shrunk to: less than what lies there


def request(root: Path, text: str) -> bytes:
    clip = common_pb2.Clip(path=common_pb2.MediaPath(uri=str(root / "notes")))
    message = scene_pb2.ReconstructSceneRequest(clip=clip, scene=common_pb2.SceneOptions(horizon=text))
    return message.SerializeToString(deterministic=True)


def prepare(root: Path) -> None:
    """What servers before this one have left."""
    for folder in ("notes", "journal"):
        (root / folder).mkdir(parents=True)
    shutil.copy(FIRST_JOURNAL, root / "journal" / "journal.sqlite")
    store = Store(str(root / "store"), SMALL)
    store.produce("c" * 64, _large)
    (store.root / "staging" / ("d" * 64)).mkdir()
    (store.root / "uses" / "dead").write_text("c" * 64)


def _large(folder: Path) -> None:
    (folder / "x").write_bytes(bytes(2 * SMALL))


async def serve(root: Path, seed: int) -> None:
    """Ask for some jobs, unless they are there; wait for all; delete one."""
    draw = random.Random(seed)
    server = ServerConfig(journal=str(root / "journal"), registry="tests.services.tiny_pipelines", retry_delay_s=0.01)
    config = Config(server=server, store=StoreConfig(str(root / "store"), SMALL))
    journal, store = Journal(root / "journal"), Store(config.store.location, SMALL)

    def task_for(job: Job) -> Task:
        message = scene_pb2.ReconstructSceneRequest.FromString(job.request)
        scene = SceneOptions(horizon=message.scene.horizon)
        return Task(job.name, job.kind, ReconstructRequest(Clip(str(root / "notes")), scene))

    runner = Runner(journal, store, InlineExecutor(config), config, task_for)
    runner.start()
    for number in range(draw.randint(1, 2)):
        ask(root, runner, f"plain{number}", files=draw.randint(1, 3), steps=draw.randint(1, 4))
    doomed, urgent, paused = (ask(root, runner, name) for name in ("doomed", "urgent", "paused"))
    if not journal.job(urgent).state.is_final:
        runner.change(urgent, priority=100)
    if not journal.job(paused).state.is_final:
        runner.change(paused, paused=True)
    upload(root)
    while journal.job(doomed).state is State.QUEUED:
        await asyncio.sleep(0.001)
    runner.cancel(doomed)
    await ended(journal, runner, but=paused)
    if not journal.job(paused).state.is_final:
        runner.change(paused, paused=False)
    await ended(journal, runner)
    for job in journal.jobs():
        if job.request_id == "first":  # ended before all this
            runner.delete(job.name)
    await runner.close()
    journal.close()


async def ended(journal: Journal, runner: Runner, but: str = "") -> None:
    for job in journal.jobs():
        if job.name != but:
            assert (await runner.wait(job.name, 20)).state.is_final, job


def ask(root: Path, runner: Runner, name: str, **plan: int) -> str:
    data = request(root, json.dumps({"text": name, **plan}))
    job = runner.repeated("reconstruct", data, name) or runner.submit("reconstruct", data, name)
    with open(root / "answered", "a") as stream:
        stream.write(f"{job.name}\n")
    return job.name


def upload(root: Path) -> None:
    assets = AssetStore(root / "journal" / "assets")
    with contextlib.suppress(NotFound):
        assets.file("plate-00", "plate.exr")
        return
    begun = 0
    with contextlib.suppress(NotFound):
        begun = sum(file.received_bytes for file in assets.files("plate-00"))
    with assets.begin("plate-00", "plate.exr", hashlib.sha256(UPLOAD).hexdigest(), len(UPLOAD), begun) as stream:
        stream.write(UPLOAD[begun:])


def run(root: Path, seed: int, armed: str) -> int:
    """Exit status of a fork that serves; negative = the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if armed:
                failpoints.arm(armed, root)
            asyncio.run(serve(root, seed))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outputs(root: Path) -> dict[str, int]:
    """Inodes of what is committed: an output that is committed again has another."""
    return {path.parent.name: path.stat().st_ino for path in (root / "store").glob("stages/??/*/manifest.json")}


def check(root: Path, before: dict[str, int], ends: Mapping[str, tuple[State, ...]] = ENDS) -> None:
    """``before``: ``outputs`` after the kill; ``ends``: final states by the text of the job's plan."""
    after = outputs(root)
    assert {key: after[key] for key in before if key in after} == {k: v for k, v in before.items() if k in after}
    assert runs(root / "notes", "again") == 0, "a finished stage was run again"
    assert not list((root / "store" / "staging").iterdir())
    assert not list((root / "store" / "holds").iterdir())
    assert "c" * 64 not in after, "what nobody needs was not collected"
    with sqlite3.connect(root / "journal" / "journal.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not db.execute("PRAGMA foreign_key_check").fetchall()
    db.close()
    journal = Journal(root / "journal")
    ids = {job.request_id: job for job in journal.jobs()}
    assert "first" not in ids, "it was deleted"
    for name in set((root / "answered").read_text().split()):
        assert journal.job(name).state.is_final, "a job was lost"
    for job in journal.jobs():
        message = scene_pb2.ReconstructSceneRequest.FromString(job.request)
        text = json.loads(message.scene.horizon)["text"]
        assert job.state in ends.get(text, (State.SUCCEEDED,)), (job, job.error)
        events = journal.events(job, limit=-1)
        assert [event.seq for event in events] == list(range(1, len(events) + 1)), events
        assert [event.state.is_final for event in events] == [False] * (len(events) - 1) + [True], events
        told = Counter((file.path, file.sha256) for event in events for file in event.files)
        assert not told or max(told.values()) == 1, "a file was delivered twice"
        for file in journal.files(job) if job.state is State.SUCCEEDED else ():
            assert file.key in after, "a result was collected"
    journal.close()
    path, _ = AssetStore(root / "journal" / "assets").file("plate-00", "plate.exr")
    assert path.read_bytes() == UPLOAD


def trial(folder: Path, point: str, seed: int) -> None:
    """One kill at ``point``, at a random one of the times that the process gets there."""
    time = random.Random(f"{point} {seed}").randint(1, 4)
    for armed in (f"{point}@{time}", point):
        root = folder / f"{point}-{seed}"
        shutil.rmtree(root, ignore_errors=True)
        prepare(root)
        status = run(root, seed, armed)
        if status == -signal.SIGKILL:
            break
        assert status == 0, f"{armed}: exit status {status}"
    else:
        raise AssertionError(f"{point} was never reached")
    before = outputs(root)
    assert run(root, seed, "") == 0
    check(root, before)
    shutil.rmtree(root)


def main(folder: Path, first: int, last: int, start: int = 0, step: int = 1) -> None:
    cv2.setNumThreads(1)
    kills = faults = 0
    for seed in range(first, last):
        for point in failpoints.POINTS[start::step]:
            try:
                trial(folder, point, seed)
            except AssertionError as error:
                sys.stderr.write(f"{FAULT}{point}, seed {seed}: {error}\n")
                faults += 1
            kills += 1
    sys.stdout.write(f"{kills}\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))

"""Scheduling, retries, pauses and retention: the real journal, store, runner and worker, in one process."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from services.artifacts.assets import AssetStore
from services.artifacts.store import Store
from services.config import Config, PrevisSettings, StoreConfig, TenantConfig
from services.errors import InvalidRequest, ResourceExhausted, Unsolvable
from services.executors.base import Task
from services.jobs import runner as runner_module
from services.jobs.journal import Job, Journal, State
from services.jobs.runner import Runner
from services.pipelines.requests import Clip, ReconstructRequest, SceneOptions
from tests.services.inline_executor import InlineExecutor
from tests.services.tiny_stages import runs


@dataclass
class Shop:
    notes: Path
    journal: Journal
    store: Store
    executor: InlineExecutor
    runner: Runner

    def ask(self, text: str, tenant: str = "local", priority: int = 50, **plan: Any) -> str:
        data = json.dumps({"text": text, "steps": 1, **plan}).encode()
        return self.runner.submit("reconstruct", data, text, priority, tenant).name

    async def ended(self, name: str) -> Job:
        job = await self.runner.wait(name, 20)
        assert job.state.is_final, job
        return job

    def order(self) -> list[str]:
        """Texts of the tasks in the order they were started."""
        return [json.loads(task.request.scene.horizon)["text"] for task in self.executor.began]


@asynccontextmanager
async def shop(folder: Path, config: Config | None = None, **values: Any) -> AsyncIterator[Shop]:
    notes = folder / "notes"
    notes.mkdir(exist_ok=True)
    config = config or Config()
    server = replace(config.server, registry="tests.services.tiny_pipelines", retry_delay_s=0.02, **values)
    config = replace(config, server=server, store=StoreConfig(str(folder / "store"), 10**9))

    def task_for(job: Job) -> Task:
        scene = SceneOptions(horizon=job.request.decode())
        return Task(job.name, job.kind, ReconstructRequest(Clip(str(notes)), scene), frugal=job.frugal)

    journal, store, executor = Journal(folder / "journal"), Store(config.store.url, 10**9), InlineExecutor(config)
    runner = Runner(journal, store, executor, config, task_for, assets=AssetStore(folder / "assets"))
    runner.start()
    try:
        yield Shop(notes, journal, store, executor, runner)
    finally:
        await runner.close()
        journal.close()


async def test_priority_orders_the_jobs_of_a_tenant(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        names = [at.ask(str(n), priority=n) for n in (50, 10, 90, 60)]
        at.runner.change(names[1], priority=100)
        for name in names:
            await at.ended(name)
    assert at.order() == ["50", "10", "90", "60"]  # the first ran at once
    with pytest.raises(InvalidRequest, match=r"priority: expected 0\.\.100"):
        at.ask("101", priority=101)


async def test_tenants_take_turns_however_many_jobs_one_has(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        names = [at.ask(f"many{n}", "many") for n in range(6)] + [at.ask(f"few{n}", "few") for n in range(2)]
        for name in names:
            await at.ended(name)
    assert {"few0", "few1"} <= set(at.order()[:5])


async def test_quotas(tmp_path: Path) -> None:
    tenants = {"small": TenantConfig(running_limit=1, queue_limit=2)}
    async with shop(tmp_path, slots=3, queue_limit=5, tenants=tenants) as at:
        names = [at.ask(f"s{n}", "small") for n in range(3)]
        states = [at.journal.job(name).state for name in names]
        assert states == [State.RUNNING, State.QUEUED, State.QUEUED]  # although there are free slots
        with pytest.raises(ResourceExhausted, match="2 jobs are waiting"):
            at.ask("s3", "small")
        names.append(at.ask("other", "other"))
        assert at.journal.job(names[-1]).state is State.RUNNING
        for name in names:
            assert (await at.ended(name)).state is State.SUCCEEDED


async def test_a_request_id_belongs_to_its_tenant(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        mine, theirs = at.ask("same", "a"), at.ask("same", "b")
        assert mine != theirs
        data = at.journal.job(mine).request
        assert at.runner.repeated("reconstruct", data, "same", "b") == at.journal.job(theirs)
        assert at.runner.repeated("reconstruct", data, "same", "c") is None
        for name in (mine, theirs):
            await at.ended(name)


async def test_what_fails_for_a_while_is_tried_again_later(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        name = at.ask("x", second="later")
        job = await at.ended(name)
        assert (job.state, job.attempts) == (State.SUCCEEDED, 2)
        assert (runs(at.notes, "first"), runs(at.notes, "second")) == (1, 2)


async def test_what_fails_always_fails_after_three_attempts_and_the_queue_goes_on(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        poison, good = at.ask("poison", second="never"), at.ask("good")
        job = await at.ended(poison)
        assert job.error
        assert (job.state, job.attempts, job.error["reason"]) == (State.FAILED, 3, "UNAVAILABLE")
        assert (await at.ended(good)).state is State.SUCCEEDED
    assert at.order()[:2] == ["poison", "good"]  # while the first waited for its next attempt


async def test_out_of_memory_is_met_with_smaller_tiles_once(tmp_path: Path) -> None:
    learned = Config(previs=PrevisSettings(anchors_backend="some-checkpoint"))
    async with shop(tmp_path, learned) as at:
        job = await at.ended(at.ask("x", second="memory"))
        assert (job.state, job.frugal, job.attempts) == (State.SUCCEEDED, True, 2)
        assert [task.frugal for task in at.executor.began] == [False, True]


async def test_out_of_memory_without_tiles_is_a_typed_failure(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        job = await at.ended(at.ask("x", second="memory"))
        assert job.error
        assert (job.state, job.attempts, job.error["reason"]) == (State.FAILED, 1, "OUT_OF_MEMORY")


async def test_a_paused_job_stops_waits_and_goes_on(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        name, other = at.ask("x"), at.ask("other")
        at.runner.change(name, paused=True)
        await at.ended(other)
        job = at.journal.job(name)
        assert (job.state, job.attempts, job.paused) == (State.QUEUED, 0, True)
        at.runner.change(name, paused=False)
        assert (await at.ended(name)).state is State.SUCCEEDED
        with pytest.raises(Unsolvable, match="has ended"):
            at.runner.change(name, paused=True)


async def test_a_paused_queue_stands_still_for_its_tenant_only(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        at.runner.pause("a", True)
        waiting, other = at.ask("a", "a"), at.ask("b", "b")
        await at.ended(other)
        assert at.journal.job(waiting).state is State.QUEUED
    async with shop(tmp_path) as at:  # also after a restart
        assert at.journal.is_paused("a")
        at.runner.pause("a", False)
        assert (await at.ended(waiting)).state is State.SUCCEEDED


async def test_results_are_removed_after_their_time_unless_pinned(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        names = [at.ask(str(n)) for n in range(2)]
        for name in names:
            await at.ended(name)
        at.runner.change(names[0], pinned=True)
        with pytest.raises(Unsolvable, match="pinned"):
            at.runner.delete(names[0])
    with sqlite3.connect(tmp_path / "journal" / "journal.sqlite") as db:
        db.execute("UPDATE jobs SET ended_s = ended_s - 2 * 86400")
    db.close()
    async with shop(tmp_path, keep_results_days=1.0) as at:
        while len(jobs := at.journal.jobs()) > 1:
            await asyncio.sleep(0.01)
        assert [job.name for job in jobs] == [names[0]]
        kept = {file.key for file in at.journal.files(jobs[0])}
        at.store.collect(0)
        assert {path.parent.name for path in at.store.root.glob("stages/??/*/manifest.json")} == kept


async def test_uploads_are_removed_after_their_time_unless_a_job_names_them(tmp_path: Path) -> None:
    assets = AssetStore(tmp_path / "assets")
    for asset, of in (("named-00", "local"), ("old-0000", "local"), ("theirs-0", "studio"), ("fresh-00", "local")):
        with assets.of(of).begin(asset, "x", hashlib.sha256(b"x").hexdigest(), 1, 0) as upload:
            upload.write(b"x")
        if not asset.startswith("fresh"):
            for path in [assets.of(of).folder(asset), *assets.of(of).folder(asset).rglob("*")]:
                os.utime(path, (1e9, 1e9))
    async with shop(tmp_path, keep_uploads_days=1.0) as at:
        await at.ended(at.ask("named-00"))
        while (tmp_path / "assets" / "of_studio" / "theirs-0").exists():
            await asyncio.sleep(0.01)
    left = {path.parent.name for path in (tmp_path / "assets").rglob("index")}
    assert left == {"named-00", "fresh-00"}


async def test_the_store_keeps_what_a_waiting_job_has_finished(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        name = at.ask("x", second="never")
        while at.journal.job(name).attempts < 2:
            await asyncio.sleep(0.005)
            at.store.collect(0)
        await at.ended(name)
        assert runs(at.notes, "first") == 1
        assert at.store.holders() == []


async def test_a_locked_journal_delays_jobs_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "JOURNAL_RETRY_S", 0.05)
    async with shop(tmp_path) as at:
        at.journal._db.execute("PRAGMA busy_timeout = 10")
        name = at.ask("x")
        other = sqlite3.connect(tmp_path / "journal" / "journal.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # somebody backs it up
        await asyncio.sleep(0.3)
        assert not at.journal.job(name).state.is_final
        other.execute("ROLLBACK")
        other.close()
        job = await at.ended(name)
        assert (job.state, job.attempts) == (State.SUCCEEDED, 1)
        assert runs(at.notes, "first") == 1


async def test_a_full_disk_below_the_journal_is_typed_and_jobs_go_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "JOURNAL_RETRY_S", 0.05)
    async with shop(tmp_path) as at:
        name = at.ask("x")
        db = at.journal._db
        db.execute("PRAGMA max_page_count = 1")  # SQLite says that the disk is full
        with pytest.raises(ResourceExhausted, match="full"):
            at.ask("large" * 5000)
        assert [job.name for job in at.journal.jobs()] == [name]
        await asyncio.sleep(0.2)
        db.execute("PRAGMA max_page_count = 1000000")
        for job in (name, at.ask("large" * 5000)):
            assert (await at.ended(job)).state is State.SUCCEEDED
        assert not db.execute("PRAGMA foreign_key_check").fetchall()


async def test_a_store_that_cannot_be_written_fails_the_job_and_the_next_one_runs_when_it_can(tmp_path: Path) -> None:
    async with shop(tmp_path) as at:
        staging = at.store.root / "staging"
        staging.rmdir()
        staging.touch()  # nothing can be made in there, whoever asks
        job = await at.ended(at.ask("x"))
        assert job.error
        assert (job.state, job.error["reason"], job.attempts) == (State.FAILED, "UNAVAILABLE", 3)
        staging.unlink()
        staging.mkdir()
        assert (await at.ended(at.ask("y"))).state is State.SUCCEEDED


def test_a_journal_of_the_first_version_opens(tmp_path: Path) -> None:
    data = (Path(__file__).parent / "data" / "journal_v1.sqlite").read_bytes()
    (tmp_path / "journal.sqlite").write_bytes(data)
    for _ in range(2):
        journal = Journal(tmp_path)
        jobs = {job.number: job for job in journal.jobs()}
        assert [jobs[n].state.value for n in range(1, 8)] == [
            "SUCCEEDED", "FAILED", "CANCELLED", "RUNNING", "RUNNING", "QUEUED", "QUEUED",
        ]  # fmt: skip
        assert {job.tenant for job in jobs.values()} == {"local"}
        first = journal.by_request_id("first")
        assert first
        assert [file.path for file in journal.files(first)] == ["one/0000.txt", "two.bin"]
        assert [event.seq for event in journal.events(first)] == [1, 2, 3, 4, 5, 6]
        assert first.result == {"metadata": {"registered_frames": [0, 1, 2]}, "timings": {"solve": 1.5}}
        assert (jobs[5].cancel_asked, jobs[7].priority) == (True, 90)
        following = journal.next_queued()
        assert following
        assert following.priority == 90
        assert not journal._db.execute("PRAGMA foreign_key_check").fetchall()
        journal.close()


def test_deleting_in_a_journal_of_the_first_version_takes_events_along(tmp_path: Path) -> None:
    data = (Path(__file__).parent / "data" / "journal_v1.sqlite").read_bytes()
    (tmp_path / "journal.sqlite").write_bytes(data)
    journal = Journal(tmp_path)
    first = journal.by_request_id("first")
    assert first
    journal.delete(first)
    assert journal.events(first) == []
    assert journal.files(first) == []
    journal.close()

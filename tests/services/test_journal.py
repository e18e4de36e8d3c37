"""The journal: one file, one opener, monotone events, one end per job."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.errors import InternalError, NotFound, Unavailable
from services.jobs.journal import Journal, ResultFile, State


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()


def _file(path: str, sha256: str = "00") -> ResultFile:
    return ResultFile(path, sha256, 3, "k" * 64, path)


def test_higher_priority_first_then_older(journal: Journal) -> None:
    names = [journal.add("insert", b"", None, priority).name for priority in (10, 50, 50, 90)]
    order = []
    while job := journal.next_queued():
        order.append(job.name)
        journal.start(job)
    assert order == [names[3], names[1], names[2], names[0]]


def test_everything_is_there_when_opened_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    job = journal.add("insert", b"\x00request", "id", 50)
    job = journal.start(job)
    journal.progress(job, "solve", 3, 10, 0.3, b"jpeg")
    journal.deliver(job, [_file("a"), _file("b")])
    job = journal.finish(job, State.FAILED, error={"reason": "NOT_FOUND", "message": "no"})
    events = journal.events(job)
    journal.close()
    journal = Journal(tmp_path)
    assert journal.job(job.name) == job
    assert journal.events(job) == events
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert (events[2].stage, events[2].done, events[2].total, events[2].preview) == ("solve", 3, 10, b"jpeg")
    assert [file.path for file in events[3].files] == ["a", "b"]
    assert (events[4].state, events[4].stage, events[4].delivered) == (State.FAILED, "solve", 2)
    assert journal.by_request_id("id") == job
    with pytest.raises(sqlite3.IntegrityError):
        journal.add("insert", b"", "id", 50)
    journal.close()


def test_the_fraction_never_decreases(journal: Journal) -> None:
    job = journal.start(journal.add("insert", b"", None, 50))
    for fraction in (0.5, 0.2, 0.7):
        journal.progress(job, "s", 0, 0, fraction)
    assert [event.fraction for event in journal.events(job, 2)] == [0.5, 0.5, 0.7]


def test_a_job_ends_once(journal: Journal) -> None:
    job = journal.start(journal.add("insert", b"", None, 50))
    journal.finish(job, State.SUCCEEDED, result={"x": 1})
    with pytest.raises(InternalError, match="already ended"):
        journal.finish(job, State.FAILED)
    assert journal.job(job.name).result == {"x": 1}
    assert journal.last_event(job).fraction == 1


def test_files_and_warnings_of_an_earlier_attempt_are_not_told_again(journal: Journal) -> None:
    job = journal.start(journal.add("insert", b"", None, 50))
    for _ in range(2):
        journal.warn(job, "careful")
        journal.deliver(job, [_file("a")])
    journal.deliver(job, [_file("a", "11"), _file("b")])
    events = journal.events(job, 2)
    assert [(event.warning, event.delivered) for event in events] == [("careful", 0), ("", 1), ("", 2)]
    assert [(file.path, file.sha256) for file in journal.files(job)] == [("a", "11"), ("b", "00")]


def test_deleting_a_job_takes_its_events_and_files_along(journal: Journal) -> None:
    job = journal.start(journal.add("insert", b"", None, 50))
    journal.deliver(job, [_file("a")])
    journal.delete(job)
    assert journal.events(job) == []
    assert journal.files(job) == []
    with pytest.raises(NotFound):
        journal.job(job.name)


def test_only_attempts_that_the_worker_ended_count(journal: Journal) -> None:
    job = journal.start(journal.add("insert", b"", None, 50))
    assert journal.requeue(job, count_attempt=False).attempts == 0
    job = journal.start(job)
    assert journal.requeue(job, count_attempt=True).attempts == 1


def test_another_schema_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as db:
        db.execute("UPDATE meta SET schema_version = 99")
    db.close()
    with pytest.raises(Unavailable, match="expected schema 2, got 99"):
        Journal(tmp_path)


def test_a_locked_database_is_a_typed_error_and_goes_on_when_mended(journal: Journal, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        journal.add("insert", b"", None, 50)
    other.execute("ROLLBACK")
    other.close()
    assert journal.add("insert", b"", None, 50).state is State.QUEUED

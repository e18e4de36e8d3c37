"""The journal: requests, states, events and results of jobs, in one SQLite file that one server process opens.

Write-ahead log with ``synchronous=NORMAL``: a killed process loses nothing; a power cut may lose the last moments,
never consistency. All calls come from one thread and are short. A journal of an earlier schema is brought up to date
when it is opened.
"""

from __future__ import annotations

import enum
import json
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.artifacts.locks import exclusive_now
from services.artifacts.store import typed_disk_errors
from services.errors import InternalError, NotFound, ResourceExhausted, Unavailable
from services.failpoints import failpoint
from services.identity import LOCAL

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (schema_version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    request_id TEXT,
    kind TEXT NOT NULL,
    request BLOB NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    result TEXT,
    created_s REAL NOT NULL,
    started_s REAL,
    ended_s REAL,
    tenant TEXT NOT NULL DEFAULT 'local',
    not_before_s REAL NOT NULL DEFAULT 0,
    paused INTEGER NOT NULL DEFAULT 0,
    pinned INTEGER NOT NULL DEFAULT 0,
    frugal INTEGER NOT NULL DEFAULT 0,
    deleting INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, request_id)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, tenant, priority DESC, number);
CREATE TABLE IF NOT EXISTS paused_tenants (tenant TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    time_s REAL NOT NULL,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    done INTEGER NOT NULL,
    total INTEGER NOT NULL,
    fraction REAL NOT NULL,
    warning TEXT NOT NULL,
    preview BLOB NOT NULL,
    delivered INTEGER NOT NULL,
    PRIMARY KEY (job, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    path TEXT NOT NULL,
    seq INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    key TEXT NOT NULL,
    file TEXT NOT NULL,
    PRIMARY KEY (job, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_seq ON files (job, seq);
"""
# What makes way for the present tables; rows are copied by the names of their columns. Keyed by the schema they are of.
_OUTDATED: dict[int, tuple[str, ...]] = {1: ("jobs",)}

_BEFORE_THE_FIRST = {"seq": 0, "stage": "", "done": 0, "total": 0, "fraction": 0.0, "delivered": 0}


class State(enum.Enum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


@dataclass(frozen=True)
class Job:
    """A row of the journal; times are seconds since the epoch. ``error`` is ``services.errors.as_data``.

    ``not_before_s``: it waits at least until then. ``frugal``: it has run out of memory once. ``deleting``: it has
    ended, and only what it left is still to be removed.
    """

    number: int
    name: str
    request_id: str | None
    kind: str
    request: bytes
    priority: int
    state: State
    attempts: int
    cancel_asked: bool
    error: Mapping[str, str] | None
    result: Mapping[str, Any] | None
    created_s: float
    started_s: float | None
    ended_s: float | None
    tenant: str = LOCAL
    not_before_s: float = 0.0
    paused: bool = False
    pinned: bool = False
    frugal: bool = False
    deleting: bool = False

    @property
    def owner(self) -> str:
        """How it is called in the store."""
        return self.name.replace("/", "-")


@dataclass(frozen=True)
class ResultFile:
    """A delivered file: ``path`` in the job's output is ``file`` of the store's output ``key``."""

    path: str
    sha256: str
    size_bytes: int
    key: str
    file: str


@dataclass(frozen=True)
class Event:
    """``delivered`` counts the files of the result so far; ``files`` are those that this event adds."""

    seq: int
    time_s: float
    state: State
    stage: str = ""
    done: int = 0
    total: int = 0
    fraction: float = 0.0
    warning: str = ""
    preview: bytes = b""
    delivered: int = 0
    files: tuple[ResultFile, ...] = ()


class Journal:
    """Opens, or makes, the journal in ``folder``; raises ``Unavailable`` when another server has it open."""

    def __init__(self, folder: Path) -> None:
        self._held = ExitStack()
        with typed_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            alone = self._held.enter_context(exclusive_now(folder / "journal.lock"))
        if not alone:
            raise Unavailable(f"the journal in {folder} is in use by another server")
        with _typed_errors():
            self._db = sqlite3.connect(folder / "journal.sqlite", isolation_level=None, timeout=2.0)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._migrate()
            self._db.execute("PRAGMA foreign_keys=ON")

    def close(self) -> None:
        self._db.close()
        self._held.close()

    def add(
        self, kind: str, request: bytes, request_id: str | None, priority: int, tenant: str = LOCAL
    ) -> Job:
        """A new job, queued; no two of a tenant have the same ``request_id``."""
        with self._transaction("add"):
            name = f"jobs/{uuid.uuid4().hex[:16]}"
            cursor = self._db.execute(
                "INSERT INTO jobs (name, request_id, kind, request, priority, state, created_s, tenant)"
                " VALUES (?,?,?,?,?,?,?,?)",
                (name, request_id, kind, request, priority, State.QUEUED.value, time.time(), tenant),
            )
            self._add_event(int(cursor.lastrowid or 0), State.QUEUED)
            return self.job(name)

    def by_request_id(self, request_id: str, tenant: str = LOCAL) -> Job | None:
        with _typed_errors():
            row = self._row("SELECT * FROM jobs WHERE tenant = ? AND request_id = ?", tenant, request_id)
            return _job(row) if row else None

    def job(self, name: str) -> Job:
        with _typed_errors():
            if row := self._row("SELECT * FROM jobs WHERE name = ?", name):
                return _job(row)
        raise NotFound(f"there is no job {name}")

    def of_owner(self, owner: str) -> Job | None:
        """The job that is called so in the store, if it is one of this journal."""
        try:
            return self.job(owner.replace("-", "/", 1))
        except NotFound:
            return None

    def jobs(
        self, state: State | None = None, before: int | None = None, limit: int = -1, tenant: str | None = None
    ) -> list[Job]:
        """Newest first; ``before`` is a job's number; None = of all tenants."""
        where: list[tuple[str, Any]] = [("number < ?", before)] if before is not None else []
        where += [("state = ?", state.value)] if state else []
        where += [("tenant = ?", tenant)] if tenant is not None else []
        clause = "WHERE " + " AND ".join(text for text, _ in where) if where else ""
        with _typed_errors():
            rows = self._db.execute(
                f"SELECT * FROM jobs {clause} ORDER BY number DESC LIMIT ?", (*(value for _, value in where), limit)
            )
            return [_job(row) for row in rows]

    def next_queued(self, tenant: str = LOCAL) -> Job | None:
        """Of what may start now, the highest priority first, then the oldest."""
        query = f"SELECT * FROM jobs WHERE {_MAY_START} AND tenant = ? ORDER BY priority DESC, number LIMIT 1"
        with _typed_errors():
            row = self._row(query, time.time(), tenant)
            return _job(row) if row else None

    def waiting_tenants(self) -> set[str]:
        """Those with a job that may start now."""
        query = f"SELECT DISTINCT tenant FROM jobs WHERE {_MAY_START} AND tenant NOT IN paused_tenants"
        with _typed_errors():
            return {row["tenant"] for row in self._db.execute(query, (time.time(),))}

    def next_time_s(self) -> float | None:
        """When the next job that has to wait a while may start."""
        query = "SELECT MIN(not_before_s) FROM jobs WHERE state = 'QUEUED' AND not paused AND not_before_s > ?"
        with _typed_errors():
            time_s: float | None = self._db.execute(query, (time.time(),)).fetchone()[0]
            return time_s

    def counts(self) -> dict[tuple[str, str], int]:
        """How many jobs there are, by tenant and state."""
        with _typed_errors():
            rows = self._db.execute("SELECT tenant, state, COUNT(*) FROM jobs GROUP BY tenant, state")
            return {(row[0], row[1]): int(row[2]) for row in rows}

    def ended_since(self, time_s: float) -> list[tuple[str, str, float, float]]:
        """Kind, state, seconds since the last start (0 = never started) and end of the jobs that ended after then."""
        query = "SELECT kind, state, ended_s - COALESCE(started_s, ended_s), ended_s FROM jobs WHERE ended_s > ?"
        with _typed_errors():
            return [tuple(row) for row in self._db.execute(query, (time_s,))]

    def count(self, state: State, tenant: str | None = None) -> int:
        query = "SELECT COUNT(*) FROM jobs WHERE state = ? AND tenant = COALESCE(?, tenant)"
        with _typed_errors():
            return int(self._db.execute(query, (state.value, tenant)).fetchone()[0])

    def start(self, job: Job) -> Job:
        return self._set_state(
            "start", job, State.RUNNING, "attempts = attempts + 1, started_s = COALESCE(started_s, ?)", time.time()
        )

    def requeue(self, job: Job, *, count_attempt: bool, not_before_s: float = 0.0, frugal: bool = False) -> Job:
        """Put a running job back; an attempt that the server's own end cut short does not count."""
        assignments = "attempts = attempts - ?, not_before_s = ?, frugal = frugal OR ?"
        return self._set_state(
            "requeue", job, State.QUEUED, assignments, 0 if count_attempt else 1, not_before_s, frugal
        )

    def finish(self, job: Job, state: State, *, result: Any = None, error: Mapping[str, str] | None = None) -> Job:
        """A second final state is refused: a job ends once."""
        if self.job(job.name).state.is_final:
            raise InternalError(f"{job.name} has already ended")
        values = (json.dumps(result) if result is not None else None, json.dumps(error) if error else None, time.time())
        return self._set_state("finish", job, state, "result = ?, error = ?, ended_s = ?", *values)

    def ask_cancel(self, job: Job) -> None:
        with self._transaction("ask_cancel"):
            self._db.execute("UPDATE jobs SET cancel_asked = 1 WHERE number = ?", (job.number,))

    def change(
        self, job: Job, *, priority: int | None = None, paused: bool | None = None, pinned: bool | None = None,
        deleting: bool | None = None,
    ) -> Job:
        """None = as it is."""
        given = {"priority": priority, "paused": paused, "pinned": pinned, "deleting": deleting}
        assignments = ", ".join(f"{name} = COALESCE(:{name}, {name})" for name in given)
        with self._transaction("change"):
            self._db.execute(f"UPDATE jobs SET {assignments} WHERE number = :number", given | {"number": job.number})
            return self.job(job.name)

    def pause_tenant(self, tenant: str, paused: bool) -> None:
        pause, resume = "INSERT OR IGNORE INTO paused_tenants VALUES (?)", "DELETE FROM paused_tenants WHERE tenant = ?"
        with self._transaction("change"):
            self._db.execute(pause if paused else resume, (tenant,))

    def is_paused(self, tenant: str) -> bool:
        with _typed_errors():
            return self._row("SELECT 1 FROM paused_tenants WHERE tenant = ?", tenant) is not None

    def ended_before(self, time_s: float) -> list[Job]:
        """Oldest first, without those that are pinned."""
        with _typed_errors():
            rows = self._db.execute("SELECT * FROM jobs WHERE ended_s < ? AND NOT pinned ORDER BY number", (time_s,))
            return [_job(row) for row in rows]

    def mentions(self, word: str) -> bool:
        """Whether a request contains it."""
        with _typed_errors():
            return self._row("SELECT 1 FROM jobs WHERE instr(request, ?)", word.encode()) is not None

    def half_deleted(self) -> list[Job]:
        with _typed_errors():
            return [_job(row) for row in self._db.execute("SELECT * FROM jobs WHERE deleting")]

    def delete(self, job: Job) -> None:
        with self._transaction("delete"):
            self._db.execute("DELETE FROM jobs WHERE number = ?", (job.number,))

    def progress(self, job: Job, stage: str, done: int, total: int, fraction: float, preview: bytes = b"") -> None:
        with self._transaction("progress"):
            self._add_event(
                job.number, job.state, stage=stage, done=done, total=total, fraction=fraction, preview=preview
            )

    def warn(self, job: Job, message: str) -> None:
        """A job that is tried again says the same again: once is enough."""
        with self._transaction("warn"):
            if not self._row("SELECT 1 FROM events WHERE job = ? AND warning = ?", job.number, message):
                self._add_event(job.number, job.state, warning=message)

    def deliver(self, job: Job, files: Sequence[ResultFile]) -> None:
        """Files that are new to the job, in one event; those of an earlier attempt are known already."""
        with self._transaction("deliver"):
            known = dict(self._db.execute("SELECT path, sha256 FROM files WHERE job = ?", (job.number,)).fetchall())
            fresh = [file for file in files if known.get(file.path) != file.sha256]
            if not fresh:
                return
            more = sum(file.path not in known for file in fresh)
            seq = self._add_event(job.number, job.state, delivered=more)
            self._db.executemany(
                "INSERT OR REPLACE INTO files (job, seq, path, sha256, size_bytes, key, file) VALUES (?,?,?,?,?,?,?)",
                [(job.number, seq, f.path, f.sha256, f.size_bytes, f.key, f.file) for f in fresh],
            )

    def events(self, job: Job, after_seq: int = 0, limit: int = 500) -> list[Event]:
        with _typed_errors():
            rows = self._db.execute(
                "SELECT * FROM events WHERE job = ? AND seq > ? ORDER BY seq LIMIT ?", (job.number, after_seq, limit)
            ).fetchall()
            return [self._event(row) for row in rows]

    def last_event(self, job: Job) -> Event:
        with _typed_errors():
            row = self._row("SELECT * FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1", job.number)
            assert row is not None, "every job has the event of its creation"
            return self._event(row)

    def files(self, job: Job) -> list[ResultFile]:
        """Ordered by path."""
        with _typed_errors():
            rows = self._db.execute("SELECT * FROM files WHERE job = ? ORDER BY path", (job.number,))
            return [_result_file(row) for row in rows]

    def file(self, job: Job, path: str) -> ResultFile:
        with _typed_errors():
            if row := self._row("SELECT * FROM files WHERE job = ? AND path = ?", job.number, path):
                return _result_file(row)
        raise NotFound(f"the result of {job.name} has no file {path}")

    def warnings(self, job: Job) -> list[str]:
        query = "SELECT warning FROM events WHERE job = ? AND warning != '' ORDER BY seq"
        with _typed_errors():
            return [row["warning"] for row in self._db.execute(query, (job.number,))]

    def _set_state(self, name: str, job: Job, state: State, assignments: str, *values: Any) -> Job:
        with self._transaction(name):
            self._db.execute(
                f"UPDATE jobs SET state = ?, {assignments} WHERE number = ?", (state.value, *values, job.number)
            )
            fraction = 1.0 if state is State.SUCCEEDED else None
            self._add_event(job.number, state, fraction=fraction)
            return self.job(job.name)

    def _add_event(
        self,
        job: int,
        state: State,
        *,
        stage: str | None = None,
        done: int | None = None,
        total: int | None = None,
        fraction: float | None = None,
        warning: str = "",
        preview: bytes = b"",
        delivered: int = 0,
    ) -> int:
        """What is None stays as it was; the fraction never decreases."""
        last = self._row("SELECT * FROM events WHERE job = ? ORDER BY seq DESC LIMIT 1", job)
        was: dict[str, Any] = dict(last) if last else _BEFORE_THE_FIRST
        values = (
            was["stage"] if stage is None else stage,
            was["done"] if done is None else done,
            was["total"] if total is None else total,
            max(was["fraction"], fraction or 0.0),
        )
        seq = int(was["seq"]) + 1
        self._db.execute(
            "INSERT INTO events (job, seq, time_s, state, stage, done, total, fraction, warning, preview, delivered)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (job, seq, time.time(), state.value, *values, warning, preview, was["delivered"] + delivered),
        )
        return seq

    def _event(self, row: sqlite3.Row) -> Event:
        files = self._db.execute("SELECT * FROM files WHERE job = ? AND seq = ?", (row["job"], row["seq"]))
        values = {name: row[name] for name in row.keys() if name not in ("job", "state")}  # noqa: SIM118 (a Row)
        return Event(**values, state=State(row["state"]), files=tuple(_result_file(f) for f in files))

    def _row(self, query: str, *values: Any) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(query, values).fetchone()
        return row

    @contextmanager
    def _transaction(self, name: str) -> Iterator[None]:
        with _typed_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                failpoint(f"journal.{name}.written")
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            failpoint(f"journal.{name}.committed")

    def _migrate(self) -> None:
        """Make the tables that are missing, and bring an earlier schema's up to date: all of it or nothing."""
        self._db.execute("PRAGMA legacy_alter_table=ON")  # other tables go on referring to the name
        self._db.execute("BEGIN IMMEDIATE")
        try:
            version = self._schema_version()
            if version not in (SCHEMA_VERSION, *_OUTDATED):
                raise Unavailable(f"journal: expected schema {SCHEMA_VERSION}, got {version}")
            outdated = _OUTDATED.get(version, ())
            for table in outdated:
                self._db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
                self._db.execute(f"DROP INDEX IF EXISTS {table}_by_state")
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._db.execute(statement)
            for table in outdated:
                columns = ", ".join(row["name"] for row in self._db.execute(f"PRAGMA table_info(old_{table})"))
                self._db.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM old_{table}")
                self._db.execute(f"DROP TABLE old_{table}")
            self._db.execute("DELETE FROM meta")
            self._db.execute("INSERT INTO meta VALUES (?)", (SCHEMA_VERSION,))
            failpoint("journal.migrate")
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _schema_version(self) -> int:
        """That of a new file is ours."""
        if self._row("SELECT 1 FROM sqlite_master WHERE name = 'meta'") is None:
            return SCHEMA_VERSION
        row = self._row("SELECT schema_version FROM meta")
        return int(row["schema_version"]) if row else SCHEMA_VERSION


_FLAGS = ("cancel_asked", "paused", "pinned", "frugal", "deleting")
_MAY_START = "state = 'QUEUED' AND NOT paused AND not_before_s <= ?"


def _job(row: sqlite3.Row) -> Job:
    values = dict(row) | {name: bool(row[name]) for name in _FLAGS}
    values["state"] = State(row["state"])
    for name in ("error", "result"):
        values[name] = json.loads(row[name]) if row[name] else None
    return Job(**values)


def _result_file(row: sqlite3.Row) -> ResultFile:
    return ResultFile(row["path"], row["sha256"], row["size_bytes"], row["key"], row["file"])


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise ResourceExhausted("the disk of the journal is full") from error
        raise Unavailable(f"the journal cannot be used: {error}") from error

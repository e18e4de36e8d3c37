"""The journal: requests, states, events and results of jobs, in one SQLite file that one server process opens.

Write-ahead log with ``synchronous=NORMAL``: a killed process loses nothing; a power cut may lose the last moments,
never consistency. All calls come from one thread and are short.
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

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (schema_version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    request_id TEXT UNIQUE,
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
    ended_s REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, priority DESC, number);
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
    """A row of the journal; times are seconds since the epoch. ``error`` is ``services.errors.as_data``."""

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
            self._db.execute("PRAGMA foreign_keys=ON")
            self._migrate()

    def close(self) -> None:
        self._db.close()
        self._held.close()

    def add(self, kind: str, request: bytes, request_id: str | None, priority: int) -> Job:
        """A new job, queued; no two have the same ``request_id``."""
        with self._transaction():
            name = f"jobs/{uuid.uuid4().hex[:16]}"
            cursor = self._db.execute(
                "INSERT INTO jobs (name, request_id, kind, request, priority, state, created_s) VALUES (?,?,?,?,?,?,?)",
                (name, request_id, kind, request, priority, State.QUEUED.value, time.time()),
            )
            self._add_event(int(cursor.lastrowid or 0), State.QUEUED)
            return self.job(name)

    def by_request_id(self, request_id: str) -> Job | None:
        with _typed_errors():
            row = self._row("SELECT * FROM jobs WHERE request_id = ?", request_id)
            return _job(row) if row else None

    def job(self, name: str) -> Job:
        with _typed_errors():
            if row := self._row("SELECT * FROM jobs WHERE name = ?", name):
                return _job(row)
        raise NotFound(f"there is no job {name}")

    def jobs(self, state: State | None = None, before: int | None = None, limit: int = -1) -> list[Job]:
        """Newest first; ``before`` is a job's number."""
        where: list[tuple[str, Any]] = [("number < ?", before)] if before is not None else []
        where += [("state = ?", state.value)] if state else []
        clause = "WHERE " + " AND ".join(text for text, _ in where) if where else ""
        with _typed_errors():
            rows = self._db.execute(
                f"SELECT * FROM jobs {clause} ORDER BY number DESC LIMIT ?", (*(value for _, value in where), limit)
            )
            return [_job(row) for row in rows]

    def next_queued(self) -> Job | None:
        """Highest priority first, then oldest."""
        query = "SELECT * FROM jobs WHERE state = 'QUEUED' ORDER BY priority DESC, number LIMIT 1"
        with _typed_errors():
            row = self._row(query)
            return _job(row) if row else None

    def queue_length(self) -> int:
        with _typed_errors():
            return int(self._db.execute("SELECT COUNT(*) FROM jobs WHERE state = 'QUEUED'").fetchone()[0])

    def start(self, job: Job) -> Job:
        return self._set_state(
            job, State.RUNNING, "attempts = attempts + 1, started_s = COALESCE(started_s, ?)", time.time()
        )

    def requeue(self, job: Job, *, count_attempt: bool) -> Job:
        """Put a running job back; an attempt that the server's own end cut short does not count."""
        return self._set_state(job, State.QUEUED, "attempts = attempts - ?", 0 if count_attempt else 1)

    def finish(self, job: Job, state: State, *, result: Any = None, error: Mapping[str, str] | None = None) -> Job:
        """A second final state is refused: a job ends once."""
        if self.job(job.name).state.is_final:
            raise InternalError(f"{job.name} has already ended")
        values = (json.dumps(result) if result is not None else None, json.dumps(error) if error else None, time.time())
        return self._set_state(job, state, "result = ?, error = ?, ended_s = ?", *values)

    def ask_cancel(self, job: Job) -> None:
        with self._transaction():
            self._db.execute("UPDATE jobs SET cancel_asked = 1 WHERE number = ?", (job.number,))

    def delete(self, job: Job) -> None:
        with self._transaction():
            self._db.execute("DELETE FROM jobs WHERE number = ?", (job.number,))

    def progress(self, job: Job, stage: str, done: int, total: int, fraction: float, preview: bytes = b"") -> None:
        with self._transaction():
            self._add_event(
                job.number, job.state, stage=stage, done=done, total=total, fraction=fraction, preview=preview
            )

    def warn(self, job: Job, message: str) -> None:
        """A job that is tried again says the same again: once is enough."""
        with self._transaction():
            if not self._row("SELECT 1 FROM events WHERE job = ? AND warning = ?", job.number, message):
                self._add_event(job.number, job.state, warning=message)

    def deliver(self, job: Job, files: Sequence[ResultFile]) -> None:
        """Files that are new to the job, in one event; those of an earlier attempt are known already."""
        with self._transaction():
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

    def _set_state(self, job: Job, state: State, assignments: str, *values: Any) -> Job:
        with self._transaction():
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
    def _transaction(self) -> Iterator[None]:
        with _typed_errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _migrate(self) -> None:
        self._db.executescript(_SCHEMA)
        row = self._row("SELECT schema_version FROM meta")
        if row is None:
            self._db.execute("INSERT INTO meta VALUES (?)", (SCHEMA_VERSION,))
        elif row["schema_version"] != SCHEMA_VERSION:
            raise Unavailable(f"journal: expected schema {SCHEMA_VERSION}, got {row['schema_version']}")


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    values["state"] = State(row["state"])
    values["cancel_asked"] = bool(row["cancel_asked"])
    for name in ("error", "result"):
        values[name] = json.loads(row[name]) if row[name] else None
    return Job(**values)


def _result_file(row: sqlite3.Row) -> ResultFile:
    return ResultFile(row["path"], row["sha256"], row["size_bytes"], row["key"], row["file"])


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise ResourceExhausted("the disk of the journal is full") from error
        raise Unavailable(f"the journal cannot be used: {error}") from error

"""What a job tells: events, files and summaries as plain dataclasses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from backlot._errors import BacklotError, InternalError, from_status
from backlot.v1 import jobs_pb2, previs_pb2


class JobState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class ResultFile:
    path: str  # below the output folder, with forward slashes
    size_bytes: int
    sha256: str

    @classmethod
    def from_proto(cls, file: jobs_pb2.ResultFile) -> ResultFile:
        return cls(file.relative_path, file.size_bytes, file.sha256)


@dataclass(frozen=True)
class Event:
    """Something that happened to a job; ``error`` is set when it failed or was cancelled."""

    seq: int
    time: datetime
    state: JobState
    stage: str
    done: int
    total: int
    fraction: float
    preview: bytes  # an encoded picture, or nothing
    warning: str
    files: tuple[ResultFile, ...]
    asset_id: str  # holds ``files``
    error: BacklotError | None

    @classmethod
    def from_proto(cls, event: jobs_pb2.JobEvent) -> Event:
        return cls(
            seq=event.seq,
            time=_utc(event.time),
            state=_state(event.state),
            stage=event.stage,
            done=event.done,
            total=event.total,
            fraction=event.fraction,
            preview=event.preview.data,
            warning=event.warning,
            files=tuple(map(ResultFile.from_proto, event.files)),
            asset_id=event.result_asset_id,
            error=from_status(event.error) if event.HasField("error") else None,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data for a line of JSON; without the preview's bytes."""
        return {
            "seq": self.seq,
            "time": self.time.isoformat(),
            "state": self.state.value,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "fraction": self.fraction,
            "warning": self.warning,
            "files": [file.path for file in self.files],
            "error": error_as_json(self.error) if self.error else None,
        }


def checked(last: Event) -> Event:
    """The last event of a job that succeeded; raises its error otherwise."""
    if last.state is JobState.SUCCEEDED:
        return last
    raise last.error or InternalError(f"the job ended as {last.state.value} without saying why")


def error_as_json(error: BacklotError) -> dict[str, str]:
    return {"type": type(error).__name__, "reason": error.reason, "field": error.field, "message": str(error)}


@dataclass(frozen=True)
class JobSummary:
    """A job in a list."""

    name: str
    kind: str
    state: JobState
    stage: str
    fraction: float
    created: datetime
    error: BacklotError | None
    priority: int
    paused: bool
    pinned: bool

    @classmethod
    def from_proto(cls, job: jobs_pb2.Job) -> JobSummary:
        return cls(
            name=job.name,
            kind=job.metadata.kind,
            state=_state(job.metadata.state),
            stage=job.metadata.stage,
            fraction=job.metadata.fraction,
            created=_utc(job.metadata.create_time),
            error=from_status(job.error) if job.HasField("error") else None,
            priority=job.metadata.priority,
            paused=job.metadata.paused,
            pinned=job.metadata.pinned,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state.value,
            "stage": self.stage,
            "fraction": self.fraction,
            "created": self.created.isoformat(),
            "error": error_as_json(self.error) if self.error else None,
            "priority": self.priority,
            "paused": self.paused,
            "pinned": self.pinned,
        }


@dataclass(frozen=True)
class QueueSummary:
    """One's own jobs together: whether further ones are held back, how many wait and run."""

    paused: bool
    queued: int
    running: int

    @classmethod
    def from_proto(cls, queue: jobs_pb2.Queue) -> QueueSummary:
        return cls(queue.paused, queue.queued, queue.running)


@dataclass(frozen=True)
class Anchor:
    """An anchor that a job has made; ``path`` lies below its output folder."""

    frame: int
    path: str
    source: str  # painted or given
    redo: int

    @classmethod
    def from_proto(cls, anchor: previs_pb2.Anchor) -> Anchor:
        source = previs_pb2.AnchorSource.Name(anchor.source).removeprefix("ANCHOR_SOURCE_").lower()
        return cls(anchor.frame, anchor.relative_path, source, anchor.redo)


def _state(number: int) -> JobState:
    return JobState(jobs_pb2.JobState.Name(number).removeprefix("JOB_STATE_").lower())


def _utc(time: Timestamp) -> datetime:
    return time.ToDatetime(tzinfo=timezone.utc)

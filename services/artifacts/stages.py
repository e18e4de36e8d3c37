"""The wrapper around stages: key, look-up, run, keep; with progress, cancellation and results as messages.

Messages (plain JSON data) go to ``emit``:

    {"kind": "progress", "stage", "done", "total", "fraction", "preview"?}   preview = base64 of a JPEG
    {"kind": "warning", "message"}
    {"kind": "chunks", "count"}   stages follow that do not need each other: helpers are welcome
    {"kind": "files", "files": [{"path", "sha256", "size_bytes", "key", "file"}]}   at most FILES_PER_MESSAGE
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.artifacts.keys import stage_key
from services.artifacts.store import Store, StoredFile
from services.config import Settings
from services.errors import Cancelled
from services.log import bound
from services.pipelines.context import Artifact, StageFunction

log = logging.getLogger(__name__)

FILES_PER_MESSAGE = 1000
EVENT_INTERVAL_S = 0.2
PREVIEW_INTERVAL_S = 1.0
PREVIEW_SIDE_PX = 320

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class _Progress:
    """Where a stage lies in the job: it begins at ``start`` and takes ``share`` of the whole."""

    label: str
    start: float
    share: float


class HelpDone(Exception):
    """A helper has nothing more to do."""


class JobContext:
    """The ``Context`` of one job in one worker. Outputs it has seen stay in the store while it lives; with an ``owner``
    until the owner releases them. ``helper``: 0 = the one that runs the job; those that help it count from 1.

    ``salt`` sets the job's stages apart from everybody else's, so that all are computed anew; it must be the same when
    the same job is tried again. The ``weight`` of all stages of a job together is 1.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        emit: Emit,
        is_cancelled: Callable[[], bool] = lambda: False,
        salt: str = "",
        owner: str = "",
        helper: int = 0,
    ) -> None:
        self.settings = settings
        self._store, self._emit, self._is_cancelled, self._salt = store, emit, is_cancelled, salt
        self._timings: dict[str, float] = {}
        self._helper = helper
        self._user = store.holder(owner) if owner else store.user()
        self._delivered: dict[str, str] = {}
        self._finished_weight = 0.0

    @property
    def timings(self) -> dict[str, float]:
        return dict(self._timings)

    def stage(
        self,
        function: StageFunction,
        *,
        config: Any,
        inputs: Mapping[str, Artifact | str],
        label: str | None = None,
        weight: float = 1.0,
        **live: Any,
    ) -> Artifact:
        artifacts = {name: value for name, value in inputs.items() if isinstance(value, Artifact)}
        key = self._key(function, config, inputs)
        label = label or function.__name__.replace("_", " ")
        progress = _Progress(label, self._finished_weight, weight)

        report = _Reporter(self, progress)

        def write(out: Path) -> None:
            with bound(stage=label):
                log.info("stage begins", extra={"key": key})
                function(out=out, config=config, report=report, **artifacts, **live)

        self._check()
        self._send_progress(progress, 0, 0)
        self._user.use(key)
        begun = time.monotonic()
        artifact, was_there = self._store.produce(key, write, self._check)
        seconds = 0.0 if was_there else time.monotonic() - begun
        log.info("stage is there", extra={"stage": label, "key": key, "seconds": seconds, "hit": was_there})
        self._timings[label] = self._timings.get(label, 0.0) + seconds
        self._finished_weight += weight
        self._send_progress(progress, report.total, report.total)
        return artifact

    def chunks(
        self,
        function: StageFunction,
        *,
        configs: Sequence[Any],
        inputs: Mapping[str, Artifact | str],
        label: str | None = None,
        weight: float = 1.0,
        **live: Any,
    ) -> Iterator[Artifact]:
        """A helper begins elsewhere in the list, leaves out what others are at, and is done when nothing is left."""
        keys = [self._key(function, config, inputs) for config in configs]
        wanted = sum(map(self._store.is_wanted, keys)) if len(keys) > 1 else 0
        if wanted and not self._helper:
            self._emit({"kind": "chunks", "count": wanted})
        share: dict[str, Any] = {"inputs": inputs, "label": label, "weight": weight / max(1, len(keys)), **live}
        if wanted and self._helper:
            begin = len(keys) * self._helper // (self._helper + 1)
            for index in (*range(begin, len(keys)), *range(begin)):
                if self._store.is_wanted(keys[index]):
                    self.stage(function, config=configs[index], **share)
            raise HelpDone
        for config in configs:
            yield self.stage(function, config=config, **share)

    def deliver(self, artifact: Artifact, under: str = "") -> None:
        key = artifact.path.name
        files = [self._result_file(key, under, file) for file in self._store.files(key)]
        for begin in range(0, len(files), FILES_PER_MESSAGE):
            self._emit({"kind": "files", "files": files[begin : begin + FILES_PER_MESSAGE]})

    def warn(self, message: str) -> None:
        log.warning(message)
        self._emit({"kind": "warning", "message": message})

    def close(self) -> None:
        """Let go of the outputs."""
        self._user.close()

    def _key(self, function: StageFunction, config: Any, inputs: Mapping[str, Artifact | str]) -> str:
        digests = {name: value.digest if isinstance(value, Artifact) else value for name, value in inputs.items()}
        return stage_key(function, config, digests, self._salt)

    def _result_file(self, key: str, under: str, file: StoredFile) -> dict[str, Any]:
        path = f"{under.strip('/')}/{file.path}".lstrip("/")
        if self._delivered.setdefault(path, file.sha256) != file.sha256:
            raise ValueError(f"deliver: expected each output file once, got two different {path}")
        return {"path": path, "sha256": file.sha256, "size_bytes": file.size_bytes, "key": key, "file": file.path}

    def _check(self) -> None:
        if self._is_cancelled():
            raise Cancelled("the job was cancelled")

    def _send_progress(self, at: _Progress, done: int, total: int, preview: np.ndarray | None = None) -> None:
        fraction = min(1.0, at.start + at.share * (done / total if total else 0.0))
        message = {"kind": "progress", "stage": at.label, "done": done, "total": total, "fraction": fraction}
        if preview is not None:
            message["preview"] = base64.b64encode(thumbnail(preview)).decode()
        self._emit(message)


class _Reporter:
    """The ``report`` of one stage: checks for cancellation at every call, sends few of them on."""

    def __init__(self, context: JobContext, progress: _Progress) -> None:
        self._context, self._progress = context, progress
        self._next_event = self._next_preview = 0.0
        self.total = 1

    def __call__(self, done: int, total: int, preview: np.ndarray | None = None) -> None:
        self._context._check()
        self.total = max(1, total)
        now = time.monotonic()
        if now < self._next_event:
            return
        if preview is not None and now < self._next_preview:
            preview = None
        self._context._send_progress(self._progress, done, total, preview)
        self._next_event = now + EVENT_INTERVAL_S
        if preview is not None:
            self._next_preview = now + PREVIEW_INTERVAL_S


def thumbnail(picture: np.ndarray) -> bytes:
    """JPEG of an (H, W, 3) uint8 sRGB picture, at most ``PREVIEW_SIDE_PX`` on its longer side."""
    import cv2

    scale = PREVIEW_SIDE_PX / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return jpeg(picture, quality=80)


def jpeg(picture: np.ndarray, quality: int) -> bytes:
    """An (H, W, 3) uint8 sRGB picture, encoded."""
    import cv2

    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"preview: expected (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    encoded, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError("preview: OpenCV could not encode it")
    return bytes(data)

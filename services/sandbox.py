"""Uploaded media is opened first in a process of its own, with little memory and little time: ``services.inspection``.

A file that crashes its reader, swells or never ends is an ``InvalidRequest`` for whoever handed it in, and the next one
gets a new process. What was read once is not read again: complete uploads do not change.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.artifacts.assets import AssetStore
from services.errors import InternalError, InvalidRequest, from_data
from services.executors.base import Message
from services.executors.process import WorkerProcess, frame

START_S = 300.0  # the first import after an installation is slow
TIME_S = 30.0  # of the reader's CPU time: a busy machine refuses nothing
PATIENCE_S = 120.0  # by the clock: a file may also make its reader wait
BYTES_PER_S = 50 * 2**20  # a large file may take longer: its index is read from end to end
# What a field of a request expects; OTHER is known by its file.
CAMERAS, BLOCKOUT, SCENE, MASKS, OTHER = "cameras", "blockout", "scene", "masks", "other"
_KINDS = {"cameras_file": CAMERAS, "shot.scene": BLOCKOUT, "scene_dir": SCENE, "holdout": MASKS}
_KNOWN = 10_000  # inspections remembered


@dataclass(frozen=True)
class Inspection:
    """``kind`` is one of the above; ``home`` is the folder that files which the file names must not leave."""

    path: Path
    kind: str
    field: str
    home: Path


class Sandbox:
    """One process, started when it is first needed; files are read one after another."""

    def __init__(self, folder: Path, assets: AssetStore) -> None:
        self._log_file, self._temp, self._assets = folder / "logs" / "inspection.log", folder / "tmp", assets
        self._worker: WorkerProcess | None = None
        self._passed: dict[Inspection, None] = {}
        self._one_at_a_time = asyncio.Lock()

    async def check(self, request: Any, field: str = "") -> None:
        """Every upload that a request names. Raises ``InvalidRequest`` that names the field, below ``field``."""
        for named, path in _paths(request, field):
            if path.is_relative_to(self._assets.root):
                await self.inspect(Inspection(path, _kind(named), named, self._assets.home(path)))

    async def inspect(self, wanted: Inspection) -> None:
        async with self._one_at_a_time:
            if wanted in self._passed:
                return
            await asyncio.shield(asyncio.ensure_future(self._inspect(wanted)))
            self._passed[wanted] = None
            if len(self._passed) > _KNOWN:
                del self._passed[next(iter(self._passed))]

    @property
    def pid(self) -> int | None:
        return self._worker.pid if self._worker else None

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._end()

    async def _inspect(self, wanted: Inspection) -> None:
        worker = self._worker = self._worker or await self._started()
        size_bytes = wanted.path.stat().st_size if wanted.path.is_file() else 0
        worker.send(frame(wanted))
        try:
            message = await _answer(worker, size_bytes / BYTES_PER_S)
        except TimeoutError:
            await self._end()
            raise InvalidRequest(wanted.field, f"media that is read within {TIME_S:g} s", wanted.path.name) from None
        if message is None:
            await self._end()
            raise InvalidRequest(wanted.field, "media that can be read", f"{wanted.path.name}, which ends its reader")
        if message["kind"] == "error":
            raise from_data(message["error"])

    async def _started(self) -> WorkerProcess:
        worker = await WorkerProcess.spawn("services.inspection", self._log_file, self._temp / uuid.uuid4().hex)
        async with asyncio.timeout(START_S):
            if await worker.message() is None:
                await worker.end()
                raise InternalError(f"the inspection of media does not start (log: {self._log_file})")
        return worker

    async def _end(self) -> None:
        if self._worker is not None:
            await self._worker.end()
            self._worker = None


async def _answer(worker: WorkerProcess, extra_s: float) -> Message | None:
    """Raises ``TimeoutError`` when it takes too long."""
    cpu_end_s = _cpu_s(worker.pid) + TIME_S + extra_s
    end_s = time.monotonic() + PATIENCE_S + extra_s
    reading = asyncio.ensure_future(worker.message())
    try:
        while not (await asyncio.wait([reading], timeout=1.0))[0]:
            if time.monotonic() > end_s or _cpu_s(worker.pid) > cpu_end_s:
                raise TimeoutError
        return reading.result()
    finally:
        reading.cancel()


def _cpu_s(pid: int) -> float:
    """User and system time that a process has used (proc(5), fields 14 and 15)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it has ended: its channel says so
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _paths(value: Any, field: str = "") -> Iterator[tuple[str, Path]]:
    """Absolute paths among the texts of a request, with the names of their fields."""
    if isinstance(value, str):
        if value.startswith("/"):
            yield field, Path(value)
    elif dataclasses.is_dataclass(value):
        for part in dataclasses.fields(value):
            yield from _paths(getattr(value, part.name), f"{field}.{part.name}" if field else part.name)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _paths(item, f"{field}[{i}]")


def _kind(field: str) -> str:
    return next((kind for name, kind in _KINDS.items() if field.endswith(name)), OTHER)

"""Short calls answered by a warm helper process, outside the server's: a crash there is one failed call here.

The helper keeps what it has loaded (a scene, a compiled renderer) between calls.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.config import Config
from services.errors import Unavailable, from_data
from services.executors.process import WorkerProcess, frame
from services.pipelines.requests import Clip, InsertedObject

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class PreviewSpec:
    """What to draw: ``object`` in source frame ``frame`` (None = the object's own), ``width_px`` wide (None = free)."""

    scene_dir: str
    clip: Clip
    object: InsertedObject
    frame: int | None = None
    width_px: int | None = None


@dataclass(frozen=True)
class Call:
    """``name`` is one of the registry's ``CALLS``."""

    registry: str
    name: str
    arguments: tuple[Any, ...]
    log_file: str


class Helper:
    """One process, started at the first call; calls are answered one after another."""

    def __init__(self, config: Config, folder: Path, name: str) -> None:
        self._config, self._name = config, name
        self._log_file, self._temp = folder / "logs" / f"{name}.log", folder / "tmp"
        self._worker: WorkerProcess | None = None
        self._one_at_a_time = asyncio.Lock()

    async def call(self, name: str, *arguments: Any) -> Any:
        """The function's value. Raises ``BacklotError`` as it did, or ``Unavailable`` when the helper died or hung.

        A caller who goes away does not disturb the helper: it finishes the call for nobody.
        """
        return await asyncio.shield(asyncio.create_task(self._call(name, arguments)))

    async def close(self) -> None:
        async with self._one_at_a_time:
            await self._end()

    async def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        async with self._one_at_a_time:
            if self._worker is None:
                temp = self._temp / uuid.uuid4().hex
                self._worker = await WorkerProcess.spawn("services.executors.calls", self._log_file, temp)
            self._worker.send(frame(Call(self._config.server.registry, name, arguments, str(self._log_file))))
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    message = await self._worker.message()
            except TimeoutError:
                message = None
            if message is None:
                await self._end()
                raise Unavailable(f"the {self._name} process died or hung (log: {self._log_file})")
        if message["kind"] == "error":
            raise from_data(message["error"])
        return message["value"]

    async def _end(self) -> None:
        if self._worker is not None:
            await self._worker.end()
            self._worker = None

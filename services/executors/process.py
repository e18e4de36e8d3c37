"""A spawned worker process and the channel to it.

The worker leads a session and process group of its own, so that whatever it starts ends with it, and a Ctrl-C in the
server's terminal does not reach it. The channel is a socket pair: down go bytes, up come JSON lines. The worker kills
its group when the channel closes, so it does not outlive the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from services.config import ROOT
from services.executors.base import Message

CANCEL = b"C"  # the only byte that follows a task
LINE_LIMIT_BYTES = 32 * 2**20
_LENGTH = struct.Struct(">Q")


def frame(value: Any) -> bytes:
    """A value for the worker: only the server speaks this way, and only downwards."""
    data = pickle.dumps(value)
    return _LENGTH.pack(len(data)) + data


def read_frame(channel: socket.socket) -> Any:
    """The next value from the server; raises ``EOFError`` when it has gone."""
    (length,) = _LENGTH.unpack(_read_exactly(channel, _LENGTH.size))
    return pickle.loads(_read_exactly(channel, length))


def _read_exactly(channel: socket.socket, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        part = channel.recv(min(length - len(data), 2**20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


class WorkerProcess:
    """``python -m module --fd N``; its log goes to ``log_file``, its temporary files below ``temp``."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        temp: Path,
    ) -> None:
        self._process, self._reader, self._writer, self._temp = process, reader, writer, temp

    @classmethod
    async def spawn(cls, module: str, log_file: Path, temp: Path) -> WorkerProcess:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        temp.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        try:
            with theirs, open(log_file, "ab") as log:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", module, "--fd", str(theirs.fileno()),
                    cwd=ROOT, env=os.environ | {"TMPDIR": str(temp)}, pass_fds=(theirs.fileno(),),
                    stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_LIMIT_BYTES)
        except BaseException:
            ours.close()
            raise
        return cls(process, reader, writer, temp)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def message(self) -> Message | None:
        """The next one; None when the worker has closed its end, or died while writing."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def signal(self, number: signal.Signals) -> None:
        """To the worker and all it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def exit_status(self) -> int:
        return await self._process.wait()

    async def end(self) -> None:
        """Leave nothing behind: no process, no descriptor, no temporary file."""
        self.signal(signal.SIGKILL)
        await self._process.wait()
        self.signal(signal.SIGKILL)  # what it started in its last moment
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        await asyncio.to_thread(shutil.rmtree, self._temp, ignore_errors=True)

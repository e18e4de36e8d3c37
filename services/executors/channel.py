"""A worker's end of the channel to its server; see ``services.executors.process`` for the other end."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from services.artifacts.store import typed_disk_errors
from services.errors import BacklotError, InternalError, OutOfMemory, as_data
from services.executors.base import Message
from services.executors.process import CANCEL, read_frame

log = logging.getLogger(__name__)


class Channel:
    """Frames come down, messages go up. Sending is safe from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._sending = connection, threading.Lock()
        self.cancelled = threading.Event()

    @classmethod
    def from_arguments(cls) -> Channel:
        parser = argparse.ArgumentParser()
        parser.add_argument("--fd", type=int, required=True)
        connection = socket.socket(fileno=parser.parse_args().fd)
        connection.set_inheritable(False)
        return cls(connection)

    def receive(self) -> Any:
        """The next frame; ends the process, and what it has started, when the server has gone."""
        try:
            return read_frame(self._connection)
        except (EOFError, ConnectionError):
            end_group()

    def send(self, message: Message) -> None:
        line = json.dumps(message).encode() + b"\n"
        with self._sending:
            self._connection.sendall(line)

    def listen(self) -> None:
        """From now on no frames come, only the wish to stop, or the server's end."""
        threading.Thread(target=self._listen, name="channel", daemon=True).start()

    def _listen(self) -> None:
        try:
            while self._connection.recv(1) == CANCEL:
                self.cancelled.set()
        except ConnectionError:
            pass
        end_group()


def end_group() -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    raise SystemExit  # not reached


def leave() -> NoReturn:
    """End at once: the answer is sent, and renderers' and codecs' own ends are known to crash now and then."""
    logging.shutdown()
    os._exit(0)


def resolve(reference: str) -> Callable[..., Any]:
    """``package.module:name`` as the function it names."""
    module, _, name = reference.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def answer(call: Callable[[], Message], log_file: str) -> Message:
    """What ``call`` returns, or what went wrong in it, as a message."""
    error: BacklotError
    try:
        with typed_disk_errors(Path(tempfile.gettempdir())):
            return call()
    except BacklotError as typed:
        error = typed
    except MemoryError:
        log.exception("out of memory")
        error = OutOfMemory("the job needs more memory than there is")
    except Exception as unexpected:
        log.exception("the call failed")
        error = InternalError(f"{type(unexpected).__name__}: {unexpected} (log: {log_file})")
    return {"kind": "error", "error": as_data(error)}

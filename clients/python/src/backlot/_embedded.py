"""A server for one call: started from the application's root, gone with its parent.

The server process writes the address it has bound to a pipe when it is ready, and exits when its standard input closes,
which happens also when this process dies.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backlot._client import Client
from backlot._errors import ServerNotFound, Unavailable

START_S = 120.0  # the first start after an installation compiles every module
STOP_S = 20.0


@dataclass(frozen=True)
class Application:
    """Where the server's code lies and the Python that has its dependencies."""

    root: Path
    python: Path

    def command(self, module: str, *arguments: str) -> list[str]:
        return [str(self.python), "-m", module, *arguments]


def find_application() -> Application:
    """``BACKLOT_ROOT`` names the application's folder; else ``make install`` has recorded it beside this Python."""
    named = os.environ.get("BACKLOT_ROOT", "")
    record = Path(sys.prefix, "share", "backlot", "root")
    if not named and not record.is_file():
        raise ServerNotFound(
            "no server here: run `make install` in Backlot's folder, set BACKLOT_ROOT to it, or name a running server"
        )
    root = Path(named or record.read_text(encoding="utf-8").strip())
    if not (root / "services" / "server.py").is_file():
        source = "BACKLOT_ROOT" if named else str(record)
        raise ServerNotFound(f"{source}: expected Backlot's folder, got {root}")
    own = root / ".venv" / "bin" / "python"
    return Application(root, own if named and own.is_file() else Path(sys.executable))


def default_store() -> Path:
    """``BACKLOT_STORE``, or a folder in the user's cache: finished stages of all jobs."""
    if named := os.environ.get("BACKLOT_STORE"):
        return Path(named)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "backlot" / "store"


class EmbeddedServer:
    """A running server of one's own. ``target`` is its address, ``log`` the file that it writes to."""

    def __init__(self, process: subprocess.Popen[bytes], target: str, log: Path) -> None:
        self._process = process
        self.target = target
        self.log = log

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def connect(self) -> Client:
        """A client that names its files in place."""
        return Client(self.target, shares_files=True, patience_s=5.0)


@contextlib.contextmanager
def embedded_server(config: str = "cpu", *, store: str | os.PathLike[str] | None = None) -> Iterator[EmbeddedServer]:
    """Starts a server with a private journal and the shared content store; stops it at the end.

    Raises ``ServerNotFound`` when there is no application to start, and ``Unavailable`` with the server's last words
    when it does not come up.
    """
    application = find_application()
    with tempfile.TemporaryDirectory(prefix="backlot-", ignore_cleanup_errors=True) as private:
        log = Path(private, "server.log")
        process, ready = _start(application, config, Path(private), Path(store or default_store()), log)
        try:
            yield EmbeddedServer(process, _await_address(process, ready, log), log)
        finally:
            os.close(ready)
            _stop(process)


def _start(
    application: Application, config: str, private: Path, store: Path, log: Path
) -> tuple[subprocess.Popen[bytes], int]:
    ready, write_end = os.pipe()
    command = application.command(
        "services.server",
        "--embedded",
        *("--config", config),
        *("--journal", str(private / "journal")),
        *("--store", str(store.absolute())),
        *("--listen", f"unix:{private / 'server.sock'}"),
        *("--ready-fd", str(write_end)),
    )
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=application.root,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            pass_fds=[write_end],
            start_new_session=True,  # Ctrl-C is ours: the server must live on to cancel the job properly
        )
    os.close(write_end)
    return process, ready


def _await_address(process: subprocess.Popen[bytes], ready: int, log: Path) -> str:
    deadline, line = time.monotonic() + START_S, b""
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([ready], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(ready, 4096) if readable else b""
        if not chunk:
            state = "did not come up in time" if not readable else "stopped before it was ready"
            raise Unavailable(f"the server {state}:\n{last_words(log)}")
        line += chunk
    return line.decode().strip()


def last_words(log: Path, lines: int = 20) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _stop(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

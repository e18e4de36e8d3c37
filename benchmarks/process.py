"""Run a command and watch it: when each line of JSON came, how much memory any of its processes ever held."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POLL_S = 0.25


@dataclass(frozen=True)
class Run:
    """A finished command. ``peak_bytes`` is the largest resident set of any single process it started."""

    returncode: int
    seconds: float
    peak_bytes: int
    events: tuple[tuple[float, dict[str, Any]], ...] = field(default=())  # seconds since the start, line of JSON
    errors: str = ""

    def first(self, **wanted: Any) -> float | None:
        """When the first event with these values came."""
        return next((t for t, e in self.events if all(e.get(k) == v for k, v in wanted.items())), None)

    def first_with_file(self, prefix: str) -> float | None:
        """When the first event came that announces a file below ``prefix``."""
        return next((t for t, e in self.events if any(f.startswith(prefix) for f in e.get("files") or ())), None)


def run(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None) -> Run:
    """Run to the end. Lines of standard output that are no JSON objects are left out of ``events``."""
    start = time.monotonic()
    events: list[tuple[float, dict[str, Any]]] = []
    errors: list[str] = []
    peak = 0
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(environment or {})}, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        readers = [
            threading.Thread(target=_collect, args=(process.stdout, events, start)),
            threading.Thread(target=errors.extend, args=(process.stderr,)),
        ]
        for reader in readers:
            reader.start()
        while process.poll() is None:
            peak = max(peak, peak_of_tree(process.pid))
            time.sleep(POLL_S)
        seconds = time.monotonic() - start
        for reader in readers:
            reader.join()
    return Run(process.returncode, seconds, peak, tuple(events), "".join(errors))


def _collect(lines: Any, events: list[tuple[float, dict[str, Any]]], start: float) -> None:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append((time.monotonic() - start, event))


def peak_of_tree(pid: int) -> int:
    """Largest high-water mark (bytes) among a process and all its living descendants; Linux only."""
    children: dict[int, list[int]] = {}
    marks: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "status").read_text()
        except OSError:  # it ended meanwhile
            continue
        values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        children.setdefault(int(values["PPid"]), []).append(int(folder.name))
        marks[int(folder.name)] = int(values.get("VmHWM", "0 kB").split()[0]) * 1024
    tree, waiting = [], [pid]
    while waiting:
        tree.append(waiting.pop())
        waiting += children.get(tree[-1], [])
    return max((marks.get(p, 0) for p in tree), default=0)

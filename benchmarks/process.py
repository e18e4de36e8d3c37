"""Run a command and watch it: when each line of JSON came, how much memory any of its processes ever held."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def run_job(
    word: str, arguments: Sequence[str], out: Path, *, cwd: Path, threads: int | None = None
) -> Run:
    """``backlot WORD ... --out OUT --json`` on a store beside ``out``, not the user's own.

    ``threads``: pinned to so many processors, and told to use no more. Raises ``RuntimeError`` with its messages when
    it fails.
    """
    command = [str(Path(sys.executable).with_name("backlot")), word, *arguments, "--out", str(out), "--json"]
    environment = {"BACKLOT_STORE": str(out.parent / "store")}
    if threads is not None:
        command = ["taskset", "-c", ",".join(map(str, range(threads))), *command]
        variables = ("OMP_NUM_THREADS", "BACKLOT_RENDER_THREADS", "NUMBA_NUM_THREADS")
        environment |= dict.fromkeys(variables, str(threads))
    done = run(command, cwd=cwd, environment=environment)
    if done.returncode != 0:
        raise RuntimeError(f"backlot {word}: exit code {done.returncode}\n{done.errors[-3000:]}")
    return done


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

"""Places where a test can end this process, or have a step fail, to see what survives. Off unless they are named.

    BACKLOT_FAILPOINTS="store.rename journal.finish.written@2 store.write=ENOSPC"
    BACKLOT_FAILPOINTS_FOLDER=DIR     where a point that fires leaves a file of its name; it does not fire again

``@N`` fires at the N-th time that a process gets there; ``=ERRNO`` raises that ``OSError`` instead of SIGKILL.
"""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TRANSACTIONS = (
    "add", "start", "requeue", "finish", "ask_cancel", "change", "delete", "progress", "warn", "deliver",
)  # fmt: skip
POINTS = (
    *(f"journal.{name}.{moment}" for name in TRANSACTIONS for moment in ("written", "committed")),
    "journal.migrate",
    "runner.submit", "runner.attempt", "runner.result",
    "worker.begin", "worker.result",
    "store.stage", "store.write", "store.manifest", "store.rename", "store.link", "store.clean",
    "store.use", "store.release", "store.pin", "store.unpin",
    "gc.begin", "gc.uses", "gc.leftover", "gc.manifest", "gc.files", "gc.lock",
    "upload.index", "upload.data", "upload.commit", "upload.done",
)  # fmt: skip


@dataclass(frozen=True)
class _Armed:
    time: int  # of getting there: 1 is the first
    errno: int | None  # None = SIGKILL


def _parse(text: str) -> dict[str, _Armed]:
    armed = {}
    for word in text.split():
        place, _, error = word.partition("=")
        name, _, time = place.partition("@")
        if name not in POINTS:
            raise ValueError(f"BACKLOT_FAILPOINTS: expected one of {' '.join(POINTS)}, got {name}")
        armed[name] = _Armed(int(time or 1), getattr(errno, error) if error else None)
    return armed


def arm(text: str, folder: Path) -> None:
    """As the variables of the environment do it."""
    armed, passed = _parse(text), Counter[str]()

    def hit(name: str) -> None:
        point = armed.get(name)
        if point is None:
            return
        passed[name] += 1
        if passed[name] == point.time and _is_first(folder / name):
            if point.errno is None:
                os.kill(os.getpid(), signal.SIGKILL)
            else:
                raise OSError(point.errno, os.strerror(point.errno))

    global _hit
    _hit = hit


def failpoint(name: str) -> None:
    """One of ``POINTS``."""
    if _hit is not None:
        _hit(name)


def _is_first(mark: Path) -> bool:
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


_hit: Callable[[str], None] | None = None
if "BACKLOT_FAILPOINTS" in os.environ:
    arm(os.environ["BACKLOT_FAILPOINTS"], Path(os.environ["BACKLOT_FAILPOINTS_FOLDER"]))

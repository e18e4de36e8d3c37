"""Stages that take no time and do as they are told; they note in a folder that they ran.

A module of their own, so that their code's fingerprint covers little.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np

from services.errors import Unavailable, Unsolvable
from services.pipelines.context import Artifact, Report


def first(*, out: Path, config: tuple[str, int, int], report: Report, notes: Path) -> None:
    note(notes, "first", out)
    text, steps, files = config
    for step in range(steps):
        report(step, steps, np.full((40, 60, 3), step, np.uint8))
    for number in range(files):
        (out / f"{number:04d}.txt").write_text(text)


def second(*, out: Path, config: tuple[str], report: Report, one: Artifact, notes: Path) -> None:
    note(notes, "second", out)
    what = config[0]
    if what == "die" or (what == "die once" and runs(notes, "second") == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "unsolvable":
        raise Unsolvable("the camera does not move", "film it again")
    if (what == "later" and runs(notes, "second") == 1) or what == "never":
        raise Unavailable("the licence server does not answer")
    if what == "bug":
        raise ZeroDivisionError("one over nothing")
    if what == "memory":
        raise MemoryError
    if what == "disk":
        raise OSError(errno.ENOSPC, "No space left on device")
    while what == "wait" and not (notes / "go").exists():
        report(1, 2)
        time.sleep(0.01)
    if what == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (notes / "deaf").touch()
        time.sleep(60)
    (out / "two.bin").write_bytes((one.path / "0000.txt").read_bytes() * 1000)


def chunk(*, out: Path, config: tuple[str, int, float], report: Report, one: Artifact, notes: Path) -> None:
    note(notes, "chunk", out)
    text, number, seconds = config
    time.sleep(seconds)
    (out / f"{number:04d}.chunk").write_text(f"{text} {number}")


def note(notes: Path, stage: str, out: Path) -> None:
    """``again.runs`` is for stages that run although their output is there."""
    if (out.parents[1] / "stages" / out.name[:2] / out.name / "manifest.json").exists():
        stage = "again"
    with (notes / f"{stage}.runs").open("a") as stream:
        stream.write(f"{os.getpid()}\n")


def runs(notes: Path, stage: str) -> int:
    path = notes / f"{stage}.runs"
    return len(path.read_text().splitlines()) if path.exists() else 0

"""A SIGKILL at any step of journal, store, runner, worker and upload loses and doubles nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services import failpoints
from services.config import ROOT

MOMENTS = ("written", "committed")
PLACED = re.compile(r'failpoint\("([\w.]+)"\)')


def _kills(folder: Path, *numbers: int) -> int:
    command = [sys.executable, "-m", "tests.services.kill_campaign", str(folder), *map(str, numbers)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return int(done.stdout)


PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_a_kill_at_every_failpoint(tmp_path: Path, part: int) -> None:
    assert _kills(tmp_path, 0, 1, part, PARTS) == len(failpoints.POINTS[part::PARTS]) >= 5


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("first", range(1, 50, 7))
def test_kills_at_every_failpoint_fifty_times_in_all(tmp_path: Path, first: int) -> None:
    assert _kills(tmp_path, first, first + 7) == 7 * len(failpoints.POINTS)


def test_every_failpoint_is_placed_once() -> None:
    sources = [path.read_text() for path in (ROOT / "services").rglob("*.py")]
    placed = sorted(name for text in sources for name in PLACED.findall(text))
    in_transactions = {f"journal.{name}.{moment}" for name in failpoints.TRANSACTIONS for moment in MOMENTS}
    assert placed == sorted(set(failpoints.POINTS) - in_transactions)
    transactions = {name for text in sources for name in re.findall(r'_transaction\("(\w+)"\)', text)}
    transactions |= {name for text in sources for name in re.findall(r'self\._set_state\(\s*"(\w+)"', text)}
    assert transactions == set(failpoints.TRANSACTIONS)


def test_a_point_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected one of .*store\.rename.*, got store\.nowhere"):
        failpoints.arm("store.nowhere", tmp_path)

"""Commands are timed, listened to and weighed."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.process import run

CHILD = "x = bytearray(150_000_000); import time; time.sleep(1.2)"
PARENT = f"""
import json, subprocess, sys, time
print(json.dumps({{"stage": "one", "files": []}}), flush=True)
print("no json", flush=True)
subprocess.run([sys.executable, "-c", {CHILD!r}])
print(json.dumps({{"stage": "two", "files": ["composite/0000.png"]}}), flush=True)
print("a remark", file=sys.stderr)
sys.exit(3)
"""


def test_run_reports_events_memory_of_children_and_the_exit_code(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", PARENT], cwd=tmp_path)
    assert done.returncode == 3
    assert done.errors == "a remark\n"
    assert [event["stage"] for _, event in done.events] == ["one", "two"]
    first, file = done.first(stage="one"), done.first_with_file("composite/")
    assert first is not None
    assert file is not None
    assert first < file - 1.0 < done.seconds
    assert done.first(stage="three") is None
    assert 150e6 < done.peak_bytes < 400e6

"""The store survives a SIGKILL at every one of its steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from services.config import ROOT


def test_a_kill_at_any_step_leaves_complete_outputs_or_none(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.services.kill_points", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20

"""Memory that a process has freed is used again, not fetched anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from services.config import ROOT

# 200 times three megabytes in a thread, where messages are taken in: 600 MiB, or 153,600 pages, in all.
COMES_AND_GOES = """
import resource, threading
from services.memory import keep_freed_memory
keep_freed_memory()
def work():
    for _ in range(200):
        [bytes(2**20) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_pages_are_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", COMES_AND_GOES], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 10_000

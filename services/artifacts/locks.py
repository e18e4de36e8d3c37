"""Advisory file locks that the kernel frees when their holder dies, so that none can go stale."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.05


@contextmanager
def exclusive(path: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold ``path`` alone, among threads and processes; ``check`` is called while waiting and may raise."""
    while (held := _try_lock(path)) is None:
        check()
        time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(held)


@contextmanager
def exclusive_now(path: Path) -> Iterator[bool]:
    """As ``exclusive``, but yields False at once when somebody else holds ``path``."""
    held = _try_lock(path)
    try:
        yield held is not None
    finally:
        if held is not None:
            os.close(held)


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock, or None. Its holder may unlink the file, so look whether it is still there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None

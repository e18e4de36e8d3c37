"""sha256 of files' bytes, remembered for as long as path, size and modification time stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path


def file_digest(path: Path) -> str:
    """Hex sha256 of one file's bytes."""
    stat = path.stat()
    return _digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns)


def files_digest(paths: Sequence[Path]) -> str:
    """Hex sha256 over several files in order; of one file it is that file's own."""
    if len(paths) == 1:
        return file_digest(paths[0])
    return hashlib.sha256("".join(file_digest(path) for path in paths).encode()).hexdigest()


@lru_cache(maxsize=65536)
def _digest(path: str, size_bytes: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

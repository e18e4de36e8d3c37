"""Result files on their way to disk: written beside their place, checked, then moved there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from types import TracebackType

from backlot._errors import CorruptFile
from backlot._events import ResultFile
from backlot._uploads import sha256_of
from backlot.v1 import media_pb2


class Sink:
    """Takes one file's chunks in order; ``offset`` is where to go on after a broken stream.

    Used as a context manager: what is not committed by then is removed.
    """

    def __init__(self, out_dir: Path, file: ResultFile) -> None:
        self.file = file
        self.path = place_below(out_dir, file.path)
        self._part = self.path.with_name(self.path.name + ".part")
        self._digest = hashlib.sha256()
        self.offset = 0

    @property
    def present(self) -> bool:
        """Whether the file lies there already, with the same content."""
        return (
            self.path.is_file()
            and self.path.stat().st_size == self.file.size_bytes
            and sha256_of(self.path) == self.file.sha256
        )

    @property
    def complete(self) -> bool:
        return self.offset >= self.file.size_bytes

    def __enter__(self) -> Sink:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self._part.open("wb")
        return self

    def write(self, chunk: media_pb2.DownloadResponse) -> None:
        if chunk.offset != self.offset:
            raise CorruptFile(f"{self.file.path}: expected bytes from {self.offset}, got them from {chunk.offset}")
        self._stream.write(chunk.data)
        self._digest.update(chunk.data)
        self.offset += len(chunk.data)

    def commit(self) -> None:
        """Checks the content and moves the file to its place."""
        self._stream.close()
        if self._digest.hexdigest() != self.file.sha256:
            raise CorruptFile(f"{self.file.path}: expected sha256 {self.file.sha256}, got {self._digest.hexdigest()}")
        os.replace(self._part, self.path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._part.unlink(missing_ok=True)


def place_below(out_dir: Path, relative_path: str) -> Path:
    """Where a result file goes. A server must not write elsewhere: ``..`` and absolute paths are refused."""
    path = PurePosixPath(relative_path)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in relative_path or ":" in relative_path:
        raise CorruptFile(f"file name: expected a path below the output folder, got {relative_path!r}")
    return out_dir.joinpath(*path.parts)

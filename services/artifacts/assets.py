"""Uploaded files, by asset: a folder each; and the one rule for names inside it.

    ASSET/files/PATH        complete: its sha256 was right
    ASSET/parts/PATH        on its way; its length is what has arrived
    ASSET/index/PATH.json   {"sha256", "size_bytes"} of the whole file
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO

from services.artifacts.store import typed_disk_errors
from services.errors import InvalidRequest, NotFound, Unavailable
from services.failpoints import failpoint
from services.identity import LOCAL

RESULT_PREFIX = "result-"  # assets that hold the results of jobs
_ASSET = re.compile(r"[a-z0-9-]{8,80}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class AssetFile:
    path: str
    sha256: str
    size_bytes: int
    received_bytes: int


def checked_path(path: str, field: str = "relative_path") -> str:
    """``path`` when it is a plain relative one, with forward slashes and no way out; else ``InvalidRequest``."""
    parts = path.split("/")
    plain = path and len(path) <= 1024 and "\\" not in path and path.isprintable()
    if not plain or any(part in ("", ".", "..") or len(part.encode()) > 200 for part in parts):
        raise InvalidRequest(field, "a relative path with forward slashes, without . and ..", repr(path))
    return str(PurePosixPath(path))


class AssetStore:
    """The uploads below ``root``; those of each tenant but ``local`` lie in a folder of their own, ``of_TENANT``."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: set[Path] = set()

    @property
    def root(self) -> Path:
        return self._root

    def home(self, path: Path) -> Path:
        """The folder of the asset that ``path``, below ``root``, belongs to."""
        asset = path.relative_to(self._root).parts
        return self._root.joinpath(*asset[: 2 if asset[0].startswith("of_") else 1])

    def idle(self, since_s: float) -> list[Path]:
        """Folders of the assets of all tenants to which nothing has come for so long: ``since_s`` is a file's time."""
        assets = [folder for pattern in ("*/index", "of_*/*/index") for folder in self._root.glob(pattern)]
        return [index.parent for index in assets if _last_change_s(index.parent) < since_s]

    def of(self, tenant: str) -> AssetStore:
        """What one tenant has uploaded: nobody else can name it. No asset is called like that folder."""
        if tenant == LOCAL:
            return self
        theirs = AssetStore(self._root / f"of_{tenant}")
        theirs._open = self._open
        return theirs

    def begin(self, asset: str, path: str, sha256: str, size_bytes: int, offset: int) -> Upload:
        """Go on with a file where it ended; ``offset`` must be that place. Raises ``InvalidRequest`` otherwise."""
        if not _ASSET.fullmatch(asset) or asset.startswith(RESULT_PREFIX):
            raise InvalidRequest("asset_id", f"8 to 80 of a-z 0-9 -, not beginning with {RESULT_PREFIX}", repr(asset))
        if not _SHA256.fullmatch(sha256):
            raise InvalidRequest("sha256", "64 hexadecimal digits in lower case", repr(sha256))
        if size_bytes < 0:
            raise InvalidRequest("total_bytes", ">= 0", size_bytes)
        return Upload(self, self._root / asset, checked_path(path), AssetFile(path, sha256, size_bytes, offset))

    def files(self, asset: str) -> list[AssetFile]:
        """Complete ones and those on their way, ordered by path."""
        index = self.folder(asset) / "index"
        names = sorted(p.relative_to(index).as_posix().removesuffix(".json") for p in index.rglob("*.json"))
        return [file for name in names if (file := _read_index(self._root / asset, name))]

    def file(self, asset: str, path: str) -> tuple[Path, AssetFile]:
        """Where a complete file lies."""
        file = _read_index(self.folder(asset), checked_path(path))
        place = self._root / asset / "files" / path
        if file is None or not place.is_file():
            raise NotFound(f"asset {asset} has no complete file {path}")
        return place, file

    def folder(self, asset: str) -> Path:
        folder = self._root / asset
        if not _ASSET.fullmatch(asset) or not (folder / "index").is_dir():
            raise NotFound(f"there is no asset {asset}")
        return folder

    def path(self, asset: str, path: str) -> Path:
        """A file, folder or pattern inside the asset's complete files."""
        return self.folder(asset) / "files" / (checked_path(path) if path else "")


class Upload:
    """One file on its way: ``write`` in order, then ``finish``. Only one at a time for the same file."""

    def __init__(self, store: AssetStore, folder: Path, path: str, wanted: AssetFile) -> None:
        self._folder, self._path, self._wanted = folder, path, wanted
        self._part = folder / "parts" / path
        self._open = store._open
        self._stream: BinaryIO | None = None
        self._hash = hashlib.sha256()
        known = _read_index(folder, path)
        same = known and (known.sha256, known.size_bytes) == (wanted.sha256, wanted.size_bytes)
        if known and not same and known.received_bytes == known.size_bytes:
            raise InvalidRequest("sha256", f"{known.sha256}: {path} is complete and does not change", wanted.sha256)
        self.received_bytes = known.received_bytes if known and same else 0
        self.is_complete = bool(same and (folder / "files" / path).is_file())
        self.check_offset(wanted.received_bytes)
        if self._part in self._open:
            raise Unavailable(f"another upload of {path} is running")
        if not self.is_complete:
            self._begin()

    def _begin(self) -> None:
        try:
            with typed_disk_errors(self._folder):
                for name in ("parts", "index", "files"):
                    (self._folder / name / self._path).parent.mkdir(parents=True, exist_ok=True)
                index = {"sha256": self._wanted.sha256, "size_bytes": self._wanted.size_bytes}
                _replace(_index(self._folder, self._path), json.dumps(index).encode())
                failpoint("upload.index")
                self._stream = self._part.open("r+b" if self.received_bytes else "w+b")
                self._stream.truncate(self.received_bytes)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            expected = "no file where a folder is, or the other way round"
            raise InvalidRequest("relative_path", expected, self._path) from error
        self._open.add(self._part)
        while block := self._stream.read(2**20):  # what came in an earlier stream
            self._hash.update(block)

    def take(self, offset: int, data: bytes) -> AssetFile:
        """Write what comes at ``offset``, which must be where the file ends so far; how far it is then."""
        self.check_offset(offset)
        self.write(data)
        return self.file

    def check_offset(self, offset: int) -> None:
        if offset != self.received_bytes:
            raise InvalidRequest("offset", f"{self.received_bytes}, the bytes received so far", offset)

    def write(self, data: bytes) -> None:
        if self.received_bytes + len(data) > self._wanted.size_bytes:
            raise InvalidRequest("data", f"{self._wanted.size_bytes} bytes in all", self.received_bytes + len(data))
        if self._stream is not None and data:
            with typed_disk_errors(self._folder):
                self._stream.write(data)
            failpoint("upload.data")
            self._hash.update(data)
            self.received_bytes += len(data)
        if self.received_bytes == self._wanted.size_bytes and not self.is_complete:
            self._complete()

    def _complete(self) -> None:
        assert self._stream is not None
        with typed_disk_errors(self._folder):
            self._stream.flush()
        if self._hash.hexdigest() != self._wanted.sha256:
            self.close()
            self._part.unlink()
            _index(self._folder, self._path).unlink()
            raise InvalidRequest("sha256", self._wanted.sha256, f"{self._hash.hexdigest()} of what was received")
        failpoint("upload.commit")
        os.replace(self._part, self._folder / "files" / self._path)
        failpoint("upload.done")
        self.is_complete = True
        self.close()

    @property
    def file(self) -> AssetFile:
        return AssetFile(self._path, self._wanted.sha256, self._wanted.size_bytes, self.received_bytes)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            self._open.discard(self._part)

    def __enter__(self) -> Upload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _last_change_s(asset: Path) -> float:
    return max(path.stat().st_mtime for part in ("index", "parts") for path in [asset, *(asset / part).rglob("*")])


def _index(folder: Path, path: str) -> Path:
    return folder / "index" / f"{path}.json"


def _read_index(folder: Path, path: str) -> AssetFile | None:
    try:
        entry = json.loads(_index(folder, path).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    done, part = folder / "files" / path, folder / "parts" / path
    size = entry["size_bytes"]
    if done.is_file():
        return AssetFile(path, entry["sha256"], size, size)
    received = part.stat().st_size if part.is_file() else 0
    # A server that died before it had checked the whole lacks the last byte: who sends that one has it checked.
    return AssetFile(path, entry["sha256"], size, max(0, min(received, size - 1)))


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)

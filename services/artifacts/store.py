"""Content-addressed store of stage outputs, shared by any number of processes.

    stages/AB/KEY/...            the files of one output, KEY = 64 hex digits beginning with AB
    stages/AB/KEY/manifest.json  {"files": {path: {"sha256", "size_bytes"}}}; written last: there = complete
    staging/KEY/                 an output on its way
    locks/KEY                    held while the output is computed, or removed
    uses/PROCESS                 keys that a living process uses, one per line; held by it
    holds/OWNER                  keys that a job needs until it ends, one per line; outlives its process
    pins/KEY/OWNER               keeps the output until the owner lets go

The manifest's time of modification is when the output was last asked for.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from services.artifacts.locks import exclusive, exclusive_now
from services.artifacts.remote import Remote
from services.errors import BacklotError, InvalidRequest, NotFound, ResourceExhausted, Unavailable
from services.failpoints import failpoint
from services.pipelines.context import Artifact

MANIFEST = "manifest.json"
_NEW_MANIFEST = "manifest.json.new"
_KEY = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


@dataclass(frozen=True)
class StoredFile:
    """A file of an output; ``path`` is relative, with forward slashes."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Collected:
    """What a garbage collection did."""

    removed: int
    freed_bytes: int
    kept: int
    kept_bytes: int


class Store:
    """``url`` is a folder or a ``file://`` URL; ``cap_bytes`` what ``collect`` shrinks it to; ``remote`` the URL of a
    storage that other machines use, too: what is found there is not computed here, and what is computed goes there."""

    def __init__(self, url: str, cap_bytes: int, remote: str = "") -> None:
        filesystem, path = fsspec.url_to_fs(os.path.expanduser(url) if "://" not in url else url)
        if not isinstance(filesystem, LocalFileSystem):
            raise InvalidRequest("store.url", "a folder or a file:// URL", url)
        self.root, self.cap_bytes = Path(path), cap_bytes
        self._remote = Remote(remote) if remote else None
        with typed_disk_errors(self.root):
            for name in ("stages", "staging", "locks", "uses", "holds", "pins"):
                (self.root / name).mkdir(parents=True, exist_ok=True)

    def find(self, key: str) -> Artifact | None:
        """The complete output of ``key``, or None. Marks it as used now."""
        folder = self._folder(key)
        manifest = folder / MANIFEST
        try:
            data = manifest.read_bytes()
            files = _parse(data)
        except (FileNotFoundError, ValueError):
            return None
        if any(_size_bytes(folder / file.path) != file.size_bytes for file in files):
            return None  # somebody or a power cut damaged it
        with typed_disk_errors(self.root):
            os.utime(manifest)
        return Artifact(hashlib.sha256(data).hexdigest(), folder)

    def produce(
        self, key: str, write: Callable[[Path], None], check: Callable[[], None] = lambda: None
    ) -> tuple[Artifact, bool]:
        """The output of ``key`` and whether it was there; ``write(folder)`` makes it when not.

        Of several processes that want the same key, one computes and the others wait; ``check`` is called meanwhile.
        """
        if found := self.find(key):
            self._share(key)  # who made it may have died before
            return found, True
        with typed_disk_errors(self.root), exclusive(self.root / "locks" / key, check):
            if found := self.find(key):
                return found, True
            staged = self.root / "staging" / key
            shutil.rmtree(staged, ignore_errors=True)  # left by a holder of the lock that died
            staged.mkdir()
            failpoint("store.stage")
            try:
                if self._remote and (data := self._remote.manifest(key)):
                    self._remote.pull(key, [file.path for file in _parse(data)], staged)
                    return self._commit(key, staged, expected=data), True
                write(staged)
                failpoint("store.write")
                artifact = self._commit(key, staged)
                self._share(key)
                return artifact, False
            finally:
                shutil.rmtree(staged, ignore_errors=True)

    def _share(self, key: str) -> None:
        if self._remote:
            self._remote.push(key, [file.path for file in self.files(key)], self._folder(key))

    def is_wanted(self, key: str) -> bool:
        """Whether an output is neither here nor in the remote storage, and nobody on this disk is at it."""
        if self.find(key) or (self._remote and self._remote.manifest(key)):
            return False
        with exclusive_now(self.root / "locks" / key) as is_free:
            return is_free

    def fetch(self, key: str) -> None:
        """Have a complete output here that may be in the remote storage only. Raises ``NotFound``."""

        def write(folder: Path) -> None:
            raise NotFound(f"stage output {key[:12]} is no longer in the store")

        self.produce(key, write)

    def files(self, key: str) -> tuple[StoredFile, ...]:
        try:
            return _parse((self._folder(key) / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise NotFound(f"stage output {key[:12]} is no longer in the store") from None

    def path(self, key: str, file: str) -> Path:
        return self._folder(key) / file

    def user(self) -> User:
        """Keeps outputs from removal while this process lives."""
        with typed_disk_errors(self.root):
            return User(self.root / "uses", self.root / "uses.lock")

    def holder(self, owner: str) -> Holder:
        """Keeps outputs from removal until ``release``, also when this process dies; ``owner`` is a plain file name."""
        return Holder(self.root / "holds" / owner, self.root / "uses.lock")

    def release(self, owner: str) -> None:
        (self.root / "holds" / owner).unlink(missing_ok=True)
        failpoint("store.release")

    def holders(self) -> list[str]:
        return [path.name for path in (self.root / "holds").iterdir()]

    def pin(self, key: str, owner: str) -> None:
        """Keep ``key`` from removal until ``unpin``; ``owner`` is a plain file name."""
        with typed_disk_errors(self.root):
            pin = self.root / "pins" / key / owner
            pin.parent.mkdir(exist_ok=True)
            pin.touch()
        failpoint("store.pin")

    def unpin(self, key: str, owner: str) -> None:
        pin = self.root / "pins" / key / owner
        pin.unlink(missing_ok=True)
        failpoint("store.unpin")
        if pin.parent.exists() and not any(pin.parent.iterdir()):
            pin.parent.rmdir()

    def size_bytes(self) -> int:
        return sum(size for _, _, size in self._outputs())

    def collect(self, cap_bytes: int | None = None) -> Collected:
        """Remove leftovers of dead writers, then what was used longest ago until at most ``cap_bytes`` are left."""
        cap_bytes = self.cap_bytes if cap_bytes is None else cap_bytes
        failpoint("gc.begin")
        self._remove_leftovers()
        outputs = sorted(self._outputs())
        total, removed, freed = sum(size for _, _, size in outputs), 0, 0
        for _, key, size in outputs:
            if total - freed <= cap_bytes:
                break
            if self._remove(key):
                removed, freed = removed + 1, freed + size
        return Collected(removed, freed, len(outputs) - removed, total - freed)

    def _commit(self, key: str, staged: Path, expected: bytes | None = None) -> Artifact:
        files = {
            path.relative_to(staged).as_posix(): {"sha256": sha256_of(path), "size_bytes": path.stat().st_size}
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        }
        if MANIFEST in files:
            raise ValueError(f"stage output: expected no file named {MANIFEST}, got one")
        data = json.dumps({"files": files}, sort_keys=True, indent=1).encode()
        if expected is not None and data != expected:
            raise Unavailable(f"output {key[:12]} has come from the remote storage damaged")
        with open(staged / _NEW_MANIFEST, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        failpoint("store.manifest")
        folder = self._folder(key)
        shutil.rmtree(folder, ignore_errors=True)  # incomplete: a writer died between the next two steps
        folder.parent.mkdir(exist_ok=True)
        os.rename(staged, folder)
        failpoint("store.rename")
        os.link(folder / _NEW_MANIFEST, folder / MANIFEST)  # create-if-absent, and never half of it
        failpoint("store.link")
        (folder / _NEW_MANIFEST).unlink()
        failpoint("store.clean")
        return Artifact(hashlib.sha256(data).hexdigest(), folder)

    def _outputs(self) -> Iterator[tuple[float, str, int]]:
        """(last use, key, bytes) of every complete output."""
        for manifest in self.root.glob(f"stages/??/*/{MANIFEST}"):
            try:
                size = sum(file.size_bytes for file in _parse(manifest.read_bytes()))
                yield manifest.stat().st_mtime, manifest.parent.name, size
            except (FileNotFoundError, ValueError):
                continue  # removed by somebody else meanwhile, or damaged

    def _remove(self, key: str) -> bool:
        pins, lock = self.root / "pins" / key, self.root / "locks" / key
        if pins.exists() and any(pins.iterdir()):
            return False
        with exclusive_now(lock) as unwritten:
            if not unwritten:
                return False
            # Who says that it uses the key before this moment keeps it; who does later finds it gone.
            with exclusive(self.root / "uses.lock"):
                if key in self._used_keys():
                    return False
                (self._folder(key) / MANIFEST).unlink(missing_ok=True)
            failpoint("gc.manifest")
            shutil.rmtree(self._folder(key), ignore_errors=True)
            failpoint("gc.files")
            lock.unlink()
            failpoint("gc.lock")
        return True

    def _used_keys(self) -> set[str]:
        keys = set[str]()
        for uses in [*(self.root / "uses").iterdir(), *(self.root / "holds").iterdir()]:
            with suppress(FileNotFoundError):  # it has ended meanwhile
                keys.update(uses.read_text().split())
        return keys

    def _remove_leftovers(self) -> None:
        for uses in (self.root / "uses").iterdir():
            with exclusive_now(uses) as free:
                if free:
                    uses.unlink()
                    failpoint("gc.uses")
        outputs = (folder for folder in self.root.glob("stages/??/*") if not (folder / MANIFEST).exists())
        for leftover in [*self.root.glob("staging/*"), *outputs]:
            with exclusive_now(self.root / "locks" / leftover.name) as free:
                if free and not (leftover / MANIFEST).exists():
                    shutil.rmtree(leftover, ignore_errors=True)
                    failpoint("gc.leftover")

    def _folder(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"key: expected 64 hexadecimal digits, got {key!r}")
        return self.root / "stages" / key[:2] / key


class Holder:
    """Somebody who needs outputs; see ``Store.holder``."""

    def __init__(self, path: Path, lock: Path) -> None:
        self._path, self._lock, self._keys = path, lock, set[str]()

    def use(self, key: str) -> None:
        """Before looking the key up: from now on it is not removed."""
        if key not in self._keys:
            with typed_disk_errors(self._path.parent), exclusive(self._lock), self._path.open("a") as stream:
                stream.write(f"\n{key}\n")  # what a full disk has left of an earlier line stays by itself
            failpoint("store.use")
            self._keys.add(key)

    def close(self) -> None:
        """The process needs no more; what it has named stays."""


class User(Holder):
    """A process that uses outputs; see ``Store.user``. Ends with ``close``, or with the process."""

    def __init__(self, folder: Path, lock: Path) -> None:
        super().__init__(folder / uuid.uuid4().hex, lock)
        self._held = ExitStack()
        self._held.enter_context(exclusive(self._path))

    def close(self) -> None:
        self._path.unlink(missing_ok=True)
        self._held.close()


def sha256_of(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def typed_disk_errors(place: Path) -> Iterator[None]:
    """A full or unwritable disk as a typed error; everything else as it is."""
    try:
        yield
    except BacklotError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceExhausted(f"the disk of {place} is full") from error
        if error.errno in _UNWRITABLE and _below(error.filename, place):
            raise Unavailable(f"{place} cannot be written: {error.strerror} ({error.filename})") from error
        raise


def _below(path: object, place: Path) -> bool:
    return isinstance(path, str) and Path(path).is_relative_to(place)


def _parse(manifest: bytes) -> tuple[StoredFile, ...]:
    return tuple(StoredFile(path, **entry) for path, entry in json.loads(manifest)["files"].items())


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1

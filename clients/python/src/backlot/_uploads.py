"""Local files as assets: which files belong to an input, and the messages that carry them.

Nothing here talks to a server; the clients send what ``upload_messages`` yields.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from backlot._requests import Input, InputKind
from backlot.v1 import common_pb2, media_pb2

CHUNK_BYTES = 1 << 20
OnUpload = Callable[[int, int], None]  # bytes of the asset that are there, bytes of the asset
_PRINTF = re.compile(r"%0?(\d*)d")


@dataclass(frozen=True)
class LocalFile:
    path: Path
    relative_path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class LocalAsset:
    """Files to upload, and which of them (or which pattern of them) the request means: ``main``, empty = all."""

    files: tuple[LocalFile, ...]
    main: str

    @cached_property
    def asset_id(self) -> str:
        """Made from the content: the same files need no second upload."""
        lines = [f"{file.relative_path}\0{file.size_bytes}\0{file.sha256}\n" for file in self.files]
        return "u-" + hashlib.sha256("".join(lines).encode()).hexdigest()[:40]

    @property
    def place(self) -> common_pb2.MediaPath:
        return common_pb2.MediaPath(asset=common_pb2.AssetPath(asset_id=self.asset_id, relative_path=self.main))

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def in_place(source: Input) -> common_pb2.MediaPath:
    """Names a local file to a server on this machine."""
    return common_pb2.MediaPath(uri=os.path.abspath(source.path))


def local_files(source: Input) -> list[Path]:
    """The files that belong to an input, sorted; empty when there are none."""
    path = Path(os.path.abspath(source.path))
    if source.kind is InputKind.CLIP:
        return _clip_files(path)
    folders = (InputKind.CAMERAS, InputKind.LAYERS)
    if source.kind is InputKind.FOLDER or (source.kind in folders and path.is_dir()):
        return sorted(file for file in path.rglob("*") if file.is_file() and not _hidden(file.relative_to(path)))
    if not path.is_file():
        return []
    return [path] if source.kind is InputKind.FILE else sorted({path, *_references(path)})


def _clip_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        folder, matches = path, re.compile(r"[^.].*")
    else:
        folder, matches = path.parent, _pattern(path.name)
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.is_file() and matches.fullmatch(file.name))


def _pattern(name: str) -> re.Pattern[str]:
    """A file name pattern in printf (frame.%04d.png) or glob (frame.*.png) style; a plain name matches itself."""
    escaped = re.escape(_PRINTF.sub("\0", name)).replace("\0", r"\d+").replace("\\\0", r"\d+")
    return re.compile(escaped.replace(r"\*", ".*").replace(r"\?", "."))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _references(mesh: Path) -> Iterator[Path]:
    """Existing files that a text format names: buffers, materials, textures, sidecars. Binary ones carry theirs."""
    readers = {
        ".gltf": _gltf_names, ".obj": _obj_names, ".mtl": _mtl_names, ".usda": _usda_names, ".chan": _chan_names,
    }
    reader = readers.get(mesh.suffix.lower())
    for name in reader(mesh) if reader else ():
        file = Path(os.path.normpath(mesh.parent / name))
        if file.is_file():
            yield file
            if file != mesh:
                yield from _references(file)


def _gltf_names(mesh: Path) -> Iterator[str]:
    try:
        document = json.loads(mesh.read_text(encoding="utf-8"))
    except ValueError:
        return  # the server says what is wrong with it
    for part in (*document.get("buffers", ()), *document.get("images", ())):
        uri = part.get("uri", "data:")
        if not uri.startswith("data:"):
            yield unquote(uri)


def _obj_names(mesh: Path) -> Iterator[str]:
    with mesh.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith("mtllib "):
                yield line.split(maxsplit=1)[1].strip()


def _mtl_names(mesh: Path) -> Iterator[str]:
    with mesh.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            words = line.split()
            if len(words) > 1 and re.match(r"(map_|bump|disp|decal|norm|refl)", words[0], re.IGNORECASE):
                yield words[-1]


def _usda_names(mesh: Path) -> Iterator[str]:
    for match in re.finditer(r"@([^@\n]+)@", mesh.read_text(encoding="utf-8", errors="replace")):
        yield match.group(1)


def _chan_names(cameras: Path) -> Iterator[str]:
    yield f"{cameras.name}.json"


def scan(source: Input) -> LocalAsset:
    """Reads and hashes the files of an input. Raises ``FileNotFoundError`` when there are none."""
    files = local_files(source)
    if not files:
        raise FileNotFoundError(source.path)
    path = Path(os.path.abspath(source.path))
    root = path if path.is_dir() else Path(os.path.commonpath([file.parent for file in files]))
    main = "" if path == root else path.relative_to(root).as_posix()
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        return LocalAsset(tuple(pool.map(lambda file: _describe(file, root), files)), main)


def _describe(path: Path, root: Path) -> LocalFile:
    return LocalFile(path, path.relative_to(root).as_posix(), path.stat().st_size, sha256_of(path))


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def missing_files(asset: LocalAsset, stored: Iterable[media_pb2.StoredFile]) -> dict[LocalFile, int]:
    """The files that the server does not hold completely, each with the offset to go on from."""
    held = {(file.relative_path, file.sha256): file for file in stored}
    missing = {}
    for file in asset.files:
        known = held.get((file.relative_path, file.sha256))
        if known is None:
            missing[file] = 0
        elif known.received_bytes < file.size_bytes:
            missing[file] = known.received_bytes
    return missing


def upload_messages(
    asset: LocalAsset, missing: Mapping[LocalFile, int], on_upload: OnUpload | None = None
) -> Iterator[media_pb2.UploadRequest]:
    """The chunks of the missing files, each file from its offset on; every message says what it belongs to."""
    there = asset.total_bytes - sum(file.size_bytes - start for file, start in missing.items())
    for file, start in missing.items():
        for offset, data in _chunks(file.path, start):
            yield media_pb2.UploadRequest(
                asset_id=asset.asset_id,
                relative_path=file.relative_path,
                offset=offset,
                data=data,
                total_bytes=file.size_bytes,
                sha256=file.sha256,
            )
            there += len(data)
            if on_upload:
                on_upload(there, asset.total_bytes)


def _chunks(path: Path, offset: int) -> Iterator[tuple[int, bytes]]:
    """At least one chunk, so that an empty file is sent too."""
    with path.open("rb") as stream:
        stream.seek(offset)
        data = stream.read(CHUNK_BYTES)
        yield offset, data
        while data:
            offset += len(data)
            data = stream.read(CHUNK_BYTES)
            if data:
                yield offset, data

"""The second storey of a store: outputs on shared or object storage, for machines that share no disk. By fsspec.

    PREFIX/stages/AB/KEY/...            as in the store on disk; files of one output may come from two machines that
    PREFIX/stages/AB/KEY/manifest.json  computed it at the same time, and are equal then; the first manifest stays

The manifest is written last and created only if absent. Removing old outputs is left to the storage's own rules.
"""

from __future__ import annotations

from pathlib import Path

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from services.errors import Unavailable

MANIFEST = "manifest.json"


class Remote:
    """``url`` as fsspec has it: ``s3://bucket/prefix``, ``file:///mnt/shared``, ... Credentials come from where the
    storage's own library looks for them."""

    def __init__(self, url: str) -> None:
        self._fs, root = url_to_fs(url)
        self._root = root.rstrip("/")

    def manifest(self, key: str) -> bytes | None:
        """Of a complete output."""
        try:
            data: bytes = self._fs.cat_file(f"{self._folder(key)}/{MANIFEST}")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(error) from error
        return data

    def pull(self, key: str, files: list[str], folder: Path) -> None:
        """Copy files of an output into ``folder``."""
        try:
            for file in files:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                self._fs.get_file(f"{self._folder(key)}/{file}", str(folder / file))
        except OSError as error:
            raise self._unavailable(error) from error

    def push(self, key: str, files: list[str], folder: Path) -> None:
        """Copy a complete output out of ``folder``, unless it is there."""
        there = self._folder(key)
        try:
            if self._fs.exists(f"{there}/{MANIFEST}"):
                return
            for file in files:
                self._fs.makedirs(f"{there}/{file}".rpartition("/")[0], exist_ok=True)
                self._fs.put_file(str(folder / file), f"{there}/{file}")
            self._commit(f"{there}/{MANIFEST}", (folder / MANIFEST).read_bytes())
        except OSError as error:
            raise self._unavailable(error) from error

    def _commit(self, path: str, data: bytes) -> None:
        try:
            if isinstance(self._fs, LocalFileSystem):
                with open(path, "xb") as stream:
                    stream.write(data)
            else:
                self._fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            pass  # another machine was first, with the same

    def _folder(self, key: str) -> str:
        return f"{self._root}/stages/{key[:2]}/{key}"

    def _unavailable(self, error: OSError) -> Unavailable:
        return Unavailable(f"{self._root} cannot be used: {error}")

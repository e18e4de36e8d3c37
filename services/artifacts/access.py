"""Which files a request may name: those below the configured folders, in uploads, and in results of earlier jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.artifacts.assets import RESULT_PREFIX, AssetStore, checked_path
from services.errors import InvalidRequest

_PATTERN_SIGNS = "*?[%#"


@dataclass(frozen=True)
class Access:
    """``any_local`` is for a server that belongs to one user: it reads what that user can read.

    ``result_folder(asset)`` is the folder that shows a job's result.
    """

    roots: Sequence[Path]
    assets: AssetStore
    result_folder: Callable[[str], Path]
    any_local: bool = False

    def local(self, uri: str, field: str) -> str:
        """The real path of an absolute path or ``file://`` URI, its last part a name or a pattern.

        Symbolic links are followed before the check, so that none leads out of the roots.
        """
        path = Path(_path_of(uri, field))
        if not path.is_absolute():
            raise InvalidRequest(field, "an absolute path or file:// URI", uri)
        is_pattern = not path.exists() and any(sign in path.name for sign in _PATTERN_SIGNS)
        real = path.parent.resolve() / path.name if is_pattern else path.resolve()
        if not self._may_read(real):
            raise InvalidRequest(field, "a path below one of the server's media roots", uri)
        if not (real.parent if is_pattern else real).exists():
            raise InvalidRequest(field, "an existing file or folder", uri)
        if not self.any_local:
            self._check_links(real.parent if is_pattern else real, field)
        return str(real)

    def asset(self, asset: str, path: str, field: str) -> str:
        """A file, folder or pattern in an upload or a result."""
        if asset.startswith(RESULT_PREFIX):
            found = self.result_folder(asset) / (checked_path(path, f"{field}.asset.relative_path") if path else "")
        else:
            found = self.assets.path(asset, path)
        if not found.exists() and not any(sign in found.name for sign in _PATTERN_SIGNS):
            raise InvalidRequest(field, "a complete file or a folder of the asset", f"{asset}/{path}")
        return str(found)

    def _may_read(self, real: Path) -> bool:
        return self.any_local or any(real.is_relative_to(root.resolve()) for root in self.roots)

    def _check_links(self, folder: Path, field: str) -> None:
        if not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink() and not self._may_read(Path(entry.path).resolve()):
                    raise InvalidRequest(field, "no links out of the media roots", entry.path)


def _path_of(uri: str, field: str) -> str:
    if "\0" in uri:
        raise InvalidRequest(field, "a path", repr(uri))
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise InvalidRequest(field, "an absolute path or file:// URI", uri)
    return unquote(parts.path)

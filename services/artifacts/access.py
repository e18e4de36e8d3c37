"""Which files a request may name: those below the configured folders, in uploads, and in results of earlier jobs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.artifacts.assets import RESULT_PREFIX, AssetStore, checked_path
from services.errors import InvalidRequest
from services.identity import LOCAL

_PATTERN_SIGNS = "*?[%#"
_LONGEST = 4096  # characters of a path
_MOST_ENTRIES = 200_000  # of a folder that a request names, those of its folders included


@dataclass(frozen=True)
class Access:
    """``any_local`` is for a server that belongs to one user: it reads what that user can read.

    ``result_folder(asset, tenant)`` is the folder that shows the result of one of the tenant's jobs.
    """

    roots: Sequence[Path]
    assets: AssetStore
    result_folder: Callable[[str, str], Path]
    any_local: bool = False
    tenant: str = LOCAL

    def of(self, tenant: str) -> Access:
        """What this tenant may name: media roots are everybody's, uploads and results are not."""
        return replace(self, tenant=tenant)

    def local(self, uri: str, field: str) -> str:
        """The real path of an absolute path or ``file://`` URI, its last part a name or a pattern.

        Symbolic links are followed before the check, so that none leads out of the roots. What lies elsewhere is
        refused in the same words whether it exists or not.
        """
        path = Path(_path_of(uri, field))
        if not path.is_absolute():
            raise InvalidRequest(field, "an absolute path or file:// URI", uri)
        try:
            real = path.resolve()
            is_pattern = not real.exists() and any(sign in path.name for sign in _PATTERN_SIGNS)
            real = path.parent.resolve() / path.name if is_pattern else real
            if not self.may_read(real):
                raise InvalidRequest(field, "a path below one of the server's media roots", uri)
            if not (real.parent if is_pattern else real).exists():
                raise InvalidRequest(field, "an existing file or folder", uri)
            if not self.any_local:
                self._check_kind(real, field, is_pattern)
        except (OSError, RuntimeError, ValueError) as error:  # too long, links in a circle, closed, not to be encoded
            raise InvalidRequest(field, "an existing file or folder", repr(uri[:200])) from error
        return str(real)

    def asset(self, asset: str, path: str, field: str) -> str:
        """A file, folder or pattern in an upload or a result."""
        if asset.startswith(RESULT_PREFIX):
            found = self.result_folder(asset, self.tenant)
            found /= checked_path(path, f"{field}.asset.relative_path") if path else ""
        else:
            found = self.assets.of(self.tenant).path(asset, path)
        if not found.exists() and not any(sign in found.name for sign in _PATTERN_SIGNS):
            raise InvalidRequest(field, "a complete file or a folder of the asset", f"{asset}/{path}")
        return str(found)

    def may_read(self, real: Path) -> bool:
        """Whether a path without symbolic links is below a media root."""
        return self.any_local or any(real.is_relative_to(root.resolve()) for root in self.roots)

    def _check_kind(self, real: Path, field: str, is_pattern: bool) -> None:
        """Files and folders only: a device or a pipe would hold the reader for ever."""
        if is_pattern or real.is_dir():
            for entry in _entries(real.parent if is_pattern else real, field, deep=not is_pattern):
                if entry.is_symlink() and not self.may_read(Path(entry.path).resolve()):
                    raise InvalidRequest(field, "no links out of the media roots", entry.path)
        elif not real.is_file():
            raise InvalidRequest(field, "a file or a folder", real)


def _entries(folder: Path, field: str, *, deep: bool) -> Iterator[os.DirEntry[str]]:
    """What lies in a folder, and in its folders; links are shown, not followed."""
    waiting, count = [str(folder)], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if count > _MOST_ENTRIES:
                    raise InvalidRequest(field, f"a folder of at most {_MOST_ENTRIES} files", f"more in {folder}")
                if deep and entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                yield entry


def _path_of(uri: str, field: str) -> str:
    if "\0" in uri or len(uri) > _LONGEST:
        raise InvalidRequest(field, f"a path of at most {_LONGEST} characters", repr(uri[:200]))
    if "://" not in uri:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise InvalidRequest(field, "an absolute path or file:// URI", repr(uri)) from error
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise InvalidRequest(field, "an absolute path or file:// URI (nothing is fetched from the network)", uri)
    path = unquote(parts.path)
    if "\0" in path:
        raise InvalidRequest(field, "a path", repr(uri))
    return path

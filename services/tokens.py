"""Tokens that open the server, and whose they are: ``python -m services.tokens FILE TENANT`` makes one.

A file of tokens has a line for each, ``TENANT sha256:HEX``; ``#`` begins a comment. Only hashes are kept, which is
enough for tokens of 256 random bits, and the file is read again when it changes: a token ends when its line is removed.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import os
import re
import secrets
import stat
import sys
from pathlib import Path

from services.errors import BacklotError, InvalidRequest

FIELD = "server.token_file"
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LINE = re.compile(r"(\S+)\s+sha256:([0-9a-f]{64})")


def is_tenant(name: str) -> bool:
    return bool(_TENANT.fullmatch(name))


class Tokens:
    """The tokens of a file. Raises ``InvalidRequest`` when the file cannot be read, is malformed, or is not safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = -1, -1
        self._tenants: list[tuple[bytes, str]] = []
        self._refresh()

    def tenant(self, token: str) -> str | None:
        """Whose token it is; None when it is nobody's. Takes as long for any token."""
        self._refresh()
        digest, found = _digest(token).encode(), None
        for known, tenant in self._tenants:
            if hmac.compare_digest(known, digest):
                found = tenant
        return found

    def _refresh(self) -> None:
        try:
            facts = self._path.stat()
            changed = facts.st_mtime_ns, facts.st_size
            if changed == self._changed:
                return
            text = self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(FIELD, "a file that can be read", f"{self._path}: {error}") from error
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InvalidRequest(FIELD, "a file that only its owner can change", f"{self._path}: chmod go-w it")
        self._tenants, self._changed = _parsed(text, self._path), changed


def _parsed(text: str, path: Path) -> list[tuple[bytes, str]]:
    tokens = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if content:
            match = _LINE.fullmatch(content)
            if not match or not is_tenant(match[1]):
                # What stands there may be a token: it is not shown.
                raise InvalidRequest(FIELD, "lines of TENANT sha256:HEX", f"something else in line {number} of {path}")
            tokens.append((match[2].encode(), match[1]))
    if not tokens:
        raise InvalidRequest(FIELD, "at least one token: python -m services.tokens FILE TENANT", f"none in {path}")
    return tokens


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def add(path: Path, tenant: str) -> str:
    """A new token for ``tenant``, which is nowhere to be found afterwards; its hash is appended to the file."""
    if not is_tenant(tenant):
        raise InvalidRequest("tenant", "1 to 64 of a-z 0-9 _ -, beginning with a letter or digit", repr(tenant))
    token = secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "a") as file:
        file.write(f"{tenant} sha256:{_digest(token)}\n")
    return token


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.tokens", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("tenant")
    options = parser.parse_args(arguments)
    try:
        sys.stdout.write(add(options.file, options.tenant) + "\n")
    except (BacklotError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What the command line shows a server that asks who calls.

The environment serves where flags are not given: ``BACKLOT_TOKEN``, ``BACKLOT_TOKEN_FILE``, ``BACKLOT_CA``,
``BACKLOT_CERT``, ``BACKLOT_KEY``. There is no flag that takes a token itself: everybody on a machine can read the
arguments of its processes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from backlot._client import Client
from backlot._errors import InvalidRequest


def add_credentials(parser: Any) -> None:
    group = parser.add_argument_group("a server that asks who calls")
    group.add_argument("--token-file", metavar="FILE", default="", help="holds the token; or BACKLOT_TOKEN[_FILE]")
    group.add_argument("--ca", metavar="FILE", default="", help="root certificates (PEM); default: the system's")
    group.add_argument("--cert", metavar="FILE", default="", help="one's own certificate (PEM)")
    group.add_argument("--key", metavar="FILE", default="", help="its key (PEM)")


def connect(arguments: argparse.Namespace) -> Client:
    """TLS as soon as there is a token, a certificate or a file of root certificates; else a plain connection."""
    token, ca = _token(arguments), _given(arguments, "ca")
    cert, key = _given(arguments, "cert"), _given(arguments, "key")
    if bool(cert) != bool(key):
        raise InvalidRequest("--cert: expected --key beside it, got one of them", field="certificate")
    tls = ca or bool(token or cert)
    return Client(arguments.server, token=token, tls=tls, certificate=(cert, key) if cert else None)


def _given(arguments: argparse.Namespace, name: str) -> str:
    flag: str = getattr(arguments, name)
    return flag or os.environ.get(f"BACKLOT_{name.upper()}", "")


def _token(arguments: argparse.Namespace) -> str:
    if not arguments.token_file and (token := os.environ.get("BACKLOT_TOKEN", "")):
        return token.strip()
    file = _given(arguments, "token_file")
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"--token-file: expected a file that holds a token, got {error}", field="token") from error

"""What both clients need to reach a server: channel options, credentials, and when to try again."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import grpc

from backlot._errors import InvalidRequest, Unavailable, from_rpc

TIMEOUT_S = 60.0  # of a unary call
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)

Tls = bool | str | os.PathLike[str]
Certificate = tuple[str | os.PathLike[str], str | os.PathLike[str]]


def credentials(tls: Tls, token: str, certificate: Certificate | None = None) -> grpc.ChannelCredentials | None:
    """``tls``: False, True for the system's root certificates, or a PEM file of root certificates. ``certificate``: PEM
    files of one's own certificate and its key. A token travels with every call; both need TLS."""
    if not tls:
        for field, given in (("token", token), ("certificate", certificate)):
            if given:
                raise InvalidRequest(f"{field}: expected tls as well, got a plain connection", field=field)
        return None
    roots = None if tls is True else _read(tls, "tls")
    chain, key = (_read(file, "certificate") for file in certificate) if certificate else (None, None)
    secure = grpc.ssl_channel_credentials(roots, key, chain)
    if not token:
        return secure
    return grpc.composite_channel_credentials(secure, grpc.access_token_call_credentials(token))


def _read(file: str | os.PathLike[str], field: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{field}: expected a PEM file, got {error}", field=field) from error


class Deadline:
    """A point in time, or none."""

    def __init__(self, timeout_s: float | None) -> None:
        self._end_s = None if timeout_s is None else time.monotonic() + timeout_s

    @property
    def left_s(self) -> float | None:
        return None if self._end_s is None else max(0.0, self._end_s - time.monotonic())


class Retry:
    """How long to wait before the next try: 0.1 s doubling to 5 s, with some jitter, until ``patience_s`` are used up
    without progress."""

    # A server that stops cancels its streams; we never cancel a call and go on waiting for it.
    _TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._position = -1
        self._waited_s, self._next_s = 0.0, _FIRST_WAIT_S

    def note(self, position: int) -> None:
        """Tells how far things are; patience starts anew when that is farther than before."""
        if position > self._position:
            self._position = position
            self._waited_s, self._next_s = 0.0, _FIRST_WAIT_S

    def wait_s(self, error: grpc.RpcError | None) -> float:
        """Seconds to wait; ``error`` is None when a stream ended before its end without one. Raises the error when
        trying again cannot help or has not helped for long enough."""
        if error is not None and error.code() not in self._TRANSIENT:
            raise from_rpc(error) from error
        if self._waited_s >= self._patience_s:
            raise from_rpc(error) if error else Unavailable("the server keeps ending its streams before their end")
        # Jitter keeps the clients of a restarted server apart; no result depends on it.
        wait_s = self._next_s * random.uniform(0.75, 1.25)
        self._waited_s += wait_s
        self._next_s = min(2 * self._next_s, _LONGEST_WAIT_S)
        return wait_s

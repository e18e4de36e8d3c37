"""Where the server listens, and what it asks of those who come.

| address | asks for |
|---|---|
| loopback, unix socket | nothing, unless a certificate is configured |
| any other | TLS, and a token (``server.token_file``) or a client certificate (``server.tls_client_ca``) |
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

import grpc

from services.config import ServerConfig
from services.errors import InvalidRequest
from services.tokens import Tokens


def check_listen(server: ServerConfig) -> None:
    """Raises ``InvalidRequest`` for an address that is none, and for one that others can reach without a key."""
    if not server.listen.startswith("unix:"):
        host_of(server.listen, "server.listen")
    if bool(server.tls_certificate) != bool(server.tls_key):
        missing = "server.tls_key" if server.tls_certificate else "server.tls_certificate"
        raise InvalidRequest(missing, "a PEM file: certificate and key belong together", "nothing")
    for key in ("token_file", "tls_client_ca"):
        if getattr(server, key) and not server.tls_certificate:
            raise InvalidRequest(f"server.{key}", "server.tls_certificate and server.tls_key beside it", "no TLS")
    if server.metrics and not is_loopback(host_of(server.metrics, "server.metrics")) and not server.tls_client_ca:
        expected = "a loopback address, or client certificates (server.tls_client_ca)"
        raise InvalidRequest("server.metrics", expected, server.metrics)
    if is_open(server):
        return
    if not server.tls_certificate:
        expected = (
            "a loopback address (127.0.0.1, [::1], localhost), or TLS and authentication: server.tls_certificate and "
            "server.tls_key with server.token_file or server.tls_client_ca"
        )
        raise InvalidRequest("server.listen", expected, server.listen)
    if not server.token_file and not server.tls_client_ca:
        expected = "one of them for an address that others can reach"
        raise InvalidRequest("server.token_file or server.tls_client_ca", expected, f"none for {server.listen}")


def is_open(server: ServerConfig) -> bool:
    """Whether only this machine can connect."""
    return server.listen.startswith("unix:") or is_loopback(host_of(server.listen, "server.listen"))


def host_of(address: str, field: str) -> str:
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and port.isascii() and int(port) < 2**16):
        raise InvalidRequest(field, "HOST:PORT or unix:PATH", address)
    return host


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def tokens_of(server: ServerConfig) -> Tokens | None:
    return Tokens(Path(server.token_file).expanduser()) if server.token_file else None


def asks_who(server: ServerConfig) -> bool:
    return bool(server.token_file or server.tls_client_ca)


def bind(grpc_server: grpc.aio.Server, server: ServerConfig) -> str:
    """Take the configured address; the one that was bound."""
    credentials = _credentials(server)
    try:
        if credentials is None:
            port = grpc_server.add_insecure_port(server.listen)
        else:
            port = grpc_server.add_secure_port(server.listen, credentials)
    except RuntimeError as error:
        raise InvalidRequest("server.listen", "an address that is free, and a certificate that fits its key",
                             server.listen) from error
    return server.listen if server.listen.startswith("unix:") else f"{server.listen.rpartition(':')[0]}:{port}"


def _credentials(server: ServerConfig) -> grpc.ServerCredentials | None:
    if not server.tls_certificate:
        return None
    chain = [(_read(server.tls_key, "server.tls_key"), _read(server.tls_certificate, "server.tls_certificate"))]
    if not server.tls_client_ca:
        return grpc.ssl_server_credentials(chain)
    return grpc.ssl_server_credentials(chain, _read(server.tls_client_ca, "server.tls_client_ca"), True)


def _read(path: str, field: str) -> bytes:
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise InvalidRequest(field, "a PEM file that can be read", f"{path}: {error.strerror}") from error
    if b"-----BEGIN " not in data:
        raise InvalidRequest(field, "a PEM file", path)
    return data

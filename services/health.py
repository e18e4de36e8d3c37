"""``python -m services.health [--config NAME]``: exit code 0 when the server that is configured says that it serves.

For containers and supervisors on the same machine. Health asks for no token, but a server that asks for client
certificates wants to see one (``--cert``, ``--key``), and its own must bear the name it is called by: ``localhost``, or
what ``--host`` says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.config import ServerConfig, load
from services.errors import BacklotError
from services.listening import host_of

TIMEOUT_S = 8.0


def is_serving(server: ServerConfig, host: str = "", cert: str = "", key: str = "") -> bool:
    with _channel(server, host, cert, key) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, wait_for_ready=True)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _channel(server: ServerConfig, host: str, cert: str, key: str) -> grpc.Channel:
    address = server.listen
    if not address.startswith("unix:"):
        own = host_of(address, "server.listen")
        everywhere = own in ("0.0.0.0", "[::]")
        address = (host or ("localhost" if everywhere else own)) + address[len(own) :]
    if not server.tls_certificate:
        return grpc.insecure_channel(address)
    # The server's own certificate is the root that is trusted: it is on this machine, whatever name it bears.
    certificate = Path(server.tls_certificate).expanduser().read_bytes()
    mine = (Path(key).read_bytes(), Path(cert).read_bytes()) if cert else (None, None)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate, *mine))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.health", description=__doc__)
    parser.add_argument("--config", default="cpu")
    parser.add_argument("--host", default="")
    parser.add_argument("--cert", default="")
    parser.add_argument("--key", default="")
    options = parser.parse_args(arguments)
    try:
        return 0 if is_serving(load(options.config).server, options.host, options.cert, options.key) else 1
    except (BacklotError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())

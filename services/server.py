"""The server: ``python -m services.server --listen HOST:PORT --config NAME``.

``--embedded`` is for a client that starts a server for itself: it reads the files that its user can read, writes the
address it has bound as a line to ``--ready-fd``, keeps results only while it lives, and ends when its standard input
closes. Either way SIGTERM ends it in order: jobs that run go back into the journal's queue.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import ipaddress
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import grpc
from backlot.v1 import (
    insertion_pb2,
    insertion_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    media_pb2,
    media_pb2_grpc,
    previs_pb2,
    previs_pb2_grpc,
    scene_pb2,
    scene_pb2_grpc,
)
from google.longrunning import operations_pb2_grpc, operations_proto_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

import models
from services import log as logs
from services.artifacts.access import Access
from services.artifacts.assets import AssetStore
from services.artifacts.store import Store
from services.config import ROOT, Config, load
from services.errors import BacklotError, InternalError, InvalidRequest
from services.executors.local import LocalExecutor
from services.executors.preview import Helper
from services.jobs.journal import Journal
from services.jobs.runner import Runner
from services.servicers.desk import Desk, result_folder, task_for
from services.servicers.errors import ErrorInterceptor
from services.servicers.insertion import InsertionServicer
from services.servicers.jobs import JobServicer
from services.servicers.media import MediaServicer
from services.servicers.operations import OperationsServicer
from services.servicers.previs import PrevisServicer
from services.servicers.scenes import SceneServicer

log = logging.getLogger(__name__)

GRACE_S = 2.0
OPTIONS = (
    ("grpc.max_receive_message_length", 4 * 2**20),
    ("grpc.max_send_message_length", 4 * 2**20),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share it
)


SERVICES = (
    media_pb2.DESCRIPTOR.services_by_name["MediaService"].full_name,
    scene_pb2.DESCRIPTOR.services_by_name["SceneService"].full_name,
    insertion_pb2.DESCRIPTOR.services_by_name["InsertionService"].full_name,
    previs_pb2.DESCRIPTOR.services_by_name["PrevisService"].full_name,
    jobs_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
    operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
)


@asynccontextmanager
async def running_server(config: Config, *, embedded: bool = False) -> AsyncIterator[str]:
    """A server that serves while the block runs; yields the address it has bound."""
    check_application_root()
    check_listen(config.server.listen)
    folder = config.server.journal_folder.absolute()
    store = Store(config.store.location, config.store.cap_bytes)
    config = dataclasses.replace(config, store=dataclasses.replace(config.store, url=str(store.root)))
    async with AsyncExitStack() as at_end:
        journal = Journal(folder)
        at_end.callback(journal.close)
        helpers = {name: Helper(config, folder, name) for name in ("preview", "describe")}
        for helper in helpers.values():
            at_end.push_async_callback(helper.close)
        assets = AssetStore(folder / "assets")
        access = _access(config, journal, store, assets, folder / "results", any_local=embedded)
        executor = LocalExecutor(config, folder, logs=store.root / "logs" if embedded else folder / "logs")
        runner = Runner(journal, store, executor, config, partial(task_for, access=access), keep_results=not embedded)
        desk = Desk(journal, runner, access)

        server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=OPTIONS)
        media = MediaServicer(desk, assets, store, helpers["describe"])
        media_pb2_grpc.add_MediaServiceServicer_to_server(media, server)
        scene_pb2_grpc.add_SceneServiceServicer_to_server(SceneServicer(desk, helpers["preview"]), server)
        insertion_pb2_grpc.add_InsertionServiceServicer_to_server(InsertionServicer(desk), server)
        previs_pb2_grpc.add_PrevisServiceServicer_to_server(PrevisServicer(desk), server)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(JobServicer(desk), server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(desk), server)
        health_servicer = _add_health_and_reflection(server)

        address = _bind(server, config.server.listen)
        at_end.push_async_callback(server.stop, GRACE_S)
        at_end.push_async_callback(runner.close)
        at_end.push_async_callback(health_servicer.enter_graceful_shutdown)
        runner.start()
        await server.start()
        for name in ("", *SERVICES):
            await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
        log.info("serving", extra={"address": address, "journal": str(folder), "store": str(store.root)})
        yield address


def _access(
    config: Config, journal: Journal, store: Store, assets: AssetStore, results: Path, *, any_local: bool
) -> Access:
    shutil.rmtree(results, ignore_errors=True)  # links only, made again when asked for
    return Access(
        roots=[Path(root).expanduser() for root in config.server.media_roots],
        assets=assets,
        result_folder=lambda asset: result_folder(asset, journal, store, results),
        any_local=any_local,
    )


def _add_health_and_reflection(server: grpc.aio.Server) -> health.aio.HealthServicer:
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return servicer


def _bind(server: grpc.aio.Server, listen: str) -> str:
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise InvalidRequest("server.listen", "an address that is free", listen) from error
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def check_listen(listen: str) -> None:
    """Without authentication only this machine may connect."""
    if listen.startswith("unix:"):
        return
    host, colon, port = listen.rpartition(":")
    if not (colon and port.isdecimal() and int(port) < 2**16):
        raise InvalidRequest("server.listen", "HOST:PORT or unix:PATH", listen)
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        expected = "a loopback address (127.0.0.1, [::1], localhost): other ones need TLS, which is not there yet"
        raise InvalidRequest("server.listen", expected, listen)


def check_application_root() -> None:
    """``models`` is a common name: another package of that name would load foreign code."""
    if not Path(models.__file__ or "").is_relative_to(ROOT):
        raise InternalError(f"models: expected the package below {ROOT}, got {models.__file__}; run from {ROOT}")


async def serve(config: Config, *, embedded: bool, ready_fd: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    async with running_server(config, embedded=embedded) as address:
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w") as ready:
                ready.write(f"{address}\n")
        if embedded:
            loop.add_reader(sys.stdin.fileno(), _stop_at_end_of_input, stop)
        await stop.wait()
        log.info("stopping")
        if embedded:
            loop.remove_reader(sys.stdin.fileno())


def _stop_at_end_of_input(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        stop.set()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.server", description=__doc__)
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: the configuration's server.listen")
    parser.add_argument("--config", metavar="NAME", default="cpu", help="a file of configs/, or a path to a YAML file")
    parser.add_argument("--embedded", action="store_true")
    parser.add_argument("--journal", metavar="DIR", help="default: the configuration's server.journal")
    parser.add_argument("--store", metavar="DIR", help="default: the configuration's store.url")
    parser.add_argument("--ready-fd", metavar="N", type=int)
    options = parser.parse_args(arguments)
    logs.set_up()
    try:
        config = _with_options(load(options.config), options)
        asyncio.run(serve(config, embedded=options.embedded, ready_fd=options.ready_fd))
    except BacklotError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, InvalidRequest) else 1
    return 0


def _with_options(config: Config, options: argparse.Namespace) -> Config:
    server = {name: getattr(options, name) for name in ("listen", "journal") if getattr(options, name)}
    store = {"url": options.store} if options.store else {}
    return dataclasses.replace(
        config,
        server=dataclasses.replace(config.server, **server),
        store=dataclasses.replace(config.store, **store),
    )


if __name__ == "__main__":
    sys.exit(main())

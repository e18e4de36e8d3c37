"""The server: ``python -m services.server --listen HOST:PORT --config NAME``.

``--embedded`` is for a client that starts a server for itself: it reads the files that its user can read, writes the
address it has bound as a line to ``--ready-fd``, keeps results only while it lives, and ends when its standard input
closes. Either way SIGTERM ends it in order: jobs that run go back into the journal's queue.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from backlot.v1 import (
    insertion_pb2,
    insertion_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
    media_pb2,
    media_pb2_grpc,
    plate_pb2,
    plate_pb2_grpc,
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
from services import readiness
from services.artifacts.access import Access
from services.artifacts.assets import AssetStore
from services.artifacts.store import Store
from services.config import ROOT, Config, load
from services.errors import BacklotError, InternalError, InvalidRequest
from services.executors.base import Executor
from services.executors.helped import HelpedExecutor
from services.executors.local import LocalExecutor
from services.executors.preview import Helper
from services.jobs.journal import Journal
from services.jobs.runner import Runner
from services.listening import asks_who, bind, check_listen, tokens_of
from services.memory import keep_freed_memory
from services.metrics import Metrics, served
from services.sandbox import Sandbox
from services.servicers.auth import AuthInterceptor
from services.servicers.desk import Desk, result_folder, task_for
from services.servicers.errors import ErrorInterceptor
from services.servicers.insertion import InsertionServicer
from services.servicers.jobs import JobServicer
from services.servicers.media import MediaServicer
from services.servicers.operations import OperationsServicer
from services.servicers.plate import PlateServicer
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
    plate_pb2.DESCRIPTOR.services_by_name["PlateService"].full_name,
    jobs_pb2.DESCRIPTOR.services_by_name["JobService"].full_name,
    operations_proto_pb2.DESCRIPTOR.services_by_name["Operations"].full_name,
)


@asynccontextmanager
async def running_server(config: Config, *, embedded: bool = False) -> AsyncIterator[str]:
    """A server that serves while the block runs; yields the address it has bound."""
    check_application_root()
    if embedded:  # its socket is its parent's alone
        public = ("tls_certificate", "tls_key", "tls_client_ca", "token_file", "metrics")
        private: dict[str, Any] = dict.fromkeys(public, "")
        config = dataclasses.replace(config, server=dataclasses.replace(config.server, **private))
    check_listen(config.server)
    folder, files = config.server.journal_folder.absolute(), config.server.files_folder.absolute()
    store = Store(config.store.location, config.store.cap_bytes, config.store.remote)
    config = dataclasses.replace(config, store=dataclasses.replace(config.store, url=str(store.root)))
    async with AsyncExitStack() as at_end:
        journal = Journal(folder)
        at_end.callback(journal.close)
        helpers = {name: Helper(config, folder, name) for name in ("preview", "describe")}
        for helper in helpers.values():
            at_end.push_async_callback(helper.close)
        assets = AssetStore(files / "assets")
        access = _access(config, journal, store, assets, files / "results", any_local=embedded)
        executor = _executor(config, folder, store.root / "logs" if embedded else files / "logs", at_end)
        runner = Runner(journal, store, executor, config, partial(task_for, access=access), not embedded, assets)
        sandbox = Sandbox(folder, assets)
        at_end.push_async_callback(sandbox.close)
        desk = Desk(journal, runner, access, sandbox)

        metrics = Metrics()
        metrics.slots.set(executor.slots)
        metrics.watch(journal, {"journal": folder, "store": store.root})
        at_end.enter_context(served(metrics, config.server))
        interceptors: list[grpc.aio.ServerInterceptor] = [metrics, ErrorInterceptor()]
        if asks_who(config.server):
            interceptors.append(AuthInterceptor(tokens_of(config.server)))
        server = grpc.aio.server(interceptors=interceptors, options=OPTIONS)
        media = MediaServicer(desk, assets, store, helpers["describe"])
        media_pb2_grpc.add_MediaServiceServicer_to_server(media, server)
        scene_pb2_grpc.add_SceneServiceServicer_to_server(SceneServicer(desk, helpers["preview"]), server)
        insertion_pb2_grpc.add_InsertionServiceServicer_to_server(InsertionServicer(desk), server)
        previs_pb2_grpc.add_PrevisServiceServicer_to_server(PrevisServicer(desk), server)
        plate_pb2_grpc.add_PlateServiceServicer_to_server(PlateServicer(desk), server)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(JobServicer(desk), server)
        operations_pb2_grpc.add_OperationsServicer_to_server(OperationsServicer(desk), server)
        health_servicer = _add_health_and_reflection(server)

        address = bind(server, config.server)
        at_end.push_async_callback(server.stop, GRACE_S)
        at_end.push_async_callback(runner.close)
        at_end.push_async_callback(health_servicer.enter_graceful_shutdown)
        runner.start()
        await server.start()
        tell = partial(_tell, health_servicer, metrics)
        await tell(True)  # the journal and the store have just been opened
        watching = asyncio.create_task(readiness.watch(folder, store.root, tell))
        at_end.callback(watching.cancel)
        log.info("serving", extra={"address": address, "journal": str(folder), "store": str(store.root)})
        yield address


def _executor(config: Config, folder: Path, logs: Path, at_end: AsyncExitStack) -> Executor:
    executor: Executor
    if config.server.executor == "ray":
        try:
            from services.executors.ray_executor import RayExecutor
        except ImportError as error:
            raise InvalidRequest("server.executor", "local, or the extra `ray` installed", "ray") from error
        executor = on_cluster = RayExecutor(config, logs)
        at_end.callback(on_cluster.close)
    else:
        executor = LocalExecutor(config, folder, logs)
    return HelpedExecutor(executor, config.server.helpers) if config.server.helpers else executor


def _access(
    config: Config, journal: Journal, store: Store, assets: AssetStore, results: Path, *, any_local: bool
) -> Access:
    shutil.rmtree(results, ignore_errors=True)  # links only, made again when asked for
    return Access(
        roots=[Path(root).expanduser() for root in config.server.media_roots],
        assets=assets,
        result_folder=lambda asset, tenant: result_folder(asset, tenant, journal, store, results),
        any_local=any_local,
    )


async def _tell(servicer: health.aio.HealthServicer, metrics: Metrics, ready: bool) -> None:
    status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
    metrics.ready.set(ready)
    for name in ("", *SERVICES):
        await servicer.set(name, status)


def _add_health_and_reflection(server: grpc.aio.Server) -> health.aio.HealthServicer:
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return servicer


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
    keep_freed_memory()
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

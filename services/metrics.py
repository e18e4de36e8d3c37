"""Figures for Prometheus over HTTP, where ``server.metrics`` names an address; off without one.

| figure | what |
|---|---|
| ``backlot_jobs`` | jobs in the journal, by tenant and state |
| ``backlot_job_seconds`` | how long ended jobs took from their last start, by kind and state |
| ``backlot_slots`` | jobs that may run at the same time |
| ``backlot_calls_total``, ``backlot_call_seconds`` | calls by method, status code |
| ``backlot_ready`` | 1 while journal and store can be written |
| ``backlot_free_bytes`` | on the disks of journal and store |
| ``process_*`` | memory, descriptors, CPU of the server's process |
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.config import ServerConfig
from services.errors import InvalidRequest
from services.jobs.journal import Journal
from services.servicers.errors import OURS, rewrapped

_CALL_S = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30, 120)
_JOB_S = (1, 5, 20, 60, 300, 900, 3600, 4 * 3600, 12 * 3600)
_ANSWER_S = 5.0  # that the server's loop may take


class Metrics(grpc.aio.ServerInterceptor):
    """All figures of one server; as an interceptor, the outermost one, it counts calls."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.ready = Gauge("backlot_ready", "1 while journal and store can be written", registry=self.registry)
        self.slots = Gauge("backlot_slots", "jobs that may run at the same time", registry=self.registry)
        self._calls = Counter("backlot_calls", "calls answered", ("method", "code"), registry=self.registry)
        self._call_s = Histogram(
            "backlot_call_seconds", "until the last answer", ("method",), buckets=_CALL_S, registry=self.registry
        )

    def watch(self, journal: Journal, disks: Mapping[str, Path]) -> None:
        """Also show these; to be called in the loop that the journal belongs to."""
        self.registry.register(_Jobs(journal, asyncio.get_running_loop(), self.registry))
        free = Gauge("backlot_free_bytes", "on the disk of", ("disk",), registry=self.registry)
        for name, folder in disks.items():
            free.labels(name).set_function(lambda folder=folder: shutil.disk_usage(folder).free)  # type: ignore[misc]

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(OURS):  # names that callers make up are no labels
            return handler

        def once(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
                with self._counted(method, context):
                    return await function(request, context)

            return call

        def streaming(function: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
            async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
                with self._counted(method, context):
                    async for response in function(request, context):
                        yield response

            return call

        return rewrapped(handler, once, streaming)

    @contextmanager
    def _counted(self, method: str, context: grpc.aio.ServicerContext) -> Iterator[None]:
        begun, code = time.monotonic(), "OK"
        try:
            yield
        except grpc.aio.AbortError:
            code = _name(context.code())
            raise
        except (asyncio.CancelledError, GeneratorExit):
            code = grpc.StatusCode.CANCELLED.name
            raise
        except BaseException:
            code = grpc.StatusCode.UNKNOWN.name
            raise
        finally:
            self._calls.labels(method, code).inc()
            self._call_s.labels(method).observe(time.monotonic() - begun)


def _name(code: Any) -> str:
    """Of a status code; grpc.aio gives its number."""
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code
    return next(known.name for known in grpc.StatusCode if known.value[0] == number)


class _Jobs(Collector):
    """What the journal says, read in its own loop whenever somebody asks."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop, registry: CollectorRegistry) -> None:
        self._journal, self._loop = journal, loop
        self._seen_s = time.time()
        self._job_s = Histogram(
            "backlot_job_seconds", "of jobs that ended", ("kind", "state"), buckets=_JOB_S, registry=registry
        )

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily("backlot_jobs", "jobs in the journal", labels=("tenant", "state"))]

    def collect(self) -> Iterator[Metric]:
        counts = asyncio.run_coroutine_threadsafe(self._read(), self._loop).result(_ANSWER_S)
        jobs = GaugeMetricFamily("backlot_jobs", "jobs in the journal", labels=("tenant", "state"))
        for labels, count in counts.items():
            jobs.add_metric(labels, count)
        yield jobs

    async def _read(self) -> dict[tuple[str, str], int]:
        for kind, state, seconds, ended_s in self._journal.ended_since(self._seen_s):
            self._job_s.labels(kind, state).observe(seconds)
            self._seen_s = max(self._seen_s, ended_s)
        return self._journal.counts()


@contextmanager
def served(metrics: Metrics, server: ServerConfig) -> Iterator[None]:
    """Answers HTTP at ``server.metrics`` while the block runs, with the server's certificate where it has one."""
    if not server.metrics:
        yield
        return
    host, _, port = server.metrics.rpartition(":")
    tls: dict[str, Any] = {}
    if server.tls_certificate:
        tls = {"certfile": server.tls_certificate, "keyfile": server.tls_key}
    if server.tls_client_ca:
        tls |= {"client_cafile": server.tls_client_ca, "client_auth_required": True}
    try:
        http, thread = start_http_server(int(port), host.strip("[]"), metrics.registry, **tls)
    except OSError as error:
        raise InvalidRequest("server.metrics", "an address that is free", server.metrics) from error
    try:
        yield
    finally:
        http.shutdown()
        http.server_close()
        thread.join()

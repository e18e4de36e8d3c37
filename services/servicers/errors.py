"""One place that turns our exceptions into gRPC's rich status, for every method of ours."""

from __future__ import annotations

import functools
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc

from services.errors import BacklotError, InternalError, Unsupported, status_code, to_status

log = logging.getLogger(__name__)

OURS = ("/backlot.", "/google.longrunning.")
_DETAILS = "grpc-status-details-bin"


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(OURS):
            return handler
        return rewrapped(handler, _once, _streaming)


def rewrapped(
    handler: grpc.RpcMethodHandler, once: Callable[..., Any], streaming: Callable[..., Any]
) -> grpc.RpcMethodHandler:
    """The handler with its function wrapped: by ``streaming`` where it answers with a stream, else by ``once``."""
    codec = {"request_deserializer": handler.request_deserializer, "response_serializer": handler.response_serializer}
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(once(handler.unary_unary), **codec)
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(streaming(handler.unary_stream), **codec)
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(once(handler.stream_unary), **codec)
    return grpc.stream_stream_rpc_method_handler(streaming(handler.stream_stream), **codec)


def _once(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await method(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await abort(context, error)

    return call


def _streaming(method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
    @functools.wraps(method)
    async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        try:
            async for response in method(request, context):
                yield response
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await abort(context, error)

    return call


async def abort(context: grpc.aio.ServicerContext, error: Exception) -> NoReturn:
    if isinstance(error, NotImplementedError):
        error = Unsupported("this server does not have this method yet")
    if not isinstance(error, BacklotError):
        reference = uuid.uuid4().hex[:12]
        log.error("a call failed", exc_info=error, extra={"reference": reference})
        error = InternalError(f"the server failed; its log says why under {reference}")
    status = to_status(error)
    await context.abort(status_code(error), status.message, ((_DETAILS, status.SerializeToString()),))
    raise AssertionError("abort raises")

"""Who calls? Every method but health asks, where the configuration says so; the answer is ``identity.tenant_of``."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from services.errors import InvalidRequest, Unauthenticated
from services.identity import set_tenant
from services.servicers.errors import abort, rewrapped
from services.tokens import Tokens, is_tenant

log = logging.getLogger(__name__)

OPEN = "/grpc.health.v1.Health/"
_SCHEME = "Bearer "


class AuthInterceptor(grpc.aio.ServerInterceptor):
    """With ``tokens`` the token says whose call it is; without, the common name of the client's certificate."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(OPEN):
            return handler
        return rewrapped(handler, self._once, self._streaming)

    def _once(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: grpc.aio.ServicerContext) -> Any:
            await self._let_in(context)
            return await method(request, context)

        return call

    def _streaming(self, method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            await self._let_in(context)
            async for response in method(request, context):
                yield response

        return call

    async def _let_in(self, context: grpc.aio.ServicerContext) -> None:
        try:
            set_tenant(self._tenant(context))
        except Unauthenticated as error:
            log.warning("not let in", extra={"peer": context.peer(), "reason": str(error)})
            await abort(context, error)

    def _tenant(self, context: grpc.aio.ServicerContext) -> str:
        if self._tokens is None:
            return _certified(context)
        given = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if len(given) != 1 or not isinstance(given[0], str) or not given[0].startswith(_SCHEME):
            raise Unauthenticated("this server asks for a token: `--token-file FILE` or BACKLOT_TOKEN")
        try:
            tenant = self._tokens.tenant(given[0].removeprefix(_SCHEME))
        except InvalidRequest as error:  # what is wrong with the file is no caller's business
            log.error("tokens cannot be read", exc_info=error)
            raise Unauthenticated("this server knows no tokens now") from None
        if tenant is None:
            raise Unauthenticated("this server does not know the token")
        return tenant


def _certified(context: grpc.aio.ServicerContext) -> str:
    names = [name.decode(errors="replace") for name in context.auth_context().get("x509_common_name", ())]
    if len(names) != 1 or not is_tenant(names[0]):
        raise Unauthenticated("the certificate's common name: expected a tenant (1 to 64 of a-z 0-9 _ -)")
    return names[0]

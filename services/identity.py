"""Who calls: the tenant whose share of the machine a request uses, and whose jobs it may see.

Authentication names the tenant while it lets a call in (``set_tenant``, from an interceptor, in the call's own task);
everything else only asks ``tenant_of``. Without authentication everybody is ``LOCAL``.
"""

from __future__ import annotations

from contextvars import ContextVar

import grpc

LOCAL = "local"
_tenant: ContextVar[str] = ContextVar("tenant", default=LOCAL)


def set_tenant(tenant: str) -> None:
    """From here on, calls made in this task are those of ``tenant``."""
    _tenant.set(tenant)


def tenant_of(context: grpc.aio.ServicerContext) -> str:
    """The tenant of the call that ``context`` belongs to."""
    return _tenant.get()

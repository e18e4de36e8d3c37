"""What can go wrong, as one exception tree, and how gRPC statuses become it.

BacklotError
  InvalidRequest      a field is wrong; ``field`` is its path
  NotFound            a job, asset or scene that is not there
  Unsolvable          the shot or object lacks something; the message says what would help
  Unavailable         transient: the same call may work later
  ResourceExhausted   disk, memory or queue is full
  Cancelled           somebody asked for it
  PermissionDenied    no token, or not this token
  InternalError       the server's fault
  CorruptFile         a downloaded file does not have the announced content
  ServerNotFound      no application here to start an embedded server from
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


class BacklotError(Exception):
    """``reason`` is stable and machine-readable; ``field`` is a path in the request, empty when no field is to blame;
    ``retry_after_s`` is set when the server says when to come back."""

    def __init__(self, message: str, *, reason: str = "", field: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.retry_after_s = retry_after_s


class InvalidRequest(BacklotError):
    pass


class NotFound(BacklotError):
    pass


class Unsolvable(BacklotError):
    pass


class Unavailable(BacklotError):
    pass


class ResourceExhausted(BacklotError):
    pass


class Cancelled(BacklotError):
    pass


class PermissionDenied(BacklotError):
    pass


class InternalError(BacklotError):
    pass


class CorruptFile(BacklotError):
    pass


class ServerNotFound(BacklotError):
    pass


_BY_CODE: dict[int, type[BacklotError]] = {
    code_pb2.CANCELLED: Cancelled,
    code_pb2.UNKNOWN: InternalError,
    code_pb2.INVALID_ARGUMENT: InvalidRequest,
    code_pb2.DEADLINE_EXCEEDED: Unavailable,
    code_pb2.NOT_FOUND: NotFound,
    code_pb2.ALREADY_EXISTS: InvalidRequest,
    code_pb2.PERMISSION_DENIED: PermissionDenied,
    code_pb2.RESOURCE_EXHAUSTED: ResourceExhausted,
    code_pb2.FAILED_PRECONDITION: Unsolvable,
    code_pb2.ABORTED: Unavailable,
    code_pb2.OUT_OF_RANGE: InvalidRequest,
    code_pb2.UNIMPLEMENTED: InternalError,
    code_pb2.INTERNAL: InternalError,
    code_pb2.UNAVAILABLE: Unavailable,
    code_pb2.DATA_LOSS: InternalError,
    code_pb2.UNAUTHENTICATED: PermissionDenied,
}


def from_status(status: status_pb2.Status) -> BacklotError:
    """The error that a ``google.rpc.Status`` stands for, with what its details say."""
    reason, field, retry_after_s = _read_details(status.details)
    return _BY_CODE[status.code](status.message, reason=reason, field=field, retry_after_s=retry_after_s)


def from_rpc(error: grpc.RpcError) -> BacklotError:
    """The error that a failed call stands for; works for sync and async calls."""
    number, _ = error.code().value
    status = status_pb2.Status(code=number, message=error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            status.ParseFromString(value)
    return from_status(status)


def _read_details(details: Iterable[any_pb2.Any]) -> tuple[str, str, float | None]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    bad_request = error_details_pb2.BadRequest()
    retry_after_s = None
    for detail in details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
        if detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
    field = bad_request.field_violations[0].field if bad_request.field_violations else ""
    return info.reason, field, retry_after_s

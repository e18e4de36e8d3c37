"""One exception tree, one total table to gRPC status.

    BacklotError
      InvalidRequest      a field is wrong: names the field, what was expected, what came
      NotFound            a job, asset or scene that is not there
      Unsolvable          the shot or object lacks something: says what would help
      Unavailable         transient: the same call may work later
      ResourceExhausted   disk, memory or queue is full
        OutOfMemory       the job needs more memory than there is
      Cancelled           somebody asked for it
      Unsupported         the contract has it, this server does not
      Unauthenticated     no token or certificate, or not one that the server knows
      InternalError       our fault
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


class BacklotError(Exception):
    """Base of all errors that users see. ``reason`` is stable and machine-readable."""

    reason: str


class InvalidRequest(BacklotError):
    reason = "INVALID_REQUEST"

    def __init__(self, field: str, expected: object, got: object) -> None:
        self.field, self.expected, self.got = field, str(expected), str(got)
        super().__init__(f"{field}: expected {expected}, got {got}")


class NotFound(BacklotError):
    reason = "NOT_FOUND"


class Unsolvable(BacklotError):
    """``hint`` says what the user can do about it."""

    reason = "UNSOLVABLE"

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(f"{message}. {hint}" if hint else message)


class Unavailable(BacklotError):
    reason = "UNAVAILABLE"


class ResourceExhausted(BacklotError):
    reason = "RESOURCE_EXHAUSTED"


class OutOfMemory(ResourceExhausted):
    reason = "OUT_OF_MEMORY"


class Cancelled(BacklotError):
    reason = "CANCELLED"


class Unsupported(BacklotError):
    reason = "UNSUPPORTED"


class Unauthenticated(BacklotError):
    reason = "UNAUTHENTICATED"


class InternalError(BacklotError):
    reason = "INTERNAL"


STATUS: dict[type[BacklotError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Unsolvable: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    OutOfMemory: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cancelled: grpc.StatusCode.CANCELLED,
    Unsupported: grpc.StatusCode.UNIMPLEMENTED,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    InternalError: grpc.StatusCode.INTERNAL,
}

DOMAIN = "backlot"
_LONGEST = 800  # characters: all of a status must fit into 8 KiB of trailing metadata
_BY_REASON = {error.reason: error for error in STATUS}


def status_code(error: BacklotError) -> grpc.StatusCode:
    """The code of the nearest class in ``STATUS``."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def as_data(error: BacklotError) -> dict[str, str]:
    """Plain data that ``from_data`` turns back into an equal error: for the journal and for pipes."""
    data = {"reason": error.reason, "message": str(error)}
    return data | {name: getattr(error, name) for name in ("field", "expected", "got", "hint") if hasattr(error, name)}


def from_data(data: Mapping[str, str]) -> BacklotError:
    cls = _BY_REASON[data["reason"]]
    if cls is InvalidRequest:
        return InvalidRequest(data["field"], data["expected"], data["got"])
    error = cls(data["message"])
    if isinstance(error, Unsolvable):
        error.hint = data["hint"]
    return error


def to_status(error: BacklotError) -> status_pb2.Status:
    """The rich status: exactly one ``ErrorInfo``; ``BadRequest`` names the field; ``RetryInfo`` where waiting helps."""
    data = {name: value[:_LONGEST] for name, value in as_data(error).items()}
    metadata = {name: value for name, value in data.items() if name not in ("reason", "message")}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=data["field"], description=f"expected {data['expected']}, got {data['got']}"
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, (Unavailable, ResourceExhausted)):
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=5)))
    status = status_pb2.Status(code=status_code(error).value[0], message=data["message"])
    for detail in details:
        status.details.add().Pack(detail)
    return status

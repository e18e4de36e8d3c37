"""One exception tree, one total table to gRPC status.

    BacklotError
      InvalidRequest      a field is wrong: names the field, what was expected, what came
      NotFound            a job, asset or scene that is not there
      Unsolvable          the shot or object lacks something: says what would help
      Unavailable         transient: the same call may work later
      ResourceExhausted   disk, memory or queue is full
      Cancelled           somebody asked for it
      InternalError       our fault
"""

from __future__ import annotations

import grpc


class BacklotError(Exception):
    """Base of all errors that users see. ``reason`` is stable and machine-readable."""

    reason = "INTERNAL"


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


class Cancelled(BacklotError):
    reason = "CANCELLED"


class InternalError(BacklotError):
    pass


STATUS: dict[type[BacklotError], grpc.StatusCode] = {
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Unsolvable: grpc.StatusCode.FAILED_PRECONDITION,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Cancelled: grpc.StatusCode.CANCELLED,
    InternalError: grpc.StatusCode.INTERNAL,
}

"""Structured logs: one JSON object per line on standard error, with ``job`` and ``stage`` where they are known."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_bound: dict[str, str] = {}  # fields of every record of this process for now, whichever thread writes it
# What a record has anyway; the rest came with ``extra=``.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    def __init__(self, **common: str) -> None:
        super().__init__()
        self._common = common

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._common,
            **_bound,
            **extra,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


@contextmanager
def bound(**fields: str) -> Iterator[None]:
    """All records carry ``fields`` while the block runs: those of libraries and of other threads, too."""
    before = dict(_bound)
    _bound.update(fields)
    try:
        yield
    finally:
        _bound.clear()
        _bound.update(before)


def set_up(**common: str) -> None:
    """Send all logs to standard error; ``common`` fields go into every line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(**common))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)

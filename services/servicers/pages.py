"""Pages of lists of jobs, newest first: a token is the number of the last job that was shown."""

from __future__ import annotations

from collections.abc import Sequence

from services.errors import InvalidRequest
from services.jobs.journal import Job

DEFAULT, MOST = 100, 1000


def page_limit(page_size: int) -> int:
    if page_size < 0:
        raise InvalidRequest("page_size", ">= 0", page_size)
    return min(page_size or DEFAULT, MOST)


def page_before(token: str) -> int | None:
    if not token:
        return None
    if not token.isdecimal():
        raise InvalidRequest("page_token", "one that the server gave", token)
    return int(token)


def page_token(jobs: Sequence[Job], limit: int) -> str:
    """``jobs`` holds one more than ``limit`` when there is another page."""
    return str(jobs[limit - 1].number) if len(jobs) > limit else ""

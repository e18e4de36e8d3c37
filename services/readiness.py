"""Readiness that means it: health says SERVING only while the journal and the store can be written."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

log = logging.getLogger(__name__)

PERIOD_S = 5.0
_PROBE_BYTES = 64 * 1024
_BUSY_S = 2.0


def find_problem(journal_folder: Path, store_root: Path) -> str:
    """Why jobs cannot be kept now; empty when they can. Tries to write; leaves nothing behind."""
    for name, folder in (("journal", journal_folder), ("store", store_root)):
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
                probe.write(bytes(_PROBE_BYTES))
        except OSError as error:
            return f"{name}: {folder}: {error.strerror or error}"
    # A connection of its own: the server's belongs to the event loop.
    try:
        with closing(sqlite3.connect(journal_folder / "journal.sqlite", timeout=_BUSY_S, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            db.execute("ROLLBACK")
    except sqlite3.Error as error:
        return f"journal: {error}"
    return ""


async def watch(journal_folder: Path, store_root: Path, tell: Callable[[bool], Awaitable[None]]) -> None:
    """Calls ``tell`` with whether the server is ready, at once and whenever that changes, until it is cancelled."""
    last: str | None = None
    while True:
        problem = await asyncio.to_thread(find_problem, journal_folder, store_root)
        if problem != last:
            if problem:
                log.error("not ready", extra={"problem": problem})
            elif last:
                log.info("ready again")
            await tell(not problem)
            last = problem
        await asyncio.sleep(PERIOD_S)

"""A full disk, a store that cannot be written, a locked journal: what a real server answers, and that it goes on after.

    python -m benchmarks.service_disks --out DIR

Linux, with the right to mount a tmpfs and to make folders immutable; DIR on a file system that knows that attribute.
While a job runs the trouble begins, others are asked for, the job comes to its end; then the trouble is over. An answer
counts as wrong unless it is the typed error of its trouble, and a job as lost unless it ends, in success or with that
error. Afterwards the same requests must succeed over what the store had finished before.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.markdown import Rows, figure_table
from services.config import Config, ServerConfig, StoreConfig
from tests.grpc.running import ServerProcess, Stubs, until
from tests.services.tiny_stages import runs

PATIENCE_S = 120.0
LARGE = "large" * 100_000  # characters: more than is left in pages that SQLite holds already
DISK_MIB = 24
LASTS_S = 3.0  # after the job that runs may go on
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
ROWS: Rows = (
    ("wrong answers while it lasts", "wrong", "d", "0"),
    ("typed refusals", "refused", "d", ""),
    ("jobs taken in before and meanwhile", "accepted", "d", ""),
    ("of them succeeded", "succeeded", "d", ""),
    ("jobs lost, or ended without a typed error", "lost", "d", "0"),
    ("finished stages run again", "again", "d", "0"),
    ("until health says NOT_SERVING (s)", "noticed_s", ".1f", ""),
    ("until it says SERVING again (s)", "mended_s", ".1f", ""),
    ("the same requests succeed afterwards", "mended", "d", "2"),
)


@dataclass(frozen=True)
class Trouble:
    """``code`` is what a refused request, or a job that fails for it, says."""

    begins: Callable[[Path], AbstractContextManager[None]]
    code: grpc.StatusCode


@contextmanager
def full(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (2**20, 2**12, 1):
            try:
                while stream.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    folders = [folder / "store", *(path for path in (folder / "store").rglob("*") if path.is_dir())]
    _run("chattr", "+i", *map(str, folders))
    try:
        yield
    finally:
        _run("chattr", "-i", *map(str, folders))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    other = sqlite3.connect(folder / "journal" / "journal.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


TROUBLES = {
    "disk full": Trouble(full, grpc.StatusCode.RESOURCE_EXHAUSTED),
    "store read-only": Trouble(unwritable, grpc.StatusCode.UNAVAILABLE),
    "journal locked": Trouble(locked, grpc.StatusCode.UNAVAILABLE),
}


async def measure(folder: Path, media: Path, trouble: Trouble) -> dict[str, Any]:
    """``folder`` holds journal and store; ``media`` is elsewhere, so that what stages note is not in the way."""
    registry = "tests.services.tiny_pipelines"
    server = ServerConfig(media_roots=(str(media),), journal=str(folder / "journal"), registry=registry)
    config = Config(server=server, store=StoreConfig(str(folder / "store"), 10**9))
    notes = media / "notes"
    notes.mkdir(parents=True)
    process = await ServerProcess.start(config, media)
    stubs = Stubs(process.address)
    try:
        figures = await _live_through(trouble, folder, notes, stubs)
    finally:
        await stubs.channel.close()
        process.process.terminate()
        await process.process.wait()
    with sqlite3.connect(folder / "journal" / "journal.sqlite") as journal:
        figures["lost"] += journal.execute("PRAGMA integrity_check").fetchone() != ("ok",)
    journal.close()
    figures["lost"] += len(list((folder / "store" / "staging").iterdir()))
    return figures


async def _live_through(trouble: Trouble, folder: Path, notes: Path, stubs: Stubs) -> dict[str, Any]:
    health = health_pb2_grpc.HealthStub(stubs.channel)
    accepted = [await stubs.submit(notes, second="wait")]
    await until(lambda: runs(notes, "second"), PATIENCE_S)
    refused = wrong = 0
    with trouble.begins(folder):
        noticed_s = await _until_health_is(health, NOT_SERVING)
        for text in ("b", LARGE):
            try:
                accepted.append(await stubs.submit(notes, text=text))
            except grpc.aio.AioRpcError as error:
                refused, wrong = refused + 1, wrong + (error.code() != trouble.code)
        (notes / "go").touch()
        await asyncio.sleep(LASTS_S)
    mended_s = await _until_health_is(health, SERVING)
    ended = [await stubs.ended(name, PATIENCE_S) for name in accepted]
    again = [await stubs.submit(notes, second="wait"), await stubs.submit(notes, text="b")]
    succeeded = [(await stubs.ended(name, PATIENCE_S)).HasField("response") for name in again]
    return {
        "wrong": wrong, "refused": refused, "again": runs(notes, "again"), "noticed_s": noticed_s,
        "lost": sum(not o.HasField("response") and o.error.code != trouble.code.value[0] for o in ended),
        "succeeded": sum(o.HasField("response") for o in ended), "accepted": len(ended),
        "mended_s": mended_s, "mended": sum(succeeded),
    }  # fmt: skip


async def _until_health_is(health: health_pb2_grpc.HealthStub, wanted: int) -> float:
    """How long that took."""
    begun = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        while (await health.Check(health_pb2.HealthCheckRequest())).status != wanted:
            await asyncio.sleep(0.1)
    return time.monotonic() - begun


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out.resolve()
    columns = {}
    for name, trouble in TROUBLES.items():
        place, media = out / name.replace(" ", "-"), out / "media"
        for folder in (place, media):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        if trouble.begins is not full:
            columns[name] = asyncio.run(measure(place, media, trouble))
            continue
        _run("mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place))
        try:
            columns[name] = asyncio.run(measure(place, media, trouble))
        finally:
            _run("umount", "--lazy", str(place))
    print(figure_table(ROWS, columns))


if __name__ == "__main__":
    main()

"""Does the service hold what it promises about uploads, hostile files and attacks?

    python -m benchmarks.service_guard [--mib 512] [--only upload|corpus]

``upload`` sends one file to a server of its own on the loopback device, from this process. A busy machine says little
by its clock, so the CPU seconds per gigabyte of both ends are shown too, and those of SHA-256 alone, which bounds them.
``corpus`` hands every hostile file of the tests to the process that reads uploads first.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import tempfile
import time
from pathlib import Path

import backlot

from benchmarks.markdown import Rows, figure_table
from services.artifacts.assets import AssetStore
from services.config import Config, ServerConfig, StoreConfig
from services.errors import InvalidRequest
from services.sandbox import Inspection, Sandbox
from tests.grpc.running import ServerProcess
from tests.media.hostile import build

ROWS: Rows = (
    ("upload on loopback (MB/s)", "upload_mb_s", ".0f", ">= 500"),
    ("server: CPU seconds per GB", "server_cpu_s", ".2f", ""),
    ("client: CPU seconds per GB", "client_cpu_s", ".2f", ""),
    ("of that SHA-256 at each end", "sha256_cpu_s", ".2f", ""),
    ("server's memory grows by (MiB)", "server_rss_mib", ".0f", "<= 64"),
    ("hostile files", "hostile_files", "d", ">= 200"),
    ("of them taken for good", "hostile_taken", "d", "0"),
    ("readers that ended", "hostile_crashes", "d", "0"),
    ("longest (s)", "hostile_longest_s", ".1f", "<= 30"),
    ("reader's peak memory (GiB)", "hostile_peak_gib", ".2f", "<= 2"),
)
GB = 1e9


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_bytes(pid: int | None, key: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().partition(f"{key}:")[2].split()[0]) * 1024


def sha256_cpu_s(data: bytes) -> float:
    begun = time.process_time()
    hashlib.sha256(data).digest()
    return (time.process_time() - begun) / len(data) * GB


async def upload(folder: Path, mib: int) -> dict[str, object]:
    """One file of ``mib`` MiB; what is hashed beforehand to name it is not counted."""
    clip = folder / "clip.bin"
    block = os.urandom(2**20)
    with clip.open("wb") as stream:
        for i in range(mib):
            stream.write(i.to_bytes(8, "big") + block[8:])
    server = ServerConfig(journal=str(folder / "journal"), registry="services.executors.registry")
    process = await ServerProcess.start(Config(server=server, store=StoreConfig(url=str(folder / "store"))), folder)
    pid, size = process.process.pid, clip.stat().st_size
    try:
        figures = await asyncio.to_thread(_sent, process.address, clip, pid, size)
        return figures | {"sha256_cpu_s": sha256_cpu_s(block * 64)}
    finally:
        process.process.terminate()
        await process.process.wait()


def _sent(address: str, clip: Path, pid: int, size: int) -> dict[str, object]:
    from backlot import _uploads
    from backlot._requests import Input, InputKind

    with backlot.Client(address) as client:
        small = clip.with_name("small.bin")
        small.write_bytes(b"x")
        client.upload(Input(str(small), InputKind.FILE))  # the first call imports and connects
        asset = _uploads.scan(Input(str(clip), InputKind.FILE))
        before_bytes, server_s, mine = status_bytes(pid, "VmRSS"), cpu_s(pid), resource.getrusage(resource.RUSAGE_SELF)
        begun = time.monotonic()
        client._media.Upload(_uploads.upload_messages(asset, _uploads.missing_files(asset, ())))
        seconds = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "upload_mb_s": size / 1e6 / seconds,
        "server_cpu_s": (cpu_s(pid) - server_s) / size * GB,
        "client_cpu_s": (after.ru_utime + after.ru_stime - mine.ru_utime - mine.ru_stime) / size * GB,
        "server_rss_mib": (status_bytes(pid, "VmHWM") - before_bytes) / 2**20,
    }


async def corpus(folder: Path) -> dict[str, object]:
    sandbox = Sandbox(folder / "server", AssetStore(folder / "assets"))
    count = taken = crashes = 0
    longest_s, peak_bytes, pid = 0.0, 0, None
    for item in build(folder):
        count, begun = count + 1, time.monotonic()
        home = item.path if item.path.is_dir() else item.path.parent
        try:
            await sandbox.inspect(Inspection(item.path, item.kind, "media", home))
            taken += 1
        except InvalidRequest:
            pass
        crashes += pid is not None and sandbox.pid != pid
        longest_s = max(longest_s, time.monotonic() - begun) if pid else 0.0  # the first one starts the reader
        pid = sandbox.pid
        peak_bytes = max(peak_bytes, status_bytes(pid, "VmHWM") if pid else 0)
    await sandbox.close()
    return {
        "hostile_files": count, "hostile_taken": taken, "hostile_crashes": crashes, "hostile_longest_s": longest_s,
        "hostile_peak_gib": peak_bytes / 2**30,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--only", choices=("upload", "corpus"))
    options = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="backlot-guard-") as folder:
        if options.only != "corpus":
            figures |= asyncio.run(upload(Path(folder), options.mib))
        if options.only != "upload":
            figures |= asyncio.run(corpus(Path(folder)))
    print(figure_table(ROWS, {"value": figures}))


if __name__ == "__main__":
    main()

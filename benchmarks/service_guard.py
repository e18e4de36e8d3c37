"""Does the service hold what it promises about uploads, hostile files and attacks?

    python -m benchmarks.service_guard [--mib 512] [--times 3] [--touch-memory] [--only upload|cut|corpus]

``upload`` sends files to a server of its own on the loopback device, from this process, one after another; the first
one is not counted, and the median of the others is told. A busy machine says little by its clock, so the CPU seconds
per gigabyte of both ends are shown too, and those of SHA-256 alone, which bounds them. A virtual machine may have to
get every page of its memory from its host when it is used anew, which can take longer than all the rest (see ``dd``
there): with ``--touch-memory`` a file as large is written and removed right before each run, whose pages are free then.
``cut`` kills the server in the middle of a file and starts it again. ``corpus`` hands every hostile file of the tests
to the process that reads uploads first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import backlot
import grpc
from backlot import _uploads
from backlot._requests import Input, InputKind
from backlot.v1 import media_pb2

from benchmarks.markdown import Rows, figure_table
from services.artifacts.assets import AssetStore
from services.config import Config, ServerConfig, StoreConfig
from services.errors import InvalidRequest
from services.sandbox import Inspection, Sandbox
from tests.grpc.running import ServerProcess
from tests.media.hostile import build

ROWS: Rows = (
    ("upload on loopback (MB/s)", "upload_mb_s", ".0f", ">= 500"),
    ("the same with reading the file once more, before, to name it (MB/s)", "named_mb_s", ".0f", ""),
    ("server: CPU seconds per GB", "server_cpu_s", ".2f", ""),
    ("client: CPU seconds per GB", "client_cpu_s", ".2f", ""),
    ("of that SHA-256 at each end", "sha256_cpu_s", ".2f", ""),
    ("server's memory grows by (MiB)", "server_rss_mib", ".0f", "<= 64"),
    ("after a cut: arrived before it, and not sent again (MiB)", "cut_kept_mib", ".0f", "> 0"),
    ("after a cut: the file is whole", "cut_whole", "d", "1"),
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


def written(path: Path, mib: int) -> Path:
    """A file that is like no other."""
    block = os.urandom(2**20)
    with path.open("wb") as stream:
        for i in range(mib):
            stream.write(i.to_bytes(8, "big") + block[8:])
    return path


def _config(folder: Path) -> Config:
    server = ServerConfig(journal=str(folder / "journal"), registry="services.executors.registry")
    return Config(server=server, store=StoreConfig(url=str(folder / "store")))


def touch_memory(folder: Path, mib: int) -> None:
    with tempfile.TemporaryFile(dir=folder, buffering=0) as stream:
        for _ in range(mib):
            stream.write(bytes(2**20))


async def upload(folder: Path, mib: int, times: int, touched_mib: int) -> dict[str, float]:
    """Files of ``mib`` MiB; what is hashed beforehand to name them is not counted."""
    process = await ServerProcess.start(_config(folder), folder)
    runs: list[dict[str, float]] = []
    try:
        for _ in range(1 + times):
            clip = written(folder / "clip.bin", mib)
            runs.append(await asyncio.to_thread(_sent, process.address, clip, process.process.pid, touched_mib))
            print({name: round(value, 2) for name, value in runs[-1].items()}, flush=True)
            shutil.rmtree(folder / "journal" / "assets")
    finally:
        process.process.terminate()
        await process.process.wait()
    figures = {name: median(run[name] for run in runs[1:]) for name in runs[0]}
    figures["server_rss_mib"] = max(run["server_rss_mib"] for run in runs)
    return figures | {"sha256_cpu_s": sha256_cpu_s(os.urandom(64 * 2**20))}


async def cut(folder: Path, mib: int) -> dict[str, float]:
    clip = Input(str(written(folder / "cut.bin", mib)), InputKind.FILE)
    process = await ServerProcess.start(_config(folder), folder)
    asset = _uploads.scan(clip)

    def killing() -> Iterator[media_pb2.UploadRequest]:
        for number, message in enumerate(_uploads.upload_messages(asset, _uploads.missing_files(asset, ()))):
            if number == mib // 2:
                process.process.kill()
            yield message

    with backlot.Client(process.address) as client, contextlib.suppress(grpc.RpcError):
        await asyncio.to_thread(client._media.Upload, killing())
    await process.process.wait()
    process = await ServerProcess.start(_config(folder), folder)
    there: list[int] = []
    with backlot.Client(process.address) as client:
        await asyncio.to_thread(client.upload, clip, lambda done, total: there.append(done))
    process.process.terminate()
    await process.process.wait()
    arrived = folder / "journal" / "assets" / asset.asset_id / "files" / "cut.bin"
    whole = _uploads.sha256_of(arrived) == asset.files[0].sha256
    return {"cut_kept_mib": (there[0] - _uploads.CHUNK_BYTES) / 2**20, "cut_whole": whole}


def _sent(address: str, clip: Path, pid: int, touched_mib: int) -> dict[str, float]:
    size = clip.stat().st_size
    with backlot.Client(address) as client:
        small = clip.with_name("small.bin")
        small.write_bytes(b"x")
        client.upload(Input(str(small), InputKind.FILE))  # the first call imports and connects
        begun = time.monotonic()
        asset = _uploads.scan(Input(str(clip), InputKind.FILE))
        scanned_s = time.monotonic() - begun
        if touched_mib:
            touch_memory(clip.parent, touched_mib)
        before_bytes, server_s, mine = status_bytes(pid, "VmRSS"), cpu_s(pid), resource.getrusage(resource.RUSAGE_SELF)
        begun = time.monotonic()
        client._media.Upload(_uploads.upload_messages(asset, _uploads.missing_files(asset, ())))
        seconds = time.monotonic() - begun
        after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "upload_mb_s": size / 1e6 / seconds,
        "named_mb_s": size / 1e6 / (seconds + scanned_s),
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
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--touch-memory", action="store_true")
    parser.add_argument("--only", choices=("upload", "cut", "corpus"))
    options = parser.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="backlot-guard-") as folder:
        if options.only in (None, "upload"):
            touched_mib = options.mib if options.touch_memory else 0
            figures |= asyncio.run(upload(Path(folder), options.mib, options.times, touched_mib))
        if options.only in (None, "cut"):
            figures |= asyncio.run(cut(Path(folder), options.mib))
        if options.only in (None, "corpus"):
            figures |= asyncio.run(corpus(Path(folder)))
    print(figure_table(ROWS, {"value": figures}))


if __name__ == "__main__":
    main()

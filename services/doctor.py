"""``python -m services.doctor [--json]``: what is installed, what is ready, what is not and why.

Exit code 0 when a clip can be solved and an object inserted with the configured backends, else 1.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from models.errors import ModelError
from services.artifacts.store import Store
from services.config import Config, load
from services.errors import BacklotError, InvalidRequest
from services.listening import check_listen, tokens_of

LIBRARIES = (
    "numpy", "opencv-contrib-python-headless", "av", "OpenEXR", "opencolorio", "mitsuba", "drjit", "open3d", "pycolmap",
    "trimesh", "usd-core", "pymatting", "grpcio", "protobuf", "omegaconf", "fsspec", "psd-tools",
    "prometheus-client",
)  # fmt: skip
EXTRAS = ("torch", "diffusers", "transformers", "xformers", "pytorch3d", "segment-anything", "decord", "ray", "viser")
DECODERS = ("h264", "hevc", "prores", "dnxhd", "ffv1", "vp9", "mjpeg")
ENCODERS = ("libx264", "prores_ks", "dnxhd", "ffv1")
WITHOUT_WEIGHTS = ("embedded", "none")
IMPORT_S = 120.0  # the first import after an installation is slow


@dataclass(frozen=True)
class Check:
    """``detail`` says what was found or, when it is not ready, why and what it needs."""

    name: str
    ready: bool
    detail: str
    required: bool = True


def examine(config: Config) -> list[Check]:
    parts: tuple[Callable[[Config], Iterator[Check]], ...] = (
        _libraries, _codecs, _reconstruction, _renderers, _backends, _storage, _front_door, _extras
    )  # fmt: skip
    return [check for part in parts for check in part(config)]


def _libraries(config: Config) -> Iterator[Check]:
    yield Check("python", sys.version_info >= (3, 11), platform.python_version())
    for name in LIBRARIES:
        version = _version(name)
        yield Check(name, version is not None, version or "not installed: make install")


def _codecs(config: Config) -> Iterator[Check]:
    import av

    for kind, mode, names in (("decoder", "r", DECODERS), ("encoder", "w", ENCODERS)):
        for name in names:
            try:
                av.Codec(name, mode)  # type: ignore[arg-type]
                yield Check(f"{kind} {name}", True, "in PyAV's FFmpeg")
            except ValueError:
                yield Check(f"{kind} {name}", False, "not in PyAV's FFmpeg: install the wheel", name == "libx264")


def _reconstruction(config: Config) -> Iterator[Check]:
    """Each in a process of its own: a missing system library may end the process that imports it."""
    yield _import("structure from motion (pycolmap)", "pycolmap")
    yield _import("fusion (open3d)", "open3d", needs="system libraries libusb-1.0, libgl1 and libgomp1")


def _renderers(config: Config) -> Iterator[Check]:
    from geometry.render.variants import MIN_LLVM, choose, llvm_libraries

    found = llvm_libraries()
    yield Check("LLVM", bool(found), ", ".join(found) or f"none >= {MIN_LLVM}: install libllvm{MIN_LLVM}", False)
    wanted = config.render.variant
    for variant in dict.fromkeys((wanted, "auto", "llvm", "scalar", "cuda")):
        try:
            chosen = choose(variant)
            yield Check(f"renderer {variant}", True, chosen.message or chosen.name, variant == wanted)
        except (RuntimeError, ValueError) as error:
            yield Check(f"renderer {variant}", False, str(error), variant == wanted)


def _backends(config: Config) -> Iterator[Check]:
    """The configured ones, then every checkpoint that has a manifest; weights are looked for, never fetched."""
    from models import checkpoints

    policy = replace(config.models.policy, allow_download=False)

    def check(label: str, name: str, required: bool) -> Check:
        try:
            manifest = checkpoints.read_manifest(name)
            found = checkpoints.find(manifest, policy)
        except ModelError as error:
            return Check(label, False, str(error), required)
        missing = [name for name in ("torch", "transformers", "diffusers") if _version(name) is None]
        if missing:
            return Check(label, False, f"{' and '.join(missing)} not installed: pip install '.[learned]'", required)
        memory = f", about {manifest.vram_gib:g} GiB of GPU memory" if manifest.vram_gib else ""
        return Check(label, True, f"{manifest.kind}: {manifest.backend} in {found.folder}{memory}", required)

    for section in (config.reconstruct, config.harmonize, config.previs, config.plate):
        for field in fields(section):
            if field.name.endswith("backend"):
                key = f"{type(section).__name__.removesuffix('Settings').lower()}.{field.name}"
                name = getattr(section, field.name)
                yield Check(key, True, name) if name in WITHOUT_WEIGHTS else check(key, name, required=True)
    for name in checkpoints.names():
        yield check(f"checkpoint {name}", name, required=False)


def _front_door(config: Config) -> Iterator[Check]:
    server = config.server
    try:
        check_listen(server)
        tokens_of(server)
        asks = "a token" if server.token_file else "a client certificate" if server.tls_client_ca else "nothing"
        yield Check("address", True, f"{server.listen}, asks for {asks}{', TLS' if server.tls_certificate else ''}")
    except InvalidRequest as error:
        yield Check("address", False, str(error))
    for root in server.media_roots:
        folder = Path(root).expanduser()
        ready = folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)
        yield Check(f"media root {root}", ready, str(folder.resolve()) if ready else "not a folder that can be read")


def _storage(config: Config) -> Iterator[Check]:
    try:
        store = Store(config.store.location, config.store.cap_bytes)
        with tempfile.TemporaryFile(dir=store.root):
            pass
        free = shutil.disk_usage(store.root).free
        sizes = f"{_gib(store.size_bytes())} of at most {_gib(config.store.cap_bytes)}, {_gib(free)} free"
        yield Check("store", True, f"{store.root}: {sizes}")
    except (OSError, BacklotError) as error:
        yield Check("store", False, f"{config.store.location}: {error}")
    folder = config.server.journal_folder
    parent = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    writable = os.access(parent, os.W_OK)
    yield Check("journal", writable, str(folder) if writable else f"{parent} cannot be written")


def _extras(config: Config) -> Iterator[Check]:
    for name in EXTRAS:
        version = _version(name)
        yield Check(f"extra {name}", version is not None, version or "not installed", required=False)


def _import(name: str, module: str, needs: str = "") -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(name, False, "not installed: make install")
    command = [sys.executable, "-c", f"import {module}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_S)
    except subprocess.TimeoutExpired:
        return Check(name, False, f"import takes longer than {IMPORT_S:.0f} s")
    if done.returncode == 0:
        return Check(name, True, _version(module) or "")
    words = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    return Check(name, False, f"{words}; needs {needs}" if needs else words)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB"


def _line(check: Check) -> str:
    mark = "ok  " if check.ready else "FAIL" if check.required else "-   "
    return f"{mark} {check.name:34} {check.detail}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m services.doctor", description=__doc__)
    parser.add_argument("--config", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    checks = examine(load(options.config))
    healthy = all(check.ready for check in checks if check.required)
    if options.json:
        text = json.dumps({"healthy": healthy, "checks": [asdict(check) for check in checks]}, indent=1)
    else:
        text = "\n".join(map(_line, checks))
    sys.stdout.write(text + "\n")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())

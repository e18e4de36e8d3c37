"""Which Mitsuba variant this machine can run, found once and remembered.

``llvm_ad_rgb`` needs a libLLVM. Versions 15 and 16 abort the whole process in code generation on CPUs with AVX-512, so
versions from 19 on are tried, newest first, each probed in a subprocess. Without one, ``scalar_rgb`` does the same
work several times slower.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

MIN_LLVM = 19
LIBRARY_FOLDERS = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/llvm-*/lib", "/usr/local/lib", "/usr/local/opt/llvm*/lib", "/opt/homebrew/opt/llvm*/lib",
)  # fmt: skip
VARIANTS = {"llvm": "llvm_ad_rgb", "scalar": "scalar_rgb", "cuda": "cuda_ad_rgb"}
_PROBE = """
import mitsuba as mi, numpy as np
mi.set_variant("{variant}")
scene = mi.load_dict({{"type": "scene", "light": {{"type": "constant"}}, "ball": {{"type": "sphere"}},
    "sensor": {{"type": "perspective", "film": {{"type": "hdrfilm", "width": 8, "height": 8}}}},
    "integrator": {{"type": "path"}}}})
assert np.isfinite(np.array(mi.render(scene, spp=1))).all()
"""


@dataclass(frozen=True)
class Variant:
    """``name`` as Mitsuba calls it; ``message`` says why when it is not the fast one."""

    name: str
    llvm_path: str = ""
    message: str = ""


def llvm_libraries() -> tuple[str, ...]:
    """Paths of installed libLLVM files of version ``MIN_LLVM`` or newer, newest first."""
    found: dict[str, int] = {}
    for folder in LIBRARY_FOLDERS:
        for path in Path("/").glob(f"{folder.lstrip('/')}/libLLVM*"):
            match = re.fullmatch(r"libLLVM(?:-(\d+))?\.(?:so|dylib)(?:\.(\d+)[\d.]*)?", path.name)
            if match and not path.is_dir():
                # ``libLLVM-18.so.1`` carries the version first, ``libLLVM.so.19.1`` last.
                version = int(match[1] or match[2] or 0)
                found.setdefault(str(path.resolve()), version)
    new_enough = [(version, path) for path, version in found.items() if version >= MIN_LLVM]
    return tuple(path for _, path in sorted(new_enough, reverse=True))


@functools.cache
def choose(wanted: str = "auto") -> Variant:
    """The variant for ``wanted`` (auto, llvm, scalar, cuda). ``auto`` is LLVM where it works, else scalar.

    Raises ``ValueError`` for an unknown name and ``RuntimeError`` when the wanted variant does not run here.
    """
    if wanted == "scalar":
        return Variant(VARIANTS["scalar"])
    if wanted == "cuda":
        if not _probe(VARIANTS["cuda"], ""):
            raise RuntimeError("renderer variant cuda: expected a working NVIDIA driver with OptiX, found none")
        return Variant(VARIANTS["cuda"])
    if wanted not in ("auto", "llvm"):
        raise ValueError(f"variant: expected auto, {', '.join(VARIANTS)}, got {wanted!r}")
    named = os.environ.get("DRJIT_LIBLLVM_PATH")
    for path in (named,) if named else llvm_libraries():
        if _probe(VARIANTS["llvm"], path):
            return Variant(VARIANTS["llvm"], path)
    message = f"no working libLLVM >= {MIN_LLVM} (install libllvm{MIN_LLVM}): rendering is several times slower"
    if wanted == "llvm":
        raise RuntimeError(f"renderer variant llvm: {message}")
    log.warning(message)
    return Variant(VARIANTS["scalar"], message=message)


def activate(variant: Variant) -> None:
    """Make ``variant`` Mitsuba's current one. Cheap when it already is. ``BACKLOT_RENDER_THREADS`` bounds the threads;
    pictures do not depend on it."""
    if variant.llvm_path:
        os.environ.setdefault("DRJIT_LIBLLVM_PATH", variant.llvm_path)  # Dr.Jit reads it when LLVM is first used
    import mitsuba as mi

    if mi.variant() != variant.name:
        mi.set_variant(variant.name)
    threads = os.environ.get("BACKLOT_RENDER_THREADS")
    if threads:
        import drjit

        drjit.set_thread_count(int(threads))


def _probe(variant: str, llvm_path: str) -> bool:
    """Does a tiny render survive in a process of its own? Remembered on disk per library, CPU and Mitsuba version."""
    remembered = _cache_folder() / f"probe-{_probe_key(variant, llvm_path)}"
    if remembered.exists():
        return remembered.read_text() == "works"
    environment = {**os.environ, **({"DRJIT_LIBLLVM_PATH": llvm_path} if llvm_path else {})}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(variant=variant)], env=environment, capture_output=True, timeout=120
    )
    works = done.returncode == 0
    if works:  # a failure may be transient (a driver being installed): only success is remembered
        _remember(remembered)
    return works


def _remember(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("works")
    except OSError:
        log.debug("cannot remember the renderer probe in %s", path)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backlot" / "renderer"


def _probe_key(variant: str, llvm_path: str) -> str:
    from importlib.metadata import version

    stamp = os.stat(llvm_path).st_mtime_ns if llvm_path and os.path.exists(llvm_path) else 0
    facts = (variant, llvm_path, stamp, version("mitsuba"), version("drjit"), _cpu_name(), sys.executable)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:20]


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())

"""Keys of stages: what a stage's output depends on, as one SHA-256.

In the key: the function's qualified name, a fingerprint of its code, its config, the digests of its inputs.
Never in it: paths, thread counts, times.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from services.config import ROOT

FIRST_PARTY = ("services", "models", "geometry")
# Backends are named in registries as "models.depth.flow:Backend": such strings are imports, too.
_REFERENCE = re.compile(rf"({'|'.join(FIRST_PARTY)})(\.\w+)+(:\w+)?")


def stage_key(function: Callable[..., Any], config: Any, inputs: Mapping[str, str], salt: str = "") -> str:
    """``inputs`` maps names to content digests; a ``salt`` sets the key apart from all others."""
    identity = {
        "stage": f"{function.__module__}.{function.__qualname__}",
        "code": fingerprint(function.__module__),
        "config": canonical(config),
        "inputs": dict(inputs),
        "salt": salt,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, allow_nan=False).encode()).hexdigest()


def canonical(value: Any) -> Any:
    """``value`` as plain JSON data; equal values give equal text. Floats as their shortest exact decimal, so that 1
    and 1.0 differ. Raises TypeError for what has no canonical form: objects, and paths, which must not be in a key."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, np.generic):
        return canonical(value.item())
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    if isinstance(value, enum.Enum):
        return {"enum": f"{type(value).__qualname__}.{value.name}"}
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, np.ndarray) and value.dtype != object:
        content = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return {"array": content, "dtype": value.dtype.str, "shape": list(value.shape)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: canonical(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"dataclass": type(value).__qualname__, "fields": fields}
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError(f"stage config: expected mappings with string keys, got {list(value)[:5]}")
        return {"mapping": {name: canonical(item) for name, item in value.items()}}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(json.dumps(canonical(item), sort_keys=True) for item in value)}
    raise TypeError(f"stage config: expected dataclasses and plain data, got {type(value).__name__}")


@cache
def fingerprint(module: str, root: Path = ROOT) -> str:
    """SHA-256 over the sources of ``module`` and of all first-party modules that it imports, transitively, also inside
    functions. Static: nothing is imported."""
    sources: dict[str, str] = {}
    pending = [module, *_with_parents(module)]
    while pending:
        name = pending.pop()
        path = _source(name, root) or (_loaded_from(name) if name == module else None)
        if path is None or name in sources:
            continue
        text = path.read_bytes()
        sources[name] = hashlib.sha256(text).hexdigest()
        pending += _imports(text, name, is_package=path.name == "__init__.py")
    if module not in sources:
        raise TypeError(f"stage function: expected one of a module with a source file, got {module}")
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


def _imports(text: bytes, name: str, is_package: bool) -> Iterator[str]:
    """Names of first-party modules, and of attributes of such modules, that ``text`` refers to."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".")[: None if is_package and node.level == 1 else -node.level + is_package]
                base = ".".join([*package, *([base] if base else [])])
            for alias in node.names:
                yield from _with_parents(f"{base}.{alias.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _REFERENCE.fullmatch(node.value):
            yield from _with_parents(node.value.partition(":")[0])


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    if parts[0] in FIRST_PARTY:
        yield from (".".join(parts[:n]) for n in range(1, len(parts) + 1))


def _source(name: str, root: Path) -> Path | None:
    base = root.joinpath(*name.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _loaded_from(name: str) -> Path | None:
    """The file of a module that is not ours: a test, or a plug-in that brings its own stages."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return Path(file) if file else None

"""What a pipeline sees of the service around it.

A pipeline is a plain function ``run(request, context)``; it calls ``context.stage`` for everything that costs time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from services.config import Settings


@dataclass(frozen=True)
class Artifact:
    """A finished, immutable stage output: a folder whose manifest (sha256 per file) exists."""

    digest: str  # sha256 of the manifest: what downstream stages hash as their input
    path: Path


class Report(Protocol):
    def __call__(self, done: int, total: int, preview: np.ndarray | None = None) -> None:
        """Progress of the running stage; ``preview`` (H, W, 3) uint8 sRGB. Raises ``Cancelled`` when asked to stop."""
        ...


# A stage writes its files under ``out`` and nothing else; what it does depends on its keyword arguments only.
StageFunction = Callable[..., None]


class Context(Protocol):
    def stage(
        self,
        function: StageFunction,
        *,
        config: Any,
        inputs: Mapping[str, Artifact | str],
        label: str | None = None,
        weight: float = 1.0,
        **live: Any,
    ) -> Artifact:
        """Run ``function(out=..., config=config, report=..., **artifacts, **live)`` unless its output exists.

        The key hashes the function's qualified name, a fingerprint of its code (its module and all first-party
        modules that it imports, transitively), ``config`` (a dataclass or plain data) and the digests of ``inputs``.
        Artifacts among ``inputs`` are passed to the function under their names; strings (content digests of source
        files) only enter the key. ``live`` objects (an open clip, a loaded scene) are passed on and never hashed: they
        must be derived from ``inputs``. ``weight`` is the stage's share in overall progress; ``label`` what users read.
        """
        ...

    def chunks(
        self,
        function: StageFunction,
        *,
        configs: Sequence[Any],
        inputs: Mapping[str, Artifact | str],
        label: str | None = None,
        weight: float = 1.0,
        **live: Any,
    ) -> Iterator[Artifact]:
        """As ``stage`` for each config, in order; ``weight`` is that of all together. None may need another's output:
        where other workers have nothing to do, they help with those that are still to come."""
        ...

    @property
    def settings(self) -> Settings:
        """The deployment's choice of backends."""
        ...

    def deliver(self, artifact: Artifact, under: str = "") -> None:
        """Add the artifact's files to the job's result, below folder ``under``; the client can fetch them at once."""
        ...

    def warn(self, message: str) -> None:
        """A remark for the user: into the job's events and its report."""
        ...

    @property
    def timings(self) -> dict[str, float]:
        """Seconds of each stage that ran in this job, 0 for a hit, in order."""
        ...

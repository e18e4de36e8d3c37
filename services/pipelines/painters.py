"""Which model paints and which makes inbetweens: the embedded one, or a checkpoint by its name; loaded when needed."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from geometry.plates.code_values import codes, from_codes
from geometry.plates.outpaint import Painter
from models import registry
from models.checkpoints import Checkpoint
from models.runtime import Runtime
from services.config import ModelsSettings
from services.errors import InvalidRequest
from services.pipelines.learned import open_checkpoint, service_errors

EMBEDDED = "embedded"
_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # nothing that leads to another folder


class Backend:
    """``kind`` as in ``models.registry``; ``setting``: the field, or the key of the configuration, that chose it."""

    def __init__(self, kind: str, setting: str, checkpoint: Checkpoint | None, settings: ModelsSettings) -> None:
        self.kind, self.setting, self.checkpoint, self.runtime = kind, setting, checkpoint, settings.runtime
        self._model: Any = None

    @property
    def is_embedded(self) -> bool:
        return self.checkpoint is None

    @property
    def name(self) -> str:
        """For reports."""
        if self.checkpoint is None:
            return next(iter(registry.EMBEDDED[self.kind]))
        return f"{self.checkpoint.manifest.backend} ({self.checkpoint.manifest.name})"

    @property
    def digest(self) -> str:
        """For the keys of stages: the same weights, computing the same way."""
        if self.checkpoint is None:
            return self.name
        runtime = self.runtime
        return f"{self.checkpoint.digest} {runtime.device} {runtime.precision} {runtime.attention}"

    @contextmanager
    def model(self) -> Iterator[Any]:
        """What the Protocol of its kind promises; stays loaded until ``close``. Errors become the service's."""
        with service_errors(self.setting):
            if self._model is None and self.checkpoint is None:
                self._model = registry.embedded(self.kind, self.name)
            elif self._model is None:
                assert self.checkpoint is not None
                self._model = registry.load(self.checkpoint, Runtime.open(self.runtime))
            yield self._model

    def close(self) -> None:
        """Let go of the weights: the next model may need the memory."""
        self._model = None
        gc.collect()


def choose(
    kind: str, field: str, asked: str, configured: str, settings: ModelsSettings, section: str = "previs"
) -> Backend:
    """``asked`` for by the request, else ``configured`` in a ``section``. A request names manifests, never files of
    the server.

    Raises ``InvalidRequest``, and ``Unsupported`` for weights that are absent or must not be used.
    """
    if asked and (asked.endswith((".yaml", ".yml")) or not _NAME.fullmatch(asked)):
        raise InvalidRequest(field, "the name of a checkpoint: a file of one is for the configuration", asked)
    name, setting = (asked, field) if asked else (configured, f"{section}.{field}")
    checkpoint = None if name == EMBEDDED else open_checkpoint(name, kind, setting, settings)
    return Backend(kind, setting, checkpoint, settings)


def painting(backend: Backend | None, prompt: str, seed: int) -> Painter | None:
    """What paints the masked part of a plate's picture; None: the embedded way."""
    if backend is None:
        return None

    def paint(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        values, white = codes(picture)
        with backend.model() as model:
            return from_codes(model.fill(values, mask, prompt, (seed,)), white, picture.dtype)

    return paint

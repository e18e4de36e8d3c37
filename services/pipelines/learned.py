"""Learned backends as pipelines meet them: a checkpoint by its name, errors in the words of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from models.checkpoints import Checkpoint, find, read_manifest
from models.errors import (
    AlignmentFailed,
    BadManifest,
    CheckpointAbsent,
    CheckpointRefused,
    DeviceMissing,
    InputRefused,
    MemoryExhausted,
    ModelError,
    PackageMissing,
    UnknownName,
)
from services.config import ModelsSettings
from services.errors import BacklotError, InvalidRequest, OutOfMemory, Unsolvable, Unsupported

# The nearest class decides; what a deployment lacks is unsupported until somebody puts it there.
TABLE: dict[type[ModelError], type[BacklotError]] = {
    UnknownName: InvalidRequest,
    BadManifest: InvalidRequest,
    InputRefused: InvalidRequest,
    PackageMissing: Unsupported,
    DeviceMissing: Unsupported,
    MemoryExhausted: OutOfMemory,
    CheckpointAbsent: Unsupported,
    CheckpointRefused: Unsupported,
    AlignmentFailed: Unsolvable,
    ModelError: Unsupported,
}


def open_checkpoint(name: str, kind: str, setting: str, settings: ModelsSettings) -> Checkpoint:
    """The checkpoint that the configuration's key ``setting`` names; nothing is loaded yet."""
    with service_errors(setting):
        return find(read_manifest(name, kind), settings.policy)


@contextmanager
def service_errors(setting: str) -> Iterator[None]:
    """Turns a ``ModelError`` into the ``BacklotError`` of ``TABLE``; ``setting`` is the key that asked for a model."""
    try:
        yield
    except ModelError as error:
        cls = next(TABLE[cls] for cls in type(error).__mro__ if cls in TABLE)
        if cls is InvalidRequest:
            raise InvalidRequest(setting, "a usable checkpoint", error) from error
        if cls is Unsolvable:
            raise Unsolvable(error.message, error.hint) from error
        raise cls(f"{setting}: {error}") from error

"""Segment Anything (Kirillov et al. 2023) through its authors' own package: clicked or boxed things in one picture.

The package needs torchvision. A checkpoint is its state dict as safetensors, and ``config.json`` that names the
network: {"model_type": "vit_b"}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.base import Prompt
from models.checkpoints import Checkpoint
from models.errors import CheckpointRefused, PackageMissing, TensorsMissing, WrongClass
from models.runtime import Runtime

Array = np.ndarray


class SegmentAnything:
    """A ``PictureSegmenter``."""

    def __init__(self, predictor: Any, runtime: Runtime) -> None:
        self._predictor, self._runtime = predictor, runtime

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> SegmentAnything:
        label = f"checkpoint {checkpoint.manifest.name}"
        try:
            import segment_anything
        except (ImportError, RuntimeError) as error:  # torchvision beside another torch raises either
            raise PackageMissing("segment-anything or torchvision cannot be used", "Install the extra: sam") from error
        name = _model_type(checkpoint.folder, label)
        if name not in segment_anything.sam_model_registry:
            known = ", ".join(segment_anything.sam_model_registry)
            raise WrongClass(f"{label}: config.json: model_type: expected one of {known}, got {name!r}")
        network = segment_anything.sam_model_registry[name]()
        _fill(network, checkpoint.folder, label)
        return cls(segment_anything.SamPredictor(network.to(runtime.device).eval()), runtime)

    def segment(self, picture: Array, prompts: Sequence[Prompt]) -> Array:
        """(K, H, W) masks, of each prompt the one that the model itself thinks best.

        Raises ``ValueError`` for a painted mask: this model takes none.
        """
        if any(prompt.mask is not None for prompt in prompts):
            raise ValueError("prompt: expected clicks or a box, got a mask")
        with self._runtime.inference():
            self._predictor.set_image(picture)
            return np.stack([self._best(prompt) for prompt in prompts])

    def _best(self, prompt: Prompt) -> Array:
        logits, scores, _ = self._predictor.predict(
            point_coords=prompt.clicks, box=None if prompt.box is None else np.array(prompt.box, float),
            point_labels=None if prompt.inside is None else prompt.inside.astype(int), return_logits=True,
        )
        best: Array = logits[int(scores.argmax())]
        return (1 / (1 + np.exp(-np.clip(best, -50, 50)))).astype(np.float32)


def _model_type(folder: Path, label: str) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text())["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointRefused(f"{label}: config.json: expected a JSON object with model_type") from error


def _fill(network: Any, folder: Path, label: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Any] = {}
        for file in sorted(folder.glob("*.safetensors")):
            tensors |= load_file(file)
        network.load_state_dict(tensors)
    except SafetensorError as error:
        raise CheckpointRefused(f"{label}: cannot be read: {error}") from error
    except RuntimeError as error:
        raise TensorsMissing(f"{label}: its tensors do not fit: {str(error).splitlines()[-1].strip()}") from error

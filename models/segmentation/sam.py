"""Segment Anything (Kirillov et al. 2023) through transformers: masks of clicked or boxed things in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.base import Prompt
from models.checkpoints import Checkpoint
from models.loading import load_transformers
from models.pictures import IMAGENET_MEAN, IMAGENET_STD, as_array, network_input, resized
from models.runtime import Runtime

Array = np.ndarray


class Sam:
    """A ``PictureSegmenter``."""

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self._model, self._runtime = model, runtime
        self._side: int = model.config.vision_config.image_size

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> Sam:
        return cls(load_transformers("SamModel", ["sam"], checkpoint, runtime), runtime)

    def segment(self, picture: Array, prompts: Sequence[Prompt]) -> Array:
        """(K, H, W) masks, of each prompt the one that the model itself thinks best.

        Raises ``ValueError`` for a painted mask: this model takes none.
        """
        if any(prompt.mask is not None for prompt in prompts):
            raise ValueError("prompt: expected clicks or a box, got a mask")
        h, w = picture.shape[:2]
        # The longer side fills the network's square; the rest of it, below or to the right, is empty.
        inner = (round(h * self._side / max(h, w)), round(w * self._side / max(h, w)))
        scale = np.array(inner[::-1]) / (w, h)
        pixels = np.zeros((3, self._side, self._side), np.float32)
        with self._runtime.inference():
            pixels[:, : inner[0], : inner[1]] = network_input(picture, inner, IMAGENET_MEAN, IMAGENET_STD)
            embedding = self._model.get_image_embeddings(self._runtime.tensor(pixels[None]))
            found = np.stack([self._best(embedding, prompt, scale) for prompt in prompts])
            logits = resized(resized(found, (self._side, self._side))[:, : inner[0], : inner[1]], (h, w))
        return 1 / (1 + np.exp(-np.clip(logits, -50, 50)))

    def _best(self, embedding: Any, prompt: Prompt, scale: Array) -> Array:
        """(h, w) logits on the network's output raster."""
        import torch

        options: dict[str, Any] = {}
        if prompt.clicks is not None and prompt.inside is not None:
            options["input_points"] = self._coordinates(prompt.clicks[None, None], scale)
            labels = torch.from_numpy(np.asarray(prompt.inside, np.int64)[None, None])
            options["input_labels"] = labels.to(self._runtime.device)
        if prompt.box is not None:
            box = np.array(prompt.box, float).reshape(1, 1, 2, 2)
            options["input_boxes"] = self._coordinates(box, scale).reshape(1, 1, 4)
        found = self._model(image_embeddings=embedding, multimask_output=True, **options)
        best = int(found.iou_scores[0, 0].argmax())
        return as_array(found.pred_masks[0, 0, best])

    def _coordinates(self, px: Array, scale: Array) -> Any:
        """On the network's raster, in full precision; the model itself adds the half pixel to a centre."""
        import torch

        return torch.from_numpy((px * scale - 0.5).astype(np.float32)).to(self._runtime.device)

"""Depth Anything V1 and V2 (Yang et al. 2024) through transformers: relative inverse depth, or metres where trained so.

The picture is brought to the side the backbone was trained with (518 px), its shorter side, in multiples of a patch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.base import DepthPrediction
from models.checkpoints import Checkpoint
from models.loading import load_transformers
from models.pictures import IMAGENET_MEAN, IMAGENET_STD, as_array, network_input, resized
from models.runtime import Runtime

Array = np.ndarray

NEAREST_M = 0.01


class DepthAnything:
    """A ``DepthModel``."""

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self._model, self._runtime = model, runtime
        self._side, self._patch = model.config.backbone_config.image_size, model.config.patch_size

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> DepthAnything:
        return cls(
            load_transformers("DepthAnythingForDepthEstimation", ["depth_anything"], checkpoint, runtime), runtime
        )

    def predict(self, picture: Array) -> DepthPrediction:
        """``inverse_depth`` of an (H, W, 3) uint8 picture, on its raster."""
        hw = picture.shape[:2]
        with self._runtime.inference():
            pixels = network_input(picture, self._input_hw(hw), IMAGENET_MEAN, IMAGENET_STD, "bicubic")
            predicted = as_array(self._model(self._runtime.tensor(pixels[None])).predicted_depth)
            metric = self._model.config.depth_estimation_type == "metric"
            inverse = 1 / np.maximum(predicted, NEAREST_M) if metric else predicted
            return DepthPrediction(resized(inverse, hw)[0], metric)

    def _input_hw(self, hw: tuple[int, int]) -> tuple[int, int]:
        scale = self._side / min(hw)
        rows, columns = (max(1, round(side * scale / self._patch)) * self._patch for side in hw)
        return rows, columns

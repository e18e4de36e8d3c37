"""Depth Pro (Bochkovskii et al. 2024) through transformers: metres and the focal length from one picture.

The network sees the picture squeezed to a square and gives canonical inverse depth C, for a lens as long as the
picture is wide; true inverse depth is C * width / focal (their equation 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.base import DepthPrediction
from models.checkpoints import Checkpoint
from models.errors import WrongClass
from models.loading import load_transformers
from models.pictures import HALF, as_array, network_input, resized
from models.runtime import Runtime

Array = np.ndarray

FARTHEST_M = 1e4
FOV_RANGE_DEG = (1.0, 170.0)


class DepthPro:
    """A ``DepthModel`` that also tells ``focal_px``."""

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self._model, self._runtime = model, runtime
        self._side = round(model.config.patch_size / min(model.config.scaled_images_ratios))

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> DepthPro:
        model = load_transformers("DepthProForDepthEstimation", ["depth_pro"], checkpoint, runtime)
        if not model.config.use_fov_model:
            raise WrongClass(f"checkpoint {checkpoint.manifest.name}: expected one that tells the field of view")
        return cls(model, runtime)

    def predict(self, picture: Array) -> DepthPrediction:
        """``inverse_depth`` in 1/m of an (H, W, 3) uint8 picture, on its raster."""
        hw = picture.shape[:2]
        with self._runtime.inference():
            pixels = network_input(picture, (self._side, self._side), HALF, HALF)
            found = self._model(self._runtime.tensor(pixels[None]))
            fov = np.radians(np.clip(as_array(found.field_of_view)[0], *FOV_RANGE_DEG))
            focal_px = 0.5 * hw[1] / np.tan(0.5 * fov)
            inverse = np.maximum(as_array(found.predicted_depth) * (hw[1] / focal_px), 1 / FARTHEST_M)
            return DepthPrediction(resized(inverse, hw)[0], metric=True, focal_px=float(focal_px))

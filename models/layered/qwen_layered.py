"""Qwen-Image-Layered (2025) through diffusers: one picture as several RGBA layers, each whole behind the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from models.checkpoints import Checkpoint
from models.errors import InputRefused
from models.loading import load_components
from models.runtime import Runtime

Array = np.ndarray
MODELS = {
    "transformer": ("diffusers", "QwenImageTransformer2DModel"),
    "vae": ("diffusers", "AutoencoderKLQwenImage"),
    "text_encoder": ("transformers", "Qwen2_5_VLForConditionalGeneration"),
}


@dataclass(frozen=True)
class LayeredSettings:
    steps: int = 50
    true_cfg: float = 4.0
    negative_prompt: str = " "
    resolution: int = 640  # 640 or 1024, what the model was trained on


class QwenLayered:
    """A ``LayerSeparator``."""

    def __init__(self, pipeline: Any, runtime: Runtime, settings: LayeredSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> QwenLayered:
        components = load_components(checkpoint, runtime, MODELS, unused=("processor",))  # it only describes pictures
        from diffusers import QwenImageLayeredPipeline

        pipeline = runtime.place_pipeline(QwenImageLayeredPipeline(**components, processor=None))
        return cls(pipeline, runtime, checkpoint.settings(LayeredSettings))

    def separate(self, picture: Array, layers: int, prompt: str, seed: Sequence[int]) -> list[Array]:
        """See ``LayerSeparator``. The model works at its own resolution; layers are enlarged from there."""
        if not prompt.strip():
            raise InputRefused("prompt: expected what the picture shows, got nothing")
        if layers < 1:
            raise InputRefused(f"layers: expected at least one, got {layers}")
        from PIL import Image

        settings, (height, width) = self.settings, picture.shape[:2]
        with self.runtime.inference():
            found = self.pipeline(
                image=Image.fromarray(picture).convert("RGBA"), prompt=prompt, layers=layers,
                negative_prompt=settings.negative_prompt if settings.true_cfg > 1 else None,
                true_cfg_scale=settings.true_cfg, num_inference_steps=settings.steps, resolution=settings.resolution,
                generator=self.runtime.generator(seed), output_type="np",
            ).images[0]
        large = [cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in found]
        return [np.rint(np.clip(layer, 0, 1) * 255).astype(np.uint8) for layer in large]

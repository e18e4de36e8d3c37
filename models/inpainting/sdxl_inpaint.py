"""Stable Diffusion XL's inpainting (Podell et al. 2023) through diffusers: words say what a mask shall show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.checkpoints import Checkpoint
from models.inpainting.window import filled
from models.loading import load_components
from models.runtime import Runtime

Array = np.ndarray
MODELS = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
}
MULTIPLE = 8


@dataclass(frozen=True)
class SdxlInpaintSettings:
    steps: int = 30
    guidance: float = 7.5
    strength: float = 0.99  # 1 forgets what was there; a little less keeps its tone
    negative_prompt: str = ""
    refine: float = 0.3  # strength of a second pass over what was painted, which hides its seam; 0 = none
    side_px: int = 1024


class SdxlInpaint:
    """An ``Inpainter``."""

    def __init__(self, pipeline: Any, runtime: Runtime, settings: SdxlInpaintSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> SdxlInpaint:
        components = load_components(checkpoint, runtime, MODELS)
        from diffusers import StableDiffusionXLInpaintPipeline

        pipeline = runtime.place_pipeline(StableDiffusionXLInpaintPipeline(**components, add_watermarker=False))
        return cls(pipeline, runtime, checkpoint.settings(SdxlInpaintSettings))

    def fill(self, picture: Array, mask: Array, prompt: str, seed: Sequence[int]) -> Array:
        """See ``Inpainter``."""
        settings = self.settings

        def passed(part: Array, lacking: Array, strength: float) -> Array:
            painted: Array = self.pipeline(
                prompt=prompt, negative_prompt=settings.negative_prompt,
                image=self.runtime.tensor(np.moveaxis(part, 2, 0)[None]),
                mask_image=self.runtime.tensor(lacking[None, None]), height=part.shape[0], width=part.shape[1],
                strength=strength, num_inference_steps=settings.steps, guidance_scale=settings.guidance,
                generator=self.runtime.generator(seed), output_type="np",
            ).images[0]
            return painted

        def paint(part: Array, lacking: Array) -> Array:
            given = part / np.float32(255)
            with self.runtime.inference():
                painted = passed(given, lacking, settings.strength)
                # The pipeline starts from whole steps: fewer than one is none.
                if settings.refine * settings.steps < 1:
                    return painted
                return passed(np.where(lacking[..., None], painted, given), lacking, settings.refine)

        return filled(picture, mask, settings.side_px, MULTIPLE, paint)

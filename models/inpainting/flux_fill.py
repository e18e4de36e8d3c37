"""FLUX.1 Fill (Black Forest Labs 2024) through diffusers: it sees the picture without its masked part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.checkpoints import Checkpoint
from models.errors import NotTrainedFor
from models.inpainting.window import filled
from models.loading import load_components
from models.runtime import Runtime

Array = np.ndarray
MODELS = {
    "transformer": ("diffusers", "FluxTransformer2DModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "T5EncoderModel"),
}


@dataclass(frozen=True)
class FluxFillSettings:
    steps: int = 40
    guidance: float = 30.0  # as its authors advise
    side_px: int = 1536


class FluxFill:
    """An ``Inpainter``."""

    def __init__(self, pipeline: Any, runtime: Runtime, settings: FluxFillSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> FluxFill:
        components = load_components(checkpoint, runtime, MODELS)
        config = components["transformer"].config
        if config.out_channels is None or config.in_channels <= 2 * config.out_channels:
            raise NotTrainedFor(
                f"checkpoint {checkpoint.manifest.name}: transformer: expected one that sees a masked picture "
                f"beside the noise, got one of {config.in_channels} channels in",
                "FLUX.1-Fill is another checkpoint than FLUX.1-dev",
            )
        from diffusers import FluxFillPipeline

        pipeline = runtime.place_pipeline(FluxFillPipeline(**components))
        return cls(pipeline, runtime, checkpoint.settings(FluxFillSettings))

    def fill(self, picture: Array, mask: Array, prompt: str, seed: Sequence[int]) -> Array:
        """See ``Inpainter``."""

        def paint(part: Array, lacking: Array) -> Array:
            with self.runtime.inference():
                painted: Array = self.pipeline(
                    prompt=prompt, image=self.runtime.tensor(np.moveaxis(part, 2, 0)[None] / np.float32(255)),
                    mask_image=self.runtime.tensor(lacking[None, None]), height=part.shape[0], width=part.shape[1],
                    num_inference_steps=self.settings.steps, guidance_scale=self.settings.guidance,
                    generator=self.runtime.generator(seed), output_type="np",
                ).images[0]
            return painted

        return filled(picture, mask, self.settings.side_px, 2 * self.pipeline.vae_scale_factor, paint)

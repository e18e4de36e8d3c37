"""FLUX.1 (Black Forest Labs 2024) and Qwen-Image (Wu et al. 2025) through diffusers: pictures from words alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.checkpoints import Checkpoint
from models.errors import InputRefused
from models.loading import load_components
from models.runtime import Runtime

Array = np.ndarray


@dataclass(frozen=True)
class FlowSettings:
    steps: int = 30
    guidance: float | None = None  # what a distilled model is told; None for others
    true_cfg: float = 4.0  # against the negative prompt, where there is one


class _Flow:
    """A ``Generator``."""

    models: Mapping[str, tuple[str, str]]
    pipeline_class: str

    def __init__(self, pipeline: Any, runtime: Runtime, settings: FlowSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> Any:
        components = load_components(checkpoint, runtime, cls.models)
        import diffusers

        pipeline = runtime.place_pipeline(getattr(diffusers, cls.pipeline_class)(**components))
        return cls(pipeline, runtime, checkpoint.settings(FlowSettings))

    def generate(
        self, prompt: str, *, negative: str = "", wh: tuple[int, int], controls: Mapping[str, Array] | None = None,
        concepts: Mapping[str, Path] | None = None, seed: Sequence[int],
    ) -> Array:
        """See ``Generator``."""
        for name, given in (("control", controls), ("concept", concepts)):
            if given:
                raise InputRefused(f"{name}: this checkpoint takes none, got {', '.join(given)}", "sdxl takes them")
        width, height = wh
        multiple = 2 * self.pipeline.vae_scale_factor
        guided: dict[str, Any] = {} if self.settings.guidance is None else {"guidance_scale": self.settings.guidance}
        if negative:
            guided |= {"negative_prompt": negative, "true_cfg_scale": self.settings.true_cfg}
        else:
            guided |= {"true_cfg_scale": 1.0}
        with self.runtime.inference():
            painted = self.pipeline(
                prompt=prompt, width=-(-width // multiple) * multiple, height=-(-height // multiple) * multiple,
                num_inference_steps=self.settings.steps, generator=self.runtime.generator(seed), output_type="np",
                **guided,
            ).images[0]
        return np.rint(painted[:height, :width] * 255).astype(np.uint8)


class Flux(_Flow):
    models = {
        "transformer": ("diffusers", "FluxTransformer2DModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "T5EncoderModel"),
    }
    pipeline_class = "FluxPipeline"


class QwenImage(_Flow):
    models = {
        "transformer": ("diffusers", "QwenImageTransformer2DModel"),
        "vae": ("diffusers", "AutoencoderKLQwenImage"),
        "text_encoder": ("transformers", "Qwen2_5_VLForConditionalGeneration"),
    }
    pipeline_class = "QwenImagePipeline"

"""What the Wan 2.1 backends share: exact sizes and lengths, text, start noise, windows, frames out.

The autoencoder, and what looks at the anchors, run in float32 at every precision, as diffusers' documentation of Wan
asks. diffusers would round sizes and lengths that do not fit; here they are refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.base import Arc, Clip
from models.errors import InputRefused
from models.inbetween.noise import start_noise
from models.inbetween.windows import windowed
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

Array = np.ndarray

TEXT_LENGTH = 512  # tokens


@dataclass(frozen=True)
class WanSettings:
    steps: int = 50
    guidance: float = 5.0
    negative_prompt: str = ""
    gamma: float = 1.0  # share of fresh noise; the weights as published have never seen noise carried along flow
    window: int = 21  # latents at a time; longer clips take several overlapping ones. 21 = 81 frames, as trained
    overlap: int = 6


class WanInbetween(ABC):
    """An ``InbetweenModel`` around a diffusers pipeline of Wan's components."""

    name: str  # of the backend, as in the registry
    also_windowed: str | None = None  # see models.inbetween.windows

    def __init__(self, pipeline: Any, runtime: Runtime, settings: WanSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings
        self._stride: int = pipeline.vae_scale_factor_temporal
        self._scale: int = pipeline.vae_scale_factor_spatial

    @abstractmethod
    def conditions(self, arc: Arc) -> dict[str, Any]:
        """What the pipeline's call is shown of the arc."""

    def check(self, frames: int, hw: tuple[int, int]) -> None:
        multiple = self._scale * self.pipeline.transformer.config.patch_size[1]
        if hw[0] % multiple or hw[1] % multiple:
            raise InputRefused(
                f"{self.name}: expected a height and a width that are multiples of {multiple}, got {hw[1]}x{hw[0]}"
            )
        if frames % self._stride != 1 or frames < 1 + self._stride:
            raise InputRefused(
                f"{self.name}: expected {self._stride}k + 1 frames (5, 9, ..., 81, ...), got {frames}"
            )

    def noise_chw(self, hw: tuple[int, int]) -> tuple[int, int, int]:
        return self.pipeline.vae.config.z_dim, hw[0] // self._scale, hw[1] // self._scale

    def generate(self, arc: Arc, seed: Sequence[int]) -> Clip:
        """See ``InbetweenModel``."""
        frames, height, width = arc.soft_edges.shape
        self.check(frames, (height, width))
        settings, runtime = self.settings, self.runtime
        shape = (1 + frames // self._stride, *self.noise_chw((height, width)))
        with runtime.inference():
            noise = start_noise(arc.noise, shape, self._stride, settings.gamma, runtime, seed)
            contrasted = settings.guidance > 1
            transformer = self.pipeline.transformer
            with windowed(transformer, settings.window, settings.overlap, self.also_windowed):
                found = self.pipeline(
                    prompt_embeds=self._text(arc.prompt),
                    negative_prompt_embeds=self._text(settings.negative_prompt) if contrasted else None,
                    height=height, width=width, num_frames=frames, num_inference_steps=settings.steps,
                    guidance_scale=settings.guidance, latents=noise.movedim(1, 0)[None],
                    generator=runtime.generator([*seed, 1]), output_type="np", **self.conditions(arc),
                ).frames[0]
        return Clip(np.rint(found * 255).astype(np.uint8))

    def _text(self, prompt: str) -> torch.Tensor:
        """(1, tokens, channels): zero behind the text. The pipeline's own way to it needs a package more."""
        words = " ".join(prompt.split())
        tokens = self.pipeline.tokenizer(
            [words], padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).to(self.runtime.device)
        encoded = self.pipeline.text_encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        return (encoded * tokens.attention_mask[..., None]).to(self.runtime.dtype)

"""Qwen-Image with its union ControlNet on soft edges, and the same sparse appearance guidance: weights for commercial
work.

Steps, guidance and control weight are those its authors show; the guided share of the steps is FLUX's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.anchors.controlled import AnchorSettings, ControlledAnchors, Lesson
from models.checkpoints import Checkpoint
from models.loading import load_components
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

Array = np.ndarray

MODELS = {
    "transformer": ("diffusers", "QwenImageTransformer2DModel"),
    "controlnet": ("diffusers", "QwenImageControlNetModel"),
    "vae": ("diffusers", "AutoencoderKLQwenImage"),
    "text_encoder": ("transformers", "Qwen2_5_VLForConditionalGeneration"),
}


@dataclass(frozen=True)
class QwenSettings(AnchorSettings):
    steps: int = 30
    guidance: float | None = None
    true_cfg: float = 4.0
    negative_prompt: str = " "
    control_weight: float = 1.0
    guided_until: int = 14


class QwenControlNet(ControlledAnchors):
    """An ``AnchorModel``."""

    name = "qwen_controlnet"

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> QwenControlNet:
        components = load_components(checkpoint, runtime, MODELS)
        from diffusers import QwenImageControlNetPipeline

        pipeline = runtime.place_pipeline(QwenImageControlNetPipeline(**components))
        return cls(pipeline, runtime, checkpoint.settings(QwenSettings))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        vae = self.pipeline.vae
        latents = vae.encode(pixels[:, :, None]).latent_dist.mode()[:, :, 0]  # a clip of one frame
        mean, std = (
            latents.new_tensor(values).view(1, -1, 1, 1) for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        return (latents - mean) / std

    def lesson(self, picture: Array, soft_edges: Array, prompt: str) -> Lesson:
        clean, edges = (self.encode(self.pixels(p)) for p in (picture, np.repeat(soft_edges[..., None], 3, 2)))
        text, mask = self.pipeline.encode_prompt(prompt=prompt)
        told = {
            "encoder_hidden_states": text, "encoder_hidden_states_mask": mask,
            "img_shapes": [(1, clean.shape[2] // 2, clean.shape[3] // 2)],
        }
        return Lesson(self.pack(clean), self.pack(edges), told)

    def velocity(self, lesson: Lesson, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        told = {"hidden_states": noisy, "timestep": time, "return_dict": False, **lesson.told}
        hints = self.pipeline.controlnet(
            controlnet_cond=lesson.edges, conditioning_scale=self.settings.control_weight, **told
        )
        return self.pipeline.transformer(controlnet_block_samples=hints, **told)[0]

"""FLUX.1-dev with a soft-edge ControlNet and sparse appearance guidance: the SAG module of VideoFrom3D.

The ControlNet may take pixels (XLabs') or latents (Shakker's); those with modes have none for soft edges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from models.anchors.controlled import AnchorSettings, ControlledAnchors, Lesson
from models.checkpoints import Checkpoint
from models.errors import NotTrainedFor
from models.loading import load_components
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

Array = np.ndarray

MODELS = {
    "transformer": ("diffusers", "FluxTransformer2DModel"),
    "controlnet": ("diffusers", "FluxControlNetModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "T5EncoderModel"),
}


class FluxSag(ControlledAnchors):
    """An ``AnchorModel``."""

    name = "flux_sag"

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> FluxSag:
        components = load_components(checkpoint, runtime, MODELS)
        if components["controlnet"].union:
            raise NotTrainedFor(
                f"checkpoint {checkpoint.manifest.name}: controlnet: expected one for soft edges, got one with "
                f"{components['controlnet'].config.num_mode} modes, none of which is that"
            )
        from diffusers import FluxControlNetPipeline

        pipeline = runtime.place_pipeline(FluxControlNetPipeline(**components))
        return cls(pipeline, runtime, checkpoint.settings(AnchorSettings))

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        vae = self.pipeline.vae
        return (vae.encode(pixels).latent_dist.mode() - vae.config.shift_factor) * vae.config.scaling_factor

    def lesson(self, picture: Array, soft_edges: Array, prompt: str) -> Lesson:
        pipeline = self.pipeline
        edges = self.pixels(np.repeat(soft_edges[..., None], 3, 2))
        takes_latents = pipeline.controlnet.input_hint_block is None
        clean = self.encode(self.pixels(picture))
        text, pooled, text_ids = pipeline.encode_prompt(prompt=prompt, prompt_2=None)
        rows, columns = clean.shape[2] // 2, clean.shape[3] // 2
        told = {
            "encoder_hidden_states": text, "pooled_projections": pooled, "txt_ids": text_ids,
            "img_ids": pipeline._prepare_latent_image_ids(1, rows, columns, self.runtime.device, text.dtype),
        }
        edges = self.pack(self.encode(edges)) if takes_latents else edges
        return Lesson(self.pack(clean), edges, told)

    def velocity(self, lesson: Lesson, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        pipeline = self.pipeline
        told = {"hidden_states": noisy, "timestep": time, "return_dict": False, **lesson.told}
        hints, single_hints = pipeline.controlnet(
            controlnet_cond=lesson.edges, guidance=self._told_guidance(pipeline.controlnet, time),
            conditioning_scale=self.settings.control_weight, **told,
        )
        return pipeline.transformer(
            guidance=self._told_guidance(pipeline.transformer, time), controlnet_block_samples=hints,
            controlnet_single_block_samples=single_hints,
            controlnet_blocks_repeat=pipeline.controlnet.input_hint_block is not None, **told,
        )[0]

    def _told_guidance(self, model: Any, like: torch.Tensor) -> torch.Tensor | None:
        scale = self.settings.guidance
        return like.new_full((1,), scale) if model.config.guidance_embeds and scale is not None else None

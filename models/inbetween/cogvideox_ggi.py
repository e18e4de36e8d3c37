"""CogVideoX-5B image-to-video, extended to two anchors, edges and warped noise: the GGI module of VideoFrom3D.

(Kim et al. 2025, arXiv 2509.17985.) The transformer's patch projection takes ``[z | V | E(edges)]``: 16 channels of the
clip, ``V = [E(v0), 0, ..., 0, E(vN)]``, and the soft edges encoded as a clip. The last frame is repeated until the last
latent stands for it alone; what comes out of the repetition is dropped. The start noise was carried along the flow.

Weights as published have 32 channels and have never seen warped noise: they would ignore both, so they are refused.
``models.training.ggi`` makes weights for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from models.base import Arc, Clip
from models.checkpoints import Checkpoint
from models.errors import InputRefused, NotTrainedFor, WrongClass
from models.inbetween.noise import start_noise
from models.loading import load_components
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

Array = np.ndarray

MODELS = {
    "transformer": ("diffusers", "CogVideoXTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLCogVideoX"),
    "text_encoder": ("transformers", "T5EncoderModel"),
}


@dataclass(frozen=True)
class GgiSettings:
    steps: int = 30
    guidance: float = 6.0
    negative_prompt: str = ""
    gamma: float = 0.5  # share of fresh noise


class CogVideoXGgi:
    """An ``InbetweenModel``."""

    name = "cogvideox_ggi"

    def __init__(self, pipeline: Any, runtime: Runtime, settings: GgiSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings
        self.stride: int = pipeline.vae_scale_factor_temporal

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> CogVideoXGgi:
        """Raises ``NotTrainedFor`` unless the patch projection has learned to look at edges."""
        model = cls.load_untrained(checkpoint, runtime)
        latent = model.channels
        projection = model.pipeline.transformer.patch_embed.proj.weight
        label, hint = f"checkpoint {checkpoint.manifest.name}: transformer", "models.training.ggi makes such weights"
        if projection.shape[1] != 3 * latent:
            raise NotTrainedFor(
                f"{label}: expected in_channels {3 * latent} [noise, anchors, edges], got {projection.shape[1]}", hint
            )
        if not projection[:, 2 * latent :].any():
            raise NotTrainedFor(f"{label}: expected trained edge channels, got zeros", hint)
        return model

    @classmethod
    def load_untrained(cls, checkpoint: Checkpoint, runtime: Runtime) -> CogVideoXGgi:
        """For training: any image-to-video weights of CogVideoX 1.0."""
        components = load_components(checkpoint, runtime, MODELS)
        if components["transformer"].config.patch_size_t is not None:
            raise WrongClass(f"checkpoint {checkpoint.manifest.name}: expected CogVideoX 1.0, got 1.5")
        pipeline = runtime.place_pipeline(_pipeline_class()(**components))
        return cls(pipeline, runtime, checkpoint.settings(GgiSettings))

    @property
    def channels(self) -> int:
        """Of a latent."""
        return self.pipeline.vae.config.latent_channels

    def check(self, frames: int, hw: tuple[int, int]) -> None:
        config, scale = self.pipeline.transformer.config, self.pipeline.vae_scale_factor_spatial
        trained = config.sample_height * scale, config.sample_width * scale
        if hw != trained:
            raise InputRefused(f"{self.name}: expected {trained[1]}x{trained[0]} px, got {hw[1]}x{hw[0]}")
        longest = config.sample_frames - self.stride + 1
        if not 2 <= frames <= longest:
            raise InputRefused(f"{self.name}: expected 2 to {longest} frames, got {frames}", "Use more anchors")

    def noise_chw(self, hw: tuple[int, int]) -> tuple[int, int, int]:
        scale = self.pipeline.vae_scale_factor_spatial
        return self.channels, hw[0] // scale, hw[1] // scale

    def generate(self, arc: Arc, seed: Sequence[int]) -> Clip:
        """See ``InbetweenModel``."""
        frames, height, width = arc.soft_edges.shape
        self.check(frames, (height, width))
        settings = self.settings
        with self.runtime.inference():
            conditions = self.conditions(arc.first, arc.last, arc.soft_edges)
            shape = (conditions.shape[1], *self.noise_chw((height, width)))
            noise = start_noise(arc.noise, shape, self.stride, settings.gamma, self.runtime, seed)
            found = self.pipeline(
                image=Image.fromarray(arc.first), conditions=conditions, prompt=arc.prompt,
                negative_prompt=settings.negative_prompt, height=height, width=width,
                num_frames=self.padded_length(frames), num_inference_steps=settings.steps,
                guidance_scale=settings.guidance, latents=noise[None],
                generator=self.runtime.generator([*seed, 1]), output_type="np",
            ).frames[0]
        return Clip(np.rint(found[:frames] * 255).astype(np.uint8))

    def padded_length(self, frames: int) -> int:
        """The shortest clip whose last latent stands for nothing but the last frame: 46 frames become 49."""
        return (frames + 2 * self.stride - 3) // self.stride * self.stride + 1

    def conditions(self, first: Array, last: Array, soft_edges: Array) -> torch.Tensor:
        """(1, t, 2C, h, w) latents ``[V | E(edges)]``; anchors uint8 or float in [0, 1]."""
        import torch

        anchors = [self.encode(anchor[None]) for anchor in (first, last)]
        edges = self.encode(np.repeat(soft_edges[..., None], 3, 3))
        between = edges.new_zeros((1, edges.shape[1] - 2, *edges.shape[2:]))
        return torch.cat([torch.cat([anchors[0], between, anchors[1]], 1), edges], 2)

    def encode(self, frames: Array) -> torch.Tensor:
        """(1, t, C, h, w) latents as the transformer sees them, of (T, H, W, 3); clips are padded first."""
        if len(frames) > 1:
            frames = np.concatenate([frames, *[frames[-1:]] * (self.padded_length(len(frames)) - len(frames))])
        scale = 255 if frames.dtype == np.uint8 else 1
        clip = self.runtime.tensor(np.moveaxis(frames.astype(np.float32) / scale * 2 - 1, 3, 0)[None])
        vae = self.pipeline.vae
        factor = vae.config.scaling_factor
        latents = vae.encode(clip).latent_dist.mode().movedim(1, 2)
        return latents / factor if vae.config.invert_scale_latents else latents * factor


@cache
def _pipeline_class() -> Any:
    from diffusers import CogVideoXImageToVideoPipeline

    stock: Any = CogVideoXImageToVideoPipeline

    class GgiPipeline(stock):
        """The pipeline with all conditions given as latents, where it would make them from the first frame alone."""

        def __call__(self, *args: Any, conditions: torch.Tensor, **kwargs: Any) -> Any:
            self._conditions = conditions
            try:
                return super().__call__(*args, **kwargs)
            finally:
                del self._conditions

        def prepare_latents(self, *args: Any) -> tuple[torch.Tensor, torch.Tensor]:
            dtype, device, _, latents = args[-4:]
            return latents.to(device, dtype) * self.scheduler.init_noise_sigma, self._conditions.to(device, dtype)

    return GgiPipeline

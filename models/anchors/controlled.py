"""What anchor backends with a ControlNet on soft edges share: the door, the guidance, the style's LoRA, and what
training that LoRA needs of them. A backend adds how its pipeline encodes, packs and predicts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.anchors import style_adapter
from models.anchors.guidance import AppearanceGuidance, guided_from, unknown_mask
from models.base import PaintedView, Style, View, WarpedAnchor
from models.errors import InputRefused, ModelError
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

Array = np.ndarray


@dataclass(frozen=True)
class AnchorSettings:
    """Defaults of the recipe of VideoFrom3D (arXiv 2509.17985)."""

    steps: int = 25
    guidance: float | None = 4.0  # what a distilled model is told; None for others
    true_cfg: float = 3.5  # against the negative prompt
    cfg_from: int = 1  # the first step with it
    negative_prompt: str = ""
    control_weight: float = 0.8
    control_until: float = 1.0  # share of the steps that see the edges
    guided_until: int = 12  # sparse appearance guidance, see models.anchors.guidance
    dilate_px: float = 24.0


@dataclass(frozen=True)
class Lesson:
    """One picture to learn from: packed latents (1, tokens, channels) and what the model is told of it."""

    clean: torch.Tensor
    edges: torch.Tensor  # as the ControlNet takes them
    told: Mapping[str, Any]


class ControlledAnchors(ABC):
    """An ``AnchorModel`` around a diffusers pipeline with ``transformer``, ``controlnet`` and ``vae``."""

    name: str  # of the backend, as in the registry

    def __init__(self, pipeline: Any, runtime: Runtime, settings: AnchorSettings) -> None:
        self.pipeline, self.runtime, self.settings = pipeline, runtime, settings
        self._worn: Path | None = None

    @property
    def adapted(self) -> dict[str, Any]:
        """The models that a style's LoRA changes."""
        return {"transformer": self.pipeline.transformer, "controlnet": self.pipeline.controlnet}

    @property
    def factor(self) -> int:
        """Sides of pictures are multiples of it: pixels per token."""
        return 2 * self.pipeline.vae_scale_factor

    @abstractmethod
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, C, h, w) latents as the transformer sees them, of (1, 3, H, W) pixels in [-1, 1]."""

    @abstractmethod
    def lesson(self, picture: Array, soft_edges: Array, prompt: str) -> Lesson:
        """For training; sides must be multiples of ``factor``."""

    @abstractmethod
    def velocity(self, lesson: Lesson, noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """What the model predicts of ``eps - clean``, for packed latents at ``time`` (1,) in [0, 1], 1 = noise."""

    def paint(self, view: View, style: Style, seed: Sequence[int]) -> PaintedView:
        """See ``AnchorModel``. The look comes from the style's LoRA and the prompt; ``reference`` alone cannot give it.

        The same ``seed`` on the same raster is the same start noise. Raises ``InputRefused``.
        """
        if style.regions:
            raise InputRefused(f"{self.name}: cannot assign regions of the reference to objects", "Use exemplar")
        if style.adapter is None and not style.prompt:
            raise InputRefused(f"{self.name}: expected a style trained on the reference, or a prompt, got neither")
        self.wear(style.adapter)
        height, width = view.soft_edges.shape
        edges = self._padded(view.soft_edges)
        with self.runtime.inference():
            noise = self.pack(self._noise(edges.shape, seed))
            guidance = None if view.warped is None else self._guidance(view.warped, noise)
            contrasted = self.settings.true_cfg > 1
            late = guided_from(self.pipeline.transformer, self.settings.cfg_from) if contrasted else nullcontext()
            with late:
                painted = self.pipeline(
                    prompt=style.prompt, negative_prompt=self.settings.negative_prompt if contrasted else None,
                    true_cfg_scale=self.settings.true_cfg, guidance_scale=self.settings.guidance,
                    num_inference_steps=self.settings.steps, height=edges.shape[0], width=edges.shape[1],
                    control_image=self.pixels(np.repeat(edges[..., None], 3, 2)),
                    controlnet_conditioning_scale=self.settings.control_weight,
                    control_guidance_end=self.settings.control_until, latents=noise,
                    generator=self.runtime.generator([*seed, 1]), callback_on_step_end=guidance, output_type="np",
                ).images[0]
        return PaintedView(np.rint(painted[:height, :width] * 255).astype(np.uint8))

    def wear(self, adapter: Path | None) -> None:
        """Put on a style's LoRA in place of the one worn; ``None`` takes it off."""
        if adapter == self._worn:
            return
        with self.runtime.whole(self.pipeline):
            style_adapter.take_off(self.adapted)
            self._worn = None
            if adapter is None:
                return
            try:
                style_adapter.put_on(self.adapted, adapter, self.name)
            except ModelError:
                style_adapter.take_off(self.adapted)
                raise
            self._worn = adapter

    def pixels(self, picture: Array) -> torch.Tensor:
        """(1, 3, H, W) in [-1, 1] of an (H, W, 3) picture: uint8, or float in [0, 1]."""
        scale = 255 if picture.dtype == np.uint8 else 1
        return self.runtime.tensor(np.moveaxis(picture.astype(np.float32) / scale, 2, 0)[None] * 2 - 1)

    def pack(self, latents: torch.Tensor) -> torch.Tensor:
        return self.pipeline._pack_latents(latents, *latents.shape)

    def _noise(self, hw: tuple[int, int], seed: Sequence[int]) -> torch.Tensor:
        scale = self.pipeline.vae_scale_factor
        channels = self.pipeline.transformer.config.in_channels // 4
        return self.runtime.normal((1, channels, hw[0] // scale, hw[1] // scale), seed)

    def _guidance(self, warped: WarpedAnchor, noise: torch.Tensor) -> AppearanceGuidance:
        appearance = self.encode(self.pixels(self._padded(warped.picture))).float()
        unknown = unknown_mask(self._padded(warped.known), self.settings.dilate_px, self.pipeline.vae_scale_factor)
        mask = self.runtime.tensor(unknown[None, None]).float().expand_as(appearance)
        return AppearanceGuidance(self.pack(appearance), noise, self.pack(mask), self.settings.guided_until)

    def _padded(self, raster: Array) -> Array:
        """Borders repeated to the right and below, to multiples of ``factor``."""
        rows, columns = (-side % self.factor for side in raster.shape[:2])
        return np.pad(raster, ((0, rows), (0, columns), *[(0, 0)] * (raster.ndim - 2)), mode="edge")

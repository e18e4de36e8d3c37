"""Wan 2.1 VACE: a clip between two anchors, with soft edges or depth as control in every frame between them.

VACE keeps what its mask leaves 0 and makes what it marks 1, led by what the control clip shows there: the anchors are
kept, and between them stand edges (white on black) or inverse depth (near is white, one scale for the clip). VACE was
trained on scribbles and on MiDaS' depth: depth is the nearer of the two to what it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from models.base import Arc
from models.checkpoints import Checkpoint
from models.errors import InputRefused
from models.inbetween.wan import WanInbetween, WanSettings
from models.loading import load_components
from models.runtime import Runtime

Array = np.ndarray

MODELS = {
    "transformer": ("diffusers", "WanVACETransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLWan"),
    "text_encoder": ("transformers", "UMT5EncoderModel"),
}
NEAR, FAR = 99.5, 0.5  # percentiles of inverse depth that become white and black


@dataclass(frozen=True)
class VaceSettings(WanSettings):
    steps: int = 30
    control: Literal["edges", "depth"] = "edges"
    control_weight: float = 1.0


class WanVace(WanInbetween):
    """An ``InbetweenModel``."""

    name = "wan_vace"
    also_windowed = "control_hidden_states"
    settings: VaceSettings

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> WanVace:
        components = load_components(checkpoint, runtime, MODELS, float32=["vae"])
        from diffusers import WanVACEPipeline

        pipeline = runtime.place_pipeline(WanVACEPipeline(**components))
        return cls(pipeline, runtime, checkpoint.settings(VaceSettings))

    def conditions(self, arc: Arc) -> dict[str, Any]:
        control = self._control(arc)
        keep, make = (Image.new("L", arc.first.shape[1::-1], value) for value in (0, 255))
        between = [Image.fromarray(np.repeat(frame[..., None], 3, 2)) for frame in control[1:-1]]
        return {
            "video": [Image.fromarray(arc.first), *between, Image.fromarray(arc.last)],
            "mask": [keep, *[make] * len(between), keep],
            "conditioning_scale": self.settings.control_weight,
        }

    def _control(self, arc: Arc) -> Array:
        """(T, H, W) uint8."""
        if self.settings.control == "edges":
            return np.rint(arc.soft_edges * 255).astype(np.uint8)
        if arc.depth is None:
            raise InputRefused(f"{self.name}: expected depth, which settings.control asks for, got none")
        return inverse_depth_shown(arc.depth)


def inverse_depth_shown(depth: Array) -> Array:
    """(T, H, W) uint8: near is white, far and nothing (0) is black, on one scale for the clip."""
    seen = depth > 0
    inverse = np.where(seen, 1 / np.where(seen, depth, 1), 0).astype(np.float32)
    if not seen.any():
        return np.zeros(depth.shape, np.uint8)
    far, near = np.percentile(inverse[seen], [FAR, NEAR])
    shown = np.clip((inverse - far) / max(near - far, 1e-6 * near), 0, 1)
    return np.rint(np.where(seen, shown, 0) * 255).astype(np.uint8)

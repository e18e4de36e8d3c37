"""Wan 2.1 first-last-frame to video: a clip between two anchors, from them and the prompt alone.

It is not shown the edges; how surfaces move between the anchors is the model's own idea.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from models.base import Arc
from models.checkpoints import Checkpoint
from models.errors import NotTrainedFor
from models.inbetween.wan import WanInbetween, WanSettings
from models.loading import load_components
from models.runtime import Runtime

MODELS = {
    "transformer": ("diffusers", "WanTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLWan"),
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "image_encoder": ("transformers", "CLIPVisionModel"),
}


@dataclass(frozen=True)
class FlfSettings(WanSettings):
    guidance: float = 5.5


class WanFlf(WanInbetween):
    """An ``InbetweenModel``."""

    name = "wan_flf"

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> WanFlf:
        """Raises ``NotTrainedFor`` for weights of text-to-video, or of image-to-video from the first frame alone."""
        components = load_components(checkpoint, runtime, MODELS, float32=["vae", "image_encoder"])
        config = components["transformer"].config
        if config.pos_embed_seq_len is None or config.image_dim is None:
            raise NotTrainedFor(
                f"checkpoint {checkpoint.manifest.name}: transformer: expected weights for two frames "
                f"(pos_embed_seq_len, image_dim), got {config.pos_embed_seq_len}, {config.image_dim}",
                "Use the FLF2V variant of Wan",
            )
        from diffusers import WanImageToVideoPipeline

        pipeline = runtime.place_pipeline(WanImageToVideoPipeline(**components))
        return cls(pipeline, runtime, checkpoint.settings(FlfSettings))

    def conditions(self, arc: Arc) -> dict[str, Any]:
        return {"image": Image.fromarray(arc.first), "last_image": Image.fromarray(arc.last)}

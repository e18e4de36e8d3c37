"""Tiny random checkpoints of what paints single pictures: Stable Diffusion, FLUX Fill, Qwen-Image with layers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from models.checkpoints import Checkpoint, Manifest, Part
from tests.models import tiny_pipelines
from tests.models.tiny_checkpoints import _stirred
from tests.models.tiny_pipelines import TEXT, _clip_text, _clip_tokenizer, _qwen_text, _qwen_tokenizer

UNET = {
    "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 4, "attention_head_dim": (2, 4),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "use_linear_projection": True,
}
XL = {
    "cross_attention_dim": 2 * TEXT, "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 6 * 4 + TEXT, "transformer_layers_per_block": (1, 1),
}
NET = {"conditioning_embedding_out_channels": (8, 16)}


def _vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=["DownEncoderBlock2D"] * 2, norm_num_groups=4,
        up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4, layers_per_block=1,
    )


def _unet(channels: int = 4, **options: Any) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=16, in_channels=channels, out_channels=4, up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **UNET, **options,
    )


def _second_text() -> Any:
    config = _clip_text().config
    config.architectures = None
    return transformers.CLIPTextModelWithProjection(config)


def _scheduler(**options: Any) -> Any:
    return diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear", steps_offset=1, **options)


def sdxl(channels: int = 4) -> dict[str, Any]:
    return {
        "_class": "StableDiffusionXLPipeline", "scheduler": _scheduler(), "unet": _unet(channels, **XL), "vae": _vae(),
        "text_encoder": _clip_text(), "tokenizer": _clip_tokenizer(), "text_encoder_2": _second_text(),
        "tokenizer_2": _clip_tokenizer(),
    }


def sd21() -> dict[str, Any]:
    return {
        "_class": "StableDiffusionPipeline", "scheduler": _scheduler(prediction_type="v_prediction"), "vae": _vae(),
        "unet": _unet(cross_attention_dim=TEXT), "text_encoder": _clip_text(), "tokenizer": _clip_tokenizer(),
    }


def flux_fill(fills: bool = True) -> dict[str, Any]:
    """Without ``fills``: FLUX.1-dev, which sees no masked picture."""
    whole = tiny_pipelines.flux()
    del whole["controlnet"]
    if fills:
        config = dict(whole["transformer"].config) | {"in_channels": 16 + 16 + 16, "out_channels": 16}
        del config["_use_default_values"]
        whole["transformer"] = diffusers.FluxTransformer2DModel.from_config(config)
    return whole


def qwen_image() -> dict[str, Any]:
    whole = tiny_pipelines.qwen()
    del whole["controlnet"]
    return whole


def qwen_layered() -> dict[str, Any]:
    """A picture of 640 x 640 px is a few tokens to it."""
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=4, z_dim=8, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1, input_channels=4,
        temperal_downsample=[False] * 4, latents_mean=[0.1, -0.2] * 4, latents_std=[1.5, 1.2] * 4,
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        patch_size=2, in_channels=32, out_channels=8, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=TEXT, axes_dims_rope=[4, 4, 8], use_additional_t_cond=True, use_layer3d_rope=True,
    )
    return {
        "_class": "QwenImageLayeredPipeline", "transformer": transformer, "vae": vae, "text_encoder": _qwen_text(),
        "tokenizer": _qwen_tokenizer(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    }


def controlnet(xl: bool) -> Any:
    return diffusers.ControlNetModel(**UNET, **NET, **(XL if xl else {"cross_attention_dim": TEXT}))


def union() -> Any:
    return diffusers.ControlNetUnionModel(
        **UNET, **NET, **XL, num_control_type=6, num_trans_channel=16, num_trans_head=2, num_trans_layer=1,
        num_proj_channel=16,
    )


PIPELINES: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "sdxl_inpaint": ("inpainting", lambda: sdxl(9)), "flux_fill": ("inpainting", flux_fill),
    "sdxl": ("generation", sdxl), "sd21": ("generation", sd21), "flux": ("generation", lambda: flux_fill(False)),
    "qwen_image": ("generation", qwen_image), "qwen_layered": ("layered", qwen_layered),
}


def save(
    backend: str, root: Path, settings: dict[str, Any], parts: Mapping[str, Any] | None = None,
    whole: dict[str, Any] | None = None,
) -> Checkpoint:
    """A checkpoint of ``backend`` below ``root``, with ``parts`` from elsewhere; ``whole``: another pipeline in it."""
    torch.manual_seed(5)
    kind, make = PIPELINES[backend]
    components = make() if whole is None else whole
    index: dict[str, Any] = {"_class_name": components.pop("_class"), "_diffusers_version": diffusers.__version__}
    for name, component in components.items():
        if isinstance(component, torch.nn.Module):
            _stirred(component)
        component.save_pretrained(root / "tiny" / name)
        index[name] = [type(component).__module__.split(".")[0], type(component).__name__]
    (root / "tiny" / "model_index.json").write_text(json.dumps(index))
    for number, (name, part) in enumerate((parts or {}).items(), 1):
        with torch.no_grad():
            for parameter in _stirred(part).parameters():
                parameter.mul_(1 / number)  # no two alike
        part.save_pretrained(root / name)
    manifest = Manifest(
        kind, backend, "none: random", True, pipeline=True, settings=settings, name="tiny",
        parts={name: Part("none: random", True) for name in parts or {}},
    )
    return Checkpoint(manifest, root / "tiny", {name: root / name for name in parts or {}})

"""Tiny random diffusers pipelines of the real classes, in diffusers' layout on disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

from models.checkpoints import Checkpoint, Manifest, Part
from tests.models.tiny_checkpoints import _stirred

TEXT = 32
LETTERS = sorted(ByteLevel.alphabet())


def _clip_tokenizer() -> Any:
    pieces = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    return transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=16)


def _t5_tokenizer() -> Any:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return transformers.T5Tokenizer(vocab=pieces + [(chr(97 + i), -3.0) for i in range(26)], extra_ids=0)


def _qwen_tokenizer() -> Any:
    vocab = {piece: number for number, piece in enumerate(["<|endoftext|>", *LETTERS])}
    return transformers.Qwen2Tokenizer(vocab=vocab, merges=[])


def _clip_text() -> Any:
    config = transformers.CLIPTextConfig(
        hidden_size=TEXT, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, projection_dim=TEXT,
        vocab_size=514, max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )
    return transformers.CLIPTextModel(config)


def _t5(kind: str = "T5") -> Any:
    config = getattr(transformers, f"{kind}Config")(
        d_model=TEXT, d_ff=32, d_kv=8, num_heads=2, num_layers=1, vocab_size=64
    )
    return getattr(transformers, f"{kind}EncoderModel")(config)


def _qwen_text() -> Any:
    text = {
        "hidden_size": TEXT, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "vocab_size": 257, "rope_parameters": {
            "rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0,
        },
    }
    vision = {
        "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": TEXT,
        "fullatt_block_indexes": [0],
    }
    return transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    )


def flux(pixels: bool = False) -> dict[str, Any]:
    """``pixels``: the ControlNet reads pixels, not latents; that needs the autoencoder's true scale of 8."""
    blocks = 4 if pixels else 2
    hints = {"conditioning_embedding_channels": 4, "patch_size": 2} if pixels else {}
    shape = {
        "patch_size": 1, "in_channels": 16, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
        "num_attention_heads": 2, "joint_attention_dim": TEXT, "pooled_projection_dim": TEXT,
        "axes_dims_rope": [4, 4, 8], "guidance_embeds": True,
    }
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8,) * blocks, down_block_types=["DownEncoderBlock2D"] * blocks, norm_num_groups=4,
        up_block_types=["UpDecoderBlock2D"] * blocks, latent_channels=4, use_quant_conv=False,
        use_post_quant_conv=False, shift_factor=0.1, scaling_factor=0.6,
    )
    return {
        "_class": "FluxPipeline",
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "transformer": diffusers.FluxTransformer2DModel(**shape), "vae": vae,
        "controlnet": diffusers.FluxControlNetModel(**shape | hints),
        "text_encoder": _clip_text(), "tokenizer": _clip_tokenizer(),
        "text_encoder_2": _t5(), "tokenizer_2": _t5_tokenizer(),
    }


def qwen() -> dict[str, Any]:
    shape = {
        "patch_size": 2, "in_channels": 16, "out_channels": 4, "num_layers": 1, "attention_head_dim": 16,
        "num_attention_heads": 2, "joint_attention_dim": TEXT, "axes_dims_rope": [4, 4, 8],
    }
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.0, 0.3], latents_std=[1.5, 1.2, 0.9, 1.1],
    )
    return {
        "_class": "QwenImagePipeline",
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        "transformer": diffusers.QwenImageTransformer2DModel(**shape), "vae": vae,
        "controlnet": diffusers.QwenImageControlNetModel(**shape),
        "text_encoder": _qwen_text(), "tokenizer": _qwen_tokenizer(),
    }


def cogvideox(channels: int = 12) -> dict[str, Any]:
    """``channels``: 8 = as published, 12 = widened. 16 x 24 px, 13 frames."""
    transformer = diffusers.CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=channels, out_channels=4, time_embed_dim=8,
        text_embed_dim=TEXT, num_layers=1, sample_width=6, sample_height=4, sample_frames=13, patch_size=2,
        max_text_seq_length=226, use_rotary_positional_embeddings=True, use_learned_positional_embeddings=True,
    )
    vae = diffusers.AutoencoderKLCogVideoX(
        down_block_types=["CogVideoXDownBlock3D"] * 3, up_block_types=["CogVideoXUpBlock3D"] * 3,
        block_out_channels=(8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return {
        "_class": "CogVideoXImageToVideoPipeline",
        "scheduler": diffusers.CogVideoXDDIMScheduler(
            beta_schedule="scaled_linear", prediction_type="v_prediction", rescale_betas_zero_snr=True,
            timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True,
        ),
        "transformer": transformer, "vae": vae, "text_encoder": _t5(), "tokenizer": _t5_tokenizer(),
    }


def _wan_vae() -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.0, 0.3], latents_std=[1.5, 1.2, 0.9, 1.1],
    )


def _wan_rest() -> dict[str, Any]:
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return {
        "scheduler": scheduler, "vae": _wan_vae(), "text_encoder": _t5("UMT5"), "tokenizer": _t5_tokenizer(),
    }


WAN_SHAPE = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "out_channels": 4, "text_dim": TEXT,
    "freq_dim": 16, "ffn_dim": 32, "num_layers": 1, "cross_attn_norm": True, "rope_max_seq_len": 32,
}


def wan_flf(last: bool = True) -> dict[str, Any]:
    """Without ``last``: weights that were trained on the first frame alone."""
    vision = transformers.CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8,
    )
    transformer = diffusers.WanTransformer3DModel(
        in_channels=12, image_dim=16, added_kv_proj_dim=24, pos_embed_seq_len=2 * 5 if last else None, **WAN_SHAPE
    )
    return {
        "_class": "WanImageToVideoPipeline", "transformer": transformer,
        "image_encoder": transformers.CLIPVisionModel(vision),
        "image_processor": transformers.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16), **_wan_rest(),
    }


def wan_vace() -> dict[str, Any]:
    transformer = diffusers.WanVACETransformer3DModel(
        in_channels=4, vace_layers=[0], vace_in_channels=2 * 4 + 64, **WAN_SHAPE
    )
    return {"_class": "WanVACEPipeline", "transformer": transformer, **_wan_rest()}


PIPELINES: dict[str, Callable[..., dict[str, Any]]] = {
    "flux_sag": flux, "qwen_controlnet": qwen, "cogvideox_ggi": cogvideox, "wan_flf": wan_flf, "wan_vace": wan_vace,
}
FROM_ELSEWHERE = {"flux_sag": "controlnet", "qwen_controlnet": "controlnet"}


def save(backend: str, root: Path, settings: dict[str, Any], **options: Any) -> Checkpoint:
    """A checkpoint of ``backend`` below ``root``."""
    torch.manual_seed(5)  # buffers that the classes fill themselves
    components = PIPELINES[backend](**options)
    index: dict[str, Any] = {"_class_name": components.pop("_class"), "_diffusers_version": diffusers.__version__}
    part = FROM_ELSEWHERE.get(backend)
    for name, component in components.items():
        if isinstance(component, torch.nn.Module):
            _stirred(component)
        component.save_pretrained(root / (f"tiny-{name}" if name == part else f"tiny/{name}"))
        if name != part:
            library = type(component).__module__.split(".")[0]
            index[name] = [library, type(component).__name__]
    (root / "tiny" / "model_index.json").write_text(json.dumps(index))
    parts = {part: Part("none: random", True)} if part else {}
    manifest = Manifest(
        "anchors" if part == "controlnet" else "inbetween", backend, "none: random", True, pipeline=True, parts=parts,
        settings=settings, name="tiny",
    )
    return Checkpoint(manifest, root / "tiny", {part: root / f"tiny-{part}"} if part else {})

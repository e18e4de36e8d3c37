"""Tiny random checkpoints of the real classes, written as safetensors: what the loading code meets in real life."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers.utils.logging import disable_progress_bar

from models.checkpoints import Checkpoint, Manifest
from models.runtime import Runtime, RuntimeSettings

disable_progress_bar()
torch.set_num_threads(1)  # for models this small, threads that wait for each other take most of the time

SIDE = 64
HIDDEN = 128


def depth_anything(metric: bool = False) -> Any:
    backbone = transformers.Dinov2Config(
        image_size=SIDE, patch_size=8, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2,
        out_indices=[1, 2, 3, 4], reshape_hidden_states=False,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, patch_size=8, reassemble_hidden_size=16, neck_hidden_sizes=[8] * 4,
        fusion_hidden_size=8, head_hidden_size=8, depth_estimation_type="metric" if metric else "relative",
        max_depth=20 if metric else 1,
    )
    return _stirred(transformers.DepthAnythingForDepthEstimation(config), ["head.conv2", "head.conv3"])


def depth_pro() -> Any:
    vit = {
        "model_type": "dinov2", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 1, "patch_size": 4,
        "image_size": 16, "mlp_ratio": 2,
    }
    config = transformers.DepthProConfig(
        patch_size=16, fusion_hidden_size=16, intermediate_hook_ids=[1, 0], intermediate_feature_dims=[10, 8],
        scaled_images_ratios=[0.5, 1.0], scaled_images_overlap_ratios=[0.0, 0.2], scaled_images_feature_dims=[12, 12],
        merge_padding_value=1, num_fov_head_layers=1, use_fov_model=True, image_model_config=dict(vit),
        patch_model_config=dict(vit), fov_model_config=dict(vit),
    )
    model = _stirred(transformers.DepthProForDepthEstimation(config), ["head.layers.2", "head.layers.4"])
    with torch.no_grad():
        model.fov_model.head.layers[-1].bias.fill_(60.0)
    return model


def sam2() -> Any:
    backbone = {
        "model_type": "sam2_hiera_det_model", "hidden_size": 8, "num_attention_heads": 1, "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 1, 1], "window_size_per_stage": [4, 2, 2, 2],
        "global_attention_blocks": [3],
    }
    vision = {
        "model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]], "fpn_hidden_size": HIDDEN,
    }
    return _tracker(transformers.Sam2VideoModel, transformers.Sam2VideoConfig, vision, SIDE, 16)


def sam3() -> Any:
    backbone = {
        "model_type": "sam3_vit_model", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 56, "pretrain_image_size": 56, "window_size": 2,
        "global_attn_indexes": [1],
    }
    vision = {
        "model_type": "sam3_vision_model", "backbone_config": backbone, "fpn_hidden_size": HIDDEN,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    return _tracker(transformers.Sam3TrackerVideoModel, transformers.Sam3TrackerVideoConfig, vision, 56, 14)


def whole_sam3() -> Any:
    """Detector and tracker in one, as SAM 3 is published."""
    tracker = sam3().config.to_dict()
    small = {"num_attention_heads": 2, "hidden_size": HIDDEN}
    part = small | {"num_layers": 1, "intermediate_size": 16}
    text = {
        "model_type": "clip_text_model", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 100, "max_position_embeddings": 8, "projection_dim": 16,
        "bos_token_id": 1, "eos_token_id": 2,
    }
    detector = {
        "vision_config": tracker["vision_config"], "text_config": text, "geometry_encoder_config": part,
        "detr_encoder_config": part, "detr_decoder_config": part | {"num_queries": 4}, "mask_decoder_config": small,
    }
    return transformers.Sam3VideoModel(transformers.Sam3VideoConfig(detector_config=detector, tracker_config=tracker))


def _tracker(model_class: Any, config_class: Any, vision: dict[str, Any], side: int, patch: int) -> Any:
    config = config_class(
        vision_config=vision,
        prompt_encoder_config={
            "hidden_size": HIDDEN, "image_size": side, "patch_size": patch, "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": HIDDEN, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16,
        },
        image_size=side, memory_attention_hidden_size=HIDDEN, memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=16, memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=HIDDEN, mask_downsampler_embed_dim=HIDDEN, memory_fuser_embed_dim=HIDDEN,
        memory_fuser_intermediate_dim=16, num_maskmem=3, max_object_pointers_in_encoder=4,
    )
    model = _stirred(model_class(config))
    with torch.no_grad():  # something is always there, or every mask would be empty
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(5.0)
        model.mask_decoder.pred_obj_score_head.proj_out.weight.mul_(0.01)
    return model


def sam() -> Any:
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 16, "output_channels": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": SIDE, "patch_size": 16, "window_size": 2, "global_attn_indexes": [1], "mlp_dim": 32,
            "num_pos_feats": 8,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 16, "mask_input_channels": 8},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    return _stirred(transformers.SamModel(config))


def _stirred(model: Any, positive: list[str] | None = None) -> Any:
    """Random weights large enough that every input shows in the output; ``positive`` layers feed a rectifier."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = max(1, parameter[0].numel()) if parameter.ndim > 1 else 25
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.2 * fan**-0.5)
        for name in positive or []:
            for parameter in model.get_submodule(name).parameters():
                parameter.abs_()
    return model.eval()


MODELS: dict[str, Callable[[], Any]] = {
    "depth_anything": depth_anything, "depth_pro": depth_pro, "sam2": sam2, "sam3": sam3, "sam": sam,
}
KINDS = {"sam2": "video_segmentation", "sam3": "video_segmentation", "sam": "picture_segmentation"}


def save(backend: str, folder: Path) -> Checkpoint:
    """A checkpoint of ``backend`` in ``folder``."""
    torch.manual_seed(5)  # buffers that the classes fill themselves
    MODELS[backend]().save_pretrained(folder)
    manifest = Manifest(KINDS.get(backend, "depth"), backend, "none: random", True, folder=str(folder), name="tiny")
    return Checkpoint(manifest, folder)


def on_cpu() -> Runtime:
    return Runtime.open(RuntimeSettings(device="cpu"))


def picture(seed: int, hw: tuple[int, int] = (45, 70)) -> np.ndarray:
    """(H, W, 3) uint8 of soft blobs."""
    coarse = np.random.default_rng(seed).random((5, 7, 3)).astype(np.float32)
    big = torch.nn.functional.interpolate(torch.from_numpy(coarse).movedim(2, 0)[None], size=hw, mode="bicubic")
    return (big[0].movedim(0, 2).numpy().clip(0, 1) * 255).astype(np.uint8)

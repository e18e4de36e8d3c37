"""Which class is which backend; imported when one is loaded, never before."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from models.checkpoints import Checkpoint
from models.errors import UnknownName
from models.runtime import Runtime

BACKENDS: dict[str, dict[str, str]] = {
    "depth": {
        "depth_anything": "models.depth.depth_anything:DepthAnything",
        "depth_pro": "models.depth.depth_pro:DepthPro",
    },
    "video_segmentation": {
        "sam2": "models.segmentation.sam2_video:Sam2Video",
        "sam3": "models.segmentation.sam2_video:Sam3Video",
    },
    "picture_segmentation": {
        "sam": "models.segmentation.sam:Sam",
        "segment_anything": "models.segmentation.segment_anything:SegmentAnything",
    },
    "anchors": {
        "flux_sag": "models.anchors.flux_sag:FluxSag",
        "qwen_controlnet": "models.anchors.qwen_controlnet:QwenControlNet",
    },
    "inbetween": {
        "cogvideox_ggi": "models.inbetween.cogvideox_ggi:CogVideoXGgi",
        "wan_flf": "models.inbetween.wan_flf:WanFlf",
        "wan_vace": "models.inbetween.wan_vace:WanVace",
    },
    "inpainting": {
        "sdxl_inpaint": "models.inpainting.sdxl_inpaint:SdxlInpaint",
        "flux_fill": "models.inpainting.flux_fill:FluxFill",
    },
    "generation": {
        "sdxl": "models.generation.stable_diffusion:Sdxl",
        "sd21": "models.generation.stable_diffusion:Sd21",
        "flux": "models.generation.flow:Flux",
        "qwen_image": "models.generation.flow:QwenImage",
    },
    "layered": {
        "qwen_layered": "models.layered.qwen_layered:QwenLayered",
    },
}

EMBEDDED: dict[str, dict[str, str]] = {  # no weights: the class needs nothing to be called
    "anchors": {
        "exemplar": "models.anchors.exemplar:Exemplar",
    },
    "inbetween": {
        "ibr": "models.inbetween.ibr:Ibr",
    },
    "inpainting": {
        "exemplar": "models.inpainting.exemplar:ExemplarInpainter",
    },
}


def backend(kind: str, name: str) -> Any:
    """The class of a backend that loads a checkpoint. Raises ``UnknownName`` that lists the names there are."""
    return _named(BACKENDS, kind, name)


def embedded(kind: str, name: str) -> Any:
    """A backend without weights. Raises ``UnknownName`` that lists the names there are."""
    return _named(EMBEDDED, kind, name)()


def _named(table: dict[str, dict[str, str]], kind: str, name: str) -> Any:
    if kind not in table:
        raise UnknownName(f"kind of model: expected one of {', '.join(table)}, got {kind!r}")
    if name not in table[kind]:
        raise UnknownName(f"{kind} backend: expected one of {', '.join(table[kind])}, got {name!r}")
    module, _, attribute = table[kind][name].partition(":")
    return getattr(import_module(module), attribute)


def load(checkpoint: Checkpoint, runtime: Runtime) -> Any:
    """The model that ``checkpoint``'s manifest names, with its weights: what the Protocol of its kind promises.

    Raises ``ModelError``.
    """
    manifest = checkpoint.manifest
    return backend(manifest.kind, manifest.backend).load(checkpoint, runtime)

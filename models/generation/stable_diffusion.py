"""Stable Diffusion XL (Podell et al. 2023) and 2.1 (Rombach et al. 2022) through diffusers: several conditions at once
by one union ControlNet or by one ControlNet for each kind, and learned words (textual inversion: Gal et al. 2022).

The parts of a manifest are ``controlnet`` (a union) or ``controlnet_<kind>`` each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from models.checkpoints import Checkpoint
from models.errors import CheckpointAbsent, CheckpointRefused, InputRefused
from models.loading import load_components
from models.runtime import Runtime

Array = np.ndarray
UNION = "controlnet"
UNION_MODES = {"pose": 0, "depth": 1, "sketch": 2, "soft_edges": 2, "edges": 3, "normal": 4, "segments": 5}
MULTIPLE = 8


@dataclass(frozen=True)
class DiffusionSettings:
    steps: int = 30
    guidance: float = 6.0
    control_weight: float = 0.8
    control_until: float = 1.0  # share of the steps that see the conditions


@dataclass(frozen=True)
class _Reader:
    """What reads prompts; ``key`` names its vectors in a concept's file."""

    tokenizer: Any
    encoder: Any
    key: str


class _StableDiffusion:
    """A ``Generator``. A condition that is not given weighs nothing."""

    models: Mapping[str, tuple[str, str]]
    classes: Mapping[str, str]  # of pipelines: without a ControlNet, with several, with a union
    options: Mapping[str, Any] = {}
    concept_keys: Mapping[str, str]  # of a concept's file, by the suffix of a tokenizer and its text encoder

    def __init__(self, pipeline: Any, runtime: Runtime, settings: DiffusionSettings, kinds: Sequence[str]) -> None:
        """``kinds`` of conditions in the order of the pipeline's ControlNets; [``UNION``] for one that takes all."""
        self.pipeline, self.runtime, self.settings, self.kinds = pipeline, runtime, settings, list(kinds)

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> Any:
        nets = {name: ("diffusers", _class_of(checkpoint, name)) for name in sorted(checkpoint.parts)}
        components = load_components(checkpoint, runtime, {**cls.models, **nets}, unused=("safety_checker",))
        loaded = [components.pop(name) for name in nets]
        import diffusers

        style = "plain" if not nets else "union" if UNION in nets else "several"
        if style not in cls.classes or (style == "union" and len(nets) > 1):
            raise CheckpointRefused(
                f"checkpoint {checkpoint.manifest.name}: expected {UNION} (where this backend has one) or a "
                f"controlnet_<kind> for each kind, got {', '.join(nets)}"
            )
        if nets:
            components["controlnet"] = loaded[0] if style == "union" else loaded
        pipeline = getattr(diffusers, cls.classes[style])(**{**cls.options, **components})
        kinds = [name.removeprefix(f"{UNION}_") for name in nets]
        return cls(runtime.place_pipeline(pipeline), runtime, checkpoint.settings(DiffusionSettings), kinds)

    def generate(
        self, prompt: str, *, negative: str = "", wh: tuple[int, int], controls: Mapping[str, Array] | None = None,
        concepts: Mapping[str, Path] | None = None, seed: Sequence[int],
    ) -> Array:
        """See ``Generator``."""
        width, height = wh
        full = (-(-width // MULTIPLE) * MULTIPLE, -(-height // MULTIPLE) * MULTIPLE)
        with self.runtime.inference(), self._knowing(concepts or {}, prompt):
            painted = self.pipeline(
                prompt=prompt, negative_prompt=negative, width=full[0], height=full[1],
                num_inference_steps=self.settings.steps, guidance_scale=self.settings.guidance,
                generator=self.runtime.generator(seed), output_type="np", **self._conditions(controls or {}, full),
            ).images[0]
        return np.rint(painted[:height, :width] * 255).astype(np.uint8)

    def _conditions(self, controls: Mapping[str, Array], wh: tuple[int, int]) -> dict[str, Any]:
        known = list(UNION_MODES) if self.kinds == [UNION] else self.kinds
        unknown = sorted(set(controls) - set(known))
        if unknown:
            raise InputRefused(f"control: expected {' or '.join(known) or 'none'}, got {', '.join(unknown)}")
        if not self.kinds:
            return {}
        blank = np.zeros((wh[1], wh[0], 3), np.uint8)
        until, weight = self.settings.control_until, self.settings.control_weight
        if self.kinds == [UNION]:
            given = controls or {"depth": blank}
            return {
                "control_image": [self._pixels(picture, wh) for picture in given.values()],
                "control_mode": [UNION_MODES[kind] for kind in given], "control_guidance_end": until,
                "controlnet_conditioning_scale": weight if controls else 0.0,
            }
        return {
            "image": [self._pixels(controls.get(kind, blank), wh) for kind in self.kinds],
            "controlnet_conditioning_scale": [weight * (kind in controls) for kind in self.kinds],
            "control_guidance_end": [until] * len(self.kinds),
        }

    def _pixels(self, picture: Array, wh: tuple[int, int]) -> Any:
        """(1, 3, H, W) in [0, 1]."""
        shrinks = wh[0] < picture.shape[1]
        fitted = cv2.resize(picture, wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        return self.runtime.tensor(np.moveaxis(fitted, 2, 0)[None] / np.float32(255))

    @contextmanager
    def _knowing(self, concepts: Mapping[str, Path], prompt: str) -> Iterator[None]:
        """The text encoders know these words for a while."""
        readers = [
            _Reader(getattr(self.pipeline, f"tokenizer{suffix}"), getattr(self.pipeline, f"text_encoder{suffix}"), key)
            for suffix, key in self.concept_keys.items()
        ]
        before = [set(reader.tokenizer.get_added_vocab()) for reader in readers]
        try:
            for word, path in concepts.items():
                if word not in prompt:
                    raise InputRefused(f"concept {word!r}: expected it in the prompt, got {prompt!r}")
                vectors = _vectors(word, path)
                for reader in readers:
                    self._teach(word, vectors, reader)
            yield
        finally:
            for reader, old in zip(readers, before, strict=True):
                new = sorted(set(reader.tokenizer.get_added_vocab()) - old)  # a word of several vectors is several
                if new:
                    self.pipeline.unload_textual_inversion(new, reader.tokenizer, reader.encoder)

    def _teach(self, word: str, vectors: Mapping[str, Any], reader: _Reader) -> None:
        key, width = reader.key, reader.encoder.config.hidden_size
        found = vectors.get(key, next(iter(vectors.values())) if len(vectors) == 1 else None)
        if found is None or found.shape[-1] != width:
            raise CheckpointRefused(
                f"concept {word!r}: expected {key} of {width} numbers a word, got "
                + ", ".join(f"{name} {tuple(value.shape)}" for name, value in vectors.items())
            )
        self.pipeline.load_textual_inversion(
            found, token=word, text_encoder=reader.encoder, tokenizer=reader.tokenizer
        )


class Sdxl(_StableDiffusion):
    models = {
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    }
    classes = {
        "plain": "StableDiffusionXLPipeline", "several": "StableDiffusionXLControlNetPipeline",
        "union": "StableDiffusionXLControlNetUnionPipeline",
    }
    options = {"add_watermarker": False}
    concept_keys = {"": "clip_l", "_2": "clip_g"}


class Sd21(_StableDiffusion):
    models = {
        "unet": ("diffusers", "UNet2DConditionModel"),
        "vae": ("diffusers", "AutoencoderKL"),
        "text_encoder": ("transformers", "CLIPTextModel"),
    }
    classes = {"plain": "StableDiffusionPipeline", "several": "StableDiffusionControlNetPipeline"}
    options = {"safety_checker": None, "requires_safety_checker": False, "feature_extractor": None}
    concept_keys = {"": "emb_params"}


def _class_of(checkpoint: Checkpoint, part: str) -> str:
    """Which ControlNet a part is: a union says how many types it has, whatever it calls itself."""
    label = f"checkpoint {checkpoint.manifest.name}: {part}"
    try:
        config = json.loads((checkpoint.parts[part] / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CheckpointRefused(f"{label}: config.json: expected a JSON object") from error
    is_union = "num_control_type" in config
    if is_union != (part == UNION):
        expected, got = ("a union of conditions", "one for a single kind")[:: 1 if part == UNION else -1]
        raise CheckpointRefused(f"{label}: expected {expected}, got {got}")
    return "ControlNetUnionModel" if is_union else "ControlNetModel"


def _vectors(word: str, path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CheckpointAbsent(f"concept {word!r}: no file {path}")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise CheckpointRefused(f"concept {word!r}: {path.name} is no safetensors file: {error}") from error

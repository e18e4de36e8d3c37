"""A style from one picture: a LoRA on the transformer and the ControlNet of an anchor backend.

As VideoFrom3D trains it (Kim et al. 2025, arXiv 2509.17985): rank 16, AdamW at 1e-4, 400 steps, the picture's own soft
edges as condition, flow matching: with ``x1`` the picture's latents, ``eps`` noise and ``t`` logit-normal in (0, 1),
``x_t = (1 - t) x1 + t eps`` and the loss is ``mean |v(x_t, t) - (eps - x1)|^2``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geometry.shapes import expect_shape
from models.anchors import style_adapter
from models.anchors.controlled import ControlledAnchors, Lesson
from models.base import PaintedView, Style, View
from models.pictures import resized
from models.training.descent import Pace, Report, descend

if TYPE_CHECKING:
    import torch

Array = np.ndarray

PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


@dataclass(frozen=True)
class StyleSettings:
    rank: int = 16
    steps: int = 400
    learning_rate: float = 1e-4
    side_px: int = 1024  # the picture is brought to about the area of a square of this side
    save_every: int = 50


@dataclass(frozen=True)
class TrainedStyle:
    folder: Path  # a ``Style.adapter``
    losses: tuple[float, ...]
    sample: PaintedView  # the reference's edges, painted in the style


def train_style(
    model: ControlledAnchors, reference: Array, soft_edges: Array, prompt: str, folder: Path, seed: Sequence[int],
    report: Report, settings: StyleSettings | None = None,
) -> TrainedStyle:
    """Learn the look of ``reference`` (H, W, 3) uint8 with its ``soft_edges`` (H, W); takes up what lies in ``folder``.

    Raises ``CheckpointRefused`` when that belongs to another run.
    """
    settings = settings or StyleSettings()
    expect_shape("soft_edges", soft_edges, reference.shape[:2])
    picture, edges = _to_training_size(reference, soft_edges, settings.side_px, model.factor)
    about = {
        "backend": model.name, "prompt": prompt, "seed": list(seed), "settings": asdict(settings),
        "reference_sha256": hashlib.sha256(picture.tobytes() + edges.tobytes()).hexdigest(),
    }
    model.wear(None)
    with model.runtime.inference():
        lesson = model.lesson(picture, edges, prompt)
    try:
        _add_adapters(model, settings.rank, seed)
        with model.runtime.training():
            losses = descend(
                model.adapted, lambda step, _: flow_matching_loss(model, lesson, [*seed, step]),
                Pace(settings.steps, settings.learning_rate, save_every=settings.save_every),
                folder / "state", about, report,
            )
        style_adapter.save(model.adapted, folder, about)
    finally:
        style_adapter.take_off(model.adapted)
        for network in model.adapted.values():
            network.disable_gradient_checkpointing()
    sample = model.paint(View(edges), Style(picture, prompt, folder), seed)
    return TrainedStyle(folder, tuple(losses), sample)


def flow_matching_loss(model: ControlledAnchors, lesson: Lesson, seed: Sequence[int]) -> torch.Tensor:
    """The loss above, of one draw of ``t`` and ``eps``; a scalar."""
    import torch

    eps = model.runtime.normal(lesson.clean.shape, [*seed, 0])
    time = torch.sigmoid(model.runtime.normal((1,), [*seed, 1]))
    clean = lesson.clean.float()
    noisy = (1 - time) * clean + time * eps
    predicted = model.velocity(lesson, noisy.to(lesson.clean.dtype), time.to(lesson.clean.dtype))
    return (predicted.float() - (eps - clean)).square().mean()


def _add_adapters(model: ControlledAnchors, rank: int, seed: Sequence[int]) -> None:
    import torch
    from peft import LoraConfig

    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(PROJECTIONS))
    for place, network in enumerate(model.adapted.values()):
        network.requires_grad_(False)
        network.enable_gradient_checkpointing()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(model.runtime.generator([*seed, place, 2]).initial_seed())
            network.add_adapter(config, adapter_name=style_adapter.ADAPTER)


def _to_training_size(reference: Array, soft_edges: Array, side_px: int, factor: int) -> tuple[Array, Array]:
    """Picture and edges, of sides that the model takes and about the wanted area."""
    scale = side_px / np.sqrt(soft_edges.size)
    hw = tuple(max(1, round(side * scale / factor)) * factor for side in soft_edges.shape)
    channels = np.concatenate([np.moveaxis(reference, 2, 0).astype(np.float32), soft_edges[None]])
    small = resized(channels, (hw[0], hw[1]), "bicubic")
    picture = np.rint(np.moveaxis(small[:3], 0, 2).clip(0, 255)).astype(np.uint8)
    return picture, small[3].clip(0, 1)

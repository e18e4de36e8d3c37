"""Weights for ``cogvideox_ggi`` from unpaired video: no 3D, no styled pictures, only clips and what is measured in
them.

As VideoFrom3D trains them (Kim et al. 2025, arXiv 2509.17985): from image-to-video weights of CogVideoX-5B, best after
a fine-tuning on warped noise; edges are soft edges of estimated depth, so that they look like a blockout's; the noise
is carried along the clip's flow and degraded by ``gamma ~ U(0, 1)``, so that the model learns how far to trust it; the
anchors get noise of ``sigma = exp N(-3, 0.5)``; 5e-5, batches of 16, about 1,300 steps. The loss is that of CogVideoX:
velocity prediction, the clean latents' error weighted with ``1 / (1 - alpha)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geometry.flow import Flow
from geometry.noise import fresh_noise, pooled_noise, warp_noise
from geometry.shapes import expect_shape
from models.inbetween.cogvideox_ggi import CogVideoXGgi
from models.inbetween.noise import start_noise
from models.training.descent import Pace, Report, descend

if TYPE_CHECKING:
    import torch

Array = np.ndarray

@dataclass(frozen=True)
class TrainingClip:
    frames: Array  # (T, H, W, 3) uint8
    soft_edges: Array  # (T, H, W) float32 in [0, 1]
    flow: tuple[Flow, ...]  # T - 1, each (H, W): the k-th leads from frame k + 1 back to frame k
    prompt: str = ""

    def __post_init__(self) -> None:
        expect_shape("frames", self.frames, (None, None, None, 3))
        frames, height, width = self.frames.shape[:3]
        expect_shape("soft_edges", self.soft_edges, (frames, height, width))
        if len(self.flow) != frames - 1:
            raise ValueError(f"flow: expected {frames - 1}, one less than frames, got {len(self.flow)}")
        for step in self.flow:
            expect_shape("flow.visible", step.visible, (height, width))


@dataclass(frozen=True)
class GgiTraining:
    steps: int = 1300
    learning_rate: float = 5e-5
    batch: int = 16
    anchor_noise_mean: float = -3.0  # of the logarithm of sigma
    anchor_noise_std: float = 0.5
    save_every: int = 50


def widen(model: CogVideoXGgi) -> None:
    """Make room for edges in the patch projection; zeros, so that nothing changes before training."""
    import torch

    transformer, wide = model.pipeline.transformer, 3 * model.channels
    old = transformer.patch_embed.proj
    if old.in_channels == wide:
        return
    new = torch.nn.Conv2d(wide, old.out_channels, old.kernel_size, old.stride, bias=old.bias is not None)
    new = new.to(old.weight.device, old.weight.dtype)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    transformer.patch_embed.proj = new
    transformer.register_to_config(in_channels=wide)


def train_ggi(
    model: CogVideoXGgi, clips: Sequence[TrainingClip], folder: Path, seed: Sequence[int], report: Report,
    settings: GgiTraining | None = None,
) -> list[float]:
    """Trains ``model`` (from ``CogVideoXGgi.load_untrained``) in place and writes ``folder/transformer``, the part that
    ``cogvideox_ggi`` needs. ``clips`` are read one at a time, so they may be read from disk. The loss of each step.

    Takes up what lies in ``folder``. Raises ``InputRefused`` for clips of a size or length that the model does not
    take.
    """
    settings = settings or GgiTraining()
    widen(model)
    transformer = model.pipeline.transformer
    transformer.requires_grad_(True)
    transformer.enable_gradient_checkpointing()

    def loss_of(step: int, index: int) -> torch.Tensor:
        draw = np.random.default_rng([*seed, step, index])
        return ggi_loss(model, clips[int(draw.integers(len(clips)))], [*seed, step, index], settings)

    about = {"seed": list(seed), "settings": asdict(settings), "clips": len(clips)}
    pace = Pace(settings.steps, settings.learning_rate, settings.batch, save_every=settings.save_every)
    try:
        with model.runtime.training():
            losses = descend({"transformer": transformer}, loss_of, pace, folder / "state", about, report)
    finally:
        transformer.disable_gradient_checkpointing()
        transformer.requires_grad_(False)
    transformer.save_pretrained(folder / "transformer")
    return losses


def ggi_loss(
    model: CogVideoXGgi, clip: TrainingClip, seed: Sequence[int], settings: GgiTraining
) -> torch.Tensor:
    """The loss of one draw of noise, gamma, time and anchor noise; a scalar."""
    import torch

    pipeline, runtime = model.pipeline, model.runtime
    length, height, width = clip.soft_edges.shape
    model.check(length, (height, width))
    draw = np.random.default_rng([*seed, 0])
    with torch.no_grad():
        clean = model.encode(clip.frames).float()
        conditions = model.conditions(*_noisy_anchors(clip, draw, settings), clip.soft_edges)
        text, _ = pipeline.encode_prompt(clip.prompt, do_classifier_free_guidance=False)
        chw = model.noise_chw((height, width))
        warped = _carried_noise(clip.flow, chw, [*seed, 1])
        noise = start_noise(warped, (clean.shape[1], *chw), model.stride, draw.uniform(), runtime, [*seed, 2])[None]
        scheduler = pipeline.scheduler
        time = torch.tensor([draw.integers(scheduler.config.num_train_timesteps)], device=runtime.device)
        noisy = scheduler.add_noise(clean, noise, time)
        rotary = pipeline._prepare_rotary_positional_embeddings(height, width, clean.shape[1], runtime.device)
    predicted = pipeline.transformer(
        hidden_states=torch.cat([noisy.to(conditions), conditions], 2), encoder_hidden_states=text, timestep=time,
        image_rotary_emb=rotary if pipeline.transformer.config.use_rotary_positional_embeddings else None,
        return_dict=False,
    )[0]
    # Velocity from sample and noise is also the sample from velocity and noisy sample: the rotation is its own inverse.
    estimate = scheduler.get_velocity(predicted.float(), noisy, time)
    weight = 1 / (1 - scheduler.alphas_cumprod.to(runtime.device)[time])
    return (weight * (estimate - clean).square().mean()).squeeze()


def _noisy_anchors(clip: TrainingClip, draw: np.random.Generator, settings: GgiTraining) -> tuple[Array, Array]:
    """First and last frame, float, noise added; outside [0, 1], too."""
    sigma = np.exp(draw.normal(settings.anchor_noise_mean, settings.anchor_noise_std)) / 2  # given for [-1, 1]
    first, last = (
        frame.astype(np.float32) / 255 + sigma * draw.standard_normal(frame.shape, np.float32)
        for frame in (clip.frames[0], clip.frames[-1])
    )
    return first, last


def _carried_noise(flow: Sequence[Flow], chw: tuple[int, int, int], seed: Sequence[int]) -> Array:
    """(T, C, h, w): carried from frame to frame on the raster of the flow, summed up to that of the latents."""
    height, width = flow[0].visible.shape
    word = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    noise = [fresh_noise((height, width, chw[0]), seed=word, frame=0)]
    for frame, back in enumerate(flow, start=1):
        noise.append(warp_noise(noise[-1], back, seed=word, frame=frame))
    return np.stack([np.moveaxis(pooled_noise(one, height // chw[1]), 2, 0) for one in noise])

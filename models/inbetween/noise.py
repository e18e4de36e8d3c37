"""Start noise of a clip: white noise carried along the flow, mixed with fresh noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from geometry.noise import fresh_noise, pooled_noise, warp_noise
from models.errors import InputRefused
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

    from geometry.guides import GuideSource

Array = np.ndarray


def degraded(warped: torch.Tensor, fresh: torch.Tensor, gamma: float) -> torch.Tensor:
    """Unit variance stays: 0 = all warped, 1 = all fresh (Go-with-the-Flow, Burgert et al. 2025)."""
    return ((1 - gamma) * warped + gamma * fresh) / (gamma**2 + (1 - gamma) ** 2) ** 0.5


def start_noise(
    warped: Array | None, shape: tuple[int, int, int, int], stride: int, gamma: float, runtime: Runtime,
    seed: Sequence[int],
) -> torch.Tensor:
    """(t, C, h, w) noise of ``shape`` for latents that stand for ``stride`` frames each, from (T, C, h, w) per frame.

    A causal video autoencoder's first latent stands for frame 0 alone, its k-th one for the frames up to
    ``k stride``, whose noise it takes; frames beyond the clip are its last one. Raises ``InputRefused``.
    """
    fresh = runtime.normal(shape, seed)
    if warped is None:
        return fresh
    if warped.shape[1:] != shape[1:]:
        raise InputRefused(f"noise: expected (T, C, h, w) = (T, {', '.join(map(str, shape[1:]))}), got {warped.shape}")
    frames = np.minimum(np.arange(shape[0]) * stride, len(warped) - 1)
    return degraded(runtime.tensor(warped[frames]).to(fresh.dtype), fresh, gamma)


def carried_noise(
    source: GuideSource, frames: Sequence[int], chw: tuple[int, int, int], seed: Sequence[int]
) -> Array | None:
    """(T, C, h, w) float32 for ``Arc.noise``: white in each frame, the same on a surface throughout; None for no
    channels.

    Noise of the first frame goes straight to every other; what that frame does not show gets the last one's.
    """
    channels, rows, _ = chw
    if channels == 0:
        return None
    word = int(np.random.SeedSequence(list(seed)).generate_state(1)[0])
    height, width = source.cameras.camera(frames[0]).hw
    first = fresh_noise((height, width, channels), seed=word, frame=frames[0])
    last = warp_noise(first, source.flow(frames[-1], frames[0]), seed=word, frame=frames[-1])

    def at(frame: int) -> Array:
        to_first, to_last = source.flow(frame, frames[0]), source.flow(frame, frames[-1])
        near = warp_noise(first, to_first, seed=word, frame=frame)
        far = warp_noise(last, to_last, seed=word + 1, frame=frame)
        return np.where(to_first.visible[..., None], near, far)

    ends = {frames[0]: first, frames[-1]: last}
    whole = (ends[frame] if frame in ends else at(frame) for frame in frames)
    return np.stack([np.moveaxis(pooled_noise(noise, height // rows), 2, 0) for noise in whole])

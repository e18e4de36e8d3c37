"""Start noise of a clip: white noise that the caller carried along the flow, mixed with fresh noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputRefused
from models.runtime import Runtime

if TYPE_CHECKING:
    import torch

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

"""Pictures into networks and maps back out: the resizing and normalising that torchvision would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

Array = np.ndarray

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)


def network_input(
    picture: Array, hw: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...], mode: str = "bilinear"
) -> Array:
    """(3, h, w) float32 of an (H, W, 3) uint8 picture: resized without aliasing, then normalised per channel.

    Raises ``ValueError`` for another shape or type.
    """
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise ValueError(f"picture: expected (H, W, 3) uint8, got {picture.shape} {picture.dtype}")
    channels = np.moveaxis(picture, 2, 0).astype(np.float32) / 255
    small = resized(channels, hw, mode)
    return (small - np.array(mean, np.float32)[:, None, None]) / np.array(std, np.float32)[:, None, None]


def resized(maps: Array, hw: tuple[int, int], mode: str = "bilinear") -> Array:
    """(K, h, w) float32 of (K, H, W) maps; corners stay on corners of the picture."""
    import torch
    import torch.nn.functional as F

    if maps.shape[1:] == tuple(hw):
        return maps.astype(np.float32)
    batch = torch.from_numpy(np.ascontiguousarray(maps, np.float32))[None]
    return F.interpolate(batch, size=tuple(hw), mode=mode, antialias=True)[0].numpy()


def as_array(values: torch.Tensor) -> Array:
    """float32, on the CPU."""
    return values.detach().float().cpu().numpy()

"""A picture that a model has taken apart into RGBA layers, made to be that picture again.

Models give layers back at their own raster, and nearly right: laid over one another they are a picture like the source.
What is lacking is added to the layers by how much each shows (least squares), so that nothing is seen to change.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geometry.shapes import expect_shape

Array = np.ndarray
ROUNDS = 3  # colours that reach the end of their range leave the rest to others
LEAST = 1e-4  # of what a layer shows: it can carry no more


def agreeing_layers(picture: Array, layers: Sequence[Array]) -> list[tuple[Array, Array]]:
    """``picture`` (H, W, 3) float32 in [0, 1] and ``layers`` (H, W, 4) uint8 straight RGBA, from the farthest on: their
    colours (H, W, 3) and alphas (H, W), float32, which make up the picture. The farthest becomes opaque.

    Raises ``ValueError`` for no layers, or shapes that differ.
    """
    if not layers:
        raise ValueError("layers: expected at least one, got none")
    for layer in layers:
        expect_shape("layer", layer, (*picture.shape[:2], 4))
    colours = [layer[..., :3] / np.float32(255) for layer in layers]
    alphas = [layer[..., 3] / np.float32(255) for layer in layers]
    alphas[0] = np.ones_like(alphas[0])
    weights: list[Array] = []
    rest = np.ones_like(alphas[0])
    for alpha in reversed(alphas):
        weights.insert(0, (rest * alpha)[..., None])
        rest = rest * (1 - alpha)
    for _ in range(ROUNDS):
        lacking = picture - sum(weight * colour for weight, colour in zip(weights, colours, strict=True))
        free = [
            weight * ((np.sign(lacking) < 0) & (colour > 0) | (np.sign(lacking) > 0) & (colour < 1))
            for weight, colour in zip(weights, colours, strict=True)
        ]
        power = np.maximum(sum(weight**2 for weight in free), LEAST)
        moved = (colour + weight * lacking / power for colour, weight in zip(colours, free, strict=True))
        colours = [np.clip(colour, 0, 1) for colour in moved]
    return list(zip(colours, alphas, strict=True))

"""What every renderer must read alike from a ``Material``: where a surface is there and where it is a hole."""

from __future__ import annotations

import numpy as np

from geometry.mesh import Material

Array = np.ndarray
SCREEN_DOOR = 4  # a texel of fractional alpha becomes this many squared opaque or empty ones
_BAYER = (np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]) + 0.5) / 16


def has_holes(material: Material) -> bool:
    texture = material.base_texture
    return texture is not None and texture.shape[2] == 4 and bool((texture[..., 3] < 255).any())


def hole_map(material: Material) -> Array | None:
    """(h, w) bool over the texture, True = solid; None when the material has no holes.

    Opacity is 0 or 1 only, so that a sample meets an object or does not. Without a cut-off, fractional alpha becomes a
    screen door: Bayer's ordered dither, finer than the texture.
    """
    if not has_holes(material):
        return None
    alpha = material.base_texture[..., 3] / 255.0  # type: ignore[index]
    if material.alpha_cutoff is not None:
        return alpha >= material.alpha_cutoff
    fine = alpha.repeat(SCREEN_DOOR, 0).repeat(SCREEN_DOOR, 1) * material.opacity
    return fine > np.tile(_BAYER, alpha.shape)


def is_solid(solid: Array | None, uv: Array) -> Array:
    """(N,) bool at (N, 2) ``uv`` with v up; the texture repeats and is not interpolated."""
    if solid is None:
        return np.ones(len(uv), bool)
    h, w = solid.shape
    u, v = np.mod(uv[:, 0], 1.0), np.mod(1.0 - uv[:, 1], 1.0)
    return solid[np.minimum((v * h).astype(int), h - 1), np.minimum((u * w).astype(int), w - 1)]

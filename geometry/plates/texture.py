"""A layer's colour as the composer samples it: premultiplied, with a pyramid for what is seen smaller than it is."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geometry.layers import Layer
from geometry.plates import paint_kernels

Array = np.ndarray
LEVELS = 7
Sides = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Texture:
    """``texels`` (N, 4) uint16, or float32 for layers that are; ``levels`` (L, 3) first texel, height and width of
    each; ``holds``: what is in its tiles."""

    texels: Array
    levels: Array
    holds: Array

    @classmethod
    def of(cls, layer: Layer, colour: Array, edges: Sides) -> Texture:
        """``colour`` (h, w, 3) of the layer's type; at ``edges`` its last texels go on, at other sides it is clear."""
        h, w = (side + 2 * paint_kernels.PAD for side in layer.hw)
        levels = [(0, h, w)]
        while len(levels) < LEVELS and min(h, w) > 1:
            first = levels[-1][0] + h * w
            h, w = (h + 1) // 2, (w + 1) // 2
            levels.append((first, h, w))
        dtype = np.float32 if layer.colour.dtype == np.float32 else np.uint16
        texels = np.empty((levels[-1][0] + h * w, 4), dtype)
        full = cls._full(dtype)
        paint_kernels.premultiplied(texels, colour, layer.alpha, layer.white, full, edges)
        for finer, coarser in pairwise(levels):
            paint_kernels.halved(texels, full, finer, coarser)
        return cls(texels, np.array(levels), paint_kernels.tiles(layer.alpha, layer.white, edges))

    @property
    def full(self) -> float:
        """The texels' code value of 1."""
        return self._full(self.texels.dtype)

    @staticmethod
    def _full(dtype: object) -> float:
        return 65535.0 if dtype == np.uint16 else 1.0

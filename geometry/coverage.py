"""Pixels that several surfaces share, taken apart and put together.

A picture is *pure* when each pixel looks like the surface at its centre and like nothing else: it can be carried,
smoothed and filled object by object. ``composed`` makes it a picture again, with silhouettes where geometry has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geometry import warp_kernels
from geometry.shapes import expect_shape
from geometry.sight import Sight

Array = np.ndarray
SAMPLES_PER_PX = 4


@dataclass(frozen=True)
class Coverage:
    """How surfaces share the pixels of ``sight``."""

    sight: Sight

    @cached_property
    def samples(self) -> Array:
        """(4 H, 4 W) int32 faces."""
        return self.sight.faces(SAMPLES_PER_PX)

    @cached_property
    def object_id(self) -> Array:
        """(H, W) int32, 0 = nothing."""
        return np.append(self.sight.surface.topology.object_id, np.int32(0))[self.sight.face]

    @cached_property
    def links(self) -> Array:
        """(H, W, 2) float32: how far one surface goes on to the pixel to the right, and below: 0 = it does not."""
        sight = self.sight
        return warp_kernels.links(sight.face, sight.nearness, sight.surface.topology.object_id, sight.flat_normals)

    def pure(self, picture: Array) -> Array:
        """(H, W, 3) float32 in [0, 255] of an (H, W, 3) uint8 picture of this view."""
        expect_shape("picture", picture, (*self.sight.face.shape, 3))
        sight, object_id = self.sight, self.sight.surface.topology.object_id
        share = warp_kernels.own_share(sight.face, self.samples, SAMPLES_PER_PX, sight.nearness, object_id)
        return warp_kernels.pure_colours(
            picture, sight.face, self.samples, SAMPLES_PER_PX, share, sight.nearness, object_id
        )

    def composed(self, pure: Array) -> Array:
        """(H, W, 3) uint8."""
        expect_shape("pure", pure, (*self.sight.face.shape, 3))
        sight, object_id = self.sight, self.sight.surface.topology.object_id
        return warp_kernels.composed(pure, sight.face, self.samples, SAMPLES_PER_PX, sight.nearness, object_id)

"""Pictures carried into other views of a moving scene by exact correspondence, and several merged into one.

What is carried is pure (see ``coverage``): nothing bleeds over a silhouette. How good a pixel is where it comes from
says a *quality*: 0 = not seen; it falls towards where the other view sees no further, with grazing sight, and with the
square of the enlargement in the worst direction, which is that of blur. Away from the first of these it is smooth, so
that merging by it leaves no seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np

from geometry import rigid, warp_kernels
from geometry.coverage import Coverage
from geometry.flow import flow
from geometry.shapes import expect_shape
from geometry.sight import Sight

Array = np.ndarray
LEVELS = 6  # of the picture's pyramid: a footprint of 96 px is filtered whole
FEATHER = 0.04  # of the picture's height: how far before the end of what a view sees its quality falls
RIM_PX = 2.0  # a picture reaches one px over a silhouette, and samples are mixed with those two px away
LEAST_TRUST = 0.02  # what is seen at all is worth more than nothing
GRAZING_COS = 0.25  # quality falls below this angle
BANDS = ((2.0, 3), (7.0, 2), (24.0, 1))  # sigma in px of 480 rows, power of the weights of what is finer


@dataclass(frozen=True)
class Painted:
    """A view and what it looks like: ``texels`` (H, W, 4) float32, pure colours in [0, 255] and how far to trust
    them."""

    sight: Sight
    texels: Array

    def __post_init__(self) -> None:
        expect_shape("texels", self.texels, (*self.sight.face.shape, 4))

    @classmethod
    def of(cls, sight: Sight, picture: Array) -> Painted:
        """From an (H, W, 3) uint8 picture. Raises ``ValueError`` for another raster."""
        coverage = Coverage(sight)
        return cls(sight, np.dstack([coverage.pure(picture), _trust(coverage)]))

    def without_rims(self) -> Painted:
        """With nothing known beside what hides more: however exact the geometry, brushes and filters of pictures reach
        over silhouettes."""
        coverage = Coverage(self.sight)
        kept = hidden_px(coverage) > RIM_PX
        texels = self.texels.copy()
        texels[~kept, 3] = 0
        around = smoothed(coverage, texels[None], RIM_PX)[0]
        changed = ~kept & (around[..., 3] > 0)  # samples may still be mixed with them
        texels[changed, :3] = around[changed, :3]
        return Painted(self.sight, texels)

    @cached_property
    def _pyramid(self) -> tuple[Array, Array, Array]:
        """Texels, their faces and where each level lies: see ``warp_kernels.halve``."""
        h, w = self.sight.face.shape
        levels = [(0, h, w)]
        for _ in range(LEVELS - 1):
            top, h, w = levels[-1]
            levels.append((top + h, (h + 1) // 2, (w + 1) // 2))
        rows = levels[-1][0] + levels[-1][1]
        texels, faces = np.zeros((rows, *self.texels.shape[1:]), np.float32), np.zeros((rows, levels[0][2]), np.int32)
        texels[: levels[0][1]], faces[: levels[0][1]] = self.texels, self.sight.face
        for finer, coarser in pairwise(levels):
            warp_kernels.halve(texels, faces, self.sight.surface.topology.object_id, finer, coarser)
        return texels, faces, np.array(levels)

    @cached_property
    def _goes_on(self) -> Array:
        """(H, W) uint8: whether one surface fills the 4 x 4 texels of which this one is the second down and across."""
        links = (Coverage(self.sight).links > 0).astype(np.uint8)
        links[:, -1, 0] = links[-1, :, 1] = 1
        across, down = (np.ascontiguousarray(links[..., axis]) for axis in range(2))
        whole_across = cv2.erode(across, np.ones((4, 3), np.uint8), anchor=(1, 1))
        return np.minimum(whole_across, cv2.erode(down, np.ones((3, 4), np.uint8), anchor=(1, 1)))

    def seen_from(self, view: Coverage, wanted: Array | None = None) -> Array:
        """(H, W, 4) float32: colour of each of ``view``'s pixels here, and its quality in [0, 1]; 0 outside ``wanted``
        (H, W) bool."""
        # Footprints come from the flow of neighbours.
        around = None if wanted is None else cv2.dilate(wanted.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        way = flow(view.sight, self.sight, around)
        visible = way.visible if wanted is None else way.visible & wanted
        return warp_kernels.gathered(
            way.dx_dy, visible, view.sight.face, view.links, *self._pyramid, self._goes_on, self.sight.nearness,
            self.sight.surface.topology.object_id,
        )  # fmt: skip


@dataclass(frozen=True)
class Merged:
    """``picture`` (H, W, 3) float32, pure, in [0, 255]; ``known`` (H, W) bool: a view that was merged sees it.

    What is not known goes on smoothly from what is, on the same surface; where that says nothing (``near`` (H, W) bool
    is False) it is 0.
    """

    picture: Array
    known: Array
    near: Array


def merged(view: Coverage, layers: Sequence[Array]) -> Merged:
    """Blend N pictures (H, W, 4) that ``Painted.seen_from`` gave, weighted by their last channel.

    As in a Laplacian pyramid (Burt and Adelson 1983), each band has its own transition: wide for coarse ones, so that
    there is no seam, narrow for fine ones, so that there are no two half-transparent drawings. Smoothing stops where
    surfaces end.
    """
    stack = np.stack(layers)
    total = stack[..., 3].sum(0)
    stack[..., 3] /= np.maximum(total, 1e-30)
    picture = np.zeros((*total.shape, 3), np.float32)
    power = BANDS[0][1]
    finer, near = stack, total > 0
    for sigma, next_power in BANDS:
        coarser = smoothed(view, stack, sigma)
        warp_kernels.add_band(picture, finer, coarser, power)
        finer, power = coarser, next_power
    near = warp_kernels.add_band(picture, finer, np.zeros_like(finer), power)
    return Merged(picture, total > 0, near)


def smoothed(view: Coverage, layers: Array, sigma: float) -> Array:
    """(N, H, W, 4) float32: the colours of ``layers`` (N, H, W, 4) where their weight is not 0, and that weight,
    smoothed along surfaces by ``sigma`` px of a picture of 480 rows; weight 0 where nothing is near."""
    sigma = max(sigma * layers.shape[1] / 480, 0.5)
    return warp_kernels.smoothed(layers, view.links, float(np.exp(-np.sqrt(2) / sigma)))


def _trust(coverage: Coverage) -> Array:
    """(H, W, 1) float32 in (0, 1]: low near the end of what is seen, and where sight grazes."""
    sight = coverage.sight
    goes_on = np.pad(_goes_on_beside(coverage), 1)  # the picture's edge ends it too
    distance = cv2.distanceTransform(goes_on, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    inside = _smoothstep(distance / (FEATHER * goes_on.shape[0]))
    gbuffer = sight.gbuffer()
    to_camera = rigid.inverse(sight.camera_from_world)[:3, 3] - gbuffer.position
    length = np.linalg.norm(to_camera, axis=-1)
    cosine = np.abs((gbuffer.normal * to_camera).sum(-1)) / np.maximum(length, 1e-12)
    facing = np.where(gbuffer.object_id > 0, _smoothstep(cosine / GRAZING_COS), 1)
    return np.maximum(inside * facing, LEAST_TRUST)[..., None].astype(np.float32)


def hidden_px(coverage: Coverage) -> Array:
    """(H, W) float32: how far in px it is to where the surface goes on behind a nearer one."""
    return cv2.distanceTransform(_goes_on_beside(coverage), cv2.DIST_L2, cv2.DIST_MASK_5)


def _goes_on_beside(coverage: Coverage) -> Array:
    sight = coverage.sight
    return warp_kernels.hidden_beside(sight.face, sight.nearness, coverage.links)


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)

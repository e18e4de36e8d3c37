"""One level of an edge-avoiding a-trous filter (Dammertz 2010), steered by a guide whose noise is known (SVGF, Schied
2017, eq. 4) and by the surface that pixels lie on. Arrays are (C, H, W) and (H, W) float32."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.scene import GBuffer

Array = np.ndarray
LEVELS = 5  # 3 x 3 taps, 1, 2, 4, 8 and 16 px apart
SIGMA_NOISE = 3.0  # differences up to this many standard deviations are noise
SIGMA_NORMAL = 64.0  # how fast neighbours with another normal lose weight
SIGMA_PLANE = 0.02  # of the depth: how far off the pixel's plane a neighbour may lie
SIGMA_COLOUR = 0.2  # how far another base colour may lie: gloss hardly takes a surface's colour on
CORRELATED_PX = 4
KERNEL = (0.25, 0.5, 0.25)


@dataclass(frozen=True)
class SurfaceWeights:
    """How much a neighbour belongs to the same surface; nothing to ask where all is one plane."""

    position: Array
    normal: Array
    tolerance: Array
    flat: bool
    colour: Array | None = None  # (H, W, 3)

    @classmethod
    def of(cls, surface: GBuffer, known: Array, colour: Array | None = None) -> SurfaceWeights:
        mask = known & (surface.object_id > 0)
        normals, points = surface.normal[mask], surface.position[mask]
        flat = len(points) > 0
        if flat:
            off = (points - points[0]) @ normals[0]
            same_plane = np.abs(off) <= 1e-3 * SIGMA_PLANE * surface.depth[mask] + 1e-4 * np.abs(points).max()
            flat = bool((normals @ normals[0] > 1 - 1e-5).all() and same_plane.all())
        return cls(surface.position, surface.normal, SIGMA_PLANE * surface.depth + 1e-9, flat, colour)

    def between(self, here: tuple[slice, slice], there: tuple[slice, slice]) -> Array | float:
        """(h, w) what to subtract from the logarithm of a neighbour's weight."""
        return self._across(here, there) + self._other_colour(here, there)

    def _other_colour(self, here: tuple[slice, slice], there: tuple[slice, slice]) -> Array | float:
        if self.colour is None:
            return 0.0
        difference = self.colour[there] - self.colour[here]
        return np.einsum("hwc,hwc->hw", difference, difference) / np.float32(SIGMA_COLOUR**2)

    def _across(self, here: tuple[slice, slice], there: tuple[slice, slice]) -> Array | float:
        if self.flat:
            return 0.0
        offset = self.position[there] - self.position[here]
        off_plane = np.einsum("hwc,hwc->hw", offset, self.normal[here]) / self.tolerance[here]
        cosine = np.einsum("hwc,hwc->hw", self.normal[there], self.normal[here])
        return off_plane**2 + SIGMA_NORMAL * np.maximum(1 - cosine, 0)


def a_trous(
    stack: Array, guide: Array, variance: Array, known: Array, surface: SurfaceWeights, step: int
) -> tuple[Array, Array, Array]:
    """One level over (C, H, W) ``stack``: 3 x 3 taps ``step`` px apart. Unknown pixels give and take nothing."""
    h, w = guide.shape
    usable = known.astype(np.float32)
    sums, weight_sum = np.zeros_like(stack), np.zeros_like(guide)
    guide_sum, variance_sum = np.zeros_like(guide), np.zeros_like(guide)
    noise = cv2.GaussianBlur(variance, (3, 3), 0)
    sharpness = 1 / (SIGMA_NOISE * np.sqrt(np.maximum(noise, 0)) + np.float32(1e-3))
    # Planes one at a time: each fits the processor's cache, which makes this several times faster.
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            here, there = _overlap(h, w, dy * step, dx * step)
            weight = np.float32(KERNEL[dy + 1] * KERNEL[dx + 1]) * usable[there]
            if dx or dy:
                exponent = guide[there] - guide[here]
                exponent *= sharpness[here]
                exponent *= -exponent
                exponent -= surface.between(here, there)
                weight *= np.exp(exponent, out=exponent)
            for plane, plane_sum in zip(stack, sums, strict=True):
                plane_sum[here] += weight * plane[there]
            guide_sum[here] += weight * guide[there]
            weight_sum[here] += weight
            variance_sum[here] += weight * weight * variance[there]
    share = usable / np.maximum(weight_sum, 1e-12)
    return (
        np.where(known, sums * share, stack),
        np.where(known, guide_sum * share, guide),
        # The guide was smoothed beforehand, so that close neighbours share their noise and do not average it out.
        np.where(known, variance_sum * share**2, variance) if step >= CORRELATED_PX else variance,
    )


def _overlap(h: int, w: int, dy: int, dx: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Index pairs (here, there) with ``there = here + (dy, dx)``, both inside."""
    here = slice(max(-dy, 0), max(h - max(dy, 0), 0)), slice(max(-dx, 0), max(w - max(dx, 0), 0))
    there = slice(max(dy, 0), max(h - max(-dy, 0), 0)), slice(max(dx, 0), max(w - max(-dx, 0), 0))
    if here[0].start >= here[0].stop or here[1].start >= here[1].stop:
        return (slice(0, 0), slice(0, 0)), (slice(0, 0), slice(0, 0))
    return here, there

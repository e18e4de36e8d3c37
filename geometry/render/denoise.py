"""Removes Monte Carlo noise from a ratio of two pictures without moving its edges.

An edge-avoiding a-trous filter (Dammertz 2010) whose colour weight is scaled by the noise that is really there, as in
SVGF (Schied 2017, eq. 4): the noise is measured from two halves of the samples with independent random numbers. The
numerator and the denominator are filtered with the same weights and divided last, so that a receiver's colour cancels
and a nearly black denominator does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from geometry.scene import GBuffer
from geometry.shapes import expect_shape

Array = np.ndarray
LEVELS = 5  # 3 x 3 taps, 1, 2, 4, 8 and 16 px apart
SIGMA_NOISE = 3.0  # differences up to this many standard deviations are noise
SIGMA_NORMAL = 64.0  # how fast neighbours with another normal lose weight
SIGMA_PLANE = 0.02  # of the depth: how far off the pixel's plane a neighbour may lie
CORRELATED_PX = 4
FIREFLY = 2.0  # a pixel brighter than this many times its surroundings is an accident
MIN_SHARE = 0.1  # of a pixel that must be receiver for its own few samples to be believed
KERNEL = (0.25, 0.5, 0.25)
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class ReceiverLight:
    """Two independent halves of a render, receivers only: ``rgb`` (2, H, W, 3) premultiplied by ``share`` (2, H, W)."""

    rgb: Array
    share: Array

    def __post_init__(self) -> None:
        expect_shape("rgb", self.rgb, (2, *self.share.shape[1:], 3))

    def luminance(self) -> Array:
        """(2, H, W) luminance of the receivers themselves."""
        return (self.rgb @ LUMINANCE) / np.maximum(self.share, 1e-6)


def denoise_ratio(lit: ReceiverLight, free: ReceiverLight, surface: GBuffer) -> Array:
    """(H, W, 3) ratio of ``lit`` (with the object) to ``free`` (without), 1 where there is no receiver.

    ``surface`` is the receivers' G-buffer.
    """
    receiver = free.share.min(0) > 0
    known = receiver & (lit.share.min(0) > MIN_SHARE)
    if not known.any():
        return np.ones(lit.rgb.shape[1:], np.float32)
    brightness = max(float(free.luminance().mean(0)[receiver].mean()), 1e-12)
    guide, variance = _guide(lit, free, known, 1e-3 * brightness)
    stack = np.stack([*np.moveaxis(lit.rgb.mean(0), -1, 0), lit.share.mean(0),
                      *np.moveaxis(free.rgb.mean(0), -1, 0), free.share.mean(0)])  # fmt: skip
    stack = np.where(known, stack, 0).astype(np.float32)
    _tame_fireflies(stack, guide, known)
    bounds = _SurfaceWeights.of(surface, known)
    for level in range(LEVELS):
        stack, guide, variance = _a_trous(stack, guide, variance, known, bounds, 1 << level)
    stack = _filled(stack, known)  # a later blur must mix the contour with shadow, not with light
    floor = 1e-4 * brightness  # where no light falls either way, the ratio is 1
    with_object = stack[:3] / np.maximum(stack[3], 1e-6) + floor
    without = stack[4:7] / np.maximum(stack[7], 1e-6) + floor
    usable = receiver & (stack[3] > 0)
    return np.moveaxis(np.where(usable, with_object / without, 1), 0, -1).astype(np.float32)


def _guide(lit: ReceiverLight, free: ReceiverLight, known: Array, floor: float) -> tuple[Array, Array]:
    """(H, W) ratio of luminances that steers the filter, and its variance. Each half is smoothed over 3 x 3 pixels and
    its outliers are taken out first: a few samples a pixel say too little about which neighbours are alike."""
    mask = known.astype(np.float32)
    halves = []
    for k in range(2):
        light, dark = (cv2.blur(half.luminance()[k] * mask, (3, 3)) for half in (lit, free))
        area = cv2.blur(mask, (3, 3))
        ratio = (light + floor * area) / np.maximum(dark + floor * area, 1e-12)
        halves.append(cv2.medianBlur(np.where(known, ratio, 1).astype(np.float32), 5))
    variance = np.where(known, (halves[0] - halves[1]) ** 2 / 4, 0).astype(np.float32)
    spread = np.maximum(cv2.blur(variance, (9, 9)), 0) / np.maximum(cv2.blur(mask, (9, 9)), 1e-6)
    return np.where(known, (halves[0] + halves[1]) / 2, 1).astype(np.float32), spread.astype(np.float32)


def _tame_fireflies(stack: Array, guide: Array, known: Array) -> None:
    """Pull single pixels of ``stack`` (in place) that are far brighter than all around them down to the guide."""
    ratio = (LUMINANCE @ stack[:3].reshape(3, -1)).reshape(guide.shape) * stack[7]
    ratio /= np.maximum((LUMINANCE @ stack[4:7].reshape(3, -1)).reshape(guide.shape) * stack[3], 1e-12)
    limit = FIREFLY * np.maximum(guide, 0.05)
    wild = known & (ratio > limit)
    stack[:3, wild] *= limit[wild] / ratio[wild]


@dataclass(frozen=True)
class _SurfaceWeights:
    """How much a neighbour belongs to the same surface; nothing to ask where all is one plane."""

    position: Array
    normal: Array
    tolerance: Array
    flat: bool

    @classmethod
    def of(cls, surface: GBuffer, known: Array) -> _SurfaceWeights:
        mask = known & (surface.object_id > 0)
        normals, points = surface.normal[mask], surface.position[mask]
        flat = len(points) > 0
        if flat:
            off = (points - points[0]) @ normals[0]
            same_plane = np.abs(off) <= 1e-3 * SIGMA_PLANE * surface.depth[mask] + 1e-4 * np.abs(points).max()
            flat = bool((normals @ normals[0] > 1 - 1e-5).all() and same_plane.all())
        return cls(surface.position, surface.normal, SIGMA_PLANE * surface.depth + 1e-9, flat)

    def between(self, here: tuple[slice, slice], there: tuple[slice, slice]) -> Array | float:
        if self.flat:
            return 0.0
        offset = self.position[there] - self.position[here]
        off_plane = np.einsum("hwc,hwc->hw", offset, self.normal[here]) / self.tolerance[here]
        cosine = np.einsum("hwc,hwc->hw", self.normal[there], self.normal[here])
        return off_plane**2 + SIGMA_NORMAL * np.maximum(1 - cosine, 0)


def _a_trous(
    stack: Array, guide: Array, variance: Array, known: Array, surface: _SurfaceWeights, step: int
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


def _filled(stack: Array, known: Array) -> Array:
    """Pixels that the object hides take the values of the nearest known pixel."""
    if known.all():
        return stack
    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return stack[:, rows, columns]

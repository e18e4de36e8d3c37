"""Removes Monte Carlo noise from what a render gives, without moving its edges.

An edge-avoiding filter (``a_trous``) whose noise is measured from two halves of the samples with independent random
numbers. Of a ratio, the numerator and the denominator are filtered with the same weights and divided last, so that a
receiver's colour cancels and a nearly black denominator does no harm. Of an object, the light that its surface gets is
filtered, its own colour taken out first, so that no texture is smeared.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from geometry.render.a_trous import LEVELS, SurfaceWeights, a_trous
from geometry.scene import GBuffer
from geometry.shapes import expect_shape

Array = np.ndarray
FIREFLY = 2.0  # a pixel brighter than this many times its surroundings is an accident
MIN_SHARE = 0.1  # of a pixel that must be receiver for its own few samples to be believed
DARKEST_ALBEDO = 0.04  # what is darker shows its gloss, not its colour
DETAIL_PX = 7  # window in which both halves must agree that the filter lost something
DETAIL_DOUBT = 0.25  # agreement that chance alone may bring
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
    bounds = SurfaceWeights.of(surface, known)
    for level in range(LEVELS):
        stack, guide, variance = a_trous(stack, guide, variance, known, bounds, 1 << level)
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
    spread = _spread_of(np.stack(halves), known)
    return np.where(known, (halves[0] + halves[1]) / 2, 1).astype(np.float32), spread.astype(np.float32)


def _tame_fireflies(stack: Array, guide: Array, known: Array) -> None:
    """Pull single pixels of ``stack`` (in place) that are far brighter than all around them down to the guide."""
    ratio = (LUMINANCE @ stack[:3].reshape(3, -1)).reshape(guide.shape) * stack[7]
    ratio /= np.maximum((LUMINANCE @ stack[4:7].reshape(3, -1)).reshape(guide.shape) * stack[3], 1e-12)
    limit = FIREFLY * np.maximum(guide, 0.05)
    wild = known & (ratio > limit)
    stack[:3, wild] *= limit[wild] / ratio[wild]


def _filled(stack: Array, known: Array) -> Array:
    """Pixels that the object hides take the values of the nearest known pixel."""
    if known.all():
        return stack
    rows, columns = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    return stack[:, rows, columns]


@dataclass(frozen=True)
class ObjectLight:
    """Two independent halves of a render, objects only: ``rgb`` (2, H, W, 3) premultiplied by ``share`` (2, H, W);
    ``albedo`` (H, W, 3) their base colour, premultiplied by the mean share."""

    rgb: Array
    share: Array
    albedo: Array

    def __post_init__(self) -> None:
        expect_shape("rgb", self.rgb, (2, *self.share.shape[1:], 3))
        expect_shape("albedo", self.albedo, (*self.share.shape[1:], 3))


def denoise_object(light: ObjectLight, surface: GBuffer) -> Array:
    """(H, W, 3) radiance of the objects, premultiplied by the mean share; ``surface`` is theirs, wherever they cover
    any part of a pixel."""
    share = light.share.mean(0)
    known = share > 0
    result = light.rgb.mean(0)
    if not known.any() or not result.any():
        return result
    rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    colour = np.maximum(light.albedo[box] / np.maximum(share[box], 1e-6)[..., None], DARKEST_ALBEDO)
    halves = light.rgb[:, *box] / colour
    result[box] = colour * _denoised_light(halves, light.share[:, *box], known[box], _part(surface, box), colour)
    return result


def _denoised_light(halves: Array, shares: Array, known: Array, surface: GBuffer, colour: Array) -> Array:
    """(H, W, 3) of (2, H, W, 3), both premultiplied by their (2, H, W) shares; ``colour`` (H, W, 3) of the surface."""
    share = shares.mean(0)
    brightness = float((halves.mean(0) @ LUMINANCE).sum() / share.sum())
    if brightness <= 0:
        return halves.mean(0)
    luminance = halves @ (LUMINANCE / brightness)  # (2, H, W), premultiplied
    smooth = np.stack([cv2.blur(a, (3, 3)) / np.maximum(cv2.blur(b, (3, 3)), 1e-6)
                       for a, b in zip(luminance, shares, strict=True)])  # fmt: skip
    guide = np.where(known, smooth.mean(0), 0).astype(np.float32)
    variance = _spread_of(smooth, known)
    stack = np.stack([*np.moveaxis(halves.mean(0), -1, 0), share]).astype(np.float32)
    _tame_lone_samples(stack, luminance.sum(0) / 2, guide, luminance.min(0))
    bounds = SurfaceWeights.of(surface, known, colour)
    noisy = stack
    for level in range(LEVELS):
        stack, guide, variance = a_trous(stack, guide, variance, known, bounds, 1 << level)
    filtered = np.moveaxis(stack[:3] / np.maximum(stack[3], 1e-6), 0, -1) * share[..., None]
    lost = np.moveaxis(noisy[:3], 0, -1) - filtered
    return filtered + _detail_share(luminance - filtered @ (LUMINANCE / brightness))[..., None] * lost


def _spread_of(halves: Array, known: Array) -> Array:
    """(H, W) variance of the mean of two halves (2, H, W), as their difference shows it around each pixel."""
    mask = known.astype(np.float32)
    variance = np.where(known, (halves[0] - halves[1]) ** 2 / 4, 0).astype(np.float32)
    return np.maximum(cv2.blur(variance, (9, 9)), 0) / np.maximum(cv2.blur(mask, (9, 9)), 1e-6)


def _tame_lone_samples(stack: Array, luminance: Array, guide: Array, agreed: Array) -> None:
    """Pull pixels (in place) down that are far brighter than all around them in one half only: a highlight is in both.
    ``luminance`` and ``agreed``, the darker half's, are premultiplied."""
    limit = np.maximum(FIREFLY * np.maximum(guide, 0.05) * stack[3], FIREFLY * agreed)
    wild = luminance > limit
    stack[:3, wild] *= limit[wild] / luminance[wild]


def _detail_share(lost: Array) -> Array:
    """(H, W) Wiener gain of what a filter took away: both halves (2, H, W) lack it alike where it was no noise."""
    window = (DETAIL_PX, DETAIL_PX)
    shared, power = cv2.blur(lost[0] * lost[1], window), cv2.blur(lost.mean(0) ** 2, window)
    gain = shared / np.maximum(power, 1e-12)
    return np.clip((gain - DETAIL_DOUBT) / (1 - DETAIL_DOUBT), 0, 1).astype(np.float32)


def _part(surface: GBuffer, box: tuple[slice, slice]) -> GBuffer:
    return GBuffer(**{name: getattr(surface, name)[box] for name in GBuffer.__dataclass_fields__})

"""Where a picture shows what another one does, in other light: a shadow has come, or gone, and nothing moved.

A cast shadow takes nearly the same share of light from each channel and leaves the texture of what it falls on (after
Horprasert et al. 1999); what has no texture becomes evenly darker. Texture is what is finer than a shadow's edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray
SUM = np.ones((1, 3), np.float32)


@dataclass(frozen=True)
class ShadowSettings:
    light: tuple[float, float] = (0.45, 0.88)  # code values that a shadow leaves, relative
    deepest: float = 0.25  # the same, where the texture is still there
    hue: float = 0.045  # shares of red, green and blue may change this much
    correlation: float = 0.3  # of the textures
    flat_levels: float = 3.0  # deviation of code values where there is no texture


@dataclass(frozen=True)
class Light:
    """What is compared of a picture, (h, w) float32 each."""

    total: Array  # code values of the three channels, by window
    shares: tuple[Array, ...]  # of the channels in it
    texture: Array  # grey
    texture_variance: Array
    variance: Array  # of grey, by window

    @classmethod
    def of(cls, picture: Array) -> Light:
        """``picture`` (h, w, 3), code values."""
        image = picture.astype(np.float32)
        channels = [channel + 1 for channel in cv2.split(cv2.blur(image, (5, 5)))]
        total = channels[0] + channels[1] + channels[2]
        grey = cv2.transform(image, SUM / 3)
        texture = grey - (total / 3 - 1)
        return cls(total, tuple(channel / total for channel in channels), texture, _average(texture * texture),
                   _average(grey * grey) - _average(grey) ** 2)


def shadow(here: Light, there: Light, noise: float, s: ShadowSettings) -> Array:
    """(h, w) bool: ``here`` is ``there`` in less light: the same in hue, its texture still there, or as evenly dark
    where it has none; or in more light, its texture there. ``noise``: mean absolute difference where nothing moves."""
    ratio = here.total / there.total
    off = [cv2.absdiff(a, b) for a, b in zip(here.shares, there.shares, strict=True)]
    hue = cv2.max(cv2.max(off[0], off[1]), off[2])
    alike = correlation(here, there) > s.correlation
    flat = cv2.max(here.variance, there.variance) < s.flat_levels**2 + 0.8 * noise**2
    low, high = s.light
    darker, lighter = (ratio > low) & (ratio < high), (ratio > 1 / high) & (ratio < 1 / low)
    deep = (ratio > s.deepest) & (ratio <= low)
    faint = same_light(here, there, s)  # on a blank wall more than noise, and still no thing
    return (hue < s.hue) & (((darker | faint) & (alike | flat)) | ((lighter | deep) & alike))


def same_light(here: Light, there: Light, s: ShadowSettings) -> Array:
    """(h, w) bool: no shadow has come or gone."""
    ratio = here.total / there.total
    return (ratio >= s.light[1]) & (ratio <= 1 / s.light[1])


def correlation(here: Light, there: Light) -> Array:
    """(h, w) in [-1, 1], of the textures: whatever the light, what is the same has the same; 0 where there is none."""
    shared = _average(here.texture * there.texture)
    both = np.maximum(here.texture_variance, 0) * np.maximum(there.texture_variance, 0)  # running sums round
    return shared / np.maximum(np.sqrt(both), np.float32(1e-6))


def _average(image: Array) -> Array:
    return cv2.blur(image, (11, 11))

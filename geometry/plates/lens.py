"""What a lens and a shutter do to layers: depth of field and motion blur, in linear light.

Circle of confusion of a thin lens (Potmesil and Chakravarty 1981), its diameter in px for a point at depth z:
``focal_px * aperture * |1/z - 1/focus|``, with the diameter of the aperture in scene units. Every layer is blurred by
itself, premultiplied, and then laid under what is nearer: what is sharp takes nothing from what is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.plates import light_kernels
from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath

Array = np.ndarray
STEP = 1.6  # between the radii that are blurred; what lies between them is mixed
LEAST_PX = 0.3  # a smaller radius is sharp
FILL_SHARE = 0.02  # of the picture's height: how far a layer's depth is averaged beyond its end


@dataclass(frozen=True)
class Focus:
    """``depth`` of what is sharp and ``aperture``, the diameter of the pupil, in scene units; ``largest_px`` bounds
    the radius of the blur. Raises ``ValueError`` unless ``depth`` > 0 and the others >= 0."""

    depth: float
    aperture: float
    largest_px: float = 40.0

    def __post_init__(self) -> None:
        if not self.depth > 0:
            raise ValueError(f"focus depth: expected > 0, got {self.depth}")
        if not (self.aperture >= 0 and self.largest_px >= 0):
            raise ValueError(f"aperture and largest_px: expected >= 0, got {self.aperture} and {self.largest_px}")

    def radius_px(self, nearness: Array, focal_px: float) -> Array:
        """Of the blur, for nearness = 1 / z of any shape."""
        return np.minimum(0.5 * focal_px * self.aperture * np.abs(nearness - 1 / self.depth), self.largest_px)


@dataclass(frozen=True)
class View:
    """A lens, its (4, 4) ``camera_from_world`` and the frame number, which may be a fraction."""

    camera: Camera
    camera_from_world: Array
    time: float = 0.0

    def __post_init__(self) -> None:
        expect_shape("camera_from_world", self.camera_from_world, (4, 4))


def shutter_views(path: CameraPath, frame: int, *, share: float = 0.5, samples: int = 12) -> tuple[View, ...]:
    """What an open shutter sees: ``samples`` moments of ``share`` of a frame's time, around ``frame``.

    Raises ``ValueError`` for a share outside [0, 1] or no samples.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"shutter share: expected 0 to 1 (180 degrees = 0.5), got {share}")
    if samples < 1:
        raise ValueError(f"shutter samples: expected at least 1, got {samples}")
    times = frame + share * ((np.arange(samples) + 0.5) / samples - 0.5)
    return tuple(View(path.camera(frame), path.pose_between(float(time)), float(time)) for time in times)


def blurred(rgba: Array, radius_px: Array) -> Array:
    """(H, W, 4) premultiplied ``rgba``, every pixel the mean over a disc of its own ``radius_px`` (H, W).

    A few discs are drawn over the whole picture and mixed by pixel.
    """
    largest = float(radius_px.max(initial=0.0))
    if largest < LEAST_PX:
        return rgba
    radii = _radii(float(radius_px.min()), largest)
    discs = [rgba if radius < LEAST_PX else cv2.filter2D(rgba, -1, _disc(radius)) for radius in radii]
    if len(radii) == 1:
        return discs[0]
    at = np.interp(radius_px, radii, np.arange(len(radii))).astype(np.float32)[..., None]
    out = np.zeros_like(rgba)
    for i, disc in enumerate(discs):
        out += disc * np.maximum(1 - np.abs(at - np.float32(i)), 0)
    return out


def _radii(smallest: float, largest: float) -> list[float]:
    """From the smallest to the largest, each a step above the one before."""
    if largest - smallest < 0.25:
        return [0.5 * (smallest + largest)]
    radii = [smallest]
    while radii[-1] < largest:
        radii.append(min(max(radii[-1] * STEP, radii[-1] + 0.75), largest))
    return radii


def _disc(radius: float) -> Array:
    """A disc with a soft rim, so that it grows without steps; sums to 1."""
    reach = int(np.ceil(radius + 0.5))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return disc / disc.sum()


def extended(nearness: Array, shown: Array) -> Array:
    """(H, W) ``nearness``, which is 0 where a layer has no surface, continued from where it is ``shown`` (H, W)."""
    if (nearness > 0).all() or not shown.any():
        return nearness
    known = (nearness > 0).astype(np.float32)
    side = max(int(FILL_SHARE * nearness.shape[0]), 3)
    weight = cv2.blur(known, (side, side))
    near_by = cv2.blur(nearness, (side, side)) / np.maximum(weight, 1e-6)
    mean = nearness[shown & (nearness > 0)].mean() if (shown & (nearness > 0)).any() else nearness.max()
    return np.where(nearness > 0, nearness, np.where(weight > 1e-3, near_by, mean)).astype(np.float32)


def light(rgba: Array, encoding: str) -> Array:
    """Premultiplied code values (H, W, 4) as premultiplied light; only where something is seen."""
    return rgba if encoding == "linear" else light_kernels.light(rgba)


def code(rgba: Array, encoding: str) -> Array:
    """The way back."""
    return rgba if encoding == "linear" else light_kernels.code(rgba)

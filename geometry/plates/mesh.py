"""The surface a layer is painted on: a plane, or a mesh that is cut where its depth jumps.

Nearness is 1 / z-depth. Seen by a pinhole camera that of a plane is linear in pixels, however it slopes, so that a
ground plane is one face from the feet to the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.layers import Layer
from geometry.plates import kernels

Array = np.ndarray
FLAT_PX, BASELINE_SHARE = 0.1, 0.1  # a face may be this wrong after a move by this share of the layer's near depth
CUT_NEAR, CUT_SHARE = 0.01, 0.03  # a jump of nearness between texels: of the layer's nearest, and of its own
NEAR_PERCENTILE = 95
SAMPLES = 128  # along each side, for a plane's first guess


@dataclass(frozen=True)
class Surface:
    """``plane`` (3,): nearness on the canvas is ``plane @ (x, y, 1)``; or cells of ``kernels.cells``, ``where`` (N, 4)
    and ``corners`` (N, 4), counted from the layer's first pixel."""

    plane: Array | None
    where: Array
    corners: Array

    @classmethod
    def of(cls, layer: Layer, focal_px: float) -> Surface:
        """Of a layer that is not clear everywhere; ``focal_px`` of the canvas says how exact it has to be."""
        shown = cv2.dilate((layer.alpha > 0).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        none = np.zeros((0, 4), np.int32), np.zeros((0, 4))
        if not any(layer.depth.strides):
            return cls(np.array([0, 0, 1 / float(layer.depth.flat[0])]), *none)
        nearness = 1 / layer.depth
        tolerance = FLAT_PX / (BASELINE_SHARE * focal_px) * _near(nearness, layer.alpha)
        plane = _plane(nearness, shown, tolerance)
        if plane is not None:
            return cls(plane - (0, 0, plane[:2] @ layer.xy), *none)
        return cls(None, *kernels.cells(nearness, shown, cuts(nearness, layer.alpha), tolerance))


def cuts(nearness: Array, alpha: Array) -> Array:
    """(h, w) uint8 of ``kernels.CUT_X`` and ``CUT_Y``: where the surface of a layer ends between two of its texels."""
    return kernels.cuts(nearness, CUT_NEAR * _near(nearness, alpha), CUT_SHARE)


def _near(nearness: Array, alpha: Array) -> float:
    return float(np.percentile(nearness[alpha > 0], NEAR_PERCENTILE))


def _plane(nearness: Array, shown: Array, tolerance: float) -> Array | None:
    """(3,) in the layer's own pixels; None where no plane is within ``tolerance`` everywhere that is ``shown``."""
    h, w = nearness.shape
    rows, columns = np.arange(0, h, -(-h // SAMPLES)), np.arange(0, w, -(-w // SAMPLES))
    y, x = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    known = shown[y, x]
    if known.sum() < 3:
        y, x = np.nonzero(shown)
    else:
        y, x = y[known], x[known]
    places = np.stack([x + 0.5, y + 0.5, np.ones(len(x))], 1)
    plane = np.linalg.lstsq(places, nearness[y, x].astype(np.float64), rcond=None)[0]
    if np.abs(places @ plane - nearness[y, x]).max() > tolerance:
        return None
    flat = (plane[0] * (np.arange(w) + 0.5) + (plane[1] * (np.arange(h) + 0.5) + plane[2])[:, None]).astype(np.float32)
    return plane if np.abs(np.where(shown, flat - nearness, 0)).max() <= tolerance else None

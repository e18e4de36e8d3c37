"""What lies behind a cut inside a layer: a strip of the farther side, continued under the nearer one.

A moving camera opens a gap where a layer's surface is cut. What shows in it is the same layer, farther back, not the
next layer behind; so the farther side goes on for a little, mirrored at the cut.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from geometry.layers import Layer
from geometry.plates import kernels
from geometry.plates.mesh import cuts

Array = np.ndarray
REACH_SHARE = 0.08  # of the layer's width: how far it goes on
ALIKE = 1.02  # in nearness: the same side


def underlay(layer: Layer) -> Layer | None:
    """The strip as a layer to be laid under its own, which must not be clear everywhere; None where nothing is cut."""
    nearness = 1 / layer.depth
    farther = _farther_side(nearness, cuts(nearness, layer.alpha)) & (layer.alpha > 0)
    if not farther.any():
        return None
    distance, labels = cv2.distanceTransformWithLabels(
        (~farther).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    seeds = np.zeros(labels.max() + 1, np.int64)
    seeds[labels[farther]] = np.flatnonzero(farther)
    at_cut = seeds[labels]
    behind = nearness.ravel()[at_cut]
    is_under = (distance <= max(REACH_SHARE * layer.hw[1], 3)) & ((nearness > behind * ALIKE) | (distance < 2))
    is_under &= layer.alpha >= layer.white  # the source view must not change
    rows, columns = np.nonzero(is_under)
    source = _mirrored(nearness, layer.alpha, rows, columns, at_cut[is_under])
    colour, alpha = np.zeros_like(layer.colour), np.zeros_like(layer.alpha)
    colour[is_under] = layer.colour.reshape(-1, 3)[source]
    alpha[is_under] = layer.alpha.ravel()[source]
    depth = np.where(is_under, 1 / behind, layer.depth).astype(np.float32)
    return replace(layer, colour=colour, alpha=alpha, depth=depth, motion=None)


def _farther_side(nearness: Array, cut: Array) -> Array:
    """(h, w) bool: texels beside a cut that lie behind it."""
    out = np.zeros(cut.shape, bool)
    right, below = (cut[:, :-1] & kernels.CUT_X) > 0, (cut[:-1] & kernels.CUT_Y) > 0
    out[:, :-1] |= right & (nearness[:, :-1] < nearness[:, 1:])
    out[:, 1:] |= right & (nearness[:, 1:] < nearness[:, :-1])
    out[:-1] |= below & (nearness[:-1] < nearness[1:])
    out[1:] |= below & (nearness[1:] < nearness[:-1])
    return out


def _mirrored(nearness: Array, alpha: Array, rows: Array, columns: Array, at_cut: Array) -> Array:
    """Flat index of the texel as far on the other side of the cut; the one at the cut where that is of something
    else."""
    h, w = nearness.shape
    j, i = 2 * (at_cut // w) - rows, 2 * (at_cut % w) - columns
    inside = (j >= 0) & (j < h) & (i >= 0) & (i < w)
    there = np.clip(j, 0, h - 1) * w + np.clip(i, 0, w - 1)
    near, far = nearness.ravel()[there], nearness.ravel()[at_cut]
    is_alike = inside & (near < far * ALIKE) & (far < near * ALIKE) & (alpha.ravel()[there] > 0)
    return np.where(is_alike, there, at_cut)

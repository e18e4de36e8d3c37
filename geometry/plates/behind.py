"""What lies behind a layer: which band goes on there, and what it looks like.

Only what a layer in front hides is made, and only as far in as a camera may come to see (``reach``). Bands go on behind
it as their borders point (a membrane over their masks), and each is filled from its own texture alone, so that a tree
in front of a house leaves no sky in the wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.exemplar.picture import fill, membrane
from geometry.plates.outpaint import Painter
from geometry.plates.smooth import biharmonic
from geometry.shapes import expect_shape

Array = np.ndarray
CONTEXT = 2.5  # reaches round a hole that texture is taken from
LEAST_CONTEXT_PX = 48
NONE = -1  # the band of what is hidden too deep to be made


@dataclass(frozen=True)
class Uncovered:
    """What is seen with the layers in front taken off: ``codes`` (H, W, 3) uint8; ``bands`` (H, W) int32, ``NONE``
    where nothing was made."""

    codes: Array
    bands: Array

    def __post_init__(self) -> None:
        expect_shape("codes", self.codes, (*self.bands.shape, 3))


def uncovered(
    codes: Array, bands: Array, hole: Array, reach_px: float, painter: Painter | None = None,
    doubtful: Array | None = None,
) -> Uncovered:
    """Take off what covers ``hole`` (H, W) bool: pixels outside it stay as they are. Bands outside are all of those
    behind. ``painter`` makes the colours instead of the copied texture; nothing is copied from what is ``doubtful``
    (H, W) bool."""
    expect_shape("hole", hole, bands.shape)
    given = ~hole & (bands != NONE)
    if doubtful is not None and (given & ~doubtful).any():
        given &= ~doubtful
    if not given.any() or not hole.any():
        return Uncovered(codes, np.where(hole, NONE, bands).astype(np.int32))
    near = cv2.distanceTransform((~given).astype(np.uint8), cv2.DIST_L2, 5) <= reach_px
    wanted = hole & near
    there = np.unique(bands[given])
    shares = membrane(np.stack([bands == band for band in there], -1).astype(np.float32), given, wanted)
    going_on = there[::-1][np.argmax(shares[..., ::-1], -1)]  # the nearer one where two are alike
    made = np.where(wanted, going_on, np.where(hole, NONE, bands)).astype(np.int32)
    if painter is not None:
        return Uncovered(np.where(wanted[..., None], painter(codes, wanted), codes), made)
    out = codes.copy()
    for band in there:
        filled_band(out, given & (bands == band), wanted & (made == band), reach_px)
    return Uncovered(out, made)


def filled_band(codes: Array, known: Array, wanted: Array, reach_px: float) -> None:
    """Fill ``wanted`` (H, W) bool of ``codes`` (H, W, 3) uint8, in place, from what is ``known`` (H, W) bool: each part
    by itself, with as much of the texture as lies round it."""
    context = int(max(CONTEXT * reach_px, LEAST_CONTEXT_PX))
    joined = cv2.dilate(wanted.astype(np.uint8), np.ones((context // 2 + 1, context // 2 + 1), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    for part in range(1, count):
        x, y, w, h = stats[part, :4]
        cut = np.s_[max(y - context, 0) : y + h + context, max(x - context, 0) : x + w + context]
        own = wanted[cut] & (parts[cut] == part)
        source = known[cut]
        if not own.any():
            continue
        if not source.any():
            cut = np.s_[:, :]
            own, source = wanted & (parts == part), known
        codes[cut][own] = np.rint(fill(codes[cut], source, own))


def continued_depth(inverse: Array, seen: Array, believed: Array) -> Array:
    """(H, W) inverse depth of a layer everywhere, from where it is both ``seen`` (H, W) bool and ``believed`` (H, W)
    bool: it goes on smoothly, within its own range. A piece of it that is nowhere believed is all the same."""
    values = inverse.astype(np.float32)
    count, parts = cv2.connectedComponents(seen.astype(np.uint8), connectivity=8)
    sure = seen & believed
    has_sure = np.zeros(count, bool)
    has_sure[parts[sure]] = True
    sure |= seen & ~has_sure[parts]
    low, high = values[sure].min(), values[sure].max()
    return np.clip(biharmonic(values, sure), low, high)

"""Surfaces unrolled into planes, so that texture lies on them in true perspective and stays there in every view.

A chart is all of one label (an object's material) that faces one of 26 directions of the world (those from a cube's
centre to its faces, edges and corners), projected along it; its axes are horizontal and down, fixed in the world. What
has no surface (label 0: the sky) is one chart, the picture itself. Texels are squares of side 2^l, see ``sheets``; a
pixel wants the level whose texels have about its size on the surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from geometry.exemplar.kernels import drawn_quads, steps, unrolled
from geometry.exemplar.sheets import Sheet, parents
from geometry.scene import GBuffer
from geometry.shapes import expect_shape

Array = np.ndarray
FACINGS = 26
SCREEN = FACINGS  # the direction of what has no surface
PER_LABEL = FACINGS + 1  # chart = label * PER_LABEL + direction
ROUND = 1 / 512  # normals are rounded to it, so that those of a flat face choose the same direction
BLENDED = 0.06  # difference of cosines over which one chart turns into the next
LONGEST_TEXELS = 6.0  # longer gaps between neighbouring pixels are jumps from one layer to another
FARTHEST_TAP = 1 / 3  # of the long axis of a pixel's footprint


@dataclass(frozen=True)
class Charted:
    """A picture's pixels on charts. ``chart`` (H, W) int64; ``at`` (H, W, 2) float64 down and right on its plane;
    ``level`` (H, W) int64; ``long`` (H, W, 2) the longer axis of each pixel's footprint there."""

    chart: Array
    at: Array
    level: Array
    long: Array

    def __post_init__(self) -> None:
        expect_shape("at", self.at, (*self.chart.shape, 2))
        expect_shape("level", self.level, self.chart.shape)
        expect_shape("long", self.long, self.at.shape)

    def __getitem__(self, window: tuple[slice, slice]) -> Charted:
        return Charted(self.chart[window], self.at[window], self.level[window], self.long[window])

    @property
    def taps(self) -> tuple[Array, Array, Array]:
        """Three (H, W, 2) places along each pixel's footprint."""
        step = self.long * FARTHEST_TAP
        return self.at - step, self.at, self.at + step


@cache
def _directions() -> tuple[Array, Array, Array]:
    """(26, 3) each: unit directions, and the axes right and down of a plane that is looked at against them."""
    facing = np.array([d for d in product((-1, 0, 1), repeat=3) if any(d)], np.float64)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    right = np.cross((0.0, 1.0, 0.0), facing)
    right[np.abs(facing[:, 1]) > 0.99] = (1.0, 0.0, 0.0)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return facing, right, np.cross(right, facing)


def charted(gbuffer: GBuffer, labels: Array) -> Charted:
    """``labels`` (H, W) int: what belongs together; 0 = no surface."""
    return _charted(gbuffer, labels, False)[0]


def charted_again(gbuffer: GBuffer, labels: Array) -> tuple[Charted, Array]:
    """On the charts that pixels face second best, and (H, W) float32 in [0, 0.5] how much of them shows: half where
    both are faced alike, so that round things have no seams."""
    charts, lead = _charted(gbuffer, labels, True)
    return charts, np.clip(0.5 - lead / (2 * BLENDED), 0, 0.5).astype(np.float32)


def _charted(gbuffer: GBuffer, labels: Array, second: bool) -> tuple[Charted, Array]:
    direction, at, lead = unrolled(labels, gbuffer.normal, gbuffer.position, *_directions(), ROUND, second)
    chart = labels.astype(np.int64) * PER_LABEL + direction
    return Charted(chart, at, *_footprints(chart, at, gbuffer.depth, labels == 0)), lead


def _footprints(chart: Array, at: Array, depth: Array, is_screen: Array) -> tuple[Array, Array]:
    """Level and long axis of each pixel's footprint; alone in its chart, a pixel is taken to face the camera."""
    down, right = steps(chart, at)
    lengths = [np.hypot(step[..., 0], step[..., 1]) for step in (down, right)]
    surface = ~is_screen & np.isfinite(lengths[1]) & (depth > 0)
    facing = np.median(lengths[1][surface] / depth[surface]) if surface.any() else 1e-3
    alone = np.where(is_screen, 1.0, np.maximum(facing * depth, 1e-9))
    known = [np.where(np.isfinite(length) & (length > 0), length, alone) for length in lengths]
    level = np.round(np.log2(np.sqrt(known[0] * known[1]))).astype(np.int64)
    level[is_screen] = 0
    long = np.where((known[0] > known[1])[..., None], down, right)
    return level, np.where(np.isfinite(long) & ~is_screen[..., None], long, 0.0)


def drawn(charts: Charted, picture: Array, chosen: Array, chart_index: Array, levels: list[Sheet]) -> list[Array]:
    """What ``picture`` (H, W, 3) shows at ``chosen`` pixels, on each of ``levels``: (h, w, 4) float32, colour and
    whether (1) or not (0) a texel is shown.

    ``chart_index`` (H, W): charts as the sheets number them, -1 = none. Each pixel is drawn at its own level or the
    nearest that there is; coarser texels are means of the finer ones.
    """
    pictures: list[Array] = []
    colours = picture.astype(np.float64)
    own = np.clip(charts.level, levels[-1].level, levels[0].level)
    for i in range(len(levels) - 1, -1, -1):
        sheet = levels[i]
        shown = np.zeros((*sheet.index.shape, 4), np.float32)
        if pictures:
            shown[:] = halved(pictures[0], levels[i + 1], sheet)
        here = chosen & (chart_index >= 0) & (own == sheet.level)
        if here.any():
            total, weight = np.zeros((*sheet.index.shape, 3)), np.zeros(sheet.index.shape)
            place = sheet.place(np.maximum(chart_index, 0), charts.at)
            usable = np.where(chosen, chart_index, -1)
            drawn_quads(usable, place, colours, here, LONGEST_TEXELS, sheet.index, total, weight)
            new = (weight > 0) & (shown[..., 3] == 0)
            shown[new, :3] = total[new] / weight[new, None]
            shown[new, 3] = 1
        pictures.insert(0, shown)
    return pictures


def halved(shown: Array, fine: Sheet, coarse: Sheet) -> Array:
    """Means of the texels that are shown, where at least two of four are."""
    rows, columns = np.nonzero(shown[..., 3] > 0)
    up, across = parents(fine, coarse, rows, columns)
    flat = up * coarse.index.shape[1] + across
    count = np.bincount(flat, minlength=coarse.index.size)
    means = [np.bincount(flat, shown[rows, columns, c], coarse.index.size) / np.maximum(count, 1) for c in range(3)]
    kept = count >= 2
    return np.stack([*(np.where(kept, mean, 0) for mean in means), kept], -1).reshape(*coarse.index.shape, 4)


def sampled(charts: Charted, chosen: Array, chart_index: Array, levels: list[Sheet], pictures: list[Array]) -> Array:
    """(N, 3) float32 colours of the ``chosen`` pixels, each at its level or the nearest that there is."""
    index, colours = chart_index[chosen], np.zeros((int(chosen.sum()), 3), np.float32)
    level = np.clip(charts.level[chosen], levels[-1].level, levels[0].level)
    for sheet, picture in zip(levels, pictures, strict=True):
        here = level == sheet.level
        taps = [_bilinear(picture, sheet.place(index[here], tap[chosen][here])) for tap in charts.taps]
        colours[here] = sum(taps) / len(taps)
    return colours


def _bilinear(picture: Array, place: Array) -> Array:
    """(N, 3) float32 of (h, w, 3) at (N, 2) rows and columns, texel centres at halves."""
    corner = np.floor(place - 0.5).astype(np.int64)
    (down, right), (row, column) = (place - 0.5 - corner).T[..., None].astype(np.float32), corner.T
    above = picture[row, column] * (1 - right) + picture[row, column + 1] * right
    below = picture[row + 1, column] * (1 - right) + picture[row + 1, column + 1] * right
    return above * (1 - down) + below * down

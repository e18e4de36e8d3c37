"""One surface at a time: what a view lacks of it, made from what is known of it or from a part of a style picture.

Pictures here hold texture: light is taken off. A surface is all pixels of one label; others never take part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from geometry.exemplar.charts import Charted, drawn, halved, sampled
from geometry.exemplar.kernels import KNOWN, NONE, OPEN
from geometry.exemplar.sheets import Points, Sheet, parents, picture_sheets, sheets
from geometry.exemplar.synthesis import FEWEST, Canvas, Source, filled, sources
from geometry.shapes import expect_shape

Array = np.ndarray
LEVELS_UP = 5  # of the pyramid above its finest level
SMALLEST_SIDE = 10  # of an example at the coarsest level
ENOUGH, ENOUGH_SHARE = 400, 0.1  # whole patches known at the finest level: so many, or this share of what is open
MANY = 400  # whole patches to start from, unless so many texels are open that the next level's would be
MOST_OPEN = 4000
NEAR_SHARE = 30  # percent of a surface's pixels may be nearer than what an example's own raster is fit for
ANOTHER = 1 << 40  # added to the charts of another picture, whose texels are not the view's


@dataclass(frozen=True)
class Part:
    """The pixels of one label in one picture: ``known`` ones show what ``texture`` (H, W, 3) uint8 says, ``wanted``
    ones shall get a colour; (H, W) bool."""

    charts: Charted
    texture: Array
    known: Array
    wanted: Array

    def __post_init__(self) -> None:
        expect_shape("texture", self.texture, (*self.charts.chart.shape, 3))
        expect_shape("known", self.known, self.charts.chart.shape)
        expect_shape("wanted", self.wanted, self.charts.chart.shape)


@dataclass(frozen=True)
class Example:
    """Part of a picture: ``texture`` (h, w, 3) uint8 where ``mask`` (h, w) bool."""

    texture: Array
    mask: Array

    @cached_property
    def levels(self) -> list[Source]:
        """Coarsest first, down to the picture's own raster."""
        x, y, w, h = cv2.boundingRect(self.mask.astype(np.uint8))
        up = int(np.clip(np.floor(np.log2(max(min(w, h) / SMALLEST_SIDE, 1))), 0, LEVELS_UP))
        cut = np.s_[y : y + h, x : x + w]
        return sources(_example_canvases(self.texture[cut], self.mask[cut], up))


def completed(view: Part, other: Part | None) -> Array | None:
    """(N, 3) float32 colours of the wanted pixels of ``view``, from what is known in it and in ``other``; None where
    that is too little."""
    parts = [view] if other is None else [view, other]
    if sum(int(part.known.sum()) for part in parts) < FEWEST:
        return None
    finest = int(view.charts.level[view.wanted].min())
    canvases, index = _canvases(parts, finest, finest + LEVELS_UP)
    levels = sources(canvases)
    while len(levels) > 1 and not _is_enough(canvases[-1], levels[-1]):
        canvases, levels = canvases[:-1], levels[:-1]
    while len(levels) > 1 and levels[0].usable.sum() < MANY and (canvases[1].state == OPEN).sum() < MOST_OPEN:
        canvases, levels = canvases[1:], levels[1:]
    if not levels[0].usable.any():
        return None
    first = _spread(canvases[0], levels[0], _where_seen(view, index, canvases[0].sheet))
    pictures = filled(canvases, levels, first, complete=False, among=True)
    return sampled(view.charts, view.wanted, index, [canvas.sheet for canvas in canvases], pictures)


def dressed(view: Part, example: Example, rng: np.random.Generator) -> Array:
    """(N, 3) float32 colours of the wanted pixels of ``view`` in the manner of ``example``.

    The surface's texels are those of the example where most of it is seen at about one texel a pixel. What is known
    of the surface stays, and the rest is made to fit.
    """
    finest = int(np.percentile(view.charts.level[view.wanted], NEAR_SHARE, method="lower"))
    canvases, index = _canvases([view], finest, finest + len(example.levels) - 1)
    levels = example.levels[: len(canvases)]
    seen = _where_seen(view, index, canvases[0].sheet) + rng.uniform(-0.08, 0.08, 2)
    pictures = filled(canvases, levels, _spread(canvases[0], levels[0], seen), complete=True, among=False)
    return sampled(view.charts, view.wanted, index, [canvas.sheet for canvas in canvases], pictures)


def _is_enough(canvas: Canvas, source: Source) -> bool:
    return bool(source.usable.sum() >= min(ENOUGH, ENOUGH_SHARE * (canvas.state == OPEN).sum()))


def _canvases(parts: list[Part], finest: int, coarsest: int) -> tuple[list[Canvas], Array]:
    """Coarsest first; and the view's charts (H, W) as the sheets number them, -1 = none."""
    charts = [
        np.where(part.known | part.wanted, part.charts.chart + i * ANOTHER, -1) for i, part in enumerate(parts)
    ]
    keys = np.unique(np.concatenate([chart[chart >= 0] for chart in charts]))
    indices = [np.where(chart >= 0, np.searchsorted(keys, chart), -1) for chart in charts]
    view, index = parts[0], indices[0]
    wanted = _points(view.charts, index, view.wanted, view.charts.taps, finest, coarsest)
    shown_at = [
        _points(part.charts, i, part.known, (part.charts.at,), finest, coarsest)
        for part, i in zip(parts, indices, strict=True)
    ]
    levels = sheets(Points.all_of([wanted, *shown_at]), len(keys), coarsest)
    shown = [drawn(p.charts, p.texture, p.known, i, levels) for p, i in zip(parts, indices, strict=True)]
    masks = _wanted_texels(wanted, levels)
    canvases = []
    for k, (sheet, mask) in enumerate(zip(levels, masks, strict=True)):
        colours = np.sum([s[k] for s in shown], axis=0)
        state = np.where(colours[..., 3] > 0, KNOWN, np.where(mask, OPEN, NONE)).astype(np.float32)
        canvases.append(Canvas(sheet, np.rint(colours[..., :3]), state))
    return canvases, index


def _points(
    charts: Charted, index: Array, chosen: Array, taps: tuple[Array, ...], finest: int, coarsest: int
) -> Points:
    """The ``chosen`` pixels' places on charts as ``index`` (H, W) numbers them."""
    level = np.clip(charts.level[chosen], finest, coarsest)
    return Points(
        np.tile(index[chosen], len(taps)), np.concatenate([tap[chosen] for tap in taps]), np.tile(level, len(taps))
    )


def _wanted_texels(points: Points, levels: list[Sheet]) -> list[Array]:
    """(h, w) bool a level: what bilinear samples of ``points`` touch, a rim round it, and all that covers it in
    coarser levels."""
    level = np.clip(points.level, levels[-1].level, levels[0].level)
    found: list[Array] = []
    for k in range(len(levels) - 1, -1, -1):
        sheet = levels[k]
        mask: Array = np.zeros(sheet.index.shape, np.uint8)
        here = level == sheet.level
        corner = np.floor(sheet.place(points.chart[here], points.at[here]) - 0.5).astype(np.int64)
        for down in (0, 1):
            for right in (0, 1):
                mask[corner[:, 0] + down, corner[:, 1] + right] = 1
        if found:
            rows, columns = np.nonzero(found[0])
            mask[parents(levels[k + 1], sheet, rows, columns)] = 1
        mask = cv2.dilate(mask, np.ones((3, 3), np.uint8))
        found.insert(0, (mask > 0) & (sheet.index >= 0))
    return found


def _example_canvases(texture: Array, mask: Array, coarsest: int) -> list[Canvas]:
    levels = picture_sheets(mask.shape, coarsest)
    shown = np.zeros((*levels[-1].index.shape, 4), np.float32)
    inside = levels[-1].index >= 0
    shown[inside, :3] = (texture * mask[..., None]).reshape(-1, 3)
    shown[inside, 3] = mask.ravel()
    canvases: list[Canvas] = []
    for k in range(len(levels) - 1, -1, -1):
        if canvases:
            shown = halved(shown, levels[k + 1], levels[k])
        state = np.where(shown[..., 3] > 0, KNOWN, NONE).astype(np.float32)
        canvases.insert(0, Canvas(levels[k], np.rint(shown[..., :3]).astype(np.float32), state))
    return canvases


def _where_seen(view: Part, index: Array, sheet: Sheet) -> Array:
    """(h, w, 2) of each texel: where in the box round the wanted pixels the nearest of them lie, in [0, 1]."""
    rows, columns = np.nonzero(view.wanted)
    place = np.stack([(n - n.min()) / max(np.ptp(n), 1) for n in (rows, columns)], 1)
    texel = np.floor(sheet.place(index[view.wanted], view.charts.at[view.wanted])).astype(np.int64)
    flat = texel[:, 0] * sheet.index.shape[1] + texel[:, 1]
    count = np.bincount(flat, minlength=sheet.index.size)
    means = np.stack([np.bincount(flat, p, sheet.index.size) / np.maximum(count, 1) for p in place.T], 1)
    nearest = distance_transform_edt(count.reshape(sheet.index.shape) == 0, return_distances=False, return_indices=True)
    return means.reshape(*sheet.index.shape, 2)[tuple(nearest)]


def _spread(target: Canvas, source: Source, seen: Array) -> Array:
    """(h, w) int64 matches that stretch what the source shows of its largest chart over what is seen of the target."""
    charts = source.sheet.index[source.usable]
    largest = source.usable & (source.sheet.index == np.bincount(charts).argmax())
    x, y, w, h = cv2.boundingRect(largest.astype(np.uint8))
    at = np.array((y, x)) + np.clip(np.rint(seen * (h - 1, w - 1)).astype(np.int64), 0, (h - 1, w - 1))
    nearest = distance_transform_edt(~largest, return_distances=False, return_indices=True)
    rows, columns = nearest[:, at[..., 0], at[..., 1]]
    return (rows * source.sheet.index.shape[1] + columns).astype(np.int64)

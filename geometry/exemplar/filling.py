"""One surface at a time: what a view lacks of it, made from what is known of it or from a part of a style picture.

Pictures here hold texture: light is taken off. A surface is all pixels of one label; others never take part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
SOME, MANY = 120, 400  # whole patches to start from: of an example, and of what is known
MOST_OPEN = 6000  # texels of the level to start at, where every patch is compared
TILE = 8  # texels
SHIFT = 0.08  # of an example: how far the seed moves it
PLENTY, PLENTY_PX = 3, 4000  # known pixels for each wanted one, and at least, that make other pictures needless
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
    again: tuple[Charted, Array] | None = None  # of what is round: second charts, and (H, W) how much of them shows

    def __post_init__(self) -> None:
        expect_shape("texture", self.texture, (*self.charts.chart.shape, 3))
        expect_shape("known", self.known, self.charts.chart.shape)
        expect_shape("wanted", self.wanted, self.charts.chart.shape)

    @property
    def layers(self) -> list[Part]:
        """Itself, and its pixels on second charts where these show."""
        if self.again is None:
            return [self]
        charts, share = self.again
        return [self, Part(charts, self.texture, np.zeros_like(self.known), self.wanted & (share > 0))]

    @property
    def wanted_levels(self) -> Array:
        """(N,) of all wanted pixels, on all charts that they are shown on."""
        return np.concatenate([part.charts.level[part.wanted] for part in self.layers])

    @property
    def is_mostly_known(self) -> bool:
        """So much that other pictures of the same would add little."""
        return int(self.known.sum()) > max(PLENTY * int(self.wanted.sum()), PLENTY_PX)


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
    parts = view.layers if other is None else [*view.layers, _apart(other)]
    if sum(int(part.known.sum()) for part in parts) < FEWEST:
        return None
    finest, farthest = int(view.wanted_levels.min()), int(view.wanted_levels.max())
    canvases, indices = _canvases(parts, finest, finest + LEVELS_UP)
    canvases, levels = _trimmed(canvases, sources(canvases), farthest, MANY)
    if not levels[0].usable.any():
        return None
    first = _spread(canvases[0], levels[0], _where_seen(view, indices[0], canvases[0].sheet))
    return _shown(view, indices, canvases, filled(canvases, levels, first, complete=False, among=True))


def dressed(view: Part, example: Example, rng: np.random.Generator) -> Array:
    """(N, 3) float32 colours of the wanted pixels of ``view`` in the manner of ``example``.

    The surface's texels are those of the example where most of it is seen at about one texel a pixel. What is known
    of the surface stays, and the rest is made to fit.
    """
    finest = int(np.percentile(view.charts.level[view.wanted], NEAR_SHARE, method="lower"))
    canvases, indices = _canvases(view.layers, finest, finest + len(example.levels) - 1)
    first = _first(canvases, example.levels[: len(canvases)], int(view.wanted_levels.max()), SOME)
    canvases, levels = canvases[first:], example.levels[first : len(canvases)]
    seen = _where_seen(view, indices[0], canvases[0].sheet) + rng.uniform(-SHIFT, SHIFT, 2)
    start = _spread(canvases[0], levels[0], seen)
    return _shown(view, indices, canvases, filled(canvases, levels, start, complete=True, among=False))


def _apart(other: Part) -> Part:
    """On charts of its own."""
    return replace(other, charts=replace(other.charts, chart=other.charts.chart + ANOTHER))


def _shown(view: Part, indices: list[Array], canvases: list[Canvas], pictures: list[Array]) -> Array:
    """(N, 3) colours of the wanted pixels, blended where charts meet on something round."""
    levels = [canvas.sheet for canvas in canvases]
    colours = sampled(view.charts, view.wanted, indices[0], levels, pictures)
    if view.again is not None:
        second = view.layers[1]
        here = second.wanted[view.wanted]
        share = view.again[1][second.wanted][:, None]
        colours[here] += share * (sampled(second.charts, second.wanted, indices[1], levels, pictures) - colours[here])
    return colours


def _trimmed(
    canvases: list[Canvas], levels: list[Source], farthest: int, many: int
) -> tuple[list[Canvas], list[Source]]:
    """Without finest levels of which too little is known, and without coarsest ones, see ``_first``."""
    last = len(levels)
    while last > 1 and levels[last - 1].usable.sum() < min(ENOUGH, ENOUGH_SHARE * _open(canvases[last - 1])):
        last -= 1
    first = _first(canvases[:last], levels[:last], farthest, many)
    return canvases[first:last], levels[first:last]


def _first(canvases: list[Canvas], levels: list[Source], farthest: int, many: int) -> int:
    """The level to start at: the coarsest with ``many`` patches to choose from, but no finer than level ``farthest``,
    which pixels need, and than what can be filled in a short time."""
    first = 0
    while first < len(levels) - 1 and canvases[first].sheet.level > farthest and levels[first].usable.sum() < many:
        if _open(canvases[first + 1]) > MOST_OPEN:
            break
        first += 1
    return first


def _open(canvas: Canvas) -> int:
    return int((canvas.state == OPEN).sum())


def _canvases(parts: list[Part], finest: int, coarsest: int) -> tuple[list[Canvas], list[Array]]:
    """Coarsest first; and each part's charts (H, W) as the sheets number them, -1 = none."""
    charts = [np.where(part.known | part.wanted, part.charts.chart, -1) for part in parts]
    keys = np.unique(np.concatenate([chart[chart >= 0] for chart in charts]))
    indices = [np.where(chart >= 0, np.searchsorted(keys, chart), -1) for chart in charts]
    levels: list[Sheet] = []
    while not levels:
        wanted, all_points = _all_points(parts, indices, finest, coarsest)
        levels = sheets(all_points, len(keys), coarsest)
        finest, coarsest = finest + 1, coarsest + 1  # planes without end: less detail near, so that there is room
    shown = [drawn(p.charts, p.texture, p.known, i, levels) for p, i in zip(parts, indices, strict=True)]
    masks = _wanted_texels(wanted, levels)
    canvases = []
    for k, (sheet, mask) in enumerate(zip(levels, masks, strict=True)):
        colours = np.sum([s[k] for s in shown], axis=0)
        state = np.where(colours[..., 3] > 0, KNOWN, np.where(mask, OPEN, NONE)).astype(np.float32)
        canvases.append(Canvas(sheet, np.rint(colours[..., :3]), state))
    return canvases, indices


def _all_points(parts: list[Part], indices: list[Array], finest: int, coarsest: int) -> tuple[Points, Points]:
    """Those that are wanted, and those together with the known ones."""
    pairs = list(zip(parts, indices, strict=True))
    wanted = Points.all_of([_points(p.charts, i, p.wanted, p.charts.taps, finest, coarsest) for p, i in pairs])
    known = [_points(p.charts, i, p.known, (p.charts.at,), finest, coarsest) for p, i in pairs]
    return wanted, Points.all_of([wanted, *known])


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
    """(h, w) int64 matches that stretch what the source shows of its largest chart over what is seen of the target: in
    tiles that are not stretched themselves, or else a texel would come out many times beside itself. The larger the
    target, the larger the tiles: what comes out several times lies far apart."""
    charts = source.sheet.index[source.usable]
    largest = source.usable & (source.sheet.index == np.bincount(charts).argmax())
    x, y, w, h = cv2.boundingRect(largest.astype(np.uint8))
    texel = np.moveaxis(np.indices(seen.shape[:2]), 0, -1)
    extent = np.array((h, w))
    tile = np.clip(TILE * _stretch(target, seen, extent), TILE, np.maximum(extent // 2, TILE)).astype(np.int64)
    middle = np.minimum(texel // tile * tile + tile // 2, np.array(seen.shape[:2]) - 1)
    place = np.rint(seen[middle[..., 0], middle[..., 1]] * (h - 1, w - 1)).astype(np.int64) + texel - middle
    at = np.array((y, x)) + np.clip(place, 0, (h - 1, w - 1))
    nearest = distance_transform_edt(~largest, return_distances=False, return_indices=True)
    rows, columns = nearest[:, at[..., 0], at[..., 1]]
    return (rows * source.sheet.index.shape[1] + columns).astype(np.int64)


def _stretch(target: Canvas, seen: Array, extent: Array) -> Array:
    """(2,) how many texels of the target, down and across, there are for each of the source's ``extent``."""
    is_open, stretch = target.state == OPEN, np.ones(2)
    for axis in (0, 1):
        step = np.linalg.norm(np.diff(seen, axis=axis) * extent, axis=-1)
        both = np.delete(is_open, -1, axis) & np.delete(is_open, 0, axis) & (step > 0)
        if both.any():
            stretch[axis] = 1 / np.median(step[both])
    return stretch

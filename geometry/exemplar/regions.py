"""Which part of a style picture a surface shall look like.

The picture is cut into connected regions of like colour, texture and place (k-means); bands along the borders of
others, which look like a bit of both, belong to none. Surfaces and regions are then matched where that costs least in
all: by place and share of the picture, or, once something is known of a surface, by its colour above all; large
surfaces count more, and a region costs more each time it is used again for what is new. The background looks for what
is smooth, bright and high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

Array = np.ndarray
CLOSED_PX = 23  # of the working picture: narrower scraps inside a region become part of it
BAND_PX, LEAST_CORE = 9, 1 / 3  # a region of which less than this share is as wide is a band: roughness reaches so far
PLACE = 4  # features before this one are a look
SAME_LOOK = 0.07  # clusters whose looks are nearer differ in place only
WORKING_PX = 192  # the longer side
CLUSTERS, ROUNDS = 9, 12  # of the k-means
SMALLEST_SHARE = 0.012  # of the picture, for a region
REUSE = 0.25  # what a region costs more each time it is used again
LEAST_SAY = 0.05  # what a surface's fit counts beside the root of its share of the picture
ALIKE, ALIKE_ROUGHNESS = 0.25, 0.1  # Lab / 100: how far from the background what goes on with it may look
DOWN, ACROSS, SHARE, COLOUR = 1.0, 0.5, 0.22, 2.0  # weights of differences
PLACE_OF_KNOWN = 0.2  # what its place counts still once a surface's colour is known


@dataclass(frozen=True)
class Place:
    """Where in a picture, and ``share`` of its area; all in [0, 1]."""

    across: float
    top: float
    bottom: float
    share: float

    @classmethod
    def of(cls, mask: Array, corner: tuple[int, int] = (0, 0), hw: tuple[int, int] | None = None) -> Place:
        """Of a mask (h, w) that lies at ``corner`` (row, column) of a picture of ``hw``, or is all of it."""
        height, width = hw or mask.shape
        rows, columns = np.nonzero(mask)
        top, bottom = (np.percentile(rows, (5, 95)) + corner[0] + 0.5) / height
        across = (columns.mean() + corner[1] + 0.5) / width
        return cls(float(across), float(top), float(bottom), len(rows) / (height * width))


@dataclass(frozen=True)
class Look:
    """``colour`` (3,) Lab / 100, None = not known; ``roughness``: the usual deviation of Lab / 100 within a
    few pixels; ``beside``: the regions that touch it."""

    place: Place
    colour: Array | None
    roughness: float = 0.0
    beside: frozenset[int] = frozenset()


def segmented(picture: Array) -> Array:
    """(H, W) int32 of (H, W, 3) uint8: regions from 1, 0 = scraps that belong to none. At least one region."""
    h, w = picture.shape[:2]
    small = _small(picture)
    cluster = cv2.medianBlur(_clustered(_features(small)).astype(np.uint8), 5)
    regions, count = np.zeros(cluster.shape, np.int32), 0
    for k in range(CLUSTERS):
        parts, labels, stats, _ = cv2.connectedComponentsWithStats((cluster == k).astype(np.uint8), connectivity=4)
        for part in range(1, parts):
            if stats[part, cv2.CC_STAT_AREA] >= SMALLEST_SHARE * cluster.size and not _is_band(labels == part):
                count += 1
                regions[labels == part] = count
    if count == 0:
        regions[:] = 1
    regions = _with_scraps(regions)
    return cv2.resize(regions.astype(np.float32), (w, h), interpolation=cv2.INTER_NEAREST).astype(np.int32)


def _is_band(mask: Array) -> bool:
    box = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (BAND_PX, BAND_PX))
    wide = np.pad(mask.astype(np.uint8), BAND_PX, mode="edge")  # what the frame cuts goes on behind it
    core = cv2.morphologyEx(wide, cv2.MORPH_OPEN, box)
    return bool(core.sum() < LEAST_CORE * wide.sum())


def _with_scraps(regions: Array) -> Array:
    """Small scraps inside a region, like clouds in the sky, become part of it."""
    closed = regions.copy()
    box = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (CLOSED_PX, CLOSED_PX))
    for region in range(int(regions.max()), 0, -1):
        whole = cv2.morphologyEx((regions == region).astype(np.uint8), cv2.MORPH_CLOSE, box)
        closed[(whole > 0) & (regions == 0)] = region
    return closed


def looks(picture: Array, regions: Array) -> dict[int, Look]:
    """The look of each region of ``picture``."""
    small = _small(picture)
    regions = cv2.resize(regions.astype(np.float32), small.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(int)
    lab = _lab(small)
    mean = cv2.blur(lab, (5, 5))
    rough = np.sqrt(np.maximum(cv2.blur(lab * lab, (5, 5)) - mean * mean, 0)).sum(-1)
    found = {}
    for region in np.unique(regions[regions > 0]):
        inside = regions == region
        colour, roughness = lab[inside].mean(0), float(np.median(rough[inside]))
        rim = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        beside = frozenset(np.unique(regions[rim]).tolist()) - {0, int(region)}
        found[int(region)] = Look(Place.of(inside), colour, roughness, beside)
    return found


def _small(picture: Array) -> Array:
    h, w = picture.shape[:2]
    scale = min(WORKING_PX / max(h, w), 1.0)
    return cv2.resize(picture, (max(round(w * scale), 1), max(round(h * scale), 1)), interpolation=cv2.INTER_AREA)


def colour_of(picture: Array, mask: Array) -> Array:
    """(3,) mean Lab / 100."""
    return _lab(picture)[mask].mean(0)


def assigned(
    surfaces: Mapping[int, Look], background: Sequence[int], regions: Mapping[int, Look]
) -> dict[int, tuple[int, ...]]:
    """Surface -> regions. Those in ``background`` choose first: what suits best with all that goes on beside it. What
    looks like that anywhere no other surface gets."""
    left = dict(regions)
    chosen: dict[int, tuple[int, ...]] = {}
    for label in background:
        best = min(regions, key=lambda r: _background_cost(surfaces[label], regions[r]))
        alike = {r for r in regions if r == best or _goes_on(regions[best], regions[r])}
        chosen[label] = _connected(best, alike, regions)
        left = {r: look for r, look in left.items() if r not in alike} or left
    labels = [label for label in surfaces if label not in background]
    if labels:
        names = list(left)
        uses = -(-len(labels) // len(names)) + 1
        cost = np.array([[_cost(surfaces[label], left[r]) for r in names] for label in labels])
        matters = np.sqrt([[surfaces[label].place.share] for label in labels]) + LEAST_SAY
        reuse = np.array([[REUSE if surfaces[label].colour is None else 0.0] for label in labels])
        again = np.concatenate([cost + reuse * use for use in range(uses)], 1) * matters
        rows, columns = linear_sum_assignment(again)
        chosen |= {labels[row]: (names[column % len(names)],) for row, column in zip(rows, columns, strict=True)}
    return chosen


def _connected(first: int, among: set[int], regions: Mapping[int, Look]) -> tuple[int, ...]:
    """``first`` and those of ``among`` that it touches, at first or at second hand: others may be seen through holes,
    whose outline must not show."""
    found, rim = {first}, {first}
    while rim:
        rim = {other for region in rim for other in regions[region].beside & among} - found
        found |= rim
    return tuple(sorted(found))


def _cost(surface: Look, region: Look) -> float:
    a, b = surface.place, region.place
    cost = DOWN * (abs(a.top - b.top) + abs(a.bottom - b.bottom)) + ACROSS * abs(a.across - b.across)
    cost += SHARE * abs(np.log(a.share / b.share))
    return cost * (1.0 if surface.colour is None else PLACE_OF_KNOWN) + _colour_cost(surface, region)


def _background_cost(surface: Look, region: Look) -> float:
    brightness = 0.0 if region.colour is None else float(region.colour[0])
    place = region.place
    height = (place.top + place.bottom) / 2
    return 4 * region.roughness + 1.5 * height - brightness - place.share + _colour_cost(surface, region)


def _goes_on(background: Look, other: Look) -> bool:
    """Whether a region is more of the same background: smooth, not far in colour, and not below it."""
    if background.colour is None or other.colour is None:
        return False
    gap = float(np.linalg.norm((background.colour - other.colour) * (0.6, 1, 1)))  # skies fade
    reaches_up = other.place.top < background.place.bottom + 0.15
    return gap < ALIKE and reaches_up and other.roughness < background.roughness + ALIKE_ROUGHNESS


def _colour_cost(surface: Look, region: Look) -> float:
    if surface.colour is None or region.colour is None:
        return 0.0
    return COLOUR * float(np.linalg.norm(surface.colour - region.colour))


def _lab(picture: Array) -> Array:
    """(H, W, 3) float32 Lab / 100 of (H, W, 3) uint8."""
    return cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / 100


def _features(picture: Array) -> Array:
    """(H, W, 6): smoothed colour, roughness and place, in units of about one region."""
    h, w = picture.shape[:2]
    lab = _lab(picture)
    mean = cv2.blur(lab, (5, 5))
    rough = cv2.blur(np.sqrt(np.maximum(cv2.blur(lab * lab, (5, 5)) - mean * mean, 0)).sum(-1), (9, 9))
    y, x = np.indices((h, w))
    place = np.stack([0.35 * x / max(w, h), 0.6 * y / max(w, h)], -1)
    return np.concatenate([mean * (1.0, 1.6, 1.6), 1.5 * rough[..., None], place], -1)


def _clustered(features: Array) -> Array:
    """(H, W) int64 clusters of (H, W, 6) ``features`` by k-means; each first centre is what lies farthest from those
    before. Sums in one fixed order."""
    h, w, _ = features.shape
    points = features.reshape(h * w, -1)
    centres = points.mean(0, keepdims=True)
    for _ in range(CLUSTERS - 1):
        centres = np.concatenate([centres, points[[np.argmax(_squared(points, centres).min(1))]]])
    for _ in range(ROUNDS):
        owner = np.argmin(_squared(points, centres), 1)
        count = np.maximum(np.bincount(owner, minlength=CLUSTERS), 1)
        sums = np.stack([np.bincount(owner, column, CLUSTERS) for column in points.T], 1)
        centres = np.where((np.bincount(owner, minlength=CLUSTERS) > 0)[:, None], sums / count[:, None], centres)
    owner = np.argmin(_squared(points, centres), 1)
    looks_like = _squared(centres[:, :PLACE], centres[:, :PLACE]) < SAME_LOOK**2
    return np.argmax(looks_like, 1)[owner].reshape(h, w)  # the first cluster that differs in place only


def _squared(points: Array, centres: Array) -> Array:
    """(N, K) squared distances of (N, C) points from (K, C) centres."""
    return sum((points[:, [k]] - centres[:, k]) ** 2 for k in range(points.shape[1]))

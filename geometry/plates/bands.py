"""Which pixel belongs to which layer, by depth: 0 = the farthest.

Bands are clusters of inverse depth (parallax is what a camera sees of depth): dynamic programming over a histogram
finds the cuts of least variance (Fisher 1958), and a cut costs more where pixels lie, so that cuts fall into gaps.
Where depth jumps, their edges are then snapped to the picture's: of a superpixel (SLICO) that two bands share, the
lesser one keeps only what does not look like the other; what is thin and looks different, like a railing, stays whole.
A cut through a surface that merely runs into the distance follows its depth, smoothed, and no edge of the picture.

Clicks and boxes take things out by colour (GrabCut: Rother et al. 2004, at half size); depth says what may belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from geometry.masks import one_thread
from geometry.shapes import expect_shape

Array = np.ndarray
BINS = 256
CROWD = 0.1  # what a cut costs where pixels crowd most, in shares of the whole variance
EACH = 0.01  # what every further band costs
SMOOTH_BINS = 2.0
LEAST_SHARE = 0.02  # of the picture, that a band must have
SUPERPIXEL_SHARE = 1 / 90  # of the picture's height
WORKING_ROWS = 540  # superpixels are found at about so many
ALIKE_LAB = 12.0  # pixels of a superpixel that differ less may change sides
SMOOTH_PX = 4.0  # of 1080 rows: depth is averaged so far before a surface is cut
SLACK_PX = 5  # of 1080 rows: how far a picture's edge may lie beside the depth's
SPECK_SHARE = 5e-5  # of the picture: smaller pieces of a band belong to what is round them
GRABCUT_ROUNDS = 4
CLICK_SHARE = 0.01  # of the picture's longer side: radius of what a click says
SAME_DEPTH = 0.08  # of the range of inverse depth


@dataclass(frozen=True)
class Selection:
    """A thing that gets a layer of its own: a ``box`` (x0, y0, x1, y1) px round it, ``clicks`` (N, 2) px on it or,
    where not ``inside`` (N,) bool, beside it, or a ``mask`` (H, W) bool of it that is there already."""

    name: str
    box: tuple[float, float, float, float] | None = None
    clicks: Array | None = None
    inside: Array | None = None
    mask: Array | None = None

    def __post_init__(self) -> None:
        if self.mask is None and self.box is None and (self.inside is None or not np.any(self.inside)):
            raise ValueError(f"selection {self.name!r}: expected a box, a mask, or a click inside")
        if (self.clicks is None) != (self.inside is None):
            raise ValueError(f"selection {self.name!r}: expected clicks together with inside")
        if self.clicks is not None and self.inside is not None:
            expect_shape("clicks", self.clicks, (None, 2))
            expect_shape("inside", self.inside, (len(self.clicks),))
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"selection {self.name!r}: expected x0 < x1 and y0 < y1, got {self.box}")


def cuts(inverse: Array, counts: tuple[int, int] = (2, 4)) -> Array:
    """(K - 1,) ascending inverse depths between K bands; ``counts`` (fewest, most). Fewer where depth has fewer values.

    Raises ``ValueError`` for counts below 1 or the wrong way round.
    """
    if not 1 <= counts[0] <= counts[1]:
        raise ValueError(f"layers: expected 1 <= fewest <= most, got {counts}")
    low, high = float(inverse.min()), float(inverse.max())
    if low == high:
        return np.zeros(0)
    share = np.histogram(inverse, BINS, (low, high))[0] / inverse.size
    middle = (np.arange(BINS) + 0.5) / BINS
    crowd = cv2.GaussianBlur(share[None], (0, 0), SMOOTH_BINS, borderType=cv2.BORDER_REFLECT)[0]
    # A cut at bin b lies between b - 1 and b.
    at_cut = CROWD * np.minimum(np.minimum(crowd[1:], crowd[:-1]) / np.percentile(crowd[crowd > 0], 90), 1)
    within = _within(share, middle)
    within /= max(within[0, BINS], 1e-12)
    best, paths = _cheapest(within, np.r_[0, at_cut], counts[1])
    totals = best + EACH * np.arange(1, counts[1] + 1)
    totals[: counts[0] - 1] = np.inf
    if not np.isfinite(totals).any():
        totals = best
    bins = paths[int(np.argmin(totals))]
    return low + (high - low) * np.array(bins, float) / BINS


def _within(share: Array, middle: Array) -> Array:
    """(B + 1, B + 1) sum of squares about their mean of bins a..b - 1; inf where these hold too little."""
    mass, first, second = (np.r_[0, np.cumsum(share * middle**k)] for k in range(3))
    m, f, s = (c[None] - c[:, None] for c in (mass, first, second))
    return np.where(m >= LEAST_SHARE, s - f**2 / np.maximum(m, 1e-12), np.inf)


def _cheapest(within: Array, at_cut: Array, most: int) -> tuple[Array, list[list[int]]]:
    """Costs (most,) of 1.. ``most`` bands, and their cuts."""
    cost, backs = within[0].copy(), []
    best: list[float] = [cost[BINS]]
    paths: list[list[int]] = [[]]
    price = np.r_[at_cut, 0]
    for _ in range(1, most):
        options = cost[:, None] + price[:, None] + within
        back = options.argmin(0)
        cost = options[back, np.arange(BINS + 1)]
        backs.append(back)
        path, at = [], BINS
        for step in reversed(backs):
            at = int(step[at])
            path.append(at)
        best.append(cost[BINS])
        paths.append(path[::-1])
    return np.array(best), paths


def banded(depth: Array, edges: Sequence[tuple[float, float]]) -> Array:
    """(H, W) int32 of given bands (near, far) in scene units, in any order; what lies in none goes to the nearest one.

    Raises ``ValueError`` for bands that overlap or are the wrong way round.
    """
    ordered = sorted(edges, key=lambda band: -band[1])
    for near, far in ordered:
        if not 0 <= near < far:
            raise ValueError(f"band: expected 0 <= near < far, got {near:g}:{far:g}")
    for (near, _), (_, far) in pairwise(ordered):
        if far > near:
            raise ValueError(f"bands: expected them apart, got one to {far:g} and one from {near:g}")
    gaps = [np.maximum(np.maximum(near - depth, depth - far), 0) for near, far in ordered]
    return np.argmin(gaps, 0).astype(np.int32)


def cut_smoothly(inverse: Array, edges: Array, at: Array) -> Array:
    """(H, W) int32 bands of ``inverse`` (H, W), cut ``at`` ascending values; smoothed except at ``edges`` (H, W) bool,
    so that noise in depth does not fray a cut through one surface."""
    sigma = max(SMOOTH_PX * inverse.shape[0] / 1080, 1.0)
    known = (~edges).astype(np.float32)
    mean, weight = (cv2.GaussianBlur(a, (0, 0), sigma) for a in (inverse.astype(np.float32) * known, known))
    return np.digitize(np.where(edges, inverse, mean / np.maximum(weight, 1e-6)), at).astype(np.int32)


def snapped(bands: Array, picture: Array, edges: Array | None = None) -> Array:
    """``bands`` (H, W) int32 with their own edges moved to those of ``picture`` (H, W, 3) uint8, where ``edges`` (H, W)
    bool says that depth jumps (None: everywhere), and without specks."""
    expect_shape("bands", bands, picture.shape[:2])
    scale = min(WORKING_ROWS / bands.shape[0], 1.0)
    wh = (max(round(bands.shape[1] * scale), 1), max(round(bands.shape[0] * scale), 1))
    small = cv2.cvtColor(cv2.resize(picture, wh, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB)
    with one_thread():
        slic = cv2.ximgproc.createSuperpixelSLIC(small, cv2.ximgproc.SLICO, max(round(wh[1] * SUPERPIXEL_SHARE), 6))
        slic.iterate(8)
        slic.enforceLabelConnectivity(20)
    cells = cv2.resize(slic.getLabels(), bands.shape[::-1], interpolation=cv2.INTER_NEAREST).astype(np.int64)
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[..., 0] *= 100 / 255
    count, size = int(bands.max()) + 1, int(cells.max()) + 1
    key = (cells * count + bands).ravel()
    mass = np.bincount(key, minlength=size * count).reshape(size, count)
    main = mass.argmax(1)[cells]
    sums = np.stack([np.bincount(key, lab[..., c].ravel(), size * count) for c in range(3)], -1)
    means = sums.reshape(size, count, 3) / np.maximum(mass, 1)[..., None]
    apart = np.linalg.norm(lab - means[cells, main], axis=-1)
    may_move = _near_edges(bands) if edges is None else _near_edges(bands) & edges
    out = np.where((bands != main) & (apart < ALIKE_LAB) & may_move, main, bands)
    return _without_specks(out.astype(np.int32))


def _near_edges(bands: Array) -> Array:
    reach = max(round(SLACK_PX * bands.shape[0] / 1080), 1)
    box = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    wide = bands.astype(np.uint8)
    return cv2.dilate(wide, box) != cv2.erode(wide, box)


def _without_specks(bands: Array) -> Array:
    """Pieces too small to be seen take the band that most of their surroundings have."""
    least, out = max(SPECK_SHARE * bands.size, 4), bands.copy()
    for band in range(int(bands.max()) + 1):
        count, parts, stats, _ = cv2.connectedComponentsWithStats((out == band).astype(np.uint8), connectivity=8)
        for part in np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] < least):
            if part == 0:
                continue
            x, y, w, h = stats[part, :4]
            cut = np.s_[max(y - 1, 0) : y + h + 1, max(x - 1, 0) : x + w + 1]
            own = parts[cut] == part
            rim = (cv2.dilate(own.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~own
            if rim.any():
                out[cut][own] = np.bincount(out[cut][rim]).argmax()
    return out


def selected(picture: Array, inverse: Array, selection: Selection) -> Array:
    """(H, W) bool: the thing that a selection means, in ``picture`` (H, W, 3) uint8.

    Raises ``ValueError`` for boxes and clicks outside it, and where nothing is found.
    """
    expect_shape("inverse", inverse, picture.shape[:2])
    if selection.mask is not None:
        expect_shape("selection mask", selection.mask, inverse.shape)
        found = selection.mask > 0
    else:
        found = _cut_out(picture, inverse, selection)
    if not found.any():
        raise ValueError(f"selection {selection.name!r}: expected a thing there, found nothing")
    return found


def _cut_out(picture: Array, inverse: Array, selection: Selection) -> Array:
    h, w = inverse.shape
    wh = (max(w // 2, 1), max(h // 2, 1))
    small = cv2.resize(picture, wh, interpolation=cv2.INTER_AREA)
    deep = cv2.resize(inverse.astype(np.float32), wh, interpolation=cv2.INTER_NEAREST)
    scale = np.array(wh) / (w, h)
    guess = np.full(deep.shape, cv2.GC_BGD if selection.box is not None else cv2.GC_PR_BGD, np.uint8)
    if selection.box is not None:
        x0, y0, x1, y1 = _inside_picture(selection, w, h) * np.tile(scale, 2)
        guess[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = cv2.GC_PR_FGD
    if selection.clicks is not None and selection.inside is not None:
        _add_clicks(guess, deep, selection, (w, h), scale)
    state, everywhere = (np.zeros((1, 65)), np.zeros((1, 65))), (0, 0, 1, 1)  # the guess says where, no rectangle
    cv2.setRNGSeed(0)
    with one_thread():
        cv2.grabCut(small[..., ::-1].copy(), guess, everywhere, *state, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK)
    found = np.isin(guess, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    return cv2.resize(found, (w, h), interpolation=cv2.INTER_LINEAR) > 0.5


def _inside_picture(selection: Selection, w: int, h: int) -> Array:
    assert selection.box is not None
    x0, y0, x1, y1 = selection.box
    clipped = np.array([max(x0, 0), max(y0, 0), min(x1, w), min(y1, h)])
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise ValueError(f"selection {selection.name!r}: expected a box inside {w}x{h} px, got {selection.box}")
    return clipped


def _add_clicks(guess: Array, deep: Array, selection: Selection, wh: tuple[int, int], scale: Array) -> None:
    """Discs that are sure; and, without a box, all of the same depth that hangs together with a click."""
    assert selection.clicks is not None and selection.inside is not None
    radius = max(round(CLICK_SHARE * max(guess.shape)), 1)
    for (x, y), inside in zip(selection.clicks, selection.inside, strict=True):
        if not (0 <= x < wh[0] and 0 <= y < wh[1]):
            raise ValueError(f"selection {selection.name!r}: expected clicks inside {wh[0]}x{wh[1]}, got {x:g},{y:g}")
        u, v = (int(n) for n in np.minimum((x, y) * scale, np.array(guess.shape[::-1]) - 1))
        if inside and selection.box is None:
            alike = np.abs(deep - deep[v, u]) < SAME_DEPTH * max(float(np.ptp(deep)), 1e-12)
            parts = cv2.connectedComponents(alike.astype(np.uint8), connectivity=8)[1]
            guess[(parts == parts[v, u]) & (guess == cv2.GC_PR_BGD)] = cv2.GC_PR_FGD
        cv2.circle(guess, (u, v), radius, int(cv2.GC_FGD if inside else cv2.GC_BGD), -1)

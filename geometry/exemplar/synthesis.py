"""Filling sheets with patches of others, coarse to fine, so that every part looks like some part of the source.

Patches are 5 x 5, at each level of a pyramid. At the coarsest level every patch of the source is compared, with
normalised scores d(i, j) / (alpha + min_i d(i, j)) where the result shall show all of the source (GPNN: Granot et al.
2022). At finer levels a texel starts where its parent's match is; candidates are what its neighbours' matches continue
to (Ashikhmin 2001) and what the texels that resemble those continue to (k-coherence: Tong et al. 2002). Lists of
resemblance are found exactly at the coarsest level and handed down. Colours are votes of all patches over a texel
(Kwatra et al. 2005). No random search, no counting of uses.

Known texels are kept; they weigh twice in comparisons, and holes grow shut from their rims. The result does not depend
on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import distance_transform_edt

from geometry.exemplar.kernels import KNOWN, NONE, OPEN, REACH, compared, refined, voted
from geometry.exemplar.sheets import Sheet, children, parents
from geometry.shapes import expect_shape

Array = np.ndarray
SIDE = 2 * REACH + 1
ALPHA = 500.0 * SIDE * SIDE  # squared code values: how little completeness counts against likeness
MOST_COMPARED, MOST_COMPARISONS = (150, 800), 3_000_000  # patches of the source at the coarsest level
FEWEST = 24  # whole patches; with fewer, torn ones are used as well
NEARBY = 60.0  # squared code values for each squared texel that an exact match moves: where all are alike, none does
RESEMBLING = 2
SNAP = 8  # texels: a coarser level's match may lie where the finer one has no whole patch
CHUNK = 4096
COARSE_ROUNDS, FINE_ROUNDS, FINEST_ROUNDS = 2, 2, 2
THREADS, FEW = 2, 2000


@dataclass(frozen=True)
class Canvas:
    """One level. ``state`` (h, w) and ``picture`` (h, w, 3), which is valid where ``KNOWN``, as in ``kernels``."""

    sheet: Sheet
    picture: Array
    state: Array

    def __post_init__(self) -> None:
        expect_shape("picture", self.picture, (*self.sheet.index.shape, 3))
        expect_shape("state", self.state, self.sheet.index.shape)


@dataclass(frozen=True)
class Source:
    """One level of what is copied from: all texels that are ``KNOWN``, and the centres of usable patches."""

    sheet: Sheet
    picture: Array
    have: Array  # (h, w) bool
    usable: Array  # (h, w) bool
    similar: Array  # (h w, RESEMBLING) int64 flat indices, -1 = none

    @property
    def torn(self) -> bool:
        """Whether patches may lack texels."""
        return self.usable is self.have

    @cached_property
    def nearest(self) -> Array:
        """(h w,) flat indices of the nearest usable texel in the same chart; -1 = none near."""
        rows, columns = distance_transform_edt(~self.usable, return_distances=False, return_indices=True)
        there = np.abs(np.stack([rows, columns]) - np.indices(rows.shape)).max(0) <= SNAP
        same = self.usable[rows, columns] & (self.sheet.index[rows, columns] == self.sheet.index)
        return np.where(there & same, rows * rows.shape[1] + columns, -1).reshape(-1)

    @property
    def centres(self) -> Array:
        """Flat indices."""
        return np.flatnonzero(self.usable)


def sources(levels: list[Canvas]) -> list[Source]:
    """Levels of what is known, coarsest first, with lists of resemblance."""
    found: list[Source] = []
    for canvas in levels:
        have = canvas.state == KNOWN
        whole = cv2.erode(have.astype(np.uint8), np.ones((SIDE, SIDE), np.uint8)) > 0
        usable = whole if whole.sum() >= FEWEST else have
        source = Source(canvas.sheet, canvas.picture, have, usable, np.zeros((0, RESEMBLING), np.int64))
        similar = _handed_down(found[-1], source) if found else _resembling(source)
        found.append(Source(canvas.sheet, canvas.picture, have, usable, similar))
    return found


def filled(
    targets: list[Canvas], levels: list[Source], first: Array, *, complete: bool, among: bool
) -> list[Array]:
    """Pictures (h, w, 3) float32 of ``targets``, coarsest first, whose ``OPEN`` texels have colours.

    ``first`` (h, w) int64: matches to start from where a chart of the coarsest level shows nothing known. ``among``:
    the sources are the known texels of the targets themselves. Source and target levels pair up.
    """
    done: list[_Work] = []
    for i, (target, source) in enumerate(zip(targets, levels, strict=True)):
        work = _Work(target, source, among)
        if i == 0:
            work.start(first, everywhere=False)
            for _ in range(COARSE_ROUNDS):
                work.match_exactly(complete)
                work.vote(REACH)
        else:
            work.inherit(done[-1])
            for _ in range(FINEST_ROUNDS if i == len(targets) - 1 else FINE_ROUNDS):
                work.refine()
                work.vote(1 if i == len(targets) - 1 else REACH)
        done.append(work)
    return [work.picture for work in done]


def continued(targets: list[Canvas], first: Array | None) -> tuple[Array, Array]:
    """The finest picture (h, w, 3) float32 of ``targets``, coarsest first, filled from its own known texels, and what
    its patches say (h, w, 3) of known texels beside open ones; nan elsewhere.

    ``first`` as in ``filled``, for all ``OPEN`` texels; None: holes grow shut from their rims. At each level colours
    are voted before matches are refined: whole copies stay whole, where comparisons with the blurred picture that a
    coarser level leaves would move them to what is smooth.
    """
    work: _Work | None = None
    for target, source in zip(targets, sources(targets), strict=True):
        coarse, work = work, _Work(target, source, among=True)
        if coarse is not None:
            work.inherit(coarse)
            work.vote(REACH)
        elif first is not None:
            work.start(first, everywhere=True)
        else:
            work.start(np.zeros(target.state.shape, np.int64), everywhere=False)
            work.match_exactly(complete=False)
            work.vote(REACH)
        for _ in range(FINE_ROUNDS):
            work.refine()
            work.vote(1 if target is targets[-1] else REACH)
    assert work is not None
    return work.picture, work.rims()


class _Work:
    """The changing state of one level."""

    def __init__(self, target: Canvas, source: Source, among: bool) -> None:
        self.sheet, self.source, self.state = target.sheet, source, target.state
        self.picture = target.picture.copy()
        self.match: Array = np.full(target.state.shape, -1, np.int64)
        self.rows, self.columns = np.nonzero(target.state == OPEN)
        if among:
            own = np.arange(self.match.size).reshape(self.match.shape)
            self.match[source.usable] = own[source.usable]

    def start(self, first: Array, everywhere: bool) -> None:
        """Matches from ``first`` ``everywhere``, or in charts without anything known; holes in others grow shut from
        their rims."""
        has_known = np.zeros(max(int(self.sheet.index.max()) + 2, 1), bool)
        has_known[self.sheet.index[self.state == KNOWN]] = True
        has_known[-1] = False
        alone = (self.state == OPEN) & (~has_known[self.sheet.index] | everywhere)
        self.match[alone] = first[alone]
        self.picture[alone] = self.source.picture.reshape(-1, 3)[first[alone]]
        final, self.state = self.state, np.where(alone | (self.state == KNOWN), self.state, np.float32(NONE))
        while (missing := (final == OPEN) & (self.state == NONE)).any():
            rim = missing & (cv2.dilate(self.state, np.ones((3, 3), np.uint8)) > 0)
            if not rim.any():
                self._blank(missing)
                break
            rows, columns = np.nonzero(rim)
            self.match[rim] = self._nearest(rows, columns, complete=False)
            self._vote(rows, columns, REACH)
            self.state[rim] = OPEN
        self.state = final

    def _blank(self, missing: Array) -> None:
        """Parts that nothing known reaches within their chart start from the source's middle patch."""
        centres = self.source.centres
        self.match[missing] = centres[len(centres) // 2]
        self.picture[missing] = self.source.picture.reshape(-1, 3)[self.match[missing]]

    def inherit(self, coarse: _Work) -> None:
        up, across = parents(self.sheet, coarse.sheet, self.rows, self.columns)
        self.picture[self.rows, self.columns] = coarse.picture[up, across]
        chart = self.sheet.index[self.rows, self.columns]
        odd = [(rc - self.sheet.shift[chart, axis]) & 1 for axis, rc in enumerate((self.rows, self.columns))]
        child = children(coarse.source.sheet, self.source.sheet, coarse.match[up, across], odd[0], odd[1])
        self.match[self.rows, self.columns] = np.where(child >= 0, self.source.nearest[child], -1)

    def match_exactly(self, complete: bool) -> None:
        self.match[self.rows, self.columns] = self._nearest(self.rows, self.columns, complete)
        self.refine()

    def refine(self) -> None:
        found = self.match.copy()
        source = self.source
        _split(len(self.rows), lambda a, b: refined(
            self.rows, self.columns, a, b, self.picture, self.state, source.picture, source.have, source.usable,
            source.torn, self.match, source.similar, found,
        ), FEW)  # fmt: skip
        self.match = found

    def vote(self, reach: int) -> None:
        self._vote(self.rows, self.columns, reach)

    def rims(self) -> Array:
        """What patches round open texels say (h, w, 3) of known ones within ``REACH``; nan elsewhere."""
        filled, own = self.picture, self.match
        self.picture = np.full_like(filled, np.nan)
        self.match = np.where(self.state == OPEN, own, -1)
        beside = cv2.dilate((self.state == OPEN).astype(np.uint8), np.ones((SIDE, SIDE), np.uint8)) > 0
        rows, columns = np.nonzero((self.state == KNOWN) & beside)
        self._vote(rows, columns, REACH)
        said, self.picture, self.match = self.picture, filled, own
        return said

    def _vote(self, rows: Array, columns: Array, reach: int) -> None:
        source = self.source
        _split(len(rows), lambda a, b: voted(
            rows, columns, a, b, self.match, source.picture, source.have, reach, self.picture
        ), FEW)  # fmt: skip

    def _nearest(self, rows: Array, columns: Array, complete: bool) -> Array:
        """(N,) flat indices of the best of all usable patches."""
        centres = _thinned(self.source.centres, len(rows))
        there, there_weight = _patches(self.source.picture, self.source.have.astype(np.float32), centres)
        costs = []
        flat = rows * self.state.shape[1] + columns
        for start in range(0, len(flat), CHUNK):
            here, weight = _patches(self.picture, self.state, flat[start : start + CHUNK])
            cost = _costs(here, weight, there, there_weight)
            costs.append(cost + NEARBY * self._moves(flat[start : start + CHUNK], centres))
        cost = np.concatenate(costs) if costs else np.zeros((0, len(centres)), np.float32)
        if complete and len(cost):
            cost = cost / (ALPHA + cost.min(0))
        return centres[np.argmin(cost, 1)] if len(cost) else np.zeros(0, np.int64)

    def _moves(self, flat: Array, centres: Array) -> Array:
        """(N, M) float32 squared distance in the source between the matches of texels and other ones; 0 for none."""
        match, width = self.match.reshape(-1)[flat], self.source.usable.shape[1]
        down = match[:, None] // width - centres // width
        across = match[:, None] % width - centres % width
        return np.where(match[:, None] >= 0, down * down + across * across, 0).astype(np.float32)


def _split(count: int, work: Callable[[int, int], None], few: int) -> None:
    """``work(start, stop)`` on several threads, unless there is little to do."""
    if count < few:
        work(0, count)
    else:
        cuts = np.linspace(0, count, THREADS + 1).astype(int)
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, cuts[:-1], cuts[1:]))


def _thinned(centres: Array, count: int) -> Array:
    """As many of ``centres`` as may be compared with ``count`` patches."""
    most = int(np.clip(MOST_COMPARISONS / max(count, 1), *MOST_COMPARED))
    return centres[:: max(-(-len(centres) // most), 1)]


def _patches(picture: Array, weight: Array, flat: Array) -> tuple[Array, Array]:
    """(N, 75) float32 code values less 128, 0 where the weight is 0, and (N, 75) weights, round texels ``flat``."""
    rows, columns = np.divmod(flat, weight.shape[1])
    corner = (rows - REACH, columns - REACH)
    weights = np.repeat(sliding_window_view(weight, (SIDE, SIDE))[corner].reshape(-1, SIDE**2), 3, 1)
    values = sliding_window_view(picture, (SIDE, SIDE), (0, 1))[corner]
    values = np.moveaxis(values, 1, -1).reshape(-1, 3 * SIDE**2) - np.float32(128)
    return values * (weights > 0), weights


def _costs(here: Array, weight: Array, there: Array, have: Array) -> Array:
    """(N, M) differences of N patches from M of the source."""
    cost = np.empty((len(here), len(there)), np.float32)
    columns, has = np.ascontiguousarray(there.T), np.ascontiguousarray(have.T > 0)
    _split(len(here), lambda a, b: compared(here, weight, columns, has, a, b, cost), FEW // 20)
    return cost


def _resembling(source: Source) -> Array:
    """The texels most like each one, but not beside it."""
    similar = np.full((source.usable.size, RESEMBLING), -1, np.int64)
    centres = source.centres
    compared = _thinned(centres, len(centres))
    there, there_weight = _patches(source.picture, source.have.astype(np.float32), compared)
    width = source.usable.shape[1]
    for start in range(0, len(centres), CHUNK):
        flat = centres[start : start + CHUNK]
        cost = _costs(*_patches(source.picture, source.have.astype(np.float32), flat), there, there_weight)
        away = np.abs(np.stack(np.divmod(flat, width))[:, :, None] - np.stack(np.divmod(compared, width))[:, None])
        cost[away.max(0) <= 1] = np.inf
        for k in range(min(RESEMBLING, len(compared))):
            best = np.argmin(cost, 1)
            found = np.isfinite(cost[np.arange(len(flat)), best])
            similar[flat, k] = np.where(found, compared[best], -1)
            cost[np.arange(len(flat)), best] = np.inf
    return similar


def _handed_down(coarse: Source, fine: Source) -> Array:
    similar = np.full((fine.usable.size, RESEMBLING), -1, np.int64)
    centres = fine.centres
    rows, columns = np.divmod(centres, fine.usable.shape[1])
    up, across = parents(fine.sheet, coarse.sheet, rows, columns)
    chart = fine.sheet.index[rows, columns]
    odd_row, odd_column = (rows - fine.sheet.shift[chart, 0]) & 1, (columns - fine.sheet.shift[chart, 1]) & 1
    above = coarse.similar[up * coarse.usable.shape[1] + across]
    for k in range(RESEMBLING):
        similar[centres, k] = children(coarse.sheet, fine.sheet, above[:, k], odd_row, odd_column)
    return similar

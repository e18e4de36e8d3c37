"""Regions that move, drawn along the picture's contours, and which object each of them is over time.

``segment`` is a soft graph cut: evidence, then evidence and each region's own colours against those around it (Rother
et al. 2004), are smoothed along the picture (fast global smoother, Min et al. 2014) and cut at zero.

``ObjectTracker`` hands labels on along optical flow. Regions a few pixels apart are one thing, so that a body keeps its
arms. Where two objects touch, each pixel takes the label that is nearest; what is hardly ever seen alone is part of the
other. One that was lost is known again by its colours and by where it was going.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from geometry.masks import one_thread
from geometry.reconstruct.motion.still_world import Evidence, sampled

Array = np.ndarray
RARE = 2e-4  # share of a colour that is not seen


@dataclass(frozen=True)
class SegmentSettings:
    smoothness: float = 200.0
    colour_sigma: float = 8.0  # of the smoother, code values
    colour_weight: float = 0.5
    colour_bins: int = 16
    colour_reach: float = 0.12  # of a region's size, beyond it, where its colours are known from the whole clip
    still_weight: float = 0.25  # of evidence, from which on a pixel says what is around a region
    rounds: int = 2
    doubt: float = 0.05  # weight of "nothing moves"
    sure: float = 0.5  # a region's evidence must rise to this somewhere
    smallest_share: float = 5e-4  # of the picture
    lost_frames: int = 60  # how long an object is remembered
    min_likeness: float = 0.6  # of colour histograms, to be known again
    reach: float = 1.0  # of the object's size a frame, how far from where it was going
    gap_share: float = 0.02  # of the picture's width, between parts of one thing
    together: float = 0.7  # of its life beside another, from which on an object is part of it


@dataclass
class Looks:
    """What each object looks like over the clip: its colours, counted where a first look found it."""

    bins: int
    counts: dict[int, Array] = field(default_factory=dict)  # (bins^3,) by label

    def add(self, picture: Array, labels: Array, sure: Array) -> None:
        """``labels`` (h, w) of one frame, believed where bool ``sure`` (h, w)."""
        index = colour_bins(picture, self.bins)
        for label in np.unique(labels[labels > 0]).tolist():
            seen = np.bincount(index[(labels == label) & sure], minlength=self.bins**3)
            self.counts[label] = self.counts.get(label, np.zeros(self.bins**3)) + seen

    def renamed(self, names: Array) -> Looks:
        """``names`` (labels,): the new label of each; 0 is dropped."""
        out = Looks(self.bins)
        for label, counts in self.counts.items():
            if names[label] > 0:
                out.counts[int(names[label])] = out.counts.get(int(names[label]), 0) + counts
        return out

    def of(self, labels: Array) -> Array | None:
        """(bins^3,) smoothed shares of the colours of the label that most of (N,) ``labels`` show; None for 0."""
        known = np.bincount(labels[labels > 0]) if (labels > 0).any() else np.zeros(0)
        if not known.any() or int(known.argmax()) not in self.counts:
            return None
        return _shares(self.counts[int(known.argmax())], self.bins)


def segment(picture: Array, evidence: Evidence, s: SegmentSettings, first: tuple[Array, Looks] | None = None) -> Array:
    """(h, w) float32, positive where something moves; small and unsure regions are gone.

    ``picture`` (h, w, 3) uint8 of the evidence's raster; ``first``: labels (h, w) of a first look, and their colours.
    """
    with one_thread():
        smoother = cv2.ximgproc.createFastGlobalSmootherFilter(picture, s.smoothness, s.colour_sigma)

    def smooth(value: Array, weight: Array) -> Array:
        with one_thread():
            return smoother.filter(value * weight) / (smoother.filter(weight) + np.float32(s.doubt))

    soft = smooth(evidence.value, evidence.weight)
    for _ in range(s.rounds):
        colour = _colour_evidence(picture, _regions(soft, evidence, s), evidence, s, first)
        both = evidence.plus(Evidence(colour, np.abs(colour)), s.colour_weight)
        soft = smooth(both.value, both.weight)
    kept = _regions(soft, evidence, s) > 0
    return np.where(kept, soft, np.minimum(soft, -1e-3)).astype(np.float32)


def _regions(soft: Array, evidence: Evidence, s: SegmentSettings) -> Array:
    """(h, w) int32: regions of positive ``soft``, numbered; those that are too small or never sure are 0."""
    # A gap of a pixel or two does not part a thing from its arm.
    joined = cv2.morphologyEx((soft > 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    labels[soft <= 0] = 0
    sure = np.bincount(labels[evidence.value * np.minimum(evidence.weight, 1) > s.sure], minlength=count) > 0
    good = (stats[:, cv2.CC_STAT_AREA] >= s.smallest_share * soft.size) & sure
    good[0] = False
    return np.where(good[labels], labels, 0)


def _colour_evidence(
    picture: Array, regions: Array, evidence: Evidence, s: SegmentSettings, first: tuple[Array, Looks] | None
) -> Array:
    """(h, w) in [-1, 1]: does a pixel in or near a region look like it, or like what stands still around it."""
    out = np.zeros(regions.shape, np.float32)
    still = (evidence.value < 0) & (evidence.weight > s.still_weight)
    for number in np.unique(regions[regions > 0]):
        rows, columns = np.nonzero(regions == number)
        side = max(np.ptp(rows), np.ptp(columns)) + 1
        margin = max(12, int(0.3 * side))
        box = np.s_[max(rows.min() - margin, 0) : rows.max() + margin + 1,
                    max(columns.min() - margin, 0) : columns.max() + margin + 1]
        inside, outside = regions[box] == number, regions[box] == 0
        if (outside & still[box]).sum() > 0.1 * outside.sum():
            outside &= still[box]
        bins = colour_bins(picture[box], s.colour_bins)
        its, others = (histogram(bins, mask, s.colour_bins) for mask in (inside, outside))
        everywhere = first and first[1].of(first[0][box][inside])
        if everywhere is not None:
            its = (its + everywhere) / 2
        ratio = np.log((its + RARE) / (others + RARE))
        reach = max(6.0, (0.08 if everywhere is None else s.colour_reach) * side)
        near = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3) < reach
        out[box][near] = np.clip(ratio[bins[near]] / 3, -1, 1)
    return out


def colour_bins(picture: Array, bins: int) -> Array:
    """(h, w) index of each pixel's colour in a histogram of bins^3."""
    r, g, b = np.moveaxis(picture.astype(np.int32) * bins // 256, -1, 0)
    return (r * bins + g) * bins + b


def histogram(bins: Array, mask: Array, count: int) -> Array:
    """(count^3,) smoothed shares of the colours in ``mask``."""
    return _shares(np.bincount(bins[mask], minlength=count**3), count)


def _shares(counts: Array, bins: int) -> Array:
    cube = counts.reshape(bins, bins, bins).astype(np.float32)
    return (gaussian_filter(cube, 0.8, mode="nearest") / max(float(counts.sum()), 1)).ravel()


# --- identity over time --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Object:
    """What is remembered of an object: where it was last, how it went, and its colours."""

    seen: int  # index of the frame
    middle: Array  # (2,) px
    velocity: Array  # (2,) px a frame
    side: float  # px
    colours: Array


@dataclass
class ObjectTracker:
    """Labels of regions, 1, 2, 3, ..., from frame to frame."""

    settings: SegmentSettings
    labels: Array | None = None  # (h, w) int32 of the last frame
    objects: dict[int, _Object] = field(default_factory=dict)
    lives: Counter[int] = field(default_factory=Counter)  # frames that a label was seen in
    beside: Counter[tuple[int, int]] = field(default_factory=Counter)  # frames that two labels touched in
    area: Counter[int] = field(default_factory=Counter)
    time: int = -1

    def step(self, picture: Array, moving: Array, flow: Array | None) -> Array:
        """(h, w) int32 labels of bool ``moving``; ``flow`` (h, w, 2) last_from_this, None in the first frame."""
        self.time += 1
        handed = np.zeros(moving.shape, np.int32)
        if self.labels is not None and flow is not None:
            carried = sampled(self.labels.astype(np.float32), flow, interpolation=cv2.INTER_NEAREST, border=0)
            handed = np.where(moving, carried, 0).astype(np.int32)
        gap = 2 * round(0.5 * self.settings.gap_share * moving.shape[1]) + 1
        joined = cv2.dilate(moving.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap, gap)))
        count, regions = cv2.connectedComponents(joined, connectivity=8)
        regions[~moving] = 0
        bins = colour_bins(picture, self.settings.colour_bins)
        out = np.zeros(moving.shape, np.int32)
        for number in range(1, count):
            region = regions == number
            heirs = self._heirs(handed[region], region.sum())
            if not heirs:
                heirs = [self._known_again(region, bins, set(np.unique(handed)) | set(np.unique(out)))]
            out[region] = heirs[0] if len(heirs) == 1 else _nearest(np.where(region, handed, 0), heirs)[region]
            self.beside.update(combinations(np.unique(out[region]).tolist(), 2))
        self._remember(out, bins)
        self.labels = out
        return out

    def _heirs(self, handed: Array, area: int) -> list[int]:
        """Labels that a region inherits: those that had a fair share of it."""
        labels, counts = np.unique(handed[handed > 0], return_counts=True)
        return [int(n) for n, c in zip(labels, counts, strict=True) if c > max(0.05 * area, 8)]

    def _known_again(self, region: Array, bins: Array, taken: set[int]) -> int:
        """The label of a lost object that fits, or a new one."""
        s = self.settings
        middle, side = _place(region)
        colours = histogram(bins, region, s.colour_bins)
        best, likeness = max(self.objects, default=0) + 1, s.min_likeness
        for label, known in self.objects.items():
            gone = self.time - known.seen
            if label in taken or gone > s.lost_frames:
                continue
            expected = known.middle + known.velocity * gone
            off = min(np.linalg.norm(middle - expected), np.linalg.norm(middle - known.middle))
            similar = float(np.sqrt(known.colours * colours).sum())  # Bhattacharyya
            if off < s.reach * known.side * np.sqrt(gone) and similar > likeness:
                best, likeness = label, similar
        self.objects.setdefault(best, _Object(self.time, middle, np.zeros(2), side, colours))
        return best

    def _remember(self, labels: Array, bins: Array) -> None:
        for label in map(int, np.unique(labels[labels > 0])):
            mask = labels == label
            self.lives[label] += 1
            self.area[label] += int(mask.sum())
            middle, side = _place(mask)
            known, colours = self.objects[label], histogram(bins, mask, self.settings.colour_bins)
            gone = max(self.time - known.seen, 1)
            self.objects[label] = replace(
                known, seen=self.time, middle=middle, side=side,
                velocity=0.8 * known.velocity + 0.2 * (middle - known.middle) / gone,
                colours=0.9 * known.colours + 0.1 * colours,
            )


    def final_labels(self, shortest_life: int) -> dict[int, int]:
        """What becomes of each label at the end: 1, 2, ... by area; 0 for what lived less than ``shortest_life``."""
        whole = {label: label for label in self.lives}
        for label in sorted(self.lives, key=lambda n: (self.area[n], n)):  # the smaller joins the larger
            partners = {max(pair, key=lambda n: (self.area[n], n)): count for pair, count in self.beside.items()
                        if label == min(pair, key=lambda n: (self.area[n], n))}
            best = max(partners, key=lambda n: (partners[n], n), default=label)
            if partners.get(best, 0) >= self.settings.together * self.lives[label]:
                whole[label] = best
        for label in sorted(self.lives, key=lambda n: (-self.area[n], n)):
            whole[label] = whole[whole[label]]
        lives: Counter[int] = Counter()
        area: Counter[int] = Counter()
        for label, root in whole.items():
            lives[root] = max(lives[root], self.lives[label])
            area[root] += self.area[label]
        kept = sorted((n for n in lives if lives[n] >= shortest_life), key=lambda n: (-area[n], n))
        number = {root: i for i, root in enumerate(kept, 1)}
        return {label: number.get(root, 0) for label, root in whole.items()}


def _place(mask: Array) -> tuple[Array, float]:
    """Middle (x, y) and longer side of a mask's box, px."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()]), float(max(np.ptp(rows), np.ptp(columns)) + 1)


def _nearest(labels: Array, heirs: list[int]) -> Array:
    """(h, w) the one of ``heirs`` whose pixels in ``labels`` are nearest."""
    distances = [
        cv2.distanceTransform((labels != label).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for label in heirs
    ]
    return np.array(heirs)[np.argmin(distances, axis=0)]

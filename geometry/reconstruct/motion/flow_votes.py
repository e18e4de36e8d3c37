"""What dense flow says of what moves: to frames 1, 3 and 6 away, against where the still world must go.

The distance is the epipolar residual where depth is unknown, and |flow - rigid flow| where it is known. It is
normalised by its MAD; flow that does not come back within 3 px has no vote, nor has what a shadow does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.masks import one_thread
from geometry.reconstruct.motion.shadows import Light, shadow
from geometry.reconstruct.motion.still_world import Evidence, EvidenceSettings, StillWorld, length, sampled

Array = np.ndarray


def flow_votes(world: StillWorld, frames: Sequence[int], s: EvidenceSettings) -> Iterator[tuple[int, Evidence]]:
    """Evidence by flow of each frame, in order; the pictures and sums of a window of frames are in memory."""
    views: dict[int, View] = {}
    nothing = Evidence(*(np.zeros(world.warp(frames[0]).pinhole.hw, np.float32),) * 2)
    sums: dict[tuple[int, bool], Evidence] = {}  # of a frame, from earlier and from later frames
    for i, frame in enumerate(frames):
        partners = {frames[i + step]: step for step in s.steps if i + step < len(frames)}
        for n in (frame, *partners):
            if n not in views:
                views[n] = View.of(world, n, s)
        found = _votes(world, frame, list(partners), views, s)
        # A long step tells slow motion best; where it loses its way it has no vote.
        for (other, step), (ours, theirs) in zip(partners.items(), found, strict=True):
            sums[frame, True] = sums.get((frame, True), nothing).plus(ours, step)
            sums[other, False] = sums.get((other, False), nothing).plus(theirs, step)
        del views[frame]
        yield frame, both_sides(*(sums.pop((frame, later), nothing) for later in (False, True)))


def _votes(
    world: StillWorld, frame: int, others: Sequence[int], views: dict[int, View], s: EvidenceSettings
) -> list[tuple[Evidence, Evidence]]:
    """Two at a time, each on one thread of OpenCV's; what they share is there before they begin."""
    for n in (frame, *others):
        world.warp(n)
        if world.kind == "parallax":
            world.inverse_depth(n)

    def both(other: int) -> tuple[Evidence, Evidence]:
        met = Meeting.of(world, views[frame], views[other])
        return met.vote_here(s), met.vote_there(s)

    with one_thread(), ThreadPoolExecutor(2) as pool:
        return list(pool.map(both, others))


def both_sides(before: Evidence, after: Evidence) -> Evidence:
    """What moves differs from the still world before and after; what it uncovers or is about to hide, on one side."""
    known = np.minimum(before.weight, after.weight) > 0.3
    mixed = before.plus(after)
    value = np.where(known, np.minimum(before.value, after.value), mixed.value)
    return Evidence(value.astype(np.float32), np.minimum(mixed.weight / 2, 1))


@dataclass(frozen=True)
class View:
    """A frame as flow looks at it: its small picture, a little blurred, and what is known of it alone."""

    frame: int
    picture: Array
    grey: Array  # (h, w) uint8
    light: Light
    texture: Array  # (h, w) mean absolute deviation of grey from its surroundings

    @classmethod
    def of(cls, world: StillWorld, frame: int, s: EvidenceSettings) -> View:
        picture = cv2.GaussianBlur(world.picture(frame), (0, 0), s.flow_blur_px)
        grey = _grey(picture)
        here = grey.astype(np.float32)
        texture = cv2.blur(cv2.absdiff(here, cv2.blur(here, (9, 9))), (9, 9))
        return cls(frame, picture, grey, Light.of(picture), texture)


def _grey(picture: Array) -> Array:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


@dataclass(frozen=True)
class Meeting:
    """Two views and the flow between them, (h, w, 2) both ways on the raster of the first.

    The other picture is first brought ``here`` as if all stood still: flow then starts from nothing moves, and repeated
    patterns (bricks, carpets) do not lead it astray.
    """

    world: StillWorld
    here: View
    there: View
    still: Array
    lit: Array
    forth: Array
    back: Array

    @classmethod
    def of(cls, world: StillWorld, here: View, there: View) -> Meeting:
        still = world.still_map(here.frame, there.frame)
        lit = _remapped(there.picture, still)
        return cls(world, here, there, still, lit, *both_flows(here.grey, _grey(lit)))

    def vote_here(self, s: EvidenceSettings) -> Evidence:
        """What it says of ``here``; weight in [0, 1]."""
        match, gap = sampled(self.still, self.forth), length(self.forth + sampled(self.back, self.forth))
        return _vote(self.world, self.here, self.there, self.still, match, gap, self.lit, s)

    def vote_there(self, s: EvidenceSettings) -> Evidence:
        """What it says of ``there``: the way back is looked up where what stands still there is here."""
        still = self.world.still_map(self.there.frame, self.here.frame)
        match = still + _remapped(self.back, still)
        gap = _remapped(length(self.back + sampled(self.forth, self.back)), still)
        return _vote(self.world, self.there, self.here, still, match, gap, _remapped(self.here.picture, still), s)


def _remapped(image: Array, at: Array) -> Array:
    x, y = cv2.split(at)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _vote(
    world: StillWorld, here: View, there: View, still: Array, match: Array, gap: Array, lit: Array, s: EvidenceSettings
) -> Evidence:
    """Of the view ``here``, whose pixels ``still`` takes to ``there`` if nothing moves and ``match`` by flow, which
    misses by ``gap`` on its way back; ``lit`` is ``there`` as ``still`` brings it here."""
    h, w = gap.shape
    x, y = cv2.split(match)
    inside = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    valid = (gap < s.forward_backward_px) & inside
    if not valid.any():
        return Evidence(*(np.zeros(gap.shape, np.float32),) * 2)
    off = world.residual(here.frame, there.frame, match, still)
    sigma = max(1.4826 * float(np.median(off[valid])), s.floor_px)
    # Flow that hardly comes back is hardly known.
    z = off / cv2.sqrt(np.float32(sigma**2) + np.float32(0.49) * gap * gap)
    value = np.clip((z - s.moving_sigmas) / (0.5 * s.moving_sigmas), -1, 1)
    # Motion that does not make the pictures agree better is hardly any, and flow after which they differ is wrong.
    arrived = cv2.remap(there.grey, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    still_miss, miss = (
        cv2.blur(cv2.absdiff(here.grey, grey).astype(np.float32), (5, 5)) for grey in (_grey(lit), arrived)
    )
    noise = max(float(np.median(miss[valid])), 1.0)
    allowed = noise + np.float32(0.2) * here.texture
    better = np.clip((still_miss - miss) / noise - 0.5, 0, 1)
    agree, still_agree = (np.clip(2 - m / allowed, 0, 1) for m in (miss, still_miss))
    shade = shadow(here.light, Light.of(lit), noise, s.shadow)
    moving = (value > 0) & (better > s.hardly) & valid & ~shade
    still_agree[shade] = 1
    # What is slow stands still in a short step, and what is flat in any: that says less.
    weight = np.where(moving, better * agree, np.where((value > 0) | ~valid, s.hardly, 0.5) * still_agree) * inside
    return Evidence(np.where(moving, value, np.minimum(value, -0.5)).astype(np.float32), weight.astype(np.float32))


def both_flows(a: Array, b: Array) -> tuple[Array, Array]:
    """DIS flow (Kroeger et al. 2016) b_from_a and a_from_b between grey pictures, (h, w, 2) each."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    with one_thread():
        return (dis.calc(a, b, np.zeros((*a.shape, 2), np.float32)),
                dis.calc(b, a, np.zeros((*a.shape, 2), np.float32)))

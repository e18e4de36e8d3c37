"""Evidence of what moves by itself, frame by frame, from a picture of the world that stands still.

Two things speak, both on a small pinhole raster (at most 480 px):

*Appearance* (locked, pan). What stands still looks in frame t as it looks in most other frames, once those are turned
by ``K R K^-1``. A spread sample of frames votes (after ViBe, Barnich and Van Droogenbroeck 2011); parts of a sample
that were moving themselves have hardly a vote. The gain of each sample follows the light. Before a locked camera who
lingers is seen often, too: what is seen there more often has the better claim to be the place itself.

*Flow* (all kinds). Dense flow to frames 1, 3 and 6 away against where the still world must go: a point when the camera
only turned, a segment of the epipolar line when it travelled, as long as depth is uncertain. So the distance is the
epipolar residual where depth is unknown, and |flow - rigid flow| where it is known. It is normalised by its MAD; flow
that does not come back within 3 px has no vote.

Neither believes what a shadow does: the same texture in other light stands still.

Evidence is positive where something moves; ``motion.py`` makes masks and objects of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import cv2
import numpy as np

from geometry.camera import Camera, LensWarp
from geometry.masks import one_thread
from geometry.reconstruct.depth.pair import Pair
from geometry.reconstruct.motion.shadows import Light, ShadowSettings, shadow
from geometry.scene import DepthSource, FrameSource
from geometry.trajectory import CameraPath

Array = np.ndarray
Kind = Literal["locked", "pan", "parallax"]
MOST_PICTURES = 64  # small ones, that are kept
MOST_PAIRS = 16  # of frames: each is asked for several depths


@dataclass(frozen=True)
class EvidenceSettings:
    side_px: int = 480  # of the raster that evidence is gathered on
    steps: tuple[int, ...] = (1, 3, 6)
    flow_blur_px: float = 0.8
    forward_backward_px: float = 3.0
    moving_sigmas: float = 4.0
    floor_px: float = 0.15  # flow is never better than this
    hardly: float = 0.2  # weight of a vote by pictures that agree either way
    samples: int = 28  # frames that know the background
    own_frames: int = 6  # a frame's neighbours are not asked: a mover has not left yet
    tolerance: float = 8.0  # code values
    still_share: float = 0.4  # of the votes, from which on a pixel stands still
    moving_share: float = 0.1
    rival_share: float = 0.15  # more votes for something else, and a pixel moves for certain
    shadow: ShadowSettings = field(default_factory=ShadowSettings)
    shade_weight: float = 0.5  # of evidence that a shadow lies there, and nothing moves


@dataclass(frozen=True)
class Evidence:
    """``value`` (h, w) in [-1, 1], positive where something moves; ``weight`` (h, w) >= 0, how far to believe it."""

    value: Array
    weight: Array

    def plus(self, other: Evidence, share: float | Array = 1.0) -> Evidence:
        """Both together, the other's weight times ``share``."""
        theirs = other.weight * share
        weight = self.weight + theirs
        value = (self.value * self.weight + other.value * theirs) / np.maximum(weight, np.float32(1e-6))
        return Evidence(value.astype(np.float32), weight.astype(np.float32))


def gather(world: StillWorld, frames: Sequence[int], settings: EvidenceSettings) -> Iterator[tuple[int, Evidence]]:
    """All there is to know about each of ``frames``, in order."""
    if world.kind == "parallax":
        yield from flow_votes(world, frames, settings)
        return
    background = Background(world, frames, settings)
    for frame, flow in flow_votes(world, frames, settings):
        looks = background.votes(frame)
        # Flow is blurred and runs ahead of contours: it speaks where looks are silent.
        yield frame, looks.plus(flow, 0.5 * (1 - 0.7 * looks.weight * (looks.value < 0)) * (1 - 0.7 * (flow.value < 0)))


class StillWorld:
    """Pictures on the small pinhole raster, and how the still world goes from one frame to another."""

    def __init__(
        self, clip: FrameSource, cameras: CameraPath, depth: DepthSource | None, kind: Kind, side_px: int
    ) -> None:
        self.clip, self.cameras, self.depth, self.kind = clip, cameras, depth, kind
        wh = cameras.cameras[0].wh
        scale = min(1.0, side_px / max(wh))
        self.wh = round(wh[0] * scale), round(wh[1] * scale)
        self._warps: dict[Camera, LensWarp] = {}
        self._depths: dict[int, tuple[Array, Array, Array]] = {}  # of the last frames
        self._pictures: dict[int, Array] = {}  # the same
        self._pairs: dict[tuple[int, int], Pair] = {}

    def warp(self, frame: int) -> LensWarp:
        lens = self.cameras.camera(frame).scaled(self.wh)
        if lens not in self._warps:
            self._warps[lens] = LensWarp.of(lens)
        return self._warps[lens]

    def picture(self, frame: int) -> Array:
        """(h, w, 3) uint8, undistorted, small."""
        if frame not in self._pictures:
            if len(self._pictures) >= MOST_PICTURES:
                del self._pictures[next(iter(self._pictures))]
            self._pictures[frame] = self._undistorted(self.clip.display(frame, self.wh), frame, cv2.INTER_LINEAR)
        return self._pictures[frame]

    def _undistorted(self, small: Array, frame: int, interpolation: int) -> Array:
        warp = self.warp(frame)
        if warp.pinhole.wh == warp.lens.wh:
            return small
        grid = (warp.lens_px_from_pinhole - 0.5).astype(np.float32)
        return cv2.remap(small, grid[..., 0], grid[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)

    def homography(self, source: int, target: int) -> Array:
        """(3, 3) ``source_from_target`` of what is far away, for pixel positions as OpenCV counts them."""
        s, t = self.warp(source).pinhole, self.warp(target).pinhole
        turn = self.cameras.pose(source)[:3, :3] @ self.cameras.pose(target)[:3, :3].T
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        return np.linalg.inv(half) @ s.k @ turn @ np.linalg.inv(t.k) @ half

    def still_map(self, frame: int, other: int) -> Array:
        """(h, w, 2) where in ``other`` each pixel of ``frame`` is if it stands still, as OpenCV counts pixels."""
        if self.kind != "parallax":
            h, w = self.warp(frame).pinhole.hw
            return _mapped(self.homography(other, frame), w, h)
        return self.seen_at(frame, other, self.inverse_depth(frame)[1])

    def residual(self, frame: int, other: int, match: Array, still: Array) -> Array:
        """(h, w) px that ``match`` (h, w, 2), where each pixel was found in ``other``, misses the still world by;
        ``still`` is ``still_map`` of the two."""
        if self.kind == "locked":
            return _length(match - still)
        if self.kind == "pan":
            h, w = match.shape[:2]
            here = np.stack(np.meshgrid(np.arange(4, w, 8), np.arange(4, h, 8)), -1).reshape(-1, 2)
            better = refined(self.homography(other, frame), here, match[4::8, 4::8].reshape(-1, 2))
            return _length(match - _mapped(better, w, h))
        low, _, high = self.inverse_depth(frame)
        far = self.seen_at(frame, other, low)
        along, off = cv2.split(self.seen_at(frame, other, high) - far), cv2.split(match - far)
        length2 = along[0] * along[0] + along[1] * along[1] + np.float32(1e-6)
        share = np.clip((off[0] * along[0] + off[1] * along[1]) / length2, 0, 1)
        return cv2.magnitude(off[0] - share * along[0], off[1] - share * along[1])

    def seen_at(self, frame: int, other: int, q: Array) -> Array:
        """``still_map`` for an inverse depth (h, w)."""
        return np.stack(self.pair(frame, other).source_px(q), -1) - np.float32(0.5)

    def pair(self, frame: int, other: int) -> Pair:
        found = self._pairs.get((frame, other))
        if found is None:
            found = Pair.between(self.warp(frame).pinhole, self.cameras.pose(frame),
                                 self.warp(other).pinhole, self.cameras.pose(other))
            for old in list(self._pairs)[: -MOST_PAIRS + 1]:
                self._pairs.pop(old, None)  # another thread may have been here
            self._pairs[frame, other] = found
        return found

    def depth_from(self, frame: int, other: int) -> Array:
        """(h, w) likely inverse depth in ``frame`` of what stands still, as ``other`` has it."""
        own, theirs = self.inverse_depth(frame)[1], self.inverse_depth(other)[1]
        there = self.warp(other).pinhole
        step = self.cameras.pose(frame) @ np.linalg.inv(self.cameras.pose(other))
        q = own
        for _ in range(2):
            at = self.seen_at(frame, other, q)
            near = cv2.remap(theirs, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            ray = (at + np.float32(0.5) - (there.cx, there.cy)) / (there.fx, there.fy)
            z = (ray @ step[2, :2] + step[2, 2]) / np.maximum(near, 1e-9) + step[2, 3]
            q = np.where((near > 0) & (z > 0), 1 / np.maximum(z, 1e-9), own).astype(np.float32)
        return q

    def inverse_depth(self, frame: int) -> tuple[Array, Array, Array]:
        """Least, likely and greatest inverse depth (h, w) of what stands still there."""
        if frame not in self._depths:
            if len(self._depths) > 40:
                del self._depths[next(iter(self._depths))]
            self._depths[frame] = self._read_depth(frame)
        return self._depths[frame]

    def _read_depth(self, frame: int) -> tuple[Array, Array, Array]:
        assert self.depth is not None
        found = self.depth.read(frame)
        q = (1 / np.maximum(found.depth, 1e-12) * (found.depth > 0)).astype(np.float32)
        q, confidence = (
            self._undistorted(cv2.resize(image, self.wh, interpolation=cv2.INTER_AREA), frame, cv2.INTER_NEAREST)
            for image in (q, found.confidence)
        )
        q = _closed(q, confidence)
        relative = 2 * np.clip((1 - confidence) / 10, 0.01, 0.03)
        kernel = np.ones((5, 5), np.uint8)  # flow smears depth edges this far
        return cv2.erode(q * (1 - relative), kernel), q, cv2.dilate(q * (1 + relative), kernel)


def _closed(q: Array, confidence: Array) -> Array:
    """``q`` without holes: what nobody confirms does not lie behind what is confirmed around it.

    A mover that keeps pace with the camera looks like something far away, seen through the wall.
    """
    trust = confidence**2
    around = q
    for sigma in (40.0, 10.0):
        mass = cv2.GaussianBlur(trust, (0, 0), sigma)
        around = np.where(mass > 0.02, cv2.GaussianBlur(trust * q, (0, 0), sigma) / np.maximum(mass, 1e-6), around)
    return np.where((confidence < 0.15) & (q < 0.95 * around), around, q).astype(np.float32)


def refined(homography: Array, xy: Array, xy_other: Array) -> Array:
    """``homography`` other_from_here, fitted to matches (N, 2) of which it holds nearly: no camera only turns."""
    moved = cv2.perspectiveTransform(xy[:, None].astype(np.float64), homography)[:, 0]
    off = np.linalg.norm(moved - xy_other, axis=1)
    near = off < max(6.0, 2 * float(np.median(off)))
    if near.sum() < 30:
        return homography
    better, _ = cv2.findHomography(xy[near], xy_other[near], cv2.USAC_MAGSAC, 1.0, maxIters=500)
    return homography if better is None else better


def _mapped(homography: Array, w: int, h: int) -> Array:
    x, y = np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)[:, None]
    m = homography.astype(np.float32)
    z = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    return np.stack([(m[0, 0] * x + m[0, 1] * y + m[0, 2]) / z, (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / z], -1)


# --- flow ----------------------------------------------------------------------------------------------------------


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


def _length(vectors: Array) -> Array:
    """(h, w) of (h, w, 2) float32."""
    return cv2.magnitude(*cv2.split(vectors))


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
        match, gap = sampled(self.still, self.forth), _length(self.forth + sampled(self.back, self.forth))
        return _vote(self.world, self.here, self.there, self.still, match, gap, self.lit, s)

    def vote_there(self, s: EvidenceSettings) -> Evidence:
        """What it says of ``there``: the way back is looked up where what stands still there is here."""
        still = self.world.still_map(self.there.frame, self.here.frame)
        match = still + _remapped(self.back, still)
        gap = _remapped(_length(self.back + sampled(self.forth, self.back)), still)
        return _vote(self.world, self.there, self.here, still, match, gap, _remapped(self.here.picture, still), s)


def _remapped(image: Array, at: Array) -> Array:
    return cv2.remap(image, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


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
    arrived = cv2.remap(there.grey, match, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
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


def sampled(image: Array, flow: Array, *, interpolation: int = cv2.INTER_LINEAR, border: float = 1e3) -> Array:
    """``image`` (h, w[, C]) of the frame that ``flow`` leads to, brought here; ``border`` outside."""
    h, w = flow.shape[:2]
    x, y = flow[..., 0] + np.arange(w, dtype=np.float32), flow[..., 1] + np.arange(h, dtype=np.float32)[:, None]
    return cv2.remap(image, x, y, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=(border,) * 4)


# --- appearance ----------------------------------------------------------------------------------------------------


class Background:
    """What a spread sample of frames says the still world looks like."""

    def __init__(self, world: StillWorld, frames: Sequence[int], s: EvidenceSettings) -> None:
        index = np.unique(np.linspace(0, len(frames) - 1, min(s.samples, len(frames))).round().astype(int))
        self.world, self.s, self.frames = world, s, [frames[i] for i in index]
        self.own_frames = min(s.own_frames, len(frames) // 4)
        self.pictures = {n: world.picture(n) for n in self.frames}
        self.still = {frames[i]: _stillness(world, frames, int(i), s) for i in index}
        self._between = cache(self._sample_from_sample)
        self.plate = _Plate.of(self.pictures, self.still, s) if world.kind == "locked" else None

    def votes(self, frame: int) -> Evidence:
        """Evidence of ``frame``; a pixel no sample shows weighs nothing, a mere shadow little."""
        s, picture = self.s, self.world.picture(frame)
        h, w = picture.shape[:2]
        kernel = np.ones((3, 3), np.uint8)  # half a pixel of misalignment is no motion
        low = cv2.subtract(cv2.erode(picture, kernel), np.full(4, s.tolerance))
        high = cv2.add(cv2.dilate(picture, kernel), np.full(4, s.tolerance))
        agree, heard = np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
        mean, shown = np.zeros((h, w, 3), np.float32), np.zeros((h, w, 1), np.float32)
        for other, m in self._homographies(frame, picture).items():
            if abs(other - frame) < self.own_frames:
                continue
            seen, vote = self.pictures[other], self.still[other]
            if self.world.kind != "locked":
                flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
                seen, vote = (cv2.warpPerspective(image, m, (w, h), flags=flags) for image in (seen, vote))
            seen = cv2.multiply(seen, _gain(seen, picture, vote))
            agree += vote * (cv2.inRange(seen, low, high) > 0)
            heard += vote
            if self.plate is None:
                cv2.accumulate(seen, mean, mask=(vote > 0.5).astype(np.uint8))
                shown[..., 0] += vote > 0.5
        share = agree / np.maximum(heard, 1e-6)
        middle, half = (s.still_share + s.moving_share) / 2, (s.still_share - s.moving_share) / 2
        value = np.clip((middle - share) / half, -1, 1)
        if self.plate is not None:
            # Who lingers is seen often, too; but the empty place is seen more often.
            rivals = np.clip((self.plate.share - share) / s.rival_share, -1, 1) * self.plate.differs(picture, low, high)
            value = np.maximum(value, np.where(rivals > 0, rivals, -1))
        weight = np.minimum(heard / 3, 1)
        # Within a pixel of what moves, only the tolerance makes it still.
        weight[(cv2.dilate((value > 0).astype(np.uint8), kernel) > 0) & (value <= 0)] *= s.hardly
        # A mean would mix the place with who lingered there.
        place = Light.of(mean / np.maximum(shown, 1)) if self.plate is None else self.plate.light
        shade = shadow(Light.of(picture), place, 1.0, s.shadow) & (value > 0)
        return Evidence(np.where(shade, np.float32(-1), value), np.where(shade, s.shade_weight * weight, weight))

    def _homographies(self, frame: int, picture: Array) -> dict[int, Array]:
        """``sample_from_frame``, each by way of the sample that is nearest in time."""
        nearest = min(self.frames, key=lambda n: abs(n - frame))
        step = self._align(nearest, frame, picture)
        return {other: self._between(other, nearest) @ step for other in self.frames}

    def _sample_from_sample(self, source: int, target: int) -> Array:
        if source > target:
            return np.linalg.inv(self._between(target, source))
        return self._align(source, target, self.pictures[target])

    def _align(self, source: int, target: int, picture: Array) -> Array:
        """``source_from_target`` of a sample and a picture, refined by what can be followed between them."""
        start = self.world.homography(source, target)
        if self.world.kind == "locked" or source == target:
            return start
        grey, other = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (picture, self.pictures[source]))
        turned = cv2.warpPerspective(other, start, grey.shape[::-1], flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)
        xy = cv2.goodFeaturesToTrack(grey, 200, 0.005, 10)
        if xy is None:
            return start
        found, ok, _ = cv2.calcOpticalFlowPyrLK(grey, turned, xy, np.zeros_like(xy), winSize=(15, 15), maxLevel=2)
        good = ok[:, 0] > 0
        if not good.any():
            return start
        return refined(start, xy[good, 0], cv2.perspectiveTransform(found[good], start)[:, 0])


@dataclass(frozen=True)
class _Plate:
    """The picture that a locked camera saw most, and by which share (h, w) of the votes."""

    picture: Array
    share: Array
    light: Light

    @classmethod
    def of(cls, pictures: dict[int, Array], still: dict[int, Array], s: EvidenceSettings) -> _Plate:
        total = np.sum(list(still.values()), axis=0)
        best, picture = np.full(total.shape, -1, np.float32), np.zeros((*total.shape, 3), np.uint8)
        for candidate in pictures.values():
            agree = np.zeros(total.shape, np.float32)
            low, high = cv2.subtract(candidate, np.full(4, s.tolerance)), cv2.add(candidate, np.full(4, s.tolerance))
            for number, other in pictures.items():
                agree += still[number] * (cv2.inRange(other, low, high) > 0)
            better = agree > best
            best[better], picture[better] = agree[better], candidate[better]
        return cls(picture, best / total, Light.of(picture))

    def differs(self, picture: Array, low: Array, high: Array) -> Array:
        """(h, w) bool: whether the plate is outside what ``picture`` allows, in the light of ``picture``."""
        lit = cv2.multiply(self.picture, _gain(self.picture, picture, np.ones(picture.shape[:2], np.float32)))
        return cv2.inRange(lit, low, high) == 0


def _stillness(world: StillWorld, frames: Sequence[int], i: int, s: EvidenceSettings) -> Array:
    """(h, w) 1 where a sample stands still as far as flow can tell, else 0.05: a vote when there is no other."""
    near = [i + side * step for step in (s.steps[0], s.steps[-1]) for side in (-1, 1)]
    view = View.of(world, frames[i], s)
    moving = np.zeros(view.grey.shape, np.uint8)
    for j in (j for j in near if 0 <= j < len(frames)):
        vote = Meeting.of(world, view, View.of(world, frames[j], s)).vote_here(s)
        moving |= ((vote.value > 0) & (vote.weight > 0)).astype(np.uint8)
    solid = cv2.morphologyEx(moving, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.where(cv2.dilate(solid, np.ones((9, 9), np.uint8)) > 0, np.float32(0.05), np.float32(1))


def _gain(seen: Array, picture: Array, vote: Array) -> Array:
    """(4,) factor per channel from a sample's light to the frame's."""
    step = np.s_[::6, ::6]
    known = vote[step] > 0.5
    if known.sum() < 50:
        return np.ones(4)
    ratio = (picture[step][known].astype(np.float32) + 1) / (seen[step][known].astype(np.float32) + 1)
    return np.append(np.clip(np.median(ratio, axis=0), 0.5, 2), 1)


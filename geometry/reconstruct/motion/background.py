"""What a camera that does not travel knows of the still world: how it looks in a spread sample of frames.

What stands still looks in frame t as it looks in most other frames, once those are turned by ``K R K^-1``. The sample
votes (after ViBe, Barnich and Van Droogenbroeck 2011); parts of it that were moving themselves have hardly a vote. The
gain of each sample follows the light. Before a locked camera who lingers is seen often, too: what is seen there more
often has the better claim to be the place itself. The place in the light of a shadow stands still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from geometry.reconstruct.motion.flow_votes import Meeting, View, flow_votes
from geometry.reconstruct.motion.shadows import Light, shadow
from geometry.reconstruct.motion.still_world import Evidence, EvidenceSettings, StillWorld, refined

Array = np.ndarray


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


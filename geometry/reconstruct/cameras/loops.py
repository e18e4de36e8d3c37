"""Places that the camera comes back to: tracks are continued in frames far away in time that show the same thing.

Tracks alone drift over a full turn. Key frames that share no tracks are compared by ORB features (Rublee et al. 2011);
where enough of them agree on one epipolar geometry, the points of each frame are carried into the other, aligned there
against the patch they were born with, and kept where they agree again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.reconstruct.cameras.tracks import Patches, Tracks
from geometry.scene import FrameSource

Array = np.ndarray

COARSE_KEYS = 16  # compared each with each
NEAR_KEYS = 2  # around a pair that was found
MOST_PAIRS = 6
FEATURES = 700
RATIO = 0.85  # of the best to the second best match
MIN_AGREE = 30
UNSHARED = 15  # tracks two frames may share and still count as strangers
INLIER_PX = 2.0
NEIGHBOURS, REACH_PX = 4, 70.0  # matches that say where a point went
RADIUS_PX, MIN_CORRELATION = 7, 0.85


@dataclass(frozen=True)
class _Picture:
    grey: Array
    xy: Array  # (N, 2) features, OpenCV's pixels (first centre at 0)
    descriptors: Array


@dataclass(frozen=True)
class _Match:
    a: int
    b: int
    xy_a: Array
    xy_b: Array


def with_loops(clip: FrameSource, tracks: Tracks, keys: Sequence[int], *, seed: int = 0) -> Tracks:
    """The tracks with further observations where the camera came back; ``keys`` are source frame numbers."""
    pictures: dict[int, _Picture] = {}
    index = np.unique(np.linspace(0, len(keys) - 1, min(len(keys), COARSE_KEYS)).round().astype(int))
    coarse = [keys[i] for i in index]
    found = _matches(clip, tracks, pictures, [(a, b) for i, a in enumerate(coarse) for b in coarse[i + 1 :]])
    if not found:
        return tracks
    place = {frame: i for i, frame in enumerate(keys)}
    near = {(keys[i], keys[j])
            for m in found[:MOST_PAIRS]
            for i in range(max(place[m.a] - NEAR_KEYS, 0), min(place[m.a] + NEAR_KEYS + 1, len(keys)))
            for j in range(max(place[m.b] - NEAR_KEYS, i + 1), min(place[m.b] + NEAR_KEYS + 1, len(keys)))}
    for match in _matches(clip, tracks, pictures, sorted(near))[:MOST_PAIRS]:
        forth = _carried(tracks, pictures, match)
        back = _carried(tracks, pictures, _Match(match.b, match.a, match.xy_b, match.xy_a))
        tracks = _joined(tracks, [(match.b, *forth), (match.a, *back)])
    return tracks


def _matches(
    clip: FrameSource, tracks: Tracks, pictures: dict[int, _Picture], pairs: Sequence[tuple[int, int]]
) -> list[_Match]:
    """Pairs of strangers that show the same place, the surest first."""
    found = []
    for a, b in pairs:
        if len(tracks.common(a, b)[0]) >= UNSHARED:
            continue
        for frame in (a, b):
            if frame not in pictures:
                pictures[frame] = _picture(clip, frame, tracks.wh)
        match = _match(a, b, pictures[a], pictures[b])
        if match is not None:
            found.append(match)
    return sorted(found, key=lambda m: -len(m.xy_a))


def _picture(clip: FrameSource, frame: int, wh: tuple[int, int]) -> _Picture:
    grey = cv2.cvtColor(clip.display(frame, wh), cv2.COLOR_RGB2GRAY)
    points, descriptors = cv2.ORB.create(FEATURES).detectAndCompute(grey, None)
    if descriptors is None:
        return _Picture(grey, np.zeros((0, 2)), np.zeros((0, 32), np.uint8))
    return _Picture(grey, np.array([p.pt for p in points]), descriptors)


def _match(a: int, b: int, first: _Picture, second: _Picture) -> _Match | None:
    if min(len(first.xy), len(second.xy)) < MIN_AGREE:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_HAMMING).knnMatch(first.descriptors, second.descriptors, k=2)
    good = [m for m, n in pairs if m.distance < RATIO * n.distance]
    if len(good) < MIN_AGREE:
        return None
    xy_a = first.xy[[m.queryIdx for m in good]]
    xy_b = second.xy[[m.trainIdx for m in good]]
    f, mask = cv2.findFundamentalMat(xy_a, xy_b, cv2.USAC_MAGSAC, INLIER_PX, 0.999, 2000)
    if f is None or mask.sum() < MIN_AGREE:
        return None
    inside = mask.ravel() > 0
    return _Match(a, b, xy_a[inside], xy_b[inside])


def _carried(tracks: Tracks, pictures: dict[int, _Picture], match: _Match) -> tuple[Array, Array]:
    """Ids (K,) of points of ``match.a`` and where they lie in ``match.b``, our pixels (K, 2)."""
    ids, xy = tracks.at(match.a)
    xy = (xy - 0.5).astype(np.float32)
    a, b = pictures[match.a].grey, pictures[match.b].grey
    margin = RADIUS_PX + 1
    start, known = _predicted(xy, match)
    known &= (xy >= margin).all(1) & (xy < np.array(a.shape[::-1]) - margin).all(1)
    ids, xy, start = ids[known], xy[known], start[known]
    if not len(ids):
        return ids, xy
    window = (21, 21)
    ahead, ok, _ = cv2.calcOpticalFlowPyrLK(a, b, xy, start.copy(), winSize=window, maxLevel=1,
                                            flags=cv2.OPTFLOW_USE_INITIAL_FLOW)
    patches = Patches.cut(a, np.round(xy), RADIUS_PX)
    offset = xy - np.round(xy)
    turn = np.tile(np.eye(2, dtype=np.float32), (len(xy), 1, 1))
    aligned, affine, correlation = patches.align(b, ahead - offset, turn, 8)
    aligned = aligned + (affine @ offset[..., None])[..., 0]
    good = (ok[:, 0] > 0) & (correlation > MIN_CORRELATION) & (np.linalg.norm(aligned - ahead, axis=1) < 3)
    good &= (aligned >= margin).all(1) & (aligned < np.array(b.shape[::-1]) - margin).all(1)
    if good.sum() < MIN_AGREE:
        return ids[:0], xy[:0]
    _, mask = cv2.findFundamentalMat(xy[good], aligned[good], cv2.USAC_MAGSAC, 1.0, 0.999, 2000)
    if mask is None:
        return ids[:0], xy[:0]
    agree = np.flatnonzero(good)[mask.ravel() > 0]
    return ids[agree], aligned[agree].astype(np.float64) + 0.5


def _predicted(xy: Array, match: _Match) -> tuple[Array, Array]:
    """(N, 2) float32 where the nearest matches took each point, and (N,) whether they agree."""
    distance = np.linalg.norm(xy[:, None] - match.xy_a[None], axis=2)
    nearest = np.argsort(distance, axis=1)[:, :NEIGHBOURS]
    moved = (match.xy_b - match.xy_a)[nearest]
    step = np.median(moved, axis=1)
    near = np.take_along_axis(distance, nearest, 1)[:, -1] < REACH_PX
    agree = np.abs(moved - step[:, None]).mean((1, 2)) < 6
    return (xy + step).astype(np.float32), near & agree


def _joined(tracks: Tracks, further: Sequence[tuple[int, Array, Array]]) -> Tracks:
    frame = np.concatenate([tracks.frame, *(np.full(len(ids), f) for f, ids, _ in further)])
    track = np.concatenate([tracks.track, *(ids for _, ids, _ in further)])
    xy = np.concatenate([tracks.xy, *(xy.reshape(-1, 2) for _, _, xy in further)])
    order = np.lexsort((track, frame))
    frame, track, xy = frame[order], track[order], xy[order]
    new = np.r_[True, (np.diff(frame) != 0) | (np.diff(track) != 0)]
    return replace(tracks, frame=frame[new], track=track[new], xy=xy[new])

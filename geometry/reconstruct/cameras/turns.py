"""Rotations and focal length of a camera that turns on the spot, from tracks.

A turning camera moves every picture point by ``K R K^-1``, whatever its distance (Hartley and Zisserman 2004, 8.4):
homographies between key frames say which tracks are background, the focal length is the one that makes every
``K^-1 H K`` most nearly a rotation, and a bundle adjustment of rotations, focal length and the tracks' directions makes
both exact. Whatever else moved the picture shows as residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.reconstruct.cameras.adjust import Adjusted, Bundle, Freedom, Views, adjust
from geometry.reconstruct.cameras.tracks import Tracks

Array = np.ndarray

MIN_COMMON = 30  # tracks two frames must share to be compared
MIN_COVERED = 0.6  # of the picture that they must cover
CELL_PX, MOST_IN_CELL = 64, 6  # a homography is voted for by area: what a camera follows has many points
BACKGROUND_PX = 1.5  # from the dominant homography
TRACKS_ADJUSTED = 1000
FOCAL_RATIOS = np.geomspace(0.4, 8.0, 61)  # f / max(W, H)
FOCAL_GUESS = 1.1  # f / max(W, H) of a lens that nobody knows


@dataclass(frozen=True)
class Pair:
    """Shared tracks of frames ``a`` and ``b`` (positions in the list of frames): ids (K,), px from the middle (K, 2).

    ``inside`` (K,) says which follow the dominant homography ``h`` (b from a; None where there is none).
    """

    a: int
    b: int
    ids: Array
    xy_a: Array
    xy_b: Array
    h: Array | None
    inside: Array

    @property
    def motion_px(self) -> float:
        """Of the background."""
        moved = np.linalg.norm(self.xy_b - self.xy_a, axis=1)
        return float(np.median(moved[self.inside] if self.inside.any() else moved))


@dataclass(frozen=True)
class Turns:
    """What the best rotation-only explanation of ``frames`` says."""

    frames: tuple[int, ...]
    bundle: Bundle  # one rotation per frame; directions of the tracks ``ids``
    ids: Array
    focal_sigma: float  # relative

    @property
    def focal_px(self) -> float:
        return float(np.median(self.bundle.focal))


def pair_up(tracks: Tracks, frames: Sequence[int]) -> list[Pair]:
    """Each frame with its neighbours at 1 and 3 steps and with the farthest that still shares enough of the picture.

    Neighbours decide what is background: later, much of it has left the picture, and what the camera follows has not.
    """
    count = int(tracks.track.max(initial=-1)) + 1
    near = [_pair(tracks, frames, a, a + 1, None) for a in range(len(frames) - 1)]
    near = [pair for pair in near if len(pair.ids) >= MIN_COMMON]
    background = background_tracks(near, count) if near else np.zeros(count, bool)
    far = []
    for a, frame in enumerate(frames):
        enough = max(MIN_COMMON, 0.25 * len(tracks.at(frame)[0]))
        reach = a
        while reach + 1 < len(frames) and len(tracks.common(frame, frames[reach + 1])[0]) >= enough and (
                tracks.covered(frame, frames[reach + 1]) > MIN_COVERED):
            reach += 1
        far += [_pair(tracks, frames, a, b, background) for b in sorted({min(a + 3, reach), reach}) if b > a + 1]
    return sorted(near + far, key=lambda pair: (pair.a, pair.b))


def _pair(tracks: Tracks, frames: Sequence[int], a: int, b: int, background: Array | None) -> Pair:
    ids, xy_a, xy_b = tracks.common(frames[a], frames[b])
    xy_a, xy_b = xy_a - np.array(tracks.wh) / 2, xy_b - np.array(tracks.wh) / 2
    voters = thinned(xy_a)
    if background is not None:
        voters = voters[background[ids[voters]]]
    none = Pair(a, b, ids, xy_a, xy_b, None, np.zeros(len(ids), bool))
    if len(voters) < 8:
        return none
    h, _ = cv2.findHomography(
        xy_a[voters], xy_b[voters], cv2.USAC_MAGSAC, BACKGROUND_PX, maxIters=2000, confidence=0.999)
    if h is None or np.linalg.det(h) <= 1e-9:
        return none
    landed = cv2.perspectiveTransform(xy_a[:, None], h)[:, 0]
    inside = np.linalg.norm(landed - xy_b, axis=1) < BACKGROUND_PX
    return Pair(a, b, ids, xy_a, xy_b, h / np.cbrt(np.linalg.det(h)), inside)


def thinned(xy: Array) -> Array:
    """Indices of at most so many points in every cell of the picture."""
    cell = np.floor(xy / CELL_PX).astype(int) @ (1, 10_000)
    order = np.argsort(cell, kind="stable")
    rank = np.arange(len(order)) - np.searchsorted(cell[order], cell[order])
    return np.sort(order[rank < MOST_IN_CELL])


def fit_turns(
    tracks: Tracks, frames: Sequence[int], pairs: Sequence[Pair], *, focal_px: float | None = None, zoom: bool = False,
    most: int = TRACKS_ADJUSTED,
) -> Turns | None:
    """None where no homography was found. ``focal_px`` is held when given."""
    known = [pair for pair in pairs if pair.h is not None]
    if not known:
        return None
    focal = focal_px or focal_from_homographies([p.h for p in known if p.h is not None and p.motion_px > 2],
                                                max(tracks.wh))
    background = background_tracks(known, int(tracks.track.max(initial=-1)) + 1)
    views, ids = gather(tracks, frames, background, most)
    rotation = _chained(known, len(frames), focal)
    focals = np.full(len(frames), focal)
    bundle = Bundle(rotation, None, mean_directions(rotation, focals, np.zeros(3), views, len(ids)), focals,
                    np.zeros(3))
    # With one focal length first: a zoom would take up what the chain of rotations got wrong.
    found = adjust(bundle, views, Freedom(focal=focal_px is None), loss_px=2.0, rounds=12)
    found = adjust(found.bundle, views, Freedom(focal=focal_px is None, zoom=zoom), loss_px=0.7, rounds=12)
    return Turns(tuple(frames), found.bundle, ids, found.focal_sigma)


def transfer_errors(turns: Turns, pairs: Sequence[Pair]) -> list[Array]:
    """(K,) px for each pair: how far its points land from where rotation and focal length send them."""
    return [np.linalg.norm(turned_px(turns.bundle, p.a, p.b, p.xy_a) - p.xy_b, axis=1) for p in pairs]


def turned_px(bundle: Bundle, a: int, b: int, xy: Array) -> Array:
    """(K, 2) px from the middle in frame ``b`` of points at ``xy`` in frame ``a``; without distortion."""
    rays = np.concatenate([xy / bundle.focal[a], np.ones((len(xy), 1))], 1)
    out = rays @ (bundle.rotation[b] @ bundle.rotation[a].T).T
    return bundle.focal[b] * out[:, :2] / np.maximum(out[:, 2:], 1e-3)


def background_tracks(pairs: Sequence[Pair], count: int) -> Array:
    """(count,) bool: tracks that follow the dominant homography in most of their pairs."""
    ids = np.concatenate([pair.ids for pair in pairs])
    inside = np.concatenate([pair.inside for pair in pairs])
    asked, agreed = np.bincount(ids, minlength=count), np.bincount(ids, inside, minlength=count)
    return (agreed > 0.6 * asked) & (asked > 0)


def gather(
    tracks: Tracks, frames: Sequence[int], keep: Array, most: int = TRACKS_ADJUSTED
) -> tuple[Views, Array]:
    """Views of the tracks in ``keep`` that ``frames`` see at least twice, the longest in every part of the picture."""
    frame = np.searchsorted(frames, tracks.frame)
    mine = keep[tracks.track] & (np.array([*frames, -1])[frame] == tracks.frame)
    frame, track, xy = frame[mine], tracks.track[mine], tracks.xy[mine]
    length = np.bincount(track, minlength=len(keep))
    chosen = _spread(track, xy, length, tracks.wh, most)
    mine = chosen[track]
    ids, point = np.unique(track[mine], return_inverse=True)
    return Views(frame[mine], point, xy[mine] - np.array(tracks.wh) / 2), ids


def _spread(track: Array, xy: Array, length: Array, wh: tuple[int, int], most: int) -> Array:
    """Bool per track: the longest ones first in every cell, in turn, until there are ``most``."""
    ids, first = np.unique(track, return_index=True)
    ids, first = ids[length[ids] >= 2], first[length[ids] >= 2]
    side = np.sqrt(wh[0] * wh[1] / 100)
    cell = (xy[first] // side).astype(int) @ (1, 1000)
    order = np.lexsort((-length[ids], cell))
    starts = np.r_[0, np.flatnonzero(np.diff(cell[order])) + 1] if len(order) else np.zeros(0, int)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    chosen = np.zeros(len(length), bool)
    chosen[ids[order][np.argsort(rank, kind="stable")[:most]]] = True
    return chosen


def focal_from_homographies(homographies: Sequence[Array], side_px: int) -> float:
    """The focal length that makes every ``K^-1 H K`` most nearly a rotation."""
    if not homographies:
        return FOCAL_GUESS * side_px
    scores = []
    for ratio in FOCAL_RATIOS:
        k = np.diag([ratio * side_px, ratio * side_px, 1.0])
        moved = np.linalg.inv(k) @ np.stack(homographies) @ k
        off = moved @ np.swapaxes(moved, 1, 2) - np.eye(3)
        scores.append(np.median(np.linalg.norm(off, axis=(1, 2))))
    return float(FOCAL_RATIOS[int(np.argmin(scores))] * side_px)


def _chained(pairs: Sequence[Pair], count: int, focal: float) -> Array:
    """(count, 3, 3) rotations to start from, chained over the pairs by breadth."""
    k = np.diag([focal, focal, 1.0])
    rotations = np.tile(np.eye(3), (count, 1, 1))
    seen = {0}
    for pair in sorted(pairs, key=lambda item: (item.a, item.b)):
        if pair.h is None or pair.a not in seen or pair.b in seen:
            continue
        u, _, vt = np.linalg.svd(np.linalg.inv(k) @ pair.h @ k)
        rotations[pair.b] = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt @ rotations[pair.a]
        seen.add(pair.b)
    return rotations


def mean_directions(rotation: Array, focal: Array, distortion: Array, views: Views, count: int) -> Array:
    """(count, 3) unit directions of the points, the mean over their views."""
    flat = undistorted(views.xy / focal[views.frame][:, None], distortion)
    rays = np.concatenate([flat, np.ones((len(flat), 1))], 1)
    rays = (np.swapaxes(rotation[views.frame], 1, 2) @ rays[..., None])[..., 0]
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    total = np.stack([np.bincount(views.point, rays[:, i], minlength=count) for i in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.where(length > 1e-9, total / np.maximum(length, 1e-9), [0.0, 0.0, 1.0])


def undistorted(flat: Array, distortion: Array) -> Array:
    """(N, 2) on the plane z = 1 without k1, k2, k3, by fixed-point iteration."""
    if not np.any(distortion):
        return flat
    out = flat
    for _ in range(12):
        r2 = (out**2).sum(1, keepdims=True)
        out = flat / (1 + r2 * (distortion[0] + r2 * (distortion[1] + r2 * distortion[2])))
    return out


def with_frames(turns: Turns, tracks: Tracks, frames: Sequence[int]) -> Turns:
    """The turns of ``frames``, new ones found one after the other from directions that are known by then."""
    done = {f: (turns.bundle.rotation[i], turns.bundle.focal[i]) for i, f in enumerate(turns.frames)}
    directions = np.full((int(tracks.track.max(initial=-1)) + 1, 3), np.nan)
    directions[turns.ids] = turns.bundle.points
    middle = np.array(tracks.wh) / 2
    keys = np.array(turns.frames)
    for frame in frames:
        ids, xy = tracks.at(frame)
        if frame not in done:
            nearest = keys[np.argmin(np.abs(keys - frame))]
            focal = float(np.interp(frame, keys, turns.bundle.focal))
            known = np.isfinite(directions[ids, 0])
            rays = _rays(xy[known] - middle, focal, turns.bundle.distortion)
            done[frame] = _rotation(rays, directions[ids[known]], done[nearest][0]), focal
    ordered = [done[frame] for frame in frames]
    bundle = replace(turns.bundle, rotation=np.stack([r for r, _ in ordered]), focal=np.array([f for _, f in ordered]))
    return replace(turns, frames=tuple(frames), bundle=bundle)


def _rays(xy: Array, focal: float, distortion: Array) -> Array:
    flat = undistorted(xy / focal, distortion)
    rays = np.concatenate([flat, np.ones((len(xy), 1))], 1)
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _rotation(rays: Array, directions: Array, start: Array) -> Array:
    """(3, 3) that turns ``directions`` into ``rays``: Kabsch's, reweighted; ``start`` where there are too few."""
    if len(rays) < 8:
        return start
    weight, rotation = np.ones(len(rays)), start
    for _ in range(12):
        u, _, vt = np.linalg.svd((rays * weight[:, None]).T @ directions)
        rotation = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        off = np.linalg.norm(directions @ rotation.T - rays, axis=1)
        weight = 1 / (1 + (off / max(1.5 * float(np.median(off)), 1e-6)) ** 2)
    return rotation


def refined(
    turns: Turns, tracks: Tracks, background: Array, *, freedom: Freedom, most: int = TRACKS_ADJUSTED
) -> tuple[Turns, Adjusted]:
    """All frames of ``turns`` adjusted together over long background tracks."""
    views, ids = gather(tracks, turns.frames, background, most)
    bundle = turns.bundle
    points = mean_directions(bundle.rotation, bundle.focal, bundle.distortion, views, len(ids))
    found = adjust(replace(bundle, points=points), views, freedom, loss_px=0.7, rounds=12)
    return Turns(turns.frames, found.bundle, ids, found.focal_sigma), found

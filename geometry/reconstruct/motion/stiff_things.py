"""Stiff things that move by themselves, from long tracks that no still point explains.

A slow turn looks still from one frame to the next, and depth that was solved as if all stood still explains it even
better. Over many frames it does not: a track is a still point seen by the known cameras, or it misses one by pixels.
Those that miss hang together in groups, and a group that is one stiff thing gives its own shape and motion by structure
from motion (rigid_track.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from geometry import rigid
from geometry.reconstruct.cameras.tracks import Tracks, TrackSettings, track_clip
from geometry.reconstruct.motion.rigid_track import StiffMotion, normalised, solve_stiff
from geometry.scene import FrameSource
from geometry.trajectory import CameraPath

Array = np.ndarray

WINDOW = 96  # frames that are looked at together
MIN_LIFE = 8  # frames of a track that is judged
MISSES = 4.0  # times what most tracks miss the still point that they are by
MISSES_PX = (1.0, 3.0)  # at least, at most, of a track that is none
GAP = 0.05  # of the picture's width, between tracks of one thing
MIN_TRACKS = 25  # of a thing
MOST_TRACKS = 300  # the longest: more say nothing new
LEAST_TRACKS = 8  # in a frame
TRACKS = TrackSettings(points=2500, levels=3, patch_radius_px=5)


def find_stiff_things(clip: FrameSource, cameras: CameraPath, *, seed: int) -> Iterator[StiffMotion]:
    """What moves stiffly by itself, window by window; one thing may come more than once."""
    for begin in range(0, len(cameras), WINDOW):
        part = cameras.select(cameras.frames[begin : begin + WINDOW])
        tracks = track_clip(clip, frames=part.frames, settings=TRACKS)
        tracks = tracks.keep(tracks.lengths() >= MIN_LIFE)
        moving = moving_tracks(tracks, part)
        for group in _groups(tracks.keep(moving)):
            found = solve_stiff(group, part, seed=seed)
            if found is not None:
                yield found


def moving_tracks(tracks: Tracks, cameras: CameraPath) -> Array:
    """(ids,) bool: tracks that are no still point."""
    error = still_error_px(tracks, cameras)
    known = error[np.isfinite(error)]
    if not len(known):
        return np.zeros(len(error), bool)
    with np.errstate(invalid="ignore"):
        return error > np.clip(MISSES * np.median(known), *MISSES_PX)


def still_error_px(tracks: Tracks, cameras: CameraPath) -> Array:
    """(ids,) median px by which each track misses the still point that fits it best; nan for ids without views.

    A point on the ray of the middle view, at any inverse depth ``q >= 0``: linear least squares (as in pair.py), with
    Huber weights.
    """
    count = len(tracks.lengths())
    out = np.full(count, np.nan)
    if not len(tracks.track):
        return out
    order = np.lexsort((tracks.frame, tracks.track))
    ids, start, views = np.unique(tracks.track[order], return_index=True, return_counts=True)
    flat, frame = normalised(tracks, cameras)[order], np.searchsorted(cameras.frames, tracks.frame[order])
    middle = np.repeat(start + views // 2, views)
    poses = cameras.camera_from_world
    step = poses[frame] @ rigid.inverse(poses)[frame[middle]]
    ray = np.c_[flat[middle], np.ones(len(flat))]
    a, b = (step[:, :3, :3] @ ray[..., None])[..., 0], step[:, :3, 3]
    across, missing = b[:, :2] - flat * b[:, 2:], flat * a[:, 2:] - a[:, :2]
    which = np.repeat(np.arange(len(ids)), views)
    focal = float(np.median([camera.fx for camera in cameras.cameras]))
    weight = np.ones(len(flat))
    error = np.zeros(len(flat))
    for _ in range(4):
        top = np.bincount(which, weight * (across * missing).sum(1))
        q = np.maximum(top / np.maximum(np.bincount(which, weight * (across**2).sum(1)), 1e-12), 0)[which]
        z = a[:, 2] + q * b[:, 2]
        shown = (a[:, :2] + q[:, None] * b[:, :2]) / np.where(z > 1e-6, z, 1e-6)[:, None]
        error = np.minimum(np.linalg.norm(shown - flat, axis=1) * focal, 1e3)
        weight = 1 / np.maximum(error, 0.5)
    ranked = np.lexsort((error, which))
    out[ids] = error[ranked][start + views // 2]
    return out


def _groups(tracks: Tracks) -> Iterator[Tracks]:
    """Tracks that are near each other in some frame, directly or by way of others."""
    count = len(tracks.lengths())
    links = [np.zeros((0, 2), int)]
    for frame in tracks.frames[:: max(1, MIN_LIFE // 2)]:
        ids, xy = tracks.at(frame)
        if len(ids) > 1:
            links.append(ids[cKDTree(xy).query_pairs(GAP * tracks.wh[0], output_type="ndarray")])
    a, b = np.concatenate(links).T
    _, group = connected_components(coo_matrix((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)
    present = tracks.lengths() > 0
    for number in np.unique(group[present]):
        chosen = (group == number) & present
        if chosen.sum() >= MIN_TRACKS:
            longest = np.argsort(np.where(chosen, -tracks.lengths(), 0), kind="stable")[:MOST_TRACKS]
            chosen &= np.isin(np.arange(count), longest)
            kept = tracks.keep(chosen)
            frames, counts = np.unique(kept.frame, return_counts=True)
            frames = frames[counts >= LEAST_TRACKS]
            seen = np.isin(kept.frame, frames)
            yield Tracks(kept.frame[seen], kept.track[seen], kept.xy[seen], tuple(frames.tolist()), kept.wh)

"""A camera that turns on the spot: a rotation for every frame and the lens, from long tracks of the background.

Key frames first (``turns.py``), then every frame, all adjusted together. k1 and a focal length per frame are believed
only when they explain clearly more.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.reconstruct.cameras.adjust import Adjusted, Freedom
from geometry.reconstruct.cameras.keyframes import choose_keyframes
from geometry.reconstruct.cameras.lines import Segments, segments_of
from geometry.reconstruct.cameras.locked import GROUND, NO_POINTS, known_up, missing_advice, up_from_horizon
from geometry.reconstruct.cameras.solution import CameraSolve, PointViews, ShotToSolve
from geometry.reconstruct.cameras.tracks import Tracks
from geometry.reconstruct.cameras.turns import (
    FOCAL_GUESS,
    Pair,
    Turns,
    background_tracks,
    fit_turns,
    pair_up,
    refined,
    with_frames,
)
from geometry.reconstruct.cameras.vanishing import direction_near, find_axes
from geometry.reconstruct.errors import SolveFailed
from geometry.reconstruct.ground import camera_up, standing
from geometry.rigid import rigid
from geometry.trajectory import CameraPath

Array = np.ndarray

FRAMES_TOGETHER = 160  # of a long clip, spread; the others are fitted to the directions these give
LENS_GAIN = 0.97  # of the cost without k1
ZOOM_GAIN = 0.9  # of the cost with one focal length
LEAST_ZOOM = 0.005  # relative
KNOWN_FOCAL_SIGMA = 0.05
LINE_FRAMES = 6
NEARLY_LEVEL = np.deg2rad(10.0)


def solve_pan(shot: ShotToSolve) -> CameraSolve:
    """Raises ``SolveFailed`` where no rotations can be found."""
    tracks = shot.tracks
    if tracks is None:
        raise ValueError("tracks: expected those of the shot, got none")
    turns, error_px = _fit(shot, tracks, shot.focal_px)
    focal_known = shot.focal_px is not None or turns.focal_sigma < KNOWN_FOCAL_SIGMA
    if not focal_known:  # it hardly turns: lines may know, else a usual lens
        lines = _lines(shot, turns)
        axes = find_axes(lines, focal_px=None, seed=shot.seed)
        focal_known = axes is not None and axes.focal_known
        focal = axes.focal_px if axes is not None and axes.focal_likely else FOCAL_GUESS * max(shot.wh)
        turns, error_px = _fit(shot, tracks, focal)
    shot.report(90, 100)
    cameras = _cameras(turns, shot.wh)
    up, horizon_known = _up(shot, turns)
    rotation = turns.bundle.rotation
    path = CameraPath(shot.frames, cameras, standing(rotation, up))
    shot.report(100, 100)
    return CameraSolve(
        path, NO_POINTS, PointViews.none(), GROUND, shot.shot, (), error_px, 0.0,
        "rotations" + (", zoom" if np.ptp(turns.bundle.focal) > 0 else ""), (), focal_known, horizon_known, None,
        missing_advice(focal_known, horizon_known),
    )


def _fit(shot: ShotToSolve, tracks: Tracks, focal_px: float | None) -> tuple[Turns, float]:
    """Rotations of all frames, and the median error px of the background's tracks."""
    keys = [shot.frames[i] for i in choose_keyframes(tracks)]
    pairs = pair_up(tracks, keys)
    found = fit_turns(tracks, keys, pairs, focal_px=focal_px, zoom=shot.shot.zooms)
    if found is None:
        raise SolveFailed("the camera's turns could not be found", "Use frames that are sharp and show texture")
    background = background_tracks(pairs, int(tracks.track.max(initial=-1)) + 1) | _unasked(tracks, pairs)
    step = np.linspace(0, len(shot.frames) - 1, min(len(shot.frames), FRAMES_TOGETHER)).round().astype(int)
    together = sorted({shot.frames[i] for i in step} | set(keys))
    turns, adjusted = _with_lens(with_frames(found, tracks, together), tracks, background, focal_px is None,
                                 shot.shot.zooms)
    if len(together) < len(shot.frames):
        turns = with_frames(turns, tracks, shot.frames)
    return turns, float(np.median(adjusted.error_px))


def _unasked(tracks: Tracks, pairs: Sequence[Pair]) -> Array:
    """(T,) bool: tracks between key frames, that no pair of them could judge."""
    asked = np.zeros(int(tracks.track.max(initial=-1)) + 1, bool)
    for pair in pairs:
        asked[pair.ids] = True
    return ~asked


def _with_lens(
    start: Turns, tracks: Tracks, background: Array, focal_free: bool, zooms: bool
) -> tuple[Turns, Adjusted]:
    plain, best = refined(start, tracks, background, freedom=Freedom(focal_free, zooms))
    bent, with_k1 = refined(plain, tracks, background, freedom=Freedom(focal_free, zooms, 1))
    if with_k1.cost < LENS_GAIN * best.cost:
        plain, best = bent, with_k1
    terms = int(np.any(plain.bundle.distortion))
    if focal_free and not zooms:
        zoomed, with_zoom = refined(plain, tracks, background, freedom=Freedom(zoom=True, distortion=terms))
        spread = np.ptp(zoomed.bundle.focal) / zoomed.focal_px
        if with_zoom.cost < ZOOM_GAIN * best.cost and spread > LEAST_ZOOM and zoomed.focal_sigma < KNOWN_FOCAL_SIGMA:
            return zoomed, with_zoom
    return plain, best


def _cameras(turns: Turns, wh: tuple[int, int]) -> tuple[Camera, ...]:
    k1, k2, k3 = (float(k) for k in turns.bundle.distortion)
    lenses = {f: Camera(float(f), float(f), wh[0] / 2, wh[1] / 2, wh, (k1, k2, 0.0, 0.0, k3))
              for f in np.unique(turns.bundle.focal)}
    return tuple(lenses[f] for f in turns.bundle.focal)


def _lines(shot: ShotToSolve, turns: Turns) -> Segments:
    """Of some spread frames, in the frame that the rotations start from."""
    cameras = _cameras(turns, shot.wh)
    index = np.unique(np.linspace(0, len(shot.frames) - 1, LINE_FRAMES).round().astype(int))
    greys = [cv2.cvtColor(shot.clip.display(shot.frames[i], shot.wh), cv2.COLOR_RGB2GRAY) for i in index]
    return segments_of(greys, [cameras[i] for i in index], turns.bundle.rotation[index])


def _up(shot: ShotToSolve, turns: Turns) -> tuple[Array, bool]:
    """(3,) up in the frame that the rotations start from, and whether anything but level cameras says so."""
    rotation = turns.bundle.rotation
    cameras = _cameras(turns, shot.wh)
    if shot.horizon is not None:
        return rotation[0].T @ up_from_horizon(cameras[0], shot.horizon), True
    lines = _lines(shot, turns)
    axes = find_axes(lines, focal_px=turns.focal_px, seed=shot.seed)
    level = camera_up(CameraPath(shot.frames, cameras, rigid(rotation, np.zeros((len(rotation), 3)))))
    up, known = known_up(axes, cameras[0], rotation[0], level)
    if known:
        return up, True
    vertical = direction_near(lines, turns.focal_px, level, NEARLY_LEVEL, seed=shot.seed)
    return (up, False) if vertical is None else (vertical, True)

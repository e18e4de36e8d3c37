"""Which frames carry the solve: far enough apart to see parallax, near enough to share points."""

from __future__ import annotations

import numpy as np

from geometry.reconstruct.cameras.tracks import Tracks

STEP_SHARE = 0.02  # of the picture's long side that points move between key frames
MIN_SURVIVING = 0.55  # of a key frame's points that the next one still sees
MIN_COVERED = 0.6  # of its picture that such points still cover
MIN_KEYFRAMES, MAX_KEYFRAMES = 16, 36


def choose_keyframes(tracks: Tracks, most: int = MAX_KEYFRAMES) -> list[int]:
    """Positions in ``tracks.frames``, ascending; always the first and the last. More than ``most`` only when tracks
    are too short for fewer."""
    step_px = STEP_SHARE * max(tracks.wh)
    while len(chosen := _walk(tracks, step_px)) < min(MIN_KEYFRAMES, len(tracks.frames)) and step_px > 1:
        step_px /= 1.3
    if len(chosen) <= most:
        return chosen
    while True:
        chosen = _walk(tracks, step_px)
        if len(chosen) <= most:
            return chosen
        step_px *= 1.5
        if step_px > max(tracks.wh):  # fast or blurred: survival decides, so the count is what it is
            return chosen


def _walk(tracks: Tracks, step_px: float) -> list[int]:
    frames = tracks.frames
    chosen = [0]
    for i in range(1, len(frames)):
        if i == len(frames) - 1:
            chosen.append(i)
            break
        key = frames[chosen[-1]]
        alive = max(len(tracks.at(key)[0]), 1)
        ids, a, b = tracks.common(key, frames[i + 1])
        moved = np.median(np.linalg.norm(b - a, axis=1)) if len(ids) else np.inf
        if moved > step_px or len(ids) < MIN_SURVIVING * alive or tracks.covered(key, frames[i + 1]) < MIN_COVERED:
            chosen.append(i)
    return chosen

"""Movers that a user clicked at, by a learned tracker: their masks take the place of what was found there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from geometry.reconstruct.motion.masks import MOST_LABELS, Click, MotionFolder
from models.base import Prompt, VideoSegmenter
from services.media.clip import ClipReader

Array = np.ndarray
TAKEN_OVER = 0.5  # of a found region: so much of it under the new mask, and the rest was a piece of the same thing


def follow_clicks(
    folder: MotionFolder, model: VideoSegmenter, clip: ClipReader, wh: tuple[int, int], clicks: Sequence[Click]
) -> None:
    """Adds a label for every click to the label pictures of ``folder`` on a raster of ``wh``; other labels stay.

    Raises ``ValueError`` when there are more things than labels.
    """
    label = 1 + max(int(folder.read(frame).max()) for frame in clip.numbers)
    if label + len(clicks) - 1 > MOST_LABELS:
        raise ValueError(f"clicks: expected at most {MOST_LABELS} moving things in all, got {label + len(clicks) - 1}")
    scale = np.array(wh) / (clip.hw[1], clip.hw[0])
    for frame, group in groupby(sorted(clicks, key=lambda c: c.frame), key=lambda c: c.frame):
        prompts = [Prompt(clicks=(np.array([[c.x, c.y]]) * scale), inside=np.array([True])) for c in group]
        for seen in model.track(clip, frame, prompts, wh):
            labels = folder.read(seen.frame)
            for i, (mask, present) in enumerate(zip(seen.masks, seen.presence, strict=True)):
                if present > 0.5:
                    labels = _with(labels, mask > 0.5, label + i)
            folder.write(seen.frame, labels)
        label += len(prompts)


def _with(labels: Array, mask: Array, label: int) -> Array:
    out = labels.copy()
    for other in np.unique(labels[mask & (labels > 0)]):
        region = labels == other
        if (region & mask).sum() > TAKEN_OVER * region.sum():
            out[region] = 0
    out[mask] = label
    return out

"""Clips longer than a video transformer was trained for: overlapping windows over shared latents.

All windows are denoised together: in every step each is asked for itself, and where they overlap their answers are
averaged with weights that fall linearly towards a window's ends (MultiDiffusion, Bar-Tal et al. 2023, in time). So the
latents are those of one clip, and memory is that of one window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from models.answering import answered_by

if TYPE_CHECKING:
    import torch

Array = np.ndarray

TIME = 2  # axis of time in (B, C, t, h, w)


def spans(count: int, length: int, overlap: int) -> list[tuple[int, int]]:
    """Windows of ``length`` that cover ``count`` latents and overlap by ``overlap`` or more, evenly spread."""
    if count <= length:
        return [(0, count)]
    windows = -(-(count - overlap) // (length - overlap))
    starts = np.rint(np.linspace(0, count - length, windows)).astype(int)
    return [(int(start), int(start) + length) for start in starts]


def weights(span: tuple[int, int], count: int, overlap: int) -> Array:
    """(t,) of one window: 1 inside, falling towards an end at which another window goes on."""
    start, stop = span
    place = np.arange(stop - start)
    rising = (place + 1) / (overlap + 1) if start > 0 else np.ones(len(place))
    falling = (place[::-1] + 1) / (overlap + 1) if stop < count else np.ones(len(place))
    return np.minimum(np.minimum(rising, falling), 1).astype(np.float32)


@contextmanager
def windowed(transformer: Any, length: int, overlap: int, also: str | None = None) -> Iterator[None]:
    """``transformer`` answers for clips of any length. ``also`` names a second argument with an axis of time."""
    forward = transformer.forward

    def in_windows(*, hidden_states: torch.Tensor, return_dict: bool, **told: Any) -> tuple[torch.Tensor]:
        count = hidden_states.shape[TIME]
        answers = []
        for start, stop in spans(count, length, overlap):
            part = told if also is None else {**told, also: told[also][:, :, start:stop]}
            answers.append(forward(hidden_states=hidden_states[:, :, start:stop], return_dict=False, **part)[0])
        return (_blended(answers, count, length, overlap),)

    with answered_by(transformer, in_windows):
        yield


def _blended(answers: Sequence[torch.Tensor], count: int, length: int, overlap: int) -> torch.Tensor:
    """One (B, C, t, h, w) of each window's."""
    if len(answers) == 1:
        return answers[0]
    whole = answers[0].new_zeros((*answers[0].shape[:TIME], count, *answers[0].shape[TIME + 1 :]))
    total = whole.new_zeros((1, 1, count, 1, 1))
    for (start, stop), answer in zip(spans(count, length, overlap), answers, strict=True):
        weight = whole.new_tensor(weights((start, stop), count, overlap)).view(1, 1, -1, 1, 1)
        whole[:, :, start:stop] += weight * answer
        total[:, :, start:stop] += weight
    return whole / total

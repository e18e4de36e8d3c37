"""Sparse appearance guidance: what an earlier anchor shows of this view is put into the first steps of its painting.

VideoFrom3D (Kim et al. 2025, arXiv 2509.17985). With the start noise ``eps``, the anchor ``I_w`` carried
over by exact correspondence, and the mask ``u`` of what it does not show, before step i for 1 <= i < ``until``::

    z <- u z + (1 - u) [(1 - t_i) E(I_w) + t_i eps]

so that surfaces seen before keep their appearance, and later steps make one picture of old and new. Latents are packed
as FLUX and Qwen-Image have them: (1, tokens, channels), a token for 2 x 2 latent pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from models.answering import answered_by

if TYPE_CHECKING:
    import torch

Array = np.ndarray


@dataclass(frozen=True)
class AppearanceGuidance:
    """A diffusers ``callback_on_step_end``. All tensors (1, tokens, channels); ``unknown`` is 0 or 1."""

    appearance: torch.Tensor  # E(I_w)
    noise: torch.Tensor  # eps
    unknown: torch.Tensor  # u
    until: int  # the first step that is not guided; one more than there are steps: even the result is replaced

    def __call__(self, pipeline: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        coming = step + 1
        if coming < self.until:
            latents = tensors["latents"]
            time = pipeline.scheduler.sigmas[coming].to(self.noise)
            known = (1 - time) * self.appearance + time * self.noise
            tensors["latents"] = (self.unknown * latents + (1 - self.unknown) * known).to(latents.dtype)
        return tensors


def unknown_mask(known: Array, dilate_px: float, factor: int) -> Array:
    """(H / factor, W / factor) float32, 1 = not known: where the latent pixel's centre lies within ``dilate_px`` of a
    pixel of ``known`` (H, W) below one half. Both sides must be multiples of ``factor``.
    """
    away = cv2.distanceTransform((known >= 0.5).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    centre = factor // 2
    return (away <= dilate_px)[centre::factor, centre::factor].astype(np.float32)


@contextmanager
def guided_from(transformer: Any, start: int) -> Iterator[None]:
    """Classifier-free guidance from step ``start`` on, for a pipeline that asks ``transformer`` twice in each step:
    with the prompt, then with the negative one. Before ``start`` the second question gets the first one's answer: ``n +
    s (p - n)`` is then ``p``.
    """
    forward = transformer.forward
    asked, answer = 0, None

    def answering(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked, answer
        step, negative = divmod(asked, 2)
        asked += 1
        if not (negative and step < start):
            answer = forward(*args, **kwargs)
        return answer

    with answered_by(transformer, answering):
        yield

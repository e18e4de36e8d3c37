"""The embedded inbetween backend: anchors carried along the geometry itself. No weights, no chance: no seed matters.

It takes any size and length. The first and the last frame are the anchors, bit for bit.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from geometry.ibr import Inbetween
from models.base import Arc, Clip
from models.errors import InputRefused

Array = np.ndarray


class Ibr:
    """An ``InbetweenModel``."""

    name = "ibr"

    def check(self, frames: int, hw: tuple[int, int]) -> None:
        if frames < 1 or min(hw) < 1:
            raise InputRefused(f"{self.name}: expected at least one frame and pixel, got {frames} of {hw[1]}x{hw[0]}")

    def noise_chw(self, hw: tuple[int, int]) -> tuple[int, int, int]:
        return 0, *hw  # it takes none

    def generate(self, arc: Arc, seed: Sequence[int]) -> Clip:
        """See ``InbetweenModel``."""
        return Clip(np.stack(list(self.stream(arc))))

    def stream(
        self, arc: Arc, threads: int | None = None, only: Sequence[int] | None = None
    ) -> Iterator[Array]:
        """The arc's frames, or ``only`` some of them, one after another, (H, W, 3) uint8 each; none but a few are in
        memory at a time."""
        if arc.shot is None:
            raise InputRefused(f"{self.name}: expected arc.shot, the geometry of its frames, got none")
        self.check(len(arc.frames), arc.first.shape[:2])
        pictures = {**arc.others, arc.frames[0]: arc.first, arc.frames[-1]: arc.last}
        inbetween = Inbetween(arc.shot, pictures, arc.frames[0], arc.frames[-1])
        workers = threads or os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool:
            ahead: deque[Future[Array]] = deque()
            for frame in arc.frames if only is None else only:
                ahead.append(pool.submit(inbetween.frame, frame))
                if len(ahead) > workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

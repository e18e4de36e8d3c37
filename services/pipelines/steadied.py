"""What is in front of what, frame by frame, steadied by each frame's neighbours and drawn on the plate's raster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from geometry.masks import Evidence, MaskFrame, stabilise, visibility_from_evidence
from geometry.scene import Scene4D
from services.media.clip import ClipReader

Array = np.ndarray
HALO = 2  # frames on either side that steady a frame's masks


def steadied_visibility(
    clip: ClipReader, scene: Scene4D, numbers: Sequence[int], judge: Callable[[int], Evidence | None]
) -> Iterator[Array]:
    """(H, W) float32 for each of ``numbers``, 1 = seen; ``judge`` tells a frame's evidence, ``None`` = there is none,
    and all is seen."""
    w, h = scene.working_wh
    empty = np.zeros((0, 0), np.float32)
    nothing = Evidence(0, 0, (h, w), empty, empty, empty)
    frames = (MaskFrame(number, clip.display(number, (w, h)), judge(number) or nothing) for number in numbers)
    for frame in stabilise(frames, HALO):
        yield visibility_from_evidence(frame.evidence, clip.display(frame.number))

"""Who sees what in a shot, on a small raster: enough to choose views by, at a small part of the cost of pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from geometry import rigid
from geometry.flow import flow
from geometry.guides import GuideSource
from geometry.sight import Sight

Array = np.ndarray
ROWS = 96  # of the raster on which lines of sight are tested
THINNING = 5  # odd: every fifth pixel in rows and columns, a *sample*, stands for those around it
GRAZING_COS = 0.35  # a surface seen at a smaller angle is shown less well


@dataclass(frozen=True)
class Look:
    """One frame. ``density`` (H, W) float32: pixels per area of surface, 1 in the sky; ``facing`` (H, W) float32 in
    [0, 1]."""

    sight: Sight
    samples: Sight  # every fifth pixel
    density: Array
    facing: Array


class Survey:
    """Any frames of ``source``, seen small; ``keep`` of them stay in memory."""

    def __init__(self, source: GuideSource, *, rows: int = ROWS, keep: int = 128) -> None:
        w, h = source.cameras.cameras[0].wh
        self._source = source.scaled((max(round(w * rows / h), THINNING), rows), keep=1)
        self._look: Callable[[int], Look] = lru_cache(keep)(self._looked)

    def quality(self, frame: int, by: int) -> Array:
        """(samples,) float32 in [0, 1]: how well frame ``by`` shows what the samples of ``frame`` show.

        0 = not at all; else the angle's factor times linear sampling density, which counts up to that of ``frame``.
        """
        here, there = self._look(frame), self._look(by)
        way = flow(here.samples, there.sight)
        h, w = there.sight.face.shape
        px = way.target_px.astype(np.int64)
        column, row = np.minimum(np.maximum(px[..., 0], 0), w - 1), np.minimum(np.maximum(px[..., 1], 0), h - 1)
        ratio = there.density[row, column] / np.maximum(_thinned(here.density), 1e-12)
        quality = np.minimum(np.sqrt(ratio), 1) * there.facing[row, column]
        return np.where(way.visible, quality, 0).astype(np.float32).ravel()

    def qualities(self, frames: Sequence[int], by: Sequence[int]) -> Array:
        """(by, frames, samples) float32."""
        return np.stack([[self.quality(frame, other) for frame in frames] for other in by])

    def _looked(self, frame: int) -> Look:
        sight = self._source.sight(frame)
        gbuffer, camera = sight.gbuffer(), sight.camera
        to_camera = rigid.inverse(sight.camera_from_world)[:3, 3] - gbuffer.position
        distance = np.maximum(np.linalg.norm(to_camera, axis=-1), 1e-12)
        cosine = np.abs((gbuffer.normal * to_camera).sum(-1)) / distance
        per_area = cosine * camera.fx * camera.fy / np.maximum(gbuffer.depth, 1e-12) ** 2
        is_there = gbuffer.object_id > 0
        density = np.where(is_there, per_area, 1).astype(np.float32)
        facing = np.where(is_there, np.minimum(cosine / GRAZING_COS, 1), 1).astype(np.float32)
        # Edge functions are linear in the pixel, and the middle of a block of pixels is the centre of its middle one.
        per_sample = np.array([THINNING, THINNING, 1.0])
        wh = (_thinned(sight.face).shape[1], _thinned(sight.face).shape[0])
        lens = replace(camera, fx=camera.fx / THINNING, fy=camera.fy / THINNING, cx=camera.cx / THINNING,
                       cy=camera.cy / THINNING, wh=wh)  # fmt: skip
        samples = replace(sight, camera=lens, face=_thinned(sight.face), edges=sight.edges * per_sample,
                          nearness=sight.nearness * per_sample)  # fmt: skip
        return Look(sight, samples, density, facing)


def _thinned(values: Array) -> Array:
    half = THINNING // 2
    return np.ascontiguousarray(values[half::THINNING, half::THINNING])

"""What geometry knows about each frame of a shot, exactly and without a window: the conditions that pictures are made
under."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from geometry import edges
from geometry.flow import Flow, flow
from geometry.render.base import Instance
from geometry.scene import GBuffer
from geometry.shapes import expect_shape
from geometry.sight import Sight, look
from geometry.surface import Topology
from geometry.trajectory import CameraPath

Array = np.ndarray


@dataclass(frozen=True)
class Guides:
    """One frame. Depth, normals, positions, object ids and uv are in ``gbuffer``, at pixel centres."""

    frame: int
    gbuffer: GBuffer
    albedo_id: Array  # (H, W) int32, one number a material, 0 = nothing
    lines: edges.Lines
    soft_edges: Array  # (H, W) float32 in [0, 1]

    def __post_init__(self) -> None:
        expect_shape("albedo_id", self.albedo_id, self.gbuffer.depth.shape)
        expect_shape("soft_edges", self.soft_edges, self.gbuffer.depth.shape)


class GuideSource:
    """Guides and flow of any frames of ``cameras``, on demand; the last ``keep`` frames looked at stay in memory.

    ``instances`` gives what stands where at a frame: always the same vertices and faces, in the same order. Safe to
    use from several threads.
    """

    def __init__(
        self, instances: Callable[[float], Sequence[Instance]], cameras: CameraPath, *, keep: int = 6,
        topology: Topology | None = None,
    ) -> None:
        self.cameras = cameras
        self._instances = instances
        self._topology = Topology.of(instances(cameras.frames[0])) if topology is None else topology
        self.sight: Callable[[int], Sight] = lru_cache(keep)(self._look)

    def scaled(self, wh: tuple[int, int], *, keep: int = 6) -> GuideSource:
        """The same shot on a raster of ``wh`` pixels; sights of both go together in ``flow``."""
        return GuideSource(self._instances, self.cameras.scaled(wh), keep=keep, topology=self._topology)

    def guides(self, frame: int) -> Guides:
        """Raises ``KeyError`` for a frame without a camera."""
        sight = self.sight(frame)
        gbuffer, lines = sight.gbuffer(), edges.lines(sight)
        return Guides(frame, gbuffer, sight.albedo_id(), lines, edges.soft_edges(lines, gbuffer))

    def flow(self, a: int, b: int) -> Flow:
        """``flow_b_from_a`` between any two frames."""
        return flow(self.sight(a), self.sight(b))

    def _look(self, frame: int) -> Sight:
        surface = self._topology.posed(self._instances(frame))
        return look(surface, self.cameras.camera(frame), self.cameras.pose(frame))

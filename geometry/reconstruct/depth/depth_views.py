"""What depth estimation looks at: a clip through its cameras, on the undistorted (pinhole) raster, full and half size.

Pictures and what is made of them are kept for as long as they are likely to be needed again, up to a number of bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import RLock
from typing import Any

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera, LensWarp
from geometry.reconstruct.depth.appearance import Comparison, appearance
from geometry.reconstruct.depth.fill import Filler
from geometry.reconstruct.depth.flow_depth import FlowDepth, dense_flows, fuse_flows
from geometry.reconstruct.depth.pair import Pair, line_of
from geometry.reconstruct.depth.planes import find_planes, plane_q
from geometry.scene import FrameSource, MotionSource, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray


@dataclass(frozen=True)
class ViewSettings:
    sources_per_side: int = 3
    baseline_share: tuple[float, float] = (0.03, 0.15)  # of the median depth, nearest and farthest source
    max_turn_deg: float = 30.0  # between the axes of a frame and its source
    flow_blur_px: float = 1.0  # grain would be followed as if it were texture
    fill_lambda: float = 300.0
    fill_sigma: float = 3.0
    cached_bytes: int = 128 << 20


class DepthViews:
    """One clip's frames and what each of them is compared with. ``motion`` tells what moves by itself.

    Raises ``ValueError`` when the cameras see none of ``points``.
    """

    def __init__(
        self, clip: FrameSource, cameras: CameraPath, points: SparsePoints, motion: MotionSource | None,
        settings: ViewSettings,
    ) -> None:
        self.clip, self.cameras, self.motion, self.settings = clip, cameras, motion, settings
        good = (points.error_px < 1.5) & np.isfinite(points.xyz).all(1)
        self.points = points.xyz[good]
        self._warp_of = lru_cache(maxsize=16)(LensWarp.of)  # a zoom has a lens for every frame
        self._kept = Cache(settings.cached_bytes)
        self.median_depth = self._depth_scale()
        self.planes = find_planes(self.points, self.median_depth)

    # -- geometry of the choice

    def _depth_scale(self) -> float:
        frames = self.cameras.frames[:: max(1, len(self.cameras) // 12)]
        seen = np.concatenate([self.visible(frame)[1] for frame in frames])
        if not len(seen):
            raise ValueError("points: expected some that the cameras see, got none")
        return float(np.median(seen))

    def visible(self, frame: int) -> tuple[Array, Array]:
        """Pixels (K, 2) on the pinhole raster and depths (K,) of the sparse points that ``frame`` could see."""
        camera = self.warp(frame).pinhole
        local = rigid.transform(self.cameras.pose(frame), self.points)
        px = camera.px_from_cam(local)
        inside = (local[:, 2] > 0) & (px >= 0).all(1) & (px < camera.wh).all(1)
        return px[inside], local[inside, 2]

    def q_range(self, frame: int) -> tuple[float, float]:
        """Inverse depths that the sparse points of ``frame`` lie between, with some room."""
        _, depth = self.visible(frame)
        if len(depth) < 20:
            return 0.2 / self.median_depth, 4 / self.median_depth
        near, far = np.percentile(depth, [0.5, 99.5])
        return 0.7 / far, 1.4 / near

    def sources(self, frame: int) -> list[int]:
        """Frames to compare ``frame`` with: both sides in time, baselines spread over the wanted range."""
        index, s = self.cameras.index(frame), self.settings
        centres, axes = self.cameras.centres, self.cameras.view_directions
        _, depths = self.visible(frame)
        scale = float(np.median(depths)) if len(depths) > 20 else self.median_depth
        baseline = np.linalg.norm(centres - centres[index], axis=1) / scale
        overlaps = axes @ axes[index] > np.cos(np.deg2rad(s.max_turn_deg))
        chosen: list[int] = []
        for side in (range(index - 1, -1, -1), range(index + 1, len(centres))):
            usable = [i for i in side if overlaps[i]]
            chosen += _spread_baselines(usable, baseline, s.baseline_share, s.sources_per_side)
        return [self.cameras.frames[i] for i in sorted(chosen)]

    def warp(self, frame: int) -> LensWarp:
        return self._warp_of(self.cameras.camera(frame))

    def half_wh(self, frame: int) -> tuple[int, int]:
        w, h = self.warp(frame).pinhole.wh
        return (w + 1) // 2, (h + 1) // 2

    def _pair(self, frame: int, other: int) -> Pair:
        return Pair.between(self.warp(frame).pinhole, self.cameras.pose(frame),
                            self.warp(other).pinhole, self.cameras.pose(other))

    def half_pair(self, frame: int, other: int) -> Pair:
        return self._kept.get((frame, other), lambda: Pair.of(*self._half_geometry(frame, other)))

    def _half_geometry(self, frame: int, other: int) -> tuple[Camera, Camera, Array]:
        camera, source = (self.warp(n).pinhole.scaled(self.half_wh(n)) for n in (frame, other))
        return camera, source, self.cameras.pose(other) @ rigid.inverse(self.cameras.pose(frame))

    def plane_qs(self, frame: int) -> list[Array]:
        camera = self.warp(frame).pinhole.scaled(self.half_wh(frame))
        return [plane_q(large.plane, camera, self.cameras.pose(frame)) for large in self.planes]

    # -- pictures, kept for as long as they are likely to be needed again

    def picture(self, frame: int) -> Array:
        """(H, W, 3) uint8, undistorted."""
        return self._kept.get(frame, lambda: self._undistorted(frame))

    def _undistorted(self, frame: int) -> Array:
        warp = self.warp(frame)
        picture = self.clip.display(frame, warp.lens.wh)
        # Beyond the lens's picture its edge goes on, so that filters see no black frame.
        return _on_pinhole(picture, warp, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)

    def grey(self, frame: int) -> Array:
        return self._kept.get((frame, "grey"), lambda: cv2.cvtColor(self.picture(frame), cv2.COLOR_RGB2GRAY))

    def _half_grey(self, frame: int) -> Array:
        return self._kept.get((frame, "half"), lambda: cv2.resize(
            self.grey(frame), self.half_wh(frame), interpolation=cv2.INTER_AREA))

    def _blurred(self, frame: int) -> Array:
        return self._kept.get((frame, "blurred"), lambda: cv2.GaussianBlur(
            self.grey(frame), (0, 0), self.settings.flow_blur_px))

    def moving(self, frame: int) -> Array | None:
        """(H, W) bool on the pinhole raster."""
        if self.motion is None:
            return None
        labels = self.motion.read(frame)
        return _on_pinhole(labels, self.warp(frame), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) > 0

    def half_moving(self, frame: int) -> Array | None:
        """Half-size pixels that have anything to do with what moves."""
        moving = self.moving(frame)
        if moving is None:
            return None
        return cv2.resize(moving.astype(np.float32), self.half_wh(frame), interpolation=cv2.INTER_AREA) > 0

    def _half_look(self, frame: int) -> Array:
        return self._kept.get((frame, "look"), lambda: appearance(
            self._half_grey(frame), self.half_moving(frame)))

    def half_comparison(self, frame: int, sources: Sequence[int]) -> Comparison:
        own = self._half_look(frame) if self.motion is None else appearance(self._half_grey(frame))
        return Comparison(self._half_grey(frame), own, tuple(
            tuple((self._half_look(n), self.half_pair(frame, n)) for n in side) for side in _sides(frame, sources)))

    def full_comparison(self, frame: int, sources: Sequence[int]) -> Comparison:
        return Comparison(self.grey(frame), appearance(self.grey(frame)), tuple(
            tuple((appearance(self.grey(n), self.moving(n)), self._pair(frame, n)) for n in side)
            for side in _sides(frame, sources)))

    def filler(self, frame: int) -> Filler:
        px, depth = self.visible(frame)
        small = cv2.resize(self.picture(frame), self.half_wh(frame), interpolation=cv2.INTER_AREA)
        return Filler.of(small, px / 2, 1 / depth, 1 / self.median_depth, self.settings.fill_lambda,
                         self.settings.fill_sigma)

    def flow_depth(self, frame: int, sources: Sequence[int], guess: Array) -> FlowDepth:
        """At half size, from flow between the whole pictures, which is sought around inverse depth ``guess`` too."""
        half, full = self.half_wh(frame), self.warp(frame).pinhole.wh
        grow = np.array([full[0] / half[0], full[1] / half[1]], np.float32)
        expected = [cv2.resize(self.half_pair(frame, n).flow(guess), full) * grow for n in sources]
        flows = dense_flows(self._blurred(frame), [self._blurred(n) for n in sources], expected)
        small = np.stack([cv2.resize(flow, half, interpolation=cv2.INTER_AREA) / grow for flow in flows])
        return fuse_flows(self._half_grey(frame), [line_of(*self._half_geometry(frame, n)) for n in sources], small,
                          [self.half_moving(n) for n in sources], 1 / self.median_depth)


def _sides(frame: int, sources: Sequence[int]) -> list[list[int]]:
    """The sources before ``frame`` in time, and those after it; a side without any is left out."""
    return [side for side in ([n for n in sources if n < frame], [n for n in sources if n > frame]) if side]


def farthest(frame: int, sources: Sequence[int], count: int) -> list[int]:
    """Of the ascending ``sources``, the ``count`` on each side that are farthest from ``frame`` in time."""
    return [n for n in sources if n < frame][:count] + [n for n in sources if n > frame][-count:]


def nearest(frame: int, sources: Sequence[int], count: int) -> list[int]:
    return [n for n in sources if n < frame][-count:] + [n for n in sources if n > frame][:count]


def _on_pinhole(picture: Array, warp: LensWarp, interpolation: int, border: int) -> Array:
    if warp.pinhole.wh == warp.lens.wh:
        return picture
    grid = (warp.lens_px_from_pinhole - 0.5).astype(np.float32)
    return cv2.remap(picture, grid[..., 0], grid[..., 1], interpolation, borderMode=border)


def _spread_baselines(usable: list[int], baseline: Array, wanted: tuple[float, float], count: int) -> list[int]:
    """Up to ``count`` of ``usable`` (nearest in time first), baselines spread geometrically over ``wanted``."""
    chosen: list[int] = []
    for target in np.geomspace(*wanted, count):
        rest = [i for i in usable if i not in chosen]
        if rest:
            chosen.append(min(rest, key=lambda i: (abs(np.log((baseline[i] + 1e-9) / target)), i)))
    return chosen


class Cache:
    """What has ``nbytes``, least recently used first out, up to a number of bytes. Threads may share it: what one of
    them makes the others wait for."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit, self.held = limit_bytes, 0
        self.items: OrderedDict[object, Any] = OrderedDict()
        self._lock = RLock()  # making one thing may need another

    def get(self, key: object, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self.items:
                self._put(key, make())
            self.items.move_to_end(key)
            return self.items[key]

    def _put(self, key: object, value: Any) -> None:
        self.items[key] = value
        self.held += value.nbytes
        while self.held > self.limit and len(self.items) > 1:
            self.held -= self.items.popitem(last=False)[1].nbytes

"""How steady depth is from one frame to the next.

Depth is z (H, W), 0 where unknown, in the truth's units; cameras and poses are the true ones. Both figures look at what
stands still and is seen in both frames, by true depth. Between pixels 1 / z is interpolated: exact on planes.

TAE, temporal alignment error (Chen et al. 2025, Video Depth Anything): a frame's depth is carried into its neighbour by
the cameras and differs from the depth there by so much of it, both ways; true depth has next to none.
OPW (Wang et al. 2022): the difference of depth at one and the same place, found by true motion, in units of length. It
holds what the camera's own way changes, so that true depth has some as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import pixel_centres
from geometry.trajectory import CameraPath

Array = np.ndarray

SAME = 0.02  # relative difference of true depth up to which two pixels show the same place


@dataclass(frozen=True)
class Landing:
    """Where the pixels (H, W) of one frame are in another: x and y in px, and z there, 0 where they are not."""

    x: Array
    y: Array
    z: Array

    @classmethod
    def of(cls, depth: Array, path: CameraPath, frame: int, other: int) -> Landing:
        camera, target = path.camera(frame), path.camera(other)
        points = camera.rays_from_px(pixel_centres(camera.wh)) * depth[..., None]
        there = rigid.transform(path.pose(other) @ rigid.inverse(path.pose(frame)), points)
        before = (depth > 0) & (there[..., 2] > 0)
        px = target.px_from_cam(np.where(before[..., None], there, [0.0, 0.0, 1.0]))
        inside = before & (px >= 0.5).all(-1) & (px <= np.array(target.wh) - 0.5).all(-1)
        return cls(px[..., 0], px[..., 1], np.where(inside, there[..., 2], 0))

    def sample(self, depth: Array) -> Array:
        """The other frame's ``depth`` there, 0 where a pixel around is unknown."""
        x, y = ((v - 0.5).astype(np.float32) for v in (self.x, self.y))
        known = cv2.remap((depth > 0).astype(np.float32), x, y, cv2.INTER_LINEAR) > 0.999
        inverse = np.divide(1, depth, out=np.zeros(depth.shape), where=depth > 0)
        found = cv2.remap(inverse, x, y, cv2.INTER_LINEAR)
        return np.divide(1, found, out=np.zeros(depth.shape), where=known & (found > 0) & (self.z > 0))


@dataclass(frozen=True)
class JudgedDepth:
    """A frame's depth, the true one, and what stands still, (H, W) each."""

    frame: int
    depth: Array
    truth: Array
    still: Array


@dataclass(frozen=True)
class Steadiness:
    """Sums over pixels; those of several steps add up."""

    misaligned: float = 0.0  # relative
    aligned: int = 0
    changed: float = 0.0  # in units of length
    compared: int = 0

    def __add__(self, other: Steadiness) -> Steadiness:
        return Steadiness(self.misaligned + other.misaligned, self.aligned + other.aligned,
                          self.changed + other.changed, self.compared + other.compared)

    @property
    def tae(self) -> float:
        return self.misaligned / self.aligned if self.aligned else float("nan")

    @property
    def opw(self) -> float:
        return self.changed / self.compared if self.compared else float("nan")


def steadiness(a: JudgedDepth, b: JudgedDepth, path: CameraPath) -> Steadiness:
    """Of the step between two frames of the true ``path``, both ways."""
    return _one_way(a, b, path) + _one_way(b, a, path)


def _one_way(a: JudgedDepth, b: JudgedDepth, path: CameraPath) -> Steadiness:
    true = Landing.of(a.truth, path, a.frame, b.frame)
    seen = a.still & (np.abs(true.sample(b.truth) - true.z) < SAME * true.z)
    here = true.sample(b.depth)
    compared = seen & (a.depth > 0) & (here > 0)
    carried = Landing.of(a.depth, path, a.frame, b.frame)
    there = carried.sample(b.depth)
    aligned = seen & (there > 0)
    return Steadiness(
        float((np.abs(carried.z - there)[aligned] / there[aligned]).sum()), int(aligned.sum()),
        float(np.abs(a.depth - here)[compared].sum()), int(compared.sum()),
    )

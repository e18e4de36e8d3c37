"""One reference frame against one source frame, both pinhole, both poses known.

Inverse depth is ``q = 1 / z`` in the reference. A reference pixel x lands in the source at
``x'(q) = pi(A(x) + q b)`` with ``A = K_s R K_r^-1 (x, 1)`` and ``b = K_s t``; so a measured x' gives q by linear least
squares, and what is left over, across the epipolar line, tells how wrong the match (or how mobile the thing) is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera

Array = np.ndarray


def line_of(reference: Camera, source: Camera, source_from_reference: Array) -> tuple[Array, Array]:
    """The matrix (3, 3) of A, and b (3,), float64."""
    matrix = source.k @ source_from_reference[:3, :3] @ np.linalg.inv(reference.k)
    return matrix, source.k @ source_from_reference[:3, 3]


@dataclass(frozen=True)
class Pair:
    """``a`` (H, W, 3) float32 and ``b`` (3,) float32 of the formula above."""

    a: Array
    b: Array

    @classmethod
    def of(cls, reference: Camera, source: Camera, source_from_reference: Array) -> Pair:
        matrix, b = line_of(reference, source, source_from_reference)
        h, w = reference.hw
        x = (np.arange(w) + 0.5)[None, :, None] * matrix[:, 0]
        y = (np.arange(h) + 0.5)[:, None, None] * matrix[:, 1] + matrix[:, 2]
        return cls(x.astype(np.float32) + y.astype(np.float32), b.astype(np.float32))

    @property
    def nbytes(self) -> int:
        return self.a.nbytes

    @classmethod
    def between(cls, camera_r: Camera, pose_r: Array, camera_s: Camera, pose_s: Array) -> Pair:
        """From two ``camera_from_world``."""
        return cls.of(camera_r, camera_s, pose_s @ rigid.inverse(pose_r))

    def source_z(self, q: Array) -> Array:
        """(H, W) z-depth in the source times q: positive where the point is before the camera."""
        return self.a[..., 2] + q * self.b[2]

    def source_px(self, q: Array) -> tuple[Array, Array]:
        """x and y (H, W) in the source; far outside where the point is behind it."""
        z = self.source_z(q)
        inverse = np.float32(1) / np.where(z > 1e-6, z, np.float32(1e-6))
        return (self.a[..., 0] + q * self.b[0]) * inverse, (self.a[..., 1] + q * self.b[1]) * inverse

    def flow(self, q: Array) -> Array:
        """(H, W, 2) float32 flow source_from_reference at ``q``, nowhere longer than the picture is wide."""
        h, w = q.shape
        x, y = self.source_px(q)
        flow = np.dstack([x - (np.arange(w, dtype=np.float32) + np.float32(0.5)),
                          y - (np.arange(h, dtype=np.float32) + np.float32(0.5))[:, None]])
        return np.clip(flow, -w, w)

    def sample(self, image: Array, q: Array, *, interpolation: int = cv2.INTER_LINEAR, border: float = 0.0) -> Array:
        """The source's ``image`` as the reference sees it through ``q``."""
        x, y = self.source_px(q)
        return cv2.remap(image, x - np.float32(0.5), y - np.float32(0.5), interpolation,
                         borderMode=cv2.BORDER_CONSTANT, borderValue=border)

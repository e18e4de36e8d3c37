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


@dataclass(frozen=True)
class Pair:
    """``a`` (H, W, 3) float32 and ``b`` (3,) float32 of the formula above."""

    a: Array
    b: Array

    @classmethod
    def of(cls, reference: Camera, source: Camera, source_from_reference: Array) -> Pair:
        matrix = source.k @ source_from_reference[:3, :3] @ np.linalg.inv(reference.k)
        h, w = reference.hw
        x = (np.arange(w) + 0.5)[None, :, None] * matrix[:, 0]
        y = (np.arange(h) + 0.5)[:, None, None] * matrix[:, 1] + matrix[:, 2]
        return cls((x + y).astype(np.float32), (source.k @ source_from_reference[:3, 3]).astype(np.float32))

    @classmethod
    def between(cls, camera_r: Camera, pose_r: Array, camera_s: Camera, pose_s: Array) -> Pair:
        """From two ``camera_from_world``."""
        return cls.of(camera_r, camera_s, pose_s @ rigid.inverse(pose_r))

    def resized(self, wh: tuple[int, int]) -> Pair:
        """The same pair on both pictures scaled to ``wh`` pixels."""
        h, w = self.a.shape[:2]
        sx, sy = wh[0] / w, wh[1] / h
        # ``a`` is affine in the pixel: its first row and column say all.
        step_x, step_y = self.a[0, 1] - self.a[0, 0], self.a[1, 0] - self.a[0, 0]
        corner = self.a[0, 0] - 0.5 * step_x - 0.5 * step_y
        x = (np.arange(wh[0], dtype=np.float32) + np.float32(0.5))[None, :, None] / np.float32(sx) * step_x
        y = (np.arange(wh[1], dtype=np.float32) + np.float32(0.5))[:, None, None] / np.float32(sy) * step_y
        scale = np.array([sx, sy, 1], np.float32)
        return Pair(((corner + x + y) * scale).astype(np.float32), self.b * scale)

    def source_z(self, q: Array) -> Array:
        """(H, W) z-depth in the source times q: positive where the point is before the camera."""
        return self.a[..., 2] + q * self.b[2]

    def source_px(self, q: Array) -> tuple[Array, Array]:
        """x and y (H, W) in the source; far outside where the point is behind it."""
        z = self.source_z(q)
        inverse = np.float32(1) / np.where(z > 1e-6, z, np.float32(1e-6))
        return (self.a[..., 0] + q * self.b[0]) * inverse, (self.a[..., 1] + q * self.b[1]) * inverse

    def sample(self, image: Array, q: Array, *, interpolation: int = cv2.INTER_LINEAR, border: float = 0.0) -> Array:
        """The source's ``image`` as the reference sees it through ``q``."""
        x, y = self.source_px(q)
        return cv2.remap(image, x - np.float32(0.5), y - np.float32(0.5), interpolation,
                         borderMode=cv2.BORDER_CONSTANT, borderValue=border)

    def triangulate(self, flow: Array) -> Triangulation:
        """``flow`` (H, W, 2) source_from_reference."""
        h, w = flow.shape[:2]
        ux = flow[..., 0] + (np.arange(w, dtype=np.float32) + 0.5)
        uy = flow[..., 1] + (np.arange(h, dtype=np.float32) + 0.5)[:, None]
        dx, dy = self.b[0] - ux * self.b[2], self.b[1] - uy * self.b[2]
        ex, ey = ux * self.a[..., 2] - self.a[..., 0], uy * self.a[..., 2] - self.a[..., 1]
        length2 = dx * dx + dy * dy + np.float32(1e-12)
        q = (dx * ex + dy * ey) / length2
        length = np.sqrt(length2)
        inverse = np.float32(1) / np.maximum(self.source_z(q), np.float32(1e-3))
        across = np.abs(dx * ey - dy * ex) / length * inverse
        return Triangulation(q, across, length * inverse, dx / length, dy / length)


@dataclass(frozen=True)
class Triangulation:
    """Per pixel (H, W): inverse depth, residual across the epipolar line in px, px per unit of q, line direction."""

    q: Array
    across_px: Array
    px_per_q: Array
    direction_x: Array
    direction_y: Array

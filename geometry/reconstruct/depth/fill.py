"""Depth where nothing tells it: spread along the picture's regions, edge-aware and planar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray

FAR_GAIN = 3  # power of the distance by which what is farther counts more
ENOUGH_KNOWN = 0.02  # weight around, on which a guess is half as good as it can be


@dataclass(frozen=True)
class Filler:
    """Spreads inverse depth over one picture; build it once per picture."""

    smooth: Callable[[Array], Array]
    points_px: Array  # (K, 2) where the depth of sparse points is known
    points_q: Array  # (K,)
    bounds: tuple[float, float]
    typical_q: float

    @classmethod
    def of(cls, picture: Array, points_px: Array, points_q: Array, typical_q: float, strength: float,
           sigma: float) -> Filler:
        """``picture`` (H, W, 3) uint8; ``typical_q`` bounds the result where no point does."""
        # Grain would wall every pixel in, and a wide tolerance for it would leak over real edges: it is taken out.
        guide = cv2.bilateralFilter(picture, 5, 30, 2)
        smooth = cv2.ximgproc.createFastGlobalSmootherFilter(guide, strength, sigma)
        known = points_q if len(points_q) else np.array([typical_q])
        return cls(smooth.filter, points_px, points_q, (0.3 * float(known.min()), 3 * float(known.max())),
                   float(np.median(known)))

    def fill(self, q: Array, weight: Array) -> Array:
        """``q`` (H, W) spread from where ``weight`` is, and from the sparse points."""
        weight = weight.astype(np.float32) * self._behind(q) + np.float32(1e-6)
        total = weight * q
        column, row = self.points_px[:, 0].astype(int), self.points_px[:, 1].astype(int)
        of_points = np.float32(0.5) * self._behind(self.points_q)
        total[row, column] += of_points * self.points_q.astype(np.float32)
        weight[row, column] += of_points
        return np.clip(fill_planar(self.smooth, total / weight, weight), *self.bounds).astype(np.float32)

    def _behind(self, q: Array) -> Array:
        """Weight by distance, float32. What borders on a blank region is the region itself or stands before it: the
        farther it is, the likelier it goes on."""
        return np.clip(q / self.typical_q, 0.2, 5).astype(np.float32) ** np.float32(-FAR_GAIN)

    def known(self, weight: Array) -> Array:
        """In [0, 1]: how much of ``weight`` (H, W) there is around in the picture's region."""
        around = self.smooth(weight.astype(np.float32))
        return np.clip(around / (around + np.float32(ENOUGH_KNOWN)), 0, 1)


def fill_planar(smooth: Callable[[Array], Array], q: Array, weight: Array) -> Array:
    """``q`` (H, W) fitted around every pixel by a plane, over the support of the edge-aware filter ``smooth``.

    The inverse depth of a plane is linear in the pixel, so a first-order fit goes on where floors and walls go on;
    a second, reweighted fit forgets what does not belong to the plane.
    """
    h, w = q.shape
    x = np.broadcast_to(np.linspace(-1, 1, w, dtype=np.float32), (h, w))
    y = np.broadcast_to(np.linspace(-h / w, h / w, h, dtype=np.float32)[:, None], (h, w))
    ridge = np.float32((8 / w) ** 2)
    fit = q
    for robust in (False, True):
        part = weight / (1 + ((q - fit) / (0.03 * np.maximum(fit, 1e-12))) ** 2) if robust else weight
        part = (part + 1e-9).astype(np.float32)
        total = np.maximum(smooth(part), 1e-12)
        mx, my, mq = (smooth(part * v) / total for v in (x, y, q))
        xx, xy, yy = (smooth(part * v) / total for v in (x * x, x * y, y * y))
        xq, yq = (smooth(part * v) / total for v in (x * q, y * q))
        xx, yy, xy = np.maximum(xx - mx * mx, 0) + ridge, np.maximum(yy - my * my, 0) + ridge, xy - mx * my
        xq, yq = xq - mx * mq, yq - my * mq
        determinant = np.maximum(xx * yy - xy * xy, ridge * ridge)
        slope_x, slope_y = (yy * xq - xy * yq) / determinant, (xx * yq - xy * xq) / determinant
        # Little farther out than the support: a slope is known only there.
        dx, dy = (np.clip(v, -1.5 * np.sqrt(s), 1.5 * np.sqrt(s)) for v, s in ((x - mx, xx), (y - my, yy)))
        fit = np.clip(mq + slope_x * dx + slope_y * dy, 0.75 * mq, 1.35 * mq)
    return fit

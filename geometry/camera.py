"""One frame's lens: pinhole plus Brown-Conrady distortion.

Pixels: the first pixel's centre is (0.5, 0.5), so ``cx`` and ``cy`` count from the picture's corner. Axes: OpenCV
(x right, y down, z forward). Distortion coefficients are in OpenCV's order (k1, k2, p1, p2, k3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Float, Num, Shaped

Array = np.ndarray
NO_DISTORTION = (0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels for a raster of ``wh`` pixels.

    Raises ``ValueError`` for a focal length or a raster that is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    wh: tuple[int, int]
    distortion: tuple[float, ...] = NO_DISTORTION

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0):
            raise ValueError(f"focal length: expected > 0 px, got ({self.fx}, {self.fy})")
        if min(self.wh) < 1:
            raise ValueError(f"wh: expected positive, got {self.wh}")
        if len(self.distortion) != 5:
            raise ValueError(f"distortion: expected 5 coefficients, got {len(self.distortion)}")

    @property
    def hw(self) -> tuple[int, int]:
        return self.wh[1], self.wh[0]

    @property
    def k(self) -> Float[Array, "3 3"]:
        """(3, 3) matrix of the pinhole part."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])

    @property
    def is_pinhole(self) -> bool:
        return not any(self.distortion)

    def pinhole(self) -> Camera:
        """The same camera without its distortion."""
        return replace(self, distortion=NO_DISTORTION)

    def scaled(self, wh: tuple[int, int]) -> Camera:
        """The same lens on a raster of ``wh`` pixels (distortion does not depend on the raster)."""
        sx, sy = wh[0] / self.wh[0], wh[1] / self.wh[1]
        return Camera(self.fx * sx, self.fy * sy, self.cx * sx, self.cy * sy, wh, self.distortion)

    def overscanned(self, margin_px: int) -> Camera:
        """The same camera on a raster that is ``margin_px`` larger on every side."""
        wh = (self.wh[0] + 2 * margin_px, self.wh[1] + 2 * margin_px)
        return replace(self, cx=self.cx + margin_px, cy=self.cy + margin_px, wh=wh)

    def px_from_cam(self, points: Num[Array, "*batch 3"]) -> Float[Array, "*batch 2"]:
        """Project (..., 3) camera points to (..., 2) pixels. Points with z <= 0 give nan."""
        points = np.asarray(points, np.float64)
        z = points[..., 2:]
        with np.errstate(divide="ignore", invalid="ignore"):
            xy = np.where(z > 0, points[..., :2] / z, np.nan)
        return self.px_from_normalized(xy)

    def px_from_normalized(self, xy: Num[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
        """Distort (..., 2) coordinates on the plane z = 1 and scale to pixels (Brown 1966; OpenCV's model)."""
        k1, k2, p1, p2, k3 = self.distortion
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        return np.stack([self.fx * xd + self.cx, self.fy * yd + self.cy], -1)

    def normalized_from_px(self, px: Num[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
        """Undistort (..., 2) pixels to the plane z = 1."""
        px = np.asarray(px, np.float64)
        xy = (px - (self.cx, self.cy)) / (self.fx, self.fy)
        if self.is_pinhole:
            return xy
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-12)
        flat = cv2.undistortPoints(
            xy.reshape(-1, 1, 2), np.eye(3), np.array(self.distortion), R=np.eye(3), P=np.eye(3), criteria=criteria
        )
        return flat.reshape(xy.shape)

    def rays_from_px(self, px: Num[Array, "*batch 2"]) -> Float[Array, "*batch 3"]:
        """(..., 3) camera-space directions with z = 1: a ray times a z-depth is a point."""
        xy = self.normalized_from_px(px)
        return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)


def pixel_centres(wh: tuple[int, int]) -> Float[Array, "h w 2"]:
    """(H, W, 2) pixel centres (x, y)."""
    x, y = np.meshgrid(np.arange(wh[0]) + 0.5, np.arange(wh[1]) + 0.5)
    return np.stack([x, y], -1)


@lru_cache(maxsize=4)
def pixel_rays(camera: Camera) -> Float[Array, "h w 3"]:
    """(H, W, 3) ``rays_from_px`` of all pixel centres, read-only: most shots ask with one lens again and again."""
    rays = camera.rays_from_px(pixel_centres(camera.wh))
    rays.flags.writeable = False
    return rays


def resample(
    image: Num[Array, "h w ..."], source_px: Float[Array, "h2 w2 2"], *, interpolation: int = cv2.INTER_LINEAR,
    border: float = 0.0,
) -> Num[Array, "h2 w2 ..."]:
    """Sample (H, W[, C]) ``image`` at (H2, W2, 2) pixel positions; OpenCV counts them 0.5 less."""
    grid = (source_px - 0.5).astype(np.float32)
    x, y = grid[..., 0], grid[..., 1]
    return cv2.remap(image, x, y, interpolation, borderMode=cv2.BORDER_CONSTANT, borderValue=border)


@dataclass(frozen=True)
class LensWarp:
    """Moves pictures between a lens's own raster and an overscanned pinhole raster that covers it.

    ``pinhole`` shares the lens's focal lengths, and covers every pixel of ``lens``.
    """

    lens: Camera
    pinhole: Camera
    pinhole_px_from_lens: Float[Array, "h w 2"]  # where each lens pixel lies in the pinhole raster
    lens_px_from_pinhole: Float[Array, "h2 w2 2"]  # where each pinhole pixel lies in the lens raster

    @classmethod
    def of(cls, lens: Camera, margin_px: int = 0) -> LensWarp:
        """``margin_px`` of extra border, for filters that need neighbours."""
        normalized = lens.normalized_from_px(pixel_centres(lens.wh))
        px = lens.pinhole().px_from_normalized(normalized)
        w, h = lens.wh
        over = max(-px[..., 0].min(), px[..., 0].max() - w, -px[..., 1].min(), px[..., 1].max() - h, 0.0)
        margin = margin_px + (0 if lens.is_pinhole else int(np.ceil(over)) + 1)
        pinhole = lens.pinhole().overscanned(margin)
        back = lens.px_from_normalized(pinhole.normalized_from_px(pixel_centres(pinhole.wh)))
        return cls(lens, pinhole, px + margin, back)

    def distort(
        self, image: Shaped[Array, "h2 w2 ..."], *, interpolation: int = cv2.INTER_LINEAR
    ) -> Shaped[Array, "h w ..."]:
        """A picture of the pinhole raster as the lens sees it; exact copy when there is nothing to warp."""
        if self.lens.is_pinhole:
            margin = (self.pinhole.wh[0] - self.lens.wh[0]) // 2
            return image[margin : margin + self.lens.wh[1], margin : margin + self.lens.wh[0]]
        return resample(image, self.pinhole_px_from_lens, interpolation=interpolation)

    def undistort(
        self, image: Num[Array, "h w ..."], *, interpolation: int = cv2.INTER_LINEAR
    ) -> Num[Array, "h2 w2 ..."]:
        """A picture of the lens raster on the pinhole raster; 0 where the lens saw nothing."""
        return resample(image, self.lens_px_from_pinhole, interpolation=interpolation)

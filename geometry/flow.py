"""Exact flow between any two times: where the surface point that a pixel shows lies in another picture.

A pixel of a shows a face at three barycentric weights; the same face and weights, on the surface as it is posed at b,
are the same point of the object. Nothing is estimated, so rigid, skinned and morphing objects are alike. Sky (no
face) lies infinitely far away and moves with the camera's rotation and lens only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geometry.camera import pixel_centres
from geometry.shapes import expect_shape
from geometry.sight import Sight
from geometry.sight_kernels import carried

Array = np.ndarray


@dataclass(frozen=True)
class Flow:
    """``dx_dy`` (H, W, 2) float32: the pixel of a at x lies at x + dx_dy in b; 0 behind b's camera. ``visible`` (H,
    W) bool: it lies inside b's picture and nothing hides it there."""

    dx_dy: Array
    visible: Array

    def __post_init__(self) -> None:
        expect_shape("dx_dy", self.dx_dy, (*self.visible.shape, 2))

    @property
    def target_px(self) -> Array:
        """(H, W, 2) float64: where each pixel centre lies in b."""
        h, w = self.visible.shape
        return pixel_centres((w, h)) + self.dx_dy


def flow(a: Sight, b: Sight, wanted: Array | None = None) -> Flow:
    """``flow_b_from_a``; 0 and not visible outside ``wanted`` (H, W) bool.

    Raises ``ValueError`` for sights of different scenes.
    """
    if a.surface.topology is not b.surface.topology:
        raise ValueError("b: expected a sight of the same scene's topology as a")
    homography = b.camera.k @ b.camera_from_world[:3, :3] @ a.camera_from_world[:3, :3].T @ np.linalg.inv(a.camera.k)
    intrinsics = (b.camera.fx, b.camera.fy, b.camera.cx, b.camera.cy)
    wanted = np.ones(a.face.shape, np.bool_) if wanted is None else wanted
    return Flow(*carried(a.face, a.edges, b.face, b.edges, b.nearness, b.corners, intrinsics, homography, wanted))

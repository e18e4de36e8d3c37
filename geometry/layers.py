"""A picture taken apart by depth: layers that a moving camera sees beside one another.

All layers lie on one canvas, the raster of the stack's camera, which may be larger than the picture they were cut from
(outpainted). A layer's own raster is a rectangle of that canvas, or reaches beyond it. Pixels count from the corner;
depth is z-depth along the optical axis in scene units, as everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from geometry.camera import Camera
from geometry.scene import FrameSource
from geometry.shapes import expect_shape

Array = np.ndarray
Encoding = Literal["srgb", "linear"]


@dataclass(frozen=True)
class Layer:
    """``colour`` (h, w, 3) straight, not premultiplied: uint8 or uint16 code values, or float32; ``alpha`` (h, w) of
    the same dtype; ``depth`` (h, w) float32 > 0 everywhere, also where the layer is clear, so that edges can be
    filtered (a plane facing the camera may be one number broadcast to the raster).

    ``xy`` is where the layer's first pixel lies on the canvas. ``motion`` (h, w, 2) float32 px a frame moves its colour
    for ever (water, cloud), 0 = still. ``video`` holds the colour of each frame instead, on the layer's raster.
    Raises ``ValueError`` for shapes, dtypes or depths that do not fit.
    """

    name: str
    colour: Array
    alpha: Array
    depth: Array
    xy: tuple[int, int] = (0, 0)
    motion: Array | None = None
    video: FrameSource | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        expect_shape("colour", self.colour, (None, None, 3))
        expect_shape("alpha", self.alpha, self.hw)
        expect_shape("depth", self.depth, self.hw)
        if self.motion is not None:
            expect_shape("motion", self.motion, (*self.hw, 2))
        if self.colour.dtype not in (np.uint8, np.uint16, np.float32):
            raise ValueError(f"colour: expected uint8, uint16 or float32, got {self.colour.dtype}")
        if self.alpha.dtype != self.colour.dtype:
            raise ValueError(f"alpha: expected {self.colour.dtype} as colour has, got {self.alpha.dtype}")
        if not (np.isfinite(self.depth).all() and (self.depth > 0).all()):
            raise ValueError(f"depth of layer {self.name!r}: expected finite numbers > 0 everywhere")
        if self.video is not None and tuple(self.video.hw) != self.hw:
            raise ValueError(f"video: expected frames of (H, W) = {self.hw}, got {tuple(self.video.hw)}")

    @property
    def hw(self) -> tuple[int, int]:
        return self.colour.shape[0], self.colour.shape[1]

    @property
    def white(self) -> float:
        """The code value of 1.0."""
        return 1.0 if self.colour.dtype == np.float32 else float(np.iinfo(self.colour.dtype).max)

    @property
    def median_depth(self) -> float:
        """Of what is not clear; of everything where all is."""
        seen = self.depth[self.alpha > 0]
        return float(np.median(seen if seen.size else self.depth))


@dataclass(frozen=True)
class LayerStack:
    """``layers`` from the farthest to the nearest, as they are laid over one another; ``camera`` sees the canvas.

    ``picture`` (x0, y0, x1, y1) is the part of the canvas that was the source; all around it was outpainted.
    ``encoding`` says in which code values layers are laid over one another (painters work in sRGB, EXR is linear).
    ``is_metric``: scene units are metres. Raises ``ValueError`` for no layers, names that repeat, or a picture off the
    canvas.
    """

    layers: tuple[Layer, ...]
    camera: Camera
    picture: tuple[int, int, int, int]
    encoding: Encoding = "srgb"
    is_metric: bool = False

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("layers: expected at least one, got none")
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise ValueError(f"layers: expected names that differ, got {names}")
        x0, y0, x1, y1 = self.picture
        width, height = self.camera.wh
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise ValueError(f"picture: expected a rectangle inside {width}x{height} px, got {self.picture}")

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    @property
    def picture_camera(self) -> Camera:
        """The lens that saw the source picture: the canvas's, cut to it."""
        x0, y0, x1, y1 = self.picture
        c = self.camera
        return Camera(c.fx, c.fy, c.cx - x0, c.cy - y0, (x1 - x0, y1 - y0), c.distortion)

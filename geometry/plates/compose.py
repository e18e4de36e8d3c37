"""Layers seen by a moving camera: the renderer, arrays only, no window and no GL.

Each layer is a plane or a cut mesh (``mesh``), drawn at every pixel of the output by asking which of its texels is seen
there (``kernels``), so that texels are filtered once and a camera that stands still gives the source back to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.layers import Layer, LayerStack
from geometry.plates import kernels, lens, paint_kernels
from geometry.plates.fluid import PERIOD, Flowing
from geometry.plates.lens import Focus, View
from geometry.plates.mesh import Surface
from geometry.plates.texture import Sides, Texture
from geometry.plates.underlay import underlay
from geometry.shapes import expect_shape

Array = np.ndarray
UNCOVERED = 1 - 0.5 / 255  # a pixel with less alpha shows that something is missing
STRIP_PX = 2**22  # of a mesh, drawn at once
TURNED = 1e-12  # of a homography's mixed terms: less is no turn
NOWHERE = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class Composed:
    """One frame in the stack's encoding. ``colour`` is premultiplied by ``alpha``; ``depth`` is that of the nearest
    layer that makes up half a pixel, 0 = none; ``uncovered``: the layers leave the pixel clear, wholly or in part."""

    colour: Array  # (H, W, 3) float32
    alpha: Array  # (H, W) float32
    depth: Array  # (H, W) float32
    uncovered: Array  # (H, W) bool

    def __post_init__(self) -> None:
        h, w = self.alpha.shape
        expect_shape("colour", self.colour, (h, w, 3))
        expect_shape("depth", self.depth, (h, w))
        expect_shape("uncovered", self.uncovered, (h, w))


class Composer:
    """Draws a stack for cameras of (H, W) = ``hw`` pixels, and ``overscan`` more: 0.1 makes it a tenth larger.

    ``period``: frames after which what flows is back where it was. Raises ``ValueError`` for a stack's lens with
    distortion, overscan outside [0, 0.5], or a raster without pixels.
    """

    def __init__(
        self, stack: LayerStack, hw: tuple[int, int], *, overscan: float = 0.0, period: int = PERIOD
    ) -> None:
        if not stack.camera.is_pinhole:
            raise ValueError("stack camera: expected no lens distortion; undistort the picture first")
        if not 0 <= overscan <= 0.5:
            raise ValueError(f"overscan: expected 0 to 0.5, got {overscan}")
        if min(hw) < 1:
            raise ValueError(f"hw: expected at least 1x1 px, got {hw}")
        self.stack = stack
        self._wh = hw[1], hw[0]
        self._margin = tuple(round(0.5 * overscan * side) for side in self._wh)
        self._near_to_far: list[_Card] = []
        for layer in reversed(stack.layers):
            if layer.alpha.any():
                self._near_to_far += _cards(layer, stack.camera, period)

    @property
    def hw(self) -> tuple[int, int]:
        """Of what it draws, overscan included."""
        return self._wh[1] + 2 * self._margin[1], self._wh[0] + 2 * self._margin[0]

    def lens(self, camera: Camera) -> Camera:
        """A camera of the picture, with the overscan round it. Raises ``ValueError`` for another raster, or
        distortion."""
        if camera.wh != self._wh:
            raise ValueError(f"camera: expected a raster of {self._wh[0]}x{self._wh[1]} px, got {camera.wh}")
        if not camera.is_pinhole:
            raise ValueError("camera: expected no lens distortion")
        x, y = self._margin
        return replace(camera, cx=camera.cx + x, cy=camera.cy + y, wh=self.hw[::-1])

    def frame(
        self, camera: Camera, camera_from_world: Array, *, time: float = 0.0, focus: Focus | None = None,
        shutter: Sequence[View] | None = None,
    ) -> Composed:
        """What ``camera`` (a raster of ``hw``) sees from ``camera_from_world`` (4, 4); the source view is the identity.

        ``focus`` blurs what is out of it; ``shutter``, from ``lens.shutter_views``, takes the place of the one moment
        ``time`` (in frames) for everything but depth. Raises ``ValueError`` as ``lens`` does.
        """
        one = self._seen(View(camera, camera_from_world, time), focus)
        if not shutter:
            return one
        total, uncovered = np.zeros((*self.hw, 4), np.float32), np.zeros(self.hw, bool)
        for view in shutter:
            seen = self._seen(view, focus)
            total += lens.light(np.dstack([seen.colour, seen.alpha]), self.stack.encoding)
            uncovered |= seen.uncovered
        mean = lens.code(total / np.float32(len(shutter)), self.stack.encoding)
        return Composed(mean[..., :3], mean[..., 3], one.depth, uncovered)

    def shares(self, camera: Camera, camera_from_world: Array, *, time: float = 0.0) -> Array:
        """(N, H, W) float32: how much each of the stack's layers makes up of every pixel; what lacks to 1 is clear."""
        geometry = self._geometry(self.lens(camera), View(camera, camera_from_world, time))
        drawing, numbers = _Drawing.blank(self.hw), {layer.name: k for k, layer in enumerate(self.stack)}
        out = np.zeros((len(numbers), *self.hw), np.float32)
        for card in self._near_to_far:
            before = drawing.alpha.copy()
            drawing.add(card, card.texture(time), geometry)
            out[numbers[card.layer.name]] += drawing.alpha - before
        return out

    def _seen(self, view: View, focus: Focus | None) -> Composed:
        camera = self.lens(view.camera)
        if focus is None:
            drawing = _Drawing.blank(self.hw)
            for card in self._near_to_far:
                drawing.add(card, card.texture(view.time), self._geometry(camera, view))
            return drawing.composed()
        return self._focused(camera, view, focus)

    def _geometry(self, camera: Camera, view: View) -> _Geometry:
        return _Geometry.of(self.stack.camera, camera, view.camera_from_world)

    def _focused(self, camera: Camera, view: View, focus: Focus) -> Composed:
        """Layers blurred one by one, drawn with room for what blurs into the picture from beside it."""
        margin = int(np.ceil(focus.largest_px)) + 1
        wide = camera.overscanned(margin)
        geometry = self._geometry(wide, view)
        sharp = _Drawing.blank(wide.hw)
        colour, alpha = np.zeros((*wide.hw, 3), np.float32), np.zeros(wide.hw, np.float32)
        for card in self._near_to_far:
            texture = card.texture(view.time)
            sharp.add(card, texture, geometry)
            alone = _Drawing.blank(wide.hw)
            alone.add(card, texture, geometry)
            rgba = lens.light(np.dstack([alone.colour, alone.alpha]), self.stack.encoding)
            near = np.concatenate([strip.nearness(wide.wh[0]) for strip in card.seen(geometry, wide.hw)])
            radius = focus.radius_px(lens.extended(near, alone.alpha > 0), camera.fx)
            rgba = lens.code(lens.blurred(rgba, radius), self.stack.encoding)
            rest = (1 - alpha)[..., None]
            colour += rest * rgba[..., :3]
            alpha += rest[..., 0] * rgba[..., 3]
        inner = slice(margin, -margin), slice(margin, -margin)
        whole = sharp.composed()
        return Composed(colour[inner], alpha[inner], whole.depth[inner], whole.uncovered[inner])


@dataclass(frozen=True)
class _Geometry:
    """What binds the places of an output and of the canvas: see ``kernels``."""

    back: Array  # (3, 3)
    ahead: Array  # (3, 3), its inverse
    baseline: Array  # (3,)
    epipole: Array  # (3,)

    @classmethod
    def of(cls, canvas: Camera, camera: Camera, camera_from_world: Array) -> _Geometry:
        rotation = camera_from_world[:3, :3]
        back = canvas.k @ rotation.T @ np.linalg.inv(camera.k)
        baseline = camera.k @ camera_from_world[:3, 3]
        return cls(back, camera.k @ rotation @ np.linalg.inv(canvas.k), baseline, back @ baseline)

    def plane(self, on_canvas: Array) -> Array:
        """(3,) nearness in the output of a plane; nothing where it is seen from behind."""
        facing = 1 + on_canvas @ self.epipole
        return (on_canvas @ self.back) / facing if facing > kernels.TINY else np.zeros(3)


    def facing(self, card: _Card) -> _Facing | None:
        """How a layer is scaled and shifted; None where it is more than that, or is not seen at all."""
        back, plane = self.back, card.surface.plane
        off = back[(0, 1, 2, 2), (1, 0, 0, 1)]
        if plane is None or plane[:2].any() or np.abs(off).max() > TURNED or back[0, 0] <= 0 or back[1, 1] <= 0:
            return None
        near = float(self.plane(plane)[2])
        qz = float(back[2, 2] - near * self.epipole[2])
        if near <= 0 or qz <= 0:
            return None
        middle = (back[:2, 2] - near * self.epipole[:2]) / qz - card.layer.xy
        footprint = abs(float(np.linalg.det(back)) * (1 - near * float(self.baseline[2]))) / qz**3
        across, down = (float(back[0, 0] / qz), float(middle[0])), (float(back[1, 1] / qz), float(middle[1]))
        return _Facing(near, across, down, footprint)


@dataclass(frozen=True)
class _Facing:
    """A layer that is scaled and shifted: see ``paint_kernels.facing_laid_under``."""

    near: float
    across: tuple[float, float]
    down: tuple[float, float]
    footprint: float  # texels of a pixel

    def level(self, levels: int) -> float:
        """Of the texture's pyramid, which has so many."""
        if self.footprint <= 2 ** (2 * paint_kernels.SHARPER):
            return 0.0
        return min(0.5 * float(np.log2(self.footprint)) - paint_kernels.SHARPER, levels - 1.0)


@dataclass(frozen=True)
class _Card:
    """A layer ready to be drawn: cut to what is not clear, with its surface."""

    layer: Layer
    surface: Surface
    edges: Sides  # at which its raster ends only because the canvas does
    still: Texture | None
    flowing: Flowing | None

    @classmethod
    def of(cls, layer: Layer, canvas: Camera, period: int) -> _Card:
        layer = layer if layer.video is not None else _trimmed(layer)
        (h, w), (x, y) = layer.hw, layer.xy
        edges = int(x <= 0), int(y <= 0), int(x + w >= canvas.wh[0]), int(y + h >= canvas.wh[1])
        flowing = None
        if layer.video is None and layer.motion is not None and layer.motion.any():
            flowing = Flowing.of(layer, period)
        is_still = layer.video is None and flowing is None
        still = Texture.of(layer, layer.colour, edges) if is_still else None
        return cls(layer, Surface.of(layer, canvas.fx), edges, still, flowing)

    def texture(self, time: float) -> Texture:
        if self.still is not None:
            return self.still
        video = self.layer.video
        if video is not None:
            colour = video.read(video.numbers[int(time) % len(video.numbers)])
        else:
            assert self.flowing is not None
            colour = self.flowing.frame(time)
        return Texture.of(self.layer, colour, self.edges)

    @property
    def inside(self) -> tuple[float, float, float, float]:
        """From its first texel: a texel more where it may fade into what is clear."""
        h, w = self.layer.hw
        left, top, right, bottom = (0.0 if edge else 1.0 for edge in self.edges)
        return -left, -top, w + right, h + bottom


    def seen(self, geometry: _Geometry, hw: tuple[int, int]) -> Iterator[_Strip]:
        """Its surface in an output of ``hw``: whole for a plane, else a strip at a time, for the sake of memory."""
        if self.surface.plane is not None:
            yield _Strip(0, hw[0], geometry.plane(self.surface.plane), NOWHERE, NOWHERE)
            return
        where, xy = self.surface.where, self.layer.xy
        places, planes, rows = kernels.faces(
            where, self.surface.corners, xy, geometry.ahead, geometry.baseline, geometry.back, geometry.epipole, hw
        )
        step = max(STRIP_PX // hw[1], kernels.BAND)
        for top in range(0, hw[0], step):
            height = min(step, hw[0] - top)
            near, cover = kernels.drawn(
                where, places, planes, rows, xy, geometry.back, geometry.epipole, top, (height, hw[1])
            )
            yield _Strip(top, height, np.zeros(3), near, cover)


@dataclass(frozen=True)
class _Strip:
    """``rows`` rows of an output from ``top`` on: nearness (x, y, 1) @ ``plane``, or ``near`` where that is not empty,
    and how far the surface covers each pixel."""

    top: int
    rows: int
    plane: Array
    near: Array
    cover: Array

    def nearness(self, width: int) -> Array:
        """(rows, width) float32."""
        if self.near.size:
            return self.near
        x, y = np.arange(width) + 0.5, self.top + np.arange(self.rows) + 0.5
        near = self.plane[0] * x + (self.plane[1] * y + self.plane[2])[:, None]
        return np.maximum(near, 0).astype(np.float32)


def _cards(layer: Layer, canvas: Camera, period: int) -> list[_Card]:
    """A layer, and what lies behind its cuts."""
    card = _Card.of(layer, canvas, period)
    strip = underlay(card.layer) if card.surface.plane is None and layer.video is None else None
    return [card] if strip is None or not strip.alpha.any() else [card, _Card.of(strip, canvas, period)]


def _trimmed(layer: Layer) -> Layer:
    """The part of a layer that is not clear; loops are compiled for arrays without gaps."""
    x, y, w, h = cv2.boundingRect((layer.alpha > 0).astype(np.uint8))
    part = slice(y, y + h), slice(x, x + w)
    colour, alpha = np.ascontiguousarray(layer.colour[part]), np.ascontiguousarray(layer.alpha[part])
    motion = None if layer.motion is None else np.ascontiguousarray(layer.motion[part])
    xy = layer.xy[0] + x, layer.xy[1] + y
    return replace(layer, colour=colour, alpha=alpha, depth=layer.depth[part], motion=motion, xy=xy)


@dataclass(frozen=True)
class _Drawing:
    """Layers laid under one another so far, the nearest first."""

    colour: Array
    alpha: Array
    depth: Array

    @classmethod
    def blank(cls, hw: tuple[int, int]) -> _Drawing:
        return cls(np.zeros((*hw, 3), np.float32), np.zeros(hw, np.float32), np.zeros(hw, np.float32))

    def composed(self) -> Composed:
        return Composed(self.colour, self.alpha, self.depth, self.alpha < UNCOVERED)

    def add(self, card: _Card, texture: Texture, geometry: _Geometry) -> None:
        """Lay a layer under the others."""
        facing = geometry.facing(card)
        if facing is not None:
            paint_kernels.facing_laid_under(
                self.colour, self.alpha, self.depth, facing.near, facing.across, facing.down,
                facing.level(len(texture.levels)), texture.texels, texture.levels, texture.holds, texture.full,
                card.inside,
            )  # fmt: skip
            return
        for strip in card.seen(geometry, self.alpha.shape):
            paint_kernels.laid_under(
                self.colour, self.alpha, self.depth, strip.top, strip.rows, strip.near, strip.cover, strip.plane,
                geometry.back, geometry.epipole, geometry.baseline, float(np.linalg.det(geometry.back)),
                texture.texels, texture.levels, texture.holds, texture.full, card.layer.xy, card.inside,
            )  # fmt: skip

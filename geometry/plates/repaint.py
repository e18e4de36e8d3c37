"""Long, large moves: what they uncover is painted behind the layers, at key cameras (as Make-It-4D: Shen et al. 2023).

A key is the frame of a path that sees most of what no layer covers. Every uncovered pixel there is given to the layer
that its surroundings point to (a membrane over what each layer shows); the layer's raster grows to where that pixel
lies on its surface, and is filled from its own texture. Paint belongs to layers, so it holds still between keys; and a
layer is painted only beyond the canvas, or where nearer ones hide it, so that the source view stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.exemplar.picture import membrane
from geometry.layers import Layer, LayerStack
from geometry.plates.behind import filled_band
from geometry.plates.code_values import codes, from_codes
from geometry.plates.compose import Composer
from geometry.plates.outpaint import Painter, continued_around
from geometry.plates.safe_box import uncovered_counts
from geometry.trajectory import CameraPath

Array = np.ndarray
MOST_KEYS = 8
ROOM = 1.0  # sides of the canvas: how far beyond it a layer may grow
COARSE = 8  # px: how finely is asked where it has to
SEAM_PX = 2  # round what is uncovered, so that paint meets paint
HIDDEN = 0.002  # of a texel that shows through what is nearer: none
POINTED = 0.05  # less of a share in the rim is none
REACH_SHARE = 0.08  # of the canvas's longer side: how far round it texture is taken from


@dataclass(frozen=True)
class Repainted:
    """``keys``: frame numbers, in the order in which they were painted; ``left``: frames that still see too far."""

    stack: LayerStack
    keys: tuple[int, ...]
    left: tuple[int, ...]


def repainted(stack: LayerStack, path: CameraPath, painter: Painter | None = None) -> Repainted:
    """``path`` in the source camera's world. Layers with a video stay as they are. ``painter`` makes the colours in
    place of copied texture."""
    keys: list[int] = []
    while True:
        counts = uncovered_counts(stack, path)
        left = tuple(frame for frame, count in zip(path.frames, counts, strict=True) if count)
        open_frames = [(count, -frame) for frame, count in zip(path.frames, counts, strict=True)
                       if count and frame not in keys]  # fmt: skip
        if not open_frames or len(keys) == MOST_KEYS:
            return Repainted(stack, tuple(keys), left)
        key = -max(open_frames)[1]
        keys.append(key)
        stack = _painted_at(stack, path.camera(key), path.pose(key), painter)


def _painted_at(stack: LayerStack, camera: Camera, pose: Array, painter: Painter | None) -> LayerStack:
    composer = Composer(stack, camera.hw)
    shares = composer.shares(camera, pose)
    clear = shares.sum(0) < 1 - HIDDEN
    if not clear.any():
        return stack
    hole = cv2.dilate(clear.astype(np.uint8), np.ones((2 * SEAM_PX + 1, 2 * SEAM_PX + 1), np.uint8)) > 0
    view = _View(stack, camera, pose, hole)
    grown = [view.grown(k) for k in range(len(stack.layers))]
    owner = _owners(shares, clear, hole, [None if texels is None else texels.reachable for texels in grown])
    layers = list(stack.layers)
    for k, texels in enumerate(grown):
        wanted = None if texels is None else texels.wanted(owner == k)
        if texels is None or wanted is None or not wanted.any():
            continue
        painted = _filled(stack, texels.layer, layers[:k], wanted, painter)
        layers[k] = _without_spare(painted, stack.layers[k], wanted)
    return replace(stack, layers=tuple(layers))


def _owners(shares: Array, clear: Array, hole: Array, reachable: Sequence[Array | None]) -> Array:
    """(H, W) int: of each pixel of the hole the layer that its rim points to among those that can be painted there, the
    farther one where two are alike; -1 elsewhere, and where there is none. What is ``clear`` is given to whoever can,
    if nobody is pointed to."""
    pointed = membrane(np.moveaxis(shares, 0, -1).astype(np.float32), ~hole, hole)
    able = np.stack([np.zeros(hole.shape, bool) if mask is None else mask for mask in reachable], -1)
    able &= clear[..., None] | (pointed > POINTED)
    return np.where(hole & able.any(-1), np.where(able, pointed, -1).argmax(-1), -1)


@dataclass(frozen=True)
class _Texels:
    """A layer with room for what is uncovered: ``at`` (h, w) which pixel of the view shows a texel, -1 for none that
    may be painted; ``reachable`` (H, W) bool: the view's pixels that it can be painted at."""

    layer: Layer
    at: Array
    reachable: Array

    def wanted(self, owned: Array) -> Array:
        found = (self.at >= 0) & owned.ravel()[np.maximum(self.at, 0)]
        return found & (self.layer.alpha < self.layer.white)


@dataclass(frozen=True)
class _View:
    """A key camera, and what it sees uncovered."""

    stack: LayerStack
    camera: Camera
    pose: Array
    hole: Array

    def grown(self, k: int) -> _Texels | None:
        """Layer ``k`` grown to where it may have to be painted; None where that is nowhere."""
        layer = self.stack.layers[k]
        if layer.video is not None:
            return None
        pads = self._pads(layer)
        if pads is None:
            return None
        layer = _padded(layer, pads)
        at = self._pixels(layer.xy, layer.depth, 1)
        at = np.where(self._may_change(k, layer), at, -1)
        reachable = np.zeros(self.hole.size, np.uint8)
        reachable[at[at >= 0]] = 1
        # Where the view is closer than the canvas was, texels lie apart.
        closed = cv2.morphologyEx(reachable.reshape(self.hole.shape), cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)) > 0
        return _Texels(layer, at, closed & self.hole) if closed.any() else None

    def _pads(self, layer: Layer) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom px that it has to grow by; None where the hole is nowhere on its surface."""
        w, h = self.stack.camera.wh
        (x, y), (rows, columns) = layer.xy, layer.hw
        most = (max(x + int(ROOM * w), 0), max(y + int(ROOM * h), 0),
                max(int((1 + ROOM) * w) - x - columns, 0), max(int((1 + ROOM) * h) - y - rows, 0))  # fmt: skip
        small = layer.depth[::COARSE, ::COARSE]
        left, top, right, bottom = (-(-pad // COARSE) for pad in most)
        depth = continued_around(np.asarray(small, np.float32), (left, top, right, bottom))
        at = self._pixels((x - left * COARSE, y - top * COARSE), depth, COARSE)
        near = cv2.dilate(self.hole.astype(np.uint8), np.ones((4 * COARSE + 1, 4 * COARSE + 1), np.uint8))
        met = (at >= 0) & (near.ravel()[np.maximum(at, 0)] > 0)
        if not met.any():
            return None
        i0, j0, wide, high = cv2.boundingRect(met.astype(np.uint8))
        x0, y0 = (i0 - left - 1) * COARSE, (j0 - top - 1) * COARSE
        x1, y1 = (i0 + wide - left + 1) * COARSE, (j0 + high - top + 1) * COARSE
        return max(-x0, 0), max(-y0, 0), max(x1 - columns, 0), max(y1 - rows, 0)

    def _pixels(self, xy: tuple[int, int], depth: Array, step: int) -> Array:
        """(h, w) int64 of texels ``step`` px apart from ``xy`` of the canvas on: the pixel of the view that each lies
        in, row by row; -1 outside."""
        (h, w), canvas = depth.shape, self.stack.camera
        x = (np.arange(w) * step + step / 2 + xy[0] - canvas.cx) / canvas.fx
        y = (np.arange(h) * step + step / 2 + xy[1] - canvas.cy) / canvas.fy
        points = np.stack([x * depth, y[:, None] * depth, depth + np.zeros((h, w), np.float32)], -1).astype(np.float32)
        seen = points @ self.pose[:3, :3].T.astype(np.float32) + self.pose[:3, 3].astype(np.float32)
        z = np.maximum(seen[..., 2], 1e-6)
        u = np.floor(self.camera.fx * seen[..., 0] / z + self.camera.cx)
        v = np.floor(self.camera.fy * seen[..., 1] / z + self.camera.cy)
        inside = (seen[..., 2] > 1e-6) & (u >= 0) & (v >= 0) & (u < self.camera.wh[0]) & (v < self.camera.wh[1])
        flat = np.where(inside, v, 0).astype(np.int64) * self.camera.wh[0] + np.where(inside, u, 0).astype(np.int64)
        return np.where(inside, flat, -1)

    def _may_change(self, k: int, layer: Layer) -> Array:
        """(h, w) bool of the stack's ``k``-th layer, grown: beyond the canvas, or hidden by what is nearer."""
        w, h = self.stack.camera.wh
        clear = np.ones((h, w), np.float32)
        for nearer in self.stack.layers[k + 1 :]:
            _over(clear, nearer, lambda below, _, alpha: below * (1 - alpha[..., 0]))
        out = np.ones(layer.hw, bool)
        canvas, own = _overlap(layer, (h, w))
        out[own] = clear[canvas] <= HIDDEN
        return out


def _padded(layer: Layer, pads: tuple[int, int, int, int]) -> Layer:
    left, top, right, bottom = pads
    room = ((top, bottom), (left, right))
    if any(layer.depth.strides):
        depth = continued_around(np.asarray(layer.depth, np.float32), pads)
    else:
        hw = layer.hw[0] + top + bottom, layer.hw[1] + left + right
        depth = np.broadcast_to(np.float32(layer.depth.flat[0]), hw)
    motion = None if layer.motion is None else np.pad(layer.motion, (*room, (0, 0)))
    return replace(
        layer, colour=np.pad(layer.colour, (*room, (0, 0)), mode="edge"), alpha=np.pad(layer.alpha, room), depth=depth,
        motion=motion, xy=(layer.xy[0] - left, layer.xy[1] - top),
    )


def _without_spare(layer: Layer, before: Layer, wanted: Array) -> Layer:
    """Cut to where it was ``before``, and to what was ``wanted`` (h, w)."""
    x, y, w, h = cv2.boundingRect(wanted.astype(np.uint8))
    left, top = before.xy[0] - layer.xy[0], before.xy[1] - layer.xy[1]
    x0, y0 = min(x, left), min(y, top)
    x1, y1 = max(x + w, left + before.hw[1]), max(y + h, top + before.hw[0])
    part = np.s_[y0:y1, x0:x1]
    return replace(
        layer, colour=layer.colour[part], alpha=layer.alpha[part], depth=layer.depth[part],
        motion=None if layer.motion is None else layer.motion[part], xy=(layer.xy[0] + x0, layer.xy[1] + y0),
    )


def _filled(stack: LayerStack, layer: Layer, farther: Sequence[Layer], wanted: Array, painter: Painter | None) -> Layer:
    """``layer`` with its ``wanted`` (h, w) texels solid."""
    known = (layer.alpha > 0.5 * layer.white) & ~wanted
    if painter is None:
        values, white = codes(layer.colour)
        values = values.copy()
        filled_band(values, known if known.any() else ~wanted, wanted, REACH_SHARE * max(stack.camera.wh))
        painted = from_codes(values.astype(np.float32), white, layer.colour.dtype)
    else:
        pile = np.zeros((*layer.hw, 3), np.float32)
        for one in (*farther, layer):
            shifted = replace(one, xy=(one.xy[0] - layer.xy[0], one.xy[1] - layer.xy[1]))
            _over(pile, shifted, lambda below, colour, alpha: below * (1 - alpha) + colour * alpha)
        scaled = pile * np.float32(layer.white)
        whole = scaled if layer.colour.dtype == np.float32 else np.rint(scaled).astype(layer.colour.dtype)
        painted = painter(whole, wanted)
    share = (layer.alpha / np.float32(layer.white))[..., None]
    mixed = layer.colour * share + painted * (1 - share)
    if layer.colour.dtype != np.float32:
        mixed = np.rint(mixed)
    colour = np.where(wanted[..., None], mixed.astype(layer.colour.dtype), layer.colour)
    alpha = np.where(wanted, layer.alpha.dtype.type(layer.white), layer.alpha)
    return replace(layer, colour=colour, alpha=alpha)


def _overlap(layer: Layer, hw: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where a layer and a raster from (0, 0) on meet: on the raster, and on the layer."""
    (x, y), (h, w) = layer.xy, layer.hw
    x0, y0 = min(max(x, 0), hw[1]), min(max(y, 0), hw[0])
    x1, y1 = min(max(x + w, x0), hw[1]), min(max(y + h, y0), hw[0])
    x1, y1 = max(x1, x0), max(y1, y0)
    own_x, own_y = min(max(x0 - x, 0), w), min(max(y0 - y, 0), h)
    return (slice(y0, y1), slice(x0, x1)), (slice(own_y, own_y + y1 - y0), slice(own_x, own_x + x1 - x0))


def _over(raster: Array, layer: Layer, mix: Callable[[Array, Array, Array], Array]) -> None:
    """Lay a layer over ``raster`` (H, W, ...), in place."""
    at, own = _overlap(layer, raster.shape[:2])
    white = np.float32(layer.white)
    raster[at] = mix(raster[at], layer.colour[own] / white, layer.alpha[own][..., None] / white)

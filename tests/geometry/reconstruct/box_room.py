"""A textured room of boxes, ray cast in numpy: a clip with exact cameras and depth, in a second or two.

World: +Y up, floor at y = 0, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera, pixel_centres

Array = np.ndarray

ROOM = (np.array([-3.0, 0.0, -3.5]), np.array([3.0, 2.8, 3.5]))
BOXES = (
    (np.array([-1.6, 0.0, -2.2]), np.array([-0.7, 1.1, -1.4])),
    (np.array([0.4, 0.0, -1.6]), np.array([0.7, 1.5, -1.3])),
    (np.array([1.2, 0.0, -2.8]), np.array([2.2, 0.7, -2.0])),
    (np.array([-0.5, 0.0, -0.6]), np.array([-0.1, 0.5, -0.2])),
)
TEXELS_PER_METRE = 160


@dataclass(frozen=True)
class BoxRoomClip:
    """A ``FrameSource`` that renders on demand; ``depth(number)`` is the truth."""

    camera: Camera
    camera_from_world: Array  # (N, 4, 4)
    first: int = 0
    supersample: int = 2
    mover: bool = False  # a box that crosses the room

    @property
    def numbers(self) -> Sequence[int]:
        return range(self.first, self.first + len(self.camera_from_world))

    @property
    def rate(self) -> Fraction:
        return Fraction(25)

    @property
    def hw(self) -> tuple[int, int]:
        return self.camera.hw

    def read(self, number: int) -> Array:
        n = self.supersample
        camera = self.camera.scaled((self.camera.wh[0] * n, self.camera.wh[1] * n))
        colour, _ = cast(camera, self.camera_from_world[number - self.first], self._boxes(number))
        return cv2.resize(colour, self.camera.wh, interpolation=cv2.INTER_AREA)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> Array:
        image = self.read(number)
        return image if wh in (None, self.camera.wh) else cv2.resize(image, wh, interpolation=cv2.INTER_AREA)

    def linear(self, number: int) -> Array:
        return (self.read(number).astype(np.float32) / 255) ** 2.2

    def depth(self, number: int) -> Array:
        """(H, W) z-depth at pixel centres."""
        return cast(self.camera, self.camera_from_world[number - self.first], self._boxes(number))[1]

    def _boxes(self, number: int) -> tuple[tuple[Array, Array], ...]:
        if not self.mover:
            return BOXES
        x = -1.5 + 0.06 * (number - self.first)
        return (*BOXES, (np.array([x, 0.0, -0.9]), np.array([x + 0.45, 1.0, -0.7])))


def cast(camera: Camera, camera_from_world: Array, boxes: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """(H, W, 3) uint8 colour and (H, W) z-depth."""
    world_from_camera = rigid.inverse(camera_from_world)
    origin = world_from_camera[:3, 3]
    direction = camera.rays_from_px(pixel_centres(camera.wh)) @ world_from_camera[:3, :3].T
    direction = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    depth, solid = _inside(origin, direction, *ROOM), np.zeros(camera.hw, int)
    for i, (low, high) in enumerate(boxes):
        t = _outside(origin, direction, low, high)
        nearer = t < depth
        depth[nearer], solid[nearer] = t[nearer], i + 1
    hit = origin + depth[..., None] * direction
    return _shade(hit, solid, [ROOM, *boxes]), depth.astype(np.float32)


def _inside(origin: Array, direction: Array, low: Array, high: Array) -> Array:
    return np.maximum((low - origin) / direction, (high - origin) / direction).min(-1)


def _outside(origin: Array, direction: Array, low: Array, high: Array) -> Array:
    a, b = (low - origin) / direction, (high - origin) / direction
    enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def _shade(hit: Array, solid: Array, boxes: Sequence[tuple[Array, Array]]) -> Array:
    out = np.zeros((*solid.shape, 3), np.uint8)
    for i, (low, high) in enumerate(boxes):
        distance = np.concatenate([np.abs(hit - low), np.abs(hit - high)], -1)
        face = distance.argmin(-1)
        for f in range(6):
            mask = (solid == i) & (face == f)
            if not mask.any():
                continue
            axes = [a for a in range(3) if a != f % 3]
            uv = ((hit[mask][:, axes] - low[axes]) * TEXELS_PER_METRE).astype(np.float32)
            out[mask] = _sample(_texture(6 * i + f), uv % 1022)
    return out


def _sample(texture: Array, uv: Array) -> Array:
    """Bilinear; (N, 2) texel positions to (N, 3)."""
    columns = 1024  # OpenCV's remap takes no array longer than 32767
    padded = np.zeros((-(-len(uv) // columns) * columns, 2), np.float32)
    padded[: len(uv)] = uv
    grid = padded.reshape(-1, columns, 2)
    return cv2.remap(texture, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR).reshape(-1, 3)[: len(uv)]


_TEXTURES: dict[int, Array] = {}


def _texture(index: int) -> Array:
    """(1024, 1024, 3): noise of several octaves, so that there is something to follow at every size."""
    if index not in _TEXTURES:
        rng = np.random.default_rng([7, index])
        total = np.zeros((1024, 1024, 3), np.float32)
        for side in (8, 32, 128, 256):
            noise = rng.normal(size=(side, side, 3)).astype(np.float32) + rng.normal(size=(side, side, 1))
            total += cv2.resize(noise.astype(np.float32), (1024, 1024), interpolation=cv2.INTER_CUBIC)
        base = rng.uniform(70, 190, 3)
        _TEXTURES[index] = np.clip(base + 18 * total, 0, 255).astype(np.uint8)
    return _TEXTURES[index]


def arc(count: int, *, degrees: float = 24.0, radius: float = 3.4, height: float = 1.4) -> Array:
    """(N, 4, 4) ``camera_from_world`` on an arc round the middle of the room, bobbing a little."""
    poses = []
    for i in range(count):
        s = i / max(count - 1, 1)
        angle = np.deg2rad(degrees * (s - 0.5))
        eye = np.array([radius * np.sin(angle), height + 0.12 * np.sin(5 * s), -1.2 + radius * np.cos(angle)])
        poses.append(rigid.look_at(eye, np.array([0.1 * np.sin(3 * s), 0.7, -1.4])))
    return np.stack(poses)


def pan(count: int, *, degrees: float = 20.0) -> Array:
    """(N, 4, 4): the camera turns on the spot."""
    eye = np.array([0.0, 1.4, 2.0])
    poses = []
    for i in range(count):
        angle = np.deg2rad(degrees * (i / max(count - 1, 1) - 0.5))
        poses.append(rigid.look_at(eye, eye + np.array([np.sin(angle), -0.1, -np.cos(angle)])))
    return np.stack(poses)


def lens(wh: tuple[int, int], focal_over_width: float = 0.85) -> Camera:
    f = focal_over_width * wh[0]
    return Camera(f, f, wh[0] / 2, wh[1] / 2, wh)

"""A small town built by code: a street between houses with gabled roofs, trees and lamps, a church at its end, and a
car that drives away.

Metres, +Y up; the street runs along -Z.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from examples import textures
from examples.film_sets import FilmSet, Piece
from examples.solids import box, cylinder, joined, lathe, moved, quad, rounded, turned
from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material, Mesh
from geometry.trajectory import CameraPath

Array = np.ndarray
Colour = tuple[float, float, float]

ROAD_HALF, KERB = 3.0, 5.0  # metres from the middle of the street to the road's edge, and to the houses
WALLS: tuple[Colour, ...] = (
    (0.83, 0.62, 0.42), (0.80, 0.76, 0.68), (0.63, 0.34, 0.28), (0.56, 0.66, 0.70),
    (0.86, 0.74, 0.48), (0.70, 0.68, 0.60), (0.74, 0.48, 0.38), (0.60, 0.70, 0.58),
)  # fmt: skip
GLASS, FRAME, DOOR = (0.16, 0.21, 0.27), (0.92, 0.90, 0.85), (0.30, 0.17, 0.11)


def town(n_frames: int, wh: tuple[int, int]) -> FilmSet:
    """The same move whatever ``n_frames`` is: forward and up, with a slow zoom."""
    t = np.linspace(0, 1, n_frames)
    t = t * t * (3 - 2 * t)
    eyes = np.stack([1.6 - 2.2 * t, 1.9 + 1.0 * t, 12.5 - 5.0 * t], -1)
    targets = np.stack([0.6 - 1.2 * t, 2.4 + 0.5 * t, np.full(n_frames, -18.0)], -1)
    lenses = tuple(Camera(f, f, wh[0] / 2, wh[1] / 2, wh) for f in (0.86 + 0.10 * t) * wh[0])
    poses = np.stack([rigid.look_at(eye, target) for eye, target in zip(eyes, targets, strict=True)])
    still = {**_ground(), **_houses(), **_green(), **_lamps(), **_church()}
    pieces = [Piece(name, meshes) for name, meshes in still.items()]
    pieces.append(Piece("car", _car(), lambda frame: _drive(frame / max(n_frames - 1, 1))))
    return FilmSet(tuple(pieces), CameraPath(tuple(range(n_frames)), lenses, poses))


def _drive(t: float) -> Array:
    return rigid.rigid(np.eye(3), np.array([-1.5, 0.0, 4.0 - 6.0 * t]))


def _matt(texture: Array) -> Material:
    return Material((1.0, 1.0, 1.0), texture, roughness=1.0)


@cache
def _ground() -> dict[str, tuple[Mesh, ...]]:
    slabs = _matt(textures.bricks((2048, 256), 90, (0.62, 0.60, 0.57), (0.44, 0.43, 0.41), 2))
    grass = _matt(textures.painted((1024, 1024), (0.36, 0.44, 0.22), 3, 0.16))
    far, near, plain = -70.0, 20.0, 900.0

    def strip(left: float, right: float, y: float, material: Material, name: str) -> Mesh:
        return quad((left, y, near), (right - left, 0, 0), (0, 0, far - near), material, name)

    return {
        "grass": (quad((-plain, -0.05, near), (2 * plain, 0, 0), (0, 0, -plain), grass, "grass"),),
        "road": (strip(-ROAD_HALF, ROAD_HALF, 0.0, _matt(_asphalt((4096, 512), 4)), "road"),),
        "left pavement": (strip(-KERB, -ROAD_HALF, 0.12, slabs, "left pavement"),
                          quad((-ROAD_HALF, 0, near), (0, 0.12, 0), (0, 0, far - near), slabs, "kerb")),
        "right pavement": (strip(ROAD_HALF, KERB, 0.12, slabs, "right pavement"),
                           quad((ROAD_HALF, 0, far), (0, 0.12, 0), (0, 0, near - far), slabs, "kerb")),
    }  # fmt: skip


def _asphalt(hw: tuple[int, int], seed: int) -> Array:
    """Dark grey with stains, a broken line in the middle."""
    rng = np.random.default_rng([seed, 9])
    h, w = hw
    shade = 0.06 * textures.value_noise(hw, (60, 8), rng, 3) + 0.05 * textures.value_noise(hw, (h / 3, w / 3), rng)
    picture = np.asarray((0.33, 0.33, 0.34), np.float32) * (1 + shade[..., None])
    for top in range(0, h, h // 20):
        picture[top : top + h // 40, w // 2 - w // 80 : w // 2 + w // 80] = (0.84, 0.82, 0.76)
    return textures.to_uint8(picture)


@cache
def _houses() -> dict[str, tuple[Mesh, ...]]:
    rng = np.random.default_rng(11)
    houses: dict[str, tuple[Mesh, ...]] = {}
    for side, name in ((-1, "left"), (1, "right")):
        z = 3.0
        for k in range(5):
            wide, deep, high = rng.uniform(5.5, 8.0), rng.uniform(6.0, 8.0), rng.uniform(4.2, 7.0)
            seed = 20 + 10 * k + (side > 0)
            near, inner = z, side * (KERB + rng.uniform(0.0, 0.8))
            lower = (min(inner, inner + side * deep), 0.0, near - wide)
            upper = (max(inner, inner + side * deep), high, near)
            walls = WALLS[(2 * k + (side > 0)) % len(WALLS)]
            houses[f"{name} house {k + 1}"] = (_walls(lower, upper, walls, seed),)
            houses[f"{name} roof {k + 1}"] = (_gable(lower, upper, rng.uniform(1.6, 2.6), seed),)
            z -= wide + rng.uniform(0.3, 1.6)
    return houses


def _walls(lower: tuple[float, ...], upper: tuple[float, ...], colour: Colour, seed: int) -> Mesh:
    (x0, y0, z0), (x1, y1, z1) = lower, upper
    material = _matt(facade((768, 1024), colour, seed))
    w, h, d = x1 - x0, y1 - y0, z1 - z0
    return joined([
        quad((x0, y0, z1), (w, 0, 0), (0, h, 0), material), quad((x1, y0, z0), (-w, 0, 0), (0, h, 0), material),
        quad((x1, y0, z1), (0, 0, -d), (0, h, 0), material), quad((x0, y0, z0), (0, 0, d), (0, h, 0), material),
        quad((x0, y1, z1), (w, 0, 0), (0, 0, -d), material), quad((x0, y0, z0), (w, 0, 0), (0, 0, d), material),
    ])  # fmt: skip


def _gable(lower: tuple[float, ...], upper: tuple[float, ...], rise: float, seed: int) -> Mesh:
    """A prism whose ridge runs along the street, a little wider than the walls below."""
    out = 0.35
    x0, x1, z0, z1, y = lower[0] - out, upper[0] + out, lower[2] - out / 2, upper[2] + out / 2, upper[1]
    middle, top = (x0 + x1) / 2, y + rise
    tiles = _matt(textures.bricks((640, 1024), 26, (0.58 + 0.06 * (seed % 3), 0.27, 0.19), (0.26, 0.13, 0.10), seed))
    corners = np.array([[x0, y, z1], [x1, y, z1], [middle, top, z1], [x0, y, z0], [x1, y, z0], [middle, top, z0]])

    def side(a: int, b: int, c: int) -> Mesh:
        """A triangle of the gable."""
        points = corners[[a, b, c]]
        normal = np.cross(points[1] - points[0], points[2] - points[0])
        uv = np.array([[0, 0], [1, 0], [0.5, 1.0]])
        normals = np.tile(normal / np.linalg.norm(normal), (3, 1))
        return Mesh(points, np.array([[0, 1, 2]], np.int32), uv, normals, tiles)

    slope_right = quad(corners[1], corners[4] - corners[1], corners[2] - corners[1], tiles)
    slope_left = quad(corners[3], corners[0] - corners[3], corners[5] - corners[3], tiles)
    under = quad(corners[3], corners[4] - corners[3], corners[0] - corners[3], tiles)
    return joined([slope_right, slope_left, under, side(0, 1, 2), side(4, 3, 5)])


def facade(hw: tuple[int, int], colour: Colour, seed: int, storeys: int = 2, bays: int = 3) -> Array:
    """Plaster with rows of framed windows and a door, weathered towards the ground."""
    rng = np.random.default_rng([seed, 10])
    h, w = hw
    shade = 0.05 * textures.value_noise(hw, (6, 8), rng, 3) + 0.04 * textures.value_noise(hw, (h / 4, w / 4), rng)
    shade -= 0.16 * np.linspace(0, 1, h, dtype=np.float32)[:, None] ** 6
    picture = np.asarray(colour, np.float32) * (1 + shade[..., None])
    for storey in range(storeys):
        for bay in range(bays):
            x, y = (bay + 0.5) * w / bays, (storey + 0.52) * h / storeys
            is_door = storey == storeys - 1 and bay == seed % bays
            half, up, down = w / bays * 0.2, h / storeys * 0.26, h / storeys * (0.48 if is_door else 0.22)
            _framed(picture, (x - half, y - up, x + half, y + down), DOOR if is_door else GLASS, rng)
    return textures.to_uint8(picture)


def _framed(picture: Array, at: tuple[float, ...], fill: Colour, rng: np.random.Generator) -> None:
    x0, y0, x1, y1 = (round(v) for v in at)
    edge = max(3, (x1 - x0) // 14)
    cv2.rectangle(picture, (x0 - edge, y0 - edge), (x1 + edge, y1 + edge), FRAME, -1)
    cv2.rectangle(picture, (x0, y0), (x1, y1), tuple(c * rng.uniform(0.8, 1.2) for c in fill), -1)
    if fill is GLASS:
        cv2.line(picture, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), FRAME, edge)
        cv2.line(picture, (x0, (2 * y0 + y1) // 3), (x1, (2 * y0 + y1) // 3), FRAME, edge)


@cache
def _green() -> dict[str, tuple[Mesh, ...]]:
    rng = np.random.default_rng(31)
    bark = _matt(textures.painted((256, 128), (0.36, 0.27, 0.20), 32, 0.14))
    trees: dict[str, tuple[Mesh, ...]] = {}
    for k, (x, z) in enumerate([(-4.0, 5.2), (4.1, -1.5), (-4.1, -8.5), (4.2, -16.0), (-4.0, -22.0)], 1):
        leaves = _matt(textures.painted((512, 1024), (0.24 + 0.06 * (k % 3), 0.40, 0.16), 40 + k, 0.30))
        size = rng.uniform(0.9, 1.3)
        trunk = moved(cylinder(0.13, 0.12, 2.3, bark, "trunk"), turned(0.7 * k, (x, 0, z)))
        trees[f"tree {k} trunk"] = (trunk,)
        trees[f"tree {k} crown"] = (rounded((x, 2.0 + size, z), (size, 1.15 * size, size), leaves, "crown", 0.9, 32),)
    return trees


@cache
def _lamps() -> dict[str, tuple[Mesh, ...]]:
    iron = _matt(textures.painted((64, 64), (0.17, 0.20, 0.19), 51, 0.08))
    return {
        f"lamp {k}": (moved(lathe([(0, 0.12), (0.12, 0.12), (0.07, 0.4), (0.05, 3.4), (0.05, 3.4), (0.2, 3.6),
                                   (0.2, 3.6), (0.14, 4.0), (0, 4.1)], iron, "lamp", 16), turned(0, (x, 0, z))),)
        for k, (x, z) in enumerate([(3.35, 4.0), (-3.35, -3.0), (3.35, -10.0)], 1)
    }  # fmt: skip


@cache
def _church() -> dict[str, tuple[Mesh, ...]]:
    stone = _matt(textures.bricks((1536, 768), 42, (0.66, 0.61, 0.52), (0.47, 0.43, 0.37), 61))
    slate = _matt(textures.bricks((512, 1024), 24, (0.30, 0.34, 0.40), (0.17, 0.19, 0.22), 62))
    spire = lathe([(2.6, 14.0), (2.2, 15.0), (0, 21.0)], slate, "spire", 8)
    return {
        "church tower": (box((-1.2, 0, -46.0), (3.4, 14.0, -41.4), stone, "church tower"),),
        "church spire": (moved(spire, turned(0, (1.1, 0, -43.7))),),
    }


@cache
def _car() -> tuple[Mesh, ...]:
    """On the origin, its front towards -Z."""
    paint = _matt(_panels((256, 512), (0.66, 0.12, 0.10), 71))
    glass = _matt(textures.painted((64, 128), (0.18, 0.24, 0.30), 72, 0.05))
    rubber = _matt(textures.painted((64, 64), (0.10, 0.10, 0.11), 73, 0.08))
    wheels = [moved(cylinder(0.33, -0.11, 0.11, rubber, "wheel"), turned(np.pi / 2, (x, 0.33, z), "z"))
              for x in (-0.8, 0.8) for z in (-1.25, 1.25)]  # fmt: skip
    return (
        rounded((0, 0.66, 0), (0.92, 0.38, 2.1), paint, "body", 0.35, 32),
        rounded((0, 1.12, 0.15), (0.76, 0.40, 1.1), glass, "cabin", 0.45, 32), *wheels,
    )


def _panels(hw: tuple[int, int], colour: Colour, seed: int) -> Array:
    """Paint with a light stripe and seams."""
    picture = textures.painted(hw, colour, seed, 0.02).astype(np.float32) / 255
    h, w = hw
    picture[int(0.46 * h) : int(0.52 * h)] = (0.93, 0.90, 0.82)
    picture[:, :: w // 8] *= 0.45
    return textures.to_uint8(picture)

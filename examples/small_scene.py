"""A small furnished room corner built by code, its light, and camera paths through it.

Metres, +Y up, floor at y = 0, room corner towards -X and -Z. The hero stands at ``SPOT``; a plant stand in front of it
hides it during the ``dolly``, ``arc`` and ``handheld`` moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np

from examples import textures
from examples.solids import blade, box, cylinder, lathe, moved, quad, rounded, turned
from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material, Mesh
from geometry.render.base import Environment, Instance
from geometry.trajectory import CameraPath

Array = np.ndarray
Variant = Literal["textured", "plain"]
PathKind = Literal["dolly", "arc", "handheld", "orbit"]

SPOT = np.array([0.0, 0.0, 0.0])  # where the hero's base stands
STAND_AT = (0.06, 0.0, 1.3)
SUN_DIRECTION = np.array([0.52, 0.74, 0.42]) / np.linalg.norm([0.52, 0.74, 0.42])  # towards the sun
SUN_IRRADIANCE = 4.0  # on a surface that faces it
SUN_WIDTH = 0.02  # deviation of its lobe in radians: a penumbra of about 4 cm for every metre
FOCAL_PER_WIDTH = 0.9


@dataclass(frozen=True)
class SmallScene:
    """Instances with ``object_id`` 1..N and what each of them is."""

    instances: tuple[Instance, ...]
    names: tuple[str, ...]

    def object_id(self, name: str) -> int:
        """Raises ``ValueError`` for a name that is not in ``names``."""
        return self.names.index(name) + 1


@cache
def make_scene(variant: Variant = "textured") -> SmallScene:
    """``plain``: the walls are painted evenly and the floor is one smooth colour with hardly any texture."""
    if variant not in get_args(Variant):
        raise ValueError(f"variant: expected one of {get_args(Variant)}, got {variant!r}")
    things = {**_room(variant), **_furniture(), **_plant_stand(), **_clutter()}
    instances = tuple(Instance(meshes, np.eye(4), i) for i, meshes in enumerate(things.values(), 1))
    return SmallScene(instances, tuple(things))


def _matt(texture: Array) -> Material:
    """Roughness 1 is a Lambertian surface: the least noise for a number of samples."""
    return Material((1.0, 1.0, 1.0), texture, roughness=1.0)


def _room(variant: Variant) -> dict[str, tuple[Mesh, ...]]:
    if variant == "plain":
        floor, brick, wall = (textures.painted((256, 256), c, s) for c, s in (
            ((0.62, 0.58, 0.53), 1), ((0.80, 0.76, 0.70), 2), ((0.55, 0.66, 0.66), 3)))
    else:
        floor = textures.planks((2048, 2048), 44, (0.66, 0.49, 0.34), 1)
        brick = textures.bricks((1024, 3072), 34, (0.66, 0.42, 0.33), (0.74, 0.70, 0.64), 2)
        wall = textures.painted((1024, 2048), (0.45, 0.60, 0.60), 3, 0.035)
    skirting = _matt(textures.painted((64, 256), (0.88, 0.86, 0.82), 4))
    inks = [(0.12, 0.2, 0.3), (0.85, 0.35, 0.2), (0.93, 0.7, 0.3), (0.3, 0.5, 0.45)]
    art = textures.print_on_paper((800, 600), (0.93, 0.90, 0.83), inks, 5)
    yard = _matt(textures.painted((256, 256), (0.56, 0.55, 0.52), 6, 0.05))
    return {
        "yard": (quad((-20, -0.03, 20), (40, 0, 0), (0, 0, -40), yard, "yard"),),
        "floor": (quad((-3.0, 0, 4.2), (7.2, 0, 0), (0, 0, -6.6), _matt(floor), "floor"),),
        "back wall": (quad((-3.0, 0, -2.4), (10.0, 0, 0), (0, 3.2, 0), _matt(brick), "back wall"),),
        "side wall": (quad((-3.0, 0, 4.2), (0, 0, -6.6), (0, 3.2, 0), _matt(wall), "side wall"),),
        "skirting": (
            box((-3.0, 0, -2.4), (7.0, 0.12, -2.375), skirting, "skirting"),
            box((-3.0, 0, -2.4), (-2.975, 0.12, 4.2), skirting, "skirting"),
        ),
        "print": (
            quad((0.95, 0.95, -2.37), (0.75, 0, 0), (0, 1.0, 0), _matt(art), "print"),
            box((0.93, 0.93, -2.399), (1.72, 1.97, -2.372), Material((0.03, 0.025, 0.02), roughness=0.5), "frame"),
        ),
    }


def _furniture() -> dict[str, tuple[Mesh, ...]]:
    wood = _matt(textures.planks((768, 768), 6, (0.56, 0.36, 0.22), 20))
    crate = _matt(textures.planks((768, 768), 9, (0.78, 0.64, 0.44), 21))
    legs = [box((x, 0, z), (x + 0.06, 0.68, z + 0.06), wood, "leg") for x in (-2.5, -1.06) for z in (-2.2, -1.56)]
    turn = turned(0.35, (1.35, 0.0, -1.35))
    colours = [(0.70, 0.22, 0.16), (0.90, 0.83, 0.68), (0.16, 0.28, 0.38), (0.86, 0.58, 0.22), (0.42, 0.46, 0.36)]
    rug = textures.kilim((900, 1200), colours, 22)
    return {
        "rug": (box((0.55, 0.0, -1.0), (2.6, 0.012, 1.0), Material((0.2, 0.2, 0.2), roughness=1.0), "rug edge"),
                quad((0.55, 0.0125, 1.0), (2.05, 0, 0), (0, 0, -2.0), _matt(rug), "rug")),
        "table": (box((-2.55, 0.68, -2.25), (-0.95, 0.74, -1.45), wood, "table top"), *legs),
        "crates": (
            moved(box((-0.3, 0, -0.25), (0.3, 0.5, 0.25), crate, "crate"), turn),
            moved(box((-0.26, 0.0, -0.22), (0.18, 0.34, 0.2), crate, "crate"), turned(-0.3, (1.36, 0.5, -1.35))),
        ),
    }


def _plant_stand() -> dict[str, tuple[Mesh, ...]]:
    """The occluder: a turned stone column with a plant on it."""
    chips = [(0.82, 0.78, 0.70), (0.45, 0.30, 0.24), (0.30, 0.34, 0.34), (0.72, 0.56, 0.40), (0.93, 0.91, 0.86)]
    stone = _matt(textures.terrazzo((1024, 768), (0.66, 0.62, 0.56), chips, 30, 1500))
    clay = _matt(textures.painted((256, 256), (0.72, 0.38, 0.26), 31, 0.06))
    profile = [(0, 0), (0.13, 0), (0.13, 0), (0.13, 0.05), (0.13, 0.05), (0.075, 0.09), (0.066, 0.3), (0.06, 0.62),
               (0.075, 0.74), (0.12, 0.78), (0.12, 0.78), (0.12, 0.81), (0.12, 0.81), (0, 0.81)]
    pot = [(0, 0.81), (0.07, 0.81), (0.07, 0.81), (0.105, 0.97), (0.105, 0.97), (0.118, 0.97), (0.118, 0.97),
           (0.118, 1.0), (0.118, 1.0), (0.1, 1.0), (0.09, 0.98), (0, 0.98)]
    at = turned(0.4, STAND_AT)
    return {
        "plant stand": (moved(lathe(profile, stone, "column"), at), moved(lathe(pot, clay, "pot"), at)),
        "plant": tuple(moved(mesh, at) for mesh in _leaves(16, 0.46, 40, base=0.98)),
    }


def _leaves(count: int, length: float, seed: int, base: float) -> list[Mesh]:
    rng = np.random.default_rng([seed, 8])
    greens = [_matt(textures.leaf((64, 192), g, seed + i))
              for i, g in enumerate([(0.28, 0.47, 0.22), (0.36, 0.55, 0.26), (0.22, 0.40, 0.24)])]
    leaves = []
    for i in range(count):
        size = length * rng.uniform(0.6, 1.0)
        mesh = blade(size, 0.19 * size, rng.uniform(0.5, 1.9), greens[i % 3], f"leaf {i}")
        leaves.append(moved(mesh, turned(i * 2.4 + rng.uniform(-0.2, 0.2), (0, base, 0))))
    return leaves


def _clutter() -> dict[str, tuple[Mesh, ...]]:
    rng = np.random.default_rng(50)
    covers = [(0.64, 0.20, 0.18), (0.18, 0.30, 0.42), (0.86, 0.72, 0.40), (0.30, 0.44, 0.34), (0.85, 0.82, 0.76)]
    books, top = [], 0.74
    for i, colour in enumerate(covers):
        half = np.array([0.16, 0.0, 0.115]) * rng.uniform(0.85, 1.1)
        high = rng.uniform(0.025, 0.05)
        cover = _matt(textures.painted((128, 128), colour, 51 + i, 0.05))
        books.append(moved(box((-half[0], 0, -half[2]), (half[0], high, half[2]), cover, f"book {i}"),
                           turned(rng.uniform(-0.4, 0.4), (-1.35, top, -1.8))))
        top += high
    glaze = _matt(textures.kilim((256, 512), [(0.90, 0.87, 0.80), (0.20, 0.34, 0.46), (0.24, 0.4, 0.5)], 60))
    vase = [(0, 0.74), (0.06, 0.74), (0.1, 0.82), (0.115, 0.9), (0.09, 1.0), (0.04, 1.08), (0.045, 1.12), (0.036, 1.12),
            (0.03, 1.06)]
    balls = [((-0.95, 0.16, -0.75), 0.16, (0.85, 0.35, 0.2), 61), ((-1.25, 0.1, -0.35), 0.1, (0.93, 0.76, 0.35), 62)]
    return {
        "books": tuple(books),
        "vase": (moved(lathe(vase, glaze, "vase"), turned(0, (-2.05, 0, -1.85))),),
        "balls": tuple(
            rounded(at, (r, r, r), _matt(textures.kilim((256, 512), [c, (0.92, 0.9, 0.84), c], s)), "ball", 1.0)
            for at, r, c, s in balls),
        "stool": _stool(),
    }


def _stool() -> tuple[Mesh, ...]:
    wood = _matt(textures.planks((384, 384), 4, (0.80, 0.62, 0.42), 70))
    x, z = -1.75, 0.15
    legs = [moved(cylinder(0.022, 0.0, 0.42, wood, "leg"), turned(0, (x + 0.14 * np.cos(a), 0, z + 0.14 * np.sin(a))))
            for a in (0.5, 2.6, 4.7)]
    return (*legs, moved(cylinder(0.2, 0.42, 0.46, wood, "seat"), turned(0, (x, 0, z))))


def sky(yaw: float = 0.0, hw: tuple[int, int] = (512, 1024)) -> Environment:
    """Soft sky and one sun. The light in the world does not depend on ``yaw``, only how the picture is cut.

    The picture's centre column looks along world -Z turned by ``yaw``, so that with the camera's heading as yaw it
    is the panorama that ``--hdri`` expects.
    """
    v, u = np.meshgrid((np.arange(hw[0]) + 0.5) / hw[0], (np.arange(hw[1]) + 0.5) / hw[1], indexing="ij")
    elevation, right = np.pi * (0.5 - v), 2 * np.pi * (u - 0.5)
    heading = yaw - right  # counter-clockwise from above, 0 along -Z
    directions = np.stack(
        [-np.cos(elevation) * np.sin(heading), np.sin(elevation), -np.cos(elevation) * np.cos(heading)], -1)
    return Environment(sky_radiance(directions), yaw)


def sky_radiance(directions: Array) -> Array:
    """(..., 3) float32 radiance, scene-linear, from (..., 3) unit directions."""
    height = directions[..., 1:2]
    horizon, zenith, ground = (np.array(c) for c in ((0.50, 0.53, 0.58), (0.19, 0.28, 0.46), (0.05, 0.045, 0.04)))
    blend = np.clip(height, 0, 1) ** 0.6
    radiance = np.where(height > 0, horizon * (1 - blend) + zenith * blend, ground)
    warm = np.array([1.0, 0.86, 0.66])
    cosine = (directions @ SUN_DIRECTION)[..., None]
    k = 1 / SUN_WIDTH**2  # a von Mises-Fisher lobe holds 2 pi / k of its peak
    sun = SUN_IRRADIANCE * k / (2 * np.pi) * np.exp(k * (cosine - 1)) * warm
    glow = 0.4 * np.exp(14 * (cosine - 1)) * warm
    return (radiance + sun + glow).astype(np.float32)


def heading(camera_from_world: Array) -> float:
    """Angle of a camera's horizontal view direction, counter-clockwise from above, 0 along world -Z."""
    forward = camera_from_world[2, :3]
    return float(np.arctan2(-forward[0], -forward[2]))


def camera_path(kind: PathKind, n_frames: int, wh: tuple[int, int] = (832, 480), *, seed: int = 0) -> CameraPath:
    """A known path with one known pinhole lens; the same move whatever ``n_frames`` is.

    ``dolly`` sideways past the plant stand, looking at a point behind it; ``arc`` 38 degrees about the hero;
    ``handheld`` a walk forward with a smooth low-frequency sway; ``orbit`` all the way around.
    """
    if n_frames < 2:
        raise ValueError(f"n_frames: expected >= 2, got {n_frames}")
    moves = {"dolly": _dolly, "arc": _arc, "handheld": _handheld, "orbit": _orbit}
    if kind not in moves:
        raise ValueError(f"kind: expected one of {get_args(PathKind)}, got {kind!r}")
    turn = n_frames if kind == "orbit" else n_frames - 1  # an orbit's last frame comes just before its first again
    eyes, targets = moves[kind](np.arange(n_frames) / turn, seed)
    focal = FOCAL_PER_WIDTH * wh[0]
    camera = Camera(focal, focal, wh[0] / 2, wh[1] / 2, wh)
    poses = np.stack([rigid.look_at(eye, target) for eye, target in zip(eyes, targets, strict=True)])
    return CameraPath(tuple(range(n_frames)), (camera,) * n_frames, poses)


def _dolly(t: Array, seed: int) -> tuple[Array, Array]:
    eyes = np.stack([-0.85 + 1.5 * t, np.full_like(t, 1.22), 2.95 - 0.12 * t], -1)
    return eyes, np.tile([0.02, 0.44, 0.55], (len(t), 1))  # between the stand and the hero: neither rushes by


def _around(angle: Array, radius: float, height: float) -> Array:
    return np.stack([radius * np.sin(angle), np.full_like(angle, height), radius * np.cos(angle)], -1)


def _arc(t: Array, seed: int) -> tuple[Array, Array]:
    eyes = _around(np.deg2rad(-20 + 38 * t), 2.9, 1.3)
    return eyes, np.tile([0.05, 0.32, 0.0], (len(t), 1))


def _handheld(t: Array, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng([seed, 9])
    phases, rates = rng.uniform(0, 2 * np.pi, (6, 4)), np.array([0.7, 1.6, 2.9, 4.3])
    sway = (np.sin(2 * np.pi * t[:, None, None] * rates + phases) / rates).sum(-1)  # (N, 6)
    eyes = np.stack([-0.62 + 0.75 * t, np.full_like(t, 1.3), 3.3 - 0.75 * t], -1) + 0.022 * sway[:, :3]
    return eyes, np.array([0.0, 0.35, -0.1]) + np.array([0.35, 0, 0]) * (t[:, None] - 0.5) + 0.025 * sway[:, 3:]


def _orbit(t: Array, seed: int) -> tuple[Array, Array]:
    return _around(2 * np.pi * t, 2.15, 1.35), np.tile([0.0, 0.3, 0.0], (len(t), 1))

"""What the shots put into the small room: each thing is built once, so that renderers know it again."""

from __future__ import annotations

from functools import cache

import numpy as np

from examples import textures
from examples.hero import hero_object
from examples.solids import box, cylinder, lathe, moved, quad, rounded, turned
from geometry.mesh import Material, Mesh

Array = np.ndarray

SCREEN = turned(-0.75, (0.62, 0.0, 0.15))  # where the glass screen stands


@cache
def robot() -> tuple[Mesh, ...]:
    return hero_object()


@cache
def display() -> tuple[Mesh, ...]:
    """A round stand with the robot and a few things on it, in its own space: the axis is +Y through the origin."""
    chips = [(0.82, 0.78, 0.70), (0.45, 0.30, 0.24), (0.30, 0.34, 0.34), (0.72, 0.56, 0.40)]
    stone = matt(textures.terrazzo((768, 1024), (0.66, 0.62, 0.56), chips, 80, 1500))
    cloth = matt(textures.kilim((768, 768), [(0.20, 0.34, 0.46), (0.90, 0.83, 0.68), (0.70, 0.22, 0.16)], 81))
    wood = matt(textures.planks((512, 512), 5, (0.78, 0.64, 0.44), 82))
    glaze = matt(textures.kilim((256, 512), [(0.90, 0.87, 0.80), (0.70, 0.30, 0.18), (0.24, 0.4, 0.5)], 83))
    jar = [(0, 0.0), (0.05, 0.0), (0.085, 0.08), (0.095, 0.15), (0.06, 0.24), (0.045, 0.27), (0.05, 0.29), (0.04, 0.29)]
    top = 0.14
    return (
        cylinder(0.5, 0.0, top, stone, "stand", bevel=0.03),
        quad((-0.3, top + 0.002, 0.3), (0.6, 0, 0), (0, 0, -0.6), cloth, "cloth"),
        *(moved(mesh, turned(0.3, (-0.1, top + 0.003, 0.05))) for mesh in robot()),
        moved(box((-0.1, 0, -0.1), (0.1, 0.2, 0.1), wood, "block"), turned(0.5, (0.22, top + 0.003, -0.16))),
        moved(lathe(jar, glaze, "jar"), turned(0, (0.2, top + 0.003, 0.2))),
    )


@cache
def garden() -> dict[str, tuple[Mesh, ...]]:
    """Behind the camera, where the room is open: paving, a fence, trees behind it. None of it shades the room."""
    boards = matt(textures.planks((768, 3072), 9, (0.74, 0.67, 0.58), 90))
    paving = matt(textures.bricks((1024, 1536), 14, (0.58, 0.56, 0.52), (0.40, 0.39, 0.37), 91))
    greens = [matt(textures.painted((512, 768), c, 92 + i, 0.3))
              for i, c in enumerate([(0.25, 0.40, 0.19), (0.33, 0.46, 0.22), (0.20, 0.34, 0.20)])]
    rng = np.random.default_rng(95)
    places = [(-5, 8.6), (-2.4, 9.0), (0.4, 8.4), (3.1, 9.2), (5.8, 8.5), (9, 6), (9.6, 3), (9.1, 0)]
    trees = tuple(
        rounded((x, 2.1 + rng.uniform(0, 0.8), z), rng.uniform(0.9, 1.5, 3), greens[i % 3], f"tree {i}", 0.9)
        for i, (x, z) in enumerate(places))
    return {
        "paving": (quad((-8, -0.02, 7), (16, 0, 0), (0, 0, -9.4), paving, "paving"),),
        "fence": (quad((8, 0, 7), (-16, 0, 0), (0, 1.7, 0), boards, "fence"),
                  quad((8, 0, -2.4), (0, 0, 9.4), (0, 1.7, 0), boards, "fence")),
        "trees": trees,
    }


@cache
def glazing() -> dict[str, tuple[Mesh, ...]]:
    """A mirror that leans on the back wall, and the frame of a glass screen in the room."""
    silver = Material((0.92, 0.93, 0.93), roughness=0.03, metallic=1.0)
    wood = matt(textures.planks((512, 512), 4, (0.42, 0.26, 0.16), 97))
    lean = turned(-0.09, (0.15, 0.0, -2.12), "x")
    mirror = quad((-0.45, 0.07, 0.012), (0.9, 0, 0), (0, 1.5, 0), silver, "mirror")
    rim = [box(lower, upper, wood, "mirror frame") for lower, upper in (
        ((-0.52, 0, -0.02), (-0.45, 1.64, 0.03)), ((0.45, 0, -0.02), (0.52, 1.64, 0.03)),
        ((-0.45, 0, -0.02), (0.45, 0.07, 0.03)), ((-0.45, 1.57, -0.02), (0.45, 1.64, 0.03)),
        ((-0.45, 0.07, -0.02), (0.45, 1.57, 0.0)))]
    posts = [box(lower, upper, wood, "screen frame") for lower, upper in (
        ((-0.56, 0, -0.025), (-0.5, 1.06, 0.025)), ((0.5, 0, -0.025), (0.56, 1.06, 0.025)),
        ((-0.5, 0.08, -0.025), (0.5, 0.14, 0.025)), ((-0.5, 1.0, -0.025), (0.5, 1.06, 0.025)))]
    return {
        "mirror": (moved(mirror, lean),),
        "mirror frame": tuple(moved(part, lean) for part in rim),
        "screen frame": tuple(moved(part, SCREEN) for part in posts),
    }


@cache
def pane() -> Mesh:
    """The screen's glass as the perfect mirror that gives its reflections and its depth."""
    perfect = Material((1.0, 1.0, 1.0), roughness=0.03, metallic=1.0)
    return moved(quad((-0.5, 0.14, 0), (1.0, 0, 0), (0, 0.86, 0), perfect, "pane"), SCREEN)


def matt(texture: Array) -> Material:
    """Lambertian: the least noise for a number of samples."""
    return Material((1.0, 1.0, 1.0), texture, roughness=1.0)

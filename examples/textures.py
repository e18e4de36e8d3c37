"""Procedural textures: (H, W, 3) uint8 sRGB, each a pure function of its arguments.

Row 0 is the top of the picture, which is v = 1. They do not repeat inside one picture, so that a tracker cannot
mistake one plank or brick for another.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

Array = np.ndarray
Colour = tuple[float, float, float]  # sRGB in [0, 1]


def value_noise(hw: tuple[int, int], cells: tuple[float, float], rng: np.random.Generator, octaves: int = 1) -> Array:
    """(H, W) float32 of mean about 0 and deviation about 1: random lattices of ``cells`` (rows, columns), enlarged.

    Each further octave has twice the cells and half the weight.
    """
    total = np.zeros(hw, np.float32)
    for octave in range(octaves):
        lattice_hw = [min(side, max(2, round(n * 2**octave))) for n, side in zip(cells, hw, strict=True)]
        lattice = rng.standard_normal(lattice_hw).astype(np.float32)
        total += cv2.resize(lattice, hw[::-1], interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return total / max(float(total.std()), 1e-6)


def to_uint8(picture: Array) -> Array:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def painted(hw: tuple[int, int], colour: Colour, seed: int, mottle: float = 0.012) -> Array:
    """A painted surface; ``mottle`` is the deviation of its brightness (0.012: nearly plain)."""
    rng = np.random.default_rng([seed, 1])
    shade = value_noise(hw, (5, 5), rng, 3) * 0.5 + value_noise(hw, (hw[0] / 3, hw[1] / 3), rng) * 0.5
    return to_uint8(np.asarray(colour, np.float32) * (1 + mottle * shade[..., None]))


def planks(hw: tuple[int, int], boards: int, colour: Colour, seed: int, lengths: float = 2.6) -> Array:
    """Boards lying along the rows: own tint each, stretched grain, a few knots, dark joints; ``lengths`` a row."""
    rng = np.random.default_rng([seed, 2])
    h, w = hw
    picture = np.empty((h, w, 3), np.float32)
    edges = np.linspace(0, h, boards + 1).round().astype(int)
    for top, bottom in pairwise(edges):
        cuts = [0, *sorted((rng.uniform(0.1, 1) + i) * w / lengths for i in range(int(lengths))), w]
        for left, right in pairwise(cuts):
            left, right = round(left), min(round(right), w)
            if right - left > 2:
                picture[top:bottom, left:right] = _board((bottom - top, right - left), colour, rng)
    return to_uint8(picture)


def _board(hw: tuple[int, int], colour: Colour, rng: np.random.Generator) -> Array:
    h, w = hw
    y, x = np.mgrid[:h, :w].astype(np.float32)
    bend = value_noise(hw, (2, 4), rng, 2) * 0.08 * h
    for _ in range(rng.poisson(0.7)):  # knots push the grain aside
        at, radius = rng.uniform((0, 0), (h, w)), rng.uniform(0.1, 0.22) * h
        distance = np.hypot((y - at[0]), (x - at[1]) / 2.2)
        bend += np.sign(y - at[0]) * radius * np.exp(-((distance / (2.2 * radius)) ** 2))
    rings = np.sin((y + bend) * (2 * np.pi / (0.19 * h)) + rng.uniform(0, 6))
    fibres = value_noise(hw, (h / 1.6, max(w / 40, 2)), rng)
    pores = np.minimum(value_noise(hw, (h / 1.2, max(w / 12, 2)), rng) + 1.3, 0)
    shade = 0.05 * rings + 0.05 * fibres + 0.09 * pores + 0.04 * value_noise(hw, (2, 6), rng, 2)
    tint = 1 + rng.normal(0, 0.085) + np.array([0.01, 0, -0.02]) * rng.normal()
    edge = np.minimum(np.minimum(y, h - 1 - y), np.minimum(x, w - 1 - x))
    joint = 1 - 0.55 * np.exp(-edge / max(0.02 * h, 0.7))
    return np.asarray(colour, np.float32) * tint * (1 + shade[..., None]) * joint[..., None]


def bricks(hw: tuple[int, int], rows: int, colour: Colour, mortar: Colour, seed: int) -> Array:
    """Running bond; bricks three times as wide as high, own tint each, chipped edges."""
    rng = np.random.default_rng([seed, 3])
    h, w = hw
    y, x = np.mgrid[:h, :w].astype(np.float32)
    course = h / rows
    y = y + value_noise(hw, (rows * 2, rows * 2), rng, 2) * 0.022 * course
    x = x + value_noise(hw, (rows * 2, rows * 2), rng, 2) * 0.022 * course
    row = np.clip(y / course, 0, rows - 1e-3).astype(int)
    along = x / (3 * course) + 0.5 * (row % 2) + 1
    column = np.clip(along, 0, None).astype(int)
    tints = rng.normal(0, 0.13, (rows, column.max() + 1, 1)) + rng.normal(0, 0.03, (rows, column.max() + 1, 3))
    edge = np.minimum(
        np.minimum(y / course - row, row + 1 - y / course),
        3 * np.minimum(along - column, column + 1 - along),
    )
    grain = 0.05 * value_noise(hw, (h / 3, w / 3), rng) + 0.06 * value_noise(hw, (rows, rows), rng, 4)
    face = np.asarray(colour, np.float32) * (1 + tints[row, column] + grain[..., None])
    bed = np.asarray(mortar, np.float32) * (1 + 0.06 * value_noise(hw, (h / 2.5, w / 2.5), rng))[..., None]
    share = np.clip((edge - 0.055) / 0.035, 0, 1)[..., None]
    return to_uint8(bed + (face - bed) * share)


def terrazzo(hw: tuple[int, int], base: Colour, chips: list[Colour], seed: int, count: int = 900) -> Array:
    """Stone chips of many sizes in cement."""
    rng = np.random.default_rng([seed, 4])
    h, w = hw
    picture = np.tile(np.asarray(base, np.float32), (h, w, 1))
    for _ in range(count):
        radius = 0.004 * h * rng.pareto(2.2) + 0.006 * h
        angles = np.sort(rng.uniform(0, 2 * np.pi, 6))
        reach = min(radius, 0.035 * h) * rng.uniform(0.6, 1.2, 6)
        corners = rng.uniform((0, 0), (w, h)) + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
        colour = np.asarray(chips[rng.integers(len(chips))]) * (1 + rng.normal(0, 0.08))
        cv2.fillPoly(picture, [(corners * 16).astype(np.int32)], colour.tolist(), cv2.LINE_AA, 4)
    return to_uint8(picture * (1 + 0.025 * value_noise(hw, (h / 2, w / 2), rng))[..., None])


def kilim(hw: tuple[int, int], colours: list[Colour], seed: int) -> Array:
    """A woven rug: bands of diamonds and zigzags, with the weave showing."""
    rng = np.random.default_rng([seed, 5])
    h, w = hw
    y, x = np.mgrid[:h, :w].astype(np.float32)
    palette = np.asarray(colours, np.float32)
    picture = np.empty((h, w, 3), np.float32)
    top, band = 0, 0
    while top < h:
        height = int(h * rng.uniform(0.05, 0.16)) + 2
        rows = slice(top, min(top + height, h))
        period = w / rng.integers(6, 14)
        saw = 2 * np.abs((x[rows] / period) % 1 - 0.5)
        across = np.abs((y[rows] - top) / height - 0.5) * 2
        pick = rng.permutation(len(palette))[:3]
        figure = (saw + across if band % 2 else np.abs(saw - across) + 0.25) < rng.uniform(0.55, 0.95)
        heart = (saw + across) < 0.35
        picture[rows] = palette[pick[0]]
        picture[rows][figure] = palette[pick[1]]
        picture[rows][heart] = palette[pick[2]]
        top, band = top + height, band + 1
    weave = 0.06 * np.sin(x * np.pi / 2) * np.sin(y * np.pi / 2.5)
    wear = 0.05 * value_noise(hw, (6, 6), rng, 3) + 0.07 * value_noise(hw, (h / 2, w / 3), rng)
    return to_uint8(picture * (1 + (weave + wear)[..., None]))


def print_on_paper(hw: tuple[int, int], paper: Colour, inks: list[Colour], seed: int) -> Array:
    """A framed print: overlapping discs, arcs and bars on paper."""
    rng = np.random.default_rng([seed, 6])
    h, w = hw
    picture = np.tile(np.asarray(paper, np.float32), (h, w, 1))
    for i in range(7):
        layer = picture.copy()
        at = tuple(int(v) for v in rng.uniform((0.2 * w, 0.2 * h), (0.8 * w, 0.8 * h)))
        colour = list(map(float, inks[i % len(inks)]))
        radius = int(h * rng.uniform(0.06, 0.2))
        if i % 3 == 2:
            start = 180 * (i % 2)
            cv2.ellipse(layer, at, (radius, radius), 0, start, start + 180, colour, h // 28, cv2.LINE_AA)
        else:
            cv2.circle(layer, at, radius, colour, -1, cv2.LINE_AA)
        picture = 0.12 * picture + 0.88 * layer
    for i in range(5):
        y = int(h * (0.72 + 0.04 * i))
        cv2.line(picture, (int(0.15 * w), y), (int(w * rng.uniform(0.4, 0.85)), y), list(inks[0]), 2, cv2.LINE_AA)
    picture[: h // 30], picture[-(h // 30) :] = 0.12, 0.12  # the frame
    picture[:, : h // 30], picture[:, -(h // 30) :] = 0.12, 0.12
    return to_uint8(picture)


def leaf(hw: tuple[int, int], colour: Colour, seed: int) -> Array:
    """A blade with a light midrib along the rows' middle and fine veins."""
    rng = np.random.default_rng([seed, 7])
    y, x = np.mgrid[: hw[0], : hw[1]].astype(np.float32)
    across = np.abs(y / hw[0] - 0.5) * 2
    veins = np.sin((x / hw[1] * 9 - across * 1.6) * 2 * np.pi) ** 8
    shade = 0.55 * np.exp(-((across / 0.06) ** 2)) + 0.14 * veins * (1 - across)
    shade = shade - 0.12 * across + 0.05 * value_noise(hw, (4, 8), rng, 3)
    return to_uint8(np.asarray(colour, np.float32) * (1 + shade[..., None]))

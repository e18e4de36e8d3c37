"""A bay at dusk, painted by code as a matte painter would leave it: layers on a canvas with room round the picture.

Depths are metres; the camera is 3 m above the water and looks level.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from examples.textures import value_noise
from geometry.camera import Camera
from geometry.layers import Layer, LayerStack

Array = np.ndarray
Colour = tuple[float, float, float]

HEIGHT_M = 3.0
HORIZON = 0.46  # of the picture's height
MARGIN = 1 / 12  # of the picture's sides, on every side
HAZE: Colour = (0.93, 0.72, 0.60)
FINER = 4  # edges are painted so many times as large, then averaged


def bay(wh: tuple[int, int], seed: int = 0) -> LayerStack:
    """The layers for a picture of ``wh`` px: sky, mountains, sea, island, pier, branch."""
    margin = round(MARGIN * wh[0]), round(MARGIN * wh[1])
    canvas = wh[0] + 2 * margin[0], wh[1] + 2 * margin[1]
    horizon = margin[1] + HORIZON * wh[1]
    camera = Camera(0.9 * wh[0], 0.9 * wh[0], canvas[0] / 2, horizon, canvas)
    rng = np.random.default_rng([seed, 20])
    painters = (_sky, _mountains, _sea, _island, _pier, _branch)
    layers = tuple(painter(camera, wh, rng) for painter in painters)
    return LayerStack(layers, camera, (margin[0], margin[1], margin[0] + wh[0], margin[1] + wh[1]), "srgb", True)


def water(stack: LayerStack) -> Array:
    """(H, W) uint8 mask of the picture: where its water flows."""
    x0, y0, x1, y1 = stack.picture
    sea = next(layer for layer in stack if layer.name == "sea")
    canvas = np.zeros(stack.camera.hw, np.uint8)
    canvas[sea.xy[1] + 4 :] = 255
    return canvas[y0:y1, x0:x1]


def _sky(camera: Camera, wh: tuple[int, int], rng: np.random.Generator) -> Layer:
    w, h = camera.wh
    y, x = np.mgrid[:h, :w].astype(np.float32)
    up = np.clip((camera.cy - y) / camera.cy, 0, 1)[..., None]
    colour = _mix(np.array(HAZE), np.array([0.20, 0.28, 0.48]), up**0.7)
    glow = np.exp(-(((x - 0.7 * w) / (0.3 * w)) ** 2 + ((y - camera.cy) / (0.25 * h)) ** 2))[..., None]
    colour = _mix(colour, np.array([1.0, 0.80, 0.55]), 0.8 * glow)
    cloud = value_noise((h, w), (9, 4), rng, 6)
    cover = np.clip(0.5 * cloud + 0.1 - np.abs(up[..., 0] - 0.45), 0, 1)[..., None]
    lit = _mix(np.array([0.45, 0.38, 0.46]), np.array([1.0, 0.80, 0.66]), np.clip(0.5 + 0.4 * cloud[..., None], 0, 1))
    return _layer("sky", _mix(colour, lit, 0.8 * cover), np.ones((h, w)), 400.0, (0, 0))


def _mountains(camera: Camera, wh: tuple[int, int], rng: np.random.Generator) -> Layer:
    w, horizon = camera.wh[0], round(camera.cy)
    top = round(horizon - 0.30 * wh[1])
    y, _ = np.mgrid[top : horizon + 3, :w].astype(np.float32)
    colour, cover = np.array(HAZE), np.zeros(y.shape)
    for k, (rise, far) in enumerate(((0.24, 0.75), (0.15, 0.5), (0.08, 0.25))):
        ridge = value_noise((1, w), (1, 5 + 3 * k), rng, 7)[0]
        edge = horizon - wh[1] * rise * np.clip(0.55 + 0.22 * ridge, 0.1, 1)
        own = np.clip(y - edge[None] + 0.5, 0, 1)
        rock = np.array([0.17, 0.20, 0.27]) * (1 + 0.10 * value_noise(y.shape, (12, 40), rng, 4)[..., None])
        low = np.clip((y - edge[None]) / (0.2 * wh[1]), 0, 1)[..., None]
        own_colour = _mix(rock, np.array(HAZE), far + 0.2 * low)
        colour = own_colour if k == 0 else _mix(colour, own_colour, own[..., None])
        cover = np.maximum(cover, own)
    return _layer("mountains", colour, cover, 160.0, (0, top))


def _sea(camera: Camera, wh: tuple[int, int], rng: np.random.Generator) -> Layer:
    w, h = camera.wh
    top = round(camera.cy)
    y, x = np.mgrid[top:h, :w].astype(np.float32) + 0.5
    z = np.minimum(HEIGHT_M * camera.fy / np.maximum(y - camera.cy, 0.5), 150.0)
    across = (x - camera.cx) / camera.fx * z
    slope = np.zeros_like(z)
    for _ in range(28):  # swell and ripples: each fades where it is finer than a pixel
        length = 10 ** rng.uniform(-0.6, 0.7)
        turn, phase = rng.normal(0, 0.5), rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * (z * np.cos(turn) + across * np.sin(turn)) / length + phase)
        row_m = z * z / (HEIGHT_M * camera.fy)  # of water that a pixel's height shows
        slope += wave * length**0.35 * np.exp(-((2.5 * row_m / length) ** 2))
    slope /= 4.0
    towards = np.clip(z / 60, 0, 1)[..., None]  # grazing: the water shows the sky
    deep = _mix(np.array([0.06, 0.15, 0.20]), np.array([0.42, 0.42, 0.48]), towards**0.6)
    shine = np.clip(0.35 + 0.5 * slope[..., None], 0, 1) * (0.4 + 0.4 * towards)
    colour = _mix(deep, np.array([0.86, 0.66, 0.55]), shine)
    path = np.exp(-(((x - 0.7 * w) / (0.06 * w + 0.25 * (y - top))) ** 2))
    glint = np.clip(slope - 0.5, 0, 1)[..., None] * path[..., None]
    colour = _mix(colour, np.array([1.0, 0.85, 0.62]), np.clip(1.6 * glint, 0, 0.9))
    return _layer("sea", colour, np.ones(z.shape), z, (0, top))


def _island(camera: Camera, wh: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A rock with a hut, 22 m away; its foot stands in the water."""
    z = 22.0
    foot = camera.cy + HEIGHT_M * camera.fy / z
    h, w = round(0.24 * wh[1]), round(0.44 * wh[0])
    x0, y0 = round(camera.cx - 0.40 * wh[0]), round(foot) - h
    ridge = value_noise((1, w), (1, 9), rng, 5)[0]
    u = np.linspace(-1, 1, w)
    edge = h - h * np.clip((1 - u**2) * (0.50 + 0.06 * ridge), 0, 1)
    hut_x, hut_w, base = round(0.52 * w), round(0.16 * w), float(edge[round(0.56 * w)])
    body = _rectangle(hut_x, base - 0.26 * h, hut_w, 0.40 * h)
    roof = [(hut_x - 0.1 * hut_w, base - 0.25 * h), (hut_x + 0.5 * hut_w, base - 0.45 * h),
            (hut_x + 1.1 * hut_w, base - 0.25 * h)]  # fmt: skip
    rock = np.array([0.16, 0.15, 0.17]) * (1 + 0.28 * value_noise((h, w), (26, 44), rng, 4)[..., None])
    grass = np.clip(1 - (np.mgrid[:h, :w][0] - edge[None]) / (0.10 * h), 0, 1)[..., None]
    colour = _mix(rock, np.array([0.25, 0.25, 0.15]), 0.8 * grass)
    cover = _polygon((h, w), [*zip(range(w), edge, strict=True), (w, h + 1), (0, h + 1)])
    boards = 1 + 0.12 * value_noise((h, w), (4, 60), rng, 2)[..., None]
    for shape, tone in ((body, (0.42, 0.20, 0.15)), (roof, (0.14, 0.13, 0.16))):
        own = _polygon((h, w), shape)
        colour, cover = _mix(colour, np.array(tone) * boards, own[..., None]), np.maximum(cover, own)
    window = _polygon((h, w), _rectangle(hut_x + 0.35 * hut_w, base - 0.18 * h, 0.25 * hut_w, 0.09 * h))
    return _layer("island", _mix(colour, np.array([1.0, 0.82, 0.45]), window[..., None]), cover, z, (x0, y0))


def _pier(camera: Camera, wh: tuple[int, int], rng: np.random.Generator) -> Layer:
    """Planks and a railing that come in from the right, 7 m away: thin things."""
    x0, y0 = round(camera.cx + 0.02 * wh[0]), round(camera.cy + 0.12 * wh[1])
    w, h = camera.wh[0] - x0, camera.wh[1] - y0
    deck = 0.52 * h
    cover = _polygon((h, w), [(0.05 * w, deck), (w + 1, deck), (w + 1, deck + 0.10 * h), (0.05 * w, deck + 0.10 * h)])
    for k in range(7):
        at = (0.07 + 0.155 * k) * w
        cover = np.maximum(cover, _polygon((h, w), _rectangle(at, 0.10 * h, 0.011 * w, deck - 0.08 * h)))
        if k % 2 == 0:
            cover = np.maximum(cover, _polygon((h, w), _rectangle(at, deck, 0.022 * w, h - deck + 1)))
    for rail in (0.12, 0.27, 0.40):
        cover = np.maximum(cover, _polygon((h, w), _rectangle(0.06 * w, rail * h, w, 0.014 * h)))
    wood = 1 + 0.16 * value_noise((h, w), (70, 8), rng, 3)[..., None]
    light = np.clip(1.15 - np.mgrid[:h, :w][0] / h, 0.4, 1.2)[..., None]
    return _layer("pier", np.array([0.24, 0.17, 0.14]) * wood * light, cover, 7.0, (x0, y0))


def _branch(camera: Camera, wh: tuple[int, int], rng: np.random.Generator) -> Layer:
    """A pine branch that hangs into the picture from the left, 4 m away."""
    w, h = round(0.52 * camera.wh[0]), round(0.42 * camera.wh[1])
    big = np.zeros((h * 2, w * 2), np.uint8)
    for start, end in (((0, 0.10), (0.85, 0.34)), ((0, 0.42), (0.50, 0.66))):
        for t in np.linspace(0.0, 1.0, 90):
            sag = 0.06 * t * t
            at = 2 * np.array([_between(start[0], end[0], t) * w, (_between(start[1], end[1], t) + sag) * h])
            thick = max(2, round((1 - t) * 0.028 * h))
            cv2.circle(big, tuple(int(v) for v in at), thick, 255, -1, cv2.LINE_AA)
            for _ in range(7):
                angle = rng.uniform(-0.4, np.pi + 0.4)
                tip = at + np.array([np.cos(angle), np.sin(angle)]) * rng.uniform(0.04, 0.13) * h
                cv2.line(big, tuple(int(v) for v in at), tuple(int(v) for v in tip), 255, 2, cv2.LINE_AA)
    cover = cv2.resize(big, (w, h), interpolation=cv2.INTER_AREA) / 255.0
    tone = np.array([0.07, 0.10, 0.08]) * (1 + 0.3 * value_noise((h, w), (20, 30), rng, 3)[..., None])
    return _layer("branch", tone, cover, 4.0, (0, 0))


def _layer(name: str, colour: Array, alpha: Array, depth: Array | float, xy: tuple[int, int]) -> Layer:
    """From sRGB values in [0, 1]: 16 bits."""
    codes = [np.rint(np.clip(plane, 0, 1) * 65535).astype(np.uint16) for plane in (colour, alpha)]
    spread = np.broadcast_to(np.asarray(depth, np.float32), alpha.shape)
    return Layer(name, codes[0], codes[1], spread, xy)


def _mix(a: Array, b: Array, share: Array | float) -> Array:
    return a + (b - a) * share


def _between(a: float, b: float, share: float) -> float:
    return a + (b - a) * share


def _rectangle(x: float, y: float, w: float, h: float) -> list[tuple[float, float]]:
    return [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]


def _polygon(hw: tuple[int, int], corners: Sequence[tuple[float, float]]) -> Array:
    """(H, W) coverage in [0, 1]."""
    big = np.zeros((hw[0] * FINER, hw[1] * FINER), np.uint8)
    cv2.fillPoly(big, [np.rint(np.array(corners) * FINER).astype(np.int32)], 255)
    return cv2.resize(big, hw[::-1], interpolation=cv2.INTER_AREA) / 255.0

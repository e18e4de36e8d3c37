"""White noise that is carried along a flow and stays white and Gaussian.

A pixel of noise is read as the integral of finer noise over its unit cell ("How I Warped Your Noise", Chang et al.,
ICLR 2024): a cell that is handed on in parts gives each part its share of the variance and, together, the value it
had. Each pixel of the new picture asks for the area that its footprint covers of the cells of the old one. Per cell
the requests, in the order of the pixels, walk a Brownian bridge from (0, 0) to (1, x), x the cell's value: over (t1,
t2), at height q, the step has mean (t2 - t1) (x - q) / (1 - t1) and variance (t2 - t1) (1 - t2) / (1 - t1) (the limit
of infinite resolution: Deng et al., "Infinite-Resolution Integral Noise Warping for Diffusion Models", 2024). A
pixel's steps, divided by the root of the area that it got, are its noise. No two pixels get the same piece, so that
the result is independent from pixel to pixel whatever the flow; where no area comes, noise is new.

A footprint is the upright box about the warped pixel whose sides are the lengths of the rows of the flow's Jacobian:
exact for shifts, zooms and turns by right angles, of the right size for every turn. Cells asked for more than they
have share in proportion.

A flow that is followed frame by frame blurs where noise came from, since pixels are cut anew each time; with exact
flow, carry the noise of one frame straight to every other instead. ``noise_torch`` is the same for tensors.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.special import ndtri

from geometry.flow import Flow
from geometry.shapes import expect_shape
from geometry.sight_kernels import compiled, inlined

Array = np.ndarray
BAND_ROWS = 32  # source rows that one task walks through; more than the tallest footprint
LONGEST_PX = 4.0  # a footprint's sides are at most this long, a longer one is cut
SHORTEST_PX = 1e-3
TAG_STEP, TAG_FRESH = 1, 2
BINS, TAIL_BINS = 4096, 16
QUANTILES = ndtri(np.arange(BINS + 1) / BINS)  # of the normal distribution; the ends are infinite and not used


def fresh_noise(shape: tuple[int, int, int], *, seed: int, frame: int) -> Array:
    """(H, W, C) float32 standard normal; every value belongs to its pixel, channel, frame and seed."""
    h, w, channels = shape
    return np.stack([_normals(h * w, _key(seed, frame, k, TAG_FRESH)).reshape(h, w) for k in range(channels)], -1)


def warp_noise(noise: Array, flow: Flow, *, seed: int, frame: int, threads: int | None = None) -> Array:
    """Noise (h, w, C) float32 of ``frame``, which the (H, W, C) ``noise`` of another frame is carried to.

    ``flow`` (h, w) leads from ``frame`` back to that of ``noise``; what is not visible there gets new noise. The
    result does not depend on ``threads`` (None: all cores).
    """
    expect_shape("noise", noise, (None, None, None))
    rows, columns, channels = noise.shape
    boxes, reach = _footprints(flow.dx_dy, flow.visible, rows, columns)
    bands = [(first, min(first + BAND_ROWS, rows)) for first in range(0, rows, BAND_ROWS)]
    out = np.empty((*flow.visible.shape, channels), np.float32)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        shares = list(pool.map(lambda band: _shares(boxes, reach, *band, columns), bands))
        for k in range(channels):
            source, key = np.ascontiguousarray(noise[..., k], np.float32), _key(seed, frame, k, TAG_STEP)
            steps, areas = _handed_out(pool, source, boxes, reach, bands, shares, key)
            out[..., k] = _joined(steps, areas, _key(seed, frame, k, TAG_FRESH))
    return out


def _handed_out(
    pool: ThreadPoolExecutor, source: Array, boxes: Array, reach: Array, bands: list[tuple[int, int]],
    shares: list[Array], key: np.uint64,
) -> tuple[Array, Array]:
    """(2, h, w) steps and areas. A footprint lies in two neighbouring bands at most: each has a layer of its own."""
    steps, areas = np.zeros((2, *boxes.shape[:2]), np.float32), np.zeros((2, *boxes.shape[:2]), np.float32)

    def walk(i: int) -> None:
        _walk(source, boxes, reach, *bands[i], shares[i], key, steps[i % 2], areas[i % 2])

    list(pool.map(walk, range(len(bands))))
    return steps, areas


def pooled_noise(noise: Array, factor: int) -> Array:
    """(H / factor, W / factor, C): sums of whole blocks over ``factor``, white and of variance 1 again.

    Raises ``ValueError`` unless ``factor`` divides both sides.
    """
    h, w, channels = noise.shape
    if h % factor or w % factor:
        raise ValueError(f"factor: expected a divisor of {w} x {h}, got {factor}")
    return noise.reshape(h // factor, factor, w // factor, factor, channels).sum((1, 3)) / factor


def _key(seed: int, frame: int, channel: int, tag: int) -> np.uint64:
    return np.random.SeedSequence([seed, frame % 2**32, channel, tag]).generate_state(1, np.uint64)[0]


@compiled
def _footprints(dx_dy: Array, visible: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """(h, w, 4) float32 left, right, top, bottom in the source, empty (inf, -inf) where nothing is asked for; and (h,
    2): the source rows that each row of pixels asks for."""
    h, w = visible.shape
    boxes, reach = np.empty((h, w, 4), np.float32), np.empty((h, 2), np.float32)
    for row in range(h):
        reach[row, 0], reach[row, 1] = np.inf, -np.inf
        for column in range(w):
            boxes[row, column, 0] = boxes[row, column, 2] = np.inf
            boxes[row, column, 1] = boxes[row, column, 3] = -np.inf
            if not visible[row, column]:
                continue
            x, y = column + 0.5 + dx_dy[row, column, 0], row + 0.5 + dx_dy[row, column, 1]
            if not (0 <= x < columns and 0 <= y < rows):
                continue
            u_x, v_x = _slope(dx_dy, visible, row, column, 0, 1)
            u_y, v_y = _slope(dx_dy, visible, row, column, 1, 0)
            half_w = 0.5 * min(max(np.sqrt((1 + u_x) ** 2 + u_y**2), SHORTEST_PX), LONGEST_PX)
            half_h = 0.5 * min(max(np.sqrt(v_x**2 + (1 + v_y) ** 2), SHORTEST_PX), LONGEST_PX)
            boxes[row, column, 0], boxes[row, column, 1] = max(x - half_w, 0.0), min(x + half_w, columns)
            boxes[row, column, 2], boxes[row, column, 3] = max(y - half_h, 0.0), min(y + half_h, rows)
            reach[row, 0] = min(reach[row, 0], boxes[row, column, 2])
            reach[row, 1] = max(reach[row, 1], boxes[row, column, 3])
    return boxes, reach


@inlined
def _slope(dx_dy: Array, visible: Array, row: int, column: int, down: int, right: int) -> tuple[float, float]:
    """Change of the flow per pixel down or to the right: the smaller one of both sides, since the other may cross an
    edge."""
    h, w = visible.shape
    u, v, best = 0.0, 0.0, np.inf
    for sign in (-1, 1):
        r, c = row + sign * down, column + sign * right
        if 0 <= r < h and 0 <= c < w and visible[r, c]:
            du = sign * (dx_dy[r, c, 0] - dx_dy[row, column, 0])
            dv = sign * (dx_dy[r, c, 1] - dx_dy[row, column, 1])
            if du * du + dv * dv < best:
                u, v, best = du, dv, du * du + dv * dv
    return u, v


@compiled
def _shares(boxes: Array, reach: Array, first: int, last: int, columns: int) -> Array:
    """(last - first, columns): what a unit of area asked of each cell in source rows ``first`` to ``last`` gets of
    it."""
    h, w = boxes.shape[:2]
    asked = np.zeros((last - first, columns), np.float32)
    for row in range(h):
        if reach[row, 1] <= first or reach[row, 0] >= last:
            continue
        for column in range(w):
            left, right = boxes[row, column, 0], boxes[row, column, 1]
            top, bottom = max(boxes[row, column, 2], first), min(boxes[row, column, 3], last)
            r = int(top)
            while r < bottom:
                tall = min(bottom, r + 1) - max(top, r)
                c = int(left)
                while c < right:
                    asked[r - first, c] += tall * (min(right, c + 1) - max(left, c))
                    c += 1
                r += 1
    return 1 / np.maximum(asked, 1).astype(np.float64)


@compiled
def _walk(
    source: Array, boxes: Array, reach: Array, first: int, last: int, shares: Array, key: np.uint64, steps: Array,
    areas: Array,
) -> None:
    """Hand out the cells of source rows ``first`` to ``last``; add to ``steps`` and ``areas``."""
    h, w = boxes.shape[:2]
    columns = source.shape[1]
    spent, height = np.zeros((last - first, columns)), np.zeros((last - first, columns))
    for row in range(h):
        if reach[row, 1] <= first or reach[row, 0] >= last:
            continue
        for column in range(w):
            left, right = boxes[row, column, 0], boxes[row, column, 1]
            top, bottom = max(boxes[row, column, 2], first), min(boxes[row, column, 3], last)
            if top >= bottom:
                continue
            gained, value = 0.0, 0.0
            r = int(top)
            while r < bottom:
                tall = min(bottom, r + 1) - max(top, r)
                c = int(left)
                while c < right:
                    t1, q = spent[r - first, c], height[r - first, c]
                    area = tall * (min(right, c + 1) - max(left, c))
                    t2 = min(t1 + area * shares[r - first, c], 1.0)
                    forward = (t2 - t1) / max(1 - t1, 1e-12)
                    # A footprint meets a cell once: the number is this meeting's own.
                    number = _normal(key, ((row * w + column) * 8 + (r & 7)) * 8 + (c & 7))
                    step = forward * (source[r, c] - q) + np.sqrt(forward * (1 - t2)) * number
                    spent[r - first, c], height[r - first, c] = t2, q + step
                    gained += t2 - t1
                    value += step
                    c += 1
                r += 1
            areas[row, column] += gained
            steps[row, column] += value


@compiled
def _joined(steps: Array, areas: Array, key: np.uint64) -> Array:
    _, h, w = steps.shape
    out = np.empty((h, w), np.float32)
    for row in range(h):
        for column in range(w):
            area = areas[0, row, column] + areas[1, row, column]
            if area > 0:
                out[row, column] = (steps[0, row, column] + steps[1, row, column]) / np.sqrt(area)
            else:
                out[row, column] = _normal(key, row * w + column)
    return out


@compiled
def _normals(count: int, key: np.uint64) -> Array:
    out = np.empty(count, np.float32)
    for i in range(count):
        out[i] = _normal(key, i)
    return out


@inlined
def _normal(key: np.uint64, counter: int) -> float:
    """A standard normal number that belongs to ``counter``: any order of evaluation gives the same ones.

    Bits: the counter-based generator SplitMix64 (Steele, Lea and Flood 2014). From uniform to normal: the inverse of
    the distribution, by quantiles in the middle and in the tails to 7 digits (Wichura 1988, AS 241).
    """
    z = key + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    u = (np.float64(np.int64(z >> np.uint64(11))) + 0.5) * (BINS * 2.0**-53)  # in bins
    i = int(u)
    if TAIL_BINS <= i < BINS - TAIL_BINS:
        return QUANTILES[i] + (u - i) * (QUANTILES[i + 1] - QUANTILES[i])
    r = np.sqrt(-np.log(min(u, BINS - u) / BINS))
    if r <= 5:
        r -= 1.6
        top = ((0.17023821103 * r + 1.3067284816) * r + 2.75681539) * r + 1.4234372777
        value = top / ((0.12021132975 * r + 0.7370016425) * r + 1.0)
    else:
        r -= 5.0
        top = ((0.017337203997 * r + 0.42868294337) * r + 3.081226386) * r + 6.657905115
        value = top / ((0.012258202635 * r + 0.24197894225) * r + 1.0)
    return value if i > TAIL_BINS else -value

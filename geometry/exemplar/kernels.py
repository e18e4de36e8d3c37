"""The compiled loops behind ``synthesis`` and ``charts``.

In one file, because compiled code kept on disk is made anew only when its own file changes. Pictures are (h, w, 3)
float32 of whole code values, and no sum of a patch reaches 2^24: results do not depend on the order of sums. ``state``
(h, w) float32 is ``NONE``, ``OPEN`` (to be filled) or ``KNOWN``, which is also a texel's weight in comparisons. A match
is the flat index of a texel of the source, or -1. All rasters have a border of ``BORDER`` texels in which nothing lies.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray
BORDER = 3
NONE, OPEN, KNOWN = 0, 1, 2
REACH = 2  # patches are 5 x 5
CONTINUED = np.float32(0.7)  # of the cost of what continues a neighbour's match
MISSING = 3 * 48 * 48  # what a texel costs that the source's patch does not have
compiled: Any = njit(cache=True, nogil=True, error_model="numpy")
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)


@inlined
def _cost(
    picture: Array, state: Array, y: int, x: int, source: Array, have: Array, torn: bool, sy: int, sx: int, limit: float
) -> np.float32:
    """Weighted squared difference of two patches; some number >= ``limit`` where it is not below that. ``torn``:
    patches of the source may lack texels."""
    total = np.float32(0)
    for dy in range(-REACH, REACH + 1):
        for dx in range(-REACH, REACH + 1):
            a = picture[y + dy, x + dx, 0] - source[sy + dy, sx + dx, 0]
            b = picture[y + dy, x + dx, 1] - source[sy + dy, sx + dx, 1]
            c = picture[y + dy, x + dx, 2] - source[sy + dy, sx + dx, 2]
            gap = a * a + b * b + c * c
            if torn and not have[sy + dy, sx + dx]:
                gap = np.float32(MISSING)
            total += state[y + dy, x + dx] * gap
        if total >= limit:
            break
    return total


@compiled
def unrolled(
    labels: Array, normal: Array, position: Array, facing: Array, right: Array, down: Array, finest: float, second: bool
) -> tuple[Array, Array, Array]:
    """(H, W) int64 direction that each pixel faces, or the ``second`` best; (H, W, 2) float64 place on its plane; and
    (H, W) float64 by how much it faces the best one more than the second. Normals are rounded to ``finest``, and of
    directions as near the last one is taken: flat faces do not fall apart."""
    h, w = labels.shape
    direction, at, lead = np.full((h, w), len(facing)), np.empty((h, w, 2)), np.full((h, w), np.inf)
    for y in range(h):
        for x in range(w):
            if labels[y, x] == 0:
                at[y, x, 0], at[y, x, 1] = y + 0.5, x + 0.5
                continue
            n0, n1, n2 = (np.rint(normal[y, x, 0] / finest) * finest, np.rint(normal[y, x, 1] / finest) * finest,
                          np.rint(normal[y, x, 2] / finest) * finest)  # fmt: skip
            best, next_best, k, next_k = -2.0, -2.0, 0, 0
            for d in range(len(facing)):
                cosine = n0 * facing[d, 0] + n1 * facing[d, 1] + n2 * facing[d, 2] + 1e-6 * d
                if cosine > best:
                    best, next_best, k, next_k = cosine, best, d, k
                elif cosine > next_best:
                    next_best, next_k = cosine, d
            lead[y, x] = best - next_best
            if second:
                k = next_k
            p = position[y, x]
            at[y, x, 0] = p[0] * down[k, 0] + p[1] * down[k, 1] + p[2] * down[k, 2]
            at[y, x, 1] = p[0] * right[k, 0] + p[1] * right[k, 1] + p[2] * right[k, 2]
            direction[y, x] = k
    return direction, at, lead


@compiled
def steps(chart: Array, at: Array) -> Array:
    """(2, H, W, 2) from each pixel to the next one down, and to the right, in its chart; backwards where that is the
    shorter step; nan where there is none."""
    h, w = chart.shape
    found = np.full((2, h, w, 2), np.nan)
    for y in range(h):
        for x in range(w):
            for axis in range(2):
                shortest = np.inf
                for sign in (1, -1):
                    v, u = (y + sign, x) if axis == 0 else (y, x + sign)
                    if v < 0 or u < 0 or v >= h or u >= w or chart[v, u] != chart[y, x]:
                        continue
                    a, b = sign * (at[v, u, 0] - at[y, x, 0]), sign * (at[v, u, 1] - at[y, x, 1])
                    if a * a + b * b < shortest:
                        shortest = a * a + b * b
                        found[axis, y, x, 0], found[axis, y, x, 1] = a, b
    return found


@compiled
def spans(chart: Array, at: Array, level: Array, most: int, texel: float, low: Array, high: Array) -> None:
    """Widen boxes ``low`` and ``high`` (K, 2) of whole texels to hold the places whose level is at most ``most``."""
    for i in range(len(chart)):
        if level[i] > most:
            continue
        for axis in range(2):
            place = int(np.floor(at[i, axis] / texel))
            low[chart[i], axis] = min(low[chart[i], axis], place)
            high[chart[i], axis] = max(high[chart[i], axis], place)


@compiled
def compared(here: Array, weight: Array, there: Array, have: Array, start: int, stop: int, cost: Array) -> None:
    """Write what ``_cost`` is for rows ``start`` to ``stop`` of ``here`` (N, 75) against all columns of ``there`` (75,
    M) into ``cost`` (N, M); ``weight`` (N, 75), ``have`` (75, M) bool."""
    lacking = np.float32(MISSING / 3)
    torn = not have.all()
    for i in range(start, stop):
        cost[i] = 0
        for k in range(here.shape[1]):
            value, by = here[i, k], weight[i, k]
            if by == NONE:
                continue
            for j in range(there.shape[1]):
                gap = value - there[k, j]
                square = gap * gap
                if torn and not have[k, j]:
                    square = lacking
                cost[i, j] += by * square


@compiled
def refined(
    rows: Array, columns: Array, start: int, stop: int, picture: Array, state: Array, source: Array, have: Array,
    usable: Array, torn: bool, match: Array, similar: Array, found: Array,
) -> None:
    """Write the best candidate of texels ``start`` to ``stop`` into ``found``.

    Candidates are the own match, what the matches of the eight neighbours continue to, and what the texels that
    resemble those in the source continue to. A continuation may cost a little more than what stands alone: otherwise
    plain parts of the source, where all costs are alike, come out as one small piece again and again.
    """
    hs, ws = have.shape
    tried = np.empty(9 * (similar.shape[1] + 1), np.int64)
    for n in range(start, stop):
        y, x = rows[n], columns[n]
        best, count = match[y, x], 0
        cost, continues = np.float32(np.inf), False
        if best >= 0:
            cost = _cost(picture, state, y, x, source, have, torn, best // ws, best % ws, cost)
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                near = match[y + dy, x + dx]
                if near < 0:
                    continue
                for k in range(similar.shape[1] + 1):
                    start_at = near if k == 0 else similar[near, k - 1]
                    if start_at < 0:
                        continue
                    sy, sx = start_at // ws - dy, start_at % ws - dx
                    if sy < 0 or sx < 0 or sy >= hs or sx >= ws or not usable[sy, sx]:
                        continue
                    goes_on = k == 0 and (dy != 0 or dx != 0)
                    if sy * ws + sx == best:
                        if goes_on and not continues:
                            cost, continues = cost * CONTINUED, True
                        continue
                    seen = False
                    for t in range(count):
                        seen |= tried[t] == sy * ws + sx
                    if seen:
                        continue
                    tried[count] = sy * ws + sx
                    count += 1
                    other = _cost(picture, state, y, x, source, have, torn, sy, sx, cost / CONTINUED)
                    if goes_on:
                        other *= CONTINUED
                    if other < cost:
                        best, cost, continues = sy * ws + sx, other, goes_on
        found[y, x] = best


@compiled
def voted(
    rows: Array, columns: Array, start: int, stop: int, match: Array, source: Array, have: Array, reach: int,
    picture: Array,
) -> None:
    """Write the mean of what all patches over a texel say of it; nothing where none says anything."""
    hs, ws = have.shape
    for n in range(start, stop):
        y, x = rows[n], columns[n]
        total, r, g, b = 0.0, 0.0, 0.0, 0.0
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                at = match[y + dy, x + dx]
                if at < 0:
                    continue
                sy, sx = at // ws - dy, at % ws - dx
                if sy < 0 or sx < 0 or sy >= hs or sx >= ws or not have[sy, sx]:
                    continue
                weight = 1 << (2 * reach - abs(dy) - abs(dx))
                total += weight
                r += weight * source[sy, sx, 0]
                g += weight * source[sy, sx, 1]
                b += weight * source[sy, sx, 2]
        if total > 0:
            picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = (
                np.floor(r / total + 0.5), np.floor(g / total + 0.5), np.floor(b / total + 0.5),
            )  # fmt: skip


@compiled
def drawn_quads(
    chart: Array, at: Array, colours: Array, chosen: Array, longest: float, sheet: Array, total: Array, weight: Array
) -> None:
    """Draw what a picture shows onto a sheet: each square of four neighbouring pixel centres as two triangles.

    ``at`` (H, W, 2) float64: row and column on the sheet, texel centres at halves. Only squares whose first pixel is
    ``chosen``, that lie in one chart, and none of whose sides is longer than ``longest`` texels. ``total`` (h, w, 3)
    and ``weight`` (h, w) collect colours at texel centres.
    """
    h, w = chart.shape
    for y in range(h - 1):
        for x in range(w - 1):
            k = chart[y, x]
            if not chosen[y, x] or k < 0 or chart[y + 1, x] != k or chart[y, x + 1] != k or chart[y + 1, x + 1] != k:
                continue
            for half in range(2):
                by, bx = (y, x + 1) if half == 0 else (y + 1, x)
                _draw_triangle(y, x, by, bx, y + 1, x + 1, k, at, colours, longest, sheet, total, weight)


@inlined
def _draw_triangle(
    ay: int, ax: int, by: int, bx: int, cy: int, cx: int, k: int, at: Array, colours: Array, longest: float,
    sheet: Array, total: Array, weight: Array,
) -> None:
    a0, a1, b0, b1, c0, c1 = at[ay, ax, 0], at[ay, ax, 1], at[by, bx, 0], at[by, bx, 1], at[cy, cx, 0], at[cy, cx, 1]
    low0, high0 = min(a0, b0, c0), max(a0, b0, c0)
    low1, high1 = min(a1, b1, c1), max(a1, b1, c1)
    area = (b0 - a0) * (c1 - a1) - (b1 - a1) * (c0 - a0)
    if area == 0 or high0 - low0 > longest or high1 - low1 > longest:
        return
    for row in range(int(np.ceil(low0 - 0.5)), int(np.floor(high0 - 0.5)) + 1):
        for column in range(int(np.ceil(low1 - 0.5)), int(np.floor(high1 - 0.5)) + 1):
            if row < 0 or column < 0 or row >= sheet.shape[0] or column >= sheet.shape[1] or sheet[row, column] != k:
                continue
            p0, p1 = row + 0.5 - a0, column + 0.5 - a1
            v = (p0 * (c1 - a1) - p1 * (c0 - a0)) / area
            u = ((b0 - a0) * p1 - (b1 - a1) * p0) / area
            if u < 0 or v < 0 or u + v > 1:
                continue
            weight[row, column] += 1
            for c in range(3):
                total[row, column, c] += (
                    (1 - u - v) * colours[ay, ax, c] + v * colours[by, bx, c] + u * colours[cy, cx, c]
                )


@compiled
def openness(depth: Array, normal: Array, position: Array, object_id: Array, offsets: Array, reach: Array) -> Array:
    """(H, W) float32 in [0, 1]: how much of the sky a surface sees past what the picture shows beside it.

    ``offsets`` (N, 2) (dx, dy) in units of ``reach`` (H, W) px. Of a neighbour at direction d and distance r counts
    n . d, less as r exceeds the distance in the world that ``reach`` stands for.
    """
    h, w = depth.shape
    free = np.ones((h, w), np.float32)
    for y in range(h):
        for x in range(w):
            if object_id[y, x] == 0:
                continue
            blocked, counted = 0.0, 0.0
            n = normal[y, x]
            p = position[y, x]
            for i in range(len(offsets)):
                u = x + int(np.rint(offsets[i, 0] * reach[y, x]))
                v = y + int(np.rint(offsets[i, 1] * reach[y, x]))
                counted += 1
                if u < 0 or v < 0 or u >= w or v >= h or object_id[v, u] == 0:
                    continue
                q = position[v, u]
                d0, d1, d2 = q[0] - p[0], q[1] - p[1], q[2] - p[2]
                far = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2)
                if far < 1e-9:
                    continue
                rise = (n[0] * d0 + n[1] * d1 + n[2] * d2) / far
                span = 0.1 * depth[y, x]
                blocked += max(rise - 0.05, 0.0) / (1 + (far / span) ** 4)
            free[y, x] = 1 - min(blocked / counted * 2.5, 1.0)
    return free

"""The compiled loops behind ``texture`` and ``compose``: texels, and layers laid under one another.

As in ``kernels``, whose formula (1) says which texel is seen, loops share nothing between rows, and call none of
another file. A layer that faces a camera which does not turn is scaled and shifted, so that rows and columns are
filtered one after the other: 8 texels a pixel instead of 16, and most of them in long runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

Array = np.ndarray
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
parallel: Any = njit(cache=True, nogil=True, error_model="numpy", parallel=True)

F = np.float32
PAD = 2  # texels round a texture, for its filter
TILE = 16  # texels
MIXED, CLEAR, SOLID = 0, 1, 2  # what a tile holds
BAND = 32  # rows that one thread draws
OPAQUE = F(0.99999)
SHARPER = 0.3  # levels of a texture's pyramid: a little crisper than the footprint asks for


# --- textures


@parallel
def premultiplied(
    texels: Array, colour: Array, alpha: Array, white: float, full: float, edges: tuple[int, int, int, int]
) -> None:
    """Fill the first level of ``texels`` (N, 4), (h + 2 PAD) rows of w + 2 PAD, uint16 or float32 with ``full`` as its
    1, with colour (h, w, 3) times alpha (h, w), whose 1 is ``white``.

    Of the ``PAD`` texels round it, those at a side in ``edges`` (left, top, right, bottom) repeat the last texel; the
    others are clear.
    """
    h, w = alpha.shape
    wide = w + 2 * PAD
    scale = 1 / white
    half = 0.5 if full > 1 else 0.0  # codes are rounded
    for row in prange(h + 2 * PAD):
        y = row - PAD
        for column in range(wide):
            x, k = column - PAD, row * wide + column
            is_clear = (x < 0 and not edges[0]) or (y < 0 and not edges[1])
            is_clear = is_clear or (x >= w and not edges[2]) or (y >= h and not edges[3])
            i, j = min(max(x, 0), w - 1), min(max(y, 0), h - 1)
            a = 0.0 if is_clear else alpha[j, i] * scale * full
            for c in range(3):
                texels[k, c] = colour[j, i, c] * scale * a + half
            texels[k, 3] = a + half


@parallel
def halved(texels: Array, full: float, finer: tuple[int, int, int], coarser: tuple[int, int, int]) -> None:
    """Fill a level of a pyramid whose levels follow each other in ``texels`` (N, 4): a level is the number of its first
    texel, its height and width. Every coarser texel is the mean of 2 x 2; what lies beyond the end repeats it."""
    half = F(0.5) if full > 1 else F(0)
    for row in prange(coarser[1]):
        y0 = finer[0] + 2 * row * finer[2]
        y1 = finer[0] + min(2 * row + 1, finer[1] - 1) * finer[2]
        for x in range(coarser[2]):
            x0, x1 = 2 * x, min(2 * x + 1, finer[2] - 1)
            for c in range(4):
                total = F(texels[y0 + x0, c]) + F(texels[y0 + x1, c]) + F(texels[y1 + x0, c]) + F(texels[y1 + x1, c])
                texels[coarser[0] + row * coarser[2] + x, c] = F(0.25) * total + half


@parallel
def tiles(alpha: Array, white: float, edges: tuple[int, int, int, int]) -> Array:
    """(rows, columns) uint8: what each tile of ``TILE`` texels, and ``PAD`` around, of ``alpha`` (h, w) holds. Beyond
    sides that are not in ``edges`` (left, top, right, bottom) all is clear."""
    h, w = alpha.shape
    rows, columns = (h + TILE - 1) // TILE, (w + TILE - 1) // TILE
    out = np.empty((rows, columns), np.uint8)
    for row in prange(rows):
        for column in range(columns):
            x0, y0 = column * TILE - PAD, row * TILE - PAD
            x1, y1 = (column + 1) * TILE + PAD, (row + 1) * TILE + PAD
            is_clear = True
            is_solid = (x0 >= 0 or edges[0] > 0) and (y0 >= 0 or edges[1] > 0)
            is_solid = is_solid and (x1 <= w or edges[2] > 0) and (y1 <= h or edges[3] > 0)
            for y in range(max(y0, 0), min(y1, h)):
                for x in range(max(x0, 0), min(x1, w)):
                    if alpha[y, x] > 0:
                        is_clear = False
                    if alpha[y, x] < white:
                        is_solid = False
                if not (is_clear or is_solid):
                    break
            out[row, column] = CLEAR if is_clear else (SOLID if is_solid else MIXED)
    return out


Texel = tuple[np.float32, np.float32, np.float32, np.float32]


@inlined
def _weights(t: Any) -> Texel:
    """Of four neighbours, at ``t`` in [0, 1) past the second: Keys' cubic convolution (1981), a = -1/2."""
    one, half = F(1), F(0.5)
    s = one - t
    return (
        -half * t * s * s, one + half * t * t * (F(3) * t - F(5)),
        one + half * s * s * (F(3) * s - F(5)), -half * s * t * t,
    )  # fmt: skip


@inlined
def _texel(texels: Array, first: int, h: int, w: int, u: float, v: float) -> Texel:
    """Premultiplied colour at a place of one level; beyond its end the last texels go on."""
    x, y = u - 0.5, v - 0.5
    column, row = int(np.floor(x)), int(np.floor(y))
    a0, a1, a2, a3 = _weights(F(x - column))
    b0, b1, b2, b3 = _weights(F(y - row))
    red, green, blue, alpha = F(0), F(0), F(0), F(0)
    i0, i3 = min(max(column - 1, 0), w - 1), max(min(column + 2, w - 1), 0)
    i1, i2 = min(max(column, 0), w - 1), max(min(column + 1, w - 1), 0)
    for k in range(4):
        j = first + min(max(row - 1 + k, 0), h - 1) * w
        b = b0 if k == 0 else (b1 if k == 1 else (b2 if k == 2 else b3))
        c0, c1, c2, c3 = b * a0, b * a1, b * a2, b * a3
        red += (c0 * F(texels[j + i0, 0]) + c1 * F(texels[j + i1, 0])) + (
            c2 * F(texels[j + i2, 0]) + c3 * F(texels[j + i3, 0]))
        green += (c0 * F(texels[j + i0, 1]) + c1 * F(texels[j + i1, 1])) + (
            c2 * F(texels[j + i2, 1]) + c3 * F(texels[j + i3, 1]))
        blue += (c0 * F(texels[j + i0, 2]) + c1 * F(texels[j + i1, 2])) + (
            c2 * F(texels[j + i2, 2]) + c3 * F(texels[j + i3, 2]))
        alpha += (c0 * F(texels[j + i0, 3]) + c1 * F(texels[j + i1, 3])) + (
            c2 * F(texels[j + i2, 3]) + c3 * F(texels[j + i3, 3]))
    return red, green, blue, alpha


@inlined
def _colour(texels: Array, w: int, u: float, v: float) -> tuple[np.float32, np.float32, np.float32]:
    """As ``_texel``, of the first level, well inside it, without alpha."""
    x, y = u - 0.5, v - 0.5
    column, row = int(x), int(y)
    a0, a1, a2, a3 = _weights(F(x - column))
    b0, b1, b2, b3 = _weights(F(y - row))
    red, green, blue = F(0), F(0), F(0)
    for k in range(4):
        j = (row - 1 + k) * w + column
        b = b0 if k == 0 else (b1 if k == 1 else (b2 if k == 2 else b3))
        c0, c1, c2, c3 = b * a0, b * a1, b * a2, b * a3
        red += (c0 * F(texels[j - 1, 0]) + c1 * F(texels[j, 0])) + (
            c2 * F(texels[j + 1, 0]) + c3 * F(texels[j + 2, 0]))
        green += (c0 * F(texels[j - 1, 1]) + c1 * F(texels[j, 1])) + (
            c2 * F(texels[j + 1, 1]) + c3 * F(texels[j + 2, 1]))
        blue += (c0 * F(texels[j - 1, 2]) + c1 * F(texels[j, 2])) + (
            c2 * F(texels[j + 1, 2]) + c3 * F(texels[j + 2, 2]))
    return red, green, blue


# --- layers over one another


@parallel
def laid_under(
    colour: Array, alpha: Array, depth: Array, top: int, rows: int, near: Array, cover: Array, plane: Array,
    back: Array, epipole: Array, baseline: Array, determinant: float, texels: Array, levels: Array, holds: Array,
    full: float, xy: tuple[int, int], inside: tuple[float, float, float, float],
) -> None:
    """Lay one layer under what ``colour`` (H, W, 3), premultiplied, and ``alpha`` (H, W) hold already, in ``rows`` rows
    from ``top`` on, and fill ``depth`` (H, W) where they first make half a pixel.

    ``near`` and ``cover`` (rows, W) as ``drawn``; with an empty ``near`` the layer is a plane and ``plane`` (3,) its
    nearness in the output. ``determinant`` of ``back``. ``levels`` (L, 3) is the pyramid in ``texels``, ``holds`` what
    its tiles do, and ``full`` the code value of 1; ``xy`` is the first texel's place on the canvas; what lies outside
    of ``inside`` (left, top, right, bottom), counted from there, is not the layer's.
    """
    w = alpha.shape[1]
    is_plane = near.size == 0
    scale = F(1 / full)
    least = 2 ** (2 * SHARPER)
    bands = (rows + BAND - 1) // BAND
    step = _even_step(bands)
    for turn in prange(bands * BAND):
        # Threads get runs of turns: so each has bands of the sky, and of the ground.
        line = turn // BAND * step % bands * BAND + turn % BAND
        if line >= rows:
            continue
        row = top + line
        y = row + 0.5
        for column in range(w):
            before = alpha[row, column]
            if before >= OPAQUE:
                continue
            x = column + 0.5
            g = plane[0] * x + plane[1] * y + plane[2] if is_plane else float(near[line, column])
            if g <= 0:
                continue
            qz = back[2, 0] * x + back[2, 1] * y + back[2, 2] - g * epipole[2]
            if qz <= 0:
                continue
            scaled = 1 / qz
            u = (back[0, 0] * x + back[0, 1] * y + back[0, 2] - g * epipole[0]) * scaled - xy[0]
            v = (back[1, 0] * x + back[1, 1] * y + back[1, 2] - g * epipole[1]) * scaled - xy[1]
            if not (inside[0] <= u < inside[2] and inside[1] <= v < inside[3]):
                continue
            tile_x = min(max(int(u), 0) // TILE, holds.shape[1] - 1)
            tile_y = min(max(int(v), 0) // TILE, holds.shape[0] - 1)
            held = holds[tile_y, tile_x]
            if held == CLEAR:
                continue
            gx, gy = plane[0], plane[1]
            if not is_plane:
                gx, gy = _slope(near, line, column, g)
            facing = 1 - (gx * baseline[0] + gy * baseline[1] + (g - gx * x - gy * y) * baseline[2])
            footprint = abs(determinant * facing) * scaled * scaled * scaled
            u, v = u + PAD, v + PAD
            fine, t = 0, F(0)
            if footprint > least:
                level = min(0.5 * np.log2(footprint) - SHARPER, len(levels) - 1.0)
                fine = min(int(level), len(levels) - 2)
                t = F(level - fine)
            red, green, blue, a = F(0), F(0), F(0), F(0)
            is_solid = held == SOLID and fine == 0 and not t > 0
            if is_solid:
                red, green, blue = _colour(texels, levels[0, 2], u, v)
                a = F(full)
            for k in range(0 if is_solid else (2 if t > 0 else 1)):  # levels
                weight, shrink = t if k else F(1) - t, 0.5 ** (fine + k)
                i, j, n = levels[fine + k, 0], levels[fine + k, 1], levels[fine + k, 2]
                texel = _texel(texels, i, j, n, u * shrink, v * shrink)
                red, green = red + weight * texel[0], green + weight * texel[1]
                blue, a = blue + weight * texel[2], a + weight * texel[3]
            if a <= 0:
                continue
            share = scale if is_plane else scale * cover[line, column]
            if a > F(full):  # the filter overshoots at hard edges: no brighter rim
                share = share * F(full) / a
            share = share * (F(1) - before)
            colour[row, column, 0] += share * max(red, F(0))
            colour[row, column, 1] += share * max(green, F(0))
            colour[row, column, 2] += share * max(blue, F(0))
            after = min(before + share * a, F(1))
            alpha[row, column] = after
            if before < F(0.5) and after >= F(0.5):
                depth[row, column] = F(1 / g)


@inlined
def _even_step(rows: int) -> int:
    """A step that goes through all of ``rows`` and spreads any run of them evenly: near the golden section."""
    step = max(int(0.618 * rows), 1)
    while _common_divisor(step, rows) != 1:
        step += 1
    return step


@inlined
def _common_divisor(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a


@inlined
def _slope(near: Array, line: int, column: int, g: float) -> tuple[float, float]:
    """Change of nearness to the next pixel along the surface; none where it ends."""
    h, w = near.shape
    right = float(near[line, column + 1]) if column + 1 < w else 0.0
    below = float(near[line + 1, column]) if line + 1 < h else 0.0
    gx = right - g if right > 0 and abs(right - g) < 0.01 * g else 0.0
    gy = below - g if below > 0 and abs(below - g) < 0.01 * g else 0.0
    return gx, gy


@parallel
def facing_laid_under(
    colour: Array, alpha: Array, depth: Array, near: float, across: tuple[float, float], down: tuple[float, float],
    level: float, texels: Array, levels: Array, holds: Array, full: float, inside: tuple[float, float, float, float],
) -> None:
    """``laid_under`` for a layer that the camera sees scaled and shifted: the output's place x shows the texel at
    ``across[0] * x + across[1]``, and y the one at ``down[0] * y + down[1]``; ``near`` is its nearness, ``level`` that
    of the pyramid, 0 = full size."""
    h, w = alpha.shape
    scale, away = F(1 / full), F(1 / near)
    fine = min(int(level), max(len(levels) - 2, 0))
    t = F(level - fine)
    bands = (h + BAND - 1) // BAND
    step = _even_step(bands)
    first = max(int(np.ceil((inside[0] - across[1]) / across[0] - 0.5)), 0)
    last = min(int(np.ceil((inside[2] - across[1]) / across[0] - 0.5)), w)
    for turn in prange(bands * BAND):
        row = turn // BAND * step % bands * BAND + turn % BAND
        v = down[0] * (row + 0.5) + down[1]
        if row >= h or not inside[1] <= v < inside[3]:
            continue
        tile_y = min(max(int(v), 0) // TILE, holds.shape[0] - 1)
        start, end = first, last
        while start < end and _is_idle(alpha[row, start], across, start, holds, tile_y):
            start += 1
        while start < end and _is_idle(alpha[row, end - 1], across, end - 1, holds, tile_y):
            end -= 1
        if start >= end:
            continue
        line = np.zeros((end - start, 4), F)
        for k in range(2 if t > 0 else 1):
            weight, shrink = t if k else F(1) - t, 0.5 ** (fine + k)
            i, j, n = levels[fine + k, 0], levels[fine + k, 1], levels[fine + k, 2]
            stretch, shift = across[0] * shrink, (across[1] + PAD) * shrink - 0.5
            left = int(np.floor(stretch * (start + 0.5) + shift)) - 1
            right = int(np.floor(stretch * (end - 0.5) + shift)) + 2
            mixed = np.empty((right - left + 1, 4), F)
            _rows_mixed(mixed, texels, i, j, n, (v + PAD) * shrink - 0.5, left, weight)
            for column in range(start, end):
                if _is_idle(alpha[row, column], across, column, holds, tile_y):
                    continue
                x = stretch * (column + 0.5) + shift
                at = int(np.floor(x))
                a0, a1, a2, a3 = _weights(F(x - at))
                at -= left
                for c in range(4):
                    line[column - start, c] += (a0 * mixed[at - 1, c] + a1 * mixed[at, c]) + (
                        a2 * mixed[at + 1, c] + a3 * mixed[at + 2, c])
        for column in range(start, end):
            before, a = alpha[row, column], line[column - start, 3]
            if a <= 0:
                continue
            share = scale * (F(1) - before)
            if a > F(full):  # the filter overshoots at hard edges: no brighter rim
                share = share * F(full) / a
            for c in range(3):
                colour[row, column, c] += share * max(line[column - start, c], F(0))
            after = min(before + share * a, F(1))
            alpha[row, column] = after
            if before < F(0.5) and after >= F(0.5):
                depth[row, column] = away


@inlined
def _is_idle(covered: float, across: tuple[float, float], column: int, holds: Array, tile_y: int) -> bool:
    """Whether there is nothing to do: all is covered already, or the layer is clear."""
    if covered >= OPAQUE:
        return True
    tile_x = max(int(across[0] * (column + 0.5) + across[1]), 0) // TILE
    return holds[tile_y, min(tile_x, holds.shape[1] - 1)] == CLEAR


@inlined
def _rows_mixed(
    out: Array, texels: Array, first: int, h: int, w: int, y: float, left: int, weight: np.float32
) -> None:
    """Fill ``out`` (n, 4) with texels from column ``left`` on, filtered between rows at ``y``, times ``weight``; beyond
    the end of the level the last ones go on."""
    row = int(np.floor(y))
    b0, b1, b2, b3 = _weights(F(y - row))
    j0, j1 = first + min(max(row - 1, 0), h - 1) * w, first + min(max(row, 0), h - 1) * w
    j2, j3 = first + min(max(row + 1, 0), h - 1) * w, first + min(max(row + 2, 0), h - 1) * w
    b0, b1, b2, b3 = weight * b0, weight * b1, weight * b2, weight * b3
    begin, stop = min(max(-left, 0), len(out)), max(min(w - left, len(out)), 0)
    t0, t1 = texels[j0 + left + begin : j0 + left + stop], texels[j1 + left + begin : j1 + left + stop]
    t2, t3 = texels[j2 + left + begin : j2 + left + stop], texels[j3 + left + begin : j3 + left + stop]
    flat = out[begin:stop]
    for k in range(len(flat)):
        for c in range(4):
            flat[k, c] = (b0 * F(t0[k, c]) + b1 * F(t1[k, c])) + (b2 * F(t2[k, c]) + b3 * F(t3[k, c]))
    for k in range(begin):
        out[k] = out[begin]
    for k in range(stop, len(out)):
        out[k] = out[stop - 1]

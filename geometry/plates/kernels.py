"""The compiled loops behind ``mesh`` and ``compose``: surfaces. ``paint_kernels`` has those of textures.

Compiled code is kept on disk and a file's is made anew only when that file changes: a loop here calls none of another
file. Loops that run on several threads share nothing between rows, so that their number changes no bit.

A place p = (x, y, 1) of the output and the place q of the canvas that is seen there are bound by the nearness g = 1 / z
of the surface in the output camera: with the source camera K0, the output camera K1 (R, t from source to output),
``back = K0 R^-1 K1^-1`` and ``epipole = back K1 t``,

    q ~ back p - g epipole                                                                                         (1)

(plane-induced homographies, Hartley and Zisserman 2004, 13.2, solved for q). A surface whose nearness on the canvas is
``n @ q`` has in the output the nearness ``g = (n back) @ p / (1 + n @ epipole)``, which is linear in p as well: one
number per pixel is all that must be drawn, the nearest wins, and (1) says which texel is seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

Array = np.ndarray
compiled: Any = njit(cache=True, nogil=True, error_model="numpy")
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
parallel: Any = njit(cache=True, nogil=True, error_model="numpy", parallel=True)

F = np.float32
LARGEST_CELL, SMALLEST_CELL = 32, 4  # px of a layer; beside a cut they are 1 px
LEFT, TOP, RIGHT, BOTTOM = 1, 2, 4, 8  # sides of a cell at which its surface ends
CUT_X, CUT_Y = 1, 2  # between a texel and the next one of its row, of its column
OVERLAP_PX = 0.15  # by which faces are widened: none must gape beside a smaller one
BAND = 32  # rows that one thread draws
TINY = 1e-12


# --- surfaces


@parallel
def cuts(nearness: Array, least_jump: float, least_share: float) -> Array:
    """(h, w) uint8 of ``CUT_X`` and ``CUT_Y``: where ``nearness`` (h, w) jumps, and does not merely slope."""
    h, w = nearness.shape
    out = np.zeros((h, w), np.uint8)
    for y in prange(h):
        for x in range(w):
            a = nearness[y, x]
            if x + 1 < w:
                b = nearness[y, x + 1]
                if abs(a - b) > max(least_jump, least_share * max(a, b)):
                    before = abs(a - nearness[y, x - 1]) if x > 0 else F(0)
                    after = abs(nearness[y, x + 2] - b) if x + 2 < w else F(0)
                    if abs(a - b) > 2 * min(before, after):
                        out[y, x] |= CUT_X
            if y + 1 < h:
                b = nearness[y + 1, x]
                if abs(a - b) > max(least_jump, least_share * max(a, b)):
                    before = abs(a - nearness[y - 1, x]) if y > 0 else F(0)
                    after = abs(nearness[y + 2, x] - b) if y + 2 < h else F(0)
                    if abs(a - b) > 2 * min(before, after):
                        out[y, x] |= CUT_Y
    return out


@inlined
def _corner(nearness: Array, cut: Array, x: int, y: int, dx: int, dy: int) -> float:
    """Nearness at the corner (dx, dy) in {-1, 1} of texel (x, y): the mean of the texels that meet there unbroken."""
    h, w = nearness.shape
    i, j = x + dx, y + dy
    total, count = nearness[y, x], 1
    has_i, has_j = 0 <= i < w, 0 <= j < h
    i, j = min(max(i, 0), w - 1), min(max(j, 0), h - 1)
    beside = has_i and not cut[y, min(x, i)] & CUT_X
    below = has_j and not cut[min(y, j), x] & CUT_Y
    across = has_i and has_j and (
        (beside and not cut[min(y, j), i] & CUT_Y) or (below and not cut[j, min(x, i)] & CUT_X)
    )
    if beside:
        total, count = total + nearness[y, i], count + 1
    if below:
        total, count = total + nearness[j, x], count + 1
    if across:
        total, count = total + nearness[j, i], count + 1
    return total / count


@inlined
def _is_whole(nearness: Array, cut: Array, x: int, y: int, side: int, tolerance: float) -> bool:
    """Whether a cell has no cut inside nor along its sides, and is flat enough."""
    for j in range(max(y - 1, 0), y + side):
        for i in range(max(x - 1, 0), x + side):
            if (j >= y and cut[j, i] & CUT_X) or (i >= x and cut[j, i] & CUT_Y):
                return False
    if side <= SMALLEST_CELL:
        return True
    last = side - 1
    a, b = _corner(nearness, cut, x, y, -1, -1), _corner(nearness, cut, x + last, y, 1, -1)
    c, d = _corner(nearness, cut, x, y + last, -1, 1), _corner(nearness, cut, x + last, y + last, 1, 1)
    for j in range(side):
        for i in range(side):
            s, t = (i + 0.5) / side, (j + 0.5) / side
            if s + t <= 1:
                flat = a + s * (b - a) + t * (c - a)
            else:
                flat = d + (1 - s) * (c - d) + (1 - t) * (b - d)
            if abs(flat - nearness[y + j, x + i]) > tolerance:
                return False
    return True


@compiled
def cells(nearness: Array, shown: Array, cut: Array, tolerance: float) -> tuple[Array, Array]:
    """The surface of a layer as squares, small where it bends: (N, 4) int32 x, y, side and open sides, and (N, 4)
    float64 nearness at their corners (left top, right top, left bottom, right bottom).

    ``shown`` (h, w) bool: nothing is made where the layer is clear. Squares larger than ``SMALLEST_CELL`` lie within
    ``tolerance`` of ``nearness``; corners meet except where the surface is cut.
    """
    h, w = nearness.shape
    stack = np.empty((256, 3), np.int32)
    room = 1024
    where, corners, count = np.empty((room, 4), np.int32), np.empty((room, 4)), 0
    for top in range(0, h, LARGEST_CELL):
        for left in range(0, w, LARGEST_CELL):
            stack[0, 0], stack[0, 1], stack[0, 2] = left, top, LARGEST_CELL
            depth = 1
            while depth > 0:
                depth -= 1
                x, y, side = stack[depth, 0], stack[depth, 1], stack[depth, 2]
                if x >= w or y >= h or not shown[y : min(y + side, h), x : min(x + side, w)].any():
                    continue
                fits = x + side <= w and y + side <= h
                if side > 1 and not (fits and _is_whole(nearness, cut, x, y, side, tolerance)):
                    half = side // 2
                    for k in range(4):
                        stack[depth, 0], stack[depth, 1] = x + half * (k % 2), y + half * (k // 2)
                        stack[depth, 2] = half
                        depth += 1
                    continue
                if count == room:
                    more_where, more_corners = np.empty((2 * room, 4), np.int32), np.empty((2 * room, 4))
                    more_where[:room], more_corners[:room] = where, corners
                    where, corners, room = more_where, more_corners, 2 * room
                end = side - 1
                where[count, 0], where[count, 1], where[count, 2] = x, y, side
                where[count, 3] = _open_sides(cut, x, y) if side == 1 else 0
                corners[count, 0] = _corner(nearness, cut, x, y, -1, -1)
                corners[count, 1] = _corner(nearness, cut, x + end, y, 1, -1)
                corners[count, 2] = _corner(nearness, cut, x, y + end, -1, 1)
                corners[count, 3] = _corner(nearness, cut, x + end, y + end, 1, 1)
                count += 1
    return where[:count].copy(), corners[:count].copy()


@inlined
def _open_sides(cut: Array, x: int, y: int) -> int:
    sides = 0
    if x > 0 and cut[y, x - 1] & CUT_X:
        sides |= LEFT
    if y > 0 and cut[y - 1, x] & CUT_Y:
        sides |= TOP
    if cut[y, x] & CUT_X:
        sides |= RIGHT
    if cut[y, x] & CUT_Y:
        sides |= BOTTOM
    return sides


@parallel
def faces(
    where: Array, corners: Array, xy: tuple[int, int], ahead: Array, baseline: Array, back: Array, epipole: Array,
    hw: tuple[int, int],
) -> tuple[Array, Array, Array]:
    """Cells as an output camera sees them: (N, 4, 2) px of their corners, (N, 2, 3) nearness of their two triangles as
    a function of (x, y, 1), and (N, 2) first and last + 1 row (0, 0: not seen).

    ``ahead`` is the inverse of ``back`` and ``baseline`` = K1 t.
    """
    count = len(where)
    places, planes, rows = np.empty((count, 4, 2)), np.empty((count, 2, 3)), np.zeros((count, 2), np.int32)
    for f in prange(count):
        side = where[f, 2]
        x0, y0 = where[f, 0] + xy[0], where[f, 1] + xy[1]
        low, high, left, right, is_seen = np.inf, -np.inf, np.inf, -np.inf, True
        for k in range(4):
            u, v, near = x0 + side * (k % 2), y0 + side * (k // 2), corners[f, k]
            z = ahead[2, 0] * u + ahead[2, 1] * v + ahead[2, 2] + baseline[2] * near
            if z <= 1e-4:  # behind, or about to graze the lens
                is_seen = False
                break
            x = (ahead[0, 0] * u + ahead[0, 1] * v + ahead[0, 2] + baseline[0] * near) / z
            y = (ahead[1, 0] * u + ahead[1, 1] * v + ahead[1, 2] + baseline[1] * near) / z
            places[f, k, 0], places[f, k, 1] = x, y
            low, high, left, right = min(low, y), max(high, y), min(left, x), max(right, x)
        if not is_seen or right < -1 or left > hw[1] + 1 or high < -1 or low > hw[0] + 1:
            continue
        a, b, c, d = corners[f, 0], corners[f, 1], corners[f, 2], corners[f, 3]
        for k in range(2):
            nx, ny = ((b - a) / side, (c - a) / side) if k == 0 else ((d - c) / side, (d - b) / side)
            rest = a - nx * x0 - ny * y0 if k == 0 else d - nx * (x0 + side) - ny * (y0 + side)
            facing = 1 + nx * epipole[0] + ny * epipole[1] + rest * epipole[2]
            scale = 1 / facing if facing > TINY else 0.0
            for i in range(3):
                planes[f, k, i] = scale * (nx * back[0, i] + ny * back[1, i] + rest * back[2, i])
        rows[f, 0] = max(int(np.floor(low - 1)), 0)
        rows[f, 1] = min(int(np.ceil(high + 1)), hw[0])
    return places, planes, rows


@parallel
def drawn(
    where: Array, places: Array, planes: Array, rows: Array, xy: tuple[int, int], back: Array, epipole: Array,
    top: int, hw: tuple[int, int],
) -> tuple[Array, Array]:
    """(h, w) float32 nearness of what is nearest at the pixels of rows ``top`` .. ``top`` + h, 0 = nothing, and (h, w)
    float32 how far the surface covers them: less than 1 only where it is cut."""
    h, w = hw
    near, cover = np.zeros((h, w), F), np.zeros((h, w), F)
    for band in prange((h + BAND - 1) // BAND):
        first, last = top + band * BAND, top + min((band + 1) * BAND, h)
        for f in range(len(where)):
            if where[f, 3] == 0 and rows[f, 0] < last and rows[f, 1] > first:
                for k in range(2):
                    _fill(near, places, planes, f, k, max(first, rows[f, 0]), min(last, rows[f, 1]), top)
        for y in range(first - top, last - top):
            for x in range(w):
                cover[y, x] = F(1) if near[y, x] > 0 else F(0)
        for f in range(len(where)):
            if where[f, 3] != 0 and rows[f, 0] < last and rows[f, 1] > first:
                _fill_open(
                    near, cover, where, places, planes, f, max(first, rows[f, 0]), min(last, rows[f, 1]), top, xy, back,
                    epipole,
                )  # fmt: skip
    return near, cover


@inlined
def _fill(near: Array, places: Array, planes: Array, f: int, k: int, first: int, last: int, top: int) -> None:
    """One of a cell's two triangles: a, b, c or d, c, b."""
    i, w = 3 * k, near.shape[1]
    slope, down, rest = planes[f, k, 0], planes[f, k, 1], planes[f, k, 2]
    for row in range(first, last):
        y = row + 0.5
        low, high = 0.0, float(w)
        for side in range(3):
            a = i if side == 0 else (1 + k if side == 1 else 2 - k)
            b = 1 + k if side == 0 else (2 - k if side == 1 else i)
            ex, ey = places[f, b, 0] - places[f, a, 0], places[f, b, 1] - places[f, a, 1]
            length = abs(ex) + abs(ey)
            # Inside: ex (y - ay) - ey (x - ax) >= 0 for corners that turn clockwise on a raster with y down.
            ahead = ex * (y - places[f, a, 1]) + ey * places[f, a, 0] + OVERLAP_PX * length
            if abs(ey) < TINY:
                if ahead < 0:
                    high = -1.0
            elif ey > 0:
                high = min(high, ahead / ey)
            else:
                low = max(low, ahead / ey)
        if high < low:
            continue
        start, end = int(np.ceil(low - 0.5)), int(np.floor(high - 0.5)) + 1
        start, end = max(start, 0), min(end, w)
        base, line = down * y + rest, row - top
        for x in range(start, end):
            g = F(slope * (x + 0.5) + base)
            near[line, x] = max(near[line, x], g)


@inlined
def _fill_open(
    near: Array, cover: Array, where: Array, places: Array, planes: Array, f: int, first: int, last: int, top: int,
    xy: tuple[int, int], back: Array, epipole: Array,
) -> None:
    """One texel beside a cut: half a texel wider there, with an edge that is soft over one."""
    w, sides = near.shape[1], where[f, 3]
    left, right = np.inf, -np.inf
    for k in range(4):
        left, right = min(left, places[f, k, 0]), max(right, places[f, k, 0])
    room = 0.5 * (right - left) + OVERLAP_PX
    start, end = max(int(np.floor(left - room)), 0), min(int(np.ceil(right + room)), w)
    for row in range(first, last):
        y = row + 0.5
        for column in range(start, end):
            x = column + 0.5
            g0 = planes[f, 0, 0] * x + planes[f, 0, 1] * y + planes[f, 0, 2]
            g1 = planes[f, 1, 0] * x + planes[f, 1, 1] * y + planes[f, 1, 2]
            g = g0
            for _ in range(2):  # the triangle on whose side the texel's place turns out to lie
                z = back[2, 0] * x + back[2, 1] * y + back[2, 2] - g * epipole[2]
                u = (back[0, 0] * x + back[0, 1] * y + back[0, 2] - g * epipole[0]) / z - xy[0] - where[f, 0]
                v = (back[1, 0] * x + back[1, 1] * y + back[1, 2] - g * epipole[1]) / z - xy[1] - where[f, 1]
                if u + v <= 1:
                    break
                g = g1
            if g <= 0 or z <= 0:
                continue
            share = 1.0
            share = min(share, u + (0.5 if sides & LEFT else 1 + OVERLAP_PX))
            share = min(share, v + (0.5 if sides & TOP else 1 + OVERLAP_PX))
            share = min(share, 1 - u + (0.5 if sides & RIGHT else 1 + OVERLAP_PX))
            share = min(share, 1 - v + (0.5 if sides & BOTTOM else 1 + OVERLAP_PX))
            is_beside = (
                (u < -OVERLAP_PX and not sides & LEFT) or (v < -OVERLAP_PX and not sides & TOP)
                or (u > 1 + OVERLAP_PX and not sides & RIGHT) or (v > 1 + OVERLAP_PX and not sides & BOTTOM)
            )  # fmt: skip
            if share <= 0 or is_beside:
                continue
            line = row - top
            covered = cover[line, column]
            if (share >= 0.5 and (covered < 0.5 or g > near[line, column])) or (covered < 0.5 and share > covered):
                near[line, column] = g
            cover[line, column] = max(covered, F(share))

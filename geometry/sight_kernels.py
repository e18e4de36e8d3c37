"""The compiled loops behind ``sight``, ``flow`` and ``edges``.

They lie in one file because compiled code is kept on disk, and a file's is made anew only when that file changes: a
loop here may call any other, and use any constant, of this file and of no other.

Arrays, by face f: ``edges`` (F, 3, 3), ``nearness`` (F, 3) and ``from_behind`` (F,) of a ``Sight``; ``flat`` (F, 3)
unit normals on the side that is seen; ``faces`` and the rest of a ``Topology``. A place is in pixels. They are
indexed whole: in a compiled loop, a row taken as an array of its own costs more than the sums in it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray
Weights = tuple[float, float, float]  # barycentric, or the components of a vector
NOTHING = -1
NEARER = 1 + 1e-6  # of two faces that coincide, the first one is seen everywhere
DEPTH_TOLERANCE = 1e-4  # relative: what float32 vertices and many matrices leave
SLANT_TOLERANCE_PX = 1.0  # a curved surface of small faces may be this far from the plane of the face beside it
SILHOUETTE, CREASE, BOUNDARY, INTERSECTION = range(4)
CREASE_COS = float(np.cos(np.radians(30)))  # a sharper bend is a crease
FAINT_COS = float(np.cos(np.radians(12)))  # a flatter one leaves no trace in the soft edges either
FULL_JUMP = 0.08  # relative depth jump whose soft edge has 1 - 1/e of the full strength
JOINT_STRENGTH = 0.45  # at least, where one object stands on another
# One thread each: callers draw several frames at once.
compiled: Any = njit(cache=True, nogil=True, error_model="numpy")
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)  # a call with arrays costs 50 ns


@inlined
def near_at(nearness: Array, f: int, x: float, y: float) -> float:
    """1 / depth of the plane of face f at a place."""
    return nearness[f, 0] * x + (nearness[f, 1] * y + nearness[f, 2])


@inlined
def inside_at(edges: Array, f: int, i: int, x: float, y: float) -> float:
    """>= 0 on the inner side of edge i of face f."""
    return edges[f, i, 0] * x + (edges[f, i, 1] * y + edges[f, i, 2])


@inlined
def covers(edges: Array, f: int, x: float, y: float) -> bool:
    return inside_at(edges, f, 0, x, y) >= 0 and inside_at(edges, f, 1, x, y) >= 0 and inside_at(edges, f, 2, x, y) >= 0


@inlined
def weights_at(edges: Array, f: int, x: float, y: float) -> Weights:
    """Barycentric weights of the corners of face f at a place."""
    a, b, c = inside_at(edges, f, 0, x, y), inside_at(edges, f, 1, x, y), inside_at(edges, f, 2, x, y)
    scale = 1 / (a + b + c)
    return a * scale, b * scale, c * scale


@compiled
def seen_faces(
    corners: Array, edges: Array, nearness: Array, faces: Array, uv: Array, solid: Array, holes: Array,
    hw: tuple[int, int], per_px: int, fy: float, cy: float,
) -> Array:
    h, w = hw
    step = 1 / per_px
    seen = np.full((h, w), NOTHING, np.int32)
    nearest = np.zeros((h, w), np.float32)
    for f in range(len(corners)):
        slope, has_holes = nearness[f, 0], holes[f, 0] >= 0
        if not (np.isfinite(slope) and np.isfinite(nearness[f, 1]) and np.isfinite(nearness[f, 2])):
            continue  # seen edge-on, or without area
        first, last = _rows(corners, f, h, per_px, fy, cy)
        for row in range(first, last):
            y = (row + 0.5) * step
            left, right = _span(edges, f, y, w, per_px)
            rest = nearness[f, 1] * y + nearness[f, 2]
            for column in range(left, right):
                x = (column + 0.5) * step
                near = slope * x + rest
                if near <= nearest[row, column] * NEARER:
                    continue
                if (column < left + 3 or column >= right - 3) and not covers(edges, f, x, y):
                    continue
                if has_holes and _is_hole(edges, f, x, y, faces, uv, solid, holes):
                    continue
                nearest[row, column] = near
                seen[row, column] = f
    return seen


@inlined
def _rows(corners: Array, f: int, h: int, per_px: int, fy: float, cy: float) -> tuple[int, int]:
    """Rows that a face may touch: all of them when it reaches behind the camera."""
    low, high, behind = np.inf, -np.inf, 0
    for i in range(3):
        z = corners[f, i, 2]
        if z <= 1e-9:
            behind += 1
            continue
        y = fy * corners[f, i, 1] / z + cy
        low, high = min(low, y), max(high, y)
    if behind == 3 or (behind == 0 and (high < 0 or low * per_px > h)):
        return 0, 0
    if behind:
        return 0, h
    return int(max(np.floor(low * per_px - 0.5), 0)), int(min(np.ceil(high * per_px + 0.5), h))


@inlined
def _span(edges: Array, f: int, y: float, w: int, per_px: int) -> tuple[int, int]:
    """Columns of one row that may lie inside, with one to spare on either side for the exact test."""
    low, high = 0.0, w / per_px
    for i in range(3):
        slope, rest = edges[f, i, 0], edges[f, i, 1] * y + edges[f, i, 2]
        if slope > 0:
            low = max(low, -rest / slope)
        elif slope < 0:
            high = min(high, -rest / slope)
        elif rest < 0:
            return 0, 0
    if low > high + 1.0 / per_px:
        return 0, 0
    return int(max(np.floor(low * per_px - 0.5), 0)), int(min(np.ceil(high * per_px + 0.5), w))


@inlined
def _is_hole(edges: Array, f: int, x: float, y: float, faces: Array, uv: Array, solid: Array, holes: Array) -> bool:
    """As ``materials.is_solid``."""
    weights = weights_at(edges, f, x, y)
    u, v = 0.0, 1.0
    for i in range(3):
        u += weights[i] * uv[faces[f, i], 0]
        v -= weights[i] * uv[faces[f, i], 1]
    u, v = u % 1.0, v % 1.0
    start, height, width = holes[f, 0], holes[f, 1], holes[f, 2]
    texel = min(int(v * height), height - 1) * width + min(int(u * width), width - 1)
    return not solid[start + texel]


@inlined
def blended(values: Array, faces: Array, f: int, axis: int, weights: Weights) -> float:
    """One component of (V, C) ``values`` between the corners of face f."""
    a, b, c = values[faces[f, 0], axis], values[faces[f, 1], axis], values[faces[f, 2], axis]
    return weights[0] * a + weights[1] * b + weights[2] * c


@inlined
def normal_at(f: int, weights: Weights, faces: Array, normals: Array, flat: Array, from_behind: Array) -> Weights:
    """Unit shading normal on the side that is seen; ``flat`` (on that side) where the mesh has no normals."""
    x, y, z = (blended(normals, faces, f, 0, weights), blended(normals, faces, f, 1, weights),
               blended(normals, faces, f, 2, weights))  # fmt: skip
    length = np.sqrt(x * x + y * y + z * z)
    if length < 1e-9:
        return flat[f, 0], flat[f, 1], flat[f, 2]
    scale = -1 / length if from_behind[f] else 1 / length
    return x * scale, y * scale, z * scale


@compiled
def attributes(
    seen: Array, edges: Array, from_behind: Array, faces: Array, object_id: Array, uv: Array, vertices: Array,
    normals: Array, flat: Array, camera_from_world: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    h, w = seen.shape
    depth, ids = np.zeros((h, w), np.float32), np.zeros((h, w), np.int32)
    normal, position = np.zeros((h, w, 3), np.float32), np.zeros((h, w, 3), np.float32)
    texel = np.zeros((h, w, 2), np.float32)
    along = camera_from_world[2]
    for row in range(h):
        for column in range(w):
            f = seen[row, column]
            if f < 0:
                continue
            weights = weights_at(edges, f, column + 0.5, row + 0.5)
            ids[row, column] = object_id[f]
            x, y, z = (blended(vertices, faces, f, 0, weights), blended(vertices, faces, f, 1, weights),
                       blended(vertices, faces, f, 2, weights))  # fmt: skip
            position[row, column, 0], position[row, column, 1], position[row, column, 2] = x, y, z
            depth[row, column] = along[0] * x + along[1] * y + along[2] * z + along[3]
            x, y, z = normal_at(f, weights, faces, normals, flat, from_behind)
            normal[row, column, 0], normal[row, column, 1], normal[row, column, 2] = x, y, z
            texel[row, column, 0] = blended(uv, faces, f, 0, weights)
            texel[row, column, 1] = blended(uv, faces, f, 1, weights)
    return depth, normal, position, ids, texel


@compiled
def carried(
    face_a: Array, edges_a: Array, face_b: Array, edges_b: Array, nearness_b: Array, corners_b: Array,
    intrinsics: tuple[float, float, float, float], homography: Array, wanted: Array,
) -> tuple[Array, Array]:
    fx, fy, cx, cy = intrinsics
    (h, w), (h_b, w_b) = face_a.shape, face_b.shape
    moved = np.zeros((h, w, 2), np.float32)
    visible = np.zeros((h, w), np.bool_)
    for row in range(h):
        for column in range(w):
            if not wanted[row, column]:
                continue
            x, y, f = column + 0.5, row + 0.5, face_a[row, column]
            px, py, z = 0.0, 0.0, 0.0
            if f == NOTHING:
                px, py, z = near_at(homography, 0, x, y), near_at(homography, 1, x, y), near_at(homography, 2, x, y)
            else:
                weights = weights_at(edges_a, f, x, y)
                for i in range(3):
                    px += weights[i] * corners_b[f, i, 0]
                    py += weights[i] * corners_b[f, i, 1]
                    z += weights[i] * corners_b[f, i, 2]
                px, py = fx * px + cx * z, fy * py + cy * z
            if z <= 1e-9:
                continue
            scale = 1 / z
            px, py = px * scale, py * scale
            moved[row, column, 0], moved[row, column, 1] = px - x, py - y
            if not (0 <= px < w_b and 0 <= py < h_b):
                continue
            left, top = max(int(px + 0.5) - 1, 0), max(int(py + 0.5) - 1, 0)
            right, bottom = min(int(px + 0.5), w_b - 1), min(int(py + 0.5), h_b - 1)
            if face_b[top, left] == f == face_b[top, right] and face_b[bottom, left] == f == face_b[bottom, right]:
                visible[row, column] = True
                continue
            near = 0.0 if f == NOTHING else scale
            visible[row, column] = _is_open(px, py, near, f, face_b, edges_b, nearness_b)
    return moved, visible


@inlined
def _is_open(x: float, y: float, near: float, own: int, face: Array, edges: Array, nearness: Array) -> bool:
    """Whether nothing lies before a point of face ``own`` at 1 / depth = ``near`` that projects to (x, y).

    Asked of the faces that the four samples around see. One that covers the very place answers exactly; where none does
    (faces smaller than pixels), the plane of the nearest sample's face answers, with room for its slant.
    """
    h, w = face.shape
    left, top = max(int(x + 0.5) - 1, 0), max(int(y + 0.5) - 1, 0)
    right, bottom = min(int(x + 0.5), w - 1), min(int(y + 0.5), h - 1)
    is_covered = False
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            g = face[row, column]
            if g == own:
                is_covered = True
            elif g != NOTHING and covers(edges, g, x, y):
                is_covered = True
                if near_at(nearness, g, x, y) > near * (1 + DEPTH_TOLERANCE):
                    return False
    g = face[int(y), int(x)]
    if is_covered or g == NOTHING:
        return True
    slant = abs(nearness[g, 0]) + abs(nearness[g, 1])
    return near_at(nearness, g, x, y) <= near * (1 + DEPTH_TOLERANCE) + SLANT_TOLERANCE_PX * slant


@compiled
def drawn_lines(
    seen: Array, per_px: int, edges: Array, nearness: Array, from_behind: Array, faces: Array, object_id: Array,
    piece: Array, is_open: Array, normals: Array, flat: Array, light: Array,
) -> Array:
    """(h, w, 5): the four kinds, then all of them weighted by strength."""
    rows, columns = seen.shape
    out = np.zeros((rows // per_px, columns // per_px, 5), np.float32)
    for row in range(rows):
        for column in range(columns):
            f = seen[row, column]
            below, right = min(row + 1, rows - 1), min(column + 1, columns - 1)
            if seen[below, column] == f and seen[row, right] == f:
                continue
            for axis in range(2):
                row_q, column_q = (below, column) if axis else (row, right)
                if seen[row_q, column_q] == f:
                    continue
                g = seen[row_q, column_q]
                x, y = (column + 0.5) / per_px, (row + 0.5) / per_px
                x_q, y_q = (column_q + 0.5) / per_px, (row_q + 0.5) / per_px
                jump, along, nx, ny, edge, owner = _crossing(f, g, x, y, x_q, y_q, edges, nearness)
                if jump > 0:
                    kind = BOUNDARY if edge >= 0 and is_open[owner, edge] else SILHOUETTE
                    strength = 1 - np.exp(-jump / FULL_JUMP)
                else:
                    if piece[f] == piece[g] and _cosine(flat, f, g) > FAINT_COS:
                        continue
                    n = normal_at(f, weights_at(edges, f, x, y), faces, normals, flat, from_behind)
                    m = normal_at(g, weights_at(edges, g, x_q, y_q), faces, normals, flat, from_behind)
                    bend = min(max(_dot(n, m), -1.0), 1.0)
                    contrast = abs((0.5 + 0.5 * _dot(n, light)) ** 2 - (0.5 + 0.5 * _dot(m, light)) ** 2)
                    sharpness = min(max((FAINT_COS - bend) / FAINT_COS, 0.0), 1.0)
                    strength = 1 - (1 - 0.75 * np.sqrt(sharpness)) * (1 - min(contrast, 1.0))
                    kind = CREASE if piece[f] == piece[g] else INTERSECTION
                    if object_id[f] != object_id[g]:
                        strength = max(strength, JOINT_STRENGTH)
                    elif bend > CREASE_COS:
                        kind = -1
                share = abs(ny if axis else nx) / per_px
                _splat(out, x + along * (x_q - x), y + along * (y_q - y), kind, share, share * strength)
    return out


@inlined
def _crossing(
    f: int, g: int, x: float, y: float, x_q: float, y_q: float, edges: Array, nearness: Array,
) -> tuple[float, float, float, float, int, int]:
    """What happens between a sample that sees f at (x, y) and its neighbour that sees g at (x_q, y_q).

    Relative depth jump (0: the faces meet; large against the sky), where (share of the way), the line's unit normal,
    and the edge of the nearer face that makes it (-1: none) with that face.
    """
    if f == NOTHING or g == NOTHING:
        jump, owner = 50.0, max(f, g)
    else:
        f_p, f_q, g_p, g_q = (
            near_at(nearness, f, x, y), near_at(nearness, f, x_q, y_q),
            near_at(nearness, g, x, y), near_at(nearness, g, x_q, y_q),
        )  # fmt: skip
        gap_p, gap_q = f_p - g_p, f_q - g_q
        slack = 0.5 * (abs(f_p - f_q) + abs(g_p - g_q)) + 1e-5 * f_p
        a, b = nearness[f, 0] - nearness[g, 0], nearness[f, 1] - nearness[g, 1]
        length = np.sqrt(a * a + b * b)
        if gap_p * gap_q <= 0 and abs(gap_p - gap_q) > 1e-6 * f_p:
            return 0.0, gap_p / (gap_p - gap_q), a / length, b / length, -1, f
        owner = f if gap_p + gap_q > 0 else g
        jump = 0.0
        if min(abs(gap_p), abs(gap_q)) > slack:
            jump = max(f_p, g_q) / max(min(f_p, g_q), 1e-12) - 1
    if owner == f:
        along, edge = _exit(edges, f, x, y, x_q, y_q)
    else:
        along, edge = _exit(edges, g, x_q, y_q, x, y)
        along = 1 - along
    if edge < 0:  # the face goes on: the other one is seen by a hair's breadth, half way is as good as any place
        return jump, 0.5, 0.7071, 0.7071, -1, owner
    a, b = edges[owner, edge, 0], edges[owner, edge, 1]
    length = np.sqrt(a * a + b * b)
    return jump, along, a / length, b / length, edge, owner


@inlined
def _exit(edges: Array, f: int, x: float, y: float, x_q: float, y_q: float) -> tuple[float, int]:
    """Share of the way from a place inside a face at which it ends, and by which edge (-1: it does not)."""
    first, edge = 1.0, -1
    for i in range(3):
        inside, outside = inside_at(edges, f, i, x, y), inside_at(edges, f, i, x_q, y_q)
        if outside < 0 <= inside and inside / (inside - outside) <= first:
            first, edge = inside / (inside - outside), i
    return first, edge


@inlined
def _splat(out: Array, x: float, y: float, kind: int, weight: float, graded: float) -> None:
    left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    for row in range(max(top, 0), min(top + 2, out.shape[0])):
        for column in range(max(left, 0), min(left + 2, out.shape[1])):
            share = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
            if kind >= 0:
                out[row, column, kind] += share * weight
            out[row, column, 4] += share * graded


@inlined
def _dot(a: Weights, b: Weights) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def _cosine(flat: Array, f: int, g: int) -> float:
    return flat[f, 0] * flat[g, 0] + flat[f, 1] * flat[g, 1] + flat[f, 2] * flat[g, 2]

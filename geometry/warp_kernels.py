"""The compiled loops behind ``coverage``, ``warp`` and ``ibr``.

Compiled code is kept on disk and a file's is made anew only when that file changes: a loop here calls none of another
file.

By face f: ``nearness`` (F, 3), ``nearness[f] @ (x, y, 1)`` is 1 / depth of its plane, and ``object_id`` (F,). ``face``
(H, W) at pixel centres and ``samples`` (n H, n W) at n x n places a pixel; -1 = nothing. Colours are sRGB codes,
float32 in [0, 255]; only where samples of a pixel are mixed, and unmixed, are they made linear.
"""

from __future__ import annotations

import numpy as np

from geometry.sight_kernels import compiled, inlined

Array = np.ndarray
Colour = tuple[float, float, float]

CREASE_LINK = 0.2  # what goes on over a sharp bend
CREASE_COS = float(np.cos(np.radians(30)))
LEAST_SHARE = 0.25  # of a pixel, for its colour to be told from what else is in it
OFF_CODES = 12.0  # an unmixed colour further outside [0, 255] shows that the pixel was not mixed that way
LEAST_SHARE_KNOWN = 1e-5  # of known pixels under a smoothing, for it to say anything
LEAST_QUALITY = 1e-6  # what is seen less well is not seen
STEEPNESS = 0.75  # of the interpolating cubic at 1
FOOTPRINT = 3.0  # texels that a pixel may be wide before a coarser level is read
TOLERATED = 1.15  # texels that it may be wide without more than interpolation
AROUND = [(row, column) for row in range(-2, 3) for column in range(-2, 3) if row or column]
RINGS = np.array(sorted(AROUND, key=lambda step: (step[0] ** 2 + step[1] ** 2, step)), np.int64)  # nearest first


@inlined
def joined(nearness: Array, object_id: Array, f: int, g: int, x: float, y: float) -> bool:
    """Whether two faces are one surface round a place: of one object, and no further apart than their slant makes them
    within a pixel."""
    is_one = f == g  # one way out: with several, compiled code counts references to arrays, which is slow
    if not is_one and f >= 0 and g >= 0 and object_id[f] == object_id[g]:
        a = nearness[f, 0] * x + (nearness[f, 1] * y + nearness[f, 2])
        b = nearness[g, 0] * x + (nearness[g, 1] * y + nearness[g, 2])
        slant = abs(nearness[f, 0]) + abs(nearness[f, 1]) + abs(nearness[g, 0]) + abs(nearness[g, 1])
        is_one = abs(a - b) <= 1e-4 * a + slant
    return is_one


@inlined
def linear(code: float) -> float:
    x = code / 255
    return x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4


@inlined
def coded(x: float) -> float:
    return 255 * (12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055)


# --- where one surface goes on


@compiled
def links(face: Array, nearness: Array, object_id: Array, flat: Array) -> Array:
    """(H, W, 2) float32: how far a pixel and its neighbour to the right, and below, show one surface."""
    h, w = face.shape
    out = np.zeros((h, w, 2), np.float32)
    for row in range(h):
        for column in range(w):
            f = face[row, column]
            for axis in range(2):
                row_q, column_q = row + axis, column + 1 - axis
                if row_q >= h or column_q >= w:
                    continue
                g = face[row_q, column_q]
                if f == g:
                    out[row, column, axis] = 1
                elif joined(nearness, object_id, f, g, 0.5 * (column + column_q) + 0.5, 0.5 * (row + row_q) + 0.5):
                    bend = flat[f, 0] * flat[g, 0] + flat[f, 1] * flat[g, 1] + flat[f, 2] * flat[g, 2]
                    out[row, column, axis] = 1 if bend > CREASE_COS else CREASE_LINK
    return out


@compiled
def hidden_beside(face: Array, nearness: Array, links: Array) -> Array:
    """(H, W) uint8: 0 where a nearer surface begins beside a pixel, else 1."""
    h, w = face.shape
    out = np.ones((h, w), np.uint8)
    for row in range(h):
        for column in range(w):
            for axis in range(2):
                row_q, column_q = row + axis, column + 1 - axis
                if row_q >= h or column_q >= w or links[row, column, axis] > 0:
                    continue
                f, g = face[row, column], face[row_q, column_q]
                x, y = 0.5 * (column + column_q) + 0.5, 0.5 * (row + row_q) + 0.5
                a = nearness[f, 0] * x + (nearness[f, 1] * y + nearness[f, 2]) if f >= 0 else 0.0
                b = nearness[g, 0] * x + (nearness[g, 1] * y + nearness[g, 2]) if g >= 0 else 0.0
                if a <= b:
                    out[row, column] = 0
                else:
                    out[row_q, column_q] = 0
    return out


@compiled
def smoothed(layers: Array, links: Array, decay: float) -> Array:
    """(N, H, W, 4) float32: the known colours of ``layers`` (N, H, W, 4) and their weights (0 = unknown), smoothed
    along surfaces; weight 0 where no known colour is near.

    By ``decay`` to the power of the distance, both ways in rows, then in columns: a first-order recursive filter whose
    feedback is cut where no surface goes on.
    """
    count, h, w = layers.shape[:3]
    out = np.zeros(layers.shape, np.float32)
    values = np.empty((h, 5, w), np.float32)  # colour, weight, and 1 = known, which says how much was known nearby
    keep = np.empty(w, np.float32)
    for n in range(count):
        for row in range(h):
            for column in range(w):
                known = np.float32(layers[n, row, column, 3] > 0)
                for c in range(3):
                    values[row, c, column] = known * layers[n, row, column, c]
                values[row, 3, column] = layers[n, row, column, 3]
                values[row, 4, column] = known
                keep[column] = decay * links[row, column, 0]
            for column in range(1, w):
                for c in range(5):
                    values[row, c, column] += keep[column - 1] * (values[row, c, column - 1] - values[row, c, column])
            for column in range(w - 2, -1, -1):
                for c in range(5):
                    values[row, c, column] += keep[column] * (values[row, c, column + 1] - values[row, c, column])
            if row > 0:
                _mix_in(values, row, row - 1, links[row - 1], decay, keep)
        for row in range(h - 1, -1, -1):
            if row < h - 1:
                _mix_in(values, row, row + 1, links[row], decay, keep)
            for column in range(w):
                share = values[row, 4, column]
                if share > LEAST_SHARE_KNOWN:
                    scale = 1 / share
                    for c in range(3):
                        out[n, row, column, c] = values[row, c, column] * scale
                    out[n, row, column, 3] = max(values[row, 3, column], np.float32(1e-12))
    return out


@compiled
def _mix_in(values: Array, row: int, other: int, links: Array, decay: float, keep: Array) -> None:
    """One step of ``smoothed`` from the row above or below; ``links`` (W, 2) between them."""
    for column in range(values.shape[2]):
        keep[column] = decay * links[column, 1]
    for c in range(values.shape[1]):
        for column in range(values.shape[2]):
            values[row, c, column] += keep[column] * (values[other, c, column] - values[row, c, column])


# --- pixels that several surfaces share


@compiled
def own_share(face: Array, samples: Array, per_px: int, nearness: Array, object_id: Array) -> Array:
    """(H, W) uint8: samples of a pixel that show the surface at its centre."""
    h, w = face.shape
    out = np.empty((h, w), np.uint8)
    for row in range(h):
        for column in range(w):
            f, count = face[row, column], 0
            for j in range(per_px):
                for i in range(per_px):
                    g = samples[row * per_px + j, column * per_px + i]
                    if g == f:
                        count += 1
                    else:
                        x, y = column + (i + 0.5) / per_px, row + (j + 0.5) / per_px
                        count += joined(nearness, object_id, f, g, x, y)
            out[row, column] = count
    return out


@compiled
def pure_colours(
    picture: Array, face: Array, samples: Array, per_px: int, share: Array, nearness: Array, object_id: Array
) -> Array:
    """(H, W, 3) float32: what the surface at each pixel's centre looks like, without what else the pixel shows.

    From whole pixels of the same surface beside it; else by taking the others' share away; else as it is.
    """
    h, w = face.shape
    out = np.empty((h, w, 3), np.float32)
    full = per_px * per_px
    for row in range(h):
        for column in range(w):
            for c in range(3):
                out[row, column, c] = picture[row, column, c]
            if share[row, column] == full:
                continue
            f, x, y = face[row, column], column + 0.5, row + 0.5
            found, colour = _beside(picture, face, share, full, row, column, f, x, y, nearness, object_id)
            if not found and share[row, column] >= LEAST_SHARE * full:
                found, colour = _unmixed(picture, face, samples, per_px, share, row, column, nearness, object_id)
            if found:
                out[row, column, 0], out[row, column, 1], out[row, column, 2] = colour
    return out


@inlined
def _beside(
    picture: Array, face: Array, share: Array, full: int, row: int, column: int, f: int, x: float, y: float,
    nearness: Array, object_id: Array,
) -> tuple[bool, Colour]:
    """Colour of the surface of face f in the whole pixels round one; the nearest say most."""
    h, w = face.shape
    total, red, green, blue = 0.0, 0.0, 0.0, 0.0
    for k in range(len(RINGS)):
        j, i = row + RINGS[k, 0], column + RINGS[k, 1]
        if not (0 <= j < h and 0 <= i < w) or share[j, i] < full:
            continue
        if joined(nearness, object_id, f, face[j, i], x, y):
            weight = 1.0 / (RINGS[k, 0] ** 2 + RINGS[k, 1] ** 2) ** 2
            total += weight
            red += weight * picture[j, i, 0]
            green += weight * picture[j, i, 1]
            blue += weight * picture[j, i, 2]
    scale = 1 / max(total, 1e-9)
    return total > 0, (red * scale, green * scale, blue * scale)


@compiled
def _unmixed(
    picture: Array, face: Array, samples: Array, per_px: int, share: Array, row: int, column: int, nearness: Array,
    object_id: Array,
) -> tuple[bool, Colour]:
    """The colour of a pixel's own surface, that of the others in it being known. False: it does not come out."""
    full = per_px * per_px
    f = face[row, column]
    red, green, blue, count = 0.0, 0.0, 0.0, 0
    for j in range(per_px):
        for i in range(per_px):
            g = samples[row * per_px + j, column * per_px + i]
            x, y = column + (i + 0.5) / per_px, row + (j + 0.5) / per_px
            if joined(nearness, object_id, f, g, x, y):
                count += 1
                continue
            found, colour = _beside(picture, face, share, full, row, column, g, x, y, nearness, object_id)
            if not found:
                return False, (0.0, 0.0, 0.0)
            red, green, blue = red + linear(colour[0]), green + linear(colour[1]), blue + linear(colour[2])
    own = (
        (full * linear(picture[row, column, 0]) - red) / count,
        (full * linear(picture[row, column, 1]) - green) / count,
        (full * linear(picture[row, column, 2]) - blue) / count,
    )
    low, high = min(own[0], own[1], own[2]), max(own[0], own[1], own[2])
    if low < -linear(OFF_CODES) or high > linear(255 + OFF_CODES):
        return False, (0.0, 0.0, 0.0)
    return True, (coded(max(own[0], 0.0)), coded(max(own[1], 0.0)), coded(max(own[2], 0.0)))


@compiled
def composed(
    pure: Array, face: Array, samples: Array, per_px: int, nearness: Array, object_id: Array
) -> Array:
    """(H, W, 3) uint8: each pixel the mean light of its samples, which look like their surface does nearest by."""
    h, w = face.shape
    out = np.empty((h, w, 3), np.uint8)
    counts = np.zeros(len(RINGS), np.int64)
    for row in range(h):
        for column in range(w):
            f, own, elsewhere = face[row, column], 0, 0
            for j in range(per_px):
                for i in range(per_px):
                    g = samples[row * per_px + j, column * per_px + i]
                    if g == f:
                        own += 1
                        continue
                    x, y = column + (i + 0.5) / per_px, row + (j + 0.5) / per_px
                    if joined(nearness, object_id, f, g, x, y):
                        own += 1
                        continue
                    for k in range(len(RINGS)):
                        row_q, column_q = row + RINGS[k, 0], column + RINGS[k, 1]
                        if 0 <= row_q < h and 0 <= column_q < w and joined(
                            nearness, object_id, g, face[row_q, column_q], x, y
                        ):
                            counts[k] += 1
                            elsewhere += 1
                            break
            if elsewhere == 0:
                for c in range(3):
                    out[row, column, c] = min(max(pure[row, column, c] + 0.5, 0.0), 255.0)
                continue
            for c in range(3):
                light = own * linear(min(max(pure[row, column, c], 0.0), 255.0))
                for k in range(len(RINGS)):
                    if counts[k] > 0:
                        code = pure[row + RINGS[k, 0], column + RINGS[k, 1], c]
                        light += counts[k] * linear(min(max(code, 0.0), 255.0))
                out[row, column, c] = min(coded(light / (own + elsewhere)) + 0.5, 255.0)
            counts[:] = 0
    return out


# --- from one view into another


@compiled
def halve(
    texels: Array, faces: Array, object_id: Array, finer: tuple[int, int, int], coarser: tuple[int, int, int]
) -> None:
    """Fill a level of a pyramid, whose levels lie below each other in ``texels`` (rows, W, 4) and ``faces`` (rows, W):
    a level is its first row, height and width.

    A coarser texel is the mean of those of 2 x 2 that show the object of the first of them.
    """
    for row in range(coarser[1]):
        for column in range(coarser[2]):
            f, j, i = faces[finer[0] + 2 * row, 2 * column], coarser[0] + row, column
            own, members = object_id[f] if f >= 0 else 0, 0
            for k in range(4):
                row_q, column_q = 2 * row + k // 2, 2 * column + k % 2
                if row_q >= finer[1] or column_q >= finer[2]:
                    continue
                g = faces[finer[0] + row_q, column_q]
                if (object_id[g] if g >= 0 else 0) == own:
                    members += 1
                    for c in range(4):
                        texels[j, i, c] += texels[finer[0] + row_q, column_q, c]
            faces[j, i] = f
            for c in range(4):
                texels[j, i, c] /= members


@inlined
def _cubic(x: float) -> float:
    """Keys' cubic convolution (1981); steeper than Catmull and Rom's, to keep what is fine as strong as it was."""
    x = abs(x)
    if x < 1:
        return 1 + x * x * ((2 - STEEPNESS) * x - (3 - STEEPNESS))
    return STEEPNESS * (4 + x * (-8 + x * (5 - x))) if x < 2 else 0.0


@inlined
def _tent(x: float) -> float:
    """Positive, for where some neighbours do not count; with a faint skirt, for where those do not that count most."""
    x = abs(x)
    return max(1 - x, 0.0) + 0.01 * max(2 - x, 0.0)


@inlined
def _step(moved: Array, links: Array, row: int, column: int, axis: int) -> tuple[float, float]:
    """How far the place in the other view goes for one pixel in x (axis 0) or y, by neighbours of the same surface."""
    h, w = moved.shape[:2]
    row_a, column_a, row_b, column_b = row, column, row, column
    if axis == 0:
        if column + 1 < w and links[row, column, 0] == 1:
            column_b += 1
        if column > 0 and links[row, column - 1, 0] == 1:
            column_a -= 1
    else:
        if row + 1 < h and links[row, column, 1] == 1:
            row_b += 1
        if row > 0 and links[row - 1, column, 1] == 1:
            row_a -= 1
    span = max(column_b - column_a + row_b - row_a, 1)
    dx = (moved[row_b, column_b, 0] - moved[row_a, column_a, 0]) / span
    dy = (moved[row_b, column_b, 1] - moved[row_a, column_a, 1]) / span
    return (1 + dx, dy) if axis == 0 else (dx, 1 + dy)


@compiled
def gathered(
    moved: Array, visible: Array, face: Array, links: Array, texels: Array, faces: Array, places: Array,
    goes_on: Array, nearness: Array, object_id: Array,
) -> Array:
    """(H, W, 4) float32: colour that each pixel has in another view, and how good it is there, 0 = unknown.

    ``moved`` (H, W, 2) and ``visible`` are the flow to that view; ``texels`` and ``faces`` its pyramid, whose levels
    lie at ``places`` (count, 3); ``goes_on`` (see ``Painted``) and ``nearness`` are that view's. The filter is as wide
    as the pixel's footprint there (elliptical weighted average, Heckbert 1989), never narrower than a texel, and takes
    texels of the pixel's own surface only.
    """
    h, w = face.shape
    out = np.zeros((h, w, 4), np.float32)
    for row in range(h):
        for column in range(w):
            if not visible[row, column]:
                continue
            f = face[row, column]
            x, y = column + 0.5 + moved[row, column, 0], row + 0.5 + moved[row, column, 1]
            a, c = _step(moved, links, row, column, 0)
            b, d = _step(moved, links, row, column, 1)
            # Footprint: the unit disc through the matrix (a b; c d); m m^T has its squared widths as eigenvalues.
            xx, xy, yy = a * a + b * b, a * c + b * d, c * c + d * d
            mean, half = 0.5 * (xx + yy), np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy)
            colour, is_wide = (0.0, 0.0, 0.0, 0.0), mean + half > TOLERATED**2
            height, width = places[0, 1], places[0, 2]
            nearest = faces[min(int(y), height - 1), min(int(x), width - 1)]
            if not is_wide and goes_on[max(int(y - 0.5), 0), max(int(x - 0.5), 0)] and joined(
                nearness, object_id, f, nearest, x, y
            ):
                colour = _interpolated(x, y, texels, height, width)
            if colour[3] == 0:
                form = (0.5 * (xx - yy), xy, mean, half)
                colour = _filtered(f, x, y, form, is_wide, texels, faces, places, nearness, object_id)
            quality = colour[3] * min(max(mean - half, 0.0), 1.0)
            if quality > LEAST_QUALITY:
                out[row, column, 0], out[row, column, 1], out[row, column, 2] = colour[0], colour[1], colour[2]
                out[row, column, 3] = quality
    return out


@inlined
def _interpolated(x: float, y: float, texels: Array, h: int, w: int) -> tuple[float, float, float, float]:
    """Colour and trust at a place around which one surface goes on."""
    left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
    along, down = x - 0.5 - left, y - 0.5 - top
    weights = (_cubic(1 + along), _cubic(along), _cubic(1 - along), _cubic(2 - along))
    red, green, blue, trust = 0.0, 0.0, 0.0, 0.0
    for j in range(4):
        row, by_row = min(max(top + j - 1, 0), h - 1), _cubic(j - 1 - down)
        for i in range(4):
            column = min(max(left + i - 1, 0), w - 1)
            weight = by_row * weights[i]
            red += weight * texels[row, column, 0]
            green += weight * texels[row, column, 1]
            blue += weight * texels[row, column, 2]
            trust += weight * texels[row, column, 3]
    return red, green, blue, min(max(trust, 0.0), 1.0)


@compiled
def _filtered(
    f: int, x: float, y: float, form: tuple[float, float, float, float], is_sharp: bool, texels: Array, face: Array,
    places: Array, nearness: Array, object_id: Array,
) -> tuple[float, float, float, float]:
    """Colour and trust under an ellipse: by a sharp filter (if ``is_sharp``) where the surface of face f fills it, else
    by a positive one.

    ``form``: the footprint's matrix is mean + (a b; b -a), its eigenvalues mean +- half.
    """
    a, b, mean, half = form
    wide, narrow = np.sqrt(mean + half), np.sqrt(max(mean - half, 0.0))
    level, scale = 0, 1.0 / TOLERATED
    while wide * scale > FOOTPRINT and level < len(places) - 1:
        level, scale = level + 1, 0.5 * scale
    p, q = max(wide * scale, 1.0), max(narrow * scale, 1.0)
    a, b = a / max(half, 1e-12), b / max(half, 1e-12)
    even, odd = 0.5 * (1 / p + 1 / q), 0.5 * (1 / p - 1 / q)
    k_xx, k_xy, k_yy = even + odd * a, odd * b, even - odd * a
    even, odd = 0.5 * (p * p + q * q), 0.5 * (p * p - q * q)
    reach_x, reach_y = 2 * np.sqrt(even + odd * a), 2 * np.sqrt(even - odd * a)
    top, h, w = places[level, 0], places[level, 1], places[level, 2]
    u, v = x * 0.5**level - 0.5, y * 0.5**level - 0.5
    for is_soft in (not is_sharp, True):
        total, red, green, blue, trust, positive, is_cut = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, False
        for j in range(int(np.ceil(v - reach_y)), int(np.floor(v + reach_y)) + 1):
            for i in range(int(np.ceil(u - reach_x)), int(np.floor(u + reach_x)) + 1):
                s, t = k_xx * (i - u) + k_xy * (j - v), k_xy * (i - u) + k_yy * (j - v)
                if abs(s) >= 2 or abs(t) >= 2:
                    continue
                row, column = top + min(max(j, 0), h - 1), min(max(i, 0), w - 1)
                g = face[row, column]
                if g != f and not joined(nearness, object_id, f, g, x, y):
                    is_cut = True
                    continue
                weight = _tent(s) * _tent(t) if is_soft else _cubic(s) * _cubic(t)
                total += weight
                red += weight * texels[row, column, 0]
                green += weight * texels[row, column, 1]
                blue += weight * texels[row, column, 2]
                positive += abs(weight)
                trust += abs(weight) * texels[row, column, 3]
        if is_soft or not is_cut:
            break
    if positive < 1e-9:
        return 0.0, 0.0, 0.0, 0.0
    return red / total, green / total, blue / total, trust / positive


# --- several into one


@compiled
def add_band(out: Array, finer: Array, coarser: Array, power: int) -> Array:
    """Add to (H, W, 3) the band between two smoothings of N pictures (N, H, W, 4), weighted by ``finer[..., 3]`` to the
    ``power``. (H, W) bool: where there was a weight."""
    count, h, w = finer.shape[:3]
    given, weights = np.zeros((h, w), np.bool_), np.empty(count, np.float32)
    for row in range(h):
        for column in range(w):
            largest = np.float32(0)
            for n in range(count):
                largest = max(largest, finer[n, row, column, 3])
            if largest <= 0:
                continue
            given[row, column] = True
            total = np.float32(0)
            for n in range(count):
                share = finer[n, row, column, 3] / largest
                weights[n] = share
                for _ in range(power - 1):
                    weights[n] *= share
                total += weights[n]
            for n in range(count):
                weight = weights[n] / total
                if weight > 0:
                    for c in range(3):
                        out[row, column, c] += weight * (finer[n, row, column, c] - coarser[n, row, column, c])
    return given

"""Compiled loops of depth estimation: pictures compared, flows fused, frames confirmed by others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray
# One thread each: frames are solved side by side.
compiled: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@compiled
def add_difference(total: Array, q: Array, look: Array, seen: Array, a: Array, b: Array, most: float) -> None:
    """Add to ``total`` (H, W) how much ``seen`` (h, w, 3), sampled where each pixel is at inverse depth ``q``, differs
    from ``look`` (H, W, 3): the sum over the channels, at most ``most``, and ``most`` outside. ``a`` (H, W, 3) and
    ``b`` (3,) are a ``Pair``'s. All float32, contiguous: they are walked through as they lie in memory."""
    height, width = seen.shape[:2]
    half, one = np.float32(0.5), np.float32(1)
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    # Numbers without a sign spare a look at whether an index counts from the end.
    below, beside = np.uint64(3 * width), np.uint64(3)
    sums, nearness, here, there, rays = total.ravel(), q.ravel(), look.ravel(), seen.ravel(), a.ravel()
    for i in range(sums.size):
        near, k = nearness[i], 3 * i
        z = rays[k + 2] + near * b[2]
        inverse = one / max(z, np.float32(1e-6))
        x = (rays[k] + near * b[0]) * inverse - half
        y = (rays[k + 1] + near * b[1]) * inverse - half
        off: Any = most
        if (z > 1e-6) & (x >= 0) & (y >= 0) & (x < right) & (y < bottom):
            left, top = np.int32(x), np.int32(y)
            u, v = x - np.float32(left), y - np.float32(top)
            at = np.uint64(top) * below + np.uint64(left) * beside
            off = np.float32(0)
            for c in range(3):
                p = at + np.uint64(c)
                upper = there[p] + u * (there[p + beside] - there[p])
                lower = there[p + below] + u * (there[p + below + beside] - there[p + below])
                off += abs(upper + v * (lower - upper) - here[k + c])
            off = min(off, most)
        sums[i] += off


@compiled
def fuse_views(
    flows: Array, a: Array, b: Array, usable: Array, gx: Array, gy: Array, q_bounds: tuple[float, float],
    agreeing: float,
) -> Array:
    """Inverse depth of every pixel (H, W) from ``flows`` (V, H, W, 2) to V views, as (5, H, W) float32: robust q; the
    sum of weights; the weighted square relative deviation from q; how many views agree; and the mean over the views of
    the square slope of the picture along the epipolar line.

    A view's weight is its inverse variance for a flow error of 1 px; a median, then two steps of reweighted means with
    the scale ``agreeing`` (relative). ``a`` (V, 3, 3) and ``b`` (V, 3): a pixel (x, y) at q is seen in view v at
    ``a[v] @ (x, y, 1) + q b[v]``. ``usable`` (V, H, W) bool. ``gx``, ``gy``: the picture's gradient."""
    views, height, width = flows.shape[:3]
    out = np.zeros((5, height, width), np.float32)
    qs, ws, order = np.empty(views, np.float32), np.empty(views, np.float32), np.empty(views, np.int64)
    half, one, tiny = np.float32(0.5), np.float32(1), np.float32(1e-12)
    low, high, scale = np.float32(q_bounds[0]), np.float32(q_bounds[1]), np.float32(agreeing)
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    for row in range(height):
        y = np.float32(row) + half
        for column in range(width):
            x, slope2, every = np.float32(column) + half, np.float32(0), np.float32(0)
            for v in range(views):
                m, move = a[v], b[v]
                az = m[2, 0] * x + (m[2, 1] * y + m[2, 2])
                ux, uy = x + flows[v, row, column, 0], y + flows[v, row, column, 1]
                dx, dy = move[0] - ux * move[2], move[1] - uy * move[2]
                ex = ux * az - (m[0, 0] * x + (m[0, 1] * y + m[0, 2]))
                ey = uy * az - (m[1, 0] * x + (m[1, 1] * y + m[1, 2]))
                length2 = dx * dx + dy * dy + tiny
                length, near = np.sqrt(length2), (dx * ex + dy * ey) / length2
                inverse = one / max(az + near * move[2], np.float32(1e-3))
                across, per_q = abs(dx * ey - dy * ex) / length * inverse, length * inverse
                along = (gx[row, column] * dx + gy[row, column] * dy) / length
                slope2 += along * along
                fits = usable[v, row, column] & (near > low) & (near < high)
                fits &= (ux >= half) & (uy >= half) & (ux <= right + half) & (uy <= bottom + half)
                match = np.exp(-across * across)
                weight = match * per_q * per_q if fits & (match > np.float32(1e-6)) else np.float32(0)
                every += weight
                k = v  # sorted by insertion: there are few
                while k > 0 and qs[order[k - 1]] > near:
                    order[k] = order[k - 1]
                    k -= 1
                order[k], qs[v], ws[v] = v, near, weight
            out[4, row, column] = slope2 / np.float32(views)
            if not every > 0:
                continue
            passed, q = np.float32(0), np.float32(0)
            for k in range(views):
                passed, q = passed + ws[order[k]], qs[order[k]]
                if passed >= half * every:
                    break
            total, spread2, count = np.float32(0), np.float32(0), 0
            for _ in range(2):
                total, mean, count = np.float32(0), np.float32(0), 0
                for v in range(views):
                    off = (qs[v] - q) / (q * scale)
                    share = one / (one + off * off)
                    total, mean = total + share * ws[v], mean + share * ws[v] * qs[v]
                    count += (share > np.float32(0.3)) & (ws[v] > 0)
                before, q = q, mean / total
            for v in range(views):
                off, now = (qs[v] - before) / (before * scale), (qs[v] - q) / q
                spread2 += ws[v] / (one + off * off) * now * now
            out[0, row, column], out[1, row, column] = q, total
            out[2, row, column], out[3, row, column] = spread2 / total, count
    return out


@compiled
def confirm(
    back: Array, votes: Array, seen: Array, q: Array, theirs: Array, trusts: Array, a: Array, b: Array, share: float
) -> None:
    """What another frame's inverse depth ``theirs`` (h, w; 0 = none) and confidence ``trusts`` say of ``q`` (H, W).

    Into ``back`` their depth of the same point, brought back along the pixel's ray, or nan where it is off by more than
    ``share``; to ``votes`` .3 to 1 is added where it is not, and to ``seen`` 1 where they see the point at all. ``a``
    and ``b`` are a ``Pair``'s."""
    height, width = theirs.shape
    one, half = np.float32(1), np.float32(0.5)
    for row in range(q.shape[0]):
        for column in range(q.shape[1]):
            near, rays = q[row, column], a[row, column]
            back[row, column] = np.nan
            z = rays[2] + near * b[2]
            if not z > 1e-6:
                continue
            x, y = (rays[0] + near * b[0]) / z, (rays[1] + near * b[1]) / z
            if not ((x >= 0) & (y >= 0) & (x < width) & (y < height)):
                continue
            there = theirs[int(y), int(x)]
            if not there > 0:
                continue
            # The point at their depth z_s = (a + q b) / q has q = a / (z_s - b) here.
            beyond = one / there - b[2]
            here = rays[2] / beyond if beyond > 0 else np.float32(np.inf)
            if abs(here - near) < share * near:
                back[row, column] = here
                u, v = min(max(x - half, 0), width - 1), min(max(y - half, 0), height - 1)
                left, top = int(u), int(v)
                right, below = min(left + 1, width - 1), min(top + 1, height - 1)
                u, v = u - left, v - top
                upper = trusts[top, left] + u * (trusts[top, right] - trusts[top, left])
                lower = trusts[below, left] + u * (trusts[below, right] - trusts[below, left])
                votes[row, column] += np.float32(0.3) + np.float32(0.7) * (upper + v * (lower - upper))
            if not here > near * (one + 2 * share):  # not hidden by something nearer
                seen[row, column] += one


@compiled
def lower_median(stack: Array) -> Array:
    """(H, W) of what is not nan in (N, H, W); row 0 is never nan."""
    count, height, width = stack.shape
    out, known = np.empty((height, width), np.float32), np.empty(count, np.float32)
    for row in range(height):
        for column in range(width):
            n = 0
            for i in range(count):
                value = stack[i, row, column]
                if np.isfinite(value):
                    k = n
                    while k > 0 and known[k - 1] > value:
                        known[k] = known[k - 1]
                        k -= 1
                    known[k] = value
                    n += 1
            out[row, column] = known[(n - 1) // 2]
    return out

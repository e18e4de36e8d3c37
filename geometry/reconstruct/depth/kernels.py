"""The compiled loop behind ``appearance.Comparison.cost``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray
# One thread each: callers compare several depths at once.
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

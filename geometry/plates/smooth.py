"""Values continued smoothly into holes.

Biharmonic: the squared Laplacian over the holes and their rims is least, with known values kept (Damelin and Hoang
2018); a plane continues as a plane. Where holes are large it is solved on a coarser raster, which is enough for what is
smooth, and what the coarse raster misses at the rims fades into the hole.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix, csr_matrix, vstack
from scipy.sparse.linalg import splu

Array = np.ndarray
MOST_UNKNOWNS = 12_000
RIM = 3  # px round holes that take part
TENSION = 1e-3  # of the gradient beside the curvature: far from what is known, level rather than steep


def biharmonic(values: Array, known: Array) -> Array:
    """(H, W) float64 ``values`` where ``known`` (H, W) bool, and smooth elsewhere.

    Raises ``ValueError`` when nothing is known.
    """
    if not known.any():
        raise ValueError("known: expected some pixels, got none")
    out = np.where(known, values, 0.0).astype(np.float64)
    if known.all():
        return out
    step = int(np.ceil(np.sqrt((~known).sum() / MOST_UNKNOWNS)))
    if step > 1:
        out[~known] = _from_coarse(out, known, step)[~known]
        return out
    near = cv2.dilate((~known).astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
    x, y, w, h = cv2.boundingRect(near.astype(np.uint8))
    cut = np.s_[y : y + h, x : x + w]
    out[cut] = _solved(out[cut], known[cut], near[cut])
    return out


def nearest(values: Array, known: Array) -> Array:
    """(H, W, ...) each pixel has the value of the nearest ``known`` (H, W) bool one."""
    rows, columns = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return values[rows, columns]


def _from_coarse(values: Array, known: Array, step: int) -> Array:
    h, w = known.shape
    padded = ((0, -h % step), (0, -w % step))
    total, weight = (
        np.pad(a, padded).reshape(-(-h // step), step, -(-w // step), step).sum((1, 3))
        for a in (values, known.astype(np.float64))
    )
    have = weight > 0
    coarse = biharmonic(total / np.maximum(weight, 1), have)
    x, y = ((np.arange(n) + 0.5) / step - 0.5 for n in (w, h))
    grid = np.broadcast_to(x, (h, w)).astype(np.float32), np.broadcast_to(y[:, None], (h, w)).astype(np.float32)
    large = cv2.remap(coarse, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    missed = nearest(np.where(known, values - large, 0), known)
    return large + missed * np.exp(-distance_transform_edt(~known) / step)


def _solved(values: Array, known: Array, near: Array) -> Array:
    """Least squares over the Laplacians at ``near`` pixels, whose rows have all neighbours inside the raster."""
    laplacian, gradient = _differences(near)
    unknown = np.flatnonzero(~known)
    free = laplacian[:, unknown], gradient[:, unknown]
    given = values.ravel() * known.ravel()
    matrix = (free[0].T @ free[0] + TENSION * (free[1].T @ free[1])).tocsc()
    right = -(free[0].T @ (laplacian @ given) + TENSION * (free[1].T @ (gradient @ given)))
    out = values.copy()
    out.ravel()[unknown] = splu(matrix).solve(right)
    return out


def _differences(near: Array) -> tuple[csr_matrix, csr_matrix]:
    """Second differences along rows and columns, and first ones, of triples and pairs that lie in ``near``."""
    index = np.arange(near.size).reshape(near.shape)
    second, first = [], []
    for at, flags in ((index, near), (index.T, near.T)):
        triple = flags[2:] & flags[1:-1] & flags[:-2]
        second.append(np.stack([at[2:][triple], at[1:-1][triple], at[:-2][triple]], 1))
        pair = flags[1:] & flags[:-1]
        first.append(np.stack([at[1:][pair], at[:-1][pair]], 1))
    cross = near[1:, 1:] & near[:-1, 1:] & near[1:, :-1] & near[:-1, :-1]
    twist = np.stack([index[1:, 1:][cross], index[:-1, 1:][cross], index[1:, :-1][cross], index[:-1, :-1][cross]], 1)
    twisted = np.sqrt(2) * np.array((1, -1, -1, 1))
    bent = [_matrix(np.concatenate(second), np.array((1, -2, 1)), near.size), _matrix(twist, twisted, near.size)]
    return vstack(bent).tocsr(), _matrix(np.concatenate(first), np.array((1, -1)), near.size)


def _matrix(pixels: Array, weights: Array, columns: int) -> csr_matrix:
    rows = np.repeat(np.arange(len(pixels)), len(weights))
    values = np.tile(weights.astype(np.float64), len(pixels))
    return coo_matrix((values, (rows, pixels.ravel())), shape=(len(pixels), columns)).tocsr()

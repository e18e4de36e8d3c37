"""How light falls on a surface by its normal: taken off an example before its texture is copied, put on again after.

``shade`` is relative: 1 is a surface that is lit as in the example. Without a view that the example was painted over,
light is a soft sky and a key from where ``geometry.edges`` has it; with one, log-luminance is explained as one number
for each label plus low spherical polynomials of the normal (Ramamoorthi and Hanrahan 2001), by ridge regression towards
the default.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from geometry.edges import KEY_LIGHT
from geometry.exemplar.kernels import openness
from geometry.mesh import linear_from_srgb, srgb_from_linear
from geometry.scene import GBuffer

Array = np.ndarray
AMBIENT, SKY, KEY = 0.5, 0.15, 0.45
AS_SHOWN = 0.92  # what a style picture's surfaces received
LUMA = (0.2126, 0.7152, 0.0722)
FULL_CELL = 1000  # pixels of one label and direction that count as one whole observation
RIDGE = 0.05
LARGEST = np.log(3.0)  # of a correction
DARKEST_CORNER = 0.45
CORNER_SHARE = 0.06  # of the picture's height: how far corners darken


@dataclass(frozen=True)
class Light:
    """``correction`` (8,): what to add to the log of the default, by ``_polynomials`` of the normal."""

    correction: Array = field(default_factory=lambda: np.zeros(8))

    def shade(self, normal: Array) -> Array:
        """(...) float32 of (..., 3) unit normals."""
        default = AMBIENT + SKY * (0.5 + 0.5 * normal[..., 1]) + KEY * np.maximum(_towards_key(normal), 0)
        log = np.clip(sum(c * p for c, p in zip(self.correction, _polynomials(normal), strict=True)), -LARGEST, LARGEST)
        return (default / AS_SHOWN * np.exp(log)).astype(np.float32)


def fitted(picture: Array, normal: Array, labels: Array) -> Light:
    """The light in ``picture`` (H, W, 3) uint8 that shows surfaces of ``labels`` (H, W), 0 = none."""
    default = Light()
    surface = labels > 0
    if not surface.any():
        return default
    normal = normal[surface].astype(np.float64)
    log = np.log(np.maximum(_luminance(picture[surface]), 1e-3) / default.shade(normal))
    facing = np.round(normal * 2) @ (25, 5, 1)
    _, owner = np.unique(labels[surface], return_inverse=True)
    cells, cell, count = np.unique(owner * 1000 + facing, return_inverse=True, return_counts=True)
    order = np.argsort(cell, kind="stable")
    groups = np.split(order, np.cumsum(count)[:-1])
    seen = np.array([np.median(log[group]) for group in groups])
    normals = np.stack([np.bincount(cell, n) / count for n in normal.T], 1)
    weight = np.sqrt(np.minimum(count / FULL_CELL, 1.0))
    known = np.zeros((len(cells), 8 + owner.max() + 1))
    known[:, :8] = np.stack(_polynomials(normals), 1)
    known[np.arange(len(cells)), 8 + np.round(cells / 1000).astype(int)] = 1
    ridge = np.diag(np.r_[np.full(8, RIDGE), np.full(known.shape[1] - 8, 1e-6)])
    weighted = known * weight[:, None]
    solved = np.linalg.solve(weighted.T @ weighted + ridge, weighted.T @ (seen * weight))
    return Light(np.round(solved[:8], 6))  # the last digits depend on how many threads added them up


def unlit(picture: Array, shade: Array) -> Array:
    """(H, W, 3) uint8: what a surface of shade 1 would show; ``shade`` (H, W)."""
    return srgb_from_linear(linear_from_srgb(picture) / shade[..., None])


def lit(texture: Array, shade: Array) -> Array:
    """(..., 3) float32 in [0, 255]: code values in [0, 255] under ``shade`` (...); for code values below 255 finely
    graded, so that smooth shading shows no steps."""
    code = np.clip(texture, 0, 255) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4) * shade[..., None]
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32) * 255


def corners(gbuffer: GBuffer) -> Array:
    """(H, W) float32 in [DARKEST_CORNER, 1]: darkening where surfaces meet."""
    turns = np.arange(24) * 2.399963  # the golden angle spreads them evenly
    offsets = np.sqrt((np.arange(24) + 0.5) / 24)[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
    reach = np.full(gbuffer.depth.shape, CORNER_SHARE * gbuffer.depth.shape[0])
    free = openness(gbuffer.depth, gbuffer.normal, gbuffer.position, gbuffer.object_id, offsets, reach)
    return DARKEST_CORNER + (1 - DARKEST_CORNER) * free


def _luminance(picture: Array) -> Array:
    linear = linear_from_srgb(picture)
    return LUMA[0] * linear[..., 0] + LUMA[1] * linear[..., 1] + LUMA[2] * linear[..., 2]


def _towards_key(normal: Array) -> Array:
    return normal[..., 0] * KEY_LIGHT[0] + normal[..., 1] * KEY_LIGHT[1] + normal[..., 2] * KEY_LIGHT[2]


def _polynomials(normal: Array) -> list[Array]:
    x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
    return [x, y, z, x * y, y * z, x * z, x * x - z * z, y * y - 1 / 3]

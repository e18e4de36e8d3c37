"""Line drawings of a sight, worked out from its geometry.

Two neighbouring samples that see different faces have a line between them, or none. Where: the planes' inverse depths
are linear in the picture, so faces that meet do so where these are equal, and a face that ends does so where one of
its edge functions is 0: either place is known to a fraction of a sample. A line is therefore drawn where it is, not
where samples are, and glides as the camera moves. A crossing between neighbours in x counts |n_x| and one in y |n_y|
(n: the line's unit normal): these add up to the line's length, whatever its direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry.scene import GBuffer
from geometry.shapes import expect_shape
from geometry.sight import Sight
from geometry.sight_kernels import compiled, drawn_lines

Array = np.ndarray
KINDS = ("silhouette", "crease", "boundary", "intersection")
SAMPLES_PER_PX = 2
SOFT_SCALES = ((0.8, 0.85), (1.8, 0.45), (4.0, 0.18))  # sigma in px of a picture of 480 rows, and weight
FEWEST_ROWS = 360  # smaller pictures have no finer lines: pixels would show
SHADING_GAIN = 1.6
CONTRAST_GAIN = 5.0  # a step of half the range is a full edge at the finest scale
SCHARR_SUM = 32  # what OpenCV's Scharr kernels make of a slope of 1
KEY_LIGHT = np.array([0.48, 0.72, 0.50])  # where the light comes from that shading contrast is judged in


@dataclass(frozen=True)
class Lines:
    """``kinds`` (H, W, 4) float32 in [0, 1]: lines of 1 px, anti-aliased, one channel for each of ``KINDS``.

    ``graded`` (H, W) float32: all of them, weighted by how strong an edge they make; not clipped where lines crowd.
    """

    kinds: Array
    graded: Array

    def __post_init__(self) -> None:
        expect_shape("kinds", self.kinds, (*self.graded.shape, len(KINDS)))

    @property
    def drawing(self) -> Array:
        """(H, W) float32 in [0, 1]: the lines of every kind."""
        return np.minimum(sum(self.kinds[..., kind] for kind in range(len(KINDS))), 1)


def lines(sight: Sight) -> Lines:
    """Silhouettes, creases, boundaries and intersections at ``SAMPLES_PER_PX`` squared samples a pixel."""
    topology, surface = sight.surface.topology, sight.surface
    drawn = drawn_lines(
        sight.faces(SAMPLES_PER_PX), SAMPLES_PER_PX, sight.edges, sight.nearness, sight.from_behind, topology.faces,
        topology.object_id, topology.piece, topology.is_open, surface.normals, sight.flat_normals, KEY_LIGHT,
    )  # fmt: skip
    return Lines(np.minimum(drawn[..., :4], 1), np.ascontiguousarray(drawn[..., 4]))


def soft_edges(drawn: Lines, gbuffer: GBuffer) -> Array:
    """(H, W) float32 in [0, 1]: edges as a holistically-nested edge detector (HED: Xie and Tu 2015) draws them.

    Each scale shows the graded lines blurred to its width, a single full line being 1 at its crest, and the contrast of
    shading that a rounded form has at that scale. Scales are joined as independent evidence: 1 - prod(1 - w e).
    """
    scale = max(gbuffer.depth.shape[0], FEWEST_ROWS) / 480
    shade = _shade(gbuffer.normal, gbuffer.object_id, KEY_LIGHT)
    left = np.ones_like(drawn.graded)
    for sigma, weight in SOFT_SCALES:
        sigma *= scale
        # The lines come with a profile of their own: a tent of 1 px, variance 1/6.
        crest = np.sqrt(2 * np.pi * (sigma**2 + 1 / 6))
        form = _blurred(shade, sigma)
        slopes = cv2.Scharr(form, cv2.CV_32F, 1, 0), cv2.Scharr(form, cv2.CV_32F, 0, 1)
        _take(left, weight, _blurred(drawn.graded, sigma), crest, *slopes, SHADING_GAIN * sigma / SCHARR_SUM)
    return 1 - left


def picture_soft_edges(picture: Array) -> Array:
    """(H, W) float32 in [0, 1] of an (H, W, 3) uint8 picture of unknown geometry: its contrasts at the same scales."""
    shown = picture.astype(np.float32) / 255
    scale = max(picture.shape[0], FEWEST_ROWS) / 480
    left = np.ones(picture.shape[:2], np.float32)
    for sigma, weight in SOFT_SCALES:
        form = _blurred(shown, sigma * scale)
        across, down = cv2.Scharr(form, cv2.CV_32F, 1, 0), cv2.Scharr(form, cv2.CV_32F, 0, 1)
        slope = np.sqrt((across * across + down * down).max(-1)) * (CONTRAST_GAIN * sigma * scale / SCHARR_SUM)
        left *= 1 - weight * np.minimum(slope, 1)
    return 1 - left


def _blurred(picture: Array, sigma: float) -> Array:
    return cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)


# Spelt out: the last digit of OpenCV's magnitude depends on where memory lies, that of a matrix product on threads.


@compiled
def _take(
    left: Array, weight: float, line: Array, crest: float, slope_x: Array, slope_y: Array, gain: float
) -> None:
    """Multiply ``left`` by what two pieces of evidence leave of it."""
    for row in range(left.shape[0]):
        for column in range(left.shape[1]):
            slope = np.sqrt(slope_x[row, column] ** 2 + slope_y[row, column] ** 2)
            by_line = 1 - weight * min(crest * line[row, column], 1.0)
            left[row, column] *= by_line * (1 - weight * min(gain * slope, 1.0))


@compiled
def _shade(normal: Array, object_id: Array, light: Array) -> Array:
    """(H, W) float32 in [0, 1]: a matt grey model in ``light``; wrapped, so that no side is without form."""
    h, w = object_id.shape
    shade = np.ones((h, w), np.float32)
    for row in range(h):
        for column in range(w):
            if object_id[row, column] > 0:
                n = normal[row, column]
                shade[row, column] = (0.5 + 0.5 * (n[0] * light[0] + n[1] * light[1] + n[2] * light[2])) ** 2
    return shade

"""Depth of one still: from a horizon line, or from a depth picture.

*Horizon*: the ground is the plane that meets infinity there, the rest is a backdrop, and cards stand upright on the
ground (Hoiem et al. 2005 call it a pop-up). The line's pixels x satisfy n . K^-1 x = 0, where n is the ground's normal
that points down, in OpenCV axes; the ground at a camera height h is z = h / (n . ray), rays having z = 1.

*Depth picture*: code values in one channel, inverse depth (white near, as learned depth has it) or depth.
All depths are z-depth, (H, W) float32 > 0, in scene units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from geometry.camera import Camera, pixel_rays
from geometry.plates.smooth import biharmonic
from geometry.shapes import expect_shape

Array = np.ndarray
MOST_HOLES = 0.5
ASPECT_SLACK = 0.02
UPRIGHT_GAP = 0.25  # of the range: so much nearer is a picture's top than its bottom only where it is inverted
STRIP = 0.2  # of the rows, at the top and at the bottom


@dataclass(frozen=True)
class Horizon:
    """Where the ground meets the sky: ``left`` and ``right`` are rows, px, at the picture's two sides."""

    left: float
    right: float

    @classmethod
    def level(cls, row: float) -> Horizon:
        return cls(row, row)


@dataclass(frozen=True)
class Card:
    """Something that stands upright on the ground where its ``box`` (x0, y0, x1, y1) px ends below, facing the camera.

    ``mask`` (H, W) bool: its pixels; None = all of the box.
    """

    box: tuple[float, float, float, float]
    mask: Array | None = None

    def __post_init__(self) -> None:
        if not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"card: expected x0 < x1 and y0 < y1, got {self.box}")
        if self.mask is not None:
            expect_shape("card mask", self.mask, (None, None))

    def pixels(self, hw: tuple[int, int]) -> Array:
        if self.mask is not None:
            expect_shape("card mask", self.mask, hw)
            return self.mask > 0
        x0, y0, x1, y1 = self.box
        y, x = np.ogrid[: hw[0], : hw[1]]
        return (x + 0.5 >= x0) & (x + 0.5 < x1) & (y + 0.5 >= y0) & (y + 0.5 < y1)


def depth_from_horizon(
    camera: Camera, horizon: Horizon, *, height: float = 1.6, far: float = 100.0, cards: Sequence[Card] = ()
) -> Array:
    """(H, W) of a camera ``height`` above the ground; the backdrop is at ``far``, and no ground beyond it.

    Raises ``ValueError`` for a height or a distance that is not positive, and for a card whose foot is above the
    horizon.
    """
    if not (0 < height < far):
        raise ValueError(f"height, far: expected 0 < height < far, got {height} and {far}")
    down, rays = _ground_normal(camera, horizon), pixel_rays(camera)
    depth = np.full(camera.hw, float(far))
    meets = rays @ down
    ground = meets > height / far
    depth[ground] = height / meets[ground]
    for card in cards:
        x0, _, x1, y1 = card.box
        foot = camera.rays_from_px(np.array([(x0 + x1) / 2, y1]))
        if foot @ down <= 0:
            raise ValueError(f"card: expected its foot below the horizon, got box {card.box}")
        ahead = np.array([0.0, 0.0, 1.0]) - down[2] * down  # level, and away from the camera
        standing = (height / (foot @ down)) * (foot @ ahead) / np.maximum(rays @ ahead, 1e-6)
        own = card.pixels(camera.hw) & (standing < depth)
        depth[own] = standing[own]
    return np.minimum(depth, far).astype(np.float32)


def _ground_normal(camera: Camera, horizon: Horizon) -> Array:
    ends = camera.rays_from_px(np.array([[0, horizon.left], [camera.wh[0], horizon.right]]))
    normal = np.cross(ends[0], ends[1])
    normal /= np.linalg.norm(normal)
    return normal if normal[1] > 0 else -normal


def depth_from_picture(
    picture: Array, hw: tuple[int, int], *, kind: Literal["inverse", "z"] = "inverse",
    white: Literal["near", "far"] | None = None, span: tuple[float, float] | None = (1.0, 20.0),
    known: Array | None = None,
) -> Array:
    """(H, W) on a raster ``hw`` from a depth picture (h, w) or (h, w, C), all channels alike.

    ``kind`` says what goes evenly with the values. ``span`` (nearest, farthest) is what their ends mean; None: they are
    scene units, or one over those, themselves. With a span, ``white`` says what high values are; None = near for
    inverse depth and far for depth, which is checked: a picture whose top looks nearer than its bottom is refused until
    ``white`` is given. Holes (not ``known`` (h, w), not finite, or not above 0 without a span) are filled smoothly.

    Raises ``ValueError`` for channels that differ, another shape than the still's, one value all over, too many holes,
    and what looks inverted.
    """
    values = _one_channel(picture)
    holes = ~np.isfinite(values) if known is None else ~np.isfinite(values) | ~(known > 0)
    if span is None:
        holes |= ~(values > 0)
    elif not 0 < span[0] < span[1]:
        raise ValueError(f"span: expected 0 < nearest < farthest, got {span}")
    _expect_usable(values, holes, hw)
    sure = np.where(holes, values[~holes].min(), values)
    if span is None:
        inverse = 1 / sure if kind == "z" else sure
    else:
        inverse = _spread_over(sure, kind, white == "far" if white else kind == "z", span)
        if white is None:
            _expect_upright(inverse, holes)
    low, high = inverse[~holes].min(), inverse[~holes].max()
    if holes.any():
        inverse = np.clip(biharmonic(np.where(holes, 0, inverse), ~holes), low, high)
    if inverse.shape != tuple(hw):
        inverse = cv2.resize(inverse, hw[::-1], interpolation=cv2.INTER_AREA if hw[0] < inverse.shape[0] else
                             cv2.INTER_LINEAR)  # fmt: skip
    return (1 / inverse).astype(np.float32)


def _one_channel(picture: Array) -> Array:
    values = np.asarray(picture, np.float64)
    if values.ndim == 3 and values.shape[2] > 0:
        if not np.array_equal(values, np.broadcast_to(values[..., :1], values.shape), equal_nan=True):
            raise ValueError(f"depth: expected one channel, got {values.shape[2]} that differ")
        values = values[..., 0]
    expect_shape("depth", values, (None, None))
    return values


def _expect_usable(values: Array, holes: Array, hw: tuple[int, int]) -> None:
    (h, w), (rows, columns) = values.shape, hw
    if abs(w * rows / (h * columns) - 1) > ASPECT_SLACK:
        raise ValueError(f"depth: expected the shape of the picture ({columns} x {rows} px), got {w} x {h}")
    if holes.mean() > MOST_HOLES:
        raise ValueError(f"depth: expected values in at least {MOST_HOLES:.0%} of it, got {1 - holes.mean():.1%}")
    if values[~holes].min() == values[~holes].max():
        raise ValueError(f"depth: expected near and far, got {values[~holes][0]:g} all over")


def _spread_over(values: Array, kind: str, away: bool, span: tuple[float, float]) -> Array:
    """Inverse depth of values that reach from one end of ``span`` to the other, growing with distance or not."""
    share = (values - values.min()) / np.ptp(values)
    nearness = 1 - share if away else share
    if kind == "z":
        return 1 / (span[1] + nearness * (span[0] - span[1]))
    return 1 / span[1] + nearness * (1 / span[0] - 1 / span[1])


def _expect_upright(inverse: Array, holes: Array) -> None:
    rows = max(round(STRIP * len(inverse)), 1)
    top, bottom = (inverse[part][~holes[part]] for part in (np.s_[:rows], np.s_[-rows:]))
    low, high = np.percentile(inverse[~holes], (2, 98))
    if len(top) and len(bottom) and np.median(top) - np.median(bottom) > UPRIGHT_GAP * (high - low) > 0:
        raise ValueError(
            "depth: expected the bottom nearer than the top, got the reverse: it looks inverted; say what white is"
        )

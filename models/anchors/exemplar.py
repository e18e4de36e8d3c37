"""The embedded anchor backend: no weights, no GPU.

A reference that was painted over a view is continued to other views: what exact correspondence brings over stays as it
is, and the rest of each surface is synthesised from what is known of it. A reference that is a picture of a style
is cut into regions, which surfaces take their texture from, and the view is lit by the blockout's form.

``geometry.exemplar`` does it: surfaces unrolled into charts, patches matched exactly with normalised scores at the
coarsest level (GPNN) and by coherence and k-coherence at finer ones. Not used: PatchMatch, light-path guides, error
budgets, counters of uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from geometry.exemplar.painting import Known, Seen, carried, painted_over, styled
from models.base import PaintedView, Style, View
from models.errors import InputRefused

Array = np.ndarray
Box = tuple[float, float, float, float]
SMALLEST_SIDE = 16
ASPECT_SLACK = 0.02


class Exemplar:
    """An ``AnchorModel``. Views need ``gbuffer``; ``albedo_id`` tells an object's materials apart. Pictures show one
    surface in each pixel, except those that are the reference: ``geometry.coverage`` draws silhouettes over them."""

    def paint(self, view: View, style: Style, seed: Sequence[int]) -> PaintedView:
        """See ``AnchorModel``. Raises ``InputRefused``."""
        reference = _checked(style)
        seen = _seen(view, "view")
        if style.aligned is None:
            hw = view.soft_edges.shape
            scale = float(np.sqrt(hw[0] * hw[1] / (reference.shape[0] * reference.shape[1])))
            picture = _resized(reference, (round(reference.shape[0] * scale), round(reference.shape[1] * scale)))
            known = _known(view)
            painted = styled(seen, known, picture, _scaled(style.regions, reference, picture), seed)
        else:
            original = _seen(style.aligned, "style.aligned")
            picture = _over(reference, style.aligned)
            known = _known(view)
            if view.warped is None and seen.shows_the_same(original):
                return PaintedView(picture)
            if view.warped is None:
                known = carried(seen, original, picture)
            painted = painted_over(seen, known, original, picture, _scaled(style.regions, reference, picture), seed)
        return PaintedView(_joined(painted, known))


def _checked(style: Style) -> Array:
    reference = style.reference
    if reference.dtype != np.uint8 or reference.ndim != 3 or reference.shape[2] != 3:
        raise InputRefused(
            f"style.reference: expected (H, W, 3) uint8, got {reference.shape} {reference.dtype}",
            "Put a picture with alpha over a background first",
        )
    height, width = reference.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise InputRefused(f"style.reference: expected at least {SMALLEST_SIDE} px a side, got {width} x {height}")
    for object_id, (x0, y0, x1, y1) in style.regions.items():
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise InputRefused(
                f"style.regions[{object_id}]: expected x0 < x1 and y0 < y1 inside {width} x {height} px, "
                f"got {(x0, y0, x1, y1)}"
            )
    return reference


def _seen(view: View, name: str) -> Seen:
    if view.gbuffer is None:
        raise InputRefused(f"{name}.gbuffer: expected geometry (exemplar paints on surfaces), got None")
    ids = view.gbuffer.object_id
    return Seen(view.gbuffer, np.zeros_like(ids) if view.albedo_id is None else view.albedo_id)


def _known(view: View) -> Known:
    if view.warped is None:
        hw = view.soft_edges.shape
        return Known(np.zeros((*hw, 3), np.uint8), np.zeros(hw, np.float32))
    return Known(view.warped.picture, np.clip(view.warped.known, 0, 1))


def _over(reference: Array, aligned: View) -> Array:
    (height, width), (rows, columns) = reference.shape[:2], aligned.soft_edges.shape
    if abs(width * rows / (height * columns) - 1) > ASPECT_SLACK:
        raise InputRefused(
            f"style.reference: expected the shape of the view it was painted over ({columns} x {rows}), "
            f"got {width} x {height}"
        )
    return _resized(reference, (rows, columns))


def _resized(picture: Array, hw: tuple[int, int]) -> Array:
    if picture.shape[:2] == tuple(hw):
        return picture
    shrinks = hw[0] <= picture.shape[0]
    return cv2.resize(picture, hw[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def _scaled(boxes: Mapping[int, Box], old: Array, new: Array) -> dict[int, Box]:
    y, x = new.shape[0] / old.shape[0], new.shape[1] / old.shape[1]
    return {object_id: (x0 * x, y0 * y, x1 * x, y1 * y) for object_id, (x0, y0, x1, y1) in boxes.items()}


def _joined(painted: Array, known: Known) -> Array:
    """(H, W, 3) uint8: bytes of what is known well, ``painted`` where nothing is."""
    share = known.share[..., None]
    joined = share * known.picture + (1 - share) * painted
    return np.where(share >= 1, known.picture, np.clip(np.rint(joined), 0, 255)).astype(np.uint8)

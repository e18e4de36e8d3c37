"""One picture that shows a whole job at a glance: a labelled grid under a title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Array = np.ndarray

BACKGROUND = (24, 24, 26)
TEXT = (232, 232, 232)
MUTED = (160, 160, 165)
GAP_PX, LABEL_PX, TITLE_PX = 12, 26, 46


@dataclass(frozen=True)
class Tile:
    """``picture`` (H, W, 3) uint8 sRGB, (H, W) uint8, or (H, W) float in [0, 1]."""

    label: str
    picture: Array


def contact_sheet(tiles: Sequence[Tile], title: str, *, columns: int | None = None, tile_width_px: int = 400) -> Array:
    """(H, W, 3) uint8 sRGB. Pictures are fitted into equal cells, never stretched.

    Raises ``ValueError`` when there is nothing to show.
    """
    if not tiles:
        raise ValueError("tiles: expected at least one, got none")
    columns = columns or min(len(tiles), 4 if len(tiles) > 6 else 3)
    first_h, first_w = tiles[0].picture.shape[:2]
    cell_w, cell_h = tile_width_px, max(1, round(tile_width_px * first_h / first_w))
    rows = -(-len(tiles) // columns)
    wh = (GAP_PX + columns * (cell_w + GAP_PX), TITLE_PX + rows * (cell_h + LABEL_PX + GAP_PX))
    sheet = Image.new("RGB", wh, BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _text(draw, (GAP_PX, 10), title, 22, TEXT, wh[0] - 2 * GAP_PX)
    for i, tile in enumerate(tiles):
        x = GAP_PX + (i % columns) * (cell_w + GAP_PX)
        y = TITLE_PX + (i // columns) * (cell_h + LABEL_PX + GAP_PX)
        fitted = _fitted(_rgb8(tile.picture), (cell_w, cell_h))
        h, w = fitted.shape[:2]
        sheet.paste(Image.fromarray(fitted), (x + (cell_w - w) // 2, y + (cell_h - h) // 2))
        _text(draw, (x, y + cell_h + 4), tile.label, 15, MUTED, cell_w)
    return np.asarray(sheet)


def evenly(count: int, shown: int) -> list[int]:
    """At most ``shown`` positions spread over ``count``, first and last among them."""
    return sorted({int(i) for i in np.rint(np.linspace(0, count - 1, min(count, shown)))})


def _rgb8(picture: Array) -> Array:
    if np.issubdtype(picture.dtype, np.floating):
        picture = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else np.ascontiguousarray(picture[..., :3])


def _fitted(picture: Array, cell_wh: tuple[int, int]) -> Array:
    h, w = picture.shape[:2]
    scale = min(cell_wh[0] / w, cell_wh[1] / h)
    wh = (max(1, round(w * scale)), max(1, round(h * scale)))
    return cv2.resize(picture, wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _text(
    draw: ImageDraw.ImageDraw, xy: tuple[int, int], text: str, height_px: int, fill: tuple[int, int, int], width_px: int
) -> None:
    """Write one line; what does not fit ends in three dots."""
    font = ImageFont.load_default(height_px)
    if draw.textlength(text, font) > width_px:
        while text and draw.textlength(text + "...", font) > width_px:
            text = text[:-1]
        text += "..."
    draw.text(xy, text, fill, font)

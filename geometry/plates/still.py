"""One still and its depth become layers.

In this order: more picture at the sides; bands by depth, and things by click or box; then layer by layer from the
nearest: its soft alpha and its own colour, and what it hides. What is behind soft pixels is made to agree with them, so
that all layers laid over one another are the still again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.layers import Encoding, Layer, LayerStack
from geometry.plates.bands import Selection, banded, cuts, selected, snapped
from geometry.plates.behind import NONE, continued_depth, uncovered
from geometry.plates.code_values import codes, from_codes
from geometry.plates.matting import agreeing, leaked, matted
from geometry.plates.outpaint import Margins, Painter, outpainted
from geometry.plates.smooth import nearest

Array = np.ndarray
NAMES = {1: ("near",), 2: ("far", "near"), 3: ("far", "middle", "near")}
SKY_TOP, SKY_SHARE, SKY_ROUGHNESS = 0.04, 0.6, 4.0  # rows, how much of them, and code values within a few pixels
FIRST_THING = 1000  # numbers of selections, beyond those of bands
RING_SHARE = 3 / 1080  # of the height: how much wider than the matte what is behind is made
PADDING_PX = 2  # clear, round a layer, for filters


@dataclass(frozen=True)
class StillOptions:
    """``outpaint`` left, top, right, bottom px. ``layers`` (fewest, most), or ``bands`` (near, far) in scene units.
    ``reach`` how far behind an edge pictures are made, in shares of the canvas's longer side. ``fov_deg`` across, where
    no camera is given. ``painter`` makes margins and what is hidden, in place of the embedded way."""

    outpaint: Margins = (0, 0, 0, 0)
    layers: tuple[int, int] = (2, 4)
    bands: tuple[tuple[float, float], ...] = ()
    selections: tuple[Selection, ...] = ()
    reach: float = 0.08
    fov_deg: float = 50.0
    encoding: Encoding = "srgb"
    is_metric: bool = False
    painter: Painter | None = None

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 1:
            raise ValueError(f"reach: expected in (0, 1], got {self.reach}")
        if not 0 < self.fov_deg < 180:
            raise ValueError(f"fov_deg: expected in (0, 180), got {self.fov_deg}")


def from_still(
    picture: Array, depth: Array, options: StillOptions = StillOptions(), camera: Camera | None = None
) -> LayerStack:
    """``picture`` (H, W, 3) uint8, uint16 or float32; ``depth`` (H, W) z-depth > 0; ``camera`` of the picture.

    Colours where nothing was made, and that lie in no soft edge, are the picture's code values. Raises ``ValueError``
    for what does not fit.
    """
    lens = camera or _camera(picture.shape[:2], options.fov_deg)
    if lens.hw != picture.shape[:2]:
        raise ValueError(f"camera: expected (H, W) = {picture.shape[:2]}, got {lens.hw}")
    if not (np.isfinite(depth).all() and (depth > 0).all()):
        raise ValueError("depth: expected finite numbers > 0 everywhere")
    canvas = outpainted(picture, depth, options.outpaint, options.painter)
    values, _ = codes(canvas.picture)
    bands, names = _segmented(values, canvas.depth, options)
    layers = _peeled(canvas.picture, canvas.depth, bands, names, options)
    x0, y0, *_ = canvas.source
    wide = replace(lens, cx=lens.cx + x0, cy=lens.cy + y0, wh=canvas.depth.shape[::-1])
    return LayerStack(tuple(layers), wide, canvas.source, options.encoding, options.is_metric)


def _camera(hw: tuple[int, int], fov_deg: float) -> Camera:
    focal = hw[1] / 2 / np.tan(np.radians(fov_deg) / 2)
    return Camera(focal, focal, hw[1] / 2, hw[0] / 2, (hw[1], hw[0]))


def _segmented(values: Array, depth: Array, options: StillOptions) -> tuple[Array, list[str]]:
    """(H, W) int32 from the farthest, 0, to the nearest layer, and their names."""
    inverse = 1 / depth
    if options.bands:
        bands = banded(depth, options.bands)
    else:
        bands = np.digitize(inverse, cuts(inverse, options.layers)).astype(np.int32)
    bands = snapped(bands, values)
    left, top = options.outpaint[:2]
    things: dict[int, str] = {}
    for k, selection in enumerate(options.selections):
        number = FIRST_THING + k
        bands[selected(values, inverse, _moved(selection, left, top, depth.shape))] = number
        things[number] = selection.name
    found = sorted(np.unique(bands).tolist(), key=lambda n: (float(np.median(inverse[bands == n])), n))
    plain = [n for n in found if n not in things]
    names = dict(zip(plain, _names(values, [bands == n for n in plain]), strict=True)) | things
    order = np.zeros(max(found) + 1, np.int32)
    order[found] = np.arange(len(found))
    return order[bands], [names[n] for n in found]


def _moved(selection: Selection, left: int, top: int, hw: tuple[int, int]) -> Selection:
    """Onto the canvas, whose corner lies left of and above the still's."""
    box, clicks, mask = selection.box, selection.clicks, selection.mask
    if mask is not None:
        below, right = hw[0] - top - mask.shape[0], hw[1] - left - mask.shape[1]
        mask = np.pad(mask, ((top, max(below, 0)), (left, max(right, 0))))
    return replace(
        selection, mask=mask, clicks=None if clicks is None else clicks + np.array((left, top)),
        box=None if box is None else (box[0] + left, box[1] + top, box[2] + left, box[3] + top),
    )


def _names(values: Array, masks: list[Array]) -> list[str]:
    """By content where it is sky, else by order."""
    sky = len(masks) > 1 and _is_sky(values, masks[0])
    rest = len(masks) - sky
    names = list(NAMES.get(rest, ("far", *(f"middle-{k}" for k in range(1, rest - 1)), "near")))
    return ["sky", *names] if sky else names


def _is_sky(values: Array, mask: Array) -> bool:
    rows = max(round(SKY_TOP * len(mask)), 1)
    if mask[:rows].mean() < SKY_SHARE:
        return False
    grey = cv2.cvtColor(values, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (7, 7))
    rough = np.sqrt(np.maximum(cv2.blur(grey * grey, (7, 7)) - mean * mean, 0))
    return float(np.median(rough[:rows][mask[:rows]])) < SKY_ROUGHNESS


@dataclass(frozen=True)
class _Pile:
    """What is left, seen from the front: (H, W, 3) float32 in [0, 1], and the same in 8-bit ``values``; whose it is,
    ``NONE`` where nothing was made; and where it is no longer the still's."""

    seen: Array
    values: Array
    bands: Array
    changed: Array


@dataclass(frozen=True)
class _Top:
    """The layer on top: (H, W) float32 alpha, (H, W, 3) float32 colour, and where that is no longer the still's."""

    alpha: Array
    colour: Array
    changed: Array


def _peeled(picture: Array, depth: Array, bands: Array, names: list[str], options: StillOptions) -> list[Layer]:
    values, white = codes(picture)
    seen = (picture / np.float32(white)).astype(np.float32)
    pile = _Pile(seen, values, bands, np.zeros(depth.shape, bool))
    layers = []
    for k in range(len(names) - 1, -1, -1):
        if k > 0:
            top, pile = _lifted(pile, k, options)
        else:
            top = _Top((pile.bands == 0).astype(np.float32), pile.seen, pile.changed)
        colour = np.where(top.changed[..., None], from_codes(top.colour * 255, white, picture.dtype), picture)
        away = (1 / continued_depth(1 / depth, bands == k)).astype(np.float32)
        layers.append(_layer(names[k], colour, top.alpha, away))
    return layers[::-1]


def _lifted(pile: _Pile, k: int, options: StillOptions) -> tuple[_Top, _Pile]:
    """Layer ``k``, and the pile without it. What lies behind is made wider than the matte, so that thin edges that the
    matte has missed are found (``leaked``); where they are none, nothing changes."""
    seen, bands, none = pile.seen, pile.bands, pile.bands == NONE
    matte = matted(seen, (bands == k) | none)
    core = (matte.alpha > 0) | (bands == k) | none
    hole = cv2.dilate(core.astype(np.uint8), _disc(max(round(RING_SHARE * len(bands)), 2))) > 0
    under = uncovered(pile.values, bands, hole, options.reach * max(bands.shape), options.painter)
    made, behind = hole & (under.bands != NONE), under.codes / np.float32(255)
    alpha = np.where(core, matte.alpha, leaked(seen, matte.alpha, behind, made & ~core))
    alpha = np.where(none, 0, np.where(core & ~made, 1, alpha)).astype(np.float32)  # where nothing can show through
    soft, hidden = made & (alpha > 0) & (alpha < 1), made & ((alpha > 0) | none)
    colour, below = seen.copy(), np.where(hidden[..., None], behind, seen)
    front = np.where(core[soft][:, None], matte.front[soft], seen[soft])
    colour[soft], below[soft] = agreeing(seen[soft], alpha[soft], front, behind[soft])
    values = np.where(hidden[..., None], under.codes, pile.values)
    values[soft] = np.rint(below[soft] * 255)
    left = np.where(hidden | (bands == k) | none, under.bands, bands)
    return _Top(alpha, colour, pile.changed | soft), _Pile(below, values, left, pile.changed | hidden)


def _disc(radius: int) -> Array:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def _layer(name: str, colour: Array, alpha: Array, depth: Array) -> Layer:
    """Cut to what is not clear; clear pixels have the colour of the nearest one that is not."""
    x, y, w, h = cv2.boundingRect((alpha > 0).astype(np.uint8))
    x0, y0 = max(x - PADDING_PX, 0), max(y - PADDING_PX, 0)
    cut = np.s_[y0 : y + h + PADDING_PX, x0 : x + w + PADDING_PX]
    shown = alpha[cut] > 0
    full = 1.0 if colour.dtype == np.float32 else np.iinfo(colour.dtype).max
    coded = alpha[cut] if colour.dtype == np.float32 else np.rint(alpha[cut] * full).astype(colour.dtype)
    return Layer(name, nearest(colour[cut], shown), coded, np.ascontiguousarray(depth[cut]), (x0, y0))

"""One still and its depth become layers.

In this order: more picture at the sides; bands by depth, what stands thin before its own band, and things by click or
box; then layer by layer from the nearest: its soft alpha and its own colour, and what it hides. What is behind soft
pixels is made to agree with them, so that all layers laid over one another are the still again. A cut through a surface
that runs on is hard, and the surface goes on for a little behind it as it is, so that no camera sees the cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.layers import Encoding, Layer, LayerStack
from geometry.plates.bands import Selection, banded, cut_smoothly, cuts, selected, snapped
from geometry.plates.behind import NONE, continued_depth, uncovered
from geometry.plates.code_values import codes, from_codes
from geometry.plates.depth_edges import behind_thin, jumps, reach_px, sharpened, thin
from geometry.plates.matting import agreeing, leaked, matted
from geometry.plates.outpaint import Margins, Painter, outpainted
from geometry.plates.smooth import nearest

Array = np.ndarray
NAMES = {1: ("near",), 2: ("far", "near"), 3: ("far", "middle", "near")}
SKY_TOP, SKY_SHARE, SKY_ROUGHNESS = 0.04, 0.6, 4.0  # rows, how much of them, and code values within a few pixels
FIRST_THING = 1000  # numbers of selections, beyond those of bands
RING_SHARE, LEAST_RING_PX = 4 / 1080, 3  # of the height: how much wider than the matte what is behind is made
OVERLAP_SHARE = 8 / 1080  # of the height: how far a surface that is cut goes on behind the cut
LEAST_THIN_SHARE, LEAST_THING_SHARE = 1e-3, 1e-4  # of the picture: all that gets a layer of its own, and each of it
LEAST_SAME = 0.2  # of a thin thing: what is behind so much of it is of its own band
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
    sharp = (1 / sharpened(1 / depth)).astype(np.float32)
    canvas = outpainted(picture, sharp, options.outpaint, options.painter)
    values, _ = codes(canvas.picture)
    found = _segmented(values, 1 / canvas.depth, canvas.source, options)
    layers = _peeled(canvas.picture, canvas.depth, found, options)
    x0, y0, *_ = canvas.source
    wide = replace(lens, cx=lens.cx + x0, cy=lens.cy + y0, wh=canvas.depth.shape[::-1])
    return LayerStack(tuple(layers), wide, canvas.source, options.encoding, options.is_metric)


def _camera(hw: tuple[int, int], fov_deg: float) -> Camera:
    focal = hw[1] / 2 / np.tan(np.radians(fov_deg) / 2)
    return Camera(focal, focal, hw[1] / 2, hw[0] / 2, (hw[1], hw[0]))


@dataclass(frozen=True)
class _Segments:
    """``bands`` (H, W) int32 from the farthest, 0, to the nearest layer, and their ``names``; ``believed`` (H, W) bool:
    depth there is that of the layer; ``through`` (H, W) bool: a cut there goes through a surface that runs on."""

    bands: Array
    names: list[str]
    believed: Array
    through: Array


def _segmented(
    values: Array, inverse: Array, source: tuple[int, int, int, int], options: StillOptions
) -> _Segments:
    x0, y0, x1, y1 = source
    edges = jumps(inverse)
    if options.bands:
        by_depth = 2 * banded(1 / inverse, options.bands)
    else:
        at = cuts(inverse[y0:y1, x0:x1], options.layers)
        by_depth = 2 * cut_smoothly(inverse, edges, at)
        if options.layers[0] < options.layers[1]:
            inner = np.s_[y0:y1, x0:x1]
            by_depth[inner] += _thin_fronts(by_depth[inner], inverse[inner], at)
    bands = snapped(by_depth, values, edges)
    believed = bands == by_depth
    order: dict[int, tuple[float, float]] = {n: (n, 0.0) for n in np.unique(bands).tolist()}
    things: dict[int, str] = {}
    for k, selection in enumerate(options.selections):
        number = FIRST_THING + k
        mask = selected(values, inverse, _moved(selection, x0, y0, inverse.shape))
        bands[mask] = number
        # At its rim the depth may be that of what lies behind it.
        deep = cv2.erode(mask.astype(np.uint8), _disc(reach_px(mask.shape) + 1), borderValue=1) > 0
        believed = np.where(mask, deep | ~edges, believed)
        things[number] = selection.name
        # Before the band that it is in by its depth, and what stands thin before that.
        order[number] = (int(np.bincount(by_depth[mask] // 2).argmax()) * 2 + 1.5, float(np.median(inverse[mask])))
    standing = ((bands >= FIRST_THING) | (bands % 2 == 1)).astype(np.uint8)
    beside_standing = cv2.dilate(standing, _disc(3 * reach_px(bands.shape))) > 0
    found = sorted(np.unique(bands).tolist(), key=order.__getitem__)
    names = _names(values, {n: bands == n for n in found if n not in things}) | things
    numbers = np.zeros(max(found) + 1, np.int32)
    numbers[found] = np.arange(len(found))
    return _Segments(numbers[bands], [names[n] for n in found], believed, ~edges & ~beside_standing)


def _thin_fronts(bands: Array, inverse: Array, at: Array) -> Array:
    """(H, W) int32, 1 for what stands thin before something of its own band, whose numbers in ``bands`` are even: whole
    things, also where they stand before another band."""
    things, behind = thin(inverse), 2 * np.digitize(behind_thin(inverse), at)
    out = np.zeros(bands.shape, np.int32)
    for band in range(len(at) + 1):
        own = things & (bands == 2 * band)
        parts = cv2.connectedComponents(own.astype(np.uint8), connectivity=8)[1]
        sizes, same = np.bincount(parts.ravel()), np.bincount(parts[behind == 2 * band], minlength=parts.max() + 1)
        is_front = (sizes >= LEAST_THING_SHARE * bands.size) & (same >= LEAST_SAME * sizes)
        is_front[0] = False
        front = is_front[parts]
        if front.sum() >= LEAST_THIN_SHARE * bands.size:
            out[front] = 1
    return out


def _moved(selection: Selection, left: int, top: int, hw: tuple[int, ...]) -> Selection:
    """Onto the canvas, whose corner lies left of and above the still's."""
    box, clicks, mask = selection.box, selection.clicks, selection.mask
    if mask is not None:
        below, right = hw[0] - top - mask.shape[0], hw[1] - left - mask.shape[1]
        mask = np.pad(mask, ((top, max(below, 0)), (left, max(right, 0))))
    return replace(
        selection, mask=mask, clicks=None if clicks is None else clicks + np.array((left, top)),
        box=None if box is None else (box[0] + left, box[1] + top, box[2] + left, box[3] + top),
    )


def _names(values: Array, masks: dict[int, Array]) -> dict[int, str]:
    """By content where it is sky, else by order, of bands from the farthest to the nearest."""
    numbers = list(masks)
    sky = len(numbers) > 1 and _is_sky(values, masks[numbers[0]])
    rest = len(numbers) - sky
    names = list(NAMES.get(rest, ("far", *(f"middle-{k}" for k in range(1, rest - 1)), "near")))
    return dict(zip(numbers, ["sky", *names] if sky else names, strict=True))


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
    ``NONE`` where nothing was made; where it is no longer the still's; and where it may still show a little of what was
    taken off, so that no texture is to be taken from there."""

    seen: Array
    values: Array
    bands: Array
    changed: Array
    doubtful: Array


@dataclass(frozen=True)
class _Top:
    """The layer on top: (H, W) float32 alpha, (H, W, 3) float32 colour, and where that is no longer the still's."""

    alpha: Array
    colour: Array
    changed: Array


def _peeled(picture: Array, depth: Array, found: _Segments, options: StillOptions) -> list[Layer]:
    values, white = codes(picture)
    seen = (picture / np.float32(white)).astype(np.float32)
    nowhere = np.zeros(depth.shape, bool)
    pile = _Pile(seen, values, found.bands, nowhere, nowhere)
    layers = []
    for k in range(len(found.names) - 1, -1, -1):
        if k > 0:
            top, pile = _lifted(pile, k, found.through, options)
        else:
            top = _Top((pile.bands == 0).astype(np.float32), pile.seen, pile.changed)
        colour = np.where(top.changed[..., None], from_codes(top.colour * 255, white, picture.dtype), picture)
        away = (1 / continued_depth(1 / depth, found.bands == k, found.believed)).astype(np.float32)
        layers.append(_layer(found.names[k], colour, top.alpha, away))
    return layers[::-1]


def _lifted(pile: _Pile, k: int, through: Array, options: StillOptions) -> tuple[_Top, _Pile]:
    """Layer ``k``, and the pile without it. What lies behind is made wider than the matte, so that thin edges that the
    matte has missed are found (``leaked``); where they are none, nothing changes. Behind a cut ``through`` a surface
    (H, W) bool the surface is as it is seen."""
    seen, bands, none = pile.seen, pile.bands, pile.bands == NONE
    matte = matted(seen, (bands == k) | none, hard=through)
    core = (matte.alpha > 0) | (bands == k) | none
    hole = cv2.dilate(core.astype(np.uint8), _disc(max(round(RING_SHARE * len(bands)), LEAST_RING_PX))) > 0
    under = uncovered(pile.values, bands, hole, options.reach * max(bands.shape), options.painter, pile.doubtful)
    made, behind = hole & (under.bands != NONE), under.codes / np.float32(255)
    alpha = np.where(core, matte.alpha, leaked(seen, matte.alpha, behind, made & ~core & ~through))
    alpha = np.where(none, 0, np.where(core & ~made, 1, alpha)).astype(np.float32)  # where nothing can show through
    goes_on = through & made & (alpha == 1) & _beside(~core, len(bands))
    soft, hidden = made & (alpha > 0) & (alpha < 1), made & ((alpha > 0) | none) & ~goes_on
    colour, below = seen.copy(), np.where(hidden[..., None], behind, seen)
    front = np.where(core[soft][:, None], matte.front[soft], seen[soft])
    colour[soft], below[soft] = agreeing(seen[soft], alpha[soft], front, behind[soft])
    values = np.where(hidden[..., None], under.codes, pile.values)
    values[soft] = np.rint(below[soft] * 255)
    left = np.where(hidden | goes_on | (bands == k) | none, under.bands, bands)
    doubtful = pile.doubtful & ~hidden | made & ~hidden & ~through
    return _Top(alpha, colour, pile.changed | soft), _Pile(below, values, left, pile.changed | hidden, doubtful)


def _beside(outside: Array, rows: int) -> Array:
    """(H, W) bool: so near to what is ``outside`` that a surface cut there goes on."""
    return cv2.dilate(outside.astype(np.uint8), _disc(max(round(OVERLAP_SHARE * rows), 2))) > 0


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

"""What a Photoshop document does to layers beside laying them over one another: masks, groups, blend modes.

A stack of layers knows one way only, "normal". A layer of another mode, such as a shadow that multiplies, is therefore
painted into the layers that it lies over. For modes in which the result is linear in what lies below (multiply, screen,
linear dodge, hard light, exclusion) the picture stays the same to the code value, soft edges included; for others it
does where one layer is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from services.media.colour import normalized, quantized
from services.media.raw_layers import RawLayer

Array = np.ndarray

PLAIN = ("NORMAL", "PASS_THROUGH")
UNKNOWN = ("DISSOLVE",)  # a random draw, not a mixture


@dataclass(frozen=True)
class Part:
    """A layer of pixels: ``groups`` it lies in, the outermost first; ``name`` holds theirs, too."""

    name: str
    layer: Any
    groups: tuple[Any, ...]

    @property
    def blends(self) -> bool:
        return mode_of(self.layer) not in (*PLAIN, *UNKNOWN)

    def blends_within(self) -> tuple[Any, ...]:
        """The groups that its mode does not reach out of: up to the innermost that is put together by itself."""
        alone = [i for i, group in enumerate(self.groups) if mode_of(group) != "PASS_THROUGH"]
        return self.groups[: alone[-1] + 1] if alone else ()


def mode_of(layer: Any) -> str:
    return str(layer.blend_mode.name)


def mode_words(layer: Any) -> str:
    return mode_of(layer).lower().replace("_", " ")


def mask_cover(layer: Any, xy: tuple[int, int], wh: tuple[int, int]) -> Array | None:
    """(h, w) float32 of a layer's or a group's mask on a raster that begins at ``xy``; None where nothing is masked.

    A mask's density says how much of it counts.
    """
    mask = layer.mask
    if mask is None or mask.disabled:
        return None
    density = 1.0
    if mask.parameters is not None and mask.parameters.user_mask_density is not None and not mask.has_real():
        density = mask.parameters.user_mask_density / 255
    outside = mask.background_color / 255
    if min(mask.size) < 1:
        cover = np.full((wh[1], wh[0]), outside, np.float32)
    else:
        values = layer.numpy("mask")[..., 0].astype(np.float32)
        cover = cut(values, (xy[0] - mask.left, xy[1] - mask.top), wh, outside)
    return cover if density == 1 else 1 - np.float32(density) * (1 - cover)


def group_cover(groups: Sequence[Any], xy: tuple[int, int], wh: tuple[int, int]) -> Array | float:
    """How much of what lies in all of ``groups`` is seen: their opacities, and their masks on a raster."""
    cover: Array | float = 1.0
    for group in groups:
        mask = mask_cover(group, xy, wh)
        cover = cover * (group.opacity / 255) * (1.0 if mask is None else mask)
    return cover


def thinned(alpha: Array, cover: Array | float) -> Array:
    """``alpha`` in its own type, times ``cover`` (h, w) or a number."""
    if not isinstance(cover, np.ndarray) and cover == 1:
        return alpha
    return quantized(normalized(alpha) * np.float32(cover), alpha.dtype)


def blended(below: Array, paint: Array, share: Array, layer: Any) -> Array:
    """``below`` (h, w, 3) with ``paint`` (h, w, 3) over it in the mode of ``layer``, as far as ``share`` (h, w) says;
    code values of one integer type. What lies below is taken as opaque."""
    from psd_tools.composite.blend import get_blend_func

    behind, front = normalized(below), normalized(paint)
    plain = mode_of(layer) in (*PLAIN, *UNKNOWN)
    mixed = front if plain else get_blend_func(layer.blend_mode)(behind, front)
    part = share[..., None]
    return quantized(behind * (1 - part) + np.clip(mixed, 0, 1) * part, below.dtype)


def painted_into(target: RawLayer, paint: RawLayer, layer: Any, cover: Array | float) -> RawLayer:
    """``target`` with ``paint``, whose mode is that of ``layer``, over it where the two meet. Alpha stays."""
    (h, w), xy = target.alpha.shape, (target.xy[0] - paint.xy[0], target.xy[1] - paint.xy[1])
    share = cut(normalized(paint.alpha) * np.float32(cover), xy, (w, h), 0.0)
    if not share.any():
        return target
    over = np.stack([cut(paint.colour[..., i], xy, (w, h), 0) for i in range(3)], -1)
    return replace(target, colour=blended(target.colour, over, share, layer))


def cut(plane: Array, xy: tuple[int, int], wh: tuple[int, int], outside: float) -> Array:
    """The part of (h, w) ``plane`` that begins at its pixel ``xy``; ``outside`` where it has none."""
    out = np.full((wh[1], wh[0]), outside, plane.dtype)
    (x, y), (h, w) = xy, plane.shape
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + wh[0], w), min(y + wh[1], h)
    if x0 < x1 and y0 < y1:
        out[y0 - y : y1 - y, x0 - x : x1 - x] = plane[y0:y1, x0:x1]
    return out

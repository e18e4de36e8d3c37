"""A view painted from an example: known pixels stay, every other one is made on its surface and lit.

Every label, an object's material, is filled on its own charts (``filling``) from what is known of that label, else from
one region of the example. Nothing else is compared or mixed, so no object takes colours of another. The result is pure
(see ``geometry.coverage``): each pixel looks like the surface at its centre, and silhouettes are drawn over it later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from geometry.exemplar import regions, shading
from geometry.exemplar.charts import Charted, charted
from geometry.exemplar.filling import Example, Part, completed, dressed
from geometry.scene import GBuffer
from geometry.shapes import expect_shape

Array = np.ndarray
Box = tuple[float, float, float, float]
MATERIALS = 1 << 16
CLOSE_PX = 0.75  # of a pixel's footprint: a point this near is the same one
NEIGHBOURS = 4
KNOWN_WELL = 0.999


@dataclass(frozen=True)
class Seen:
    """What geometry says of a view; ``albedo_id`` (H, W) int32 tells materials."""

    gbuffer: GBuffer
    albedo_id: Array

    def __post_init__(self) -> None:
        expect_shape("albedo_id", self.albedo_id, self.gbuffer.depth.shape)

    @cached_property
    def labels(self) -> Array:
        """(H, W) int64: one number an object's material, the same in every view; 0 = nothing there."""
        ids = self.gbuffer.object_id.astype(np.int64)
        return np.where(ids > 0, ids * MATERIALS + self.albedo_id, 0)

    @cached_property
    def charts(self) -> Charted:
        return charted(self.gbuffer, self.labels)

    @cached_property
    def inner(self) -> Array:
        """(H, W) bool: all neighbours belong to the same object, so that no silhouette cuts the pixel."""
        ids = self.gbuffer.object_id.astype(np.float32)
        box = np.ones((3, 3), np.uint8)
        return cv2.erode(ids, box) == cv2.dilate(ids, box)

    def shows_the_same(self, other: Seen) -> bool:
        return np.array_equal(self.labels, other.labels) and np.array_equal(
            self.gbuffer.position, other.gbuffer.position
        )


@dataclass(frozen=True)
class Known:
    """``picture`` (H, W, 3) uint8, pure, as far as ``share`` (H, W) in [0, 1] says."""

    picture: Array
    share: Array


def carried(view: Seen, painted: Seen, picture: Array) -> Known:
    """What ``picture`` of ``painted`` shows of the surfaces in ``view``: points of one label at the same place of the
    world. Things that move take nothing along."""
    share, found = np.zeros(view.labels.shape, np.float32), np.zeros((*view.labels.shape, 3), np.float32)
    reach = 2.0 ** view.charts.level * CLOSE_PX
    for label in np.intersect1d(view.labels[view.labels > 0], painted.labels[painted.labels > 0]):
        there, here = (painted.labels == label) & painted.inner, view.labels == label
        if there.sum() < NEIGHBOURS:
            continue
        distance, nearest = cKDTree(painted.gbuffer.position[there]).query(view.gbuffer.position[here], NEIGHBOURS)
        weight = 1 / np.maximum(distance, 1e-3 * reach[here][:, None]) ** 2
        colours = picture[there].astype(np.float64)[nearest]
        found[here] = (colours * weight[..., None]).sum(1) / weight.sum(1)[:, None]
        share[here] = distance[:, 0] < reach[here]
    return Known(np.rint(found).astype(np.uint8), share)


def painted_over(
    view: Seen, known: Known, original: Seen, picture: Array, boxes: Mapping[int, Box], seed: Sequence[int]
) -> Array:
    """(H, W, 3) float32 code values of ``view``, in the manner of ``picture`` which was painted over ``original``."""
    light = shading.fitted(picture, original.gbuffer.normal, original.labels)
    shade = _shade(light, view)
    texture = shading.unlit(picture, _shade(light, original))
    return _painted(view, known, shade, (original, texture), texture, boxes, seed)


def styled(view: Seen, known: Known, picture: Array, boxes: Mapping[int, Box], seed: Sequence[int]) -> Array:
    """(H, W, 3) float32 code values of ``view``, in the manner of ``picture`` (h, w, 3), a picture of anything."""
    shade = _shade(shading.Light(), view) * np.where(view.labels > 0, shading.corners(view.gbuffer), 1)
    return _painted(view, known, shade, None, picture, boxes, seed)


def _painted(
    view: Seen, known: Known, shade: Array, original: tuple[Seen, Array] | None, style: Array,
    boxes: Mapping[int, Box], seed: Sequence[int],
) -> Array:  # fmt: skip
    texture = shading.unlit(known.picture, shade)
    wanted = known.share < 1
    sure = known.share >= KNOWN_WELL
    found = np.zeros((*wanted.shape, 3), np.float32)
    orphans: dict[int, Part] = {}
    for label in np.unique(view.labels[wanted]):
        window = _window(view.labels == label)
        part = _part(view, texture, sure, wanted, label, window)
        colours = None
        if int(label) // MATERIALS not in boxes:
            colours = completed(part, None if original is None else _shown(*original, label))
        if colours is None:
            orphans[int(label)] = part
        else:
            found[window][part.wanted] = colours
    for label, colours in _dressed(view, orphans, style, boxes, seed).items():
        found[(view.labels == label) & wanted] = colours
    return shading.lit(found, shade)


def _dressed(
    view: Seen, orphans: Mapping[int, Part], style: Array, boxes: Mapping[int, Box], seed: Sequence[int]
) -> dict[int, Array]:
    """Colours of the wanted pixels of each label that looks like a region of ``style``."""
    if not orphans:
        return {}
    examples = {label: _boxed(style, boxes[label // MATERIALS]) for label in orphans if label // MATERIALS in boxes}
    free = {label: _look(view, part, label) for label, part in orphans.items() if label not in examples}
    if free:
        cut = regions.segmented(style)
        chosen = regions.assigned(free, [label for label in free if label == 0], regions.looks(style, cut))
        used = {group: Example(style, np.isin(cut, group)) for group in set(chosen.values())}
        examples |= {label: used[group] for label, group in chosen.items()}
    return {
        label: dressed(part, examples[label], np.random.default_rng([*seed, label])) for label, part in orphans.items()
    }


def _look(view: Seen, part: Part, label: int) -> regions.Look:
    mask = view.labels == label
    colour = regions.colour_of(part.texture, part.known) if part.known.any() else None
    return regions.Look(regions.centre_of(mask), float(mask.mean()), colour)


def _boxed(style: Array, box: Box) -> Example:
    mask = np.zeros(style.shape[:2], bool)
    x0, y0, x1, y1 = box
    mask[int(y0) : max(int(np.ceil(y1)), int(y0) + 1), int(x0) : max(int(np.ceil(x1)), int(x0) + 1)] = True
    return Example(style, mask)


def _shade(light: shading.Light, view: Seen) -> Array:
    return np.where(view.labels > 0, light.shade(view.gbuffer.normal), np.float32(1))


def _window(mask: Array) -> tuple[slice, slice]:
    return find_objects(mask.astype(np.int8))[0]


def _part(view: Seen, texture: Array, sure: Array, wanted: Array, label: int, window: tuple[slice, slice]) -> Part:
    inside = view.labels[window] == label
    return Part(view.charts[window], texture[window], sure[window] & inside, wanted[window] & inside)


def _shown(original: Seen, texture: Array, label: int) -> Part | None:
    """All of a label that a painted picture shows; None for nothing."""
    mask = (original.labels == label) & original.inner
    if not mask.any():
        return None
    return _part(original, texture, original.inner, np.zeros_like(mask), label, _window(mask))

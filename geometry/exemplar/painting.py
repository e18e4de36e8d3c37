"""A view painted from an example: known pixels stay, every other one is made on its surface and lit.

Every label, an object's material, is filled on its own charts (``filling``) from what is known of that label, else from
one region of the example. Nothing else is compared or mixed, so no object takes colours of another. The result is pure
(see ``geometry.coverage``): each pixel looks like the surface at its centre, and silhouettes are drawn over it later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from scipy.ndimage import find_objects
from scipy.spatial import cKDTree

from geometry.exemplar import regions, shading
from geometry.exemplar.charts import Charted, charted, charted_again
from geometry.exemplar.filling import Example, Part, completed, dressed
from geometry.scene import GBuffer
from geometry.shapes import expect_shape

Array = np.ndarray
Box = tuple[float, float, float, float]
MATERIALS = 1 << 16  # label = object * MATERIALS + material
CLOSE_PX = 0.75  # of a pixel's footprint: a point this near is the same one
NEIGHBOURS = 4  # points that a colour is taken from
KNOWN_WELL = 0.999  # share from which a pixel is an example for others
SLOPES = (0.25, 0.85)  # upward components of normals between walls, slopes and what is level
SIDES = len(SLOPES) + 1
FACES, FLAT_SHARE, ROUNDED = 12, 0.9, 32  # so few rounded normals make up most of what has flat faces
LEAST_SIDE, SMALL_SHARE = 0.08, 0.004  # of the surface, and of the picture


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
    def charts_again(self) -> tuple[Charted, Array]:
        return charted_again(self.gbuffer, self.labels)

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
    wanted, sure = known.share < 1, known.share >= KNOWN_WELL
    found = np.zeros((*wanted.shape, 3), np.float32)
    left: dict[int, Surface] = {}
    for label in np.unique(view.labels[wanted]).tolist():
        surface = Surface.of(view, label, texture, sure, wanted)
        colours = None
        if label // MATERIALS not in boxes and (original is not None or label == 0):
            shown = None if original is None or surface.part.is_mostly_known else _shown(*original, label)
            colours = completed(surface.part, shown)
        if colours is None:
            left[label] = surface
        else:
            surface.put(found, colours)
    sky = Surface.of(view, 0, texture, sure, wanted).look(wanted.shape) if (view.labels == 0).any() else None
    _dress(found, view, left, sky, style, boxes, seed)
    return shading.lit(found, shade)


@dataclass(frozen=True)
class Surface:
    """What one label covers: ``mask`` (h, w) bool and ``part`` lie in the picture's ``window``."""

    window: tuple[slice, slice]
    mask: Array
    part: Part

    @classmethod
    def of(cls, view: Seen, label: int, texture: Array, known: Array, wanted: Array) -> Surface:
        window = find_objects((view.labels == label).astype(np.int8))[0]
        mask = view.labels[window] == label
        again = None
        if label and not _is_flat(view.gbuffer.normal[window][mask]):
            charts, share = view.charts_again
            again = charts[window], share[window]
        part = Part(view.charts[window], texture[window], known[window] & mask, wanted[window] & mask, again)
        return cls(window, mask, part)

    def only(self, mask: Array) -> Surface:
        part = replace(self.part, known=self.part.known & mask, wanted=self.part.wanted & mask)
        return Surface(self.window, self.mask & mask, part)

    def put(self, picture: Array, colours: Array) -> None:
        """Colours (N, 3) of the wanted pixels into ``picture`` (H, W, 3)."""
        picture[self.window][self.part.wanted] = colours

    def look(self, hw: tuple[int, int]) -> regions.Look:
        """``hw``: of the whole picture."""
        colour = regions.colour_of(self.part.texture, self.part.known) if self.part.known.any() else None
        corner = (self.window[0].start, self.window[1].start)
        return regions.Look(regions.Place.of(self.mask, corner, hw), colour)


def _dress(
    found: Array, view: Seen, left: Mapping[int, Surface], sky: regions.Look | None, style: Array,
    boxes: Mapping[int, Box], seed: Sequence[int],
) -> None:  # fmt: skip
    """Give surfaces, by label, the texture of regions of ``style``: of their boxes, or of those that suit them; never
    what looks like the ``sky`` of this view, where there is one."""
    surfaces: dict[int, Surface] = {}
    for label, surface in left.items():
        if label // MATERIALS in boxes:
            example = _boxed(style, boxes[label // MATERIALS])
            surface.put(found, dressed(surface.part, example, np.random.default_rng([*seed, label])))
        else:
            sides = enumerate(_sides(view, surface))
            surfaces |= {label * SIDES + k: side for k, side in sides if side.part.wanted.any()}
    if not surfaces:
        return
    cut = regions.segmented(style)
    looks = {key: surface.look(found.shape[:2]) for key, surface in surfaces.items()} | ({0: sky} if sky else {})
    chosen = regions.assigned(looks, [0] if sky else [], regions.looks(style, cut))
    examples = {group: Example(style, np.isin(cut, group)) for group in set(chosen.values())}
    for key, surface in surfaces.items():
        surface.put(found, dressed(surface.part, examples[chosen[key]], np.random.default_rng([*seed, key])))


def _sides(view: Seen, surface: Surface) -> list[Surface]:
    """Walls, slopes and level parts of what has flat faces: a house's roof may look like another region than its
    walls. Always ``SIDES``, of which some may be empty; what is round, small or the sky stays whole."""
    normal, mask = view.gbuffer.normal[surface.window], surface.mask
    kind = np.digitize(normal[..., 1], SLOPES)
    share = np.bincount(kind[mask], minlength=SIDES) / mask.sum()
    if not _is_flat(normal[mask]) or mask.sum() < SMALL_SHARE * view.labels.size:
        kind = np.zeros_like(kind)
    else:
        kind = np.where(share[kind] < LEAST_SIDE, share.argmax(), kind)
    return [surface.only(kind == k) for k in range(SIDES)]


def _is_flat(normals: Array) -> bool:
    """Whether few directions make up most of (N, 3) normals."""
    cells = np.round((normals + 1) * ROUNDED).astype(np.int64) @ (10_000, 100, 1)
    faces = np.sort(np.unique(cells, return_counts=True)[1])[-FACES:]
    return bool(faces.sum() > FLAT_SHARE * len(cells))


def _boxed(style: Array, box: Box) -> Example:
    mask = np.zeros(style.shape[:2], bool)
    x0, y0, x1, y1 = box
    mask[int(y0) : max(int(np.ceil(y1)), int(y0) + 1), int(x0) : max(int(np.ceil(x1)), int(x0) + 1)] = True
    return Example(style, mask)


def _shade(light: shading.Light, view: Seen) -> Array:
    return np.where(view.labels > 0, light.shade(view.gbuffer.normal), np.float32(1))


def _shown(original: Seen, texture: Array, label: int) -> Part | None:
    """All of a label that a painted picture shows, but for pixels that silhouettes may cut; None for nothing."""
    if not ((original.labels == label) & original.inner).any():
        return None
    return Surface.of(original, label, texture, original.inner, np.zeros_like(original.inner)).part

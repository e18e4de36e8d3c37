"""The embedded anchor backend, on a street that is painted by a formula: what it must look like is known everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from geometry.anchors import carry
from geometry.exemplar import synthesis
from geometry.scene import GBuffer
from models import registry
from models.anchors.exemplar import Exemplar
from models.base import Style, View, WarpedAnchor
from models.errors import InputRefused
from tests.geometry import exemplar_scenes as scenes

Array = np.ndarray
SEED = (3, 1)
FIRST, OTHER = 0, 6
GROUND, HOUSE, TOWER, BALL = 1, 2, 3, 5


@cache
def bare(frame: int) -> View:
    found = scenes.guides().guides(frame)
    return View(found.soft_edges, found.gbuffer.object_id, None, found.gbuffer, found.albedo_id)


@cache
def truth(frame: int) -> Array:
    return scenes.painted(frame)


@cache
def warped() -> WarpedAnchor:
    found = carry(truth(FIRST), scenes.guides(), FIRST, OTHER)
    return WarpedAnchor(found.picture, found.known)


def aligned(reference: Array | None = None) -> Style:
    return Style(truth(FIRST) if reference is None else reference, aligned=bare(FIRST))


def paint(view: View, style: Style, seed: tuple[int, ...] = SEED) -> Array:
    return Exemplar().paint(view, style, seed).picture


def psnr(a: Array, b: Array) -> float:
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-9)))


def inside(view: View, object_id: int, rim: int = 2) -> Array:
    """(H, W) bool: pixels of one object, away from its silhouette."""
    assert view.ids is not None
    return cv2.erode((view.ids == object_id).astype(np.uint8), np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)) > 0


def test_it_is_registered_and_loads_without_a_checkpoint():
    assert isinstance(registry.embedded("anchors", "exemplar"), Exemplar)


@pytest.mark.parametrize("scale", [1.0, 0.75, 2.0])
def test_the_aligned_frame_is_the_reference(scale: float):
    w, h = scenes.WH
    if scale == 1:
        assert np.array_equal(paint(bare(FIRST), aligned()), truth(FIRST))
        return
    resized = scenes.painted(FIRST, (round(w * scale), round(h * scale)))
    assert psnr(paint(bare(FIRST), aligned(resized)), truth(FIRST)) > (30 if scale > 1 else 25)


def test_what_is_known_stays_and_the_rest_comes_near_the_truth():
    view = replace(bare(OTHER), warped=warped())
    picture = paint(view, aligned())
    known = warped().known == 1
    assert np.array_equal(picture[known], warped().picture[known])
    assert 0.05 < (~known).mean() < 0.4
    assert psnr(picture, truth(OTHER)) > 21
    assert psnr(picture[~known], truth(OTHER)[~known]) > 19


def test_half_known_pixels_are_half_kept():
    grey = np.full_like(warped().picture, 128)
    weak = WarpedAnchor(grey, np.full(warped().known.shape, 0.5, np.float32))
    nothing = WarpedAnchor(grey, np.zeros(warped().known.shape, np.float32))
    half, none = (paint(replace(bare(OTHER), warped=w), aligned()).astype(int) for w in (weak, nothing))
    assert np.abs(half - (none + 128) / 2).max() <= 1


def test_without_a_warp_points_of_the_still_world_are_found_again():
    assert psnr(paint(bare(1), aligned()), truth(1)) > 21


def test_the_same_seed_is_the_same_picture_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch):
    style = Style(truth(FIRST))
    first = paint(bare(OTHER), style)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 3):
            monkeypatch.setattr(synthesis, "THREADS", threads)
            monkeypatch.setattr(synthesis, "FEW", 10)
            cv2.setNumThreads(threads)
            assert np.array_equal(paint(bare(OTHER), style), first)
    finally:
        cv2.setNumThreads(before)
    assert not np.array_equal(paint(bare(OTHER), style, (4,)), first)


def flat(view: View, colours: dict[int, tuple[int, int, int]]) -> Array:
    assert view.ids is not None
    table = np.zeros((6, 3), np.uint8)
    for k, colour in colours.items():
        table[k] = colour
    return table[view.ids]


PRIMARIES = {0: (0, 0, 200), 1: (0, 200, 0), 2: (200, 0, 0), 3: (200, 200, 0), 4: (0, 200, 200), 5: (200, 0, 200)}


@pytest.mark.parametrize("is_carried", [True, False])
def test_no_colour_crosses_an_object(is_carried: bool):
    """Each object has channels that are 0 all over: any light in them has bled."""
    reference = flat(bare(FIRST), PRIMARIES)
    view = bare(OTHER)
    if is_carried:
        found = carry(reference, scenes.guides(), FIRST, OTHER)
        view = replace(view, warped=WarpedAnchor(found.picture, found.known))
    picture = paint(view, aligned(reference))
    assert view.ids is not None
    expected = flat(view, PRIMARIES) > 0
    bled = ((picture > 40) & ~expected).any(-1)
    assert bled.sum() == 0


def test_objects_look_like_their_boxes():
    """Bricks at the left, blue with white spots at the right of the picture."""
    rng = np.random.default_rng(0)
    reference = np.zeros((100, 160, 3), np.uint8)
    reference[:, :80] = (170, 60, 40)
    reference[::10, :80] = reference[:, :80:16] = (220, 210, 200)
    reference[:, 80:] = (40, 60, 160)
    spots = rng.integers((0, 80), (100, 160), (60, 2))
    reference[spots[:, 0], spots[:, 1]] = 255
    boxes = {HOUSE: (80.0, 0.0, 160.0, 100.0), TOWER: (0.0, 0.0, 80.0, 100.0)}
    view = bare(OTHER)
    picture = paint(view, Style(reference, regions=boxes)).astype(int)
    house, tower = (picture[inside(view, k)] for k in (HOUSE, TOWER))
    assert (house[:, 2] > house[:, 0]).mean() > 0.95 and (tower[:, 0] > tower[:, 2]).mean() > 0.95
    assert tower.std() > 20  # bricks, not their mean


def test_a_picture_of_another_place_dresses_the_street():
    """Sky above, grass below: the ground is green, the sky blue, and form shows in the light."""
    rng = np.random.default_rng(1)
    reference = np.zeros((120, 180, 3), np.float32)
    reference[:60] = (110, 160, 230)
    reference[60:] = np.array((60, 120, 40)) + 15 * rng.standard_normal((60, 180, 1))
    reference[30:90, 20:70] = np.array((170, 120, 80)) + 10 * rng.standard_normal((60, 50, 1))
    view = bare(OTHER)
    picture = paint(view, Style(np.clip(reference, 0, 255).astype(np.uint8))).astype(int)
    assert (picture[inside(view, 0)].argmax(-1) == 2).mean() > 0.95
    assert (picture[inside(view, GROUND)].argmax(-1) == 1).mean() > 0.9
    assert view.gbuffer is not None
    front = inside(view, HOUSE) & (view.gbuffer.normal[..., 2] > 0.9)
    side = inside(view, HOUSE) & (view.gbuffer.normal[..., 0] > 0.9)
    assert abs(np.log(picture[front].mean() / picture[side].mean())) < 0.5


def test_a_second_anchor_continues_the_first():
    style = Style(truth(FIRST)[:, ::-1])
    first = paint(bare(FIRST), style)
    found = carry(first, scenes.guides(), FIRST, OTHER)
    picture = paint(replace(bare(OTHER), warped=WarpedAnchor(found.picture, found.known)), style).astype(int)
    known = found.known == 1
    assert np.array_equal(picture[known], found.picture[known])
    ids = bare(OTHER).ids
    for k in (0, GROUND, TOWER):  # what is new of an object looks like what was there
        new, old = (ids == k) & ~known, (ids == k) & known
        assert new.sum() > 20
        assert np.abs(picture[new].mean(0) - picture[old].mean(0)).max() < 40


def test_the_sky_of_a_picture_is_no_roof_though_the_sky_is_there_already():
    """What stands high in the view would suit the sky; an earlier anchor has brought all of that over."""
    reference = np.zeros((120, 180, 3), np.uint8)
    reference[:70], reference[70:] = (110, 160, 230), (150, 110, 70)
    view = bare(OTHER)
    there = inside(view, 0)
    blue = np.broadcast_to(np.array((110, 160, 230), np.uint8), (*there.shape, 3))
    picture = paint(replace(view, warped=WarpedAnchor(blue, there.astype(np.float32))), Style(reference)).astype(int)
    assert (picture[there] == (110, 160, 230)).all()
    for k in (GROUND, HOUSE, TOWER):
        assert (picture[inside(view, k)].argmax(-1) == 0).mean() > 0.95, k


def sky(hw: tuple[int, int]) -> View:
    nothing, vectors = np.zeros(hw, np.float32), np.zeros((*hw, 3), np.float32)
    ids = np.zeros(hw, np.int32)
    return View(nothing, ids, None, GBuffer(nothing, vectors, vectors, ids, vectors[..., :2]), ids)


def small(frame: int) -> View:
    """A few pixels, whose footprints on the ground differ by far."""
    found = scenes.guides((48, 32)).guides(frame)
    return View(found.soft_edges, found.gbuffer.object_id, None, found.gbuffer, found.albedo_id)


def speckled() -> View:
    """A few known pixels here and there."""
    rng = np.random.default_rng(2)
    known = (rng.random(bare(OTHER).soft_edges.shape) < 0.05).astype(np.float32)
    return replace(bare(OTHER), warped=WarpedAnchor(truth(OTHER), known))


ODD: dict[str, Callable[[], tuple[View, Style]]] = {
    "nothing but sky": lambda: (sky((8, 8)), Style(truth(FIRST))),
    "painted over something else": lambda: (bare(OTHER), Style(truth(FIRST), aligned=sky(truth(FIRST).shape[:2]))),
    "tiny": lambda: (bare(OTHER), Style(truth(FIRST)[:16, :16])),
    "black": lambda: (bare(OTHER), Style(np.zeros((40, 60, 3), np.uint8))),
    "boxes of a pixel": lambda: (
        bare(OTHER), Style(truth(FIRST), regions={0: (0.0, 0.0, 180.0, 1.0), 2: (3.0, 3.0, 3.5, 3.5)})
    ),
    "few pixels": lambda: (small(OTHER), Style(truth(FIRST))),
    "few pixels, painted over": lambda: (small(OTHER), Style(scenes.painted(FIRST, (48, 32)), aligned=small(FIRST))),
    "speckled": lambda: (speckled(), Style(truth(FIRST))),
    "speckled, painted over": lambda: (speckled(), aligned()),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_input_gives_a_picture(name: str):
    view, style = ODD[name]()
    picture = paint(view, style)
    assert picture.shape == (*view.soft_edges.shape, 3) and picture.dtype == np.uint8
    if view.warped is not None:
        assert np.array_equal(picture[view.warped.known == 1], view.warped.picture[view.warped.known == 1])


@pytest.mark.parametrize(
    ("style", "says"),
    [
        (Style(np.zeros((1, 1, 3), np.uint8)), "at least 16 px a side, got 1 x 1"),
        (Style(np.zeros((40, 40, 3), np.float32)), "expected .H, W, 3. uint8"),
        (Style(np.zeros((40, 60, 3), np.uint8), regions={2: (50.0, 0.0, 70.0, 20.0)}), r"regions\[2\].*60 x 40"),
        (Style(np.zeros((40, 60, 3), np.uint8), regions={2: (5.0, 9.0, 5.0, 20.0)}), r"regions\[2\].*x0 < x1"),
    ],
)  # fmt: skip
def test_bad_references_are_named(style: Style, says: str):
    with pytest.raises(InputRefused, match=says):
        paint(bare(FIRST), style)


def test_a_paint_over_of_another_shape_and_a_view_without_geometry_are_named():
    with pytest.raises(InputRefused, match="180 x 120.*got 100 x 100"):
        paint(bare(OTHER), aligned(np.zeros((100, 100, 3), np.uint8)))
    with pytest.raises(InputRefused, match=r"view.gbuffer"):
        paint(View(bare(FIRST).soft_edges), aligned())
    with pytest.raises(ValueError, match="reference"):
        Style(np.zeros((40, 40, 4), np.uint8))  # with alpha

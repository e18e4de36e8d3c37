"""Inbetweens against true pictures of every frame."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from geometry.coverage import SAMPLES_PER_PX, Coverage
from geometry.guides import GuideSource
from geometry.ibr import Inbetween
from geometry.render.base import Instance
from tests.geometry.blockout_scenes import block, looking_from, path, street
from tests.geometry.painted_scenes import PAINTS, true_picture

WH = (192, 128)
LAST = 8
FLAT = np.array([[10, 60, 250], [40, 200, 40], [230, 30, 30], [240, 240, 240], [10, 10, 10], [250, 200, 0]], float)


@cache
def shot(wh: tuple[int, int] = WH) -> GuideSource:
    return GuideSource(street, path(LAST + 1, wh, step=0.25), keep=16)


@cache
def truth(frame: int) -> np.ndarray:
    return true_picture(shot(), frame)


@cache
def between() -> Inbetween:
    return Inbetween(shot(), {0: truth(0), LAST: truth(LAST)}, 0, LAST)


def seen(frame: int) -> np.ndarray:
    return shot().flow(frame, 0).visible | shot().flow(frame, LAST).visible


def decibel(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a[where].astype(float) - b[where]) ** 2)))


def test_anchors_are_themselves():
    assert np.array_equal(between().frame(0), truth(0))
    assert np.array_equal(between().frame(LAST), truth(LAST))


@pytest.mark.parametrize("frame", [1, 4, 7])
def test_frames_between_are_what_they_truly_are(frame: int):
    found = between().frame(frame)
    assert decibel(found, truth(frame), seen(frame)) > 32
    assert decibel(found, truth(frame), np.ones(seen(frame).shape, bool)) > 27


def test_nothing_bleeds_over_an_object():
    """Every object has one colour: a pixel that shows one object alone has its colour, wherever it is."""
    anchors = {frame: true_picture(shot(), frame, paints=FLAT, plain=True) for frame in (0, LAST)}
    found = Inbetween(shot(), anchors, 0, LAST)
    for frame in (2, 5):
        sight = shot().sight(frame)
        owner = np.append(sight.surface.topology.object_id, 0)
        ids = owner[Coverage(sight).samples]
        blocks = ids.reshape(WH[1], SAMPLES_PER_PX, WH[0], SAMPLES_PER_PX)
        is_whole = (blocks == blocks[:, :1, :, :1]).all((1, 3))
        colour = FLAT[owner[sight.face]]
        assert is_whole.mean() > 0.9
        assert np.abs(found.frame(frame)[is_whole] - colour[is_whole]).max() <= 1
        # And pixels that objects share are mixed as light would be. (What is seen in the picture's first row of samples
        # alone has nothing to take its colour from.)
        shared = ~is_whole
        shared[[0, -1]], shared[:, [0, -1]] = False, False
        assert decibel(found.frame(frame), true_picture(shot(), frame, paints=FLAT, plain=True), shared) > 30


def test_silhouettes_are_where_geometry_has_them():
    found, lines = between().frame(4), shot().guides(4).lines
    grey = cv2.cvtColor(found, cv2.COLOR_RGB2GRAY)
    drawn = cv2.dilate((cv2.Canny(grey, 20, 50) > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert drawn[lines.kinds[..., 0] > 0.5].mean() > 0.95


def test_surfaces_hold_still():
    """From frame to frame a surface's picture changes hardly more than the true one does."""
    def unrest(pictures: list[np.ndarray]) -> float:
        way = shot().flow(3, 4)
        grid = (way.target_px - 0.5).astype(np.float32)
        inside = cv2.erode((way.visible & seen(3)).astype(np.uint8), np.ones((3, 3))) > 0
        moved = cv2.remap(pictures[1], grid, None, cv2.INTER_LINEAR)
        return float(np.abs(moved[inside].astype(float) - pictures[0][inside]).mean())

    assert unrest([between().frame(3), between().frame(4)]) < 1.3 * unrest([truth(3), truth(4)])


def test_anchors_of_other_light_come_and_go_smoothly():
    """The last anchor is darker: each surface darkens little by little, with nothing beside it when the arc ends."""
    dark = (truth(LAST) * 0.7).astype(np.uint8)
    found = Inbetween(shot(), {0: truth(0), LAST: dark}, 0, LAST)
    way = [shot().flow(frame, 0).visible & shot().flow(frame, LAST).visible for frame in range(LAST + 1)]
    share = np.array([
        (found.frame(f)[way[f]].astype(float) / np.maximum(truth(f)[way[f]], 1)).mean() for f in range(LAST + 1)
    ])
    assert (np.diff(share) < 0.005).all()
    assert share[1] > 0.97 and share[-2] < 0.74
    assert np.abs(np.diff(share)).max() < 0.11


def test_what_no_anchor_saw_is_made_up_once_and_stays():
    """A house that steps aside shows ground which neither anchor has seen."""
    def hidden(frame: float) -> tuple[Instance, ...]:
        things = street(0)
        aside = np.eye(4)
        aside[0, 3] = 3 - abs(frame - 4) * 0.75  # covers the same ground at both ends
        return (things[0], replace(things[1], world_from_object=aside), *things[2:])

    source = GuideSource(hidden, path(LAST + 1, WH, step=0.0), keep=16)
    anchors = {frame: true_picture(source, frame) for frame in (0, LAST)}
    found = Inbetween(source, anchors, 0, LAST)
    new = ~(source.flow(3, 0).visible | source.flow(3, LAST).visible)
    new &= source.guides(3).gbuffer.object_id == 1
    assert new.mean() > 0.004
    ground = found.frame(3)[new].astype(float)
    beside = anchors[0][source.guides(0).gbuffer.object_id == 1].astype(float)
    assert np.abs(ground.mean(0) - beside.mean(0)).max() < 25  # it looks like the ground
    both = new & source.flow(3, 4).visible
    grid = (source.flow(3, 4).target_px - 0.5).astype(np.float32)
    still = cv2.remap(found.frame(4), grid, None, cv2.INTER_LINEAR)[both]
    assert np.abs(still.astype(float) - found.frame(3)[both]).mean() < 2


def test_an_object_that_turns_its_back_keeps_its_colour():
    """Anchors from before a thin wall; the frame between them from behind it, where nothing was ever seen."""
    def slab(frame: float) -> tuple[Instance, ...]:
        return (Instance((block(30, 9, 1, 0, 0, 0),), np.eye(4), 1),)

    shot = GuideSource(slab, looking_from((0, 0, 9), (0, 0, -9), (1, 0, 9)), keep=4)
    front = np.full((120, 160, 3), (200, 90, 40), np.uint8)
    found = Inbetween(shot, {0: front, 2: front}, 0, 2).frame(1)
    assert np.abs(found[50:70, 60:100].astype(int) - (200, 90, 40)).max() <= 1


def test_other_anchors_show_what_the_two_do_not():
    def decibels(pictures: dict[int, np.ndarray]) -> float:
        found = Inbetween(shot(), pictures, 0, LAST).frame(3)
        return decibel(found, truth(3), ~seen(3))

    ends = {0: truth(0), LAST: truth(LAST)}
    assert (~seen(3)).sum() > 20
    assert decibels({**ends, 4: truth(4)}) > decibels(ends) + 6


def test_order_threads_and_company_do_not_matter():
    alone = {frame: between().frame(frame) for frame in (6, 3, 5)}
    fresh = Inbetween(shot(), {0: truth(0), LAST: truth(LAST)}, 0, LAST)
    with ThreadPoolExecutor(3) as pool:
        together = dict(zip((3, 5, 6), pool.map(fresh.frame, (3, 5, 6)), strict=True))
    assert all(np.array_equal(alone[frame], together[frame]) for frame in alone)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"pictures: expected those of frames 0 and 8, got \[0\]"):
        Inbetween(shot(), {0: truth(0)}, 0, LAST)
    with pytest.raises(ValueError, match=r"picture: expected shape \(128, 192, 3\), got \(64, 96, 3\)"):
        Inbetween(shot(), {0: truth(0)[::2, ::2], LAST: truth(LAST)}, 0, LAST)
    assert len(PAINTS) == len(FLAT)

from __future__ import annotations

import numpy as np
import pytest

from geometry.exemplar import synthesis
from geometry.exemplar.kernels import KNOWN, MISSING, OPEN
from geometry.exemplar.sheets import picture_sheets
from geometry.exemplar.synthesis import Canvas, filled, sources


def canvases(picture: np.ndarray, known: np.ndarray, coarsest: int) -> list[Canvas]:
    """Levels of a picture whose unknown pixels are open; a coarse texel is known when all it covers is."""
    levels = []
    for sheet in picture_sheets(picture.shape[:2], coarsest):
        step = 2**sheet.level
        inside = sheet.index >= 0
        h, w = (side // step for side in picture.shape[:2])
        colours = np.zeros((*inside.shape, 3), np.float32)
        state = np.zeros(inside.shape, np.float32)
        colours[inside] = picture.reshape(h, step, w, step, 3).mean((1, 3)).round().reshape(-1, 3)
        state[inside] = np.where(known.reshape(h, step, w, step).all((1, 3)), KNOWN, OPEN).ravel()
        levels.append(Canvas(sheet, colours, state))
    return levels


def weave(h: int = 64, w: int = 64) -> np.ndarray:
    y, x = np.indices((h, w))
    picture = np.stack([40 + 180 * (x % 8 < 3), 60 + 150 * (y % 8 < 4), 90 + 40 * ((x + y) % 8 < 4)], -1)
    return picture.astype(np.uint8)


def test_costs_are_those_of_plain_sums():
    rng = np.random.default_rng(0)
    here, there = (rng.integers(-128, 128, (n, 75)).astype(np.float32) for n in (5, 7))
    weight, have = rng.integers(0, 3, (5, 75)).astype(np.float32), rng.integers(0, 2, (7, 75)).astype(np.float32)
    here, there = here * (weight > 0), there * have
    for has in (have, np.ones_like(have)):
        expected = [
            [sum(w * ((a - b) ** 2 if m else MISSING / 3) for w, a, b, m in zip(*row, strict=True))
             for row in zip([weight[i]] * 7, [here[i]] * 7, there, has, strict=True)]
            for i in range(5)
        ]  # fmt: skip
        assert np.array_equal(synthesis._costs(here, weight, there, has), np.array(expected, np.float32))


def test_a_hole_in_a_pattern_is_filled_with_the_pattern():
    picture = weave()
    known = np.ones((64, 64), bool)
    known[20:44, 24:40] = False
    targets = canvases(np.where(known[..., None], picture, 0).astype(np.uint8), known, 1)
    first = np.zeros(targets[0].state.shape, np.int64)
    result = filled(targets, sources(targets), first, complete=False, among=True)[-1][3:-3, 3:-3]
    assert np.array_equal(result[known], picture[known])
    assert np.abs(result.astype(int) - picture)[~known].mean() < 6


def wide_from_small(threads: int, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(synthesis, "THREADS", threads)
    monkeypatch.setattr(synthesis, "FEW", 1)
    small, wide = weave(32, 32), np.zeros((64, 96, 3), np.uint8)
    levels = sources(canvases(small, np.ones((32, 32), bool), 1))
    targets = canvases(wide, np.zeros((64, 96), bool), 1)
    centres = levels[0].centres
    rng = np.random.default_rng(1)
    first = centres[rng.integers(0, len(centres), targets[0].state.shape)]
    return filled(targets, levels, first, complete=True, among=False)[-1][3:-3, 3:-3]


def test_a_larger_picture_of_the_same_kind(monkeypatch: pytest.MonkeyPatch):
    result = wide_from_small(1, monkeypatch)
    assert np.array_equal(result, wide_from_small(3, monkeypatch))
    kinds = {tuple(c) for c in weave(32, 32).reshape(-1, 3)}
    gaps = np.array([np.abs(result.astype(int) - k).max(-1) for k in kinds])
    assert (gaps.min(0) < 12).mean() > 0.8  # no colours of its own making
    assert all((gap < 12).mean() > 0.02 for gap in gaps)  # and all that the source has


def test_nothing_is_taken_from_what_the_source_does_not_have():
    picture = weave(32, 32)
    known = np.ones((32, 32), bool)
    known[:, 20:] = False
    poisoned = np.where(known[..., None], picture, (255, 0, 255)).astype(np.uint8)
    level = canvases(poisoned, known, 0)
    target = canvases(np.zeros((24, 24, 3), np.uint8), np.zeros((24, 24), bool), 0)
    source = sources(level)
    first = np.full(target[0].state.shape, source[0].centres[0])
    result = filled(target, source, first, complete=True, among=False)[-1][3:-3, 3:-3]
    assert not ((result[..., 0] > 230) & (result[..., 1] < 40)).any()
    assert result[..., 2].max() <= 140

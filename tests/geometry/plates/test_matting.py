"""Mattes against painted truth: thin things stay, colours come apart without halo, layers make up the picture again."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.plates.matting import agreeing, matted
from tests.geometry.plates.still_scenes import PaintedStill, disc, railing

pytest.importorskip("pymatting")


@pytest.mark.parametrize("scene", [railing(), disc()])
def test_alpha_and_colour_are_those_of_the_truth(scene: PaintedStill) -> None:
    matte = matted(scene.picture, scene.alpha > 0.5)
    soft = (scene.alpha > 0) & (scene.alpha < 1) | (matte.alpha > 0) & (matte.alpha < 1)
    assert np.abs(matte.alpha - scene.alpha)[soft].mean() < 0.05
    edge = (scene.alpha > 0.1) & (scene.alpha < 0.9) & (matte.alpha > 0.1) & (matte.alpha < 0.9)
    seen = np.abs(scene.picture - scene.front)[edge].mean()
    assert np.abs(matte.front - scene.front)[edge].mean() < 0.4 * seen  # unmixed, no halo
    mixed = matte.alpha[..., None] * matte.front + (1 - matte.alpha[..., None]) * matte.behind
    assert np.abs(mixed - scene.picture).max() < 1 / 255


def test_only_the_cut_is_touched() -> None:
    scene = disc()
    matte = matted(scene.picture, scene.alpha > 0.5)
    for side, solid in ((matte.front, 1), (matte.behind, 0)):
        same = matte.alpha == solid
        assert same.sum() > 1000 and np.array_equal(side[same], scene.picture[same])


def test_nothing_softens_at_the_border() -> None:
    scene = disc()
    left = np.zeros(scene.alpha.shape, bool)
    left[:, :100] = True
    alpha = matted(scene.back, left).alpha
    assert (alpha[:, :90] == 1).all() and (alpha[:, 110:] == 0).all()


@pytest.mark.parametrize(("seen", "front", "behind", "expected"), [
    (0.5, 0.2, 0.6, (0.3, 0.7)),  # half of each makes .4: both are lifted by .1
    (1.0, 1.0, 0.2, (1.0, 1.0)),  # the front cannot, so the one behind does all
    (0.3, 0.2, 0.4, (0.2, 0.4)),
])  # fmt: skip
def test_colours_that_agree_by_hand(seen: float, front: float, behind: float, expected: tuple[float, float]) -> None:
    pixels = [np.full((1, 1, 3), value) for value in (seen, front, behind)]
    found = agreeing(pixels[0], np.full((1, 1), 0.5), *pixels[1:])
    assert [colour[0, 0, 0] for colour in found] == pytest.approx(expected)

"""Layers by depth: cuts in gaps, edges where the picture has them, things by click and box."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.plates.bands import Selection, banded, cuts, selected, snapped

HW = (120, 160)
Y, X = np.mgrid[: HW[0], : HW[1]]
RNG = np.random.default_rng(4)


def painted(bands: np.ndarray, noise: float = 6) -> np.ndarray:
    colours = np.array([[90, 140, 220], [150, 120, 90], [40, 90, 40], [200, 60, 50]], float)
    return np.clip(colours[bands] + RNG.normal(0, noise, (*bands.shape, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_cuts_fall_into_the_gaps(layers: int) -> None:
    """Sheets at inverse depths .1, .3, .5, .8, each a little uneven: as many bands, and each cut between two."""
    centres = np.array([0.1, 0.3, 0.5, 0.8])[:layers]
    inverse = np.concatenate([c + RNG.uniform(-0.03, 0.03, 3000 * (k + 1)) for k, c in enumerate(centres)])
    found = cuts(inverse.reshape(-1, 100))
    assert len(found) == layers - 1
    assert ((found > centres[:-1] + 0.02) & (found < centres[1:] - 0.02)).all()


def test_a_slope_without_gaps_is_cut_all_the_same() -> None:
    found = cuts(np.linspace(0.1, 1, 10_000).reshape(100, 100), (3, 3))
    assert len(found) == 2 and 0.25 < found[0] < 0.55 < found[1] < 0.85
    assert len(cuts(np.full((5, 5), 0.3))) == 0
    with pytest.raises(ValueError, match="got \\(3, 2\\)"):
        cuts(np.ones((4, 4)), (3, 2))


def test_given_bands() -> None:
    depth = np.array([[1.0, 3.0, 4.6, 5.0, 50.0, 0.2]])
    assert banded(depth, [(1, 4), (5, 60)]).tolist() == [[1, 1, 0, 0, 0, 1]]
    with pytest.raises(ValueError, match="got 5:4"):
        banded(depth, [(5, 4)])
    with pytest.raises(ValueError, match="expected them apart"):
        banded(depth, [(1, 4), (3, 60)])


def test_edges_move_to_the_pictures() -> None:
    """Depth's edge lies beside the picture's, and wavers, by as much as may be mended in so small a picture."""
    truth = (np.hypot(X - 80, Y - 60) < 40).astype(np.int32)
    rough = (np.hypot(X - 81, Y - 60) < 40 + np.sin(np.arctan2(Y - 60, X - 80) * 8)).astype(np.int32)
    found = snapped(rough, painted(truth))
    assert (found != truth).sum() < 0.35 * (rough != truth).sum()


def test_a_thin_rail_stays_and_specks_go() -> None:
    bands = np.zeros(HW, np.int32)
    bands[40:42] = 1
    bands[:, 80:82] = 1
    bands[10, 10] = 1
    found = snapped(bands, painted(np.where(bands == 1, 2, 0) * (1 - ((Y == 10) & (X == 10)))))
    assert found[10, 10] == 0
    assert (found[bands == 1].sum() - found[10, 10]) > 0.97 * (bands.sum() - 1)


def test_a_thing_by_box_and_by_click() -> None:
    truth = (np.abs(X - 60) < 20) & (np.abs(Y - 70) < 30)
    picture = painted(np.where(truth, 3, np.where(Y > 60, 1, 0)))
    inverse = np.where(truth, 0.5, 0.2).astype(np.float32)
    box = Selection("post", box=(35, 35, 86, 106))
    click = Selection("post", clicks=np.array([[60.0, 70.0], [120.0, 100.0]]), inside=np.array([True, False]))
    for selection in (box, click, Selection("post", mask=truth)):
        found = selected(picture, inverse, selection)
        assert (found & truth).sum() > 0.95 * (found | truth).sum(), selection
    assert np.array_equal(selected(picture, inverse, box), selected(picture, inverse, box))


@pytest.mark.parametrize(("given", "message"), [
    ({"box": (200, 0, 300, 50)}, "a box inside 160x120"),
    ({"clicks": np.array([[170.0, 5.0]]), "inside": np.array([True])}, "clicks inside 160x120, got 170,5"),
    ({"mask": np.zeros(HW, bool)}, "found nothing"),
])  # fmt: skip
def test_selections_beside_the_picture(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        selected(painted(np.zeros(HW, int)), np.ones(HW), Selection("x", **given))


@pytest.mark.parametrize("given", [
    {}, {"box": (5, 5, 5, 9)}, {"clicks": np.zeros((1, 2)), "inside": np.array([False])}, {"clicks": np.zeros((1, 2))},
])  # fmt: skip
def test_selections_that_mean_nothing(given: dict) -> None:
    with pytest.raises(ValueError, match="selection 'x'"):
        Selection("x", **given)

"""Layers of a model are made to be the picture again."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.plates.separated import agreeing_layers

RNG = np.random.default_rng(8)
PICTURE = RNG.uniform(0.05, 0.95, (20, 30, 3)).astype(np.float32)


def laid(layers: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    out = np.zeros((20, 30, 3), np.float32)
    for colour, alpha in layers:
        out = out * (1 - alpha[..., None]) + colour * alpha[..., None]
    return out


def test_whatever_a_model_says_the_picture_comes_back() -> None:
    found = agreeing_layers(PICTURE, [RNG.integers(0, 256, (20, 30, 4), np.uint8) for _ in range(3)])
    assert np.abs(laid(found) - PICTURE).max() < 0.5 / 255
    assert (found[0][1] == 1).all()
    assert all(colour.min() >= 0 and colour.max() <= 1 for colour, _ in found)


def test_what_agrees_is_left_alone() -> None:
    back = np.dstack([np.rint(PICTURE * 255), np.full((20, 30), 255)]).astype(np.uint8)
    clear = np.zeros((20, 30, 4), np.uint8)
    (colour, _), (above, alpha) = agreeing_layers(back[..., :3] / np.float32(255), [back, clear])
    assert np.abs(colour - back[..., :3] / 255).max() < 1e-6
    assert not alpha.any() and not above.any()


def test_the_lack_is_shared_by_hand() -> None:
    """A half-clear front over a back, both .4, of .5: the lack of .1 goes to both, as much as each shows."""
    front = np.full((1, 1, 4), (102, 102, 102, 0), np.uint8)
    front[..., 3] = 128
    back = np.full((1, 1, 4), (102, 102, 102, 255), np.uint8)
    (below, _), (above, alpha) = agreeing_layers(np.full((1, 1, 3), 0.5, np.float32), [back, front])
    a = alpha[0, 0]
    share = 0.1 / (a**2 + (1 - a) ** 2)
    assert below[0, 0, 0] == pytest.approx(0.4 + (1 - a) * share, abs=1e-5)
    assert above[0, 0, 0] == pytest.approx(0.4 + a * share, abs=1e-5)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="at least one"):
        agreeing_layers(PICTURE, [])
    with pytest.raises(ValueError, match="layer"):
        agreeing_layers(PICTURE, [np.zeros((5, 5, 4), np.uint8)])

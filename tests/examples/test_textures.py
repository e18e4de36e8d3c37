"""Procedural textures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from examples import textures

RED, GREY = (0.7, 0.3, 0.2), (0.7, 0.7, 0.7)
MAKERS = {
    "painted": lambda hw, seed: textures.painted(hw, RED, seed),
    "planks": lambda hw, seed: textures.planks(hw, 5, RED, seed),
    "bricks": lambda hw, seed: textures.bricks(hw, 8, RED, GREY, seed),
    "terrazzo": lambda hw, seed: textures.terrazzo(hw, GREY, [RED, (0.2, 0.2, 0.2)], seed),
    "kilim": lambda hw, seed: textures.kilim(hw, [RED, GREY, (0.1, 0.2, 0.4)], seed),
    "print": lambda hw, seed: textures.print_on_paper(hw, GREY, [RED, (0.1, 0.2, 0.4)], seed),
    "leaf": lambda hw, seed: textures.leaf(hw, (0.3, 0.5, 0.2), seed),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_texture_is_a_function_of_its_seed(name: str) -> None:
    picture = MAKERS[name]((96, 160), 3)
    assert picture.shape == (96, 160, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, MAKERS[name]((96, 160), 3))
    assert (picture != MAKERS[name]((96, 160), 4)).any()


@pytest.mark.parametrize("name", ["planks", "bricks", "terrazzo", "kilim"])
def test_a_tracker_finds_corners_in_textures_and_not_in_paint(name: str) -> None:
    def corners(picture: np.ndarray) -> int:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        strength = cv2.cornerMinEigenVal(cv2.GaussianBlur(grey, (0, 0), 1.5).astype(np.float32) / 255, 7)
        return int((strength > 2e-4).sum())

    assert corners(MAKERS[name]((256, 256), 1)) > 500
    assert corners(MAKERS["painted"]((256, 256), 1)) == 0


def test_value_noise_is_standardised() -> None:
    noise = textures.value_noise((200, 300), (20, 30), np.random.default_rng(1), octaves=3)
    assert noise.std() == pytest.approx(1, abs=1e-3)
    assert abs(noise.mean()) < 0.1

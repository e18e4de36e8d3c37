"""Shadows of painted pictures: in other light the same is there, and nothing moved."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from geometry.reconstruct.motion.shadows import Light, ShadowSettings, correlation, same_light, shadow
from tests.geometry.reconstruct.motion.test_motion import Filmed, Stored, labels_of, locked_path, mean_j

INSIDE = np.s_[40:80, 60:100]  # away from the edges of what is painted


def floor(seed: int = 1, contrast: float = 50.0) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(140 - contrast, 140 + contrast, (40, 53, 3)).astype(np.float32)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def grainy(picture: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng([9, seed]).normal(scale=1.0, size=picture.shape)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


def share_in_shadow(here: np.ndarray, there: np.ndarray) -> float:
    found = shadow(Light.of(grainy(here, 1)), Light.of(grainy(there, 2)), 1.0, ShadowSettings())
    return float(found[INSIDE].mean())


@pytest.mark.parametrize("light", [0.3, 0.5, 0.8])
def test_the_same_texture_in_less_light_is_a_shadow(light: float) -> None:
    assert share_in_shadow(light * floor(), floor()) > 0.95


def test_less_light_of_another_colour_is_none() -> None:
    assert share_in_shadow(floor() * (0.3, 0.6, 0.9), floor()) < 0.05


def test_another_texture_as_dark_is_none() -> None:
    assert share_in_shadow(0.6 * floor(2), floor()) < 0.4


def test_what_has_no_texture_may_be_half_as_bright_but_not_black() -> None:
    blank = np.full((120, 160, 3), 150.0)
    assert share_in_shadow(0.55 * blank, blank) == 1
    assert share_in_shadow(0.3 * blank, blank) == 0


def test_texture_is_the_same_in_any_light_and_light_with_any_texture() -> None:
    here, half, other, blank = (
        Light.of(np.round(image).astype(np.uint8)) for image in (floor(), 0.5 * floor(), floor(2), 0 * floor() + 140))
    assert (correlation(here, half)[INSIDE] > 0.98).all()
    assert abs(correlation(here, other)[INSIDE].mean()) < 0.2
    assert (correlation(here, blank) == 0).all()
    s = ShadowSettings()
    assert same_light(here, here, s).all() and not same_light(here, half, s)[INSIDE].any()


def test_the_shadow_of_what_moves_is_no_part_of_it(tmp_path: Path) -> None:
    """A red disc crosses a floor of faint texture; its shadow is as large as itself, deep, and bluish."""
    pictures, truth = [], {}
    for i in range(12):
        disc, thrown = (np.zeros((120, 160), np.uint8) for _ in range(2))
        at = 45 + 7 * i
        cv2.circle(disc, (at, 50), 14, 1, -1)
        cv2.ellipse(thrown, (at - 12, 74), (20, 9), 0, 0, 360, 1, -1)
        shade = cv2.GaussianBlur(thrown.astype(np.float32), (0, 0), 1.5)[..., None]
        picture = floor(contrast=20.0) * (1 - 0.5 * shade * (1, 0.96, 0.9))
        picture[disc > 0] = (230, 30, 30)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        truth[i] = disc > 0
    labels = labels_of(Filmed(Stored(tuple(pictures)), locked_path(12), {}, None), "locked", tmp_path)
    assert mean_j(labels, truth) > 0.9

"""Jumps of depth, told from slopes; blurred ones made sharp; thin things told from what is behind them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from geometry.plates.depth_edges import behind_thin, jumps, sharpened, thin

HW = (108, 160)
Y, X = np.mgrid[: HW[0], : HW[1]]
SLOPE = (0.05 + 0.4 * X / HW[1] + 0.1 * Y / HW[0]).astype(np.float32)  # a wall that runs into the distance


def test_planes_do_not_jump_however_steep() -> None:
    assert not jumps(SLOPE).any()
    assert not jumps(np.full(HW, 0.2, np.float32)).any()


def test_a_jump_is_found_where_it_is() -> None:
    inverse = np.where(X < 80, SLOPE, SLOPE + 0.2).astype(np.float32)
    found = jumps(inverse)
    assert found[:, 79:81].all()
    assert not found[:, :74].any() and not found[:, 86:].any()


@pytest.mark.parametrize("sigma", [0.6, 1.0])
def test_blurred_edges_become_steps(sigma: float) -> None:
    truth = np.where((X - 80) ** 2 + (Y - 54) ** 2 < 30**2, 0.5, 0.1).astype(np.float32)
    blurred = cv2.GaussianBlur(truth, (0, 0), sigma)
    found = sharpened(blurred)
    between = (np.abs(found - 0.1) > 0.05) & (np.abs(found - 0.5) > 0.05)
    assert between.sum() < 0.1 * ((np.abs(blurred - 0.1) > 0.05) & (np.abs(blurred - 0.5) > 0.05)).sum()
    assert ((found > 0.3) == (truth > 0.3)).mean() > 0.99


def test_what_is_sharp_stays() -> None:
    rail = np.where(np.abs(X - 80) < 2, SLOPE + 0.3, SLOPE).astype(np.float32)
    assert np.array_equal(sharpened(rail), rail)
    assert np.array_equal(sharpened(SLOPE), SLOPE)


def test_a_rail_before_a_wall_is_thin() -> None:
    rail = np.abs(X - 80) < 2
    inverse = np.where(rail, SLOPE + 0.2, SLOPE).astype(np.float32)
    assert np.array_equal(thin(inverse), rail)
    assert np.abs(behind_thin(inverse) - SLOPE)[:, 10:-10].max() < 0.02
    wide = np.where(np.abs(X - 80) < 30, SLOPE + 0.2, SLOPE).astype(np.float32)
    assert not thin(wide)[:, 55:105].any()

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import cv2
import numba
import numpy as np
import pytest

from geometry.plates import fluid_kernels
from geometry.plates.fluid import Flowing, Hint, motion_field, motion_of_video

Array = np.ndarray
HW = (120, 160)


def ripples(hw: tuple[int, int] = HW, seed: int = 1) -> Array:
    """(H, W, 3) uint8 of several scales, as water has."""
    rng, total = np.random.default_rng(seed), np.zeros(hw, np.float32)
    for cell in (3, 6, 12, 24):
        small = rng.standard_normal((hw[0] // cell + 2, hw[1] // cell + 2)).astype(np.float32)
        total += cv2.resize(small, hw[::-1], interpolation=cv2.INTER_CUBIC) * cell**0.5
    grey = np.clip(128 + 30 * total / total.std(), 0, 255)
    return np.stack([grey * 0.9, grey, grey], -1).astype(np.uint8)


def lake() -> tuple[Flowing, Array, Array]:
    """A flow, its source, and where it moves: a bank below, and the picture's border elsewhere."""
    colour, mask = ripples(), np.arange(HW[0])[:, None].repeat(HW[1], 1) < 90
    colour[90:] = (200, 20, 20)
    motion = motion_field(mask, [Hint(40, 40, 64, 43, frames=24)])
    return Flowing(colour, np.full(HW, 255, np.uint8), motion, 40), colour, (motion != 0).any(-1)


def test_a_field_points_where_its_hints_do_and_is_still_outside_the_mask() -> None:
    mask = np.zeros(HW, bool)
    mask[30:90, 20:140] = True
    field = motion_field(mask, [Hint(30, 60, 54, 60), Hint(130, 60, 130, 84)])
    np.testing.assert_array_equal(field[~mask], 0)
    np.testing.assert_allclose(field[60, 30], [1, 0], atol=0.02)
    np.testing.assert_allclose(field[60, 130], [0, 1], atol=0.02)
    np.testing.assert_allclose(field[60, 80], [0.5, 0.5], atol=0.05)  # as far from both
    assert np.linalg.norm(field[30, 80]) < 0.8 * np.linalg.norm(field[32, 80])  # beside the bank


def test_far_water_is_slower() -> None:
    inverse_depth = np.linspace(0.1, 1.1, HW[0])[:, None].repeat(HW[1], 1)
    field = motion_field(np.ones(HW, bool), [Hint(80, 100, 104, 100)], inverse_depth)
    speed = field[:, 80, 0] / inverse_depth[:, 80]
    np.testing.assert_allclose(speed, 1 / inverse_depth[100, 80], rtol=1e-4)


@pytest.mark.parametrize(
    ("mask", "hints", "message"),
    [
        (np.ones(HW, bool), [], "hints: expected at least one arrow"),
        (np.zeros(HW, bool), [Hint(1, 1, 2, 2)], "got an empty mask"),
        (np.eye(120, 160, dtype=bool), [Hint(80, 3, 90, 3)], r"hint \(80, 3\): expected to start inside the mask"),
        (np.ones(HW, bool), [Hint(500, 3, 90, 3)], "expected to start inside"),
    ],
)  # fmt: skip
def test_hints_that_cannot_be(mask: Array, hints: Sequence[Hint], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        motion_field(mask, hints)


def test_paths_are_integrated_frame_by_frame() -> None:
    y, x = np.mgrid[:40, :40] + 0.5
    swirl = 0.05 * np.stack([-(y - 20), x - 20], -1).astype(np.float32)
    there = fluid_kernels.integrated(swirl, 8, 1.0)
    place = np.array([26.5, 20.5])
    for t in range(9):
        np.testing.assert_allclose(there[t, 20, 26] + (26.5, 20.5), place, atol=1e-4)
        place = place + 0.05 * np.array([-(place[1] - 20), place[0] - 20])
    np.testing.assert_array_equal(there[0], 0)


def test_a_loop_is_closed_and_what_stands_still_is_the_source_to_the_bit() -> None:
    flowing, colour, moves = lake()
    frames = [flowing.frame(t) for t in range(40)]
    np.testing.assert_array_equal(flowing.frame(40), frames[0])
    np.testing.assert_array_equal(frames[0], colour)
    for frame in frames:
        np.testing.assert_array_equal(frame[~moves], colour[~moves])
    steps = [np.abs(b[moves].astype(float) - a[moves]).mean() for a, b in pairwise(frames)]
    seam = np.abs(frames[0][moves].astype(float) - frames[-1][moves]).mean()
    assert seam / np.median(steps) <= 1.05
    assert min(steps) > 0.5 * max(steps)  # it neither rests nor jumps
    assert min(steps) > 2  # and it moves


def test_contrast_is_kept_half_way() -> None:
    flowing, colour, moves = lake()
    deep = moves.copy()
    deep[80:] = False
    for t in (10, 20, 30):
        assert flowing.frame(t)[deep].std() / colour[deep].std() > 0.95


def test_water_takes_no_colour_from_the_bank() -> None:
    flowing, _, moves = lake()
    for t in (5, 20, 35):
        frame = flowing.frame(t).astype(int)
        red = (frame[..., 0] > frame[..., 1] + 40) & moves
        assert red.sum() == 0


def test_early_in_the_loop_what_is_seen_is_the_source_carried_along() -> None:
    flowing, colour, _ = lake()
    frame = flowing.frame(4)[20:70, 30:120].astype(float)
    stayed, carried = (np.abs(frame - colour[20:70, 30 - dx : 120 - dx]).mean() for dx in (0, 4))
    assert carried < 0.25 * stayed


def test_a_long_period_is_cut_into_cycles_and_threads_change_nothing() -> None:
    colour = ripples()
    motion = np.zeros((*HW, 2), np.float32)
    motion[20:100] = (2.0, 0.0)
    flowing = Flowing(colour, np.full(HW, 255, np.uint8), motion, 200)
    assert flowing.cycle * 2 <= 0.15 * 200 + 1e-6
    assert (200 / flowing.cycle) % 1 == 0
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    one = flowing.frame(33)
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(Flowing(colour, np.full(HW, 255, np.uint8), motion, 200).frame(33), one)


class Panning:
    """A clip of a picture that is carried by 1.5 px to the right and 0.5 px up, every frame."""

    numbers = tuple(range(10, 18))
    rate = Fraction(24)
    hw = HW

    def read(self, number: int) -> Array:
        shift = np.float32([[1, 0, 1.5 * (number - 10)], [0, 1, -0.5 * (number - 10)]])
        return cv2.warpAffine(ripples(), shift, HW[::-1], borderMode=cv2.BORDER_REFLECT)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> Array:
        picture = self.read(number)
        return picture if wh is None else cv2.resize(picture, wh, interpolation=cv2.INTER_AREA)

    def linear(self, number: int) -> Array:
        return self.read(number).astype(np.float32) / 255


def test_the_field_of_a_clip() -> None:
    field = motion_of_video(Panning())
    np.testing.assert_allclose(np.median(field[20:-20, 20:-20], (0, 1)), [1.5, -0.5], atol=0.1)
    mask = np.zeros(HW, bool)
    mask[40:80, 40:80] = True
    masked = motion_of_video(Panning(), mask)
    np.testing.assert_array_equal(masked[~mask], 0)
    np.testing.assert_allclose(masked[60, 60], [1.5, -0.5], atol=0.2)


def test_what_does_not_fit_is_refused() -> None:
    colour, alpha = ripples(), np.full(HW, 255, np.uint8)
    with pytest.raises(ValueError, match=r"motion: expected shape \(120, 160, 2\)"):
        Flowing(colour, alpha, np.zeros((10, 10, 2), np.float32))
    with pytest.raises(ValueError, match="period: expected at least 2 frames, got 1"):
        Flowing(colour, alpha, np.zeros((*HW, 2), np.float32), 1)

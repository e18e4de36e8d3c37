"""Steadiness of depth maps made by hand: a camera that slides or goes forward before walls."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.steadiness import JudgedDepth, Landing, Steadiness, steadiness
from geometry import rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath

CAMERA = Camera(40.0, 40.0, 20.0, 15.0, (40, 30))
EVERYWHERE = np.ones((30, 40), bool)


def path(*step: float) -> CameraPath:
    """Frame 0 at the origin, frame 1 by ``step`` farther."""
    poses = np.stack([np.eye(4), rigid.rigid(np.eye(3), -np.array(step))])
    return CameraPath((0, 1), (CAMERA, CAMERA), poses)


def wall(z: float) -> np.ndarray:
    return np.full((30, 40), z, np.float32)


def slanted(shift: float = 0.0) -> np.ndarray:
    """1 / z grows from column to column, as it does on a plane; the camera stands ``shift`` farther to the right."""
    x = (np.arange(40) + 0.5 - 20) / 40
    return np.tile(((4 + 0.5 * shift) / (1 - 0.5 * x)).astype(np.float32), (30, 1))  # the plane z = 4 + x / 2


def step(depths: tuple[np.ndarray, np.ndarray], truths: tuple[np.ndarray, np.ndarray], way: CameraPath,
         still: np.ndarray = EVERYWHERE) -> Steadiness:
    return steadiness(*(JudgedDepth(f, depths[f], truths[f], still) for f in (0, 1)), way)


def test_a_pixel_lands_where_the_lens_says() -> None:
    # Half a metre to the right before a wall at 4 m: 40 x .5 / 4 = 5 px to the left.
    landing = Landing.of(wall(4), path(0.5, 0, 0), 0, 1)
    assert (landing.x[10, 20], landing.y[10, 20], landing.z[10, 20]) == pytest.approx((15.5, 10.5, 4.0))
    assert (landing.z[:, :5] == 0).all() and (landing.z[:, 5:] > 0).all()


def test_true_depth_of_a_slanted_wall_is_steady() -> None:
    truth = slanted(), slanted(0.5)
    assert step(truth, truth, path(0.5, 0, 0)).tae < 1e-4  # OpenCV samples at 1/32 px


def test_one_frame_that_is_a_tenth_too_far_is_seen_from_both_sides() -> None:
    truth = wall(4), wall(4)
    found = step((wall(4), wall(4.4)), truth, path(0.5, 0, 0))
    assert found.tae == pytest.approx((0.4 / 4.4 + 0.4 / 4) / 2, rel=1e-5)  # as a share of the depth that is met
    assert found.opw == pytest.approx(0.4, rel=1e-5)


def test_going_forward_changes_true_depth_but_misaligns_nothing() -> None:
    truth = wall(4), wall(3.75)
    found = step(truth, truth, path(0, 0, 0.25))
    assert found.tae < 1e-6
    assert found.opw == pytest.approx(0.25, rel=1e-5)


def test_what_moves_is_hidden_or_has_no_depth_is_left_out() -> None:
    truth, way = (wall(4), wall(4)), path(0.5, 0, 0)
    worse = wall(4)
    worse[:, 20:] = 5
    left = EVERYWHERE.copy()
    left[:, 14:] = False  # nothing that lands in, or comes from, what is wrong
    assert step((wall(4), worse), truth, way).tae > 0.02
    assert step((wall(4), worse), truth, way, left).tae < 1e-6
    unknown = np.where(worse == 5, 0, worse).astype(np.float32)
    assert step((wall(4), unknown), truth, way).tae < 1e-6
    # A post that stands before the wall in one frame only hides it: the true depths say so.
    assert step((wall(4), worse), (wall(4), worse), way).tae < 1e-6


def test_steps_add_up_by_their_pixels() -> None:
    both = Steadiness(2.0, 10, 3.0, 10) + Steadiness(0.0, 30, 1.0, 10)
    assert (both.tae, both.opw) == (0.05, 0.2)
    assert np.isnan(Steadiness().tae)

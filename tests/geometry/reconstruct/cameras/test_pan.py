"""Rotations and lens of rendered turns against the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.solve import solve_cameras
from tests.geometry.reconstruct.box_room import BOXES, cast, lens, pan

WH = (320, 192)


@dataclass(frozen=True)
class Turning:
    """The box room from one place, every frame with a lens of its own."""

    cameras: tuple[Camera, ...]
    camera_from_world: np.ndarray
    hw = WH[::-1]
    rate = Fraction(25)

    @property
    def numbers(self):
        return range(len(self.cameras))

    def display(self, number, wh=None):
        large = self.cameras[number].scaled((480, 288))
        picture = cv2.resize(cast(large, self.camera_from_world[number], BOXES)[0], WH, interpolation=cv2.INTER_AREA)
        noise = np.random.default_rng([9, number]).normal(scale=1.0, size=picture.shape)
        return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)


class Kept:
    def __init__(self, clip):
        self.numbers, self.hw, self.rate = clip.numbers, clip.hw, clip.rate
        self._pictures = [clip.display(number) for number in clip.numbers]

    def display(self, number, wh=None):
        return self._pictures[number]


def solved(clip, tmp_path, **options):
    options = {"focal_px": None, "kind": "", **options}
    return solve_cameras(clip, frames=None, seed=0, workdir=tmp_path, report=lambda *a: None, **options)


def rotation_errors(solve, truth):
    """Degrees (N,) of the rotations since the first frame."""
    found, true = solve.cameras.camera_from_world, truth[list(solve.cameras.frames)]
    found, true = (poses @ rigid.inverse(poses[:1]) for poses in (found, true))
    return np.rad2deg(rigid.rotation_angle(found @ rigid.inverse(true)))


def up_error(solve, truth):
    up, true = solve.cameras.camera_from_world[0, :3, 1], truth[0, :3, 1]
    return np.rad2deg(np.arccos(np.clip(up @ true, -1, 1)))


POSES = pan(12, degrees=24)


@pytest.fixture(scope="module")
def turning():
    return Kept(Turning((lens(WH),) * 12, POSES))


@pytest.fixture(scope="module")
def pan_solve(turning, tmp_path_factory):
    return solved(turning, tmp_path_factory.mktemp("pan"))


def test_rotations_and_focal_length_match_the_truth(pan_solve):
    assert pan_solve.shot.kind == "pan"
    assert pan_solve.cameras.frames == tuple(range(12)) and pan_solve.unregistered == ()
    assert rotation_errors(pan_solve, POSES).max() < 0.1
    assert pan_solve.cameras.cameras[0].fx == pytest.approx(0.85 * 320, rel=0.02)
    assert len({camera.fx for camera in pan_solve.cameras.cameras}) == 1
    assert pan_solve.focal_known
    assert pan_solve.reprojection_px < 0.2


def test_the_world_is_measured_by_the_cameras_height(pan_solve):
    np.testing.assert_allclose(pan_solve.cameras.centres, np.tile([0, 1, 0], (12, 1)), atol=1e-9)
    assert pan_solve.ground.normal.tolist() == [0, 1, 0] and pan_solve.ground.offset == 0
    assert up_error(pan_solve, POSES) < 7.0  # no lines in a room of noise: cameras are held level
    assert not pan_solve.horizon_known and 'horizon' in pan_solve.advice
    assert pan_solve.depth_is_a_guess
    assert pan_solve.model_folder is None and len(pan_solve.points.xyz) == 0


def test_a_given_focal_length_and_horizon_are_held(turning, tmp_path):
    level = 96 - 0.85 * 320 * 0.1  # the camera looks down by a slope of .1
    solve = solved(turning, tmp_path, focal_px=272.0, horizon=(0.0, level, 320.0, level))
    assert {camera.fx for camera in solve.cameras.cameras} == {272.0}
    assert solve.focal_known and solve.horizon_known
    assert up_error(solve, POSES) < 0.05


def test_a_zoom_is_followed(tmp_path):
    zoom = tuple(lens(WH, ratio) for ratio in np.linspace(0.85, 1.1, 12))
    solve = solved(Kept(Turning(zoom, POSES)), tmp_path)
    assert solve.shot.kind == "pan"
    found = np.array([camera.fx for camera in solve.cameras.cameras])
    np.testing.assert_allclose(found, [camera.fx for camera in zoom], rtol=0.03)
    np.testing.assert_allclose(found / found[0], np.linspace(1, 1.1 / 0.85, 12), rtol=0.01)
    assert rotation_errors(solve, POSES).max() < 0.15


def test_a_bent_lens_is_unbent(tmp_path):
    bent = replace(lens(WH), distortion=(-0.12, 0.0, 0.0, 0.0, 0.0))
    solve = solved(Kept(Turning((bent,) * 12, POSES)), tmp_path)
    assert solve.shot.kind == "pan"
    assert solve.cameras.cameras[0].distortion[0] == pytest.approx(-0.12, abs=0.03)
    assert solve.cameras.cameras[0].fx == pytest.approx(272, rel=0.02)
    assert rotation_errors(solve, POSES).max() < 0.1

"""A camera that stands: one pose, up and focal length from lines or from the user."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.locked import known_up, up_from_horizon
from geometry.reconstruct.cameras.solve import solve_cameras
from geometry.reconstruct.cameras.vanishing import Axes
from geometry.reconstruct.errors import TooFewFrames
from geometry.reconstruct.scale import scale_from_camera_height

CAMERA = Camera(560, 560, 320, 192, (640, 384))
POSE = rigid.look_at([1.5, 2.6, 4.0], [-0.3, 0.3, 0.0])
UP = POSE[:3, :3] @ [0.0, 1.0, 0.0]


class Drawn:
    """A tiled floor and crates, drawn as flat faces, with noise; a disc wanders in front of them."""

    hw, numbers, rate = (384, 640), range(12), Fraction(25)

    def __init__(self, lines=True):
        picture = np.full((384, 640, 3), 200, np.uint8)
        rng = np.random.default_rng(3)
        if lines:
            for i in range(-6, 6):
                for k in range(-6, 6):
                    self._face(picture, [(i, 0, k), (i + 1, 0, k), (i + 1, 0, k + 1), (i, 0, k + 1)], rng)
            for x, z, high in ((-1.5, -1.2, 1.3), (0.6, -0.8, 0.9), (-0.4, 0.6, 0.6), (1.6, -2.0, 1.8)):
                a, b, c, d = (x, z), (x + 0.7, z), (x + 0.7, z + 0.7), (x, z + 0.7)
                for p, q in ((a, b), (d, a), (b, c), (c, d)):
                    self._face(picture, [(p[0], 0, p[1]), (q[0], 0, q[1]), (q[0], high, q[1]), (p[0], high, p[1])], rng)
                self._face(picture, [(p[0], high, p[1]) for p in (a, b, c, d)], rng)
        else:
            for _ in range(150):
                centre = tuple(int(v) for v in rng.uniform([0, 0], [640, 384]))
                cv2.circle(picture, centre, int(rng.uniform(4, 14)), rng.integers(0, 255, 3).tolist(), -1)
        self.picture = picture

    @staticmethod
    def _face(picture, corners, rng):
        px = CAMERA.px_from_cam(rigid.transform(POSE, np.array(corners, float)))
        if np.isfinite(px).all() and np.abs(px).max() < 3000:
            shifted = np.round((px - 0.5) * 16).astype(np.int32)
            cv2.fillPoly(picture, [shifted], rng.integers(40, 230, 3).tolist(), cv2.LINE_AA, 4)

    def display(self, number, wh=None):
        picture = self.picture.copy()
        cv2.circle(picture, (50 * number, 200), 60, (30, 90, 160), -1)
        noise = np.random.default_rng([4, number]).normal(scale=1.0, size=picture.shape)
        return np.clip(picture + noise, 0, 255).astype(np.uint8)


def solved(clip, **options):
    return solve_cameras(clip, seed=0, report=lambda *a: None,
                         **{"frames": None, "focal_px": None, "workdir": None, **options})


def degrees(solve):
    return np.rad2deg(np.arccos(np.clip(solve.cameras.camera_from_world[0, :3, 1] @ UP, -1, 1)))


def test_lines_tell_focal_length_and_up():
    solve = solved(Drawn())
    assert solve.shot.kind == "locked"
    assert solve.cameras.frames == tuple(range(12))
    assert solve.focal_known and solve.horizon_known and not solve.advice
    assert solve.cameras.cameras[0].fx == pytest.approx(560, rel=0.06)
    assert degrees(solve) < 1.5
    np.testing.assert_allclose(solve.cameras.centres, np.tile([0, 1, 0], (12, 1)), atol=1e-9)
    assert np.ptp(solve.cameras.camera_from_world, axis=0).max() == 0
    assert scale_from_camera_height(solve.cameras, solve.ground, 2.6) == pytest.approx(2.6)
    assert solve.cameras.view_directions[0, 0] == pytest.approx(0, abs=1e-9)  # it looks along -Z
    assert solve.cameras.view_directions[0, 2] < 0


def test_without_lines_a_usual_lens_and_a_level_camera_are_taken_and_said():
    solve = solved(Drawn(lines=False))
    assert solve.shot.kind == "locked"
    assert not solve.focal_known and not solve.horizon_known
    assert "horizon" in solve.advice
    assert solve.cameras.cameras[0].fx == pytest.approx(1.1 * 640)
    np.testing.assert_allclose(solve.cameras.camera_from_world[0, :3, 1], [0, -1, 0], atol=1e-9)


def horizon_of_the_truth():
    """Where two far points of the ground plane lie, in pixels."""
    directions = np.array([[-0.4, 0.0, -1.0], [0.4, 0.0, -1.0]])
    far = CAMERA.px_from_cam(directions @ POSE[:3, :3].T)
    return tuple(far.ravel())


def test_a_given_horizon_fixes_pitch_and_roll():
    np.testing.assert_allclose(up_from_horizon(CAMERA, horizon_of_the_truth()), UP, atol=1e-9)
    solve = solved(Drawn(lines=False), focal_px=560.0, horizon=horizon_of_the_truth())
    assert solve.horizon_known and solve.focal_known
    assert degrees(solve) < 1e-6


def test_a_still_can_be_solved_as_locked_only_when_asked():
    assert len(solved(Drawn(), frames=[0], kind="locked").cameras) == 1
    with pytest.raises(TooFewFrames, match="1 frame"):
        solved(Drawn(), frames=[0])
    with pytest.raises(ValueError, match="kind: expected one of locked, pan, parallax"):
        solved(Drawn(), kind="dolly")


@pytest.mark.parametrize(("pitch", "sigma", "believed"), [(-12.0, 3.0, True), (12.0, 3.0, False), (-12.0, 8.0, False)])
def test_unsure_lines_are_believed_where_the_lower_picture_stays_on_the_ground(pitch, sigma, believed):
    angle = np.deg2rad(pitch)
    up = np.array([0.0, -np.cos(angle), np.sin(angle)])
    square = np.stack([up, [1.0, 0, 0], np.cross(up, [1.0, 0, 0])])
    axes = Axes(square, (3, 9, 3), 0.8, 560.0, 0.3, np.deg2rad(sigma), 640)
    level = np.array([0.0, -1.0, 0.0])
    found, known = known_up(axes, CAMERA, np.eye(3), level)
    assert not known
    np.testing.assert_allclose(found, up if believed else level)

"""Bundle adjustment: derivatives by differences, truth from a disturbed start."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.adjust import Bundle, Freedom, Views, _Problem, adjust, project, turned

LENS = Camera(300, 300, 160, 96, (320, 192), (0.08, -0.05, 0.0, 0.0, 0.02))


def scene(travel: bool, zoom: bool = False) -> tuple[Bundle, Views]:
    rng = np.random.default_rng(4)
    angle = np.linspace(-0.2, 0.2, 8)
    rotation = Rotation.from_euler("yxz", np.stack([angle, 0.3 * angle, 0.1 * angle], 1)).as_matrix()
    points = rng.uniform([-2, -1, 4], [2, 1, 8], (120, 3))
    focal = np.full(8, 300.0) * (np.linspace(1, 1.2, 8) if zoom else 1)
    translation = np.stack([angle * 3, 0.2 * angle, angle**2], 1) if travel else None
    if not travel:
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    bundle = Bundle(rotation, translation, points, focal, np.array(LENS.distortion)[[0, 1, 4]])
    frame, point = (a.ravel() for a in np.meshgrid(np.arange(8), np.arange(120), indexing="ij"))
    blank = Views(frame, point, np.zeros((len(frame), 2)))
    return bundle, replace(blank, xy=project(bundle, blank))


def disturbed(bundle: Bundle, focal: float = 1.1) -> Bundle:
    rng = np.random.default_rng(5)
    push = rng.normal(scale=0.01, size=(8, 3))
    push[0] = 0
    points = bundle.points + rng.normal(scale=0.02, size=bundle.points.shape)
    if bundle.translation is None:
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    moved = None if bundle.translation is None else bundle.translation + push
    return Bundle(turned(bundle.rotation, push), moved, points, bundle.focal * focal, np.zeros(3))


def test_projection_is_the_cameras():
    bundle, views = scene(travel=True)
    pose = rigid.rigid(bundle.rotation, bundle.translation)[5]
    expected = LENS.px_from_cam(rigid.transform(pose, bundle.points)) - (160, 96)
    np.testing.assert_allclose(views.xy[views.frame == 5], expected, atol=1e-9)


@pytest.mark.parametrize("travel", [True, False])
@pytest.mark.parametrize("freedom", [Freedom(distortion=3), Freedom(zoom=True)])
def test_derivatives_match_differences(travel, freedom):
    bundle, views = scene(travel)
    problem = _Problem(views, freedom, 1.0, bundle)
    by_frame, by_lens, by_point = problem._jacobians(bundle)
    width, lens, p, step = by_frame.shape[2], by_lens.shape[2], by_point.shape[2], 1e-6
    at = project(bundle, views)
    for k in range(width):
        change = np.zeros(8 * width + lens)
        change[k : 8 * width : width] = step
        moved = project(problem.stepped(bundle, change, np.zeros((120, p))), views)
        np.testing.assert_allclose((moved - at) / step, by_frame[..., k], atol=2e-2, rtol=1e-4)
    for k in range(lens):
        change = np.zeros(8 * width + lens)
        change[8 * width + k] = step
        moved = project(problem.stepped(bundle, change, np.zeros((120, p))), views)
        np.testing.assert_allclose((moved - at) / step, by_lens[..., k], atol=2e-2, rtol=1e-4)
    for k in range(p):
        moved = project(problem.stepped(bundle, np.zeros(8 * width + lens), step * np.eye(p)[[k] * 120]), views)
        np.testing.assert_allclose((moved - at) / step, by_point[..., k], atol=2e-2, rtol=1e-4)


@pytest.mark.parametrize("travel", [True, False])
def test_truth_is_found_again_among_outliers(travel):
    truth, views = scene(travel)
    rng = np.random.default_rng(6)
    noisy = views.xy + rng.normal(scale=0.1, size=views.xy.shape)
    noisy[::17] += rng.normal(scale=30, size=noisy[::17].shape)
    found = adjust(disturbed(truth), replace(views, xy=noisy), Freedom(distortion=3), loss_px=0.5, rounds=60)
    assert found.focal_sigma < 0.05
    assert abs(found.bundle.focal[0] / 300 - 1) < 2 * found.focal_sigma
    assert np.median(found.error_px) < 0.2
    assert found.bundle.distortion[0] == pytest.approx(0.08, abs=0.03)
    relative = np.swapaxes(found.bundle.rotation, 1, 2)[0] @ found.bundle.rotation[7]
    true = np.swapaxes(truth.rotation, 1, 2)[0] @ truth.rotation[7]
    assert np.rad2deg(Rotation.from_matrix(relative @ true.T).magnitude()) < 0.7


def test_a_zoom_is_followed():
    truth, views = scene(travel=False, zoom=True)
    start = replace(disturbed(truth, 1.0), focal=np.full(8, 330.0), distortion=truth.distortion)
    found = adjust(start, views, Freedom(zoom=True), rounds=60)
    np.testing.assert_allclose(found.bundle.focal / found.bundle.focal[0], truth.focal / 300, rtol=2e-3)


def test_focal_sigma_tells_a_long_pan_from_a_short_one():
    truth, views = scene(travel=False)
    noisy = replace(views, xy=views.xy + np.random.default_rng(7).normal(scale=0.2, size=views.xy.shape))
    few = noisy.frame < 2
    short = Views(noisy.frame[few], noisy.point[few], noisy.xy[few])
    two = replace(truth, rotation=truth.rotation[:2], focal=truth.focal[:2])
    long_pan = adjust(truth, noisy, Freedom()).focal_sigma
    assert long_pan < 0.05
    assert adjust(two, short, Freedom()).focal_sigma > 3 * long_pan


def test_whitening_lets_a_point_slide_along_its_line():
    truth, views = scene(travel=True)
    slid = replace(views, xy=views.xy + np.random.default_rng(8).normal(scale=3, size=(len(views.xy), 1)) * [1, 0],
                   whitening=np.tile(np.diag([0.01, 1.0]), (len(views.xy), 1, 1)))
    error = adjust(truth, slid, Freedom(focal=False)).bundle.points - truth.points
    plain = adjust(truth, replace(slid, whitening=None), Freedom(focal=False)).bundle.points - truth.points
    assert np.median(np.abs(error[:, 1])) < 0.5 * np.median(np.abs(plain[:, 1]))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="point: expected shape"):
        Views(np.zeros(3, int), np.zeros(2, int), np.zeros((3, 2)))

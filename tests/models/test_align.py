"""Depth predictions brought to a scene's points: known scales and shifts come back, lies are noticed."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.camera import Camera, pixel_centres
from geometry.scene import SparsePoints
from models.base import DepthPrediction
from models.depth import align
from models.depth.align import Alignment, SeenPoints
from models.errors import AlignmentFailed

WH = (96, 64)
SEED = (1, 0)


def scene_depth() -> np.ndarray:
    """(H, W) z-depth: a floor that comes near, with a box on it."""
    px = pixel_centres(WH)
    z = 8 - 5 * px[..., 1] / WH[1]
    z[20:40, 30:60] = 2.5
    return z


def points_on(z: np.ndarray, count: int = 200, outliers: float = 0.0, noise: float = 0.0) -> SeenPoints:
    rng = np.random.default_rng(3)
    px = rng.uniform(0.5, np.array(WH) - 0.5, (count, 2))
    # No point on the edges of the box: interpolation there is neither box nor floor.
    px = px[(np.abs(px[:, 0] - 45) - 15 > 1.5) | (np.abs(px[:, 0] - 45) - 15 < -1.5)]
    px = px[(np.abs(px[:, 1] - 30) - 10 > 1.5) | (np.abs(px[:, 1] - 30) - 10 < -1.5)]
    depth = 1 / align._sampled(1 / z, px) * np.exp(noise * rng.standard_normal(len(px)))
    wrong = rng.random(len(px)) < outliers
    return SeenPoints(px, np.where(wrong, rng.uniform(0.5, 20, len(px)), depth))


def relative(z: np.ndarray, scale: float = 40.0, shift: float = 2.0) -> DepthPrediction:
    """A prediction p of which q = (p - shift) / scale."""
    return DepthPrediction((scale / z + shift).astype(np.float32), metric=False)


def test_scale_and_shift_come_back() -> None:
    z = scene_depth()
    found = align.fit(relative(z), points_on(z), seed=SEED)
    assert found.scale == pytest.approx(1 / 40, rel=1e-4)
    assert found.shift == pytest.approx(-2 / 40, abs=1e-5)
    assert found.inliers == 1 and found.error < 1e-3


def test_scale_and_shift_come_back_among_thirty_percent_of_lies() -> None:
    z = scene_depth()
    found = align.fit(relative(z), points_on(z, outliers=0.3, noise=0.01), seed=SEED)
    assert found.scale == pytest.approx(1 / 40, rel=0.01)
    assert found.shift == pytest.approx(-2 / 40, abs=1e-3)
    assert 0.6 < found.inliers < 0.8
    depth = align.apply(relative(z), found, points_on(z, outliers=0.3, noise=0.01)).depth
    assert np.median(np.abs(depth - z) / z) < 0.01


def test_a_metric_prediction_has_a_scale_alone() -> None:
    z = scene_depth()
    metres = DepthPrediction((1 / (3 * z)).astype(np.float32), metric=True)
    found = align.fit(metres, points_on(z, outliers=0.3), seed=SEED)
    assert found.scale == pytest.approx(3, rel=1e-3) and found.shift == 0
    np.testing.assert_allclose(align.apply(metres, found, points_on(z)).depth, z, rtol=2e-3)


def test_by_hand() -> None:
    """q = 0.5 p + 0.1 at three heights: 0.6 -> 1/0.4, 1.8 -> 1."""
    p = np.array([[0.6, 1.2, 1.8]] * 2, np.float32)
    none = SeenPoints(np.zeros((0, 2)), np.zeros(0))
    depth = align.apply(DepthPrediction(p, False), Alignment(0.5, 0.1, 0.01, 1.0, 0.5, 0.8), none).depth
    np.testing.assert_allclose(depth[0], [2.5, 1 / 0.7, 1.0], rtol=1e-6)


def test_what_bends_is_straightened_near_points() -> None:
    """A prediction 15 % too deep on one side: alignment cannot mend it, the correction takes most of it off."""
    z = scene_depth()
    bent = relative(z * (1 + 0.15 * pixel_centres(WH)[..., 0] / WH[0]))
    points = points_on(z, count=400)
    found = align.fit(bent, points, seed=SEED)
    plain, mended = (align.apply(bent, found, points, correct=correct).depth for correct in (False, True))
    error = [float(np.mean(np.abs(depth - z) / z)) for depth in (plain, mended)]
    assert error[0] > 0.03 and error[1] < 0.5 * error[0]


def test_confidence_is_low_where_the_prediction_lies() -> None:
    """The right half of the prediction is noise."""
    z = scene_depth()
    lying = z.copy()
    lying[:, 64:] *= np.exp(0.25 * np.random.default_rng(5).standard_normal((64, 32)))
    points = points_on(z, count=500)
    found = align.apply(relative(lying), align.fit(relative(lying), points, seed=SEED), points)
    wrong = np.abs(found.depth - z)[:, 72:] > 0.1 * z[:, 72:]
    assert np.median(found.confidence[:, :56]) > 0.8
    assert (found.confidence[:, 72:][wrong] < 0.5).mean() > 0.9


def test_depth_is_positive_everywhere_and_sky_is_not_believed() -> None:
    z = scene_depth()
    p = relative(z).inverse_depth.copy()
    p[:6] = 0.0  # infinitely far: below what the shift would take off
    points = points_on(z, count=400)
    points = SeenPoints(points.px[points.px[:, 1] > 8], points.z[points.px[:, 1] > 8])
    found = align.apply(DepthPrediction(p, False), align.fit(DepthPrediction(p, False), points, seed=SEED), points)
    assert np.isfinite(found.depth).all() and (found.depth > 0).all()
    assert (found.depth[:6] > 2 * z.max()).all() and (found.confidence[:5] == 0).all()


def test_no_farther_and_no_nearer_than_the_points_suggest() -> None:
    """Points between 1 and 2 away: at most 3 x 2, at least 1/3; what is beyond has no confidence."""
    p = np.array([[-1.0, 0.0, 0.7, 50.0]] * 2, np.float32)
    none = SeenPoints(np.zeros((0, 2)), np.zeros(0))
    found = align.apply(DepthPrediction(p, False), Alignment(1.0, 0.0, 0.01, 1.0, 0.5, 1.0), none)
    np.testing.assert_allclose(found.depth[0], [6, 6, 1 / 0.7, 1 / 3], rtol=1e-6)
    assert found.confidence[0].tolist() == pytest.approx([0, 0, 0.8, 0])


def test_the_same_seed_gives_the_same_alignment() -> None:
    z = scene_depth()
    points = points_on(z, outliers=0.3, noise=0.02)
    assert align.fit(relative(z), points, seed=SEED) == align.fit(relative(z), points, seed=SEED)


def test_too_few_points() -> None:
    z = scene_depth()
    points = points_on(z)
    with pytest.raises(AlignmentFailed, match="at least 12 points to align to, got 5"):
        align.fit(relative(z), SeenPoints(points.px[:5], points.z[:5]), seed=SEED)


def test_a_prediction_of_something_else() -> None:
    z = scene_depth()
    with pytest.raises(AlignmentFailed, match="does not agree"):
        align.fit(DepthPrediction((z / 8).astype(np.float32), False), points_on(z), seed=SEED)  # depth, not its inverse
    flat = DepthPrediction(np.full(z.shape, 0.5, np.float32), False)
    with pytest.raises(AlignmentFailed, match="does not agree"):
        align.fit(flat, points_on(z), seed=SEED)


def test_only_points_that_the_frame_sees() -> None:
    camera = Camera(50, 50, 48, 32, WH)
    xyz = np.array([[0, 0, 4.0], [0, 0, -4], [9, 0, 4], [0, 1, 4], [0, 2, 4], [np.nan, 0, 4]])
    error_px = np.array([0.1, 0.1, 0.1, 9.0, 0.1, 0.1])
    seen = np.array([[0, 9], [0, 9], [0, 9], [0, 9], [5, 9], [0, 9]])
    points = SparsePoints(xyz, error_px, np.full(6, 3), seen)
    early, late = (align.seen_points(camera, np.eye(4), points, frame) for frame in (3, 6))
    np.testing.assert_allclose(early.px, [[48, 32]])
    np.testing.assert_allclose(late.px, [[48, 32], [48, 57]])
    np.testing.assert_allclose(late.z, [4, 4])


def test_a_lens_that_folds_brings_no_points_in() -> None:
    """Strong barrel distortion maps a direction far outside back onto the picture."""
    camera = Camera(50, 50, 48, 32, WH, (-0.3, 0.0, 0.0, 0.0, 0.0))
    x = np.linspace(3.0, 6.0, 200)
    xyz = np.stack([x, np.zeros(200), np.full(200, 2.0)], -1)
    assert ((camera.px_from_cam(xyz) >= 0).all(1) & (camera.px_from_cam(xyz) < WH).all(1)).any()
    points = SparsePoints(xyz, np.zeros(200), np.full(200, 3))
    assert len(align.seen_points(camera, np.eye(4), points, 0).z) == 0

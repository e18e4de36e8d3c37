"""Every figure against a case that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import metrics
from examples.solids import turned


def square(left: int, top: int, side: int, hw: tuple[int, int] = (40, 50)) -> np.ndarray:
    mask = np.zeros(hw, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_iou_of_squares_that_share_half() -> None:
    assert metrics.iou(square(10, 10, 10), square(15, 10, 10)) == pytest.approx(50 / 150)


def test_iou_of_empty_masks_is_one_and_of_one_empty_zero() -> None:
    empty = np.zeros((40, 50), bool)
    assert metrics.iou(empty, empty) == 1.0
    assert metrics.iou(empty, square(0, 0, 5)) == 0.0


def test_boundary_f_jumps_where_the_shift_exceeds_the_tolerance() -> None:
    truth, shifted = square(10, 10, 12), square(12, 10, 12)
    assert metrics.boundary_f(truth, truth, 0) == 1.0
    assert metrics.boundary_f(shifted, truth, 2) == 1.0
    # At 1 px the left and right sides (10 of 44 contour pixels each, corners apart) are out.
    assert 0.45 < metrics.boundary_f(shifted, truth, 1) < 0.65
    assert metrics.boundary_f(np.zeros_like(truth), truth, 2) == 0.0


def test_boundary_does_not_run_along_the_picture_border() -> None:
    left_half = np.zeros((40, 50), bool)
    left_half[:, :20] = True
    assert metrics._contour(left_half).sum() == 40


def test_drift_takes_the_placing_frames_offset_away() -> None:
    truth = np.zeros((3, 2, 2))
    px = truth + np.array([5.0, -3.0])
    px[2, 1] += [3.0, 4.0]
    np.testing.assert_allclose(metrics.drift_px(px, truth, 0), [[0.0, 0.0], [0.0, 0.0], [0.0, 5.0]])


def test_centroid_of_one_pixel_is_its_centre() -> None:
    mask = np.zeros((6, 8), np.float32)
    mask[2, 5] = 0.4
    np.testing.assert_allclose(metrics.centroid_px(mask), [5.5, 2.5])
    assert np.isnan(metrics.centroid_px(mask * 0)).all()


def test_psnr_of_a_tenth_off_is_20_db_and_only_in_the_region() -> None:
    truth = np.full((4, 4, 3), 0.5)
    picture = truth.copy()
    picture[:2] += 0.1
    region = np.zeros((4, 4), bool)
    region[:2] = True
    assert metrics.psnr(picture, truth, region) == pytest.approx(20.0)
    assert metrics.psnr(picture, truth) == pytest.approx(20 + 10 * np.log10(2))
    assert metrics.psnr(truth, truth) == np.inf


def test_changed_outside_counts_pixels_not_channels() -> None:
    source = np.zeros((3, 3, 3), np.uint8)
    result = source.copy()
    result[0, 0] = 1
    result[1, 1, 2] = 1
    effect = np.zeros((3, 3), np.uint8)
    assert metrics.changed_outside(source, result, effect) == 2
    effect[1, 1] = 255
    assert metrics.changed_outside(source, result, effect) == 1


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_contact_gap_is_the_shift_of_the_lower_edge(shift: int) -> None:
    assert metrics.contact_gap_px(square(10, 10 + shift, 12), square(10, 10, 12)) == pytest.approx(abs(shift))


def test_contact_gap_is_subpixel_for_soft_coverage() -> None:
    truth = square(10, 10, 12).astype(np.float32)
    lower = truth.copy()
    lower[22, 10:22] = 0.25  # the edge moves from the middle between 1 and 0 to 2/3 of the way
    assert metrics.contact_gap_px(lower, truth) == pytest.approx(0.5 / 0.75 - 0.5)


def test_contact_gap_ignores_parts_that_do_not_touch_the_ground() -> None:
    truth = square(10, 10, 12) | square(30, 2, 6)
    ours = square(10, 10, 12) | square(30, 5, 6)
    assert metrics.contact_gap_px(ours, truth) == 0.0


def test_grain_sigma_sees_noise_and_not_the_ramp_under_it() -> None:
    ramp = np.linspace(0, 1, 400)[None] * np.linspace(0, 1, 300)[:, None]
    noisy = ramp + np.random.default_rng(1).normal(0, 0.02, ramp.shape)
    assert metrics.grain_sigma(ramp) < 1e-6
    assert metrics.grain_sigma(noisy) == pytest.approx(0.02, rel=0.03)


def test_pose_error_ignores_the_gauge_and_sees_one_wrong_camera() -> None:
    t = np.linspace(0, 1, 11)
    truth = np.stack([t, 0.2 * np.sin(3 * t), 0.1 * t**2], 1)
    turn = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0.0]])
    solved = (truth @ turn.T) * 7 + [1, 2, 3]
    error = metrics.pose_error(solved, truth)
    assert error.ate < 1e-12
    assert error.scale == pytest.approx(1 / 7)
    solved[5] += [0.7, 0, 0]  # 0.1 in true units
    assert 0.02 < metrics.pose_error(solved, truth).ate < 0.1 / np.sqrt(11) + 1e-6


def test_depth_error_is_up_to_scale_and_skips_unknown() -> None:
    truth = np.array([[1.0, 2.0, 4.0, 5.0, 0.0]])
    depth = np.array([[3.0, 6.0, 12.0, 0.0, 9.0]])
    error = metrics.depth_error(depth, truth)
    assert (error.abs_rel, error.delta, error.coverage) == (0.0, 1.0, 0.75)
    depth[0, 0] = 6.0  # twice too far: 100 % off in one of three
    error = metrics.depth_error(depth, truth)
    assert error.abs_rel == pytest.approx(1 / 3)
    assert error.delta == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="known in both"):
        metrics.depth_error(depth * 0, truth)


def yaw(deg: float) -> np.ndarray:
    return turned(np.deg2rad(deg))


def test_rotation_error_ignores_the_worlds_direction_and_counts_a_step_twice() -> None:
    truth = np.stack([yaw(a) for a in (0, 10, 20, 30, 40)])
    solved = truth @ turned(0.7, axis="x")  # another world
    error = metrics.rotation_error(solved, truth)
    assert max(error.step_deg, error.worst_deg) < 1e-6
    solved[2] = yaw(2) @ solved[2]
    error = metrics.rotation_error(solved, truth)
    assert error.step_deg == pytest.approx(np.sqrt((2**2 + 2**2) / 4))
    assert error.worst_deg == pytest.approx(2 - 2 / 5, abs=1e-3)  # the best common turn takes its fifth
    with pytest.raises(ValueError, match="at least 2 poses, got 1"):
        metrics.rotation_error(solved[:1], truth[:1])


def test_confident_depth_leaves_out_the_least_sure_and_punishes_what_is_missing() -> None:
    truth = np.full(10, 2.0)
    depth, confidence = truth * 7, np.linspace(0.1, 1, 10)
    depth[0] *= 3
    assert metrics.confident_depth_error(depth, confidence, truth, 0.9) == metrics.DepthError(0.0, 1.0, 1.0)
    all_of_it = metrics.confident_depth_error(depth, confidence, truth, 1.0)
    assert all_of_it == metrics.DepthError(pytest.approx(0.2), pytest.approx(0.9), 1.0)
    depth[[3, 4]] = 0  # one of them is left out, whatever it says of itself; the other is 100 % wrong
    confidence[0] = 1.0
    missing = metrics.confident_depth_error(depth / [3, *[1] * 9], confidence, truth, 0.9)
    assert missing == metrics.DepthError(pytest.approx(0.2), pytest.approx(0.8), pytest.approx(0.8))
    truth[9] = 0  # nobody knows
    assert metrics.confident_depth_error(depth, confidence, truth, 0.9).coverage == pytest.approx(7 / 9)


def test_equally_sure_pixels_are_kept_together() -> None:
    truth = np.full(10, 2.0)
    depth = np.array([2, 2, 2, 2, 2, 2, 2, 4, 4, 4.0])
    sure, unsure = np.ones(10), np.array([1, 1, 1, 1, 1, 1, 1, 0.3, 0.3, 0.3])
    assert metrics.confident_depth_error(depth, sure, truth, 0.9).abs_rel == pytest.approx(0.3)
    assert metrics.confident_depth_error(depth, unsure, truth, 0.9).abs_rel == pytest.approx(0.3)
    assert metrics.confident_depth_error(depth, unsure, truth, 0.7).abs_rel == 0


def test_scale_is_a_median_of_what_both_know() -> None:
    assert metrics.scale_to(np.array([1, 1, 1, 0, 5.0]), np.array([2, 3, 9, 4, 0.0])) == 3.0
    with pytest.raises(ValueError, match="known in both"):
        metrics.scale_to(np.zeros(3), np.ones(3))


def test_doubt_is_the_share_of_wrong_depth_that_is_marked() -> None:
    truth = np.full(8, 10.0)
    depth = np.array([5.0, 5.4, 4.6, 6, 6, 4, 4, 0])  # after a scale of 2: right, right, right, four wrong, unknown
    confidence = np.array([0.9, 0.9, 0.1, 0.4, 0.49, 0.5, 0.1, 0.0])
    doubt = metrics.depth_doubt(depth, confidence, truth, 2.0)
    assert doubt == metrics.DepthDoubt(pytest.approx(4 / 7), 0.75, pytest.approx(2 / 3))
    assert np.isnan(metrics.depth_doubt(truth, confidence, truth, 1.0).wrong_doubted)


def test_depth_edges_mark_the_nearer_side_of_a_jump() -> None:
    depth = np.full((4, 6), 3.0)
    depth[:, :2] = 2.0
    depth[0, 5] = 0.0  # unknown: no edge
    depth[3, 4] = 3.2  # 7 %: none either
    expected = np.zeros((4, 6), bool)
    expected[:, 1] = True
    np.testing.assert_array_equal(metrics.depth_edges(depth), expected)
    np.testing.assert_array_equal(metrics.depth_edges(depth.T), expected.T)


def test_edges_are_found_within_two_pixels() -> None:
    truth = np.full((10, 30), 3.0)
    truth[:, :10] = 2.0  # the edge lies in column 9
    near, far, both = truth.copy(), truth.copy(), truth.copy()
    near[:, 10:12] = 2.0  # two columns further right
    far[:, 10:13] = 2.0
    both[:, 20:] = 5.0  # and one that is not there
    assert metrics.edge_counts(near, truth, 2) == metrics.EdgeCounts(10, 10, 10, 10)
    assert metrics.edge_counts(far, truth, 2) == metrics.EdgeCounts(10, 0, 10, 0)
    counts = metrics.edge_counts(both, truth, 2)
    assert counts == metrics.EdgeCounts(10, 10, 20, 10)
    assert (counts.recall, counts.f) == (1.0, pytest.approx(2 / 3))
    assert (counts + counts).true == 20
    smooth = metrics.edge_counts(np.full((10, 30), 2.0), truth, 2)
    assert (smooth.recall, smooth.f) == (0.0, 0.0)
    assert metrics.edge_counts(both, np.where(truth == 3, 0, truth), 2).ours == 10  # where the truth knows

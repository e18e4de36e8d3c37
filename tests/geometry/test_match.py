"""Grain, sharpness, range and shutter against pictures whose truth is known."""

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from geometry import match


def _grainy(width_px, seed=1, hw=(360, 480)):
    """Plate frames with textured and flat parts: (frames, true sigma (H, W, 3), clean picture)."""
    rng = np.random.default_rng(seed)
    h, w = hw
    y, x = np.mgrid[0:h, 0:w] / w
    clean = np.dstack([0.15 + 0.7 * x, 0.2 + 0.5 * y, 0.7 - 0.5 * x])
    texture = gaussian_filter(rng.standard_normal((h, w)), 1.5)
    clean += np.where(np.hypot(x - 0.5, y - 0.35) < 0.2, 0.1 * texture / texture.std(), 0)[..., None]
    clean = clean.clip(0, 1)
    sigma = np.array([0.006, 0.004, 0.010]) + np.array([0.012, 0.010, 0.010]) * np.sqrt(clean)

    def noise():
        field = rng.standard_normal((h, w, 3))
        if width_px:
            field = gaussian_filter(field, (width_px, width_px, 0))
        return field / field.std((0, 1))

    frames = [np.round((clean + sigma * noise()).clip(0, 1) * 255) / 255 for _ in range(2)]
    return frames, sigma, clean


@pytest.mark.parametrize("width_px", [0.0, 0.5, 0.9])
def test_regrained_render_has_the_plates_sigma_within_10_percent(width_px):
    frames, sigma, clean = _grainy(width_px)
    model = match.measure_grain([tuple(frames)])
    flat = np.full((300, 300, 3), 0.45, np.float32)
    grained = match.add_grain(flat, np.ones((300, 300)), model, np.random.default_rng(5))
    # The truth at this brightness, per channel.
    truth = [sigma[..., c][np.abs(clean[..., c] - 0.45) < 0.02].mean() for c in range(3)]
    np.testing.assert_allclose((grained - flat).std((0, 1)), truth, rtol=0.10)


def test_grain_curve_follows_brightness():
    frames, sigma, clean = _grainy(0.0)
    got = match.measure_grain([tuple(frames)]).sigma_at(clean)
    for dark, bright in ((0.2, 0.35), (0.6, 0.8)):
        part = (clean[..., 0] > dark) & (clean[..., 0] < bright)
        assert got[part, 0].mean() == pytest.approx(sigma[part, 0].mean(), rel=0.07)


def test_grain_is_as_coarse_as_the_plates():
    frames, _, _ = _grainy(0.8)
    field = match.grain_field(match.measure_grain([tuple(frames)]), (256, 256), np.random.default_rng(0))
    np.testing.assert_allclose(field.std((0, 1)), 1, rtol=0.03)
    neighbour = (field[:, 1:] * field[:, :-1]).mean((0, 1)) / (field**2).mean((0, 1))
    np.testing.assert_allclose(neighbour, np.exp(-1 / (4 * 0.8**2)), atol=0.06)  # gaussian blur of white noise


def test_colour_channels_of_grain_are_correlated_as_measured():
    rng = np.random.default_rng(2)
    shared = rng.standard_normal((240, 320, 1))
    frame = 0.5 + 0.02 * (np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.standard_normal((240, 320, 3)))
    clean = np.full_like(frame, 0.5)
    field = match.grain_field(match.measure_grain([(frame, clean)]), (200, 200), rng).reshape(-1, 3)
    np.testing.assert_allclose(np.corrcoef(field.T)[0, 1], 0.8, atol=0.05)


def test_grain_touches_only_where_asked_and_repeats_with_its_seed():
    frames, _, _ = _grainy(0.0)
    model = match.measure_grain([tuple(frames)])
    weight = np.zeros((40, 60))
    weight[10:20, 10:20] = 1
    picture = np.full((40, 60, 3), 0.5, np.float32)
    first = match.add_grain(picture, weight, model, np.random.default_rng([7, 1]))
    again = match.add_grain(picture, weight, model, np.random.default_rng([7, 1]))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[weight == 0], picture[weight == 0])
    assert (first[weight == 1] != picture[weight == 1]).mean() > 0.99


def test_a_clean_plate_has_no_grain():
    y, x = np.mgrid[0:120, 0:160] / 160
    picture = np.dstack([x, y, 1 - x]) * 0.8 + 0.1
    model = match.measure_grain([(picture, picture)])
    assert model.sigma.max() < 1e-3


@pytest.mark.parametrize("sigma", [0.0, 0.015])
def test_texture_is_no_grain(sigma):
    rng = np.random.default_rng(4)
    weave = 0.5 + 0.04 * gaussian_filter(rng.standard_normal((240, 320, 3)), (0.4, 3.0, 0)) / 0.3
    a, b = (weave + sigma * rng.standard_normal(weave.shape) for _ in range(2))
    got = match.measure_grain([(a, b)]).sigma_at(np.full((1, 1, 3), 0.5))
    np.testing.assert_allclose(got, sigma, rtol=0.1, atol=1e-4)


def test_object_layer_brings_the_composite_to_the_plates_grain_even_at_half_coverage():
    rng = np.random.default_rng(0)
    model = match.GrainModel(np.linspace(0, 1, 12), np.full((12, 3), 0.02), match.no_grain().kernel, np.eye(3))
    alpha = np.zeros((200, 300), np.float32)
    alpha[:, 100:200], alpha[:, 200:] = 0.5, 1.0
    beauty = np.full((200, 300, 3), 0.5, np.float32) * alpha[..., None]
    grained = match.grain_object(
        beauty, alpha, np.ones_like(alpha), model, rng, to_display=lambda x: x, to_linear=lambda x: x
    )
    np.testing.assert_array_equal(grained[:, :100], 0)
    plate = 0.5 + 0.02 * rng.standard_normal((200, 300, 3))
    mixed = plate * (1 - alpha[..., None]) + grained
    for part in (slice(0, 100), slice(100, 200), slice(200, 300)):
        assert mixed[:, part].std() == pytest.approx(0.02, rel=0.03)
        assert mixed[:, part].mean() == pytest.approx(0.5, abs=1e-3)


def _edges(sigma_px, seed=0):
    """Rectangles blurred by a lens and averaged over pixels, supersampled 8 times; with grain."""
    rng, scale = np.random.default_rng(seed), 8
    large = np.full((160 * scale, 240 * scale), 0.3, np.float32)
    for _ in range(14):
        x, y = rng.integers(0, large.shape[1]), rng.integers(0, large.shape[0])
        w, h = rng.integers(200, 700, 2)
        cv2.rectangle(large, (int(x), int(y)), (int(x + w), int(y + h)), float(rng.uniform(0.05, 0.95)), -1)
    blurred = cv2.GaussianBlur(large, (0, 0), sigma_px * scale) if sigma_px else large
    small = cv2.resize(blurred, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    return small[..., None] + 0.008 * rng.standard_normal((*small.shape, 3)).astype(np.float32)


@pytest.mark.parametrize("sigma_px", [0.6, 1.0, 1.8])
def test_blur_of_known_edges_within_10_percent(sigma_px):
    measured = match.measure_blur_px([_edges(sigma_px)])
    assert measured == pytest.approx(np.hypot(sigma_px, match.BOX_SIGMA_PX), rel=0.10)


def test_a_matched_render_measures_as_blurred_as_the_plate():
    target = match.measure_blur_px([_edges(1.3)])
    matched = match.match_sharpness(_edges(0.0, seed=4), target)
    assert match.measure_blur_px([matched]) == pytest.approx(target, rel=0.12)


def test_a_plate_as_sharp_as_the_render_leaves_it_alone():
    layer = np.random.default_rng(0).random((9, 9, 3)).astype(np.float32)
    assert match.match_sharpness(layer, match.BOX_SIGMA_PX) is layer


def test_range_of_a_milky_plate_limits_the_render():
    rng = np.random.default_rng(0)
    points = match.measure_range([rng.uniform(0.1, 0.8, (100, 100, 3))])
    limited = points.limit(np.array([[[0.0, 0.5, 1.0]]]))
    np.testing.assert_allclose(limited, [[[0.1, 0.5, 0.8]]], atol=0.01)


def test_shutter_literals():
    np.testing.assert_allclose(match.shutter_times(10, 180, 2), [9.875, 10.125])
    np.testing.assert_allclose(match.shutter_times(3, 180, 1), [3])
    np.testing.assert_allclose(match.shutter_times(0, 360, 4), [-0.375, -0.125, 0.125, 0.375])
    with pytest.raises(ValueError, match="count"):
        match.shutter_times(0, 180, 0)


@pytest.mark.parametrize(("motion_px", "samples"), [(0.0, 1), (0.9, 1), (2.0, 2), (8.0, 5), (500.0, 16)])
def test_shutter_samples_grow_with_motion(motion_px, samples):
    assert match.choose_shutter_samples(motion_px) == samples


def _moving_edges(shutter_deg: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A frame of vertical and horizontal bars filmed by a camera that pans a few px a frame."""
    rng = np.random.default_rng(seed)
    motion = rng.uniform(-12, 12, 2)
    y, x = np.mgrid[0:240, 0:320].astype(np.float64)
    picture = np.zeros((240, 320))
    taps = 33
    for t in (np.arange(taps) - taps // 2) / taps * shutter_deg / 360:
        bars = ((x - motion[0] * t + 7 * seed) % 80 < 40) ^ ((y - motion[1] * t) % 80 < 40)
        picture += bars / taps
    soft = gaussian_filter(picture, 0.7) * 0.6 + 0.2
    return np.dstack([soft] * 3), motion


@pytest.mark.parametrize("shutter_deg", [90.0, 180.0, 300.0])
def test_shutter_angle_is_read_from_edges_that_move(shutter_deg):
    frames = [_moving_edges(shutter_deg, seed) for seed in range(10)]
    assert match.measure_shutter_deg(frames) == pytest.approx(shutter_deg, rel=0.25)


def test_without_fast_motion_the_shutter_is_the_default():
    frames = [(_moving_edges(180.0, seed)[0], np.array([0.5, 0.2])) for seed in range(6)]
    assert match.measure_shutter_deg(frames, default_deg=172.8) == 172.8

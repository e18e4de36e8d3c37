import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geometry.camera import Camera, LensWarp, pixel_centres, resample

LENS = Camera(500.0, 510.0, 322.0, 238.0, (640, 480), (0.11, -0.2, 0.001, -0.0005, 0.05))


def test_a_point_on_the_axis_lands_on_the_principal_point() -> None:
    camera = Camera(100.0, 100.0, 32.0, 24.0, (64, 48))
    np.testing.assert_allclose(camera.px_from_cam(np.array([0.0, 0.0, 2.0])), [32, 24])
    np.testing.assert_allclose(camera.px_from_cam(np.array([0.2, -0.1, 2.0])), [42, 19])


def test_first_pixel_centre_is_one_half() -> None:
    np.testing.assert_array_equal(pixel_centres((3, 2))[0, 0], [0.5, 0.5])
    np.testing.assert_array_equal(pixel_centres((3, 2))[1, 2], [2.5, 1.5])


def test_points_behind_the_camera_have_no_pixel() -> None:
    assert np.isnan(LENS.px_from_cam(np.array([0.1, 0.1, -1.0]))).all()


def test_radial_distortion_by_hand() -> None:
    # r2 = 0.25, factor 1 + 0.1 * 0.25 = 1.025, x = 0.5 * 1.025
    camera = Camera(100.0, 100.0, 0.0, 0.0, (64, 48), (0.1, 0, 0, 0, 0))
    np.testing.assert_allclose(camera.px_from_normalized(np.array([0.5, 0.0])), [51.25, 0])


@given(st.floats(0, 640), st.floats(0, 480))
def test_undistort_inverts_distort(x: float, y: float) -> None:
    px = np.array([x, y])
    np.testing.assert_allclose(LENS.px_from_normalized(LENS.normalized_from_px(px)), px, atol=1e-6)


def test_rays_times_depth_are_points() -> None:
    rays = LENS.rays_from_px(np.array([[10.5, 20.5], [600.0, 400.0]]))
    np.testing.assert_allclose(LENS.px_from_cam(7.0 * rays), [[10.5, 20.5], [600.0, 400.0]], atol=1e-6)


def test_scaled_camera_sees_the_same_directions() -> None:
    half = LENS.scaled((320, 240))
    np.testing.assert_allclose(
        half.normalized_from_px(np.array([100.0, 60.0])), LENS.normalized_from_px(np.array([200.0, 120.0])), atol=1e-9
    )


@pytest.mark.parametrize(
    ("field", "kwargs"),
    [("focal", {"fx": 0.0}), ("wh", {"wh": (0, 4)}), ("distortion", {"distortion": (0.1,)})],
)
def test_bad_cameras_are_refused_by_name(field: str, kwargs: dict) -> None:
    values = {"fx": 1.0, "fy": 1.0, "cx": 0.0, "cy": 0.0, "wh": (4, 4)} | kwargs
    with pytest.raises(ValueError, match=field):
        Camera(**values)


def test_resample_at_pixel_centres_is_the_identity() -> None:
    picture = np.random.default_rng(0).random((5, 7), np.float32)
    np.testing.assert_array_equal(resample(picture, pixel_centres((7, 5))), picture)


def test_lens_warp_round_trip_and_cover() -> None:
    warp = LensWarp.of(LENS)
    x, y = np.moveaxis(pixel_centres(LENS.wh), -1, 0)
    picture = (np.sin(x / 40) + np.cos(y / 30)).astype(np.float32)
    back = warp.distort(warp.undistort(picture))
    assert np.abs(back - picture)[8:-8, 8:-8].max() < 5e-3
    # Every lens pixel lies inside the pinhole raster.
    assert warp.pinhole_px_from_lens.min() >= 0
    assert (warp.pinhole_px_from_lens.reshape(-1, 2).max(0) <= warp.pinhole.wh).all()


def test_lens_warp_of_a_pinhole_copies_exactly() -> None:
    warp = LensWarp.of(LENS.pinhole(), margin_px=3)
    picture = np.random.default_rng(0).random((486, 646), np.float32)
    np.testing.assert_array_equal(warp.distort(picture), picture[3:-3, 3:-3])


def test_lens_warp_puts_a_projected_point_where_the_lens_does() -> None:
    warp = LensWarp.of(LENS)
    point = np.array([0.8, -0.5, 2.0])
    where = LENS.px_from_cam(point)
    column, row = int(where[0]), int(where[1])
    found = warp.pinhole_px_from_lens[row, column] + (where - (column + 0.5, row + 0.5))
    np.testing.assert_allclose(found, warp.pinhole.px_from_cam(point), atol=0.05)

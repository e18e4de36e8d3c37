import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.triangulate import triangulate
from geometry.trajectory import CameraPath

LENS = Camera(400.0, 400.0, 160.0, 120.0, (320, 240), (0.05, -0.02, 0.0, 0.0, 0.0))
EYES = [(-0.6 + 0.2 * i, 0.1 * i, 4.0) for i in range(7)]
PATH = CameraPath(tuple(range(7)), (LENS,) * 7, np.stack([rigid.look_at(eye, (0, 0, 0)) for eye in EYES]))
POINTS = np.random.default_rng(0).uniform(-0.8, 0.8, (40, 3))


def tracks() -> np.ndarray:
    return np.stack([LENS.px_from_cam(rigid.transform(pose, POINTS)) for pose in PATH.camera_from_world])


def test_exact_tracks_give_the_points_back() -> None:
    found = triangulate(PATH, tracks())
    points, error = found.points, found.error_px
    np.testing.assert_allclose(points, POINTS, atol=1e-7)
    assert error.max() < 1e-6


def test_one_wrong_view_of_seven_hardly_moves_a_point() -> None:
    wrong = tracks()
    wrong[3, :, 0] += 15.0
    found = triangulate(PATH, wrong)
    points, error = found.points, found.error_px
    assert np.median(np.linalg.norm(points - POINTS, axis=1)) < 0.01
    assert (error < 1.0).all()


def test_what_cannot_be_solved_is_nan_with_infinite_error() -> None:
    seen = tracks()
    seen[2:, 0] = np.nan  # two views only
    found = triangulate(PATH, seen)
    points, error = found.points, found.error_px
    assert np.isnan(points[0]).all()
    assert np.isinf(error[0])
    assert np.isfinite(points[1:]).all()


def test_parallel_rays_are_refused() -> None:
    still = CameraPath(PATH.frames, PATH.cameras, np.stack([rigid.look_at(EYES[0], (0, 0, 0))] * 7))
    px = np.stack([LENS.px_from_cam(rigid.transform(pose, POINTS)) for pose in still.camera_from_world])
    assert np.isinf(triangulate(still, px).error_px).all()


def test_what_slides_along_a_line_does_not_move_a_point() -> None:
    """The cameras move along x and y; errors along x alone are declared unknown."""
    slid = tracks()
    slid[..., 0] += np.linspace(0, 6, 7)[:, None]
    whitening = np.broadcast_to(np.diag([1e-3, 1.0]), (7, 40, 2, 2))
    naive, aware = triangulate(PATH, slid).points, triangulate(PATH, slid, whitening=whitening).points
    assert np.median(np.linalg.norm(naive - POINTS, axis=1)) > 0.05
    # What is left to see them by is the cameras' climb of .6: depth and height are right, x is the tracks' own.
    assert np.median(np.abs(aware - POINTS)[:, 1:]) < 0.02


def test_covariance_is_that_of_noisy_tracks() -> None:
    rng = np.random.default_rng(1)
    many = np.repeat(tracks()[:, :1], 4000, axis=1)
    found = triangulate(PATH, many + rng.normal(0, 0.1, many.shape))
    spread = np.cov(found.points.T)
    np.testing.assert_allclose(np.diag(spread), 0.01 * np.diag(found.covariance[0]), rtol=0.15)

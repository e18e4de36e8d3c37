"""A textured floor seen by a moving camera, drawn exactly through its homographies."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.reconstruct.anchor import NoSurface, carrier_anchor, fit_anchor
from geometry.scene import DepthMap, Plane, RigidTrack, Scene4D, SparsePoints
from geometry.trajectory import CameraPath

CAMERA = Camera(420.0, 420.0, 240.0, 135.0, (480, 270))
FRAMES = tuple(range(0, 24, 2))
FLOOR = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
AT = (250.0, 170.0)


def camera_path() -> CameraPath:
    poses = [rigid.look_at((-0.8 + 0.06 * f, 1.2, 2.8), (0.1, 0.0, 0.0)) for f in FRAMES]
    return CameraPath(FRAMES, (CAMERA,) * len(FRAMES), np.stack(poses))


def floor_texture(blank: bool) -> np.ndarray:
    if blank:
        return np.full((1200, 1200, 3), 128, np.uint8)
    rng = np.random.default_rng(3)
    coarse = [rng.random((n, n, 3)).astype(np.float32) for n in (40, 150, 400)]
    layers = [cv2.resize(noise, (1200, 1200), interpolation=cv2.INTER_CUBIC) for noise in coarse]
    return (np.clip(np.mean(layers, axis=0), 0, 1) * 255).astype(np.uint8)


class FloorClip:
    """200 texels to a unit of the floor, which spans 6 units around the origin."""

    numbers = FRAMES
    rate = Fraction(24)
    hw = (270, 480)

    def __init__(self, blank: bool = False) -> None:
        self.texture, self.path = floor_texture(blank), camera_path()

    def read(self, number: int) -> np.ndarray:
        world_from_texel = np.array([[0.005, 0, -3], [0, 0, 0], [0, 0.005, -3], [0, 0, 1]])
        homography = CAMERA.k @ self.path.pose(number)[:3] @ world_from_texel
        shift = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # OpenCV counts pixels from their centres
        homography = shift @ homography @ np.linalg.inv(shift)
        return cv2.warpPerspective(self.texture, homography, (480, 270), flags=cv2.INTER_AREA)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        assert wh in (None, (480, 270))
        return self.read(number)

    def linear(self, number: int) -> np.ndarray:
        return (self.read(number) / 255.0).astype(np.float32) ** 2.2


class FloorDepth:
    """The floor's depth, wrong by ``error`` (relative): dense depth must not move the anchor."""

    def __init__(self, error: float = 0.03, confidence: float = 0.8) -> None:
        self.error, self.confidence, self.path = error, confidence, camera_path()

    def read(self, frame: int) -> DepthMap:
        world_from_camera = rigid.inverse(self.path.pose(frame))
        rays = CAMERA.rays_from_px(pixel_centres(CAMERA.wh)) @ world_from_camera[:3, :3].T
        depth = FLOOR.intersect(world_from_camera[:3, 3], rays)
        depth = np.where((depth > 0) & (depth < 20), depth * (1 + self.error), 0).astype(np.float32)
        return DepthMap(depth, np.where(depth > 0, self.confidence, 0).astype(np.float32))


def scene(points: int, depth: FloorDepth) -> Scene4D:
    rng = np.random.default_rng(1)
    xyz = np.stack([rng.uniform(-2, 2, points), np.zeros(points), rng.uniform(-2, 2, points)], -1)
    sparse = SparsePoints(xyz, np.full(points, 0.3), np.full(points, 10))
    return Scene4D(camera_path(), CAMERA.wh, sparse, depth)


def true_point() -> np.ndarray:
    world_from_camera = rigid.inverse(camera_path().pose(10))
    ray = world_from_camera[:3, :3] @ CAMERA.rays_from_px(np.array(AT))
    return world_from_camera[:3, 3] + FLOOR.intersect(world_from_camera[:3, 3], ray) * ray


def no_progress(done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.mark.parametrize("points", [0, 200])
def test_anchor_lies_on_the_floor_whatever_dense_depth_says(points: int) -> None:
    anchor = fit_anchor(FloorClip(), scene(points, FloorDepth()), 10, AT, seed=0, report=no_progress)
    drift = [
        np.linalg.norm(
            CAMERA.px_from_cam(rigid.transform(pose, anchor.point))
            - CAMERA.px_from_cam(rigid.transform(pose, true_point()))
        )
        for pose in camera_path().camera_from_world
    ]
    assert max(drift) < 0.1
    assert np.degrees(np.arccos(anchor.support.normal @ FLOOR.normal)) < 0.5
    assert anchor.tracked > 20


def test_anchor_projects_to_the_asked_pixel() -> None:
    anchor = fit_anchor(FloorClip(), scene(100, FloorDepth()), 10, AT, seed=0, report=no_progress)
    np.testing.assert_allclose(CAMERA.px_from_cam(rigid.transform(camera_path().pose(10), anchor.point)), AT, atol=1e-6)


def test_a_blank_floor_is_refused() -> None:
    with pytest.raises(NoSurface, match="no texture around the pixel"):
        fit_anchor(FloorClip(blank=True), scene(0, FloorDepth()), 10, AT, seed=0, report=no_progress)


def test_unknown_depth_is_refused() -> None:
    with pytest.raises(NoSurface, match="no surface is known"):
        fit_anchor(FloorClip(), scene(0, FloorDepth(confidence=0.0)), 10, AT, seed=0, report=no_progress)


def test_points_that_the_frame_did_not_see_do_not_mislead() -> None:
    """Depth is unknown, and what projects near the pixel hangs in front of the floor and was seen at another time."""
    rng = np.random.default_rng(5)
    xyz = np.stack([rng.uniform(-1, 1, 300), np.full(300, 0.45), rng.uniform(-1, 1, 300)], -1)
    elsewhere = SparsePoints(xyz, np.full(300, 0.3), np.full(300, 4), np.tile([18, 22], (300, 1)))
    blind = replace(scene(0, FloorDepth(confidence=0.0)), points=elsewhere, ground=Plane(FLOOR.normal, 0.02))
    anchor = fit_anchor(FloorClip(), blind, 10, AT, seed=0, report=no_progress)
    assert np.linalg.norm(anchor.point - true_point()) < 0.003


def turning_scene() -> Scene4D:
    """A camera one unit above the ground that only turns."""
    poses = np.stack([rigid.look_at((0, 1, 0), (np.sin(a), 0.8, -np.cos(a))) for a in np.linspace(-0.2, 0.2, 12)])
    path = CameraPath(FRAMES, (CAMERA,) * len(FRAMES), poses)
    nothing = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    return Scene4D(path, (960, 540), nothing, depth=None, ground=FLOOR)  # type: ignore[arg-type]


def test_without_parallax_an_object_stands_on_the_ground() -> None:
    scene, px = turning_scene(), (500.0, 420.0)
    anchor = fit_anchor(FloorClip(), scene, FRAMES[3], px, seed=0, report=lambda done, total: None)
    assert anchor.point[1] == pytest.approx(0, abs=1e-12)
    np.testing.assert_array_equal(anchor.support.normal, FLOOR.normal)
    pose = scene.cameras.pose(FRAMES[3])
    np.testing.assert_allclose(CAMERA.px_from_cam(rigid.transform(pose, anchor.point)), np.array(px) / 2, atol=1e-9)


@pytest.mark.parametrize("y", [0.0, 40.0])
def test_nothing_stands_above_the_horizon(y: float) -> None:
    with pytest.raises(NoSurface, match="above the horizon"):
        fit_anchor(FloorClip(), turning_scene(), FRAMES[3], (480.0, y), seed=0, report=lambda done, total: None)


def test_without_a_ground_nothing_stands() -> None:
    with pytest.raises(NoSurface, match="no ground"):
        fit_anchor(FloorClip(), replace(turning_scene(), ground=None), 0, AT, seed=0, report=lambda done, total: None)


def test_the_top_of_a_turning_thing_is_found_from_its_own_points() -> None:
    """A table top .3 above the floor that has turned by half a radian since its rest."""
    rng = np.random.default_rng(5)
    top = np.stack([rng.uniform(-0.8, 0.8, 120), np.full(120, 0.3), rng.uniform(-0.8, 0.8, 120)], -1)
    turn = rigid.rigid(Rotation.from_rotvec([0, 0.5, 0]).as_matrix(), np.array([0.1, 0, 0]))
    track = RigidTrack(0, (0, 2), np.stack([np.eye(4), turn]), rigid.transform(rigid.inverse(turn), top))
    nothing = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0))
    scene = Scene4D(camera_path(), (960, 540), nothing, depth=None)  # type: ignore[arg-type]
    px = tuple(2 * CAMERA.px_from_cam(rigid.transform(scene.cameras.pose(2), np.array([0.1, 0.3, 0.2]))))
    anchor = carrier_anchor(scene, 2, px, track, seed=0)
    np.testing.assert_allclose(anchor.point, [0.1, 0.3, 0.2], atol=1e-6)
    np.testing.assert_allclose(anchor.support.normal, [0, 1, 0], atol=1e-6)
    with pytest.raises(NoSurface, match="points of what moves"):
        carrier_anchor(scene, 2, (900.0, 20.0), track, seed=0)

"""What the preview draws, and where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.mesh import Mesh
from geometry.scene import DepthMap, Plane, Scene4D, SparsePoints
from geometry.trajectory import CameraPath
from services.media import images
from services.pipelines.scene_grid import View, round_number, world_grid
from services.pipelines.stages.preview_scene import (
    BAD_PX,
    MOVER_RGB,
    PreviewConfig,
    depth_picture,
    error_colours,
    preview_scene,
    shaded,
)

WH = (160, 90)
HEIGHT = 2.0  # of the cameras above the floor
LENS = Camera(150, 150, 80, 45, WH, (0.08, -0.1, 0.001, -0.002, 0.0))


class FloorDepth:
    """z-depth of the plane y = 0, exact."""

    def __init__(self, path: CameraPath) -> None:
        self.path = path

    def read(self, frame: int) -> DepthMap:
        world_from_camera = rigid.inverse(self.path.pose(frame))
        rays = self.path.camera(frame).rays_from_px(pixel_centres(WH)) @ world_from_camera[:3, :3].T
        depth = np.where(rays[..., 1] < -0.1, -world_from_camera[1, 3] / rays[..., 1], 0).astype(np.float32)
        return DepthMap(depth, (depth > 0).astype(np.float32))


class Disc:
    """One mover, a disc that steps to the right."""

    def read(self, frame: int) -> np.ndarray:
        return cv2.circle(np.zeros(WH[::-1], np.uint8), (40 + 5 * frame, 60), 12, 1, -1)


@pytest.fixture
def scene() -> Scene4D:
    poses = np.stack([rigid.look_at((0.1 * i, HEIGHT, 0.3), (0.1 * i, 0, -4)) for i in range(4)])
    path = CameraPath(tuple(range(4)), (LENS,) * 4, poses)
    floor = Mesh(np.array([[-50, 0, -50], [50, 0, -50], [50, 0, 50], [-50, 0, 50]], float),
                 np.array([[0, 2, 1], [0, 3, 2]], np.int32))
    points = SparsePoints(np.array([[0, 0, -4.0], [0.5, 0, -3], [0, -1, -4]]), np.array([0.0, BAD_PX, 0]),
                          np.array([4, 4, 4]))
    return Scene4D(path, (320, 180), points, FloorDepth(path), mesh=floor, scale_known=True)


def test_the_grid_lies_on_round_coordinates_of_the_surface(scene: Scene4D) -> None:
    grid = world_grid(scene, 4.5)
    assert grid.step == 0.2  # 4.5 * 160 / 150 / 18 = 0.27
    assert np.abs(grid.xyz[:, 1]).max() == pytest.approx(0, abs=1e-9)
    off = np.abs(grid.xyz[:, [0, 2]] / grid.step - np.round(grid.xyz[:, [0, 2]] / grid.step))
    assert off.min(1).max() < 1e-6
    assert not grid.is_level.any()  # a level floor has no lines of constant height
    assert np.ptp(grid.xyz, axis=0).max() < 30  # nothing is spent on what no camera sees


def test_lines_on_a_slope_have_the_lengths_of_its_cuts(scene: Scene4D) -> None:
    """A quad from y = 0 to 1 over z = -3 to -4: five level lines of length 2 between them, and ten upright ones."""
    quad = Mesh(np.array([[-1.01, 0.01, -3], [0.99, 0.01, -3], [0.99, 1.01, -4], [-1.01, 1.01, -4]]),
                np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    grid = world_grid(replace(scene, mesh=quad), 4.5)
    spacing = 0.8 * 4.5 / 150
    level, on_x = grid.xyz[grid.is_level], np.abs(grid.xyz[:, 0] / 0.2 - np.round(grid.xyz[:, 0] / 0.2)) < 1e-6
    assert set(np.round(level[:, 1] / 0.2).astype(int)) == {1, 2, 3, 4, 5}
    assert len(level) * spacing == pytest.approx(5 * 2, rel=0.15)
    assert on_x.sum() * spacing == pytest.approx(10 * np.sqrt(2), rel=0.15)


def test_a_point_shows_at_its_pixel_unless_something_is_in_front(scene: Scene4D) -> None:
    depth = scene.depth.read(1)
    px, index = View.of(scene, 1, depth).shows(scene.points.xyz)
    assert list(index) == [0, 1]  # the third lies below the floor
    expected = scene.cameras.camera(1).px_from_cam(rigid.transform(scene.cameras.pose(1), scene.points.xyz[:2]))
    assert px == pytest.approx(expected)
    unsure = DepthMap(depth.depth * 0.9, np.zeros_like(depth.confidence))
    assert len(View.of(scene, 1, unsure).shows(scene.points.xyz)[1]) == 2  # 10 % off may be the map's own error
    sure = DepthMap(depth.depth * 0.9, np.ones_like(depth.confidence))
    assert len(View.of(scene, 1, sure).shows(scene.points.xyz)[1]) == 0


def test_near_is_warm_far_is_cold_unsure_is_grey_unknown_is_black() -> None:
    depth = np.array([[1.0, 10.0, 1.0, 0.0]], np.float32)
    picture = depth_picture(DepthMap(depth, np.array([[1, 1, 0, 0]], np.float32)), 0.8, 12.0).astype(int)
    near, far, unsure, unknown = picture[0]
    assert near[0] > 2 * near[2]
    assert far[2] > 2 * far[1]
    assert np.ptp(unsure) <= 1
    assert unsure[0] > 60
    assert list(unknown) == [0, 0, 0]


def test_a_surface_is_as_bright_as_it_faces_the_camera() -> None:
    """A wall 3 units away and one that recedes by 45 degrees, both seen at the middle of the picture."""
    lens = Camera(150, 150, 80, 45, WH)
    x = lens.rays_from_px(pixel_centres(WH))[..., 0]
    for depth, facing in ((np.full_like(x, 3.0), 1.0), (3 / (1 - x), np.sqrt(0.5))):
        picture = shaded(depth.astype(np.float32), lens)
        assert picture[45, 80] == pytest.approx([50 + 170 * facing] * 3, abs=2)
    assert (shaded(np.zeros_like(x, np.float32), lens) == 24).all()


def test_colours_of_errors() -> None:
    assert error_colours(np.array([0, BAD_PX / 2, BAD_PX, 9])) == [(0, 255, 40), (255, 255, 40), *[(255, 0, 40)] * 2]


@pytest.mark.parametrize(("value", "expected"), [(1.0, 1.0), (0.99, 0.5), (37.0, 20.0), (0.002, 0.002), (8e-4, 5e-4)])
def test_round_numbers(value: float, expected: float) -> None:
    assert round_number(value) == pytest.approx(expected)


def test_the_movie_shows_every_frame_and_outlines_movers(tmp_path: Path, scene: Scene4D) -> None:
    scene, seen = replace(scene, motion=Disc(), ground=Plane(np.array([0.0, 1, 0]), 0.0)), []
    preview_scene(
        out=tmp_path, config=PreviewConfig((0, 3), "25", "a title"), scene=scene,
        report=lambda done, total, preview=None: seen.append((done, total, preview.shape)),
    )
    assert seen == [(i, 4, (90, 160, 3)) for i in (1, 2, 3, 4)]
    with av.open(str(tmp_path / "preview.mp4")) as movie:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in movie.decode(video=0)]
    assert [picture.shape for picture in pictures] == [(90, 320, 3)] * 4
    pink = np.array(MOVER_RGB[0])
    for i, picture in enumerate(pictures):  # the outline's leftmost column, in both halves
        for x in (28 + 5 * i, 188 + 5 * i):
            assert np.abs(picture[58:63, x - 2 : x + 3] - pink).sum(-1).min() < 160
    assert images.read_picture(tmp_path / "contact_sheet.png").shape[1] > 600


def test_a_scene_that_knows_next_to_nothing(tmp_path: Path, scene: Scene4D) -> None:
    """A solved pan may have no points, mesh or ground, and blank frames no depth."""

    class NoDepth:
        def read(self, frame: int) -> DepthMap:
            return DepthMap(*np.zeros((2, *WH[::-1]), np.float32))

    nothing = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0, int), np.zeros((0, 2), int))
    scene = replace(scene, mesh=None, points=nothing, depth=NoDepth())
    preview_scene(out=tmp_path, config=PreviewConfig((0, 3), "25", ""), scene=scene, report=lambda *_: None)
    assert (tmp_path / "preview.mp4").stat().st_size > 0
    assert not (tmp_path / "contact_sheet.png").exists()

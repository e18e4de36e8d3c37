"""Converters: one case for each that can be checked by hand, round trips for all, and ``cameras.json`` both ways."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from geometry import frames, rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath

Array = np.ndarray

# A camera at (1, 2, 3) that looks along world -Z, upright: OpenGL's own rest pose, moved.
LEVEL = rigid.look_at((1, 2, 3), (1, 2, 0))
# A camera at (1, 2, 3) that looks along world +X, upright.
SIDEWAYS = rigid.look_at((1, 2, 3), (9, 2, 3))

PAIRS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "nerfstudio": (frames.nerfstudio_from_backlot, frames.backlot_from_nerfstudio),
    "blender": (frames.blender_from_backlot, frames.backlot_from_blender),
    "gltf": (frames.gltf_from_backlot, frames.backlot_from_gltf),
    "usd": (frames.usd_from_backlot, frames.backlot_from_usd),
    "usd, centimetres, Z up": (
        lambda pose: frames.usd_from_backlot(pose, z_up=True, metres_per_unit=0.01),
        lambda pose: frames.backlot_from_usd(pose, z_up=True, metres_per_unit=0.01),
    ),
    "mitsuba": (frames.mitsuba_from_backlot, frames.backlot_from_mitsuba),
}


def moved(rotation: ArrayLike, xyz: tuple[float, float, float]) -> Array:
    return rigid.rigid(np.array(rotation, float), np.array(xyz, float))


@pytest.mark.parametrize(("name", "pose", "expected"), [
    ("gltf", LEVEL, moved(np.eye(3), (1, 2, 3))),
    # Columns: where the camera's right (world +Z), up (+Y) and back (-X) point.
    ("gltf", SIDEWAYS, moved([[0, 0, -1], [0, 1, 0], [1, 0, 0]], (1, 2, 3))),
    ("usd", LEVEL, moved(np.eye(3), (1, 2, 3))),
    # +Z up: (x, y, z) becomes (x, -z, y), so forward -Z becomes +Y; right stays +X and up is +Z.
    ("usd, centimetres, Z up", LEVEL, moved([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (100, -300, 200))),
    ("nerfstudio", LEVEL, moved([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (1, -3, 2))),
    ("blender", LEVEL, moved([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (1, -3, 2))),
    # Columns: left (-X), up (+Y), forward (-Z).
    ("mitsuba", LEVEL, moved(np.diag([-1, 1, -1]), (1, 2, 3))),
])
def test_by_hand(name: str, pose: Array, expected: Array) -> None:
    to, back = PAIRS[name]
    assert to(pose) == pytest.approx(expected, abs=1e-12)
    assert back(expected) == pytest.approx(pose, abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
@given(angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3), centre=st.tuples(*[st.floats(-100, 100)] * 3))
def test_round_trips(name: str, angles: tuple[float, ...], centre: tuple[float, ...]) -> None:
    to, back = PAIRS[name]
    pose = rigid.rigid(Rotation.from_euler("xyz", angles).as_matrix()[None], np.array([centre]))
    assert back(to(pose)) == pytest.approx(pose, abs=1e-9)
    assert np.linalg.det(to(pose)[0, :3, :3]) == pytest.approx(1)  # never a mirror


def test_colmap_by_hand() -> None:
    """Turned half about x (OpenCV looks along world -Z): q = (0, 1, 0, 0); t = -R (1, 2, 3) = (-1, 2, 3)."""
    wxyz, translation = frames.colmap_from_backlot(LEVEL)
    assert wxyz == pytest.approx([0, 1, 0, 0], abs=1e-12)
    assert translation == pytest.approx([-1, 2, 3])
    assert frames.backlot_from_colmap(wxyz, translation) == pytest.approx(LEVEL, abs=1e-12)


def test_chan_by_hand() -> None:
    assert frames.chan_from_backlot(LEVEL[None])[0] == pytest.approx([1, 2, 3, 0, 0, 0], abs=1e-9)
    # From -Z to +X is a turn of -90 degrees about +Y.
    assert frames.chan_from_backlot(SIDEWAYS[None])[0] == pytest.approx([1, 2, 3, 0, -90, 0], abs=1e-9)
    # ZXY: rolled about the view first, then pitched, then turned: the pitched view looks along (0, sin, -cos).
    pose = frames.backlot_from_chan(np.array([[0, 0, 0, 30, 0, 45]]))[0]
    assert rigid.inverse(pose)[:3, 2] == pytest.approx([0, 0.5, -np.sqrt(0.75)])


@pytest.mark.parametrize("order", ["ZXY", "XYZ", "ZYX", "YXZ", "XZY", "YZX"])
def test_chan_round_trip(order: str) -> None:
    rotation = Rotation.random(20, rng=np.random.default_rng(0)).as_matrix()
    poses = rigid.rigid(rotation, np.random.default_rng(1).normal(size=(20, 3)))
    assert frames.backlot_from_chan(frames.chan_from_backlot(poses, order), order) == pytest.approx(poses, abs=1e-9)


def test_chan_angles_run_on() -> None:
    angles = np.radians(np.arange(0, 720, 10))
    eyes = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], 1)
    poses = np.stack([rigid.look_at(eye, (0, 0, 0)) for eye in eyes])
    assert np.diff(frames.chan_from_backlot(poses)[:, 4]) == pytest.approx(10, abs=1e-6)


def test_chan_refuses_an_order() -> None:
    with pytest.raises(ValueError, match="rotation_order: expected a permutation of XYZ, got 'XXY'"):
        frames.backlot_from_chan(np.zeros((1, 6)), "XXY")


def test_film_back_by_hand() -> None:
    """50 mm on 36 mm and 1920 px: fx = 50 / 36 * 1920; the axis 96 px left of the middle is 1.8 mm."""
    camera = Camera(50 / 36 * 1920, 50 / 36 * 1920, 960 - 96, 540 + 96, (1920, 1080))
    back = frames.film_back_from_camera(camera)
    assert (back.focal_mm, back.width_mm, back.height_mm) == pytest.approx((50, 36, 20.25))
    assert (back.offset_x_mm, back.offset_y_mm) == pytest.approx((1.8, 1.8))
    assert frames.vfov_deg(camera) == pytest.approx(np.degrees(2 * np.arctan(20.25 / 100)))


@given(st.tuples(st.floats(50, 5000), st.floats(50, 5000), st.floats(-100, 700), st.floats(-100, 500)))
def test_film_back_round_trip(k: tuple[float, float, float, float]) -> None:
    camera = Camera(*k, (640, 360))
    again = frames.camera_from_film_back(frames.film_back_from_camera(camera), camera.wh)
    assert (again.fx, again.fy, again.cx, again.cy) == pytest.approx(k, rel=1e-9, abs=1e-9)


def some_path(*, zoom: bool = False) -> CameraPath:
    rng = np.random.default_rng(3)
    poses = rigid.rigid(Rotation.random(4, rng=rng).as_matrix(), rng.normal(size=(4, 3)))
    distortion = (0.1, -0.2, 0.003, -0.004, 0.05)
    cameras = tuple(Camera(500 + 10 * zoom * i, 505, 321, 179, (640, 360), distortion) for i in range(4))
    return CameraPath((3, 4, 7, 9), cameras, poses)


class TestCamerasJson:
    @pytest.mark.parametrize("zoom", [False, True])
    @pytest.mark.parametrize("world_up", ["+y", "+z"])
    def test_round_trip_through_text(self, zoom: bool, world_up: str) -> None:
        path = some_path(zoom=zoom)
        document = json.loads(json.dumps(frames.cameras_json_from_path(path, world_up=world_up)))
        again = frames.path_from_cameras_json(document)
        assert again.frames == path.frames
        assert again.cameras == path.cameras
        assert again.camera_from_world == pytest.approx(path.camera_from_world, abs=1e-12)
        assert ("fl_x" in document) is not zoom

    def test_document_by_hand(self) -> None:
        path = CameraPath((5,), (Camera(500, 505, 321, 179, (640, 360), (1, 2, 3, 4, 5)),), LEVEL[None])
        document = frames.cameras_json_from_path(path, names=["images/0005.png"])
        assert document["convention"] == {"camera": "opengl", "world_up": "+y"}
        assert {k: document[k] for k in ("fl_x", "fl_y", "cx", "cy", "w", "h")} == {
            "fl_x": 500, "fl_y": 505, "cx": 321, "cy": 179, "w": 640, "h": 360}
        assert [document[k] for k in ("k1", "k2", "k3", "p1", "p2")] == [1, 2, 5, 3, 4]
        (frame,) = document["frames"]
        assert (frame["frame"], frame["file_path"]) == (5, "images/0005.png")
        assert np.array(frame["transform_matrix"]) == pytest.approx(moved(np.eye(3), (1, 2, 3)), abs=1e-12)

    def test_file_without_convention_has_z_up(self) -> None:
        document = frames.cameras_json_from_path(some_path(), world_up="+z")
        del document["convention"]
        poses = frames.path_from_cameras_json(document).camera_from_world
        assert poses == pytest.approx(some_path().camera_from_world, abs=1e-12)

    def test_opencv_axes(self) -> None:
        document = frames.cameras_json_from_path(some_path())
        document["convention"] = {"camera": "opencv", "world_up": "+y"}
        for frame, pose in zip(document["frames"], some_path().camera_from_world, strict=True):
            frame["transform_matrix"] = rigid.inverse(pose).tolist()
        poses = frames.path_from_cameras_json(document).camera_from_world
        assert poses == pytest.approx(some_path().camera_from_world, abs=1e-12)

    def test_numbers_from_file_names_in_any_order(self) -> None:
        document = frames.cameras_json_from_path(some_path(), names=[f"images/f_{n:05d}.png" for n in (3, 4, 7, 9)])
        document["frames"] = [{k: v for k, v in f.items() if k != "frame"} for f in reversed(document["frames"])]
        again = frames.path_from_cameras_json(document)
        assert again.frames == (3, 4, 7, 9)
        assert again.camera_from_world == pytest.approx(some_path().camera_from_world, abs=1e-12)

    @pytest.mark.parametrize(("change", "message"), [
        ({"frames": []}, "frames: expected a list"),
        ({"camera_model": "OPENCV_FISHEYE"}, "camera_model: expected OPENCV or PINHOLE, got 'OPENCV_FISHEYE'"),
        ({"convention": {"camera": "opengl", "world_up": "up"}}, "convention: expected"),
        ({"k4": 0.1}, r"frames\[0\].k4"),
        ({"frames": [{"transform_matrix": np.eye(4).tolist()}]}, r"frames\[0\].frame: expected a frame number"),
        ({"frames": [{"frame": 1}]}, r"frames\[0\].transform_matrix: expected 4x4"),
        ({"frames": [{"frame": 1, "transform_matrix": (2 * np.eye(4)).tolist()}]}, "expected a rotation"),
    ])
    def test_errors_name_the_field(self, change: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            frames.path_from_cameras_json(frames.cameras_json_from_path(some_path()) | change)

    def test_missing_focal_length(self) -> None:
        document = frames.cameras_json_from_path(some_path())
        del document["fl_x"]
        with pytest.raises(ValueError, match=r"frames\[0\]: expected fl_x"):
            frames.path_from_cameras_json(document)

"""Every exporter's file, opened again by its own reader, and some read by hand."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import frames, rigid
from geometry.camera import Camera
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.export.cameras import import_cameras
from services.export.colmap import write_colmap
from services.export.nerfstudio import write_cameras_json, write_transforms_json
from services.export.nuke import sidecar_path, write_chan
from services.export.usd import write_usd

WH = (640, 360)
DISTORTION = (0.1, -0.2, 0.003, -0.004, 0.05)


def orbit(*, distortion: tuple[float, ...] = DISTORTION, zoom: float = 0.0) -> CameraPath:
    """Five solved frames of an orbit, one between them unsolved."""
    numbers = (10, 11, 12, 14, 15)
    eyes = [(4 * np.sin(0.2 * i), 1.5, 4 * np.cos(0.2 * i)) for i in range(5)]
    cameras = tuple(Camera(500 + zoom * i, 505 + zoom * i, 331, 170, WH, distortion) for i in range(5))
    return CameraPath(numbers, cameras, np.stack([rigid.look_at(eye, (0, 0.5, 0)) for eye in eyes]))


def same(a: CameraPath, b: CameraPath, tolerance: float = 1e-9) -> None:
    assert a.frames == b.frames
    assert a.camera_from_world == pytest.approx(b.camera_from_world, abs=tolerance)
    for one, other in zip(a.cameras, b.cameras, strict=True):
        assert one.wh == other.wh
        assert one.distortion == pytest.approx(other.distortion, abs=1e-9)
        assert (one.fx, one.fy, one.cx, one.cy) == pytest.approx((other.fx, other.fy, other.cx, other.cy), rel=1e-5)


def write_scene_usd(file: Path, path: CameraPath) -> None:
    write_usd(file, path, Fraction(25))


@pytest.mark.parametrize(("name", "write"), [
    ("cameras.json", write_cameras_json),
    ("transforms.json", write_transforms_json),
    ("sparse", write_colmap),
    ("shot.chan", write_chan),
    ("scene.usda", write_scene_usd),
    ("scene.usdc", write_scene_usd),
])
@pytest.mark.parametrize("zoom", [0.0, 15.0])
def test_round_trip(tmp_path: Path, name: str, write: Callable[[Path, CameraPath], None], zoom: float) -> None:
    write(tmp_path / name, orbit(zoom=zoom))
    same(import_cameras(tmp_path / name), orbit(zoom=zoom))


@pytest.mark.parametrize("distortion", [(0.0,) * 5, (0.1, -0.2, 0.003, -0.004, 0.0)])
def test_colmap_models(tmp_path: Path, distortion: tuple[float, ...]) -> None:
    write_colmap(tmp_path, orbit(distortion=distortion))
    same(import_cameras(tmp_path), orbit(distortion=distortion))


def test_colmap_text_by_hand(tmp_path: Path) -> None:
    lens = Camera(500, 505, 331, 170, WH)
    path = CameraPath((7,), (lens,), rigid.look_at((1, 2, 3), (1, 2, 0))[None])
    points = SparsePoints(np.array([[1.0, 2.0, 3.0]]), np.array([0.5]), np.array([4]))
    write_colmap(tmp_path, path, points, ["plate.0007.png"])
    assert (tmp_path / "cameras.txt").read_text().splitlines()[-1] == "1 PINHOLE 640 360 500.0 505.0 331.0 170.0"
    image, empty = (tmp_path / "images.txt").read_text().split("\n")[2:4]
    number, *pose, camera, name = image.split()
    assert (number, camera, name, empty) == ("1", "1", "plate.0007.png", "")
    assert [float(v) for v in pose] == pytest.approx([0, 1, 0, 0, -1, 2, 3], abs=1e-12)
    assert (tmp_path / "points3D.txt").read_text().splitlines()[-1] == "1 1.0 2.0 3.0 128 128 128 0.5"


def test_colmap_binary(tmp_path: Path) -> None:
    """As COLMAP itself writes it, pictures in another order than their numbers and with points to skip."""
    path = orbit(distortion=(0.0,) * 5)
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    (model / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 3, 1, *WH, 500, 505, 331, 170))
    wxyz, translation = frames.colmap_from_backlot(path.camera_from_world)
    data = struct.pack("<Q", 5)
    for i in (3, 0, 4, 1, 2):
        data += struct.pack("<i7di", i + 1, *wxyz[i], *translation[i], 3)
        data += f"cam/f{path.frames[i]:04d}.jpg".encode() + b"\0" + struct.pack("<QddqddQ", 2, 1, 2, -1, 3, 4, 9)
    (model / "images.bin").write_bytes(data)
    same(import_cameras(tmp_path), path)
    (model / "images.bin").write_bytes(data[:-60])
    with pytest.raises(InvalidRequest, match="images.bin: expected more data"):
        import_cameras(tmp_path)


def test_transforms_json_is_nerfstudios(tmp_path: Path) -> None:
    write_transforms_json(tmp_path / "transforms.json", orbit())
    document = json.loads((tmp_path / "transforms.json").read_text())
    assert "convention" not in document
    assert document["frames"][0]["file_path"] == "images/000010.png"
    matrix = np.array(document["frames"][0]["transform_matrix"])
    assert matrix[:3, 3] == pytest.approx([0, -4, 1.5])  # (0, 1.5, 4) with +Z up


def test_chan_by_hand(tmp_path: Path) -> None:
    path = CameraPath((7,), (Camera(180, 180, 320, 180, WH),), rigid.look_at((1, 2, 3), (9, 2, 3))[None])
    write_chan(tmp_path / "a.chan", path)
    row = [float(v) for v in (tmp_path / "a.chan").read_text().split()]
    assert row == pytest.approx([7, 1, 2, 3, 0, -90, 0, 90], abs=1e-9)
    sidecar = json.loads(sidecar_path(tmp_path / "a.chan").read_text())
    assert sidecar["rotation_order"] == "ZXY"
    assert sidecar["film_back_mm"] == pytest.approx([36, 20.25])


def test_chan_without_sidecar(tmp_path: Path) -> None:
    path = orbit(distortion=(0.0,) * 5)
    write_chan(tmp_path / "a.chan", path)
    sidecar_path(tmp_path / "a.chan").unlink()
    with pytest.raises(InvalidRequest, match=r"scene.cameras_file: .*wh: expected the raster"):
        import_cameras(tmp_path / "a.chan")
    read = import_cameras(tmp_path / "a.chan", wh=WH)
    assert read.camera_from_world == pytest.approx(path.camera_from_world, abs=1e-9)
    centred = tuple(replace(camera, fx=camera.fy, cx=320, cy=180) for camera in path.cameras)
    same(read, replace(path, cameras=centred))


class TestGltf:
    """A hand-made animated camera: a node below a turned, scaled parent."""

    WH = (400, 200)

    def document(self, blob: bytes, uri: str | None) -> dict:
        buffer = {"byteLength": len(blob)} | ({"uri": uri} if uri else {})
        return {
            "asset": {"version": "2.0"}, "buffers": [buffer],
            "bufferViews": [{"buffer": 0, "byteOffset": o, "byteLength": n} for o, n in ((0, 8), (8, 24), (32, 32))],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": 2, "type": "SCALAR"},
                {"bufferView": 1, "componentType": 5126, "count": 2, "type": "VEC3"},
                {"bufferView": 2, "componentType": 5126, "count": 2, "type": "VEC4"},
            ],
            "cameras": [{"type": "perspective", "perspective": {"yfov": np.pi / 2, "znear": 0.1}}],
            "nodes": [{"children": [1], "scale": [2, 2, 2], "translation": [0, 1, 0]}, {"camera": 0}],
            "animations": [{
                "samplers": [{"input": 0, "output": 1}, {"input": 0, "output": 2}],
                "channels": [{"sampler": 0, "target": {"node": 1, "path": "translation"}},
                             {"sampler": 1, "target": {"node": 1, "path": "rotation"}}],
            }],
        }

    def blob(self) -> bytes:
        half = np.sqrt(0.5)  # from looking along -Z to looking along -X: +90 degrees about +Y
        return struct.pack("<2f6f8f", 0, 1, 0, 0, 0, 5, 0, 0, 0, 0, 0, 1, 0, half, 0, half)

    def check(self, path: CameraPath) -> None:
        assert path.frames == tuple(range(11))
        lens = path.cameras[0]
        assert (lens.fx, lens.fy, lens.cx, lens.cy) == pytest.approx((100, 100, 200, 100))
        assert lens.wh == self.WH
        assert path.centres == pytest.approx(np.stack([np.arange(11), np.ones(11), np.zeros(11)], 1), abs=1e-6)
        angles = np.radians(9 * np.arange(11))
        directions = np.stack([-np.sin(angles), 0 * angles, -np.cos(angles)], 1)
        assert path.view_directions == pytest.approx(directions, abs=1e-6)

    def test_gltf(self, tmp_path: Path) -> None:
        (tmp_path / "a.bin").write_bytes(self.blob())
        (tmp_path / "a.gltf").write_text(json.dumps(self.document(self.blob(), "a.bin")))
        self.check(import_cameras(tmp_path / "a.gltf", wh=self.WH, rate=Fraction(10)))

    def test_glb(self, tmp_path: Path) -> None:
        text = json.dumps(self.document(self.blob(), None)).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", 64, 0x004E4942) + self.blob()
        (tmp_path / "a.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        self.check(import_cameras(tmp_path / "a.glb", wh=self.WH, rate=Fraction(10)))

    def test_buffer_outside_its_folder(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "a.bin").write_bytes(self.blob())
        (tmp_path / "in" / "a.gltf").write_text(json.dumps(self.document(self.blob(), "../a.bin")))
        with pytest.raises(InvalidRequest, match="expected a file beside it"):
            import_cameras(tmp_path / "in" / "a.gltf", wh=self.WH)


class TestUsd:
    def test_camera_of_another_program(self, tmp_path: Path) -> None:
        """Z up, centimetres, a moving parent, no word about the raster."""
        from pxr import Gf, Usd, UsdGeom

        stage = Usd.Stage.CreateNew(str(tmp_path / "a.usda"))
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
        UsdGeom.SetStageMetersPerUnit(stage, 0.01)
        stage.SetStartTimeCode(1)
        stage.SetEndTimeCode(3)
        rig = UsdGeom.Xform.Define(stage, "/rig")
        move = rig.AddTranslateOp()
        move.Set(Gf.Vec3d(0, 0, 200), 1)
        move.Set(Gf.Vec3d(100, 0, 200), 3)
        camera = UsdGeom.Camera.Define(stage, "/rig/camera")
        camera.AddRotateXOp().Set(90.0)  # from looking down -Z to looking along +Y
        camera.CreateFocalLengthAttr(18.0)
        camera.CreateHorizontalApertureAttr(36.0)
        camera.CreateVerticalApertureAttr(18.0)
        stage.Save()
        with pytest.raises(InvalidRequest, match="wh: expected the picture's raster"):
            import_cameras(tmp_path / "a.usda")
        path = import_cameras(tmp_path / "a.usda", wh=(400, 200))
        assert path.frames == (1, 2, 3)
        assert path.cameras[0] == Camera(200, 200, 200, 100, (400, 200))
        assert path.centres == pytest.approx(np.array([[0, 2, 0], [0.5, 2, 0], [1, 2, 0]]), abs=1e-6)
        assert path.view_directions[0] == pytest.approx([0, 0, -1], abs=1e-6)
        assert path.camera_from_world[0, 1, :3] == pytest.approx([0, -1, 0], abs=1e-6)

    def test_projection_is_the_cameras(self, tmp_path: Path) -> None:
        """USD's own frustum sends points to the pixels our camera sends them to."""
        from pxr import Gf, Usd, UsdGeom

        path = orbit(distortion=(0.0,) * 5)
        write_usd(tmp_path / "a.usda", path, Fraction(25))
        stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
        seen = UsdGeom.Camera(stage.GetPrimAtPath("/World/Camera")).GetCamera(14)
        matrix = np.array(seen.frustum.ComputeViewMatrix() * seen.frustum.ComputeProjectionMatrix())
        points = np.random.default_rng(0).uniform(-1, 1, (20, 3))
        clip = np.column_stack([points, np.ones(20)]) @ matrix
        ndc = clip[:, :2] / clip[:, 3:]
        px = (ndc * (1, -1) + 1) / 2 * WH
        expected = path.camera(14).px_from_cam(rigid.transform(path.pose(14), points))
        assert px == pytest.approx(expected, abs=1e-3)
        assert isinstance(seen, Gf.Camera)

    def test_several_cameras(self, tmp_path: Path) -> None:
        from pxr import Usd, UsdGeom

        stage = Usd.Stage.CreateNew(str(tmp_path / "a.usda"))
        for name in ("left", "right"):
            UsdGeom.Camera.Define(stage, f"/{name}")
        stage.Save()
        with pytest.raises(InvalidRequest, match="expected one camera, got /left, /right"):
            import_cameras(tmp_path / "a.usda", wh=WH)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("missing.json", None, "does not exist"),
    ("a.fbx", b"x", ".fbx file is not known"),
    ("a.json", b"not json", "a.json: "),
    ("a.json", b"[]", "expected a JSON object, got list"),
    ("a.json", b'{"frames": [{"frame": 1}]}', r"frames\[0\].transform_matrix"),
    ("a.chan", b"1 2 3\n", "line 1: expected frame tx ty"),
    ("a.chan", b"", "at least one line"),
    ("a.usda", b"nothing", "expected a USD stage"),
    ("a.glb", b"nothing", "expected a GLB file"),
])
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequest, match=message) as caught:
        import_cameras(tmp_path / name, wh=WH)
    assert caught.value.field == "scene.cameras_file"


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="expected a COLMAP model"):
        import_cameras(tmp_path)


def test_random_poses_survive_every_format(tmp_path: Path) -> None:
    """Poses of any attitude, gimbal lock included."""
    rotation = Rotation.random(12, rng=np.random.default_rng(5)).as_matrix()
    rotation[0] = Rotation.from_euler("zxy", [20, 90, 10], degrees=True).as_matrix()
    poses = rigid.rigid(rotation, np.random.default_rng(6).normal(size=(12, 3)))
    path = CameraPath(tuple(range(12)), (Camera(500, 500, 320, 180, WH),) * 12, poses)
    write_chan(tmp_path / "a.chan", path)
    write_usd(tmp_path / "a.usdc", path, Fraction(24))
    write_colmap(tmp_path / "colmap", path)
    for name in ("a.chan", "a.usdc", "colmap"):
        same(import_cameras(tmp_path / name), path, tolerance=1e-7)

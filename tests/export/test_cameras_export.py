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
from services.export.cameras import cameras_of_clip, import_cameras, is_metric, metres_per_unit
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


def tumbling() -> CameraPath:
    """A hand-held walk: moving, panning, pitching past the vertical, rolling all the way round."""
    angles = np.stack([np.linspace(0, 340, 9), np.linspace(-120, 100, 9), np.linspace(30, -200, 9)], 1)
    rotation = Rotation.from_euler("zxy", angles, degrees=True).as_matrix()
    walk = np.stack([np.linspace(0, 5, 9), 1.6 + 0.1 * np.sin(np.arange(9)), np.linspace(2, -30, 9)], 1)
    poses = rigid.inverse(rigid.rigid(rotation, walk))
    return CameraPath(tuple(range(100, 109)), (Camera(500, 505, 331, 170, WH, DISTORTION),) * 9, poses)


def same(a: CameraPath, b: CameraPath, tolerance: float = 1e-9) -> None:
    assert a.frames == b.frames
    assert a.camera_from_world == pytest.approx(b.camera_from_world, abs=tolerance)
    for one, other in zip(a.cameras, b.cameras, strict=True):
        assert one.wh == other.wh
        assert one.distortion == pytest.approx(other.distortion, abs=1e-9)
        assert (one.fx, one.fy, one.cx, one.cy) == pytest.approx((other.fx, other.fy, other.cx, other.cy), rel=1e-6)


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
@pytest.mark.parametrize("path", [orbit(), orbit(zoom=15.0), tumbling()], ids=["orbit", "zoom", "tumbling"])
def test_round_trip(
    tmp_path: Path, name: str, write: Callable[[Path, CameraPath], None], path: CameraPath
) -> None:
    write(tmp_path / name, path)
    same(import_cameras(tmp_path / name), path)


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
    assert document["camera_model"] == "OPENCV"
    assert document["applied_transform"] == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert document["frames"][0]["file_path"] == "images/0010.png"
    matrix = np.array(document["frames"][0]["transform_matrix"])
    assert matrix[:3, 3] == pytest.approx([0, 1.5, 4])  # the world as it is: +Y up
    assert matrix[:3, 2] == pytest.approx(np.array([0, 1, 4]) / np.sqrt(17))  # OpenGL: +z points backwards


def test_a_transforms_json_of_another_program_has_z_up(tmp_path: Path) -> None:
    frame = {"file_path": "images/frame_00007.png", "transform_matrix": np.eye(4).tolist()}
    lens = {"fl_x": 500, "cx": 320, "cy": 180, "w": 640, "h": 360}
    (tmp_path / "transforms.json").write_text(json.dumps(lens | {"frames": [frame]}))
    path = import_cameras(tmp_path / "transforms.json")
    assert path.frames == (7,)
    assert path.view_directions[0] == pytest.approx([0, -1, 0])  # down along z


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


def test_chan_spans_the_height_of_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.chan").write_text("1 0 0 0 0 0 0 90\n")
    lens = import_cameras(tmp_path / "a.chan", wh=(400, 200)).cameras[0]
    assert (lens.fx, lens.fy) == pytest.approx((100, 100))


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

    def write(self, folder: Path, change: Callable[[dict], None], blob: bytes | None = None) -> Path:
        document = self.document(blob or self.blob(), "a.bin")
        change(document)
        (folder / "a.bin").write_bytes(blob or self.blob())
        (folder / "a.gltf").write_text(json.dumps(document))
        return folder / "a.gltf"

    def test_a_camera_without_animation_stands_still_for_the_whole_clip(self, tmp_path: Path) -> None:
        file = self.write(tmp_path, lambda document: document.pop("animations"))
        assert import_cameras(file, wh=self.WH).frames == (0,)
        path = cameras_of_clip(file, wh=self.WH, rate=Fraction(24), numbers=range(1001, 1004))
        assert path.frames == (1001, 1002, 1003)
        assert path.centres == pytest.approx(np.tile([0.0, 1.0, 0.0], (3, 1)))

    def test_frames_begin_with_the_first_key(self, tmp_path: Path) -> None:
        blob = struct.pack("<2f", 0.5, 1.0) + self.blob()[8:]
        path = import_cameras(self.write(tmp_path, lambda document: None, blob), wh=self.WH, rate=Fraction(10))
        assert path.frames == (5, 6, 7, 8, 9, 10)
        assert path.centres[:, 0] == pytest.approx([0, 2, 4, 6, 8, 10], abs=1e-6)

    def test_spline(self, tmp_path: Path) -> None:
        """From 0 to 1 in x with slope 1 (a straight line); in y from 0 to 0 with slopes 4 and -4 (an arch of height 1).

        Hermite: at the middle the value is the mean plus (outgoing - incoming) / 8.
        """
        keys = [(0, 0, 0), (0, 0, 0), (1, 4, 0), (1, -4, 0), (1, 0, 0), (0, 0, 0)]
        blob = struct.pack("<2f", 0, 1) + struct.pack("<18f", *(v for key in keys for v in key))

        def change(document: dict) -> None:
            document["bufferViews"] = [{"buffer": 0, "byteOffset": o, "byteLength": n} for o, n in ((0, 8), (8, 72))]
            document["accessors"] = document["accessors"][:2]
            document["accessors"][1]["count"] = 6
            document["animations"][0]["samplers"] = [{"input": 0, "output": 1, "interpolation": "CUBICSPLINE"}]
            document["animations"][0]["channels"] = document["animations"][0]["channels"][:1]
            document["nodes"][0] = {"children": [1]}

        path = import_cameras(self.write(tmp_path, change, blob), wh=self.WH, rate=Fraction(4))
        assert path.centres[:, 0] == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)
        assert path.centres[2] == pytest.approx([0.5, 1, 0], abs=1e-6)

    def test_no_camera(self, tmp_path: Path) -> None:
        def change(document: dict) -> None:
            document["nodes"] = [{"name": "chair"}, {"name": "table"}]

        with pytest.raises(InvalidRequest, match="expected one camera, got nothing but chair, table"):
            import_cameras(self.write(tmp_path, change), wh=self.WH)

    def test_another_aspect(self, tmp_path: Path) -> None:
        def change(document: dict) -> None:
            document["cameras"][0]["perspective"]["aspectRatio"] = 4 / 3

        with pytest.raises(InvalidRequest, match=r"aspect: expected 2.000 \(a 400 x 200 picture\), got 1.333"):
            import_cameras(self.write(tmp_path, change), wh=self.WH)

    def test_no_field_of_view(self, tmp_path: Path) -> None:
        file = self.write(tmp_path, lambda document: document["cameras"][0]["perspective"].pop("yfov"))
        with pytest.raises(InvalidRequest, match="yfov: expected an angle between 0 and pi, got None"):
            import_cameras(file, wh=self.WH)

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

    def still(self, file: Path, **attributes: float) -> Path:
        from pxr import Usd, UsdGeom

        stage = Usd.Stage.CreateNew(str(file))
        camera = UsdGeom.Camera.Define(stage, "/camera")
        for name, value in attributes.items():
            camera.GetPrim().GetAttribute(name).Set(value)
        stage.Save()
        return file

    def test_a_still_camera_is_every_frames(self, tmp_path: Path) -> None:
        lens = {"focalLength": 18.0, "horizontalAperture": 36.0, "verticalAperture": 18.0}
        file = self.still(tmp_path / "a.usda", **lens)
        assert cameras_of_clip(file, wh=(400, 200), rate=Fraction(24), numbers=range(7, 10)).frames == (7, 8, 9)
        with pytest.raises(InvalidRequest, match=r"aspect: expected 1.778 .*, got 2.000"):
            cameras_of_clip(file, wh=(640, 360), rate=Fraction(24), numbers=range(7, 10))

    def test_no_focal_length(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"/camera.focalLength: expected a value, got none"):
            import_cameras(self.still(tmp_path / "a.usda", horizontalAperture=36.0), wh=WH)

    def test_no_camera(self, tmp_path: Path) -> None:
        from pxr import Usd, UsdGeom

        stage = Usd.Stage.CreateNew(str(tmp_path / "a.usda"))
        UsdGeom.Xform.Define(stage, "/set/table")
        stage.Save()
        with pytest.raises(InvalidRequest, match="expected one camera, got nothing but /set, /set/table"):
            import_cameras(tmp_path / "a.usda", wh=WH)

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
    ("a.chan", b"1 0 0 0 0 0 0\n", "got 7 numbers, so no focal length"),
    ("a.chan", b"1 0 0 0 0 0 0 0\n", "vfov: expected an angle between 0 and 180 degrees, got 0"),
    ("a.chan", b"1 0 0 nan 0 0 0 40\n", "frame 1: pose: expected finite numbers, got nan or inf"),
    ("a.json", b'{"w": 640, "h": 360, "cx": 320, "cy": 180, "frames": [{"frame": 1, "transform_matrix": '
               b'[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}]}', "expected fl_x there or at the top"),
    ("a.json", b'{"frames": [{"frame": 1, "transform_matrix": [[NaN]]}]}', "expected 4x4 finite numbers"),
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


class TestCamerasOfAClip:
    """The file against the clip: count, range, shape."""

    def of(self, tmp_path: Path, numbers: range, wh: tuple[int, int] = WH) -> CameraPath:
        write_cameras_json(tmp_path / "cameras.json", orbit())
        return cameras_of_clip(tmp_path / "cameras.json", wh=wh, rate=Fraction(24), numbers=numbers)

    def test_the_clips_frames_on_the_clips_raster(self, tmp_path: Path) -> None:
        path = self.of(tmp_path, range(11, 16), (1280, 720))
        assert path.frames == (11, 12, 14, 15)  # 13 was never solved
        assert path.cameras[0] == Camera(1000, 1010, 662, 340, (1280, 720), DISTORTION)
        assert path.camera_from_world == pytest.approx(orbit().camera_from_world[1:], abs=1e-9)

    @pytest.mark.parametrize("numbers", [range(9, 15), range(10, 17), range(6), range(20, 25)])
    def test_too_few(self, tmp_path: Path, numbers: range) -> None:
        message = f"expected cameras for frames {numbers[0]}-{numbers[-1]}, got 5 for frames 10-15"
        with pytest.raises(InvalidRequest, match=message):
            self.of(tmp_path, numbers)

    def test_another_aspect(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"aspect: expected 1.333 \(a 640 x 480 picture\), got 1.778"):
            self.of(tmp_path, range(10, 15), (640, 480))


def test_units(tmp_path: Path) -> None:
    write_usd(tmp_path / "guess.usda", orbit(), Fraction(25), scale_known=False)
    write_usd(tmp_path / "sure.usda", orbit(), Fraction(25), scale_known=True)
    write_cameras_json(tmp_path / "cameras.json", orbit())
    (tmp_path / "ours.json").write_text(json.dumps({"frames": [], "scene": {"scale_known": True}}))
    got = {name: (metres_per_unit(tmp_path / name), is_metric(tmp_path / name))
           for name in ("guess.usda", "sure.usda", "cameras.json", "ours.json", "a.glb", "a.chan")}
    assert got == {"guess.usda": (1.0, False), "sure.usda": (1.0, True), "cameras.json": (None, False),
                   "ours.json": (1.0, True), "a.glb": (1.0, True), "a.chan": (None, False)}

"""A modelled scene with cameras becomes what a reconstruct job delivers: held against the model itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.mesh import Mesh, load_model
from geometry.trajectory import CameraPath
from services.artifacts.stages import JobContext
from services.artifacts.store import Store
from services.config import Settings
from services.errors import InvalidRequest, Unsolvable
from services.export.cameras import import_cameras
from services.export.nerfstudio import write_cameras_json
from services.export.nuke import sidecar_path, write_chan
from services.export.usd import PlacedObject, write_usd
from services.media import exr, images
from services.pipelines import import_scene
from services.pipelines.requests import Clip, ImportSceneRequest
from services.pipelines.scene_folder import load_delivered

WH = (128, 72)
FRAMES = (5, 6, 7, 8)
DISTORTED = (0.1, -0.1, 0.002, -0.001, 0.0)
FLOOR_Y = -0.25


def quad(low: tuple[float, float], high: tuple[float, float], y: float) -> Mesh:
    (x0, z0), (x1, z1) = low, high
    corners = np.array([[x0, y, z1], [x1, y, z1], [x1, y, z0], [x0, y, z0]], float)
    return Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))


FLOOR, TABLE = quad((-9, -9), (9, 9), FLOOR_Y), quad((-1, -3), (1, -2), 0.5)


def walk(distortion: tuple[float, ...] = DISTORTED) -> CameraPath:
    lens = Camera(110, 112, 63, 37, WH, distortion)
    poses = np.stack([rigid.look_at((0.2 * i, 1.5, 2), (0.1 * i, 0, -3)) for i in range(4)])
    return CameraPath(FRAMES, (lens,) * 4, poses)


def true_depth(path: CameraPath, frame: int) -> np.ndarray:
    """Nearest of the two level quads under each pixel, as the lens sees them."""
    world_from_camera = rigid.inverse(path.pose(frame))
    rays = path.camera(frame).rays_from_px(pixel_centres(WH)) @ world_from_camera[:3, :3].T
    nearest = np.full(WH[::-1], np.inf)
    for mesh in (FLOOR, TABLE):
        t = (mesh.vertices[0, 1] - world_from_camera[1, 3]) / rays[..., 1]
        at = world_from_camera[:3, 3] + t[..., None] * rays
        low, high = mesh.vertices.min(0), mesh.vertices.max(0)
        hit = (t > 0) & ((at > low - 1e-9) & (at < high + 1e-9))[..., [0, 2]].all(-1)
        nearest = np.where(hit & (t < nearest), t, nearest)
    return np.where(np.isfinite(nearest), nearest, 0)


class Job:
    """Runs the pipeline over one store and lays out what it delivers."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, Store(str(root / "store"), 2**33)
        self.warnings: list[str] = []

    def run(self, name: str, **request: Any) -> tuple[Path, dict[str, Any]]:
        files: list[dict[str, Any]] = []

        def emit(message: dict[str, Any]) -> None:
            files.extend(message.get("files", ()))
            if message["kind"] == "warning":
                self.warnings.append(message["message"])

        facts = import_scene.run(ImportSceneRequest(**request), JobContext(self.store, Settings(), emit))
        out = self.root / name
        for file in files:
            (out / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.store.path(file["key"], file["file"]), out / file["path"])
        return out, facts


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage with the two quads and the camera."""
    file = tmp_path_factory.mktemp("model") / "room.usda"
    things = [PlacedObject(name, [mesh], np.eye(4)) for name, mesh in (("floor", FLOOR), ("table", TABLE))]
    write_usd(file, walk(), Fraction(25), objects=things, scale_known=True)
    return file


@pytest.fixture(scope="module")
def result(room: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return Job(tmp_path_factory.mktemp("job")).run("result", path=str(room))


def test_depth_is_the_models_through_the_lens(result: tuple[Path, dict[str, Any]]) -> None:
    for frame in FRAMES:
        expected = true_depth(walk(), frame)
        depth = exr.read_depth(result[0] / "depth" / f"{frame:04d}.exr")
        confidence = images.read_mask(result[0] / "confidence" / f"{frame:04d}.png")
        np.testing.assert_array_equal(confidence, (depth > 0).astype(np.float32))
        assert ((depth > 0) == (expected > 0)).mean() > 0.99
        both = (depth > 0) & (expected > 0)
        error = np.abs(depth[both] / expected[both] - 1)
        assert np.median(error) < 0.004  # a pixel's depth is taken within half a pixel of its ray
        assert np.mean(error < 0.03) > 0.98  # the rest lies on the table's edge


def test_the_folder_is_a_scene_like_any_other(result: tuple[Path, dict[str, Any]]) -> None:
    folder, facts = result
    scene = load_delivered(folder)
    assert facts == {"frames": 4, "registered_frames": list(FRAMES), "scale_known": True, "width_px": WH[0],
                     "height_px": WH[1]}
    assert scene.scale_known
    assert scene.mesh is not None
    assert len(scene.mesh.faces) == 4
    assert scene.ground is not None
    assert scene.ground.normal == pytest.approx([0, 1, 0])
    assert scene.ground.offset == pytest.approx(FLOOR_Y, abs=1e-4)
    heights = np.abs(scene.points.xyz[:, 1:2] - [FLOOR_Y, 0.5]).min(1)
    assert len(heights) > 300
    assert heights.max() < 0.02
    assert scene.points.seen is not None
    assert ((scene.points.seen >= FRAMES[0]) & (scene.points.seen <= FRAMES[-1])).all()
    report = json.loads((folder / "report.json").read_text())
    assert report["scene"]["kind"] == "modelled"
    assert report["scene"]["triangles"] == 4


@pytest.mark.parametrize("name", ["cameras.json", "transforms.json", "colmap", "cameras.chan", "scene.usda"])
def test_every_export_gives_the_cameras_back(result: tuple[Path, dict[str, Any]], name: str) -> None:
    read = import_cameras(result[0] / name)
    assert read.frames == FRAMES
    assert read.camera_from_world == pytest.approx(walk().camera_from_world, abs=1e-6)
    assert read.cameras[0].distortion == pytest.approx(DISTORTED)
    got, lens = read.cameras[0], walk().cameras[0]
    assert (got.fx, got.fy, got.cx, got.cy) == pytest.approx((lens.fx, lens.fy, lens.cx, lens.cy), rel=1e-6)


def test_the_delivered_scene_can_be_imported_again(result: tuple[Path, dict[str, Any]], job: Job) -> None:
    """The ground that scene.usda draws is no part of the model."""
    again, facts = job.run("again", path=str(result[0] / "scene.usda"))
    assert facts == result[1]
    assert len(load_model(again / "mesh.ply").meshes[0].faces) == 4


def in_metres(folder: Path, suffix: str) -> Path:
    scene = trimesh.Scene([trimesh.Trimesh(mesh.vertices, mesh.faces, process=False) for mesh in (FLOOR, TABLE)])
    scene.export(folder / f"room{suffix}")
    return folder / f"room{suffix}"


def in_centimetres(folder: Path, suffix: str) -> Path:
    from pxr import Usd, UsdGeom

    things = [PlacedObject("a", [replace(mesh, vertices=100 * mesh.vertices) for mesh in (FLOOR, TABLE)], np.eye(4))]
    write_usd(folder / "cm.usda", walk(), Fraction(25), objects=things, scale_known=True)
    stage = Usd.Stage.Open(str(folder / "cm.usda"))
    stage.RemovePrim("/World/Camera")
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    stage.Save()
    return folder / "cm.usda"


def as_json(folder: Path, path: CameraPath) -> Path:
    write_cameras_json(folder / "cameras.json", path)
    return folder / "cameras.json"


def as_chan(folder: Path, path: CameraPath) -> Path:
    write_chan(folder / "a.chan", path)
    return folder / "a.chan"


@pytest.mark.parametrize(("mesh", "suffix", "cameras", "camera_scale", "known"), [
    (in_metres, ".glb", as_json, 1.0, True),
    (in_metres, ".obj", as_chan, 1.0, False),
    (in_metres, ".ply", as_json, 1.0, False),
    (in_centimetres, ".usda", as_chan, 100.0, True),  # what has no unit is in its partner's
])
def test_meshes_and_cameras_of_other_programs(
    job: Job, tmp_path: Path, mesh: Callable[[Path, str], Path], suffix: str,
    cameras: Callable[[Path, CameraPath], Path], camera_scale: float, known: bool,
) -> None:
    file = cameras(tmp_path, walk().in_world(np.eye(4), camera_scale))
    out, facts = job.run("out", path=str(mesh(tmp_path, suffix)), cameras_file=str(file))
    assert facts["scale_known"] == known
    scene = load_delivered(out)
    assert scene.cameras.centres == pytest.approx(walk().centres, abs=1e-6)
    assert scene.ground is not None
    assert scene.ground.offset == pytest.approx(FLOOR_Y, abs=1e-3)


def test_a_clip_gives_raster_rate_and_frames(job: Job, tmp_path: Path, room: Path) -> None:
    for frame in FRAMES[1:]:
        images.write_picture(tmp_path / "plate" / f"p.{frame:04d}.png", np.full((144, 256, 3), 20 * frame, np.uint8))
    out, facts = job.run("out", path=str(room), clip=Clip(str(tmp_path / "plate")))
    assert (facts["registered_frames"], facts["width_px"]) == (list(FRAMES[1:]), 256)
    assert import_cameras(out / "cameras.json").cameras[0].fx == pytest.approx(220)
    assert exr.read_depth(out / "depth" / "0006.exr").shape == (144, 256)


def test_a_frame_between_may_lack_its_camera(job: Job, tmp_path: Path, room: Path) -> None:
    cameras = as_json(tmp_path, walk().select([5, 6, 8]))
    for frame in FRAMES:
        images.write_picture(tmp_path / "plate" / f"p.{frame:04d}.png", np.zeros((72, 128, 3), np.uint8))
    request = {"path": str(room), "cameras_file": str(cameras), "clip": Clip(str(tmp_path / "plate"))}
    out, facts = job.run("out", **request)
    assert facts["registered_frames"] == [5, 6, 8]
    assert job.warnings == ["1 frame(s) have no camera, the first is 7: they are left out"]
    assert json.loads((out / "report.json").read_text())["scene"]["unregistered"] == [7]


def test_what_is_wrong_is_named(job: Job, tmp_path: Path, room: Path) -> None:
    def refused(**request: Any) -> InvalidRequest:
        with pytest.raises(InvalidRequest) as caught:
            job.run("none", **request)
        return caught.value

    ply = str(in_metres(tmp_path, ".ply"))
    assert refused(path=ply).field == "cameras_file"
    glb = refused(path=str(in_metres(tmp_path, ".glb")), width_px=128, height_px=72)
    assert (glb.field, "expected one camera, got nothing but" in glb.got) == ("path", True)
    chan = as_chan(tmp_path, walk())
    sidecar_path(chan).unlink()
    assert "wh: expected the raster" in refused(path=ply, cameras_file=str(chan)).got
    assert "aspect" in refused(path=str(room), width_px=100, height_px=100).got
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 1 0 0\n")
    none = refused(path=str(tmp_path / "points.obj"), cameras_file=str(as_json(tmp_path, walk())))
    assert (none.field, "at least one mesh with faces" in none.got) == ("path", True)
    for frame in (3, 4, 5):
        images.write_picture(tmp_path / "plate" / f"p.{frame:04d}.png", np.zeros((72, 128, 3), np.uint8))
    early = refused(path=str(room), clip=Clip(str(tmp_path / "plate")))
    assert (early.expected, early.got[:20]) == ("cameras for frames 3-5", "4 for frames 5-8; a ")
    with pytest.raises(InvalidRequest, match="width_px: expected width and height"):
        ImportSceneRequest(ply, width_px=10)


def test_cameras_that_see_nothing(job: Job, tmp_path: Path) -> None:
    away = np.stack([rigid.look_at((0, 5, 0), (0, 20, 1))] * 4)
    cameras = as_json(tmp_path, replace(walk(), camera_from_world=away))
    with pytest.raises(Unsolvable, match="no camera sees the mesh"):
        job.run("none", path=str(in_metres(tmp_path, ".ply")), cameras_file=str(cameras))

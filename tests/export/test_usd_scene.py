"""The USD scene: what stands in it, where, and how it looks, read back by USD itself and by our own mesh reader."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdShade

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Material, Mesh, load_model
from geometry.scene import Plane
from geometry.trajectory import CameraPath
from services.export.usd import PlacedObject, write_usd

PATH = CameraPath(
    (3, 4), (Camera(500, 500, 320, 180, (640, 360)),) * 2,
    np.stack([rigid.look_at((0, 1, z), (0, 0, 0)) for z in (4, 3)]),
)
TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]], float)
FACES = np.array([[0, 1, 2]], np.int32)


def moved(xyz: tuple[float, float, float], scale: float = 1.0) -> np.ndarray:
    matrix = rigid.rigid(np.eye(3), np.array(xyz, float))
    matrix[:3, :3] *= scale
    return matrix


@pytest.fixture
def stage(tmp_path: Path) -> Usd.Stage:
    texture = np.random.default_rng(0).integers(0, 255, (4, 4, 3), np.uint8)
    textured = Mesh(TRIANGLE, FACES, uv=np.array([[0, 0], [1, 0], [0, 1]], float),
                    material=Material(base_color=(1, 0.5, 1), base_texture=texture, roughness=0.3), name="skin")
    red = Mesh(TRIANGLE, FACES, material=Material(base_color=(0.9, 0.1, 0.1), metallic=1.0))
    ground = Mesh(TRIANGLE * 10, FACES, colors=np.eye(3) * 0.5, material=Material(base_color=(1, 1, 1)))
    write_usd(tmp_path / "out" / "scene.usda", PATH, Fraction(24000, 1001), mesh=ground, objects=[
        PlacedObject("my box!", [textured, red], moved((1, 2, 3), 2.0)),
        PlacedObject("my box!", [red], np.stack([moved((0, 0, 0)), moved((5, 0, 0))])),
    ])
    return Usd.Stage.Open(str(tmp_path / "out" / "scene.usda"))


def test_stage_says_time_and_units(stage: Usd.Stage) -> None:
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (3, 4)
    assert stage.GetTimeCodesPerSecond() == pytest.approx(23.976, abs=1e-3)
    assert stage.GetDefaultPrim().GetPath() == "/World"
    assert stage.GetRootLayer().customLayerData["scaleKnown"] is False


def test_objects_stand_where_they_were_put(stage: Usd.Stage) -> None:
    still = UsdGeom.Xformable(stage.GetPrimAtPath("/World/my_box_/skin"))
    place = still.ComputeLocalToWorldTransform(3)
    assert list(place.Transform((0, 2, 0))) == pytest.approx([1, 6, 3])
    moving = UsdGeom.Xformable(stage.GetPrimAtPath("/World/my_box__2"))
    assert [moving.ComputeLocalToWorldTransform(t).ExtractTranslation()[0] for t in (3, 4)] == [0, 5]


def test_materials(stage: Usd.Stage) -> None:
    def surface(path: str) -> UsdShade.Shader:
        material, _ = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath(path)).ComputeBoundMaterial()
        return material.ComputeSurfaceSource()[0]

    red = surface("/World/my_box_/mesh")
    assert list(red.GetInput("diffuseColor").Get()) == pytest.approx([0.9, 0.1, 0.1])
    assert red.GetInput("metallic").Get() == 1
    skin = surface("/World/my_box_/skin")
    texture = UsdShade.Shader(skin.GetInput("diffuseColor").GetConnectedSources()[0][0].source.GetPrim())
    assert Path(texture.GetInput("file").Get().resolvedPath).is_file()
    assert list(texture.GetInput("scale").Get()) == [1, 0.5, 1, 1]
    ground = surface("/World/Scene")
    reader = UsdShade.Shader(ground.GetInput("diffuseColor").GetConnectedSources()[0][0].source.GetPrim())
    assert reader.GetInput("varname").Get() == "displayColor"
    colours = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath("/World/Scene")).GetPrimvar("displayColor").Get()
    assert np.array(colours) == pytest.approx(np.eye(3) * 0.5)


def test_our_mesh_reader_opens_it(stage: Usd.Stage) -> None:
    model = load_model(stage.GetRootLayer().realPath)
    assert len(model.meshes) == 4
    low, high = model.bounds
    assert low == pytest.approx([0, 0, 0])
    assert high == pytest.approx([10, 20, 3])


def test_writing_again_replaces(tmp_path: Path) -> None:
    for count in (2, 1):
        objects = [PlacedObject(f"o{i}", [Mesh(TRIANGLE, FACES)], np.eye(4)) for i in range(count)]
        write_usd(tmp_path / "a.usda", PATH, Fraction(24), objects=objects)
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    stage.Reload()
    assert not stage.GetPrimAtPath("/World/o1")
    assert stage.GetPrimAtPath("/World/o0/mesh")


def test_a_pose_for_every_frame(tmp_path: Path) -> None:
    placed = PlacedObject("o", [Mesh(TRIANGLE, FACES)], np.stack([np.eye(4)] * 3))
    with pytest.raises(ValueError, match=r"world_from_object: expected shape \(2, 4, 4\), got \(3, 4, 4\)"):
        write_usd(tmp_path / "a.usda", PATH, Fraction(24), objects=[placed])


def test_the_ground_is_drawn_where_it_lies_and_is_no_object(tmp_path: Path) -> None:
    normal = np.array([0.0, 0.8, 0.6])
    write_usd(tmp_path / "a.usda", PATH, Fraction(25), mesh=Mesh(TRIANGLE, FACES), ground=Plane(normal, -0.5))
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    corners = np.array(UsdGeom.Mesh(stage.GetPrimAtPath("/World/Ground")).GetPointsAttr().Get())
    assert corners @ normal == pytest.approx(np.full(4, -0.5), abs=1e-5)
    assert np.cross(corners[1] - corners[0], corners[2] - corners[0]) @ normal > 0  # its face is up
    assert [mesh.name for mesh in load_model(tmp_path / "a.usda").meshes] == ["/World/Scene"]

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.blockout import Blockout, load_blockout, unique_names
from geometry.guides import GuideSource
from geometry.mesh import Mesh, MeshError, load_model, save_ply
from tests.geometry.gltf_writer import SQUARE, GltfWriter


def world_vertices(blockout: Blockout, frame: float, name: str) -> np.ndarray:
    """(V, 3) of one object, where it stands at ``frame``."""
    found = blockout.instances(frame)[blockout.object_id(name) - 1]
    return np.concatenate([rigid.transform(found.world_from_object, mesh.vertices) for mesh in found.meshes])


def moved(points: np.ndarray, *by: float) -> np.ndarray:
    return points + np.array(by)


# glTF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gltf", ".glb"])
def test_nodes_are_objects_that_move_below_their_parents(tmp_path: Path, suffix: str):
    writer = GltfWriter()
    mesh = writer.mesh()
    child = writer.node("flag", mesh=mesh, translation=[0, 2, 0])
    writer.node("cart", mesh=mesh, children=[child])
    writer.animate({"node": 1, "path": "translation"}, [0, 1], [[0, 0, 0], [24, 0, 0]])
    blockout = load_blockout(writer.save(tmp_path / f"scene{suffix}"))
    assert blockout.names == ("cart", "flag")
    assert (blockout.object_id("cart"), blockout.object_id("flag")) == (1, 2)
    assert blockout.frames == range(25)
    assert world_vertices(blockout, 6, "flag") == pytest.approx(moved(SQUARE, 6, 2, 0))
    assert world_vertices(blockout, 6.5, "cart") == pytest.approx(moved(SQUARE, 6.5, 0, 0))
    assert world_vertices(blockout, 99, "cart") == pytest.approx(moved(SQUARE, 24, 0, 0))


def test_rotations_splines_and_steps(tmp_path: Path):
    half_turn = Rotation.from_euler("y", [[0], [180]], degrees=True).as_quat()
    writer = GltfWriter()
    mesh = writer.mesh()
    for name in ("turns", "glides", "jumps"):
        writer.node(name, mesh=mesh)
    writer.animate({"node": 0, "path": "rotation"}, [0, 1], half_turn)
    rest, aside = [0, 0, 0], [8, 0, 0]
    spline = [rest, rest, rest, rest, aside, rest]  # slope in, value, slope out
    writer.animate({"node": 1, "path": "translation"}, [0, 1], spline, mode="CUBICSPLINE")
    writer.animate({"node": 2, "path": "translation"}, [0, 1], [rest, aside], mode="STEP")
    blockout = load_blockout(writer.save(tmp_path / "scene.glb"))
    quarter = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    assert world_vertices(blockout, 12, "turns") == pytest.approx(SQUARE @ quarter.T, abs=1e-6)
    # A cubic with flat ends is at 3 t^2 - 2 t^3 of the way.
    assert world_vertices(blockout, 6, "glides") == pytest.approx(moved(SQUARE, 8 * (3 / 16 - 2 / 64), 0, 0))
    assert world_vertices(blockout, 23, "jumps") == pytest.approx(SQUARE)


def skinned_strip() -> GltfWriter:
    """A strip of two quads along x; its far end belongs to a joint at (1, 0, 0) that turns by 90 degrees about z."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0], [1, 1, 0], [2, 1, 0.0]])
    weights = np.array([[1, 0], [0.5, 0.5], [0, 1]] * 2)
    writer = GltfWriter()
    bind = np.stack([np.eye(4), rigid.rigid(np.eye(3), np.array([-1.0, 0, 0]))])
    by_columns = writer.accessor(bind.swapaxes(1, 2).reshape(2, 16))
    writer.json["skins"] = [{"joints": [1, 2], "inverseBindMatrices": by_columns}]
    influences = {
        "JOINTS_0": writer.accessor(np.tile([0, 1, 0, 0], (6, 1)), "u1"),
        "WEIGHTS_0": writer.accessor(np.pad(weights, ((0, 0), (0, 2)))),
        "NORMAL": writer.accessor(np.tile([0, 0, 1], (6, 1))),
    }
    mesh = writer.mesh(vertices, ((0, 1, 4), (0, 4, 3), (1, 2, 5), (1, 5, 4)), attributes=influences)
    writer.node("strip", mesh=mesh, skin=0, translation=[50, 0, 0])  # a skin ignores its own node
    writer.node("root", children=[2])
    writer.node("tip", translation=[1, 0, 0])
    turn = Rotation.from_euler("z", [[0], [90]], degrees=True).as_quat()
    writer.animate({"node": 2, "path": "rotation"}, [0, 1], turn)
    return writer


def test_skins_blend_their_joints_linearly(tmp_path: Path):
    blockout = load_blockout(skinned_strip().save(tmp_path / "strip.glb"))
    assert blockout.names == ("strip",)
    bent = world_vertices(blockout, 24, "strip")
    assert bent[0] == pytest.approx((0, 0, 0), abs=1e-6)
    assert bent[2] == pytest.approx((1, 1, 0), abs=1e-6)  # (1, 0) about the joint, turned up
    assert bent[5] == pytest.approx((0, 1, 0), abs=1e-6)
    # Half (1, 1), which the root leaves, and half (0, 1) about the joint turned to (-1, 0).
    assert bent[4] == pytest.approx((0.5, 0.5, 0), abs=1e-6)


def test_flow_follows_a_skinned_surface(tmp_path: Path):
    writer = skinned_strip()
    writer.json["cameras"] = [{"type": "perspective", "perspective": {"yfov": 0.8, "znear": 0.1}}]
    writer.node("eye", camera=0, translation=[1, 0.5, 5])
    blockout = load_blockout(writer.save(tmp_path / "strip.glb"))
    guides = GuideSource(blockout.instances, blockout.camera_path((96, 96)))
    camera, pose = guides.cameras.camera(0), guides.cameras.pose(0)
    x, y = camera.px_from_cam(rigid.transform(pose, np.array([[1.75, 0.25, 0]])))[0]
    found = guides.flow(0, 24).target_px[int(y), int(x)]
    # The corner's weights, moved: three parts of the far end to one of the blended middle, a quarter of the way up.
    corners = world_vertices(blockout, 24, "strip")[[1, 2, 5]]
    expected = camera.px_from_cam(rigid.transform(pose, np.array([0.25, 0.5, 0.25]) @ corners))
    assert found == pytest.approx(expected, abs=1.0)  # the pixel's centre is not the point itself
    assert guides.flow(0, 12).visible[guides.guides(0).gbuffer.object_id > 0].mean() > 0.9


def test_morph_targets_move_by_their_weights(tmp_path: Path):
    writer = GltfWriter()
    lift = np.tile([0, 0, 1.0], (4, 1))
    mesh = writer.mesh(targets=[{"POSITION": writer.accessor(lift)}, {"POSITION": writer.accessor(2 * lift)}])
    writer.node("face", mesh=mesh)
    writer.animate({"node": 0, "path": "weights"}, [0, 1], [0, 0, 1, 0.25])
    blockout = load_blockout(writer.save(tmp_path / "face.glb"))
    assert world_vertices(blockout, 24, "face") == pytest.approx(moved(SQUARE, 0, 0, 1.5))
    assert world_vertices(blockout, 12, "face") == pytest.approx(moved(SQUARE, 0, 0, 0.75))


def test_sparse_and_whole_number_data(tmp_path: Path):
    writer = GltfWriter()
    mesh = writer.mesh(attributes={"COLOR_0": writer.accessor(np.full((4, 3), 51), "u1", normalized=True)})
    rows, values = writer.accessor([2], "u2"), writer.accessor([[5, 5, 5]])
    accessors = writer.json["accessors"]
    positions = writer.json["meshes"][mesh]["primitives"][0]["attributes"]["POSITION"]
    accessors[positions]["sparse"] = {
        "count": 1,
        "indices": {"bufferView": accessors[rows]["bufferView"], "componentType": 5123},
        "values": {"bufferView": accessors[values]["bufferView"]},
    }
    writer.node("square", mesh=mesh)
    found = load_blockout(writer.save(tmp_path / "square.glb")).instances(0)[0].meshes[0]
    assert found.vertices[[0, 2]] == pytest.approx(np.array([[-1, -1, 0], [5, 5, 5]]))
    assert found.colors == pytest.approx(0.2)


@pytest.mark.parametrize(("mode", "expected"), [(5, [[0, 1, 2], [1, 3, 2]]), (6, [[1, 2, 0], [2, 3, 0]])])
def test_strips_and_fans(tmp_path: Path, mode: int, expected: list[list[int]]):
    writer = GltfWriter()
    writer.node("square", mesh=writer.mesh(faces=[[0, 1, 2, 3]], mode=mode))
    found = load_blockout(writer.save(tmp_path / "square.glb")).instances(0)[0].meshes[0].faces
    assert np.sort(found, 1).tolist() == np.sort(expected, 1).tolist()


def test_a_lasting_uneven_scale_goes_into_the_vertices(tmp_path: Path):
    writer = GltfWriter()
    writer.node("plank", mesh=writer.mesh(), scale=[3, 0.5, 1])
    writer.animate({"node": 0, "path": "translation"}, [0, 1], [[0, 0, 0], [4, 0, 0]])
    blockout = load_blockout(writer.save(tmp_path / "plank.glb"))
    first, later = blockout.instances(0)[0], blockout.instances(12)[0]
    assert first.world_from_object == pytest.approx(np.eye(4))
    assert later.meshes[0] is first.meshes[0]  # renderers know what did not change shape by its identity
    assert world_vertices(blockout, 12, "plank") == pytest.approx(moved(SQUARE * (3, 0.5, 1), 2, 0, 0))


def test_a_scale_that_grows_unevenly(tmp_path: Path):
    writer = GltfWriter()
    writer.node("jelly", mesh=writer.mesh())
    writer.animate({"node": 0, "path": "scale"}, [0, 1], [[1, 1, 1], [1, 3, 1]])
    blockout = load_blockout(writer.save(tmp_path / "jelly.glb"))
    assert world_vertices(blockout, 12, "jelly") == pytest.approx(SQUARE * (1, 2, 1))


def test_takes_of_one_node_do_not_mix(tmp_path: Path):
    writer = GltfWriter()
    writer.node("hero", mesh=writer.mesh())
    writer.animate({"node": 0, "path": "translation"}, [0, 1], [[0, 0, 0], [1, 0, 0]], name="walk")
    writer.animate({"node": 0, "path": "translation"}, [0, 1], [[0, 0, 0], [0, 9, 0]], name="jump")
    file = writer.save(tmp_path / "hero.glb")
    walks = load_blockout(file)
    assert world_vertices(walks, 24, "hero") == pytest.approx(moved(SQUARE, 1, 0, 0))
    assert walks.warnings == ("hero.glb: animation 'jump' moves what an earlier one moves: it is left out",)
    assert world_vertices(load_blockout(file, animation="jump"), 24, "hero") == pytest.approx(moved(SQUARE, 0, 9, 0))
    with pytest.raises(MeshError, match="animation: expected one of walk, jump, got 'run'"):
        load_blockout(file, animation="run")


def camera_scene() -> GltfWriter:
    writer = GltfWriter()
    writer.json["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1.0, "aspectRatio": 4 / 3, "znear": 0.1}}]
    writer.node("wall", mesh=writer.mesh())
    writer.node("eye", camera=0, translation=[0, 0, 5])
    return writer


def test_a_camera_moves_and_zooms(tmp_path: Path):
    writer = camera_scene()
    writer.animate({"node": 1, "path": "translation"}, [0, 1], [[0, 0, 5], [0, 0, 3]])
    pointer = {"KHR_animation_pointer": {"pointer": "/cameras/0/perspective/yfov"}}
    writer.animate({"path": "pointer", "extensions": pointer}, [0, 1], [1.0, 0.5])
    path = load_blockout(writer.save(tmp_path / "scene.glb")).camera_path((640, 480))
    assert path.frames == tuple(range(25))
    assert path.centres[12] == pytest.approx((0, 0, 4))
    assert path.view_directions[12] == pytest.approx((0, 0, -1))
    assert path.cameras[0].fy == pytest.approx(240 / np.tan(0.5))
    assert path.cameras[12].fy == pytest.approx(240 / np.tan(0.375))
    assert path.cameras[0].cx == 320


def test_which_camera_is_asked_for(tmp_path: Path):
    writer = camera_scene()
    writer.node("bird", camera=0)
    two = load_blockout(writer.save(tmp_path / "two.glb"))
    assert two.camera_path((640, 480), "bird", range(3)).centres == pytest.approx(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="expected the name of one of eye, bird, got none"):
        two.camera_path((640, 480))
    with pytest.raises(ValueError, match="expected one of eye, bird, got 'ey'"):
        two.camera_path((640, 480), "ey")
    with pytest.raises(ValueError, match="aspect: expected 1.000"):
        two.camera_path((480, 480), "eye")
    none = GltfWriter()
    none.node("wall", mesh=none.mesh())
    with pytest.raises(ValueError, match="expected one in the file, got only the objects wall"):
        load_blockout(none.save(tmp_path / "none.glb")).camera_path((640, 480))
    with pytest.raises(ValueError, match="object: expected one of wall, got 'roof'"):
        two.object_id("roof")


def png() -> bytes:
    from PIL import Image

    memory = io.BytesIO()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(memory, "PNG")
    return memory.getvalue()


def textured(uri: str, **transform: object) -> GltfWriter:
    writer = GltfWriter()
    writer.json["images"], writer.json["textures"] = [{"uri": uri}], [{"source": 0}]
    extension = {"extensions": {"KHR_texture_transform": transform}} if transform else {}
    look = {"baseColorTexture": {"index": 0, **extension}, "baseColorFactor": [1, 0.5, 0.25, 1], "roughnessFactor": 0.3}
    writer.json["materials"] = [{"pbrMetallicRoughness": look}]
    uv = writer.accessor([[0, 1], [1, 1], [1, 0], [0, 0.0]])
    writer.node("wall", mesh=writer.mesh(attributes={"TEXCOORD_0": uv}, material=0))
    return writer


def test_materials_and_textures(tmp_path: Path):
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    mesh = load_blockout(textured(uri).save(tmp_path / "wall.glb")).instances(0)[0].meshes[0]
    assert np.array_equal(mesh.material.base_texture, np.arange(48).reshape(4, 4, 3))
    assert mesh.material.base_color == pytest.approx((1, 0.5, 0.25))
    assert mesh.material.roughness == pytest.approx(0.3)
    assert mesh.uv == pytest.approx(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]))  # v up
    moved = textured(uri, scale=[2, 1], offset=[0.5, 0.25]).save(tmp_path / "moved.glb")
    assert load_blockout(moved).instances(0)[0].meshes[0].uv[0] == pytest.approx((0.5, 1 - 1.25))


def test_a_missing_texture_is_a_warning(tmp_path: Path):
    blockout = load_blockout(textured("bricks.png").save(tmp_path / "wall.gltf"))
    assert blockout.warnings == ("wall.gltf: texture 'bricks.png' is missing, its base colour is used",)
    assert blockout.instances(0)[0].meshes[0].material.base_texture is None


def test_files_outside_the_folder_are_not_read(tmp_path: Path):
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "scene").mkdir()
    with pytest.raises(MeshError, match="expected a file beside it"):
        load_blockout(textured("../secret.png").save(tmp_path / "scene" / "wall.gltf"))


def test_bad_gltf_is_named(tmp_path: Path):
    empty = GltfWriter()
    empty.node("nothing")
    with pytest.raises(MeshError, match="at least one object with triangles, got none"):
        load_blockout(empty.save(tmp_path / "empty.glb"))
    broken = GltfWriter()
    broken.node("wall", mesh=broken.mesh(np.array([[0, 0, 0], [1, 0, 0], [np.nan, 1, 0], [0, 1, 0]])))
    with pytest.raises(MeshError, match="expected finite coordinates, got nan or inf in 1 of 4"):
        load_blockout(broken.save(tmp_path / "broken.glb"))
    cut = (tmp_path / "broken.glb").read_bytes()[:300]
    (tmp_path / "cut.glb").write_bytes(cut)
    with pytest.raises(MeshError, match=r"cut\.glb"):
        load_blockout(tmp_path / "cut.glb")
    packed = GltfWriter()
    packed.json["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    with pytest.raises(MeshError, match="expected plain geometry, got KHR_draco_mesh_compression"):
        load_blockout(packed.save(tmp_path / "packed.gltf"))
    with pytest.raises(MeshError, match="no such file"):
        load_blockout(tmp_path / "absent.glb")
    with pytest.raises(MeshError, match=r"expected a scene file .*, got '\.blend'"):
        load_blockout(tmp_path / "scene.blend")


def test_names_are_unique():
    assert unique_names(["box", "box", "box.2", "box"]) == ("box", "box.2", "box.2.2", "box.3")


# OBJ and PLY -----------------------------------------------------------------------------------------------------

OBJ = """mtllib colours.mtl
o roof
v 0 0 0
v 1 0 0
v 0 1 0
usemtl red
f 1 2 3
o wall
v 0 0 1
v 1 0 1
v 0 1 1
v 1 1 1
usemtl red
f 4 5 6
usemtl blue
f 5 7 6
"""


def test_objects_of_an_obj_keep_their_names_and_materials(tmp_path: Path):
    (tmp_path / "house.obj").write_text(OBJ)
    (tmp_path / "colours.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    house = load_blockout(tmp_path / "house.obj")
    assert house.names == ("roof", "wall")
    assert house.warnings == ()
    assert house.frames == range(1)
    colours = [[mesh.material.base_color for mesh in found.meshes] for found in house.instances(0)]
    assert colours == [[(1, 0, 0)], [(1, 0, 0), (0, 0, 1)]]
    assert world_vertices(house, 0, "wall")[:, 2] == pytest.approx(1)


def test_groups_serve_where_an_obj_has_no_objects_and_its_up_may_be_z(tmp_path: Path):
    (tmp_path / "house.obj").write_text(OBJ.replace("o roof", "g roof").replace("o wall", "g wall"))
    house = load_blockout(tmp_path / "house.obj", up_axis="+z")
    assert house.names == ("roof", "wall")
    assert world_vertices(house, 0, "wall")[:, 1] == pytest.approx(1)
    assert house.warnings == ("house.obj: 'colours.mtl' is missing, its base colour is used",)


def test_a_ply_is_one_object(tmp_path: Path):
    save_ply(Mesh(SQUARE, np.array([[0, 1, 2], [0, 2, 3]], np.int32)), tmp_path / "wall.ply")
    wall = load_blockout(tmp_path / "wall.ply")
    assert wall.names == ("wall",)
    assert world_vertices(wall, 0, "wall") == pytest.approx(SQUARE)


# USD -------------------------------------------------------------------------------------------------------------


def usd_stage(path: Path):
    from pxr import Usd, UsdGeom

    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    stage.SetStartTimeCode(1)
    stage.SetEndTimeCode(11)
    return stage


def usd_square(stage, path: str):
    from pxr import UsdGeom

    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr([tuple(p) for p in SQUARE.tolist()])
    mesh.CreateFaceVertexCountsAttr([4])
    mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    mesh.CreateSubdivisionSchemeAttr("none")
    return mesh


def test_usd_transforms_points_and_cameras_over_time(tmp_path: Path):
    from pxr import Gf, UsdGeom

    stage = usd_stage(tmp_path / "scene.usda")
    usd_square(stage, "/cart/box")
    shift = UsdGeom.Xform.Define(stage, "/cart").AddTranslateOp()
    shift.Set(Gf.Vec3d(0, 0, 0), 1)
    shift.Set(Gf.Vec3d(100, 0, 200), 11)
    bends = usd_square(stage, "/sheet")
    bends.GetPointsAttr().Set([tuple(p) for p in SQUARE.tolist()], 1)
    bends.GetPointsAttr().Set([tuple(p) for p in moved(SQUARE, 0, 0, 4).tolist()], 11)
    camera = UsdGeom.Camera.Define(stage, "/eye")
    camera.CreateHorizontalApertureAttr(36)
    camera.CreateVerticalApertureAttr(24)
    camera.CreateFocalLengthAttr().Set(36, 1)
    camera.GetFocalLengthAttr().Set(72, 11)
    camera.AddTranslateOp().Set(Gf.Vec3d(0, 0, 500))
    stage.Save()
    blockout = load_blockout(tmp_path / "scene.usda")
    assert blockout.names == ("box", "sheet")
    assert blockout.frames == range(1, 12)
    # Centimetres and +Z up: (x, y, z) is (x, z, -y) / 100 of ours.
    yup = np.stack([SQUARE[:, 0], SQUARE[:, 2], -SQUARE[:, 1]], 1) / 100
    assert world_vertices(blockout, 6, "box") == pytest.approx(moved(yup, 0.5, 1, 0))
    assert world_vertices(blockout, 6, "sheet") == pytest.approx(moved(yup, 0, 0.02, 0))
    path = blockout.camera_path((720, 480))
    assert path.frames == tuple(range(1, 12))
    assert path.centres[0] == pytest.approx((0, 5, 0))
    assert path.view_directions[0] == pytest.approx((0, -1, 0))  # an unturned camera looks along -Z, down
    assert [path.cameras[i].fx for i in (0, 5, 10)] == pytest.approx([720, 1080, 1440])


def test_usd_skeletons_bend_their_meshes_and_leave_the_file_alone(tmp_path: Path):
    from pxr import Gf, UsdSkel, Vt

    stage = usd_stage(tmp_path / "skin.usda")
    UsdSkel.Root.Define(stage, "/hero")
    skeleton = UsdSkel.Skeleton.Define(stage, "/hero/bones")
    skeleton.CreateJointsAttr(["root"])
    rest = Vt.Matrix4dArray([Gf.Matrix4d(1)])
    skeleton.CreateBindTransformsAttr(rest)
    skeleton.CreateRestTransformsAttr(rest)
    moves = UsdSkel.Animation.Define(stage, "/hero/moves")
    moves.CreateJointsAttr(["root"])
    moves.CreateRotationsAttr([Gf.Quatf(1)])
    moves.CreateScalesAttr([Gf.Vec3h(1)])
    for time, x in ((1, 0), (11, 300)):
        moves.CreateTranslationsAttr().Set([Gf.Vec3f(x, 0, 0)], time)
    UsdSkel.BindingAPI.Apply(skeleton.GetPrim()).CreateAnimationSourceRel().SetTargets(["/hero/moves"])
    mesh = usd_square(stage, "/hero/body")
    binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
    binding.CreateSkeletonRel().SetTargets(["/hero/bones"])
    binding.CreateJointIndicesPrimvar(False, 1).Set([0] * 4)
    binding.CreateJointWeightsPrimvar(False, 1).Set([1.0] * 4)
    stage.Save()
    before = (tmp_path / "skin.usda").read_bytes()
    blockout = load_blockout(tmp_path / "skin.usda")
    assert blockout.names == ("body",)
    assert world_vertices(blockout, 11, "body")[0, 0] == pytest.approx(2.99, abs=1e-5)
    assert world_vertices(blockout, 6, "body")[0, 0] == pytest.approx(1.49, abs=1e-5)
    assert (tmp_path / "skin.usda").read_bytes() == before


def test_bad_usd_is_named(tmp_path: Path):
    (tmp_path / "broken.usda").write_text("no stage")
    with pytest.raises(MeshError, match="not a readable USD stage"):
        load_blockout(tmp_path / "broken.usda")
    usd_stage(tmp_path / "empty.usda").Save()
    with pytest.raises(MeshError, match="at least one object with triangles"):
        load_blockout(tmp_path / "empty.usda")


def test_a_still_gltf_is_what_the_model_reader_says(tmp_path: Path):
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    writer = textured(uri)
    writer.json["nodes"][0] |= {"scale": [2, -1, 0.5], "translation": [1, 2, 3]}  # mirrored, too
    writer.json["scenes"] = [{"nodes": [0]}]
    file = writer.save(tmp_path / "wall.glb")
    model, found = load_model(file).meshes[0], load_blockout(file).instances(0)[0].meshes[0]
    assert found.vertices[found.faces] == pytest.approx(model.vertices[model.faces], abs=1e-5)
    assert found.uv == pytest.approx(model.uv)
    assert np.array_equal(found.material.base_texture, model.material.base_texture)

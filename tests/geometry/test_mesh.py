"""Files made here, with known contents, read back."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from geometry.mesh import Material, Mesh, MeshError, baked, linear_from_srgb, load_model, save_ply, srgb_from_linear

NAN_PLY = b"""ply
format ascii 1.0
element vertex 3
property float x
property float y
property float z
element face 1
property list uchar int vertex_indices
end_header
0 0 0
nan 0 0
0 1 0
3 0 1 2
"""
TRIANGLE = "v 0 0 0\nv 2 0 0\nv 0 3 1\nvt 0 0\nvt 1 0\nvt 0 1\nvn 0 0 1\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def textured_glb(path: Path, **material) -> Path:
    """Two nodes that share one quad: one lifted by 2, one scaled by 3."""
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    quad = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    pbr = trimesh.visual.material.PBRMaterial(name="paint", baseColorTexture=image, **material)
    quad.visual = trimesh.visual.TextureVisuals(uv=[[0, 0], [1, 0], [1, 1], [0, 1]], material=pbr)
    scene = trimesh.Scene()
    lifted, scaled = np.eye(4), np.diag([3.0, 3.0, 3.0, 1.0])
    lifted[1, 3] = 2
    scene.add_geometry(quad, geom_name="quad", node_name="lifted", transform=lifted)
    scene.add_geometry(quad, geom_name="quad", node_name="scaled", transform=scaled)
    scene.export(path)
    return path


def test_glb_nodes_are_baked_and_its_material_read(tmp_path):
    model = load_model(textured_glb(tmp_path / "a.glb", metallicFactor=0.25, roughnessFactor=0.75))
    np.testing.assert_allclose(model.bounds, [[0, 0, 0], [3, 3, 0]])
    np.testing.assert_allclose(model.base_centre, [1.5, 0, 0])
    assert model.height == 3 and model.metres_per_unit == 1.0 and model.warnings == ()
    assert sorted(float(m.vertices[:, 1].max()) for m in model.meshes) == [3, 3]
    material = model.meshes[0].material
    assert (material.metallic, material.roughness, material.base_color) == (0.25, 0.75, (1, 1, 1))
    np.testing.assert_array_equal(material.base_texture, np.arange(48).reshape(4, 4, 3))
    uv = model.meshes[0].uv
    assert uv is not None
    np.testing.assert_allclose(uv[np.argmin(model.meshes[0].vertices.sum(1))], [0, 0])  # v is up


def test_gltf_defaults_and_dark_factors_are_exact(tmp_path):
    path = textured_glb(tmp_path / "a.gltf")
    document = json.loads(path.read_text())
    document["materials"][0]["pbrMetallicRoughness"] = {"baseColorFactor": [0.001, 0.002, 0.5, 1]}
    document["materials"][0]["emissiveFactor"] = [0.1, 0, 0]
    path.write_text(json.dumps(document))
    material = load_model(path).meshes[0].material
    assert material.base_color == (0.001, 0.002, 0.5) and material.emissive == (0.1, 0, 0)
    assert (material.metallic, material.roughness) == (1.0, 1.0)  # glTF 2.0, 3.9.2: what is absent is 1


def test_alpha_modes(tmp_path):
    picture = np.full((2, 2, 4), 255, np.uint8)
    picture[0, 0, 3] = 10
    for mode, cutoff, channels in (("OPAQUE", None, 3), ("MASK", 0.3, 4), ("BLEND", None, 4)):
        path = textured_glb(tmp_path / f"{mode}.gltf", alphaMode=mode, alphaCutoff=0.3)
        document = json.loads(path.read_text())
        Image.fromarray(picture).save(tmp_path / "cut.png")
        document["images"] = [{"uri": "cut.png"}]
        path.write_text(json.dumps(document))
        material = load_model(path).meshes[0].material
        assert material.base_texture is not None and material.base_texture.shape == (2, 2, channels), mode
        assert material.alpha_cutoff == cutoff, mode


def test_missing_texture_is_a_warning(tmp_path):
    path = textured_glb(tmp_path / "a.gltf")
    document = json.loads(path.read_text())
    document["images"] = [{"uri": "gone.png"}]
    path.write_text(json.dumps(document))
    model = load_model(path)
    assert model.meshes[0].material.base_texture is None
    assert model.warnings == ("a.gltf: texture 'gone.png' is missing, its base colour is used",)


def test_obj_with_material_library(tmp_path):
    write(tmp_path / "a.mtl", "newmtl paint\nKd .5 .25 .125\nNs 98\nmap_Kd gone.png\n")
    model = load_model(write(tmp_path / "a.obj", "mtllib a.mtl\n" + TRIANGLE + "usemtl paint\nf 1/1/1 2/2/1 3/3/1\n"))
    (mesh,) = model.meshes
    assert mesh.uv is not None and mesh.normals is not None
    np.testing.assert_allclose(mesh.vertices, [[0, 0, 0], [2, 0, 0], [0, 3, 1]])
    np.testing.assert_allclose(mesh.uv, [[0, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(mesh.normals, [[0, 0, 1]] * 3)
    assert mesh.material.base_color == (0.5, 0.25, 0.125)
    assert mesh.material.roughness == pytest.approx(np.sqrt(0.02))
    assert model.metres_per_unit is None and "gone.png" in model.warnings[0]


def test_up_axis_turns_the_model(tmp_path):
    path = write(tmp_path / "a.obj", TRIANGLE + "f 1 2 3\n")
    model = load_model(path, "+z")
    np.testing.assert_allclose(model.meshes[0].vertices, [[0, 0, 0], [2, 0, 0], [0, 1, -3]], atol=1e-12)
    assert model.height == pytest.approx(1)
    assert load_model(path, "-y").height == pytest.approx(3)
    with pytest.raises(ValueError, match="up_axis: expected one of"):
        load_model(path, "up")


def test_ply_round_trip_with_colours_and_normals(tmp_path):
    rng = np.random.default_rng(0)
    colors = linear_from_srgb(rng.integers(0, 256, (5, 3), dtype=np.uint8)).astype(float)
    normals = np.eye(3)[[0, 1, 2, 0, 1]]
    faces = np.array([[0, 1, 2], [2, 3, 4]], np.int32)
    mesh = Mesh(rng.normal(size=(5, 3)), faces, normals=normals, colors=colors)
    save_ply(mesh, tmp_path / "a.ply")
    (back,) = load_model(tmp_path / "a.ply").meshes
    np.testing.assert_allclose(back.vertices, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(back.faces, mesh.faces)
    assert back.normals is not None and back.colors is not None
    np.testing.assert_allclose(back.normals, normals)
    np.testing.assert_allclose(back.colors, colors, atol=1e-6)


def test_srgb_literals():
    assert srgb_from_linear(np.array([0.0, 0.5, 1.0, 2.0])).tolist() == [0, 188, 255, 255]
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(srgb_from_linear(linear_from_srgb(codes)), codes)


def test_mirroring_transform_keeps_normals_and_winding_together():
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]], np.int32), normals=np.full((3, 3), 3**-0.5))
    moved = baked(mesh, np.diag([-1.0, 2.0, 1.0, 1.0]))
    a, b, c = moved.vertices[moved.faces[0]]
    flat = np.cross(b - a, c - a)
    assert moved.normals is not None
    assert flat @ moved.normals[0] > 0
    expected = np.array([-1, 0.5, 1]) / np.linalg.norm([-1, 0.5, 1])  # the inverse transpose turns normals
    np.testing.assert_allclose(moved.normals[0], expected)


@pytest.mark.parametrize("suffix", ["usda", "usdc", "usdz"])
def test_usd_axes_units_polygons_and_preview_surface(tmp_path, suffix):
    from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, UsdUtils

    source = tmp_path / ("a.usda" if suffix == "usdz" else f"a.{suffix}")
    stage = Usd.Stage.CreateNew(str(source))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    UsdGeom.Xform.Define(stage, "/root").AddTranslateOp().Set(Gf.Vec3d(10, 0, 5))
    prim = UsdGeom.Mesh.Define(stage, "/root/quad")
    prim.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (1, 0, 2), (0, 0, 2)])
    prim.CreateFaceVertexCountsAttr([4])
    prim.CreateFaceVertexIndicesAttr([0, 1, 2, 3])
    st = UsdGeom.PrimvarsAPI(prim).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
    st.Set([(0, 0), (1, 0), (1, 1), (0, 1)])
    material = UsdShade.Material.Define(stage, "/root/paint")
    shader = UsdShade.Shader.Define(stage, "/root/paint/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.25)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    Image.fromarray(np.full((2, 2, 3), 77, np.uint8)).save(tmp_path / "t.png")
    texture = UsdShade.Shader.Define(stage, "/root/paint/texture")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set("./t.png")
    color = shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f)
    color.ConnectToSource(texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3))
    UsdShade.MaterialBindingAPI.Apply(prim.GetPrim()).Bind(material)
    hidden = UsdGeom.Mesh.Define(stage, "/root/hidden")
    hidden.CreatePointsAttr([(0, 0, 0), (99, 0, 0), (0, 0, 99)])
    hidden.CreateFaceVertexCountsAttr([3])
    hidden.CreateFaceVertexIndicesAttr([0, 1, 2])
    hidden.MakeInvisible()
    stage.GetRootLayer().Save()
    path = source
    if suffix == "usdz":
        path = tmp_path / "a.usdz"
        assert UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(source)), str(path))
    model = load_model(path)
    (mesh,) = model.meshes
    assert len(mesh.faces) == 2 and model.metres_per_unit == pytest.approx(0.01)
    np.testing.assert_allclose(model.bounds, [[10, 5, 0], [11, 7, 0]], atol=1e-9)  # +z became +y
    assert mesh.material.roughness == pytest.approx(0.25)
    assert mesh.material.base_texture is not None and mesh.uv is not None
    assert np.all(mesh.material.base_texture == 77)
    np.testing.assert_allclose(mesh.uv[np.argmax(mesh.vertices.sum(1))], [1, 1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.stl", b"solid", "expected a mesh file"),
        ("empty.glb", b"", "the file is empty"),
        ("junk.glb", b"junkjunkjunkjunkjunkjunk", "expected a binary glTF"),
        ("junk.gltf", b"{}", "expected a glTF document"),
        ("junk.ply", b"junk", "cannot be read"),
        ("junk.usda", b"junk", "USD"),
        ("points.obj", b"v 0 0 0\nv 1 0 0\n", "expected at least one mesh with faces"),
        ("nan.obj", b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "finite"),
        ("nan.ply", NAN_PLY, "finite"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MeshError, match=message) as caught:
        load_model(path)
    assert name in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(MeshError, match="no such file"):
        load_model(tmp_path / "none.glb")


def test_truncated_glb(tmp_path):
    path = textured_glb(tmp_path / "a.glb")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(MeshError, match="truncated"):
        load_model(path)


def test_a_million_triangles(tmp_path):
    side = 708
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    vertices = np.stack([x.ravel(), np.sin(x.ravel()), y.ravel()], -1).astype(float)
    first = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([np.stack([first, first + side, first + 1], -1),
                            np.stack([first + 1, first + side, first + side + 1], -1)]).astype(np.int32)  # fmt: skip
    started = time.perf_counter()
    save_ply(Mesh(vertices, faces), tmp_path / "big.ply")
    model = load_model(tmp_path / "big.ply")
    assert len(model.meshes[0].faces) == 2 * (side - 1) ** 2 > 990_000
    assert time.perf_counter() - started < 30


def test_mesh_refuses_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="at least one face"):
        Mesh(np.zeros((3, 3)), np.zeros((0, 3), np.int32))
    with pytest.raises(ValueError, match="index outside"):
        Mesh(np.zeros((3, 3)), np.array([[0, 1, 3]], np.int32), material=Material())
    with pytest.raises(ValueError, match=r"colors: expected shape \(3, 3\)"):
        Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]], np.int32), colors=np.zeros((2, 3)))

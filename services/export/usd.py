"""``scene.usda``: the solved camera, the reconstructed mesh and the placed objects, as other programs open them.

Stage: Y up; time codes are source frame numbers; ``metersPerUnit`` is 1 and ``customLayerData["scaleKnown"]`` says
whether that is true. The ground is a mesh of purpose ``guide``, which no renderer and no mesh reader takes for an
object. The camera has a focal length in mm on a 36 mm film back; its principal point is the aperture's offset. What
USD has no words for (raster, distortion, solved frames) stands in ``backlot:`` attributes of the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from geometry import frames
from geometry.mesh import Mesh
from geometry.rigid import rotation_between
from geometry.scene import Plane
from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath
from services.media import images

Array = np.ndarray

CAMERA_PRIM = "/World/Camera"
SCALE_KNOWN = "scaleKnown"
_GROUND_PER_HEIGHT = 8.0  # side of the drawn ground per camera height above it
_CLIPPING_RANGE = (0.01, 1e5)  # USD's default starts at 1 unit: a metre would hide what is near


@dataclass(frozen=True)
class PlacedObject:
    """Meshes in object space and where they stand: (4, 4), or (N, 4, 4) for the N frames of the camera path.

    A uniform scale may be part of ``world_from_object``.
    """

    name: str
    meshes: Sequence[Mesh]
    world_from_object: Array


def write_usd(
    file: Path,
    path: CameraPath,
    rate: Fraction,
    *,
    mesh: Mesh | None = None,
    ground: Plane | None = None,
    objects: Sequence[PlacedObject] = (),
    scale_known: bool = False,
) -> None:
    """Write ``file`` (.usda, .usdc or .usd) and, for textured objects, ``textures/`` beside it."""
    from pxr import Sdf, Usd, UsdGeom

    file.parent.mkdir(parents=True, exist_ok=True)
    stage = Usd.Stage.CreateInMemory(file.name)
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(float(rate))
    stage.SetFramesPerSecond(float(rate))
    stage.SetStartTimeCode(path.frames[0])
    stage.SetEndTimeCode(path.frames[-1])
    stage.GetRootLayer().customLayerData = {SCALE_KNOWN: scale_known}
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    _add_camera(stage, path)
    if mesh is not None:
        _add_mesh(stage, "/World/Scene", mesh, file.parent)
    if ground is not None:
        _add_ground(stage, ground, path)
    for placed in objects:
        _add_object(stage, placed, path, file.parent)
    layer = Sdf.Layer.CreateNew(str(file)) if not file.exists() else Sdf.Layer.FindOrOpen(str(file))
    layer.TransferContent(stage.GetRootLayer())
    layer.Save()


def _add_camera(stage: Any, path: CameraPath) -> None:
    from pxr import Gf, Sdf, UsdGeom, Vt

    camera = UsdGeom.Camera.Define(stage, CAMERA_PRIM)
    camera.CreateClippingRangeAttr(Gf.Vec2f(*_CLIPPING_RANGE))
    pose = camera.AddTransformOp()
    attributes = {
        "focal_mm": camera.CreateFocalLengthAttr(), "width_mm": camera.CreateHorizontalApertureAttr(),
        "height_mm": camera.CreateVerticalApertureAttr(), "offset_x_mm": camera.CreateHorizontalApertureOffsetAttr(),
        "offset_y_mm": camera.CreateVerticalApertureOffsetAttr(),
    }
    backs = [frames.film_back_from_camera(lens) for lens in path.cameras]
    for name, attribute in attributes.items():
        values = [getattr(back, name) for back in backs]
        if len(set(values)) == 1:
            attribute.Set(values[0])
        else:
            for frame, value in zip(path.frames, values, strict=True):
                attribute.Set(value, frame)
    for frame, matrix in zip(path.frames, frames.usd_from_backlot(path.camera_from_world), strict=True):
        pose.Set(_matrix(matrix), frame)
    prim, lens = camera.GetPrim(), path.cameras[0]
    prim.CreateAttribute("backlot:rasterWh", Sdf.ValueTypeNames.Int2).Set(Gf.Vec2i(*lens.wh))
    prim.CreateAttribute("backlot:frames", Sdf.ValueTypeNames.IntArray).Set(Vt.IntArray(path.frames))
    prim.CreateAttribute("backlot:distortion", Sdf.ValueTypeNames.DoubleArray).Set(Vt.DoubleArray(lens.distortion))


def _add_ground(stage: Any, ground: Plane, path: CameraPath) -> None:
    from pxr import UsdGeom, Vt

    heights = ground.distance(path.centres)
    middle = (path.centres - heights[:, None] * ground.normal).mean(0)
    half = _GROUND_PER_HEIGHT / 2 * float(np.abs(heights).max() or 1.0)
    flat = half * np.array([[-1, 0, 1], [1, 0, 1], [1, 0, -1], [-1, 0, -1]])
    prim = UsdGeom.Mesh.Define(stage, "/World/Ground")
    corners = middle + flat @ rotation_between((0, 1, 0), ground.normal).T
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(corners.astype(np.float32)))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray([4]))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray([0, 1, 2, 3]))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreatePurposeAttr(UsdGeom.Tokens.guide)


def _add_object(stage: Any, placed: PlacedObject, path: CameraPath, folder: Path) -> None:
    from pxr import Tf, UsdGeom

    root = f"/World/{_free_name(stage, '/World', Tf.MakeValidIdentifier(placed.name or 'object'))}"
    pose = UsdGeom.Xform.Define(stage, root).AddTransformOp()
    matrices = np.asarray(placed.world_from_object, np.float64)
    if matrices.ndim == 2:
        expect_shape("world_from_object", matrices, (4, 4))
        pose.Set(_matrix(matrices))
    else:
        expect_shape("world_from_object", matrices, (len(path), 4, 4))
        for frame, matrix in zip(path.frames, matrices, strict=True):
            pose.Set(_matrix(matrix), frame)
    for mesh in placed.meshes:
        name = _free_name(stage, root, Tf.MakeValidIdentifier(mesh.name or "mesh"))
        _add_mesh(stage, f"{root}/{name}", mesh, folder)


def _free_name(stage: Any, parent: str, name: str) -> str:
    taken, wanted = 1, name
    while stage.GetPrimAtPath(f"{parent}/{wanted}"):
        taken += 1
        wanted = f"{name}_{taken}"
    return wanted


def _add_mesh(stage: Any, prim_path: str, mesh: Mesh, folder: Path) -> None:
    from pxr import Sdf, UsdGeom, Vt

    prim = UsdGeom.Mesh.Define(stage, prim_path)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.vertices, np.float32)))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(mesh.faces), 3, np.int32)))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.faces, np.int32).ravel()))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    prim.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([low, high]).astype(np.float32)))
    if mesh.normals is not None:
        prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(mesh.normals, np.float32)))
        prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    if mesh.uv is not None:
        uv = UsdGeom.PrimvarsAPI(prim).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
        uv.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(mesh.uv, np.float32)))
    _bind_material(stage, prim, mesh, folder)


def _bind_material(stage: Any, prim: Any, mesh: Mesh, folder: Path) -> None:
    """UsdPreviewSurface in its metallic workflow: a texture, else colours of vertices, else one colour."""
    from pxr import Gf, Sdf, UsdGeom, UsdShade, Vt

    types, look = Sdf.ValueTypeNames, mesh.material
    name = "_".join(str(prim.GetPath()).split("/")[2:])
    material = UsdShade.Material.Define(stage, f"/World/Materials/{name}")
    surface = UsdShade.Shader.Define(stage, material.GetPath().AppendChild("Surface"))
    surface.CreateIdAttr("UsdPreviewSurface")
    surface.CreateInput("metallic", types.Float).Set(look.metallic)
    surface.CreateInput("roughness", types.Float).Set(look.roughness)
    surface.CreateInput("emissiveColor", types.Color3f).Set(Gf.Vec3f(*look.emissive))
    opacity = surface.CreateInput("opacity", types.Float)
    opacity.Set(look.opacity)
    if look.alpha_cutoff is not None:
        surface.CreateInput("opacityThreshold", types.Float).Set(look.alpha_cutoff)
    colour = surface.CreateInput("diffuseColor", types.Color3f)
    textured = look.base_texture is not None and mesh.uv is not None
    if not textured and mesh.colors is None:
        colour.Set(Gf.Vec3f(*look.base_color))
    elif not textured:
        shown = np.asarray(mesh.colors, np.float32) * np.array(look.base_color, np.float32)
        prim.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(Vt.Vec3fArray.FromNumpy(shown))
        reader = _primvar_reader(stage, material, "displayColor", "float3")
        colour.ConnectToSource(reader.CreateOutput("result", types.Float3))
    else:
        assert look.base_texture is not None
        picture = f"textures/{name}.png"
        images.write_picture(folder / picture, look.base_texture)
        texture = _texture(stage, material, f"./{picture}", look.base_color)
        colour.ConnectToSource(texture.CreateOutput("rgb", types.Float3))
        if look.base_texture.shape[-1] == 4:
            opacity.ConnectToSource(texture.CreateOutput("a", types.Float))
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    UsdShade.MaterialBindingAPI.Apply(prim.GetPrim()).Bind(material)


def _texture(stage: Any, material: Any, file: str, base_color: tuple[float, float, float]) -> Any:
    from pxr import Gf, Sdf, UsdShade

    types = Sdf.ValueTypeNames
    reader = _primvar_reader(stage, material, "st", "float2")
    texture = UsdShade.Shader.Define(stage, material.GetPath().AppendChild("BaseColor"))
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", types.Asset).Set(file)
    texture.CreateInput("sourceColorSpace", types.Token).Set("sRGB")
    texture.CreateInput("scale", types.Float4).Set(Gf.Vec4f(*base_color, 1.0))
    for wrap in ("wrapS", "wrapT"):
        texture.CreateInput(wrap, types.Token).Set("repeat")
    texture.CreateInput("st", types.Float2).ConnectToSource(reader.CreateOutput("result", types.Float2))
    return texture


def _primvar_reader(stage: Any, material: Any, name: str, kind: str) -> Any:
    from pxr import Sdf, UsdShade

    reader = UsdShade.Shader.Define(stage, material.GetPath().AppendChild("Primvar"))
    reader.CreateIdAttr(f"UsdPrimvarReader_{kind}")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set(name)
    return reader


def _matrix(target_from_source: Array) -> Any:
    """USD multiplies row vectors from the left."""
    from pxr import Gf

    return Gf.Matrix4d(np.ascontiguousarray(target_from_source.T).tolist())

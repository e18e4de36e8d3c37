"""USD stages (usd, usda, usdc, usdz): meshes, transforms, up axis, units and UsdPreviewSurface."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from pxr import Ar, Sdf, Usd, UsdGeom, UsdShade

from geometry.mesh import FileContent, Material, Mesh, MeshError, baked

Array = np.ndarray


def read(path: Path) -> FileContent:
    """Visible render-purpose meshes at the stage's start time. Raises ``MeshError`` for a stage that does not open."""
    try:
        stage = Usd.Stage.Open(str(path))
    except Exception as error:  # pxr.Tf.ErrorException, which is no public class
        raise MeshError(f"{path}: not a readable USD stage: {error}") from error
    time = Usd.TimeCode(stage.GetStartTimeCode()) if stage.HasAuthoredTimeCodeRange() else Usd.TimeCode.Default()
    transforms = UsdGeom.XformCache(time)
    warnings: list[str] = []
    meshes: list[Mesh] = []
    for prim in stage.Traverse(Usd.TraverseInstanceProxies(Usd.PrimDefaultPredicate)):
        image = UsdGeom.Imageable(prim)
        if not prim.IsA(UsdGeom.Mesh) or image.ComputeVisibility(time) == UsdGeom.Tokens.invisible:
            continue
        if image.ComputePurpose() in (UsdGeom.Tokens.guide, UsdGeom.Tokens.proxy):
            continue
        matrix = np.array(transforms.GetLocalToWorldTransform(prim), np.float64).T  # USD multiplies row vectors
        meshes += [baked(mesh, matrix) for mesh in _meshes(UsdGeom.Mesh(prim), time, warnings)]
    up = "+" + str(UsdGeom.GetStageUpAxis(stage)).lower()
    return FileContent(tuple(meshes), up, float(UsdGeom.GetStageMetersPerUnit(stage)), tuple(warnings))


def _meshes(prim: UsdGeom.Mesh, time: Usd.TimeCode, warnings: list[str]) -> list[Mesh]:
    """The prim's triangles, one mesh for each material bound to it."""
    path = str(prim.GetPath())
    points = np.array(prim.GetPointsAttr().Get(time) or [], np.float64).reshape(-1, 3)
    counts = np.array(prim.GetFaceVertexCountsAttr().Get(time) or [], np.int64)
    indices = np.array(prim.GetFaceVertexIndicesAttr().Get(time) or [], np.int64)
    if not np.isfinite(points).all():
        raise MeshError(f"prim {path}: points: expected finite coordinates, got nan or inf")
    if counts.sum() != len(indices) or (len(indices) and not 0 <= indices.min() <= indices.max() < len(points)):
        raise MeshError(f"prim {path}: faceVertexIndices do not match faceVertexCounts and points")
    corners, face_of_triangle = _fan(counts)
    if not len(corners):
        return []
    if prim.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded:
        corners = corners[:, ::-1]
    primvars = UsdGeom.PrimvarsAPI(prim)
    uv = _per_corner(primvars.GetPrimvar("st"), time, indices, counts)
    normals = _normals(prim, primvars, time, indices, counts)
    colors = _per_corner(primvars.GetPrimvar("displayColor"), time, indices, counts)
    groups = _material_groups(prim, len(counts))
    # One vertex per corner: uv and normals may differ between the faces that share a point.
    made = []
    for faces, binding in groups:
        chosen = corners[faces[face_of_triangle]]
        if not len(chosen):
            continue
        used, local = np.unique(chosen, return_inverse=True)
        material = _material(binding, time, warnings)
        made.append(Mesh(
            vertices=points[indices[used]],
            faces=local.reshape(-1, 3).astype(np.int32),
            uv=None if uv is None or uv.shape[1] != 2 else uv[used],
            normals=None if normals is None else normals[used],
            material=material or Material(base_color=(1.0, 1.0, 1.0) if colors is not None else (0.8, 0.8, 0.8)),
            name=path,
            colors=None if colors is None or material is not None else np.clip(colors[used], 0, 1),
        ))  # fmt: skip
    return made


def _fan(counts: Array) -> tuple[Array, Array]:
    """(T, 3) corner indices of a fan over each polygon, and the polygon of each triangle."""
    triangles = np.maximum(counts - 2, 0)
    face = np.repeat(np.arange(len(counts)), triangles)
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], -1), face


def _normals(
    prim: UsdGeom.Mesh, primvars: UsdGeom.PrimvarsAPI, time: Usd.TimeCode, indices: Array, counts: Array
) -> Array | None:
    """The primvar wins over the attribute of the same name (UsdGeomPointBased)."""
    primvar = primvars.GetPrimvar("normals")
    if primvar and primvar.HasValue():
        return _per_corner(primvar, time, indices, counts)
    values = prim.GetNormalsAttr().Get(time)
    if not values:
        return None
    return _spread(np.array(values, np.float64), prim.GetNormalsInterpolation(), indices, counts)


def _per_corner(primvar: UsdGeom.Primvar, time: Usd.TimeCode, indices: Array, counts: Array) -> Array | None:
    if not primvar or not primvar.HasValue():
        return None
    values = np.array(primvar.ComputeFlattened(time), np.float64)
    return _spread(values, primvar.GetInterpolation(), indices, counts)


def _spread(values: Array, interpolation: str, indices: Array, counts: Array) -> Array | None:
    """A value for every face corner; None when the count does not fit the interpolation."""
    if interpolation == UsdGeom.Tokens.constant and len(values):
        return np.repeat(values[:1], len(indices), 0)
    if interpolation == UsdGeom.Tokens.uniform and len(values) == len(counts):
        return np.repeat(values, counts, 0)
    if interpolation == UsdGeom.Tokens.faceVarying and len(values) == len(indices):
        return values
    if interpolation in (UsdGeom.Tokens.vertex, UsdGeom.Tokens.varying) and len(values) > indices.max():
        return values[indices]
    return None


def _material_groups(prim: UsdGeom.Mesh, face_count: int) -> list[tuple[Array, Any]]:
    """(mask over faces, material) for the prim's subsets, then for the faces that no subset takes."""
    rest = np.ones(face_count, bool)
    groups = []
    for subset in UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets():
        mask = np.zeros(face_count, bool)
        mask[np.array(subset.GetIndicesAttr().Get() or [], np.int64)] = True
        groups.append((mask & rest, UsdShade.MaterialBindingAPI(subset).ComputeBoundMaterial()[0]))
        rest &= ~mask
    return [*groups, (rest, UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0])]


def _material(bound: Any, time: Usd.TimeCode, warnings: list[str]) -> Material | None:
    """UsdPreviewSurface; None where nothing is bound."""
    surface = bound.ComputeSurfaceSource()[0] if bound else None
    if not surface or surface.GetIdAttr().Get() != "UsdPreviewSurface":
        return None
    texture = _texture(surface.GetInput("diffuseColor"), warnings)
    color = (1.0, 1.0, 1.0) if texture is not None else _value(surface, "diffuseColor", (0.18, 0.18, 0.18), time)
    threshold = _value(surface, "opacityThreshold", 0.0, time)
    emissive = _value(surface, "emissiveColor", (0.0, 0.0, 0.0), time)
    return Material(
        base_color=(float(color[0]), float(color[1]), float(color[2])),
        base_texture=texture,
        metallic=float(_value(surface, "metallic", 0.0, time)),
        roughness=float(_value(surface, "roughness", 0.5, time)),
        emissive=(float(emissive[0]), float(emissive[1]), float(emissive[2])),
        opacity=float(_value(surface, "opacity", 1.0, time)),
        alpha_cutoff=float(threshold) if threshold > 0 else None,
    )


def _value(surface: UsdShade.Shader, name: str, default: Any, time: Usd.TimeCode) -> Any:
    found = surface.GetInput(name)
    value = found.Get(time) if found and not found.HasConnectedSource() else None
    return default if value is None else value


def _texture(found: UsdShade.Input, warnings: list[str]) -> Array | None:
    """(H, W, 3 or 4) uint8 of a connected UsdUVTexture, also out of a usdz archive."""
    if not found or not found.HasConnectedSource():
        return None
    shader = UsdShade.Shader(found.GetConnectedSources()[0][0].source.GetPrim())
    if shader.GetIdAttr().Get() != "UsdUVTexture" or not shader.GetInput("file"):
        return None
    asset: Sdf.AssetPath = shader.GetInput("file").Get()
    opened = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath)) if asset and asset.resolvedPath else None
    if opened is None:
        named = asset.path if asset else ""
        warnings.append(f"{shader.GetPath()}: texture {named!r} is missing, its base colour is used")
        return None
    from PIL import Image

    with Image.open(io.BytesIO(bytes(opened.GetBuffer()))) as image:
        texels = np.asarray(image.convert("RGBA" if "A" in image.getbands() else "RGB"), np.uint8)
    return texels[..., :3].copy() if texels.shape[2] == 4 and texels[..., 3].min() == 255 else texels

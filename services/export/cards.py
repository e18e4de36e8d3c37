"""A layer stack as geometry in a +Y up world: what USD, Nuke and Unreal stand their cards by.

The source camera stands at the origin and looks along -Z. A plane is a rectangle, a relief a grid of at most ``CELLS``
cells on its longer side, its corners at the depth that the layer has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from geometry.camera import Camera, resample
from geometry.frames import OPENGL_FROM_OPENCV
from geometry.layers import Layer, LayerStack
from geometry.trajectory import CameraPath
from services.export.usd import write_usd
from services.media.raw_layers import is_plane

Array = np.ndarray

CELLS = 128
LEVEL_FROM_SOURCE = OPENGL_FROM_OPENCV  # the source camera's axes to a world with y up


@dataclass(frozen=True)
class Card:
    """``vertices`` (V, 3) float64 in the level world and ``uv`` (V, 2), v up, row by row; ``quads`` (F, 4) seen
    counter-clockwise by the source camera."""

    layer: Layer
    vertices: Array
    uv: Array
    quads: Array

    @property
    def is_plane(self) -> bool:
        return len(self.quads) == 1

    @property
    def middle(self) -> Array:
        """(3,) of the corners."""
        return (self.vertices.min(0) + self.vertices.max(0)) / 2

    @property
    def wh(self) -> tuple[float, float]:
        """Its extent across the view, scene units."""
        span = np.ptp(self.vertices, axis=0)
        return float(span[0]), float(span[1])


def cards(stack: LayerStack) -> list[Card]:
    """One for each layer, in order."""
    return [_card(layer, stack.camera) for layer in stack]


def level(path: CameraPath) -> CameraPath:
    """Cameras of the source camera's world in the level one."""
    return path.in_world(LEVEL_FROM_SOURCE)


def write_cards(
    file: Path, stack: LayerStack, path: CameraPath, rate: Fraction, textures: Sequence[str]
) -> None:
    """``scene.usda``: cards that shine by themselves, and the camera of ``path`` (in the source camera's world).

    ``textures`` are the layers' pictures, as paths from the file's folder.
    """
    from pxr import Usd

    write_usd(file, level(path), rate, scale_known=stack.is_metric)
    stage = Usd.Stage.Open(str(file))
    for i, (card, texture) in enumerate(zip(cards(stack), textures, strict=True)):
        _add(stage, f"/World/Cards/card_{i:02d}", card, texture, stack.encoding)
    stage.GetRootLayer().Save()


def _card(layer: Layer, camera: Camera) -> Card:
    h, w = layer.hw
    cells = 1, 1
    if not is_plane(layer.depth):
        step = max(h, w) / CELLS
        cells = min(w, max(1, round(w / step))), min(h, max(1, round(h / step)))
    u, v = np.meshgrid(*(np.linspace(0, 1, n + 1) for n in cells))
    px = np.stack([u * w, v * h], -1)
    inside = np.clip(px, 0.5, [w - 0.5, h - 0.5])
    depth = resample(np.asarray(layer.depth, np.float32), inside).astype(np.float64)
    points = camera.rays_from_px(px + layer.xy) * depth[..., None]
    corner = np.arange(px[..., 0].size).reshape(px.shape[:2])
    quads = np.stack([corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:], corner[:-1, :-1]], -1).reshape(-1, 4)
    return Card(
        layer, points.reshape(-1, 3) @ LEVEL_FROM_SOURCE[:3, :3].T, np.stack([u, 1 - v], -1).reshape(-1, 2), quads
    )


def _add(stage: Any, prim_path: str, card: Card, texture: str, encoding: str) -> None:
    from pxr import Gf, Sdf, UsdGeom, UsdShade, Vt

    mesh = UsdGeom.Mesh.Define(stage, prim_path)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(card.vertices.astype(np.float32)))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(card.quads), 4, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(card.quads.astype(np.int32).ravel()))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    ends = np.stack([card.vertices.min(0), card.vertices.max(0)]).astype(np.float32)
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(ends))
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.vertex)
    st.Set(Vt.Vec2fArray.FromNumpy(card.uv.astype(np.float32)))
    prim = mesh.GetPrim()
    prim.SetDisplayName(card.layer.name)
    size = prim.CreateAttribute("backlot:layerWh", Sdf.ValueTypeNames.Int2)
    size.Set(Gf.Vec2i(*card.layer.hw[::-1]))
    material = _shining(stage, prim_path.replace("/Cards/", "/Materials/"), texture, encoding)
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)


def _shining(stage: Any, path: str, texture: str, encoding: str) -> Any:
    """An unlit material: all of its light is its own."""
    from pxr import Gf, Sdf, UsdShade

    types = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, path)

    def shader(name: str, kind: str, **inputs: tuple[Any, Any]) -> Any:
        made = UsdShade.Shader.Define(stage, material.GetPath().AppendChild(name))
        made.CreateIdAttr(kind)
        for key, (type_name, value) in inputs.items():
            made.CreateInput(key, type_name).Set(value)
        return made

    reader = shader("Primvar", "UsdPrimvarReader_float2", varname=(types.String, "st"))
    picture = shader(
        "Picture", "UsdUVTexture", file=(types.Asset, texture), wrapS=(types.Token, "clamp"),
        wrapT=(types.Token, "clamp"), sourceColorSpace=(types.Token, "sRGB" if encoding == "srgb" else "raw"),
    )  # fmt: skip
    picture.CreateInput("st", types.Float2).ConnectToSource(reader.CreateOutput("result", types.Float2))
    black = (types.Color3f, Gf.Vec3f(0.0))
    surface = shader(
        "Surface", "UsdPreviewSurface", diffuseColor=black, specularColor=black, useSpecularWorkflow=(types.Int, 1),
        roughness=(types.Float, 1.0),
    )  # fmt: skip
    emissive, opacity = surface.CreateInput("emissiveColor", types.Color3f), surface.CreateInput("opacity", types.Float)
    emissive.ConnectToSource(picture.CreateOutput("rgb", types.Float3))
    opacity.ConnectToSource(picture.CreateOutput("a", types.Float))
    material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
    return material

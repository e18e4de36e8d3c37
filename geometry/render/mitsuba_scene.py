"""Backlot's render scenes as Mitsuba scenes: built once per set of meshes, then only moved.

Object-space meshes stay in numpy; when an instance moves, its transformed vertices are written into the loaded scene
(a new ``mi.load_dict`` would compile kernels and decode textures again). Mitsuba is imported by the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import mitsuba as mi
import numpy as np

from geometry import rigid
from geometry.mesh import Material, Mesh, linear_from_srgb
from geometry.render.base import Environment, Instance, RenderScene
from geometry.render.buffers import aligned
from geometry.render.materials import has_holes, hole_map

Array = np.ndarray
ENVIRONMENT = "environment"
LAMBERTIAN_ROUGHNESS = 1.0  # from here on, a dielectric is drawn without its specular lobe


@dataclass
class CompiledScene:
    """A loaded scene and where its instances stand now."""

    scene: Any
    meshes: tuple[tuple[Mesh, ...], ...]  # per instance; keeps the objects alive whose ids are the cache's key
    environment: Environment
    object_ids: tuple[int, ...]
    has_holes: bool
    order: dict[str, int]  # shape name -> index into object_ids
    poses: list[Array] = field(default_factory=list)
    params: Any = None

    def mesh(self, index: int) -> Mesh:
        """The mesh that stands behind ``object_ids[index]``."""
        return [mesh for meshes in self.meshes for mesh in meshes][index]

    def place(self, instances: tuple[Instance, ...], environment: Environment) -> None:
        """Move what stands elsewhere than the last time."""
        moved = False
        for i, instance in enumerate(instances):
            if np.array_equal(self.poses[i], instance.world_from_object):
                continue
            for j, mesh in enumerate(instance.meshes):
                self._write(_shape_name(i, j), mesh, instance.world_from_object)
            self.poses[i] = np.array(instance.world_from_object)
            moved = True
        if environment.yaw != self.environment.yaw:
            self.params[f"{ENVIRONMENT}.to_world"] = _environment_to_world(environment)
            self.environment = environment
            moved = True
        if moved:
            self.params.update()

    def _write(self, name: str, mesh: Mesh, world_from_object: Array) -> None:
        vertices = rigid.transform(world_from_object, mesh.vertices)
        _fill(self.params, f"{name}.vertex_positions", vertices.astype(np.float32).ravel())
        if mesh.normals is not None:
            normals = _world_normals(mesh.normals, world_from_object)
            _fill(self.params, f"{name}.vertex_normals", normals.astype(np.float32).ravel())


def compile_scene(scene: RenderScene) -> CompiledScene:
    """Load ``scene`` into the current Mitsuba variant."""
    described: dict[str, Any] = {"type": "scene", ENVIRONMENT: _environment(scene.environment)}
    for i, instance in enumerate(scene.instances):
        for j, mesh in enumerate(instance.meshes):
            described[_shape_name(i, j)] = _shape(_shape_name(i, j), mesh, instance.world_from_object)
    names = [_shape_name(i, j) for i, instance in enumerate(scene.instances) for j in range(len(instance.meshes))]
    loaded = mi.load_dict(described, optimize=False)
    return CompiledScene(
        scene=loaded,
        meshes=tuple(instance.meshes for instance in scene.instances),
        environment=scene.environment,
        object_ids=tuple(i.object_id for i in scene.instances for _ in i.meshes),
        has_holes=any(has_holes(m.material) for i in scene.instances for m in i.meshes),
        order={name: k for k, name in enumerate(names)},
        poses=[np.array(instance.world_from_object) for instance in scene.instances],
        params=mi.traverse(loaded),
    )


def scene_key(scene: RenderScene) -> tuple[Any, ...]:
    """What must be the same for a loaded scene to be used again: meshes, ids and the light's picture, by identity."""
    instances = tuple((tuple(id(m) for m in i.meshes), i.object_id) for i in scene.instances)
    return instances, id(scene.environment.radiance)


def _shape_name(instance: int, mesh: int) -> str:
    return f"instance{instance}_mesh{mesh}"


def _environment(environment: Environment) -> dict[str, Any]:
    radiance = np.array(environment.radiance, np.float32, order="C")
    bitmap = mi.Bitmap(radiance, pixel_format=mi.Bitmap.PixelFormat.RGB)
    return {"type": "envmap", "bitmap": bitmap, "to_world": _environment_to_world(environment)}


def _environment_to_world(environment: Environment) -> Any:
    # Mitsuba's picture has -z at its left edge; ours has it in the centre column: half a turn.
    return mi.ScalarTransform4f().rotate([0, 1, 0], float(np.degrees(environment.yaw)) + 180.0)


def _shape(name: str, mesh: Mesh, world_from_object: Array) -> Any:
    properties: Any = mi.Properties()
    properties["bsdf"] = mi.load_dict(_bsdf(mesh), optimize=False)
    if any(mesh.material.emissive):
        glow = {"type": "area", "radiance": _rgb(mesh.material.emissive)}
        properties["emitter"] = mi.load_dict(glow, optimize=False)
    shape: Any = mi.Mesh(
        name,
        len(mesh.vertices),
        len(mesh.faces),
        props=properties,
        has_vertex_normals=mesh.normals is not None,
        has_vertex_texcoords=mesh.uv is not None,
    )
    params = mi.traverse(shape)
    _fill(params, "faces", mesh.faces.astype(np.uint32).ravel())
    vertices = rigid.transform(world_from_object, mesh.vertices)
    _fill(params, "vertex_positions", vertices.astype(np.float32).ravel())
    if mesh.normals is not None:
        normals = _world_normals(mesh.normals, world_from_object)
        _fill(params, "vertex_normals", normals.astype(np.float32).ravel())
    if mesh.uv is not None:
        _fill(params, "vertex_texcoords", flip_v(mesh.uv).astype(np.float32).ravel())
    params.update()
    if _uses_vertex_colors(mesh):
        colors = mesh.colors * np.asarray(mesh.material.base_color)
        shape.add_attribute("vertex_color", 3, aligned(colors, np.float32))
    return shape


def _fill(params: Any, name: str, values: Array) -> None:
    # The buffer's type differs between variants (Dr.Jit or plain arrays): the one that is there is used again.
    params[name] = type(params[name])(aligned(values, values.dtype.type))


def flip_v(uv: Array) -> Array:
    """Between v up (ours) and v down (Mitsuba's bitmaps)."""
    return np.stack([uv[..., 0], 1 - uv[..., 1]], -1)


def _world_normals(normals: Array, world_from_object: Array) -> Array:
    # The scale is uniform, so the matrix itself turns normals; zero normals stay zero.
    turned = normals @ world_from_object[:3, :3].T
    return turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)


def _bsdf(mesh: Mesh) -> dict[str, Any]:
    material = mesh.material
    color = _base_color(mesh)
    if material.metallic <= 0 and material.roughness >= LAMBERTIAN_ROUGHNESS:
        surface: dict[str, Any] = {"type": "diffuse", "reflectance": color}
    else:
        surface = {
            "type": "principled",
            "base_color": color,
            "metallic": float(np.clip(material.metallic, 0, 1)),
            "roughness": float(np.clip(material.roughness, 0.03, 1)),
            "specular": 0.5,
        }
    # Files differ in which way their faces wind; both sides are drawn.
    both_sides = {"type": "twosided", "surface": surface}
    if not has_holes(material):
        return both_sides
    return {"type": "mask", "opacity": _holes(material), "surface": both_sides}


def _base_color(mesh: Mesh) -> dict[str, Any]:
    material = mesh.material
    if _uses_vertex_colors(mesh):
        return {"type": "mesh_attribute", "name": "vertex_color"}
    if material.base_texture is None or mesh.uv is None:
        return _rgb(material.base_color)
    texels = np.array(material.base_texture[..., :3], order="C")  # a copy: Mitsuba refuses read-only arrays
    if material.base_color == (1.0, 1.0, 1.0):
        return {"type": "bitmap", "bitmap": mi.Bitmap(texels, pixel_format=mi.Bitmap.PixelFormat.RGB)}
    tinted = (linear_from_srgb(texels) * np.asarray(material.base_color)).astype(np.float32)
    return {"type": "bitmap", "bitmap": mi.Bitmap(tinted, pixel_format=mi.Bitmap.PixelFormat.RGB), "raw": True}


def _uses_vertex_colors(mesh: Mesh) -> bool:
    return mesh.colors is not None and (mesh.material.base_texture is None or mesh.uv is None)


def _holes(material: Material) -> dict[str, Any]:
    solid = hole_map(material)
    assert solid is not None
    bitmap = mi.Bitmap(solid.astype(np.float32)[..., None], pixel_format=mi.Bitmap.PixelFormat.Y)
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "filter_type": "nearest"}


def _rgb(color: tuple[float, float, float]) -> dict[str, Any]:
    return {"type": "rgb", "value": [float(c) for c in color]}

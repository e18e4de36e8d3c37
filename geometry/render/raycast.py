"""G-buffers on any CPU by open3d's ray caster (Embree), for where Mitsuba has no array variant."""

from __future__ import annotations

from typing import Any

import numpy as np

from geometry import rigid
from geometry.camera import pixel_centres
from geometry.mesh import Mesh
from geometry.render.base import RenderScene, View
from geometry.render.materials import hole_map, is_solid
from geometry.scene import GBuffer

Array = np.ndarray
HOLES_PASSED = 16


def gbuffer(scene: RenderScene, view: View) -> GBuffer:
    """Geometry at pixel centres, first shutter sample; looks through the holes of cut-out textures."""
    import open3d

    o3d: Any = open3d  # its type stubs leave out most of the tensor API

    caster = o3d.t.geometry.RaycastingScene()
    meshes = [(mesh, instance) for instance in scene.instances for mesh in instance.meshes]
    for mesh, instance in meshes:
        vertices = rigid.transform(instance.world_from_object, mesh.vertices).astype(np.float32)
        caster.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    pose = view.camera_from_world[0]
    h, w = view.camera.hw
    directions = view.camera.rays_from_px(pixel_centres((w, h))).reshape(-1, 3) @ pose[:3, :3]
    origin = rigid.inverse(pose)[:3, 3]
    depth = np.zeros(h * w)  # rays have z = 1 in the camera, so their parameter is the z-depth
    normal, uv = np.zeros((h * w, 3)), np.zeros((h * w, 2))
    ids = np.zeros(h * w, np.int32)
    open_lanes, start = np.arange(h * w), np.zeros(h * w)
    for _ in range(HOLES_PASSED):
        at = origin + directions[open_lanes] * start[open_lanes, None]
        rays = np.concatenate([at, directions[open_lanes]], 1).astype(np.float32)
        hit = {k: v.numpy() for k, v in caster.cast_rays(o3d.core.Tensor(rays)).items()}
        again = []
        for k, (mesh, instance) in enumerate(meshes):
            mine = hit["geometry_ids"] == k
            lanes = open_lanes[mine]
            if not len(lanes):
                continue
            start[lanes] += hit["t_hit"][mine]
            faces = mesh.faces[hit["primitive_ids"][mine]]
            weights = barycentric(hit["primitive_uvs"][mine])
            texel = None if mesh.uv is None else (mesh.uv[faces] * weights[..., None]).sum(1)
            solid = np.ones(len(lanes), bool) if texel is None else is_solid(hole_map(mesh.material), texel)
            again.append(lanes[~solid])
            lanes, faces, weights = lanes[solid], faces[solid], weights[solid]
            depth[lanes], ids[lanes] = start[lanes], instance.object_id
            normal[lanes] = shading_normals(mesh, faces, weights, instance.world_from_object, directions[lanes])
            if texel is not None:
                uv[lanes] = texel[solid]
        open_lanes = np.concatenate([*again, np.zeros(0, int)]).astype(int)
        if not len(open_lanes):
            break
        start[open_lanes] += 1e-5 * np.maximum(start[open_lanes], 1e-3)
    position = np.where(ids[:, None] > 0, origin + directions * depth[:, None], 0)
    return GBuffer(
        depth=depth.reshape(h, w).astype(np.float32),
        normal=normal.reshape(h, w, 3).astype(np.float32),
        position=position.reshape(h, w, 3).astype(np.float32),
        object_id=ids.reshape(h, w),
        uv=uv.reshape(h, w, 2).astype(np.float32),
    )


def barycentric(uv: Array) -> Array:
    """(N, 3) weights of the triangle's corners."""
    return np.concatenate([1 - uv.sum(1, keepdims=True), uv], 1).astype(np.float64)


def shading_normals(mesh: Mesh, faces: Array, weights: Array, world_from_object: Array, directions: Array) -> Array:
    """(N, 3) shading normals in the world, on the side of the triangle that the ray comes from."""
    corners = mesh.vertices[faces]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = flat if mesh.normals is None else (mesh.normals[faces] * weights[..., None]).sum(1)
    linear = world_from_object[:3, :3]  # uniform scale: the matrix turns normals too
    turned = smooth @ linear.T
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
    from_behind = ((flat @ linear.T) * directions).sum(1) > 0
    return np.where(from_behind[:, None], -turned, turned)

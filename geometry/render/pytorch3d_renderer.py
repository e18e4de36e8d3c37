"""PyTorch3D behind the ``Renderer`` Protocol: G-buffers only, on CPU or CUDA.

PyTorch3D is an optional extra without wheels for current Python and torch; it is imported when a renderer is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geometry import rigid
from geometry.render.base import Radiance, RenderScene, View
from geometry.render.materials import hole_map, is_solid
from geometry.render.raycast import shading_normals
from geometry.scene import GBuffer

LAYERS = 4  # faces kept behind each other: how many holes of cut-out texture a pixel looks through
DEVICES = {"auto": "cpu", "cuda": "cuda"}


class Pytorch3dRenderer:
    """``variant``: auto (CPU) or cuda. Raises ``RuntimeError`` where pytorch3d is not installed."""

    def __init__(self, variant: str = "auto") -> None:
        if variant not in DEVICES:
            raise ValueError(f"variant: expected one of {', '.join(DEVICES)}, got {variant!r}")
        try:
            import pytorch3d  # noqa: F401
        except ImportError as error:
            raise RuntimeError("renderer pytorch3d: expected an installed pytorch3d, found none") from error
        self.device = DEVICES[variant]

    def gbuffer(self, scene: RenderScene, view: View) -> GBuffer:
        """Geometry at pixel centres, first shutter sample."""
        import torch
        from pytorch3d.renderer import MeshRasterizer, RasterizationSettings
        from pytorch3d.structures import Meshes
        from pytorch3d.utils import cameras_from_opencv_projection

        meshes = [(mesh, instance) for instance in scene.instances for mesh in instance.meshes]
        offsets = np.cumsum([0, *(len(mesh.vertices) for mesh, _ in meshes)])
        vertices = np.concatenate([rigid.transform(i.world_from_object, m.vertices) for m, i in meshes])
        faces = np.concatenate([m.faces + o for (m, _), o in zip(meshes, offsets, strict=False)])
        h, w = view.camera.hw
        pose = torch.tensor(view.camera_from_world[0], dtype=torch.float32)
        cameras = cameras_from_opencv_projection(
            pose[None, :3, :3],
            pose[None, :3, 3],
            torch.tensor(view.camera.k, dtype=torch.float32)[None],
            torch.tensor([[h, w]], dtype=torch.float32),
        ).to(self.device)
        settings = RasterizationSettings((h, w), faces_per_pixel=LAYERS, z_clip_value=1e-3, bin_size=0)
        batch = Meshes(
            [torch.tensor(vertices, dtype=torch.float32, device=self.device)],
            [torch.tensor(faces, dtype=torch.int64, device=self.device)],
        )
        drawn = MeshRasterizer(cameras, settings)(batch)
        layers = (drawn.pix_to_face, drawn.bary_coords, drawn.zbuf)
        return _read(scene, view, *(layer[0].cpu().numpy() for layer in layers))

    def trace(
        self,
        scene: RenderScene,
        view: View,
        *,
        objects: Sequence[int],
        spp: int,
        seed: int,
        max_depth: int = 4,
        crop: tuple[int, int, int, int] | None = None,
        with_rest: bool = True,
    ) -> Radiance:
        raise NotImplementedError("renderer pytorch3d draws G-buffers only: trace with mitsuba")

    def trace_parts(self, *args: object, **kwargs: object) -> tuple[Radiance, ...]:
        raise NotImplementedError("renderer pytorch3d draws G-buffers only: trace with mitsuba")


def _read(scene: RenderScene, view: View, pix_to_face: np.ndarray, bary: np.ndarray, zbuf: np.ndarray) -> GBuffer:
    """The nearest solid layer of (H, W, LAYERS) rasterised faces."""
    h, w = view.camera.hw
    pose = view.camera_from_world[0]
    rays = view.camera.rays_from_px(np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5), -1))
    directions = (rays @ pose[:3, :3]).reshape(-1, 3)
    depth, ids = np.zeros(h * w), np.zeros(h * w, np.int32)
    normal, uv = np.zeros((h * w, 3)), np.zeros((h * w, 2))
    for layer in range(LAYERS):
        face, first = pix_to_face[..., layer].ravel(), 0
        for instance in scene.instances:
            for mesh in instance.meshes:
                lanes = np.nonzero((ids == 0) & (face >= first) & (face < first + len(mesh.faces)))[0]
                corners = mesh.faces[face[lanes] - first]
                weights = bary[..., layer, :].reshape(-1, 3)[lanes]
                first += len(mesh.faces)
                texel = None if mesh.uv is None else (mesh.uv[corners] * weights[..., None]).sum(1)
                solid = np.ones(len(lanes), bool) if texel is None else is_solid(hole_map(mesh.material), texel)
                lanes, corners, weights = lanes[solid], corners[solid], weights[solid]
                depth[lanes], ids[lanes] = zbuf[..., layer].ravel()[lanes], instance.object_id
                normal[lanes] = shading_normals(mesh, corners, weights, instance.world_from_object, directions[lanes])
                if texel is not None:
                    uv[lanes] = texel[solid]
    position = np.where(ids[:, None] > 0, rigid.inverse(pose)[:3, 3] + directions * depth[:, None], 0)
    return GBuffer(
        depth=depth.reshape(h, w).astype(np.float32),
        normal=normal.reshape(h, w, 3).astype(np.float32),
        position=position.reshape(h, w, 3).astype(np.float32),
        object_id=ids.reshape(h, w),
        uv=uv.reshape(h, w, 2).astype(np.float32),
    )

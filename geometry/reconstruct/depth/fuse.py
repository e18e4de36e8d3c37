"""One static mesh from all confident depth maps: truncated signed distance fusion (Curless & Levoy 1996), open3d."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from geometry.camera import LensWarp
from geometry.mesh import Mesh
from geometry.scene import DepthSource
from geometry.trajectory import CameraPath

Array = np.ndarray
Progress = Callable[[int, int], None]

TRUNCATION_VOXELS = 4.0


@dataclass(frozen=True)
class FusionSettings:
    max_frames: int = 40  # spread over the clip
    min_confidence: float = 0.35
    voxels_across: int = 160  # along the median depth: a voxel is that much finer than the scene is far
    far_share: float = 3.0  # x the median depth; what is farther stays out
    max_faces: int = 100_000
    min_cluster_share: float = 0.002  # of all faces; smaller islands are noise


def fuse_mesh(
    cameras: CameraPath,
    depth: DepthSource,
    *,
    settings: FusionSettings | None = None,
    progress: Progress | None = None,
) -> Mesh | None:
    """The fused surface in the cameras' world, or None where no depth is confident enough to give one."""
    import open3d as o3d

    s = settings or FusionSettings()
    frames = _spread(cameras.frames, s.max_frames)
    typical = _median_depth(depth, frames, s.min_confidence)
    if typical is None:
        return None
    core = o3d.core
    one = core.SizeVector([1])
    grid = o3d.t.geometry.VoxelBlockGrid(
        ("tsdf", "weight"), (core.float32, core.float32), (one, one), voxel_size=typical / s.voxels_across,
        block_resolution=16, block_count=20_000, device=core.Device("CPU:0"),
    )
    far = s.far_share * typical
    for done, frame in enumerate(frames):
        warp = LensWarp.of(cameras.camera(frame))
        picture = o3d.t.geometry.Image(_confident(depth, frame, warp, s.min_confidence))
        k = warp.pinhole.k
        k[:2, 2] -= 0.5  # open3d counts pixel centres from 0
        camera, pose = core.Tensor.from_numpy(k), core.Tensor.from_numpy(np.ascontiguousarray(cameras.pose(frame)))
        blocks = grid.compute_unique_block_coordinates(picture, camera, pose, 1.0, far, TRUNCATION_VOXELS)
        grid.integrate(blocks, picture, camera, pose, 1.0, far, TRUNCATION_VOXELS)
        if progress is not None:
            progress(done + 1, len(frames))
    return _cleaned(grid.extract_triangle_mesh(weight_threshold=min(3.0, len(frames) - 0.5)).to_legacy(), s)


def _spread(frames: tuple[int, ...], count: int) -> list[int]:
    index = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    return [frames[i] for i in index]


def _median_depth(depth: DepthSource, frames: list[int], min_confidence: float) -> float | None:
    samples = []
    for frame in frames[:: max(1, len(frames) // 8)]:
        one = depth.read(frame)
        samples.append(one.depth[(one.confidence >= min_confidence) & (one.depth > 0)][::17])
    seen = np.concatenate(samples)
    return float(np.median(seen)) if len(seen) else None


def _confident(depth: DepthSource, frame: int, warp: LensWarp, min_confidence: float) -> Array:
    """z-depth (H, W) float32 on the pinhole raster, 0 where unknown or doubtful."""
    one = depth.read(frame)
    z = np.where(one.confidence >= min_confidence, one.depth, 0).astype(np.float32)
    if not warp.lens.is_pinhole:
        z = warp.undistort(z, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(z)


def _cleaned(surface: Any, s: FusionSettings) -> Mesh | None:
    """Without islands and beyond-need detail; None for an empty surface."""
    if len(surface.triangles) == 0:
        return None
    cluster, sizes, _ = surface.cluster_connected_triangles()
    small = np.asarray(sizes)[np.asarray(cluster)] < s.min_cluster_share * len(surface.triangles)
    if not small.all():
        surface.remove_triangles_by_mask(small)
        surface.remove_unreferenced_vertices()
    surface = surface.filter_smooth_taubin(number_of_iterations=5)
    if len(surface.triangles) > s.max_faces:
        surface = surface.simplify_quadric_decimation(s.max_faces)
    surface.compute_vertex_normals()
    vertices = np.asarray(surface.vertices, np.float64)
    if not len(surface.triangles) or not np.isfinite(vertices).all():
        return None
    faces = np.asarray(surface.triangles, np.int32)
    return Mesh(vertices, faces, normals=np.asarray(surface.vertex_normals), name="scene")

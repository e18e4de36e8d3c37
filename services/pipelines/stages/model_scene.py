"""Stage: a modelled mesh, seen by its cameras, as the artifacts that a reconstruct job's stages would have left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import LensWarp, pixel_centres
from geometry.mesh import Mesh, save_ply
from geometry.reconstruct.cameras.tracks import working_wh
from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.render import make_renderer
from geometry.render.base import Environment, Instance, Renderer, RenderScene, View
from geometry.scene import DepthMap, Plane, SparsePoints
from geometry.trajectory import CameraPath
from services.errors import Unsolvable
from services.media.contact_sheet import evenly
from services.pipelines.context import Report
from services.pipelines.scene_folder import MESH, save_cameras

Array = np.ndarray

POINT_FRAMES = 24  # that points are taken from
POINTS_PER_FRAME = 160
SAME_SURFACE = 0.01  # relative depth difference under which a frame sees a point
LEVEL = np.cos(np.radians(5.0))
GROUND_SHARE = 0.08  # of all points that a level must hold to be the ground
GROUND_SLACK = 0.002  # of the scene's size


@dataclass(frozen=True)
class ModelConfig:
    source_wh: tuple[int, int]
    frames: tuple[int, ...]
    scale: float  # from the mesh's units to the scene's
    scale_known: bool
    method: str  # where the cameras come from
    unregistered: tuple[int, ...]
    renderer: str  # backend/variant


@dataclass(frozen=True)
class Surface:
    """What one frame sees, on the lens's raster."""

    depth: Array  # (H, W) float32, 0 = nothing
    normal: Array  # (H, W, 3) world, towards the camera


def model_scene(
    *, out: Path, config: ModelConfig, report: Report, path: CameraPath, meshes: Sequence[Mesh]
) -> None:
    """Writes cameras, points, ``mesh.ply`` and a depth map per frame, sure where the mesh is hit.

    ``path`` is on the displayed raster. Raises ``Unsolvable`` when no camera sees the mesh.
    """
    whole = joined(meshes, config.scale)
    cameras = path.scaled(working_wh((config.source_wh[1], config.source_wh[0])))
    eye = _Eye(make_renderer(*config.renderer.split("/")), meshes, config.scale, cameras)
    xyz, normals = _points(eye, cameras)
    if len(xyz) == 0:
        raise Unsolvable("scene: no camera sees the mesh", "Check that both are in the same world and units")
    depths, seen = DepthFolder(out), np.zeros((len(xyz), len(cameras)), bool)
    for i, frame in enumerate(cameras.frames):
        depth = eye.sees(frame).depth
        depths.write(frame, DepthMap(depth, (depth > 0).astype(np.float32)))
        seen[:, i] = _is_seen(xyz, cameras, frame, depth)
        report(i + 1, len(cameras))
    kept = seen.any(1)
    xyz, seen, numbers = xyz[kept], seen[kept], np.array(cameras.frames)
    last = numbers[len(numbers) - 1 - seen[:, ::-1].argmax(1)]
    points = SparsePoints(xyz, np.zeros(len(xyz)), seen.sum(1), np.stack([numbers[seen.argmax(1)], last], -1))
    info = {"kind": "modelled", "method": config.method, "registered": len(cameras),
            "frames": len(cameras) + len(config.unregistered), "unregistered": list(config.unregistered),
            "points": len(xyz), "reprojection_px": 0.0, "triangles": len(whole.faces)}
    ground = find_level(xyz, normals[kept])
    save_cameras(out, cameras, points, config.source_wh, ground, info, scale_known=config.scale_known)
    save_ply(whole, out / MESH)


def joined(meshes: Sequence[Mesh], scale: float) -> Mesh:
    """One mesh without materials, ``scale`` times as large."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]) * scale, np.concatenate(faces).astype(np.int32),
                name="scene")


def find_level(xyz: Array, normals: Array) -> Plane | None:
    """The lowest level surface that holds ``GROUND_SHARE`` of (N, 3) visible points; None where there is none."""
    heights = np.sort(xyz[normals[:, 1] > LEVEL, 1])
    slack = GROUND_SLACK * float(np.ptp(xyz, axis=0).max())
    held = np.searchsorted(heights, heights + slack, "right") - np.arange(len(heights))
    enough = np.flatnonzero(held >= GROUND_SHARE * len(xyz))
    if len(enough) == 0:
        return None
    first = enough[0]
    return Plane(np.array([0.0, 1.0, 0.0]), float(np.median(heights[first : first + held[first]])))


class _Eye:
    """Renders what the cameras of a path see of the meshes."""

    def __init__(self, renderer: Renderer, meshes: Sequence[Mesh], scale: float, cameras: CameraPath) -> None:
        instance = Instance(tuple(meshes), np.diag([scale, scale, scale, 1.0]), 1)
        self._scene = RenderScene((instance,), Environment(np.zeros((2, 4, 3), np.float32)))
        self._renderer, self._cameras = renderer, cameras
        self._warp: LensWarp | None = None

    def sees(self, frame: int) -> Surface:
        lens = self._cameras.camera(frame)
        if self._warp is None or self._warp.lens != lens:
            self._warp = LensWarp.of(lens)
        drawn = self._renderer.gbuffer(self._scene, View(self._warp.pinhole, (self._cameras.pose(frame),)))
        nearest = cv2.INTER_NEAREST  # a mean of two depths lies on neither surface
        return Surface(*(self._warp.distort(a, interpolation=nearest) for a in (drawn.depth, drawn.normal)))


def _points(eye: _Eye, cameras: CameraPath) -> tuple[Array, Array]:
    """(N, 3) surface points on a lattice of pixels in some frames, and their normals."""
    w, h = cameras.cameras[0].wh
    stride = max(1, round(np.sqrt(w * h / POINTS_PER_FRAME)))
    px = pixel_centres((w, h))[stride // 2 :: stride, stride // 2 :: stride].reshape(-1, 2)
    column, row = px.astype(int).T
    xyz, normals = [], []
    for i in evenly(len(cameras), POINT_FRAMES):
        frame = cameras.frames[i]
        seen, rays = eye.sees(frame), cameras.camera(frame).rays_from_px(px)
        depth = seen.depth[row, column]
        hit = depth > 0
        xyz.append(rigid.transform(rigid.inverse(cameras.pose(frame)), rays[hit] * depth[hit, None]))
        normals.append(seen.normal[row, column][hit])
    return np.concatenate(xyz), np.concatenate(normals)


def _is_seen(xyz: Array, cameras: CameraPath, frame: int, depth: Array) -> Array:
    """(N,) bool: points that are the nearest surface at their pixel."""
    local, camera = rigid.transform(cameras.pose(frame), xyz), cameras.camera(frame)
    px = camera.px_from_cam(local)
    inside = np.flatnonzero(((px >= 0) & (px < camera.wh)).all(1))
    x, y = px[inside].astype(int).T
    there = depth[y, x]
    seen = np.zeros(len(xyz), bool)
    seen[inside] = np.abs(local[inside, 2] - there) < SAME_SURFACE * there
    return seen

"""USD blockouts: time-sampled transforms and points, skeletons, and cameras with zoom and lens shift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pxr import Gf, Usd, UsdGeom, UsdSkel

from geometry import frames
from geometry.blockout import Blockout, Body, Pose, expect_aspect
from geometry.camera import Camera
from geometry.mesh import Mesh, MeshError
from geometry.mesh_usd import _fan, _material_groups, _meshes, _normals

Array = np.ndarray


def read_usd(path: Path) -> Blockout:
    """Visible mesh prims of render purpose are the bodies, named as the prims. Raises ``MeshError``."""
    try:
        stage = Usd.Stage.Open(str(path))
    except Exception as error:  # pxr.Tf.ErrorException, which is no public class
        raise MeshError(f"{path}: not a readable USD stage: {error}") from error
    _bake_skeletons(stage)
    shown = range(1)
    if stage.HasAuthoredTimeCodeRange():
        shown = range(int(np.ceil(stage.GetStartTimeCode())), int(np.floor(stage.GetEndTimeCode())) + 1)
    first = Usd.TimeCode(shown[0]) if len(shown) else Usd.TimeCode.Default()
    warnings: list[str] = []
    bodies, cameras = [], []
    for prim in stage.Traverse(Usd.TraverseInstanceProxies(Usd.PrimDefaultPredicate)):
        image = UsdGeom.Imageable(prim)
        if prim.IsA(UsdGeom.Camera):
            cameras.append(UsdCamera(stage, prim))
        is_hidden = image and image.ComputeVisibility(first) == UsdGeom.Tokens.invisible
        if not prim.IsA(UsdGeom.Mesh) or is_hidden:
            continue
        if image.ComputePurpose() in (UsdGeom.Tokens.guide, UsdGeom.Tokens.proxy):
            continue
        meshes = tuple(_meshes(UsdGeom.Mesh(prim), first, warnings))
        if meshes:
            bodies.append(Body(prim.GetName(), _PrimMotion(stage, UsdGeom.Mesh(prim), meshes)))
    return Blockout(tuple(bodies), tuple(cameras), shown if len(shown) else range(1), tuple(warnings))


def _bake_skeletons(stage: Any) -> None:
    """Skinned meshes become time-sampled points, in memory only."""
    if not any(prim.IsA(UsdSkel.Root) for prim in stage.Traverse()):
        return
    stage.SetEditTarget(stage.GetSessionLayer())
    UsdSkel.BakeSkinning(stage.Traverse())


def _world_from_stage(stage: Any) -> Array:
    """(4, 4) to +Y up and metres."""
    turn = frames.YUP_FROM_ZUP if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z else np.eye(4)
    unit = float(UsdGeom.GetStageMetersPerUnit(stage))
    return turn @ np.diag([unit, unit, unit, 1.0])


@dataclass(frozen=True)
class UsdCamera:
    stage: Any
    prim: Any

    @property
    def name(self) -> str:
        return str(self.prim.GetName())

    @property
    def aspect(self) -> float | None:
        prim = UsdGeom.Camera(self.prim)
        return prim.GetHorizontalApertureAttr().Get() / prim.GetVerticalApertureAttr().Get()

    def at(self, frame: float, wh: tuple[int, int]) -> tuple[Camera, Array]:
        seen: Gf.Camera = UsdGeom.Camera(self.prim).GetCamera(Usd.TimeCode(frame))
        if seen.projection != Gf.Camera.Perspective:
            raise ValueError(f"camera {self.name}: expected a perspective camera, got {seen.projection}")
        expect_aspect(seen.horizontalAperture / seen.verticalAperture, wh)
        back = frames.FilmBack(seen.focalLength, seen.horizontalAperture, seen.verticalAperture,
                               seen.horizontalApertureOffset, seen.verticalApertureOffset)  # fmt: skip
        pose = np.array(seen.transform, np.float64).T
        pose[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)  # a parent's scale moves the camera, no more
        world = frames.backlot_from_usd(
            pose, z_up=UsdGeom.GetStageUpAxis(self.stage) == UsdGeom.Tokens.z,
            metres_per_unit=UsdGeom.GetStageMetersPerUnit(self.stage),
        )  # fmt: skip
        return frames.camera_from_film_back(back, wh), world


class _PrimMotion:
    """A mesh prim over time."""

    def __init__(self, stage: Any, prim: Any, meshes: tuple[Mesh, ...]) -> None:
        self._stage, self._prim, self._meshes = stage, prim, meshes  # a prim does not keep its stage alive
        self._world_from_stage = _world_from_stage(stage)
        self._bends = prim.GetPointsAttr().ValueMightBeTimeVarying()

    def at(self, frame: float) -> Pose:
        time = Usd.TimeCode(frame)
        local = np.array(UsdGeom.Xformable(self._prim).ComputeLocalToWorldTransform(time), np.float64).T
        return Pose(self._bent(time) if self._bends else self._meshes, self._world_from_stage @ local)

    def _bent(self, time: Any) -> tuple[Mesh, ...]:
        prim = self._prim
        points = np.array(prim.GetPointsAttr().Get(time), np.float64).reshape(-1, 3)
        counts = np.array(prim.GetFaceVertexCountsAttr().Get(time), np.int64)
        indices = np.array(prim.GetFaceVertexIndicesAttr().Get(time), np.int64)
        normals = _normals(prim, UsdGeom.PrimvarsAPI(prim), time, indices, counts)
        used = _used_corners(prim, counts)
        if [len(corners) for corners in used] != [len(mesh.vertices) for mesh in self._meshes]:
            raise MeshError(f"prim {prim.GetPath()}: expected the same faces at every time, got others at {time}")
        return tuple(
            replace(mesh, vertices=points[indices[corners]], normals=None if normals is None else normals[corners])
            for mesh, corners in zip(self._meshes, used, strict=True)
        )


def _used_corners(prim: Any, counts: Array) -> list[Array]:
    """The face corner behind each vertex of each mesh that ``mesh_usd`` makes of the prim."""
    corners, face_of_triangle = _fan(counts)
    chosen = [corners[faces[face_of_triangle]] for faces, _ in _material_groups(prim, len(counts))]
    return [np.unique(triangles) for triangles in chosen if len(triangles)]

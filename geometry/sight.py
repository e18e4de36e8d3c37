"""Which triangle each pixel sees, exactly.

A triangle with corners a, b, c in the camera covers the ray d = (x, y, 1) when the volumes d . (b x c), d . (c x a)
and d . (a x b) have the sign of a . (b x c): no clipping, and no gap between neighbours, whose shared edge gives two
volumes that differ in sign only (2D homogeneous rasterisation: Olano and Greer 1997). These volumes are linear in the
pixel and in proportion to the barycentric weights of the hit; 1 / depth is linear too. Pictures keep the face of each
sample and nothing else; all the rest is worked out from it (Burns and Hunt 2013).

Renderers of ``geometry.render`` draw light; this draws no light but knows faces, which flow between two times needs,
and takes a new shape of a bending mesh in each frame without loading anything anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geometry.camera import Camera
from geometry.rigid import inverse, transform
from geometry.scene import GBuffer
from geometry.sight_kernels import NOTHING, attributes, seen_faces
from geometry.surface import Surface

Array = np.ndarray


@dataclass(frozen=True)
class Sight:
    """A surface as one pinhole camera sees it.

    ``edges`` (F, 3, 3): ``edges[f, i] @ (x, y, 1)`` at pixel (x, y) is >= 0 on the inner side of edge i.
    ``nearness`` (F, 3): ``nearness[f] @ (x, y, 1)`` is 1 / depth of the face's plane. ``face`` (H, W) int32 at pixel
    centres, ``NOTHING`` where there is none.
    """

    surface: Surface
    camera: Camera
    camera_from_world: Array
    corners: Array  # (F, 3, 3) in the camera
    edges: Array
    nearness: Array
    from_behind: Array  # (F,) bool: the side is seen that the corners go round clockwise
    face: Array

    def faces(self, per_px: int) -> Array:
        """(H n, W n) int32: the face at n x n samples a pixel."""
        return _faces(self.surface, self.camera, self.corners, self.edges, self.nearness, per_px)

    @cached_property
    def flat_normals(self) -> Array:
        """(F, 3) unit normals in the world, on the side that is seen; 0 for faces without area."""
        corners = self.surface.vertices[self.surface.topology.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        lengths = np.linalg.norm(normals, axis=1)
        signs = np.where(self.from_behind, -1.0, 1.0) / np.where(lengths > 0, lengths, 1)
        return normals * signs[:, None]

    def gbuffer(self) -> GBuffer:
        """Geometry at pixel centres."""
        topology = self.surface.topology
        return GBuffer(*attributes(
            self.face, self.edges, self.from_behind, topology.faces, topology.object_id, topology.uv,
            self.surface.vertices, self.surface.normals, self.flat_normals, self.camera_from_world,
        ))  # fmt: skip

    def albedo_id(self) -> Array:
        """(H, W) int32, one number for each material; 0 where there is nothing."""
        return np.append(self.surface.topology.albedo_id, np.int32(0))[self.face]

    def seen_from_inside(self) -> tuple[int, ...]:
        """Ids of closed objects round the camera whose inner side is seen: it may stand in a wall. Others show theirs
        because their faces are turned inside out."""
        topology, eye = self.surface.topology, inverse(self.camera_from_world)[:3, 3]
        is_leaky = np.zeros(int(topology.object_id.max()) + 1, bool)
        is_leaky[topology.object_id[topology.is_open.any(1)]] = True
        seen = np.unique(self.face[self.face != NOTHING])
        inner = np.unique(topology.object_id[seen[self.from_behind[seen]]])
        return tuple(int(i) for i in inner[~is_leaky[inner]] if self._may_hold(i, eye))

    def _may_hold(self, object_id: int, point: Array) -> bool:
        """Whether ``point`` (3,) lies within an object's bounds."""
        topology = self.surface.topology
        corners = self.surface.vertices[topology.faces[topology.object_id == object_id]].reshape(-1, 3)
        return bool(((corners.min(0) <= point) & (point <= corners.max(0))).all())


def look(surface: Surface, camera: Camera, camera_from_world: Array) -> Sight:
    """See ``surface`` through a pinhole. Raises ``ValueError`` for a camera with lens distortion."""
    if not camera.is_pinhole:
        raise ValueError("camera: expected a pinhole (guides are drawn before the lens distorts), got distortion")
    corners = transform(camera_from_world, surface.vertices)[surface.topology.faces]
    edges = np.stack([np.cross(corners[:, (i + 1) % 3], corners[:, (i + 2) % 3]) for i in range(3)], 1)
    # Differences of corners, not the sum of the three volumes: the same plane with more digits.
    plane = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = (plane * corners[:, 0]).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        nearness = _in_pixels(plane / volume[:, None], camera)
    edges = _in_pixels(edges * np.sign(volume)[:, None, None], camera)
    face = _faces(surface, camera, corners, edges, nearness, 1)
    return Sight(surface, camera, camera_from_world, corners, edges, nearness, volume > 0, face)


def _faces(
    surface: Surface, camera: Camera, corners: Array, edges: Array, nearness: Array, per_px: int
) -> Array:
    topology = surface.topology
    hw = (camera.hw[0] * per_px, camera.hw[1] * per_px)
    return seen_faces(
        corners, edges, nearness, topology.faces, topology.uv, topology.holes.solid, topology.holes.of_face,
        hw, per_px, camera.fy, camera.cy,
    )  # fmt: skip


def _in_pixels(forms: Array, camera: Camera) -> Array:
    """Linear forms over rays (x, y, 1) as linear forms over pixels (x, y, 1)."""
    a, b = forms[..., 0] / camera.fx, forms[..., 1] / camera.fy
    return np.stack([a, b, forms[..., 2] - a * camera.cx - b * camera.cy], -1)

"""All triangles of a scene in one array, posed at one time.

What does not change over time is a ``Topology``: a point of the surface is a face and three weights, and stays that
while its object moves, bends or is skinned. Edge i of a face lies opposite to its corner i.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from geometry import rigid
from geometry.mesh import Material, Mesh
from geometry.render.base import Instance
from geometry.render.materials import hole_map
from geometry.shapes import expect_shape

Array = np.ndarray
WELD = 3e-7  # of the scene's extent: closer corners are at one place


@dataclass(frozen=True)
class Holes:
    """Cut-out textures, one after another. ``of_face`` (F, 3) int64: start in ``solid``, height and width; -1 =
    none."""

    solid: Array  # (T,) bool
    of_face: Array


@dataclass(frozen=True)
class Topology:
    """``faces`` (F, 3) int32 into the vertices of all instances; ids are >= 1, and (F,) int32 like all below.

    ``piece`` tells the parts of the surface that hang together; none reaches over two objects. ``is_open`` (F, 3) marks
    edges that belong to one face only. ``uv`` (V, 2), v up, 0 where there is none.
    """

    faces: Array
    object_id: Array
    albedo_id: Array
    piece: Array
    is_open: Array
    uv: Array
    holes: Holes

    def __post_init__(self) -> None:
        count = len(self.faces)
        for name, shape in (("faces", (count, 3)), ("object_id", (count,)), ("albedo_id", (count,)),
                            ("piece", (count,)), ("is_open", (count, 3)), ("uv", (None, 2))):
            expect_shape(name, getattr(self, name), shape)

    @classmethod
    def of(cls, instances: Sequence[Instance]) -> Topology:
        """Meshes with the same material share an albedo id. Raises ``ValueError`` for no instances."""
        if not instances:
            raise ValueError("instances: expected at least one, got none")
        meshes = [(mesh, instance.object_id) for instance in instances for mesh in instance.meshes]
        counts = [len(mesh.faces) for mesh, _ in meshes]
        starts = np.cumsum([0, *(len(mesh.vertices) for mesh, _ in meshes)])
        faces = np.concatenate([mesh.faces + start for (mesh, _), start in zip(meshes, starts, strict=False)])
        object_id = np.repeat([object_id for _, object_id in meshes], counts).astype(np.int32)
        looks: dict[tuple[object, ...], int] = {}
        albedo = [looks.setdefault(_look(mesh.material), len(looks) + 1) for mesh, _ in meshes]
        welded = _welded(faces, object_id, _posed_vertices(instances))
        return cls(
            faces=faces.astype(np.int32),
            object_id=object_id,
            albedo_id=np.repeat(albedo, counts).astype(np.int32),
            piece=_pieces(welded),
            is_open=_open_edges(welded),
            uv=np.concatenate([np.zeros((len(m.vertices), 2)) if m.uv is None else m.uv for m, _ in meshes]),
            holes=_holes([mesh for mesh, _ in meshes], counts),
        )

    def posed(self, instances: Sequence[Instance]) -> Surface:
        """The surface where ``instances`` stand now. Raises ``ValueError`` when their vertices are not as many."""
        vertices = _posed_vertices(instances)
        if len(vertices) != len(self.uv):
            raise ValueError(f"instances: expected {len(self.uv)} vertices at every time, got {len(vertices)}")
        return Surface(self, vertices, np.concatenate([_posed_normals(m, i) for i in instances for m in i.meshes]))


@dataclass(frozen=True)
class Surface:
    """``vertices`` (V, 3) float64 in the world; ``normals`` (V, 3), of any length, 0 where faces are flat."""

    topology: Topology
    vertices: Array
    normals: Array

    def __post_init__(self) -> None:
        expect_shape("vertices", self.vertices, (len(self.topology.uv), 3))
        expect_shape("normals", self.normals, self.vertices.shape)


def _posed_vertices(instances: Sequence[Instance]) -> Array:
    return np.concatenate([rigid.transform(i.world_from_object, mesh.vertices) for i in instances for mesh in i.meshes])


def _posed_normals(mesh: Mesh, instance: Instance) -> Array:
    if mesh.normals is None:
        return np.zeros_like(mesh.vertices)
    return mesh.normals @ instance.world_from_object[:3, :3].T  # an instance's scale is uniform


def _look(material: Material) -> tuple[object, ...]:
    texture = material.base_texture
    picture = None if texture is None else (texture.shape, hash(texture.tobytes()))
    return material.base_color, picture, material.metallic, material.roughness, material.emissive, material.opacity


def _welded(faces: Array, object_id: Array, vertices: Array) -> Array:
    """(F, 3) faces over places: corners of one object at one place are one, whatever their normals and uv."""
    owner = np.zeros(len(vertices), np.int64)
    owner[faces] = object_id[:, None]
    grid = np.round((vertices - vertices.min(0)) / (WELD * max(np.ptp(vertices), 1e-12))).astype(np.int64)
    _, place = np.unique(np.column_stack([owner, grid]), axis=0, return_inverse=True)
    return place.reshape(-1)[faces]


def _pieces(welded: Array) -> Array:
    count = int(welded.max()) + 1
    links = coo_matrix(
        (np.ones(2 * len(welded), np.int8), (welded[:, [0, 1]].ravel(), welded[:, [1, 2]].ravel())), (count, count)
    )
    return connected_components(links, directed=False)[1][welded[:, 0]].astype(np.int32)


def _open_edges(welded: Array) -> Array:
    edges = np.sort(np.stack([welded[:, [1, 2]], welded[:, [2, 0]], welded[:, [0, 1]]], 1), -1).astype(np.int64)
    _, edge, uses = np.unique(edges[..., 0] << 32 | edges[..., 1], return_inverse=True, return_counts=True)
    return (uses[edge] == 1).reshape(-1, 3)


def _holes(meshes: Sequence[Mesh], counts: Sequence[int]) -> Holes:
    maps, rows, start = [np.zeros(0, bool)], [], 0
    for mesh in meshes:
        solid = None if mesh.uv is None else hole_map(mesh.material)
        rows.append((-1, 0, 0) if solid is None else (start, *solid.shape))
        if solid is not None:
            maps.append(solid.ravel())
            start += solid.size
    return Holes(np.concatenate(maps), np.repeat(np.array(rows, np.int64), counts, axis=0))

"""Small meshes and lights for the renderer tests."""

from __future__ import annotations

import numpy as np

from geometry.mesh import Material, Mesh
from geometry.render.base import Environment, Instance

MATT = Material(base_color=(0.6, 0.6, 0.6), roughness=1.0)


def at(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def quad(centre, right, up, material: Material = MATT) -> Mesh:
    """A parallelogram with half axes ``right`` and ``up``; uv (0, 0) at its lower left as seen against its normal."""
    c, r, u = (np.asarray(v, float) for v in (centre, right, up))
    vertices = np.stack([c - r - u, c + r - u, c + r + u, c - r + u])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    return Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), uv=uv, material=material)


def box(half: float = 0.5, material: Material = MATT) -> Mesh:
    """A closed cube round the origin, faces outwards."""
    faces: list[np.ndarray] = []
    vertices: list[np.ndarray] = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal, right = np.zeros(3), np.zeros(3)
            normal[axis], right[(axis + 1) % 3] = sign, 1.0
            up = np.cross(normal, right)
            side = quad(normal * half, right * half, up * half)
            faces.append(side.faces + 4 * len(vertices))
            vertices.append(side.vertices)
    return Mesh(np.concatenate(vertices), np.concatenate(faces), material=material)


def ball(radius: float = 1.0, rings: int = 64, material: Material = MATT) -> Mesh:
    """A sphere of triangles whose vertices lie on it, with smooth normals."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings + 1), indexing="ij")
    n = np.stack([np.sin(theta) * np.cos(phi), np.cos(theta), np.sin(theta) * np.sin(phi)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a = (i * (2 * rings + 1) + j).ravel()
    b, c, d = a + 1, a + 2 * rings + 1, a + 2 * rings + 2
    faces = np.concatenate([np.stack([a, b, c], -1), np.stack([b, d, c], -1)]).astype(np.int32)
    return Mesh(n * radius, faces, normals=n, material=material)


def instance(mesh: Mesh, object_id: int = 1, pose: np.ndarray | None = None) -> Instance:
    return Instance((mesh,), np.eye(4) if pose is None else pose, object_id)


def constant_light(value: float = 1.0) -> Environment:
    return Environment(np.full((8, 16, 3), value, np.float32))


def lamp(row: int, column: int, *, fill: float = 0.02, power: float = 400.0, yaw: float = 0.0) -> Environment:
    """Dim light from everywhere and one bright spot, two texels wide each way, on a 32 x 64 map."""
    radiance = np.full((32, 64, 3), fill, np.float32)
    radiance[row - 1 : row + 1, column - 1 : column + 1] = power
    return Environment(radiance, yaw)

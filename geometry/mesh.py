"""Triangle meshes with PBR materials, and the files they come from.

Object space: as the file declares it after its node transforms, with ``up`` turned to +Y and units as stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from geometry.rigid import rotation_between
from geometry.shapes import expect_shape

Array = np.ndarray


@dataclass(frozen=True)
class Material:
    """Metallic-roughness PBR (glTF 2.0, section 3.9). ``base_color`` is linear; textures are (H, W, C) uint8 sRGB."""

    base_color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    base_texture: Array | None = None  # (H, W, 3 or 4) uint8; multiplies base_color
    metallic: float = 0.0
    roughness: float = 0.6
    emissive: tuple[float, float, float] = (0.0, 0.0, 0.0)
    opacity: float = 1.0
    alpha_cutoff: float | None = None  # set: texels with alpha below are holes


@dataclass(frozen=True)
class Mesh:
    """``vertices`` (V, 3) float64, ``faces`` (F, 3) int32 counter-clockwise; per vertex ``uv`` (V, 2) with v up,
    ``normals`` (V, 3), and ``colors`` (V, 3) linear, which multiply ``material.base_color`` where no texture is.

    Raises ``ValueError`` for no faces, indices out of range and coordinates that are not finite.
    """

    vertices: Array
    faces: Array
    uv: Array | None = None
    normals: Array | None = None
    material: Material = field(default_factory=Material)
    name: str = ""
    colors: Array | None = None

    def __post_init__(self) -> None:
        expect_shape("vertices", self.vertices, (None, 3))
        expect_shape("faces", self.faces, (None, 3))
        if len(self.faces) == 0:
            raise ValueError(f"mesh {self.name!r}: expected at least one face, got none")
        if not np.isfinite(self.vertices).all():
            raise ValueError(f"mesh {self.name!r}: vertices: expected finite coordinates, got nan or inf")
        if self.faces.min() < 0 or self.faces.max() >= len(self.vertices):
            raise ValueError(f"mesh {self.name!r}: faces: index outside 0..{len(self.vertices) - 1}")
        if self.uv is not None:
            expect_shape("uv", self.uv, (len(self.vertices), 2))
        if self.normals is not None:
            expect_shape("normals", self.normals, (len(self.vertices), 3))
        if self.colors is not None:
            expect_shape("colors", self.colors, (len(self.vertices), 3))


class MeshError(ValueError):
    """A mesh file that cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Model:
    """A mesh file, turned so that its declared up axis is +Y; node transforms are baked into the vertices.

    ``metres_per_unit`` is None where the format does not say. ``warnings`` tell what was left out.
    """

    meshes: tuple[Mesh, ...]
    bounds: Array  # (2, 3): lowest and highest corner
    metres_per_unit: float | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expect_shape("bounds", self.bounds, (2, 3))

    @property
    def base_centre(self) -> Array:
        """(3,) centre of the bottom face of the box: what stands on the ground."""
        low, high = self.bounds
        return np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])

    @property
    def height(self) -> float:
        return float(self.bounds[1, 1] - self.bounds[0, 1])


AXES = {f"{sign}{name}": (-1.0 if sign == "-" else 1.0) * row
        for name, row in zip("xyz", np.eye(3), strict=True) for sign in "+-"}  # fmt: skip
TRIMESH_SUFFIXES = (".glb", ".gltf", ".obj", ".ply")
USD_SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")


def load_model(path: str | Path, up_axis: str | None = None) -> Model:
    """Read glTF/GLB, OBJ, PLY or USD. ``up_axis`` (+x, -x, +y ...) overrides what the file declares; OBJ and PLY
    declare nothing and are taken as +Y up.

    Raises ``MeshError`` for a missing or unreadable file, an unknown format, no faces and coordinates that are not
    finite. A missing texture is a warning in the result; the base colour takes its place.
    """
    path = Path(path)
    if up_axis is not None and up_axis not in AXES:
        raise ValueError(f"up_axis: expected one of {', '.join(AXES)}, got {up_axis!r}")
    suffix = path.suffix.lower()
    if suffix not in TRIMESH_SUFFIXES + USD_SUFFIXES:
        known = ", ".join(TRIMESH_SUFFIXES + USD_SUFFIXES)
        raise MeshError(f"{path}: expected a mesh file ({known}), got {suffix or 'no suffix'!r}")
    if not path.is_file():
        raise MeshError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise MeshError(f"{path}: the file is empty")
    if suffix in USD_SUFFIXES:
        from geometry.mesh_usd import read
    else:
        from geometry.mesh_trimesh import read
    try:
        content = read(path)
    except MeshError as error:
        raise MeshError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:  # the readers raise whatever a broken byte leads them to
        raise MeshError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    if not content.meshes:
        raise MeshError(f"{path}: expected at least one mesh with faces, got none")
    up = AXES[up_axis or content.up_axis]
    meshes = tuple(turned(mesh, rotation_between(up, AXES["+y"])) for mesh in content.meshes)
    corners = np.array([(m.vertices[m.faces].min((0, 1)), m.vertices[m.faces].max((0, 1))) for m in meshes])
    bounds = np.stack([corners[:, 0].min(0), corners[:, 1].max(0)])
    return Model(meshes, bounds, content.metres_per_unit, content.warnings + _undrawable(path, meshes))


def _undrawable(path: Path, meshes: tuple[Mesh, ...]) -> tuple[str, ...]:
    clear = sorted({m.material.opacity for m in meshes if m.material.opacity < 1 and not _has_alpha(m.material)})
    return tuple(f"{path.name}: opacity {o:g} without an alpha texture is drawn opaque" for o in clear)


def _has_alpha(material: Material) -> bool:
    return material.base_texture is not None and material.base_texture.shape[2] == 4


@dataclass(frozen=True)
class FileContent:
    """What a reader found: meshes with node transforms baked, in the file's own axes and units."""

    meshes: tuple[Mesh, ...]
    up_axis: str = "+y"
    metres_per_unit: float | None = None
    warnings: tuple[str, ...] = ()


def turned(mesh: Mesh, rotation: Array) -> Mesh:
    """The mesh turned by a (3, 3) rotation; the same object when there is nothing to turn."""
    if np.array_equal(rotation, np.eye(3)):
        return mesh
    normals = None if mesh.normals is None else mesh.normals @ rotation.T
    return replace(mesh, vertices=mesh.vertices @ rotation.T, normals=normals)


def baked(mesh: Mesh, matrix: Array) -> Mesh:
    """The mesh moved by any affine (4, 4); a mirroring one also turns the faces' winding round."""
    linear = matrix[:3, :3]
    vertices = mesh.vertices @ linear.T + matrix[:3, 3]
    normals = mesh.normals
    if normals is not None:
        # Cofactors turn normals even where the matrix squashes an axis to nothing.
        cofactors = np.stack([np.cross(linear[1], linear[2]), np.cross(linear[2], linear[0]),
                              np.cross(linear[0], linear[1])])  # fmt: skip
        normals = normals @ (cofactors * np.sign(np.linalg.det(linear) or 1.0)).T
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    faces = mesh.faces if np.linalg.det(linear) >= 0 else np.ascontiguousarray(mesh.faces[:, ::-1])
    return replace(mesh, vertices=vertices, normals=normals, faces=faces)


def linear_from_srgb(code_values: Array) -> Array:
    """uint8 sRGB to linear float32 (IEC 61966-2-1); shape kept."""
    x = np.arange(256) / 255.0
    return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)[code_values]


def save_ply(mesh: Mesh, path: str | Path) -> None:
    """Write a binary little-endian PLY: positions, faces, and normals and colours (sRGB bytes) where there are any."""
    columns: list[tuple[str, str, Array]] = [(n, "<f4", mesh.vertices[:, i]) for i, n in enumerate("xyz")]
    if mesh.normals is not None:
        columns += [(f"n{n}", "<f4", mesh.normals[:, i]) for i, n in enumerate("xyz")]
    if mesh.colors is not None:
        codes = srgb_from_linear(mesh.colors)
        columns += [(n, "u1", codes[:, i]) for i, n in enumerate(("red", "green", "blue"))]
    vertices = np.empty(len(mesh.vertices), [(name, kind) for name, kind, _ in columns])
    for name, _, values in columns:
        vertices[name] = values
    faces = np.empty(len(mesh.faces), [("count", "u1"), ("index", "<i4", (3,))])
    faces["count"], faces["index"] = 3, mesh.faces
    kinds = {"<f4": "float", "u1": "uchar"}
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {kinds[kind]} {name}" for name, kind, _ in columns]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    Path(path).write_bytes("\n".join(header).encode("ascii") + vertices.tobytes() + faces.tobytes())


def srgb_from_linear(linear: Array) -> Array:
    """Linear [0, 1] to uint8 sRGB, clipped; shape kept."""
    x = np.clip(linear, 0, 1)
    return np.round(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)).astype(np.uint8)

"""Triangle meshes with PBR materials, and the files they come from.

Object space: as the file declares it after its node transforms, with ``up`` turned to +Y and units as stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

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
    """``vertices`` (V, 3) float64, ``faces`` (F, 3) int32 counter-clockwise, ``uv`` (V, 2) with v up, ``normals`` (V, 3).

    Raises ``ValueError`` for no faces, indices out of range and coordinates that are not finite.
    """

    vertices: Array
    faces: Array
    uv: Array | None = None
    normals: Array | None = None
    material: Material = field(default_factory=Material)
    name: str = ""

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

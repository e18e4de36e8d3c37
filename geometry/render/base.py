"""The renderer Protocol and what it draws.

World +Y is up. Environment maps are lat-long (H, W, 3) float32 radiance, scene-linear Rec.709; the picture's centre
column looks along world -Z turned by ``yaw`` (counter-clockwise from above), its top row is +Y.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from geometry.camera import Camera
from geometry.mesh import Mesh
from geometry.scene import GBuffer
from geometry.shapes import expect_shape

Array = np.ndarray


@dataclass(frozen=True)
class Instance:
    """Meshes that move together. ``world_from_object`` (4, 4) may hold a uniform scale. ``object_id`` >= 1."""

    meshes: tuple[Mesh, ...]
    world_from_object: Array
    object_id: int
    world_from_object_next: Array | None = None  # at the next frame; None = it stands still

    def __post_init__(self) -> None:
        expect_shape("world_from_object", self.world_from_object, (4, 4))
        if self.object_id < 1:
            raise ValueError(f"object_id: expected >= 1, got {self.object_id}")


@dataclass(frozen=True)
class Environment:
    """Light from everywhere. ``radiance`` (H, W, 3) lat-long."""

    radiance: Array
    yaw: float = 0.0

    def __post_init__(self) -> None:
        expect_shape("radiance", self.radiance, (None, None, 3))


@dataclass(frozen=True)
class RenderScene:
    instances: tuple[Instance, ...]
    environment: Environment


@dataclass(frozen=True)
class View:
    """A pinhole camera and its pose over the shutter: one ``camera_from_world`` (4, 4) per sub-frame sample."""

    camera: Camera
    camera_from_world: tuple[Array, ...]

    def __post_init__(self) -> None:
        if not self.camera.is_pinhole:
            raise ValueError("camera: expected a pinhole (render overscan, then LensWarp.distort)")
        if not self.camera_from_world:
            raise ValueError("camera_from_world: expected at least one shutter sample, got none")


@dataclass(frozen=True)
class Radiance:
    """Path-traced picture split by what the *primary* ray of each sample hit."""

    object_rgb: Array  # (H, W, 3) radiance of samples that hit an instance in ``objects`` (premultiplied)
    object_alpha: Array  # (H, W) share of such samples
    rest_rgb: Array  # (H, W, 3) radiance of all other samples (premultiplied by their share)
    object_albedo: Array  # (H, W, 3) base colour where samples hit those instances (premultiplied)


class Renderer(Protocol):
    """Pixels outside ``crop`` (x0, y0, x1, y1; the whole picture when None) are 0. The same seed gives the same
    picture at any thread count."""

    def gbuffer(self, scene: RenderScene, view: View) -> GBuffer:
        """Geometry at pixel centres, first shutter sample."""
        ...

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
        """Path trace; ``spp`` samples in all, spread over the shutter samples. Without ``with_rest``, samples that
        meet no object are not shaded and ``rest_rgb`` is 0: cheaper, and all else is the same."""
        ...

    def trace_parts(
        self,
        scene: RenderScene,
        view: View,
        *,
        objects: Sequence[int],
        spp: int,
        seed: int,
        parts: int = 1,
        max_depth: int = 4,
        crop: tuple[int, int, int, int] | None = None,
        with_rest: bool = True,
    ) -> tuple[Radiance, ...]:
        """``parts`` independent pictures of ``spp`` samples each: what ``trace`` gives for ``seed``, ``seed + 1``, ...
        Cheaper than one after another; their differences tell the noise."""
        ...

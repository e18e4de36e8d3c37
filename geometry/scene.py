"""What flows between stages: frames in, a 4D scene, a placement, render layers.

Arrays are (H, W[, C]); depth is z-depth along the optical axis in scene units, float32, 0 where unknown; colour is
scene-linear Rec.709 float32; alpha is premultiplied; the world is right-handed with +Y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np

from geometry import rigid
from geometry.mesh import Mesh
from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath

Array = np.ndarray


@runtime_checkable  # so that the tests' type checks can ask
class FrameSource(Protocol):
    """A clip, one frame at a time; never the whole clip in memory."""

    @property
    def numbers(self) -> Sequence[int]: ...  # source frame numbers, ascending

    @property
    def rate(self) -> Fraction: ...

    @property
    def hw(self) -> tuple[int, int]: ...  # the displayed picture, rotation and pixel aspect applied

    def read(self, number: int) -> Array:
        """(H, W, 3) source code values as decoded: uint8, uint16 or float."""
        ...

    def display(self, number: int, wh: tuple[int, int] | None = None) -> Array:
        """(h, w, 3) uint8 sRGB for tracking and viewing, area-filtered down to ``wh``."""
        ...

    def linear(self, number: int) -> Array:
        """(H, W, 3) float32 scene-linear Rec.709."""
        ...


@dataclass(frozen=True)
class DepthMap:
    """``depth`` (H, W) float32, 0 = unknown; ``confidence`` (H, W) float32, 1 - 10 x expected relative error."""

    depth: Array
    confidence: Array

    def __post_init__(self) -> None:
        expect_shape("confidence", self.confidence, self.depth.shape)


class DepthSource(Protocol):
    """Lazy depth maps of the working raster (lens distortion included), by source frame number."""

    def read(self, frame: int) -> DepthMap: ...


class MotionSource(Protocol):
    """What moves by itself, on the working raster (lens distortion included), by source frame number."""

    def read(self, frame: int) -> Array:
        """(H, W) uint8 labels: 0 stands still, else the ``Mover.label`` of what is seen there."""
        ...


@dataclass(frozen=True)
class RigidTrack:
    """A stiff thing's motion: ``world_from_rest[i]`` takes its points at frame ``rest`` to frame ``frames[i]``."""

    rest: int
    frames: tuple[int, ...]  # ascending
    world_from_rest: Array  # (N, 4, 4) rigid; the identity at ``rest``
    points: Array = field(default_factory=lambda: np.zeros((0, 3)))  # (K, 3) of its surface at ``rest``, in the world

    def __post_init__(self) -> None:
        expect_shape("world_from_rest", self.world_from_rest, (len(self.frames), 4, 4))
        expect_shape("points", self.points, (None, 3))

    def at(self, time: float) -> Array:
        """(4, 4) ``world_from_rest`` at a fractional frame number; before and after its frames it stands still."""
        i = int(np.clip(np.searchsorted(self.frames, time, "right") - 1, 0, max(len(self.frames) - 2, 0)))
        if len(self.frames) == 1:
            return self.world_from_rest[0]
        a, b = self.frames[i], self.frames[i + 1]
        weight = float(np.clip((time - a) / (b - a), 0, 1))
        rest_from = rigid.inverse(self.world_from_rest[i : i + 2])
        # The origin of what is interpolated moves on a straight line: here that of the thing, not of the world.
        return rigid.inverse(rigid.interpolate(rest_from[0], rest_from[1], weight))

    def relative_to(self, frame: int) -> RigidTrack:
        """The same motion with another frame as its rest. Raises ``ValueError`` for a frame that it does not cover."""
        if frame not in self.frames:
            raise ValueError(f"frame: expected one of {self.frames[0]}..{self.frames[-1]}, got {frame}")
        new_from_rest = self.world_from_rest[self.frames.index(frame)]
        return RigidTrack(
            frame, self.frames, self.world_from_rest @ rigid.inverse(new_from_rest),
            rigid.transform(new_from_rest, self.points),
        )


@dataclass(frozen=True)
class Mover:
    """Something that moves by itself. ``depth`` (N,) is its z-depth in each of ``frames``, nan where nobody knows.

    That is where its mask has its middle (mean of the pixels); ``slope`` (N, 2) is the change of log depth from there,
    per pixel of the working raster to the right and down: who stands aslant has one end nearer. Absent: one depth.
    """

    label: int  # 1..255, as in the motion masks
    frames: tuple[int, ...]  # ascending; where it is seen
    depth: Array
    depth_sigma: Array  # (N,) relative standard deviation of ``depth``
    track: RigidTrack | None = None  # None: it bends, or its motion could not be measured
    slope: Array | None = None

    def __post_init__(self) -> None:
        expect_shape("depth", self.depth, (len(self.frames),))
        expect_shape("depth_sigma", self.depth_sigma, (len(self.frames),))
        if self.slope is not None:
            expect_shape("slope", self.slope, (len(self.frames), 2))


@dataclass(frozen=True)
class Plane:
    """Points x with ``normal @ x = offset``; ``normal`` is unit length and points to the free side."""

    normal: Array
    offset: float

    def __post_init__(self) -> None:
        expect_shape("normal", self.normal, (3,))
        if abs(np.linalg.norm(self.normal) - 1) > 1e-6:
            raise ValueError(f"normal: expected unit length, got {np.linalg.norm(self.normal):.6f}")

    def moved(self, new_from_old: Array) -> Plane:
        """After a rigid motion (4, 4)."""
        normal = new_from_old[:3, :3] @ self.normal
        return Plane(normal, self.offset + float(normal @ new_from_old[:3, 3]))

    def distance(self, points: Array) -> Array:
        """Signed distance of (..., 3) points, positive on the free side."""
        return points @ self.normal - self.offset

    def intersect(self, origin: Array, direction: Array) -> Array:
        """Ray parameter(s) t of ``origin + t * direction``; inf where the ray is parallel to the plane."""
        along = np.asarray(direction) @ self.normal
        with np.errstate(divide="ignore"):
            return np.where(np.abs(along) > 1e-12, (self.offset - np.asarray(origin) @ self.normal) / along, np.inf)


@dataclass(frozen=True)
class SparsePoints:
    """Static scene points from structure from motion."""

    xyz: Array  # (N, 3) float64 world
    error_px: Array  # (N,) mean reprojection error on the working raster
    track_length: Array  # (N,) number of frames
    seen: Array | None = None  # (N, 2) first and last source frame that saw each; None = not known

    def __post_init__(self) -> None:
        expect_shape("xyz", self.xyz, (None, 3))
        expect_shape("error_px", self.error_px, (len(self.xyz),))
        expect_shape("track_length", self.track_length, (len(self.xyz),))
        if self.seen is not None:
            expect_shape("seen", self.seen, (len(self.xyz), 2))


@dataclass(frozen=True)
class Scene4D:
    """A reconstructed or modelled scene; everything after it cannot tell which.

    ``cameras`` are on the working raster (the displayed picture scaled to at most 960 px); gravity is -Y. ``depth``
    shows what each frame shows, movers included; ``mesh``, ``points`` and ``ground`` are what stands still.
    """

    cameras: CameraPath
    source_wh: tuple[int, int]
    points: SparsePoints
    depth: DepthSource
    mesh: Mesh | None = None
    ground: Plane | None = None
    scale_known: bool = False
    motion: MotionSource | None = None  # None: nobody looked for movers
    movers: tuple[Mover, ...] = ()

    @property
    def working_wh(self) -> tuple[int, int]:
        return self.cameras.cameras[0].wh


@dataclass(frozen=True)
class Placement:
    """Where an object stands: ``world_from_object`` is rigid, ``scale`` multiplies the object first.

    ``support`` is the fitted surface under it; the object's base centre lies on it at ``anchor``.
    """

    frame: int
    world_from_object: Array
    scale: float
    anchor: Array
    support: Plane

    def __post_init__(self) -> None:
        expect_shape("world_from_object", self.world_from_object, (4, 4))
        expect_shape("anchor", self.anchor, (3,))
        if not self.scale > 0:
            raise ValueError(f"scale: expected > 0, got {self.scale}")


@dataclass(frozen=True)
class GBuffer:
    """Geometry seen by one pinhole camera. ``object_id`` 0 is nothing; ``depth`` 0 is nothing."""

    depth: Array  # (H, W) float32
    normal: Array  # (H, W, 3) float32 world, unit, towards the camera
    position: Array  # (H, W, 3) float32 world
    object_id: Array  # (H, W) int32
    uv: Array  # (H, W, 2) float32

    def __post_init__(self) -> None:
        h, w = self.depth.shape
        expect_shape("normal", self.normal, (h, w, 3))
        expect_shape("position", self.position, (h, w, 3))
        expect_shape("object_id", self.object_id, (h, w))
        expect_shape("uv", self.uv, (h, w, 2))


@dataclass(frozen=True)
class RenderLayers:
    """Differential render of one frame: ``composite = plate * ratio * (1 - alpha) + beauty`` in linear light."""

    beauty: Array  # (H, W, 3) premultiplied object radiance
    alpha: Array  # (H, W) object coverage before occlusion
    ratio: Array  # (H, W, 3) light on the plate with / without the object
    depth: Array  # (H, W) object z-depth, 0 where no object
    normal: Array  # (H, W, 3)
    motion: Array  # (H, W, 2) px to the next frame
    object_id: Array  # (H, W) int32

    def __post_init__(self) -> None:
        h, w = self.alpha.shape
        for name, shape in (("beauty", (h, w, 3)), ("ratio", (h, w, 3)), ("depth", (h, w)), ("normal", (h, w, 3)),
                            ("motion", (h, w, 2)), ("object_id", (h, w))):
            expect_shape(name, getattr(self, name), shape)

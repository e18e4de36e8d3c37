"""A blockout: named objects that move, bend and are skinned, and the cameras that look at them.

World: right-handed, +Y up, metres where the file says its unit (glTF, USD), else as stored. A time is a frame number,
fractional for shutters: time code n of USD is frame n, and n / rate seconds of glTF are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.gltf import NoSuchAnimation
from geometry.mesh import Mesh, MeshError, baked
from geometry.render.base import Instance
from geometry.trajectory import CameraPath

Array = np.ndarray
ASPECT_SLACK = 0.005  # 854 x 480 is a scaled 1920 x 1080
GLTF_SUFFIXES = (".glb", ".gltf")
USD_SUFFIXES = (".usd", ".usda", ".usdc", ".usdz")
STILL_SUFFIXES = (".obj", ".ply")
FROM = np.array([0.55, 0.4, 1.0])  # where a camera stands that was not told
BOUNDED = 9  # frames of a longer shot whose bounds stand for all


@dataclass(frozen=True)
class Pose:
    """``meshes`` in the body's own space, the same objects whenever their shape is; ``world_from_body`` any affine
    (4, 4)."""

    meshes: tuple[Mesh, ...]
    world_from_body: Array


class Motion(Protocol):
    def at(self, frame: float) -> Pose:
        """The same number of meshes, vertices and faces at every time."""
        ...


@dataclass(frozen=True)
class Still:
    """What never moves."""

    pose: Pose

    def at(self, frame: float) -> Pose:
        return self.pose


@dataclass(frozen=True)
class FromRest:
    """A motion told from where it is at frame ``first``: a scale that lasts, uniform or not, goes into the vertices,
    and what never moves gets the identity."""

    motion: Motion
    first: float

    @cached_property
    def _rest(self) -> Pose:
        return self.motion.at(self.first)

    @cached_property
    def _rest_meshes(self) -> tuple[Mesh, ...]:
        return tuple(baked(mesh, self._rest.world_from_body) for mesh in self._rest.meshes)

    def at(self, frame: float) -> Pose:
        pose = self.motion.at(frame)
        if abs(np.linalg.det(self._rest.world_from_body[:3, :3])) < 1e-18:  # squashed to nothing: no way back
            return pose
        is_rest_shape = all(a is b for a, b in zip(pose.meshes, self._rest.meshes, strict=True))
        moved = tuple(baked(mesh, self._rest.world_from_body) for mesh in pose.meshes) if not is_rest_shape else ()
        since_rest = pose.world_from_body @ np.linalg.inv(self._rest.world_from_body)
        return Pose(moved or self._rest_meshes, since_rest)


@dataclass(frozen=True)
class Body:
    """One object."""

    name: str
    motion: Motion

    def instance(self, frame: float, object_id: int) -> Instance:
        pose = self.motion.at(frame)
        if _is_similarity(pose.world_from_body):
            return Instance(pose.meshes, pose.world_from_body, object_id)
        return Instance(tuple(baked(mesh, pose.world_from_body) for mesh in pose.meshes), np.eye(4), object_id)


class FileCamera(Protocol):
    """A camera of the file, with zoom."""

    @property
    def name(self) -> str: ...

    @property
    def aspect(self) -> float | None:
        """Width / height of the picture; None where the file leaves that to its reader."""
        ...

    def at(self, frame: float, wh: tuple[int, int]) -> tuple[Camera, Array]:
        """Lens on a raster of ``wh`` pixels, and ``camera_from_world`` (4, 4). Raises ``ValueError`` when the picture's
        shape is not that of the camera's gate."""
        ...


@dataclass(frozen=True)
class Blockout:
    """Body k has object id k + 1. ``frames`` are all that anything in the file moves in; one frame when all stands
    still.

    ``warnings`` tell what was left out.
    """

    bodies: tuple[Body, ...]
    cameras: tuple[FileCamera, ...]
    frames: range
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(body.name for body in self.bodies)

    def object_id(self, name: str) -> int:
        """Raises ``ValueError`` that lists the objects there are."""
        if name not in self.names:
            raise ValueError(f"object: expected one of {_listed(self.names)}, got {name!r}")
        return self.names.index(name) + 1

    def instances(self, frame: float) -> tuple[Instance, ...]:
        """What stands where; meshes that keep their shape are the same objects at every time."""
        return tuple(body.instance(frame, k + 1) for k, body in enumerate(self.bodies))

    def framed(self, lens: Camera, frames: Sequence[int]) -> tuple[Array, float]:
        """``camera_from_world`` (4, 4) of a camera that sees everything in all ``frames``, from the front right and a
        little above; and how far it stands from the middle of it."""
        stops = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, BOUNDED).astype(int))]
        bounds = np.array([_bounds(self.instances(frame)) for frame in stops])
        low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
        middle, radius = (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-9)
        half_angle = np.arctan(min(lens.wh[0] / lens.fx, lens.wh[1] / lens.fy) / 2)
        distance = radius / float(np.sin(half_angle))
        return rigid.look_at(middle + FROM / np.linalg.norm(FROM) * distance, middle), distance

    def camera_path(
        self, wh: tuple[int, int], name: str | None = None, frames: Sequence[int] | None = None
    ) -> CameraPath:
        """The camera ``name`` (None: the only one) at ``frames`` (None: all of the file) on a raster of ``wh`` pixels.

        Raises ``ValueError``: no such camera, or several to choose from; the message lists what the file has.
        """
        camera = self.camera(name)
        numbers = tuple(self.frames if frames is None else frames)
        if not numbers:
            raise ValueError("frames: expected at least one, got none")
        seen = [camera.at(number, wh) for number in numbers]
        return CameraPath(numbers, tuple(lens for lens, _ in seen), np.stack([pose for _, pose in seen]))

    def camera(self, name: str | None = None) -> FileCamera:
        """The camera ``name``; None: the only one. Raises ``ValueError`` as ``camera_path`` does."""
        known = [camera.name for camera in self.cameras]
        if not known:
            raise ValueError(f"camera: expected one in the file, got only the objects {_listed(self.names)}")
        if name is None and len(known) > 1:
            raise ValueError(f"camera: expected the name of one of {_listed(known)}, got none")
        if name is not None and name not in known:
            raise ValueError(f"camera: expected one of {_listed(known)}, got {name!r}")
        return self.cameras[known.index(name) if name is not None else 0]


def load_blockout(
    path: str | Path, *, rate: Fraction = Fraction(24), animation: str | None = None, up_axis: str | None = None
) -> Blockout:
    """Read glTF/GLB, USD, OBJ or PLY.

    ``rate``: frames a second of glTF's animations, of which ``animation`` names the one to play (None: all that do not
    contradict each other). ``up_axis`` overrides what OBJ and PLY are taken for (+y).

    Raises ``MeshError`` for a missing or unreadable file, an unknown format, no triangles and coordinates that are not
    finite, and ``NoSuchAnimation``. Missing textures are warnings.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in GLTF_SUFFIXES + USD_SUFFIXES + STILL_SUFFIXES:
        known = ", ".join(GLTF_SUFFIXES + USD_SUFFIXES + STILL_SUFFIXES)
        raise MeshError(f"{path}: expected a scene file ({known}), got {suffix or 'no suffix'!r}")
    if not path.is_file():
        raise MeshError(f"{path}: no such file")
    try:
        blockout = _read(path, rate, animation, up_axis)
    except MeshError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except Exception as error:  # the readers raise whatever a broken byte leads them to
        raise MeshError(f"{path}: cannot be read: {type(error).__name__}: {error}") from error
    if not blockout.bodies:
        raise MeshError(f"{path}: expected at least one object with triangles, got none")
    first = blockout.frames[0]
    bodies = tuple(
        Body(name, FromRest(body.motion, first))
        for name, body in zip(unique_names(blockout.names), blockout.bodies, strict=True)
    )
    return Blockout(bodies, blockout.cameras, blockout.frames, blockout.warnings)


def _read(path: Path, rate: Fraction, animation: str | None, up_axis: str | None) -> Blockout:
    if path.suffix.lower() in GLTF_SUFFIXES:
        from geometry.blockout_gltf import read_gltf

        return read_gltf(path, rate, animation)
    if animation is not None:
        raise NoSuchAnimation(f"animation: expected none of a {path.suffix} file, got {animation!r}")
    if path.suffix.lower() in USD_SUFFIXES:
        from geometry.blockout_usd import read_usd

        return read_usd(path)
    from geometry.blockout_still import read_still

    return read_still(path, up_axis)


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """The names, with .2, .3 ... behind those that came before."""
    taken: list[str] = []
    for name in names:
        count, chosen = 1, name
        while chosen in taken:
            count += 1
            chosen = f"{name}.{count}"
        taken.append(chosen)
    return tuple(taken)


def expect_aspect(aspect: float, wh: tuple[int, int]) -> None:
    """Raise ``ValueError`` when ``aspect`` (width / height) is not that of a picture of ``wh``."""
    if abs(aspect * wh[1] / wh[0] - 1) > ASPECT_SLACK:
        raise ValueError(f"aspect: expected {wh[0] / wh[1]:.3f} (a {wh[0]} x {wh[1]} picture), got {aspect:.3f}")


def _is_similarity(matrix: Array) -> bool:
    gram = matrix[:3, :3].T @ matrix[:3, :3]
    scale = np.trace(gram) / 3
    return bool(np.abs(gram - scale * np.eye(3)).max() <= 1e-6 * scale and np.linalg.det(matrix[:3, :3]) > 0)


def _bounds(instances: Sequence[Instance]) -> Array:
    """(2, 3) world: the lowest and the highest coordinates."""
    points = [rigid.transform(item.world_from_object, mesh.vertices) for item in instances for mesh in item.meshes]
    return np.array([np.min([p.min(0) for p in points], 0), np.max([p.max(0) for p in points], 0)])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")

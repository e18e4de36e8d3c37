"""What the reconstruction benchmark compares: a truth and what a job left, read frame by frame."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from examples.shots import CameraMove, ShotKind
from geometry import frames as camera_files
from geometry import rigid
from geometry.scene import Mover, RigidTrack
from geometry.trajectory import CameraPath
from services.media import exr, images

Array = np.ndarray

MOST_AWAY_S = 0.1


@dataclass(frozen=True)
class RenderedTruth:
    """A folder that ``examples.shots.render_shot`` left."""

    folder: Path

    @cached_property
    def path(self) -> CameraPath:
        return camera_files.path_from_cameras_json(json.loads((self.folder / "cameras.json").read_text()))

    @cached_property
    def facts(self) -> dict[str, Any]:
        return json.loads((self.folder / "truth.json").read_text())

    @property
    def kind(self) -> ShotKind:
        return self.facts["kind"]

    @property
    def camera(self) -> CameraMove:
        return self.facts["camera"]

    def depth(self, frame: int) -> Array:
        """(H, W) float32, 0 on the sky."""
        return exr.read_depth(self.folder / "depth" / f"{frame:04d}.exr")

    def labels(self, frame: int) -> Array:
        """(H, W) uint8 of what moves, 0 elsewhere."""
        if not self.facts["movers"]:
            return np.zeros(self.path.camera(frame).hw, np.uint8)
        return _labels(self.folder / "motion" / f"{frame:04d}.png")

    def unsure(self, frame: int, *kinds: str) -> Array:
        """(H, W) bool: glass, mirrors or blank walls, as named."""
        ids = [i for kind in kinds for i in self.facts["unsure"].get(kind, ())]
        return np.isin(_labels(self.folder / "ids" / f"{frame:04d}.png"), ids)

    def camera_from_mover(self, label: int) -> CameraPath:
        """The camera as something sees it that takes the mover to stand still."""
        motion = self.facts["movers"][str(label)]["world_from_mover"]
        return _riding(self.path, {frame: np.array(motion[str(frame)]) for frame in self.path.frames})


@dataclass(frozen=True)
class Solved:
    """The output folder of a reconstruct job. Motion and movers are None where the job left none.

    ``movers.json``: ``{"movers": [...]}``, each with the fields of ``Mover``, nan being null; ``track`` has those of
    ``RigidTrack`` or is null.
    """

    folder: Path

    @cached_property
    def path(self) -> CameraPath:
        return camera_files.path_from_cameras_json(json.loads((self.folder / "cameras.json").read_text()))

    @cached_property
    def report(self) -> dict[str, Any]:
        return json.loads((self.folder / "report.json").read_text())

    @property
    def camera(self) -> CameraMove:
        return self.report["scene"]["kind"]

    @property
    def has_depth(self) -> bool:
        return (self.folder / "depth").is_dir()

    def depth(self, frame: int) -> Array:
        return exr.read_depth(self.folder / "depth" / f"{frame:04d}.exr")

    def confidence(self, frame: int) -> Array:
        return images.read_mask(self.folder / "confidence" / f"{frame:04d}.png")

    @property
    def has_motion(self) -> bool:
        return (self.folder / "motion").is_dir()

    def labels(self, frame: int) -> Array:
        return _labels(self.folder / "motion" / f"{frame:04d}.png")

    @cached_property
    def movers(self) -> dict[int, Mover] | None:
        """By label."""
        file = self.folder / "movers.json"
        if not file.exists():
            return None
        return {m["label"]: _mover(m) for m in json.loads(file.read_text())["movers"]}

    def camera_from_rest(self, track: RigidTrack) -> CameraPath:
        """See ``RenderedTruth.camera_from_mover``; only frames that the track knows."""
        motion = dict(zip(track.frames, track.world_from_rest, strict=True))
        return _riding(self.path.select([f for f in self.path.frames if f in motion]), motion)


def _labels(file: Path) -> Array:
    return images.read_picture(file)[..., 0]


def _riding(path: CameraPath, world_from_thing: dict[int, Array]) -> CameraPath:
    motion = np.stack([world_from_thing[frame] for frame in path.frames])
    return CameraPath(path.frames, path.cameras, path.camera_from_world @ motion)


def _mover(stored: dict[str, Any]) -> Mover:
    track = stored["track"]
    return Mover(
        stored["label"], tuple(stored["frames"]), _numbers(stored["depth"]), _numbers(stored["depth_sigma"]),
        track and RigidTrack(track["rest"], tuple(track["frames"]), _numbers(track["world_from_rest"])),
    )


def _numbers(values: list[Any]) -> Array:
    return np.array(values, np.float64)  # null becomes nan


def tum_poses(file: Path, pictures: Sequence[Path]) -> Array:
    """(N, 4, 4) ``camera_from_world`` at the times that are the pictures' names, interpolated in a TUM trajectory
    (time tx ty tz qx qy qz qw of ``world_from_camera``).

    Raises ``ValueError`` for a picture more than a tenth of a second from its nearest pose.
    """
    rows = np.loadtxt(file, ndmin=2)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    poses = rigid.inverse(rigid.from_quaternion(np.roll(rows[:, 4:8], 1, axis=1), rows[:, 1:4]))
    found = []
    for picture in pictures:
        time = float(picture.stem)
        b = int(np.clip(np.searchsorted(rows[:, 0], time), 1, len(rows) - 1))
        if np.abs(rows[b - 1 : b + 1, 0] - time).min() > MOST_AWAY_S:
            raise ValueError(f"{file.name}: expected a pose within {MOST_AWAY_S} s of {picture.name}, got none")
        share = np.clip((time - rows[b - 1, 0]) / (rows[b, 0] - rows[b - 1, 0]), 0, 1)
        found.append(rigid.interpolate(poses[b - 1], poses[b], float(share)))
    return np.stack(found)

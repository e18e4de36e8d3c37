"""What objects stand on and how things move, in plain numbers: they enter the keys of stages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geometry.scene import Plane, RigidTrack

Numbers = tuple[tuple[float, ...], ...]  # (4, 4)


@dataclass(frozen=True)
class Motion:
    """A ``RigidTrack``."""

    rest: int
    frames: tuple[int, ...]
    world_from_rest: tuple[Numbers, ...]

    @classmethod
    def of(cls, track: RigidTrack | None) -> Motion | None:
        if track is None:
            return None
        return cls(track.rest, track.frames, tuple(tuple(map(tuple, m)) for m in track.world_from_rest.tolist()))

    @property
    def track(self) -> RigidTrack:
        return RigidTrack(self.rest, self.frames, np.array(self.world_from_rest))


@dataclass(frozen=True)
class Support:
    """A plane that carries objects, as it lies in their placing frame."""

    normal: tuple[float, float, float]
    offset: float
    carrier: int = 0  # label of the mover whose surface it is; 0 = it stands still
    motion: Motion | None = None  # the carrier's

    @classmethod
    def of(cls, plane: Plane, carrier: int, motion: Motion | None) -> Support:
        x, y, z = map(float, plane.normal)
        return cls((x, y, z), float(plane.offset), carrier, motion)

    @property
    def plane(self) -> Plane:
        return Plane(np.array(self.normal), self.offset)

    def plane_at(self, frame: int) -> Plane:
        return self.plane if self.motion is None else self.plane.moved(self.motion.track.at(frame))

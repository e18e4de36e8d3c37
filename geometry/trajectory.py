"""Camera paths: one lens and one pose for each frame that is known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from geometry import rigid
from geometry.camera import Camera
from geometry.shapes import expect_shape

Array = np.ndarray


@dataclass(frozen=True)
class CameraPath:
    """``camera_from_world`` (N, 4, 4) and a ``Camera`` for each source frame number in ``frames`` (ascending).

    Frames that could not be solved are absent. Raises ``ValueError`` for wrong shapes, counts or order.
    """

    frames: tuple[int, ...]
    cameras: tuple[Camera, ...]
    camera_from_world: Float[Array, "n 4 4"]

    def __post_init__(self) -> None:
        expect_shape("camera_from_world", self.camera_from_world, (len(self.frames), 4, 4))
        if len(self.cameras) != len(self.frames):
            raise ValueError(f"cameras: expected {len(self.frames)}, got {len(self.cameras)}")
        if any(b <= a for a, b in zip(self.frames, self.frames[1:], strict=False)):
            raise ValueError("frames: expected ascending numbers without repeats")

    def __len__(self) -> int:
        return len(self.frames)

    def __contains__(self, frame: int) -> bool:
        return frame in self._index

    @cached_property
    def _index(self) -> dict[int, int]:
        return {frame: i for i, frame in enumerate(self.frames)}

    def index(self, frame: int) -> int:
        """Position of a frame number. Raises ``KeyError`` that names the frame when it was not solved."""
        if frame not in self._index:
            raise KeyError(f"frame {frame} has no camera (solved: {self.frames[0]}..{self.frames[-1]})")
        return self._index[frame]

    def camera(self, frame: int) -> Camera:
        return self.cameras[self.index(frame)]

    def pose(self, frame: int) -> Float[Array, "4 4"]:
        """(4, 4) ``camera_from_world`` of one frame."""
        return self.camera_from_world[self.index(frame)]

    def pose_between(self, time: float) -> Float[Array, "4 4"]:
        """``camera_from_world`` at a fractional frame number, for shutters.

        Between frames by the geodesic; before the first and after the last the end's motion goes on.
        """
        if len(self.frames) == 1:
            return self.camera_from_world[0]
        i = min(max(bisect_right(self.frames, time) - 1, 0), len(self.frames) - 2)
        a, b = self.frames[i], self.frames[i + 1]
        return rigid.interpolate(self.camera_from_world[i], self.camera_from_world[i + 1], (time - a) / (b - a))

    @property
    def centres(self) -> Float[Array, "n 3"]:
        """(N, 3) camera centres in the world."""
        return rigid.inverse(self.camera_from_world)[:, :3, 3]

    @property
    def has_one_centre(self) -> bool:
        """Whether the camera only turns, or stands still: then nothing is seen from two sides."""
        return len(self) > 1 and float(np.ptp(self.centres, axis=0).max()) < 1e-9

    @property
    def view_directions(self) -> Float[Array, "n 3"]:
        """(N, 3) unit optical axes in the world."""
        return self.camera_from_world[:, 2, :3]

    def scaled(self, wh: tuple[int, int]) -> CameraPath:
        """The same path on a raster of ``wh`` pixels."""
        return replace(self, cameras=tuple(camera.scaled(wh) for camera in self.cameras))

    def in_world(self, new_from_old: Float[Array, "4 4"], scale: float = 1.0) -> CameraPath:
        """The path after the world changes: ``x_new = new_from_old @ (scale * x_old)`` (rigid ``new_from_old``)."""
        moved = self.camera_from_world.copy()
        moved[:, :3, 3] *= scale
        return replace(self, camera_from_world=moved @ rigid.inverse(new_from_old))

    def select(self, frames: Sequence[int]) -> CameraPath:
        """The part of the path that covers ``frames``."""
        keep = [self.index(frame) for frame in frames]
        return CameraPath(tuple(frames), tuple(self.cameras[i] for i in keep), self.camera_from_world[keep])

"""How far a camera may go before something shows that no layer covers.

The box is found at reduced size, where every test takes milliseconds; then its corners and faces are drawn at full
size, and it shrinks until nothing is uncovered there either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.layers import LayerStack
from geometry.plates.compose import Composer
from geometry.trajectory import CameraPath

Array = np.ndarray
REDUCED_PX = 240  # the longer side
STEPS = 7  # bisections: 1 % of the way
FARTHEST = 0.8  # of the nearest layer's depth: nobody flies through it
WIDEST_DEG, LEAST_DEG = 20.0, 0.05
SHRINK = 0.9  # when full size shows what reduced size did not


@dataclass(frozen=True)
class SafeBox:
    """Camera offsets from the source view, in scene units along x (right), y (down) and z (forward), ``low`` <= 0 <=
    ``high``, in which no pixel is uncovered; at the source's place the camera may turn by ``turn_deg`` besides.

    ``uncovered_px``: how many the source view itself leaves clear; if there are any, nothing is safe.
    """

    low: Array  # (3,)
    high: Array  # (3,)
    turn_deg: float
    uncovered_px: int = 0

    def share(self, camera_from_world: Array) -> float:
        """How much of the way to where it ends a pose (4, 4) takes up; what is used for turning is not there for
        moving. inf: there is no way in that direction."""
        if self.uncovered_px:
            return np.inf
        offset = rigid.inverse(camera_from_world)[:3, 3]
        turn_deg = np.degrees(float(rigid.rotation_angle(camera_from_world)))
        room = np.where(offset > 0, self.high, -self.low)
        moved = max(_share(abs(float(o)), float(r)) for o, r in zip(offset, room, strict=True))
        return moved + _share(turn_deg, self.turn_deg)

    def contains(self, camera_from_world: Array) -> bool:
        return self.share(camera_from_world) <= 1 + 1e-9


def safe_box(stack: LayerStack, hw: tuple[int, int]) -> SafeBox:
    """Of a picture of (H, W) = ``hw`` that shows what the source did, with the source's lens."""
    full = _Probe(stack, hw)
    here = full.uncovered_px(np.eye(4))
    if here:
        return SafeBox(np.zeros(3), np.zeros(3), 0.0, here)
    reduced = _Probe(stack, _reduced(hw))
    room = _room(reduced, FARTHEST * min(layer.median_depth for layer in stack))
    while not full.covers_box(room):
        room = np.where(room < 1e-3 * room.max(), 0.0, room * SHRINK)
    turn_deg = WIDEST_DEG * _largest(lambda share: reduced.covers_turns(share * WIDEST_DEG))
    while turn_deg and not (reduced.covers_turns(turn_deg, room) and full.covers_turns(turn_deg)):
        turn_deg = turn_deg * SHRINK if turn_deg > LEAST_DEG else 0.0
    return SafeBox(-room[:, 0], room[:, 1], SHRINK * turn_deg)


def uncovered_frames(stack: LayerStack, path: CameraPath) -> tuple[int, ...]:
    """Frame numbers of a path in which a pixel is uncovered, or may be: told at reduced size."""
    return tuple(frame for frame, count in zip(path.frames, uncovered_counts(stack, path), strict=True) if count)


def uncovered_counts(stack: LayerStack, path: CameraPath) -> list[int]:
    """How many pixels are uncovered in each frame, at reduced size."""
    probe = _Probe(stack, _reduced(path.cameras[0].hw))
    seen = zip(path.cameras, path.camera_from_world, strict=True)
    return [probe.uncovered_px(pose, camera) for camera, pose in seen]


class _Probe:
    """Asks whether anything is uncovered, on a raster of ``hw``."""

    def __init__(self, stack: LayerStack, hw: tuple[int, int]) -> None:
        self._hw, self._camera = hw, stack.picture_camera
        still = tuple(replace(layer, motion=None, video=None) for layer in stack)  # alpha does not flow
        self._composer = Composer(replace(stack, layers=still), hw)

    def uncovered_px(self, camera_from_world: Array, camera: Camera | None = None) -> int:
        """Seen with the source's lens, or with ``camera``."""
        lens = _resampled(camera or self._camera, self._hw)
        return int(self._composer.frame(lens, camera_from_world).uncovered.sum())

    def covers_box(self, room: Array) -> bool:
        """Its corners and the middles of its sides; ``room`` (3, 2) towards low and high of each axis."""
        middles = [(2 * side - 1) * room[axis, side] * np.eye(3)[axis] for axis in range(3) for side in (0, 1)]
        return all(not self.uncovered_px(_carried(offset)) for offset in _corners(room) + middles)

    def covers_side(self, room: Array, axis: int, side: int) -> bool:
        """The corners and the middle of one side of a box."""
        middle = (2 * side - 1) * room[axis, side] * np.eye(3)[axis]
        offsets = [corner for corner in _corners(room) if corner[axis] == middle[axis]]
        return all(not self.uncovered_px(_carried(offset)) for offset in [*offsets, middle])

    def covers_turns(self, turn_deg: float, room: Array | None = None) -> bool:
        """Pan, tilt and roll, both ways, at the source's place, and half of them half way to the corners of a box."""
        turns = [sign * np.radians(turn_deg) * axis for axis in np.eye(3) for sign in (-1, 1)]
        poses = [_posed(np.zeros(3), turn) for turn in turns]
        if room is not None:
            poses += [_posed(0.5 * corner, 0.5 * turn) for corner in _corners(room) for turn in turns]
        return all(not self.uncovered_px(pose) for pose in poses)


def _room(probe: _Probe, reach: float) -> Array:
    """(3, 2) towards low and high of each axis: a box with the proportions of what each direction allows by itself,
    then every side moved outwards as far as it goes."""

    def alone(axis: int, side: int) -> float:
        direction = (2 * side - 1) * np.eye(3)[axis]
        return reach * _largest(lambda share: not probe.uncovered_px(_carried(share * reach * direction)))

    widest = np.array([[alone(axis, side) for side in (0, 1)] for axis in range(3)])
    room = widest * _largest(lambda share: probe.covers_box(share * widest))
    for axis, side in product(range(3), (0, 1)):
        grown = room.copy()

        def wider(share: float, axis: int = axis, side: int = side, grown: Array = grown) -> bool:
            grown[axis, side] = room[axis, side] + share * (widest[axis, side] - room[axis, side])
            return probe.covers_side(grown, axis, side)

        room[axis, side] += _largest(wider) * (widest[axis, side] - room[axis, side])
    return room


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest share in [0, 1] for which something holds that holds at 0, a little less rather than more."""
    if holds(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _share(used: float, room: float) -> float:
    if used < 1e-9:
        return 0.0
    return used / room if room > 0 else np.inf


def _corners(room: Array) -> list[Array]:
    return [room[(0, 1, 2), sides] * (2.0 * np.array(sides) - 1) for sides in product((0, 1), repeat=3)]


def _carried(offset: Array) -> Array:
    return rigid.rigid(np.eye(3), -offset)


def _posed(offset: Array, turn: Array) -> Array:
    """``turn`` as a rotation vector."""
    return rigid.rigid(Rotation.from_rotvec(turn).as_matrix(), np.zeros(3)) @ _carried(offset)


def _resampled(camera: Camera, hw: tuple[int, int]) -> Camera:
    """The same lens on fewer pixels, of which the outermost look exactly where the outermost did before: what leaves a
    layer does so at the border first."""
    (w, h), (height, width) = camera.wh, hw
    sx, sy = (width - 1) / max(w - 1, 1), (height - 1) / max(h - 1, 1)
    if (w, h) == (width, height) or not (sx and sy):
        return camera.scaled((width, height))
    return Camera(
        camera.fx * sx, camera.fy * sy, (camera.cx - 0.5) * sx + 0.5, (camera.cy - 0.5) * sy + 0.5, (width, height)
    )


def _reduced(hw: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, REDUCED_PX / max(hw))
    return max(round(hw[0] * scale), 1), max(round(hw[1] * scale), 1)

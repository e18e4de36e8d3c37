"""Camera moves that a person can type: ``dolly=in:0.4+pan=left:5``.

Grammar: ``KIND=DIRECTION:AMOUNT`` joined with ``+``; ``locked`` is a camera that stands still. Several such settings
with frame numbers are keys: ``truck=left:0.2@30; truck=left:0.2+dolly=in:1@60``. A setting says where the camera is
relative to the source's, so what it does not name is as it was there. Lengths are in scene units, angles in degrees.

| kind | directions | what happens |
|---|---|---|
| ``dolly`` / ``truck`` / ``pedestal`` | in, out / left, right / up, down | the camera is carried along its axes |
| ``forward`` | none: ``forward=1`` | the same as ``dolly=in:1`` |
| ``orbit`` | left, right, up, down | carried round the pivot, which stays where it is in the picture |
| ``pan`` / ``tilt`` / ``roll`` | left, right / up, down / left, right | the camera turns where it stands |
| ``dolly-zoom`` | in, out | a dolly during which the pivot keeps its size |
| ``handheld`` | a seed: ``handheld=7:1`` | the sway of an operator; 1 is a steady one |

The world of a path is the source camera's frame (OpenCV axes: x right, y down, z forward): ``camera_from_world`` of the
source view is the identity. The pivot lies on its optical axis; what orbits left or right turns about ``up``, which is
the picture's unless it is said where the world's lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath

Array = np.ndarray
Triple = Sequence[float] | Array
Easing = Literal["smooth", "linear", "none"]
UP = (0.0, -1.0, 0.0)  # of a picture, in the camera's axes

# Kind, direction: the setting that changes, and its sign.
STEPS: dict[str, dict[str, tuple[str, int]]] = {
    "dolly": {"in": ("z", 1), "out": ("z", -1)},
    "truck": {"left": ("x", -1), "right": ("x", 1)},
    "pedestal": {"up": ("y", -1), "down": ("y", 1)},
    "orbit": {
        "left": ("orbit_yaw_deg", -1), "right": ("orbit_yaw_deg", 1), "up": ("orbit_pitch_deg", 1),
        "down": ("orbit_pitch_deg", -1),
    },
    "pan": {"left": ("pan_deg", -1), "right": ("pan_deg", 1)},
    "tilt": {"up": ("tilt_deg", 1), "down": ("tilt_deg", -1)},
    "roll": {"left": ("roll_deg", -1), "right": ("roll_deg", 1)},
    "dolly-zoom": {"in": ("dolly_zoom", 1), "out": ("dolly_zoom", -1)},
}  # fmt: skip
KINDS = ("locked", *STEPS, "forward", "handheld")
SWAY_HZ = (0.23, 0.41, 0.67, 1.1, 1.9, 3.1)  # of somebody who stands; slower ones are larger
SWAY_DEG, SWAY_SHARE = 0.25, 0.003  # rms of pan and tilt, and of the place as a share of the pivot's depth


@dataclass(frozen=True)
class Setting:
    """Where the camera is, relative to the source's; its own axes before any turn."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    orbit_yaw_deg: float = 0.0
    orbit_pitch_deg: float = 0.0
    pan_deg: float = 0.0
    tilt_deg: float = 0.0
    roll_deg: float = 0.0
    dolly_zoom: float = 0.0

    def towards(self, other: Setting, share: float) -> Setting:
        """``share`` in [0, 1] of the way to another."""
        return Setting(*(_between(getattr(self, f.name), getattr(other, f.name), share) for f in fields(Setting)))

    def view(self, camera: Camera, pivot_depth: float, up: Triple = UP) -> tuple[Camera, Array]:
        """The lens and its (4, 4) ``camera_from_world`` there; ``up``: a unit vector.

        Raises ``ValueError`` when a dolly-zoom reaches the pivot.
        """
        if self.dolly_zoom >= pivot_depth:
            raise ValueError(
                f"dolly-zoom: expected less than the pivot's depth {pivot_depth:g}, got {self.dolly_zoom:g}"
            )
        zoom = 1 - self.dolly_zoom / pivot_depth
        pivot = np.array([0.0, 0.0, pivot_depth])
        lifted = Rotation.from_euler("X", -self.orbit_pitch_deg, degrees=True)
        around = (Rotation.from_rotvec(np.radians(self.orbit_yaw_deg) * np.asarray(up)) * lifted).as_matrix()
        turned = Rotation.from_euler("YXZ", [self.pan_deg, self.tilt_deg, self.roll_deg], degrees=True).as_matrix()
        offset = np.array([self.x, self.y, self.z + self.dolly_zoom])
        world_from_camera = rigid.rigid(around, pivot - around @ pivot) @ rigid.rigid(turned, offset)
        return replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom), rigid.inverse(world_from_camera)


@dataclass(frozen=True)
class Move:
    """``keys``: settings and the frames at which they are reached, ascending; one key without a frame number (None) is
    reached at the end of the clip. ``handheld``: a seed, and how much."""

    keys: tuple[tuple[float | None, Setting], ...] = ((None, Setting()),)
    handheld: tuple[int, float] | None = None

    @property
    def end(self) -> Setting:
        """The last key's, without any sway: the view that a move leads to."""
        return self.keys[-1][1]


LOCKED = Move()


def parse_move(spec: str) -> Move:
    """Read what the module's grammar allows. Raises ``ValueError`` that names the part, what was expected, and what
    came."""
    keys: list[tuple[float | None, Setting]] = []
    handheld: tuple[int, float] | None = None
    parts = spec.split(";")
    for part in parts:
        text, _, at = part.partition("@")
        setting, sway = _setting(text)
        if handheld and sway:
            raise ValueError(f"move {spec!r}: handheld is given twice")
        handheld = handheld or sway
        keys.append((_number(part.strip(), at, "frame") if at else None, setting))
    numbers = [at for at, _ in keys if at is not None]
    if len(keys) > 1 and len(numbers) < len(keys):
        raise ValueError(f"move {spec!r}: expected a frame number for every key, such as {parts[0].strip()}@24")
    if any(at <= 0 for at in numbers) or any(b <= a for a, b in pairwise(numbers)):
        raise ValueError(f"move {spec!r}: expected ascending frame numbers after 0, got {numbers}")
    return Move(tuple(keys), handheld)


def camera_path(
    move: Move, camera: Camera, frames: int, *, pivot_depth: float, easing: Easing = "smooth", seed: int = 0,
    rate: float = 24.0, loop: bool = False, up: Triple = UP,
) -> CameraPath:
    """The path of frames 0 .. ``frames`` - 1, which starts at the source view.

    ``easing``: ``smooth`` starts and stops softly at every key, ``linear`` does not; with ``none`` the camera does not
    move but stands at the next key's setting (so a single key holds from frame 0). ``loop`` leads back, so that frame
    ``frames`` would be frame 0 again. ``rate`` (frames a second) sets the pace of a handheld camera. Raises
    ``ValueError`` for no frames, a pivot that is not in front, or an easing that is not known.
    """
    if frames < 1:
        raise ValueError(f"frames: expected at least 1, got {frames}")
    if not (np.isfinite(pivot_depth) and pivot_depth > 0):
        raise ValueError(f"pivot_depth: expected > 0, got {pivot_depth}")
    if easing not in get_args(Easing):
        raise ValueError(f"easing: expected one of {', '.join(get_args(Easing))}, got {easing!r}")
    keys = _timed(move, frames, loop)
    sways = _sways(move.handheld, seed, frames, rate, loop)
    cameras, poses = [], []
    for frame in range(frames):
        lens, pose = _at(keys, frame, easing).view(camera, pivot_depth, up)
        if sways is not None:
            pose = _swayed(pose, sways[frame], pivot_depth)
        cameras.append(lens)
        poses.append(pose)
    return CameraPath(tuple(range(frames)), tuple(cameras), np.stack(poses))


# --- reading


def _setting(text: str) -> tuple[Setting, tuple[int, float] | None]:
    amounts: dict[str, float] = {}
    sway: tuple[int, float] | None = None
    for part in (p.strip() for p in text.split("+")):
        kind, _, value = part.partition("=")
        if part == "locked":
            continue
        if kind not in KINDS or kind == "locked":
            raise ValueError(f"move {part!r}: expected one of {', '.join(KINDS)}")
        if kind == "handheld" and sway:
            raise ValueError(f"move {part!r}: handheld is given twice in {text.strip()!r}")
        if kind == "handheld":
            sway = _handheld(part, value)
            continue
        name, amount = _step(part, kind, value)
        if name in amounts:
            raise ValueError(f"move {part!r}: the same motion is given twice in {text.strip()!r}")
        amounts[name] = amount
    return Setting(**amounts), sway


def _step(part: str, kind: str, value: str) -> tuple[str, float]:
    if kind == "forward":
        return "z", _number(part, value, "amount")
    direction, colon, amount = value.partition(":")
    directions = STEPS[kind]
    if direction not in directions or not colon:
        choices, first = "|".join(directions), next(iter(directions))
        raise ValueError(f"move {part!r}: expected {kind}={choices}:AMOUNT, such as {kind}={first}:0.5")
    name, sign = directions[direction]
    return name, sign * _number(part, amount, "amount")


def _handheld(part: str, value: str) -> tuple[int, float]:
    seed, _, amount = value.partition(":")
    if not seed.isdecimal():
        raise ValueError(f"move {part!r}: expected handheld=SEED:AMOUNT with a whole number as seed")
    return int(seed), _number(part, amount, "amount")


def _number(part: str, text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not np.isfinite(number):
        raise ValueError(f"move {part!r}: expected a number as {what}, got {text.strip()!r}")
    return number


# --- following


def _timed(move: Move, frames: int, loop: bool) -> list[tuple[float, Setting]]:
    """Keys with frame numbers, the source view at 0 first."""
    end = float(frames) if loop else float(max(frames - 1, 1))
    keys = [(end / 2 if loop else end, setting) if at is None else (at, setting) for at, setting in move.keys]
    closing = [(end, Setting())] if loop and keys[-1][0] < end else []
    return [(0.0, Setting()), *keys, *closing]


def _at(keys: list[tuple[float, Setting]], frame: float, easing: Easing) -> Setting:
    for (start, a), (end, b) in pairwise(keys):
        if frame <= end:
            share = (frame - start) / (end - start)
            return a.towards(b, 1.0 if easing == "none" else _eased(share) if easing == "smooth" else share)
    return keys[-1][1]


def _eased(x: float) -> float:
    """Speed and acceleration are 0 at both ends."""
    return x * x * x * (x * (6 * x - 15) + 10)


def _between(a: float, b: float, share: float) -> float:
    return a + share * (b - a)


def _sways(handheld: tuple[int, float] | None, seed: int, frames: int, rate: float, loop: bool) -> Array | None:
    """(N, 6): pan, tilt, roll and the place (x, y, z), rms about ``handheld``'s amount; 0 at frame 0.

    A sum of a few tones, at random phases. In a loop, each goes round a whole number of times.
    """
    if handheld is None:
        return None
    hertz = np.array(SWAY_HZ)
    turns = hertz / rate * frames
    if loop:
        turns = np.maximum(np.round(turns), 1)
    size = hertz**-0.8
    size *= np.sqrt(2 / (size**2).sum())
    phase = np.random.default_rng([seed, handheld[0]]).uniform(0, 2 * np.pi, (6, len(hertz)))
    angle = 2 * np.pi * turns * np.arange(frames)[:, None, None] / frames + phase
    return handheld[1] * ((np.sin(angle) - np.sin(phase)) * size).sum(-1)


def _swayed(camera_from_world: Array, sway: Array, pivot_depth: float) -> Array:
    turned = Rotation.from_euler("YXZ", sway[:3] * (SWAY_DEG, SWAY_DEG, 0.5 * SWAY_DEG), degrees=True).as_matrix()
    place = sway[3:] * (1, 1, 0.5) * SWAY_SHARE * pivot_depth
    return rigid.inverse(rigid.rigid(turned, place)) @ camera_from_world

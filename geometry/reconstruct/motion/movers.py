"""How far away what moves is, frame by frame, and what else is known of it: ``Mover`` of geometry/scene.py.

Depth is read where a mover touches what stands still: at the mask's lowest edge, along gravity, on the ground plane, or
without one on the static depth just below it. Feet may be hidden, or outside the picture, or off the ground: where the
contact does not fit its neighbours in time, size constancy (``z_t = z_0 h_0 / h_t``, or with the breadth where the
height is cut) takes its place. All is smoothed in log z by reweighted least squares. A mover is an upright board that
stands aslant as its feet say (slant.py).

``MovingDepth`` puts movers into the depth of what stands still.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.linalg import solveh_banded

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.motion import slant
from geometry.reconstruct.motion.rigid_track import Contact, find_rigid_track, upright_ratio
from geometry.reconstruct.motion.slant import Slant
from geometry.scene import DepthMap, DepthSource, FrameSource, MotionSource, Mover, Plane, RigidTrack, Scene4D

Array = np.ndarray
Report = Callable[[int, int], None]

CUT_PX = 2  # a mask this near to the picture's border goes on beyond it
CONTACT_PX = 1.5  # how well a mask knows its lowest edge
GROUND_SIGMA = 0.02  # relative, of any contact
SIZE_SIGMA = 0.12  # relative, of size constancy: limbs move
SMOOTH = 30.0  # of bending log z from frame to frame, against one contact of 10 %
OUTLIER = 2.5  # deviations
MEMORY = 45  # frames over which a size is believed to stay
MOST_GAP = 30  # frames without any evidence, after which nobody knows
RIM = 9  # px: masks end a little before the mover's blur does
HIDDEN = 0.85  # what stands before the contact by this ratio of depth hides it


@dataclass(frozen=True)
class Sighting:
    """One mover in one frame: what its mask says."""

    frame: int
    contact: Contact | None  # None where its feet are not seen
    contact_z: float  # at the mask's middle, if it stands upright on its contact
    contact_sigma: float
    height_px: float  # along gravity; nan where the picture cuts it
    breadth_px: float  # median width of its upper half
    slant: Slant


def measure_movers(clip: FrameSource, scene: Scene4D, *, seed: int, report: Report) -> tuple[Mover, ...]:
    """Depth and, where it is stiff, the motion of all that ``scene.motion`` shows. Raises ``ValueError`` without it."""
    if scene.motion is None:
        raise ValueError("scene.motion: expected masks of what moves, got None")
    seen: dict[int, list[Sighting]] = {}
    frames = [n for n in clip.numbers if n in scene.cameras]
    for done, frame in enumerate(frames):
        labels = scene.motion.read(frame)
        for label in np.unique(labels[labels > 0]).tolist():
            seen.setdefault(label, []).append(_sighting(scene, frame, labels == label))
        report(done + 1, 2 * len(frames))
    movers = []
    for done, (label, sightings) in enumerate(sorted(seen.items())):
        slopes = slopes_over_time(sightings)
        depth, sigma = depth_over_time(_at_their_middle(sightings, slopes))
        slope = np.stack([s.slant.per_px(*pair) for s, pair in zip(sightings, slopes.tolist(), strict=True)])
        mover = Mover(label, tuple(s.frame for s in sightings), depth, sigma, slope=slope)
        contacts = {s.frame: s.contact for s in sightings if s.contact is not None}
        movers.append(replace(mover, track=find_rigid_track(clip, scene, mover, contacts, seed=seed)))
        report(len(frames) + (done + 1) * len(frames) // len(seen), 2 * len(frames))
    return tuple(movers)


def _sighting(scene: Scene4D, frame: int, mask: Array) -> Sighting:
    camera, pose = scene.cameras.camera(frame), scene.cameras.pose(frame)
    rows, columns = np.nonzero(mask)
    px = np.stack([columns + 0.5, rows + 0.5], -1)
    down = _down(camera, pose, px.mean(0))
    side = np.array([-down[1], down[0]])
    along, across = px @ down, px @ side
    low, high = np.percentile(along, [99.8, 0.2])  # a stray pixel is no foot
    foot = (low + 0.5) * down + np.median(across[along > low - 0.03 * (low - high) - 1]) * side
    h, w = mask.shape
    border = (columns < CUT_PX) | (rows < CUT_PX) | (columns >= w - CUT_PX) | (rows >= h - CUT_PX)
    near_end = [border[np.abs(along - end) < max(2.0, 0.05 * (low - high))].any() for end in (low, high)]
    upper = along < 0.5 * (low + high)
    breadth = upper.sum() / max(float(np.ptp(along[upper])), 1.0) if upper.any() else np.nan
    if border[upper & (np.abs(across - np.median(across)) > 0.25 * np.ptp(across))].any():
        breadth = np.nan
    contact = None if near_end[0] else _contact(scene, frame, foot, down)
    z, sigma = np.nan, np.nan
    if contact is not None:
        ratio = float(upright_ratio(camera, pose, contact.px, px.mean(0)))
        z, sigma = contact.z * ratio, contact.sigma
    return Sighting(frame, contact, z, sigma, np.nan if any(near_end) else float(low - high) + 1, float(breadth),
                    _slant(scene, frame, px, down, contact))


def _slant(scene: Scene4D, frame: int, px: Array, down: Array, contact: Contact | None) -> Slant:
    """Of a mask's pixels (N, 2): upright as seen from here, and aslant as its feet say."""
    camera, pose = scene.cameras.camera(frame), scene.cameras.pose(frame)
    side, middle = np.array([-down[1], down[0]]), px.mean(0)
    extent = float(np.ptp(px @ side)) + 1, float(np.ptp(px @ down)) + 1
    if contact is None:
        return Slant(down, extent, 0.0, np.nan, np.nan, np.nan)
    top, bottom = (middle + sign * 0.5 * extent[1] * down for sign in (-1, 1))
    upright = upright_ratio(camera, pose, contact.px, np.stack([top, bottom]))

    def ground_z(foot: Array) -> tuple[float, float] | None:
        found = _contact(scene, frame, foot, down)
        return None if found is None else (found.z, found.sigma)

    across, sigma = slant.across(px, down, extent[0], ground_z)
    off = float((middle - contact.px) @ side) / extent[0]
    return Slant(down, extent, off, across, sigma, float(np.log(upright[1] / upright[0])))


def _down(camera: Camera, pose: Array, at: Array) -> Array:
    """(2,) unit direction in the picture along which things fall at pixel ``at``."""
    ray = camera.rays_from_px(at)
    fallen = camera.px_from_cam(ray - 1e-3 * pose[:3, 1])  # gravity is -Y of the world
    step = fallen - at
    length = np.linalg.norm(step)
    return step / length if length > 1e-6 else np.array([0.0, 1.0])  # seen from right above: down is anywhere


def _contact(scene: Scene4D, frame: int, foot: Array, down: Array) -> Contact | None:
    """Where pixel ``foot`` meets what stands still; None where that is hidden or unknown."""
    camera, pose = scene.cameras.camera(frame), scene.cameras.pose(frame)
    column, row = (np.clip(np.round(foot + 2 * down - 0.5), 0, np.array(camera.wh) - 1)).astype(int)
    below = scene.depth.read(frame)
    z, sure = float(below.depth[row, column]), float(below.confidence[row, column])
    if scene.ground is None:
        return Contact(foot, z, (1 - sure) / 10 + GROUND_SIGMA) if z > 0 else None
    on_ground, lower = (_ground_z(scene.ground, camera, pose, foot + d * down) for d in (0.0, CONTACT_PX))
    if not np.isfinite(on_ground) or (sure > 0.5 and 0 < z < HIDDEN * on_ground):
        return None
    return Contact(foot, on_ground, GROUND_SIGMA + abs(float(np.log(lower / on_ground))))


def _ground_z(ground: Plane, camera: Camera, pose: Array, px: Array) -> float:
    world_from_camera = rigid.inverse(pose)
    direction = world_from_camera[:3, :3] @ camera.rays_from_px(px)
    z = float(ground.intersect(world_from_camera[:3, 3], direction))  # the ray's own z is 1
    return z if np.isfinite(z) and z > 0 else np.nan


# --- over time -----------------------------------------------------------------------------------------------------


def depth_over_time(sightings: Sequence[Sighting]) -> tuple[Array, Array]:
    """(N,) z-depth and its relative deviation; nan where nothing is known nearby."""
    time = np.array([s.frame for s in sightings])
    contact = np.log([s.contact_z for s in sightings])
    sigma = np.array([s.contact_sigma for s in sightings])
    smooth, weight = smoothed(time, contact, sigma)
    with np.errstate(invalid="ignore"):
        off = np.abs(contact - smooth) > OUTLIER * np.hypot(sigma, 0.03)
    contact = np.where(off, np.nan, contact)
    by_size = _by_size(time, contact, sightings)
    value = np.where(np.isfinite(contact), contact, by_size)
    sigma = np.where(np.isfinite(contact), sigma, SIZE_SIGMA)
    smooth, weight = smoothed(time, value, sigma)
    known = time[np.isfinite(value)]
    far = np.abs(time[:, None] - known).min(1) > MOST_GAP if len(known) else np.ones(len(time), bool)
    depth = np.where(far, np.nan, np.exp(smooth))
    return depth, np.where(far, np.nan, np.hypot(GROUND_SIGMA, 1 / np.sqrt(np.maximum(weight, 1e-6))))


def slopes_over_time(sightings: Sequence[Sighting]) -> Array:
    """(N, 2) slopes across and along, smooth in time; 0 where nothing is known."""
    time, slants = np.array([s.frame for s in sightings]), [s.slant for s in sightings]
    across, sigma = slant.believed(np.array([s.across for s in slants]), np.array([s.across_sigma for s in slants]))
    along = np.array([s.along for s in slants])
    curves = smoothed(time, across, sigma)[0], smoothed(time, along, np.full(len(time), GROUND_SIGMA))[0]
    return np.clip(np.nan_to_num(np.stack(curves, -1)), -slant.MOST, slant.MOST)


def _at_their_middle(sightings: Sequence[Sighting], slopes: Array) -> list[Sighting]:
    """The nearest foot of what stands aslant is not below its middle."""
    return [replace(s, contact_z=s.contact_z * float(np.exp(across * s.slant.off)))
            for s, across in zip(sightings, slopes[:, 0], strict=True)]


def _by_size(time: Array, contact: Array, sightings: Sequence[Sighting]) -> Array:
    """(N,) log z by the sizes it had where its contact was seen."""
    out = np.full(len(time), np.nan)
    for name in ("breadth_px", "height_px"):  # the height, where it is whole, has the last word
        size = np.log([getattr(s, name) for s in sightings])
        own = contact + size
        for i in np.flatnonzero(np.isfinite(size)):
            near = own[np.isfinite(own) & (np.abs(time - time[i]) <= MEMORY)]
            if len(near):
                out[i] = np.median(near) - size[i]
    return out


def smoothed(time: Array, value: Array, sigma: Array) -> tuple[Array, Array]:
    """Least bent curve through (N,) ``value`` (nan = unknown), and how much weight is near each of its points.

    Minimises ``sum w (x - value)^2 + SMOOTH^2 sum (second difference)^2`` with Geman-McClure weights.
    """
    known = np.isfinite(value)
    if not known.any():
        return np.full(len(value), np.nan), np.zeros(len(value))
    target = np.where(known, value, 0.0)
    base = np.where(known, 1 / np.maximum(np.nan_to_num(sigma, nan=1.0), 0.01) ** 2, 0.0)
    curve, weight = np.full(len(value), np.median(value[known])), base
    scale = max(1.4826 * float(np.median(np.abs(value[known] - curve[known]))), 0.1)
    for _ in range(8):
        curve = _banded(time, target, weight)
        off = (target - curve) ** 2
        weight = base / (1 + off / scale**2) ** 2
        scale = max(scale / 1.6, 0.05)
    reach = np.ones(min(9, len(value)))
    return curve, np.convolve(weight, reach, "same")[: len(value)]


def _banded(time: Array, target: Array, weight: Array) -> Array:
    """Solve the normal equations, which have two diagonals beside the main one."""
    n = len(target)
    bands = np.zeros((3, n))
    bands[2] = weight + 1e-9
    if n > 2:
        before, after = np.diff(time)[:-1].astype(float), np.diff(time)[1:].astype(float)
        stencil = 2 * np.stack([1 / (before * (before + after)), -1 / (before * after), 1 / (after * (before + after))])
        for i in range(3):
            bands[2, i : n - 2 + i] += SMOOTH**2 * stencil[i] ** 2
        for i in range(2):
            bands[1, i + 1 : n - 1 + i] += SMOOTH**2 * stencil[i] * stencil[i + 1]
        bands[0, 2:] += SMOOTH**2 * stencil[0] * stencil[2]
    return solveh_banded(bands, weight * target)


# --- movers in depth -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MovingDepth:
    """A ``DepthSource`` that shows what each frame shows: ``static`` where nothing moves, movers where they are."""

    static: DepthSource
    motion: MotionSource
    movers: tuple[Mover, ...]

    def read(self, frame: int) -> DepthMap:
        found, labels = self.static.read(frame), self.motion.read(frame)
        depth, confidence = found.depth.copy(), found.confidence.copy()
        for mover in self.movers:
            if frame in mover.frames:
                _show(mover, mover.frames.index(frame), labels == mover.label, depth, confidence)
        return DepthMap(depth, confidence)


@dataclass(frozen=True)
class StillDepth:
    """A ``DepthSource`` of what stands still: nothing is known where something moves, nor at its rim."""

    seen: DepthSource
    motion: MotionSource

    def read(self, frame: int) -> DepthMap:
        found = self.seen.read(frame)
        moving = cv2.dilate((self.motion.read(frame) > 0).astype(np.uint8), np.ones((RIM, RIM), np.uint8)) > 0
        return DepthMap(*(np.where(moving, 0, part).astype(np.float32) for part in (found.depth, found.confidence)))


def _show(mover: Mover, i: int, mask: Array, depth: Array, confidence: Array) -> None:
    """A billboard at the mover's depth; unknown where nobody knows. Its rim, part mover and part not, is in doubt."""
    z, sigma = mover.depth[i], mover.depth_sigma[i]
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    depth[mask] = z * _shape(mover, i, mask) if np.isfinite(z) else 0
    sure = float(np.clip(1 - 10 * sigma, 0.05, 1)) if np.isfinite(z) else 0.0
    confidence[mask] = np.where(inner[mask], sure, 0.5 * sure)
    outer = (cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~mask
    confidence[outer] *= 0.5


def _shape(mover: Mover, i: int, mask: Array) -> Array | float:
    """z-depth of the pixels in ``mask`` over that of its middle."""
    if mover.slope is None or not mask.any():
        return 1.0
    rows, columns = np.nonzero(mask)
    x, y = mover.slope[i]
    return np.exp(np.clip(x * (columns - columns.mean()) + y * (rows - rows.mean()), -slant.MOST, slant.MOST))


# --- files and units -----------------------------------------------------------------------------------------------


def scaled(mover: Mover, factor: float) -> Mover:
    """The mover in other units: all lengths times ``factor``."""
    track = mover.track
    if track is not None:
        moved = track.world_from_rest.copy()
        moved[:, :3, 3] *= factor
        track = replace(track, world_from_rest=moved, points=track.points * factor)
    return replace(mover, depth=mover.depth * factor, track=track)


def write_movers(path: Path, movers: Sequence[Mover]) -> None:
    """``movers.json``: unknown depth is null; matrices are row by row."""
    path.write_text(json.dumps({"movers": [_document(mover) for mover in movers]}, indent=1))


def read_movers(path: Path) -> tuple[Mover, ...]:
    return tuple(_mover(document) for document in json.loads(path.read_text())["movers"])


def _document(mover: Mover) -> dict[str, Any]:
    def numbers(values: Array) -> list[float | None]:
        return [float(v) if np.isfinite(v) else None for v in values]

    track = mover.track
    return {
        "label": mover.label, "frames": list(mover.frames), "depth": numbers(mover.depth),
        "depth_sigma": numbers(mover.depth_sigma), "slope": None if mover.slope is None else mover.slope.tolist(),
        "track": track and {"rest": track.rest, "frames": list(track.frames),
                            "world_from_rest": track.world_from_rest.tolist(), "points": track.points.tolist()},
    }


def _mover(document: dict[str, Any]) -> Mover:
    track = document["track"]
    return Mover(
        document["label"], tuple(document["frames"]), np.array(document["depth"], float),
        np.array(document["depth_sigma"], float),
        track and RigidTrack(
            track["rest"], tuple(track["frames"]), np.array(track["world_from_rest"]),
            np.array(track["points"], float).reshape(-1, 3),
        ),
        None if document.get("slope") is None else np.array(document["slope"], float),
    )

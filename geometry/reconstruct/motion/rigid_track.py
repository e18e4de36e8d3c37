"""The motion of a stiff thing over a whole clip, from feature tracks inside its masks.

To the camera a stiff thing that moves is a thing that stands still, seen by a camera that moves otherwise: so its shape
and ``camera_from_object`` come from structure from motion over key frames (five-point relative pose, resection,
triangulation, bundle adjustment), and all other frames are resected against that shape. Nothing is accumulated from
frame to frame, so nothing drifts.

One length is free. A thing that turns about a fixed axis before a travelling camera has a point that stands still in
the world, and only the right scale lets it (linear in the scale); else depth from contact says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.adjust import Bundle, Freedom, Views, adjust, project
from geometry.reconstruct.cameras.tracks import Tracks, TrackSettings, track_clip
from geometry.reconstruct.triangulate import triangulate
from geometry.scene import FrameSource, MotionSource, Mover, RigidTrack, Scene4D
from geometry.trajectory import CameraPath

Array = np.ndarray

MIN_TRACKS = 12  # in a frame
MIN_LIFE = 5  # frames of a track that says anything
MIN_SHARE = 0.8  # of what is seen of all tracks must fit one stiff thing
MIN_FRAMES_SHARE = 0.8  # of the frames it is seen in
MOST_ERROR_PX = 1.0
INLIER_PX = 3.0
MIN_ANGLE_DEG = 3.0  # between the rays of the first pair
MOST_KEYS = 40
DEPTH_TRUST = 0.1
NEAR_CONTACT = 8  # points that hang together with a contact
STARTS = 3  # pairs of frames that are tried
RIM_PX = 5  # tracks this near to the contour hang on what is behind it
POINTS = 5000  # wanted over the whole picture: a mover is a small part of it


@dataclass(frozen=True)
class Contact:
    """Where a mover touches what stands still: pixel (2,), z-depth there, and its relative standard deviation."""

    px: Array
    z: float
    sigma: float


@dataclass(frozen=True)
class StiffMotion:
    """A stiff thing as the camera sees it, in a unit of length and axes of its own."""

    frames: tuple[int, ...]  # ascending
    camera_from_object: Array  # (N, 4, 4)
    points: Array  # (P, 3)
    error_px: float  # median over all that was seen

    def pose(self, frame: int) -> Array:
        return self.camera_from_object[self.frames.index(frame)]


def find_rigid_track(
    clip: FrameSource, scene: Scene4D, mover: Mover, contacts: Mapping[int, Contact], *, seed: int
) -> RigidTrack | None:
    """The mover's motion, or None: too little to follow, it bends, or its motion cannot be told from its tracks."""
    if len(mover.frames) < MIN_LIFE or scene.motion is None:
        return None
    cameras = scene.cameras.select(mover.frames)
    solved = solve_stiff(_tracks(clip, scene.motion, mover), cameras, seed=seed)
    if solved is None:
        return None
    scale = _scale_by_still_point(solved, cameras)
    if scale is None:
        scale = _scale_by_contact(solved, cameras, contacts)
    if scale is None:
        return None
    pose = cameras.select(solved.frames).camera_from_world
    moved = solved.camera_from_object.copy()
    moved[:, :3, 3] *= scale
    world_from_object = rigid.inverse(pose) @ moved
    rest = len(solved.frames) // 2
    return RigidTrack(
        solved.frames[rest], solved.frames, world_from_object @ rigid.inverse(world_from_object[rest]),
        rigid.transform(world_from_object[rest], scale * solved.points),
    )


def solve_stiff(tracks: Tracks, cameras: CameraPath, *, seed: int) -> StiffMotion | None:
    """Shape and motion of what ``tracks`` hang on, or None where that is not one stiff thing.

    A thing that is seen small looks alike turned either way (the bas-relief ambiguity), so more than one pair of frames
    is tried as a start, and what explains all frames best is taken.
    """
    flat = normalised(tracks, cameras)
    keys = _keys(tracks)
    focal = float(np.median([camera.fx for camera in cameras.cameras]))
    tried = (_grown(tracks, flat, pair, keys, focal) for pair in _first_pairs(tracks, flat, keys, cameras, seed))
    return min((found for found in tried if found is not None), key=lambda found: found.error_px, default=None)


@dataclass(frozen=True)
class _Masked:
    """A ``FrameSource`` that shows one mover before grey."""

    clip: FrameSource
    motion: MotionSource
    label: int

    @property
    def numbers(self) -> Sequence[int]:
        return self.clip.numbers

    @property
    def rate(self) -> Fraction:
        return self.clip.rate

    @property
    def hw(self) -> tuple[int, int]:
        return self.clip.hw

    def read(self, number: int) -> Array:
        return self.clip.read(number)

    def linear(self, number: int) -> Array:
        return self.clip.linear(number)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> Array:
        mask = (self.motion.read(number) == self.label).astype(np.float32)
        picture = self.clip.display(number, mask.shape[::-1])
        soft = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None]
        return (picture * soft + 128 * (1 - soft)).astype(np.uint8)


def _tracks(clip: FrameSource, motion: MotionSource, mover: Mover) -> Tracks:
    """What can be followed well inside the masks, by tracks that live long enough."""
    settings = TrackSettings(points=POINTS, window_px=15, levels=3, patch_radius_px=5)
    found = track_clip(_Masked(clip, motion, mover.label), frames=mover.frames, settings=settings)
    inside = np.zeros(len(found.frame), bool)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM_PX + 1, 2 * RIM_PX + 1))
    start = np.searchsorted(found.frame, mover.frames)
    for frame, a, b in zip(mover.frames, start, [*start[1:], len(found.frame)], strict=True):
        mask = (motion.read(frame) == mover.label).astype(np.uint8)
        core = cv2.erode(mask, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        column, row = found.xy[a:b].astype(int).T
        inside[a:b] = core[row, column] > 0
    kept = Tracks(found.frame[inside], found.track[inside], found.xy[inside], found.frames, found.wh)
    return kept.keep(kept.lengths() >= MIN_LIFE)


# --- structure from motion inside a mask -----------------------------------------------------------------------------


def _grown(
    tracks: Tracks, flat: Array, start: dict[int, Array], keys: Sequence[int], focal: float
) -> StiffMotion | None:
    """From two poses to all: key frames first, each round as many more as are known already."""
    ids, poses, waiting = np.unique(tracks.track), dict(start), [n for n in keys if n not in start]
    points = np.full((len(ids), 3), np.nan)
    while True:
        points = _shape(tracks, flat, poses, ids)
        points, poses = _adjusted(tracks, flat, poses, ids, points, focal, rounds=6)
        shared = {n: int(np.isfinite(points[np.searchsorted(ids, tracks.at(n)[0]), 0]).sum()) for n in waiting}
        ready = sorted((n for n in waiting if shared[n] >= MIN_TRACKS), key=lambda n: -shared[n])[: len(poses)]
        if not ready:
            break
        found = {n: _resect(tracks, flat, n, ids, points, poses, focal) for n in ready}
        poses |= {n: pose for n, pose in found.items() if pose is not None}
        waiting = [n for n in waiting if n not in found]
    points = _shape(tracks, flat, poses, ids)
    for _ in range(2):  # the second time without the outliers of the first
        points, poses = _adjusted(tracks, flat, poses, ids, points, focal, rounds=25)
    everywhere = {n: _resect(tracks, flat, n, ids, points, poses, focal) for n in tracks.frames}
    return _believable(tracks, flat, {n: p for n, p in everywhere.items() if p is not None}, ids, points, focal)


def normalised(tracks: Tracks, cameras: CameraPath) -> Array:
    """(M, 2) observations on the plane z = 1, without the lens."""
    out = np.zeros_like(tracks.xy)
    for frame in tracks.frames:
        part = slice(*np.searchsorted(tracks.frame, [frame, frame + 1]))
        if part.start < part.stop:  # OpenCV has no answer for no points
            out[part] = cameras.camera(frame).normalized_from_px(tracks.xy[part])
    return out


def _at(tracks: Tracks, flat: Array, frame: int) -> tuple[Array, Array]:
    """Ids and normalised positions of one frame."""
    part = slice(*np.searchsorted(tracks.frame, [frame, frame + 1]))
    return tracks.track[part], flat[part]


def _keys(tracks: Tracks) -> list[int]:
    """Frames spread over the clip that show enough."""
    enough = [n for n in tracks.frames if len(tracks.at(n)[0]) >= MIN_TRACKS]
    index = np.unique(np.linspace(0, len(enough) - 1, min(MOST_KEYS, len(enough))).round().astype(int))
    return [enough[i] for i in index] if enough else []


def _first_pairs(
    tracks: Tracks, flat: Array, keys: list[int], cameras: CameraPath, seed: int
) -> list[dict[int, Array]]:
    """Poses of the pairs of key frames that tell shape best: many common tracks, wide angles."""
    found: list[tuple[float, dict[int, Array]]] = []
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            ids_a, xy_a = _at(tracks, flat, a)
            ids_b, xy_b = _at(tracks, flat, b)
            _, ia, ib = np.intersect1d(ids_a, ids_b, assume_unique=True, return_indices=True)
            if len(ia) < MIN_TRACKS:
                break
            relative = _relative(xy_a[ia], xy_b[ib], INLIER_PX / 2 / cameras.camera(a).fx, seed)
            if relative is not None:
                found.append((relative.score, {a: np.eye(4), b: relative.pose}))
    return [poses for _, poses in sorted(found, key=lambda pair: -pair[0])[:STARTS]]


@dataclass(frozen=True)
class _Relative:
    pose: Array  # (4, 4)
    score: float


def _relative(xy_a: Array, xy_b: Array, threshold: float, seed: int) -> _Relative | None:
    """Five-point relative pose (Nister 2004) of normalised matches; None where rays are nearly parallel."""
    cv2.setRNGSeed(seed)
    essential, inside = cv2.findEssentialMat(xy_a, xy_b, np.eye(3), cv2.RANSAC, 0.999, threshold)
    if essential is None or essential.shape != (3, 3):
        return None
    count, rotation, translation, inside = cv2.recoverPose(essential, xy_a, xy_b, np.eye(3), mask=inside)
    good = inside[:, 0] > 0
    if count < max(MIN_TRACKS, MIN_SHARE * len(xy_a)):
        return None
    pose = rigid.rigid(rotation, translation[:, 0])
    rays = [np.c_[xy[good], np.ones(good.sum())] for xy in (xy_a, xy_b)]
    rays = [rays[0] @ rotation.T, rays[1]]
    cosine = (rays[0] * rays[1]).sum(1) / np.linalg.norm(rays[0], axis=1) / np.linalg.norm(rays[1], axis=1)
    angle = float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))
    return _Relative(pose, count * min(angle, 15.0)) if angle > MIN_ANGLE_DEG else None


def _shape(tracks: Tracks, flat: Array, poses: dict[int, Array], ids: Array) -> Array:
    """(P, 3) points of all tracks that the known poses see well, else nan."""
    frames = tuple(sorted(poses))
    grid = np.full((len(frames), len(ids), 2), np.nan)
    for row, frame in enumerate(frames):
        seen, xy = _at(tracks, flat, frame)
        grid[row, np.searchsorted(ids, seen)] = xy * 1000
    unit = Camera(1000.0, 1000.0, 1e-9, 1e-9, (1, 1))
    path = CameraPath(frames, (unit,) * len(frames), np.stack([poses[n] for n in frames]))
    found = triangulate(path, grid, min_views=2)
    return np.where((found.error_px < 6)[:, None], found.points, np.nan)


def _views(tracks: Tracks, flat: Array, frames: Sequence[int], ids: Array, points: Array, focal: float) -> Views:
    """What ``frames`` see of the known points, px from the principal point; points are numbered as in ``points``."""
    index = {n: i for i, n in enumerate(frames)}
    column = np.searchsorted(ids, tracks.track)
    keep = np.isin(tracks.frame, frames) & np.isfinite(points[column, 0])
    order = np.array([index[n] for n in tracks.frame[keep]], int)
    return Views(order, column[keep], flat[keep] * focal)


def _bundle(poses: Sequence[Array], points: Array, focal: float) -> Bundle:
    stack = np.stack(poses)
    return Bundle(stack[:, :3, :3], stack[:, :3, 3], points, np.full(len(stack), focal), np.zeros(3))


def _adjusted(
    tracks: Tracks, flat: Array, poses: dict[int, Array], ids: Array, points: Array, focal: float, rounds: int
) -> tuple[Array, dict[int, Array]]:
    """All at once; points whose views miss by more than ``INLIER_PX`` are dropped."""
    frames = tuple(sorted(poses))
    views = _views(tracks, flat, frames, ids, points, focal)
    if len(views.xy) < 4 * MIN_TRACKS:
        return points, poses
    known = np.unique(views.point)
    small = Views(views.frame, np.searchsorted(known, views.point), views.xy)
    done = adjust(_bundle([poses[n] for n in frames], points[known], focal), small, Freedom(focal=False), rounds=rounds)
    worst = np.zeros(len(known))
    np.maximum.at(worst, small.point, done.error_px)
    out = np.full_like(points, np.nan)
    out[known] = np.where((worst < 2 * INLIER_PX)[:, None], done.bundle.points, np.nan)
    assert done.bundle.translation is not None
    pose = rigid.rigid(done.bundle.rotation, done.bundle.translation)
    return out, {n: pose[i] for i, n in enumerate(frames)}


def _resect(
    tracks: Tracks, flat: Array, frame: int, ids: Array, points: Array, poses: dict[int, Array], focal: float
) -> Array | None:
    """The pose of a frame against the shape: robust PnP, started from the nearest known pose."""
    seen, xy = _at(tracks, flat, frame)
    xyz = points[np.searchsorted(ids, seen)] if len(seen) else np.zeros((0, 3))
    known = np.isfinite(xyz[:, 0])
    if known.sum() < MIN_TRACKS // 2:
        return None
    xyz, xy = xyz[known], xy[known] * focal
    pose = poses[min(poses, key=lambda n: abs(n - frame))]
    k = np.diag([focal, focal, 1.0])
    turn, shift = cv2.Rodrigues(pose[:3, :3])[0], pose[:3, 3:].copy()
    for limit in (4 * INLIER_PX, 2 * INLIER_PX, INLIER_PX):
        shown = cv2.projectPoints(xyz, turn, shift, k, None)[0][:, 0]
        off = np.linalg.norm(shown - xy, axis=1)
        near = off <= max(limit, float(np.percentile(off, 60)))
        if near.sum() < MIN_TRACKS // 2:
            return None
        turn, shift = cv2.solvePnPRefineLM(xyz[near], xy[near], k, None, turn, shift)
    shown = cv2.projectPoints(xyz, turn, shift, k, None)[0][:, 0]
    if np.median(np.linalg.norm(shown - xy, axis=1)) > MOST_ERROR_PX:
        return None
    return rigid.rigid(cv2.Rodrigues(turn)[0], shift[:, 0])


def _believable(
    tracks: Tracks, flat: Array, poses: dict[int, Array], ids: Array, points: Array, focal: float
) -> StiffMotion | None:
    """The solve, if enough frames and tracks agree with it."""
    if len(poses) < max(MIN_LIFE, MIN_FRAMES_SHARE * len(tracks.frames)):
        return None
    views = _views(tracks, flat, tuple(poses), ids, points, focal)
    at = project(_bundle(list(poses.values()), points, focal), views)
    error = float(np.median(np.linalg.norm(at - views.xy, axis=1)))  # nan behind the camera: not believed
    share = np.isfinite(points[np.searchsorted(ids, tracks.track), 0]).mean()
    if not (share >= MIN_SHARE and error < MOST_ERROR_PX):
        return None
    return StiffMotion(tuple(poses), np.stack(list(poses.values())), points[np.isfinite(points[:, 0])], error)


# --- scale -----------------------------------------------------------------------------------------------------------


def _scale_by_still_point(solved: StiffMotion, cameras: CameraPath) -> float | None:
    """World units per unit of the object, if some point of it (an axis, a pivot) stands still in the world.

    ``s (R_co a + t_co) = R_cw (p - camera centre)`` in every frame is linear in s, s a and p.
    """
    pose = cameras.select(solved.frames).camera_from_world
    turn = pose[:, :3, :3]
    rows = np.zeros((len(pose), 3, 7))
    rows[..., 0] = solved.camera_from_object[:, :3, 3]
    rows[..., 1:4] = solved.camera_from_object[:, :3, :3]
    rows[..., 4:] = -turn
    centres = rigid.inverse(pose)[:, :3, 3]
    right = -(turn @ (centres - centres.mean(0))[..., None])[..., 0]
    trust = np.array([1, 1, DEPTH_TRUST])  # a camera knows badly how far away a thing is
    unknown = np.linalg.lstsq((rows * trust[:, None]).reshape(-1, 7), (right * trust).ravel(), rcond=1e-8)[0]
    scale = float(unknown[0])
    if scale <= 0:
        return None
    distance = scale * float(np.median(np.linalg.norm(solved.camera_from_object[:, :3, 3], axis=1)))
    travelled = float(np.linalg.norm(np.ptp(centres, axis=0)))
    missed = float(np.sqrt((((rows @ unknown - right) * trust) ** 2).sum(-1).mean()))
    # It must be told by the camera's travel, and stand still far better than that.
    return scale if travelled > 0.05 * distance and missed < 0.02 * travelled else None


def _scale_by_contact(solved: StiffMotion, cameras: CameraPath, contacts: Mapping[int, Contact]) -> float | None:
    """World units per unit of the object, so that its points next to a contact stand upright above it."""
    ratios = []
    for pose, frame in zip(solved.camera_from_object, solved.frames, strict=True):
        if frame in contacts:
            contact, camera = contacts[frame], cameras.camera(frame)
            local = rigid.transform(pose, solved.points)
            local = local[local[:, 2] > 0]
            px = camera.px_from_cam(local)
            near = np.argsort(np.linalg.norm(px - contact.px, axis=1), kind="stable")[:NEAR_CONTACT]
            upright = contact.z * upright_ratio(camera, cameras.pose(frame), contact.px, px[near])
            ratios.append(float(np.median(np.log(upright / local[near, 2]))))
    return float(np.exp(np.median(ratios))) if ratios else None


def upright_ratio(camera: Camera, pose: Array, foot: Array, px: Array) -> Array:
    """z at pixels (..., 2) over z at pixel ``foot`` (2,), of an upright board that stands there facing the camera."""
    up = pose[:3, 1]  # +Y of the world, in camera axes
    ray = camera.rays_from_px(foot)
    normal = ray - (ray @ up) * up
    return np.clip(ray @ normal / np.maximum(camera.rays_from_px(px) @ normal, 1e-6), 0.5, 2)

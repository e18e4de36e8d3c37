"""Up, heading and focal length from straight lines: what people build is upright and square.

A line segment and the camera's centre span a plane; a family of parallel edges has planes that all contain one
direction, its vanishing direction. Most built places have three that are perpendicular to each other (Coughlan and
Yuille 1999, the Manhattan world), which only the right focal length makes perpendicular (Caprile and Torre 1990).
Directions are sampled from pairs of segments, then fitted to all that agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from geometry.camera import Camera
from geometry.reconstruct.cameras.adjust import turned
from geometry.shapes import expect_shape

Array = np.ndarray

MIN_LENGTH = 0.025  # of the picture's long side
ORIENTATIONS, MOST_ALIKE = 12, 50  # segments kept for every orientation: planks must not drown the rest
END_PX = 1.0  # how well the ends of a segment are known
TOLERANCE = np.deg2rad([0.4, 2.0])
PAIRS, BEST = 500, 8
FOCAL_RATIOS = np.geomspace(0.5, 5.0, 17)  # f / max(W, H)
FOCAL_SPREAD = 0.5  # of log focal: what lenses are like
PITCH = np.deg2rad(55.0)  # a camera's own up axis is not farther from up than this
ROLL_SPREAD = np.deg2rad(7.0)  # cameras are held level, mostly
SIGMA_FACTOR = 2.5  # lines of one thing err together
MIN_SEGMENTS = 8  # of an axis that is believed
MIN_SHARE = 0.45  # of all lines' length that must belong to the three axes
KNOWN_FOCAL_SIGMA = 0.1


@dataclass(frozen=True)
class Segments:
    """Ends (N, 2, 2), undistorted px from the principal point; ``rotation`` (N, 3, 3) is reference_from_camera."""

    ends: Array
    rotation: Array
    side_px: int  # long side of the picture

    def __post_init__(self) -> None:
        expect_shape("ends", self.ends, (None, 2, 2))
        expect_shape("rotation", self.rotation, (len(self.ends), 3, 3))

    @property
    def length(self) -> Array:
        return np.linalg.norm(self.ends[:, 1] - self.ends[:, 0], axis=1)

    @property
    def camera_up(self) -> Array:
        """(3,) mean up axis of the cameras."""
        up = -self.rotation[:, :, 1].mean(0)
        return up / np.linalg.norm(up)

    def upright(self, directions: Array) -> Array:
        """(D,) how likely each of the (D, 3) directions is up or down: cameras pitch, but hardly roll."""
        roll2 = ((directions @ self.rotation[:, :, 0].T) ** 2).mean(1)
        likely = 0.5 + 0.5 * np.exp(-0.5 * roll2 / np.sin(ROLL_SPREAD) ** 2)
        return likely * (np.abs(directions @ self.camera_up) > np.cos(PITCH)) * (roll2 < np.sin(4 * ROLL_SPREAD) ** 2)

    def planes(self, focal_px: float) -> _Planes:
        rays = np.concatenate([self.ends / focal_px, np.ones((*self.ends.shape[:2], 1))], -1)
        rays = rays @ np.swapaxes(self.rotation, 1, 2)
        normal, middle = np.cross(rays[:, 0], rays[:, 1]), rays.sum(1)
        tolerance = np.clip(END_PX / (0.5 * np.maximum(self.length, 1)), *TOLERANCE)
        return _Planes(normal / np.linalg.norm(normal, axis=1, keepdims=True),
                       middle / np.linalg.norm(middle, axis=1, keepdims=True), tolerance, self.length)


@dataclass(frozen=True)
class _Planes:
    """Unit normals and middle rays (N, 3) in the reference frame, tolerance (N,) rad, length (N,) px."""

    normal: Array
    middle: Array
    tolerance: Array
    length: Array

    def off(self, directions: Array) -> Array:
        """(D, N) angles over tolerance by which each segment misses each of the (D, 3) unit directions."""
        sine = np.abs(directions @ self.normal.T)
        # Seen from the middle of the segment; next to the vanishing point itself there is no direction.
        across = np.sqrt(np.maximum(1 - (directions @ self.middle.T) ** 2, 0.02))
        return sine / across / self.tolerance

    def votes(self, directions: Array) -> Array:
        """(D, N) px of length that speak for each direction."""
        return self.length * np.maximum(0, 1 - self.off(directions) ** 2)


@dataclass(frozen=True)
class Axes:
    """``axes`` (3, 3) rows: up, and two level directions, in the reference frame."""

    axes: Array
    counts: tuple[int, int, int]  # segments that follow each
    share: float  # of all length that follows one of them
    focal_px: float
    focal_sigma: float  # relative; 0 when it was given

    @property
    def up(self) -> Array:
        return self.axes[0]

    @property
    def up_known(self) -> bool:
        level = sorted(self.counts[1:])
        return self.share >= MIN_SHARE and (self.counts[0] >= MIN_SEGMENTS or level[0] >= MIN_SEGMENTS)

    @property
    def focal_known(self) -> bool:
        enough = sorted(self.counts)[1] >= MIN_SEGMENTS and self.share >= MIN_SHARE
        return enough and self.focal_sigma < KNOWN_FOCAL_SIGMA


def find_segments(grey: Array) -> Array:
    """(N, 2, 2) px, the longest of every orientation."""
    lines, *_ = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(grey)
    if lines is None:
        return np.zeros((0, 2, 2))
    ends = lines.reshape(-1, 2, 2).astype(np.float64) + 0.5  # OpenCV counts pixel centres from 0
    along = ends[:, 1] - ends[:, 0]
    length = np.linalg.norm(along, axis=1)
    orientation = (np.arctan2(along[:, 1], along[:, 0]) / np.pi % 1 * ORIENTATIONS).astype(int) % ORIENTATIONS
    order = np.lexsort((-length, orientation))
    rank = np.arange(len(order)) - np.searchsorted(orientation[order], orientation[order])
    return ends[order[(rank < MOST_ALIKE) & (length[order] > MIN_LENGTH * max(grey.shape))]]


def segments_of(pictures: Sequence[Array], cameras: Sequence[Camera], rotation: Array) -> Segments:
    """Of grey pictures; ``rotation`` (K, 3, 3) is camera_from_reference of each. Distortion is removed."""
    ends, turns = [], []
    for grey, camera, turn in zip(pictures, cameras, rotation, strict=True):
        found = find_segments(grey)
        ends.append(camera.normalized_from_px(found) * cameras[0].fx)
        turns.append(np.tile(turn.T, (len(found), 1, 1)))
    return Segments(np.concatenate(ends), np.concatenate(turns), max(cameras[0].wh))


def find_axes(segments: Segments, *, focal_px: float | None, seed: int = 0) -> Axes | None:
    """The three perpendicular directions that most lines follow, and the focal length when none is given.

    None where there are too few lines.
    """
    if len(segments.ends) < MIN_SEGMENTS:
        return None
    ratios = FOCAL_RATIOS * segments.side_px if focal_px is None else np.array([focal_px])
    guesses = []
    for focal in ratios:
        planes = segments.planes(focal)
        frame, value = _best_frame(planes, segments, np.random.default_rng([seed, 31]))
        usual = np.exp(-0.5 * (np.log(focal / segments.side_px / 1.1) / FOCAL_SPREAD) ** 2) if focal_px is None else 1.0
        guesses.append((value * (0.9 + 0.1 * usual), focal, frame))
    _, focal, frame = max(guesses, key=lambda guess: guess[0])
    if frame is None:
        return None
    frame, focal, sigma = _refined(segments, frame, focal, focal_px is None)
    frame = _up_first(frame, segments)
    votes = segments.planes(focal).votes(frame)
    counts = tuple(int(n) for n in np.bincount(votes.argmax(0)[votes.max(0) > 0], minlength=3))
    share = float(segments.length[votes.max(0) > 0].sum() / segments.length.sum())
    return Axes(frame, (counts[0], counts[1], counts[2]), share, focal, sigma)


def direction_near(segments: Segments, focal_px: float, prior: Array, within: float, *, seed: int = 0) -> Array | None:
    """(3,) the direction within ``within`` radians of ``prior`` that most lines there follow; None where few do."""
    planes = segments.planes(focal_px)
    near = planes.off(prior[None])[0] * planes.tolerance < within
    if near.sum() < 2 * MIN_SEGMENTS:
        return None
    chosen = _Planes(planes.normal[near], planes.middle[near], planes.tolerance[near], planes.length[near])
    candidates = _sampled(chosen, np.random.default_rng([seed, 37]))
    candidates *= np.sign(candidates @ prior)[:, None]
    candidates = candidates[candidates @ prior > np.cos(within)]
    if not len(candidates):
        return None
    direction = candidates[chosen.votes(candidates).sum(1).argmax()]
    for _ in range(10):
        off = chosen.off(direction[None])[0]
        weight = chosen.length / chosen.tolerance * np.maximum(0, 1 - (off / 2) ** 2) ** 2
        rows = chosen.normal * np.sqrt(weight)[:, None]
        direction = np.linalg.svd(rows, full_matrices=False)[2][2]
        direction *= np.sign(direction @ prior)
    agree = chosen.off(direction[None])[0] < 1
    enough = agree.sum() >= 2 * MIN_SEGMENTS and chosen.length[agree].sum() > MIN_SHARE * chosen.length.sum()
    return direction if enough and direction @ prior > np.cos(within) else None


def _sampled(planes: _Planes, rng: np.random.Generator) -> Array:
    """(D, 3) unit directions common to random pairs of planes, long segments first."""
    share = planes.length / planes.length.sum()
    a, b = rng.choice(len(share), PAIRS, p=share), rng.choice(len(share), PAIRS, p=share)
    direction = np.cross(planes.normal[a], planes.normal[b])
    length = np.linalg.norm(direction, axis=1)
    return direction[length > 0.02] / length[length > 0.02, None]


def _best_frame(planes: _Planes, segments: Segments, rng: np.random.Generator) -> tuple[Array | None, float]:
    """(3, 3) rows that are the three axes, and how well lines follow them.

    Square roots: a second and a third axis say more than still more lines along the first.
    """
    directions = _sampled(planes, rng)
    votes = planes.votes(directions).sum(1)
    best, best_value = None, 0.0
    for first in _distinct(directions, votes):
        # Every plane has one direction across the first axis: all candidates for the second.
        second = np.cross(planes.normal, first)
        length = np.linalg.norm(second, axis=1)
        usable = np.argsort(-planes.length * (length > 0.2), kind="stable")[:120]
        second = second[usable][length[usable] > 0.2]
        second /= np.linalg.norm(second, axis=1, keepdims=True)
        if not len(second):
            continue
        third = np.cross(first, second)
        upright = np.maximum(segments.upright(second), segments.upright(third))
        upright = np.maximum(upright, segments.upright(first[None])[0])
        own = np.sqrt(planes.votes(first[None]).sum())
        value = own + np.sqrt(planes.votes(second).sum(1)) + np.sqrt(planes.votes(third).sum(1))
        value *= upright
        if value.max() > best_value:
            k = int(value.argmax())
            best, best_value = np.stack([first, second[k], third[k]]), float(value[k])
    return best, best_value


def _distinct(directions: Array, votes: Array) -> Array:
    """The best few that are 10 degrees apart."""
    chosen: list[Array] = []
    for k in np.argsort(-votes, kind="stable"):
        if all(abs(directions[k] @ other) < np.cos(np.deg2rad(10)) for other in chosen):
            chosen.append(directions[k])
        if len(chosen) == BEST:
            break
    return np.array(chosen).reshape(-1, 3)


def _refined(segments: Segments, frame: Array, focal: float, focal_free: bool) -> tuple[Array, float, float]:
    """Gauss-Newton of axes and log focal over the segments that follow an axis; also the focal length's sigma."""
    steps = np.eye(4 if focal_free else 3) * 1e-5
    sigma, start = 0.0, focal
    for _ in range(12):
        off = segments.planes(focal).off(frame)
        owner = off.argmin(0)
        inside = off.min(0) < 2.0
        if inside.sum() < 6:
            return frame, focal, np.inf
        weight = np.maximum(0, 1 - (off.min(0)[inside] / 2) ** 2)

        def residual(step: Array, frame: Array = frame, focal: float = focal, owner: Array = owner,
                     inside: Array = inside) -> Array:
            moved = turned(frame.T[None], step[None, :3])[0].T
            planes = segments.planes(focal * float(np.exp(step[3])) if focal_free else focal)
            axis = moved[owner[inside]]
            across = np.sqrt(np.maximum(1 - (axis * planes.middle[inside]).sum(1) ** 2, 0.02))
            return (axis * planes.normal[inside]).sum(1) / across / planes.tolerance[inside]

        here = residual(np.zeros(len(steps)))
        jacobian = np.stack([(residual(step) - here) / 1e-5 for step in steps], 1)
        weighted = jacobian * weight[:, None]
        normal, side = weighted.T @ jacobian, weighted.T @ here
        if focal_free:
            normal[3, 3] += 1 / FOCAL_SPREAD**2
            side[3] += np.log(focal / start) / FOCAL_SPREAD**2
        change = -np.linalg.solve(normal + 1e-9 * np.eye(len(normal)), side)
        change = np.clip(change, -0.1, 0.1)
        frame = turned(frame.T[None], change[None, :3])[0].T
        if focal_free:
            focal *= float(np.exp(change[3]))
            sigma = SIGMA_FACTOR * float(np.sqrt(np.linalg.inv(normal)[3, 3]))
    return frame, focal, sigma


def _up_first(frame: Array, segments: Segments) -> Array:
    """The same axes, the one that is most likely up first and pointing up; right-handed."""
    k = int(segments.upright(frame).argmax())
    up = frame[k] * np.sign(frame[k] @ segments.camera_up)
    level = frame[(k + 1) % 3]
    return np.stack([up, level, np.cross(up, level)])

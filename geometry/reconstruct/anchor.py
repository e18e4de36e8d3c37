"""The surface under one pixel, found well enough that an object put there does not swim.

Dense depth hides, it does not place: one per cent of depth error is pixels of drift. The surface is therefore measured
on its own. Corners of the picture around the pixel are followed through the clip; before each comparison the other
frame is warped by the homography of the current plane, so that the tracker sees the same patch at the same scale and
slant and only a small offset is left. The points are triangulated with the solved cameras, a plane is fitted to them
robustly, and the whole is repeated with the better plane. (Plane-induced homography: Hartley and Zisserman 2004,
eq. 13.2.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from geometry import rigid
from geometry.camera import resample
from geometry.reconstruct.errors import ReconstructError
from geometry.reconstruct.triangulate import Triangulated, triangulate
from geometry.scene import FrameSource, Plane, RigidTrack, Scene4D
from geometry.trajectory import CameraPath

Array = np.ndarray
Progress = Callable[[int, int], None]

UP = np.array([0.0, 1.0, 0.0])
SEEN_SLACK = 2  # frames
MOST_ERROR_PX = 0.7  # of a corner that was followed well
TRACK_SIGMA_PX = 0.15
GOOD_SPREAD = 0.001  # of depth, relative
ENOUGH_CORNERS = 12
FARTHEST_HEIGHTS = 100.0  # of the camera: beyond, a pixel of horizon is a great deal of ground
WINDOW_PX = 17  # side of the patch that is followed
_LK_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-4)


class NoSurface(ReconstructError):
    """Nothing that could carry an object was found under the pixel."""


@dataclass(frozen=True)
class Anchor:
    """``point`` (3,) lies on ``support`` and projects exactly to the pixel that was asked for."""

    point: Float[Array, "3"]
    support: Plane
    tracked: int  # corners that agree with the plane
    residual_px: float  # their median reprojection error, working raster


def fit_anchor(
    clip: FrameSource, scene: Scene4D, frame: int, px: tuple[float, float], *, seed: int, report: Progress,
    max_frames: int = 36,
) -> Anchor:
    """Measure the surface at ``px`` (x, y; displayed picture) of ``frame``.

    Raises ``NoSurface`` where too little can be followed: sky, glass, a blank wall or a mover.
    """
    cameras = scene.cameras
    if cameras.has_one_centre:
        return ground_anchor(scene, frame, px)
    scale = scene.working_wh[0] / scene.source_wh[0], scene.working_wh[1] / scene.source_wh[1]
    at = np.array([px[0] * scale[0], px[1] * scale[1]])
    views = _spread(cameras.frames, frame, max_frames)
    corners = _corners(clip.display(frame, scene.working_wh), at, radius=0.18 * scene.working_wh[0])
    plane = _best_start(clip, scene, frame, at, corners)
    start = plane
    certainty = _certainty(clip.display(frame, scene.working_wh), corners)
    rng = np.random.default_rng([seed, 0xA0C])
    rounds = 2
    for round_ in range(rounds):
        tracks = np.full((len(views), len(corners), 2), np.nan)
        whitening = np.full((len(views), len(corners), 2, 2), np.nan)
        for i, view in enumerate(views):
            tracks[i] = _follow(clip, cameras, frame, view, corners, plane)
            whitening[i] = certainty @ np.linalg.inv(_local_warp(cameras, frame, view, corners, plane))
            report(round_ * len(views) + i + 1, rounds * len(views))
        found = triangulate(cameras.select(views), tracks, whitening=whitening)
        good = found.error_px < MOST_ERROR_PX
        spread = _relative_spread(cameras, frame, at, plane, found.covariance[good])
        near, weight = _with_sparse(scene, frame, at, found.points[good], corners[good], spread)
        plane = _fit_plane(near, weight, cameras, frame, at, start, rng)
    agreeing = _agreeing(found, plane, _tolerance(cameras, frame, plane, at))
    if agreeing.sum() < 5:
        raise NoSurface(
            f"only {int(agreeing.sum())} points could be followed around pixel ({px[0]:g}, {px[1]:g})",
            "Choose a pixel on a textured surface that stands still and is seen in many frames",
        )
    residual = found.error_px
    point = _on_plane(cameras, frame, at, plane)
    return Anchor(point, plane, int(agreeing.sum()), float(np.median(residual[agreeing])))


def _agreeing(found: Triangulated, plane: Plane, tolerance: float) -> Array:
    """(N,) bool: corners that lie on the plane, as far as their tracks can tell."""
    normal = plane.normal
    sigma = TRACK_SIGMA_PX * np.sqrt(np.einsum("i,nij,j->n", normal, found.covariance, normal))
    with np.errstate(invalid="ignore"):
        near = np.abs(plane.distance(found.points)) < tolerance + 2 * sigma
    return (found.error_px < MOST_ERROR_PX) & near & (sigma < 10 * tolerance)


def ground_anchor(scene: Scene4D, frame: int, px: tuple[float, float]) -> Anchor:
    """Where the pixel's ray meets the scene's ground. Raises ``NoSurface`` at and above the horizon."""
    if scene.ground is None:
        raise NoSurface("the shot shows no ground", "Give the horizon, or cameras with a scene")
    at = np.array(px) * scene.working_wh / scene.source_wh
    origin, direction = _ray(scene.cameras, frame, at)
    t = float(scene.ground.intersect(origin, direction))
    height = float(scene.ground.distance(origin))
    if not (0 < t * np.linalg.norm(direction) < FARTHEST_HEIGHTS * height):
        raise NoSurface(
            f"pixel ({px[0]:g}, {px[1]:g}) lies at or above the horizon",
            "Choose a pixel on the ground, or say where the horizon is",
        )
    return Anchor(origin + t * direction, scene.ground, 0, 0.0)


def carrier_anchor(scene: Scene4D, frame: int, px: tuple[float, float], track: RigidTrack, *, seed: int) -> Anchor:
    """The surface at ``px`` of a stiff thing that moves, as it lies in ``frame``, from the points it was followed by.

    Raises ``NoSurface`` where too few of them lie around the pixel.
    """
    at = np.array(px) * scene.working_wh / scene.source_wh
    points = track.relative_to(frame).points
    shown, inside = _seen(scene.cameras, frame, points)
    distance = np.where(inside, np.linalg.norm(shown - at, axis=1), np.inf)
    near = np.argsort(distance, kind="stable")[:40]
    near = near[distance[near] < 0.12 * scene.working_wh[0]]
    if len(near) < 5:
        raise NoSurface(
            f"only {len(near)} points of what moves are known around pixel ({px[0]:g}, {px[1]:g})",
            "Choose a pixel on its textured part, or give the way with path:KEYS",
        )
    origin, direction = _ray(scene.cameras, frame, at)
    weight = np.exp(-0.5 * (distance[near] / max(float(np.median(distance[near])), 4.0)) ** 2)
    depth = float(np.median(rigid.transform(scene.cameras.pose(frame), points[near])[:, 2]))
    start = Plane(UP, float((origin + depth * direction) @ UP))
    rng = np.random.default_rng([seed, 0xCA7])
    plane = _fit_plane(points[near], weight, scene.cameras, frame, at, start, rng)
    off_px = np.abs(plane.distance(points[near])) * scene.cameras.camera(frame).fx / depth
    return Anchor(_on_plane(scene.cameras, frame, at, plane), plane, len(near), float(np.median(off_px)))


def guess_anchor(scene: Scene4D, frame: int, px: tuple[float, float]) -> Anchor:
    """A level surface at about the depth of the pixel, at once and without the clip: for previews only."""
    if scene.cameras.has_one_centre:
        return ground_anchor(scene, frame, px)
    at = np.array([px[0] * scene.working_wh[0] / scene.source_wh[0], px[1] * scene.working_wh[1] / scene.source_wh[1]])
    plane = _start_planes(scene, frame, at)[0]
    return Anchor(_on_plane(scene.cameras, frame, at, plane), plane, 0, float("nan"))


def _spread(frames: Sequence[int], frame: int, count: int) -> list[int]:
    """Up to ``count`` frames over the whole clip, always with ``frame``."""
    picked = {frames[i] for i in np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)}
    return sorted(picked | {frame})


def _ray(cameras: CameraPath, frame: int, at: Array) -> tuple[Array, Array]:
    """(3,) origin and (..., 3) directions with z = 1 in the camera, through (..., 2) pixels."""
    world_from_camera = rigid.inverse(cameras.pose(frame))
    return world_from_camera[:3, 3], cameras.camera(frame).rays_from_px(at) @ world_from_camera[:3, :3].T


def _on_plane(cameras: CameraPath, frame: int, at: Array, plane: Plane) -> Array:
    origin, direction = _ray(cameras, frame, at)
    return origin + plane.intersect(origin, direction) * direction


def _tolerance(cameras: CameraPath, frame: int, plane: Plane, at: Array) -> float:
    """Distance from the plane that still counts as on it: half a per cent of the viewing distance."""
    origin, _ = _ray(cameras, frame, at)
    return 0.005 * float(np.linalg.norm(_on_plane(cameras, frame, at, plane) - origin))


def _seen(cameras: CameraPath, frame: int, points: Array) -> tuple[Array, Array]:
    """Pixels of world points in a frame and whether they lie in front of the camera and inside the picture."""
    px = cameras.camera(frame).px_from_cam(rigid.transform(cameras.pose(frame), points))
    w, h = cameras.camera(frame).wh
    with np.errstate(invalid="ignore"):
        inside = (px[:, 0] > 0) & (px[:, 0] < w) & (px[:, 1] > 0) & (px[:, 1] < h)
    return px, inside


def _start_planes(scene: Scene4D, frame: int, at: Array) -> list[Plane]:
    """Level planes at the depths that the pixel may have, best first: good enough to start tracking."""
    origin, direction = _ray(scene.cameras, frame, at)
    ground = None if scene.ground is None else float(scene.ground.intersect(origin, direction))
    guesses = [_dense_depth(scene, frame, at, 0.3), _sparse_depth(scene, frame, at), ground]
    guesses.append(_dense_depth(scene, frame, at, 0.05))
    depths: list[float] = []
    for z in guesses:
        if z is not None and 0 < z < np.inf and all(abs(np.log(z / other)) > 0.02 for other in depths):
            depths.append(z)
    if not depths:
        raise NoSurface(
            f"no surface is known at pixel ({at[0]:.0f}, {at[1]:.0f}) of frame {frame}: sky, glass or a blank region",
            "Choose a pixel on a textured surface",
        )
    normal = UP
    if abs(direction @ normal) < 0.05 * np.linalg.norm(direction):  # seen edge-on: a plane that faces us tracks better
        normal = -direction / np.linalg.norm(direction)
    return [Plane(normal, float((origin + z * direction) @ normal)) for z in depths]


def _best_start(clip: FrameSource, scene: Scene4D, frame: int, at: Array, corners: Array) -> Plane:
    """The start under which most corners near the pixel can be followed: a wrong depth shears the patches apart."""
    planes = _start_planes(scene, frame, at)
    if len(planes) == 1:
        return planes[0]
    views = _spread(scene.cameras.frames, frame, 8)
    nearness = np.exp(-0.5 * (np.linalg.norm(corners - at, axis=1) / (0.11 * scene.working_wh[0])) ** 2)
    scores = []
    for plane in planes:
        tracks = np.stack([_follow(clip, scene.cameras, frame, view, corners, plane) for view in views])
        found = triangulate(scene.cameras.select(views), tracks, min_views=3)
        tolerance = 4 * _tolerance(scene.cameras, frame, plane, at)
        agree = (found.error_px < MOST_ERROR_PX) & (np.abs(plane.distance(found.points)) < tolerance)
        scores.append(float((nearness * agree * np.isfinite(tracks[..., 0]).sum(0)).sum()))
    return planes[int(np.argmax(scores))]


def _dense_depth(scene: Scene4D, frame: int, at: Array, confidence: float) -> float | None:
    """Median of the depths within a few pixels that are at least so confident."""
    depth = scene.depth.read(frame)
    x, y = int(at[0]), int(at[1])
    window = np.s_[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5]
    trusted = (depth.confidence[window] > confidence) & (depth.depth[window] > 0)
    return float(np.median(depth.depth[window][trusted])) if trusted.sum() >= 5 else None


def _sparse_depth(scene: Scene4D, frame: int, at: Array) -> float | None:
    """Where the pixel's ray meets the level of the points around it: floors often lack texture, not neighbours."""
    points, _ = _near_points(scene, frame, at)
    if len(points) < 5:
        return None
    origin, direction = _ray(scene.cameras, frame, at)
    own = rigid.transform(scene.cameras.pose(frame), points)[:, 2]
    if abs(direction[1]) < 0.05 * np.linalg.norm(direction):
        return float(np.median(own))
    level = (points[:, 1] - origin[1]) / direction[1]
    # A point of another surface would put the pixel far before or behind itself.
    plausible = (level > 0.5 * own) & (level < 2 * own)
    return float(np.median(level[plausible])) if plausible.sum() >= 5 else float(np.median(own))


def _corners(picture: Array, at: Array, radius: float) -> Array:
    """(N, 2) corners within ``radius`` px of the pixel, densest near it."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    found = []
    for share in (0.35, 1.0):
        mask = np.zeros(gray.shape, np.uint8)
        cv2.circle(mask, (int(at[0]), int(at[1])), int(share * radius), 255, -1)
        corners = cv2.goodFeaturesToTrack(gray, 200, 0.003, 4, mask=mask, blockSize=5)
        if corners is not None:
            found.append(corners.reshape(-1, 2).astype(np.float64) + 0.5)
    if not found:
        raise NoSurface("no texture around the pixel", "Choose a pixel on a textured surface")
    return np.unique(np.concatenate(found), axis=0)


def _pixels_on_plane(cameras: CameraPath, frame: int, view: int, px: Array, plane: Plane) -> Array:
    """Where pixels of ``frame`` lie in ``view`` if they show ``plane``; (..., 2)."""
    origin, directions = _ray(cameras, frame, px.reshape(-1, 2))
    t = plane.intersect(origin, directions)
    points = origin + np.where(np.isfinite(t) & (t > 0), t, np.nan)[:, None] * directions
    return cameras.camera(view).px_from_cam(rigid.transform(cameras.pose(view), points)).reshape(px.shape)


def _follow(clip: FrameSource, cameras: CameraPath, frame: int, view: int, corners: Array, plane: Plane) -> Array:
    """(N, 2) positions in ``view`` of the corners of ``frame``; nan where they cannot be followed."""
    if view == frame:
        return corners
    wh = cameras.camera(frame).wh
    margin = 40
    low = np.maximum(np.floor(corners.min(0)) - margin, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)) + margin, wh).astype(int)
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    grid = _pixels_on_plane(cameras, frame, view, np.stack([x, y], -1), plane)
    template = cv2.cvtColor(clip.display(frame, wh), cv2.COLOR_RGB2GRAY)[low[1] : high[1], low[0] : high[0]]
    other = cv2.cvtColor(clip.display(view, wh), cv2.COLOR_RGB2GRAY)
    warped = resample(other, np.nan_to_num(grid, nan=-1e4))
    start = (corners - low - 0.5).astype(np.float32)
    there, ok = _lucas_kanade(np.ascontiguousarray(template), warped, start)
    back, ok_back = _lucas_kanade(warped, np.ascontiguousarray(template), there)
    kept = (ok & ok_back).ravel().astype(bool) & (np.linalg.norm(back - start, axis=1) < 0.25)
    kept &= np.linalg.norm(there - start, axis=1) < 12
    kept &= _alike(template, warped, start, there)
    found = _pixels_on_plane(cameras, frame, view, there.astype(np.float64) + low + 0.5, plane)
    with np.errstate(invalid="ignore"):
        kept &= (found > 4).all(1) & (found < np.array(wh) - 4).all(1)
    return np.where(kept[:, None], found, np.nan)


def _lucas_kanade(a: Array, b: Array, points: Array) -> tuple[Array, Array]:
    """(N, 2) float32 positions in ``b`` of the points of ``a``, and (N, 1) whether they were found."""
    # OpenCV's stubs do not know that None lets it choose the output.
    found, ok, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        a, b, points, None, winSize=(WINDOW_PX, WINDOW_PX), maxLevel=2, criteria=_LK_CRITERIA
    )
    return found, ok


def _alike(a: Array, b: Array, at_a: Array, at_b: Array) -> Array:
    """(N,) whether 11x11 patches correlate: an occluder in front of the patch must not count."""
    def patches(picture: Array, centres: Array) -> Array:
        offsets = np.arange(-5, 6, dtype=np.float32)
        grid_x = centres[:, 0, None, None] + offsets[None, None, :] + 0 * offsets[None, :, None]
        grid_y = centres[:, 1, None, None] + offsets[None, :, None] + 0 * offsets[None, None, :]
        x, y = grid_x.reshape(len(centres), -1), grid_y.reshape(len(centres), -1)
        sampled = cv2.remap(picture, x, y, cv2.INTER_LINEAR).astype(np.float32)
        return sampled - sampled.mean(1, keepdims=True)

    pa, pb = patches(a, at_a), patches(b, at_b)
    norm = np.linalg.norm(pa, axis=1) * np.linalg.norm(pb, axis=1)
    return (pa * pb).sum(1) > 0.8 * np.maximum(norm, 1e-6)


def _near_points(scene: Scene4D, frame: int, at: Array) -> tuple[Array, Array]:
    """(K, 3) of the scene's own points around the pixel, nearest first, and their distances (K,) in px."""
    px, inside = _seen(scene.cameras, frame, scene.points.xyz)
    if scene.points.seen is not None:  # what this frame saw; others may lie behind what it shows
        first, last = scene.points.seen.T
        inside &= (first <= frame + SEEN_SLACK) & (last >= frame - SEEN_SLACK)
    distance = np.where(inside, np.linalg.norm(px - at, axis=1), np.inf)
    chosen = np.argsort(distance, kind="stable")[:60]
    chosen = chosen[distance[chosen] < 0.18 * scene.working_wh[0]]
    return scene.points.xyz[chosen], distance[chosen]


def _with_sparse(
    scene: Scene4D, frame: int, at: Array, points: Array, corners: Array, spread: Array
) -> tuple[Array, Array]:
    """Triangulated corners and the scene's own points near the pixel, each with a weight.

    Near ones count most, and those whose depth is well seen: ``spread`` (N,) is its standard deviation as a share of
    the distance. The scene's points do not say how well they were seen; they decide where corners are few.
    """
    sparse, distance = _near_points(scene, frame, at)
    reach = 0.11 * scene.working_wh[0]
    own = np.exp(-0.5 * (np.linalg.norm(corners - at, axis=1) / reach) ** 2)
    if len(own):
        own = own / (1 + (spread / max(GOOD_SPREAD, float(np.percentile(spread, 20)))) ** 2)
    background = np.exp(-0.5 * (distance / reach) ** 2)
    if len(own) >= ENOUGH_CORNERS:
        background *= min(1.0, 0.5 * float(own.sum()) / max(float(background.sum()), 1e-9))
    return np.concatenate([points, sparse]), np.concatenate([own, background])


def _relative_spread(cameras: CameraPath, frame: int, at: Array, plane: Plane, covariance: Array) -> Array:
    """(N,) standard deviation along the pixel's ray as a share of its length, of tracks good to ``TRACK_SIGMA_PX``."""
    origin, direction = _ray(cameras, frame, at)
    distance = float(plane.intersect(origin, direction)) * np.linalg.norm(direction)
    along = direction / np.linalg.norm(direction)
    return TRACK_SIGMA_PX * np.sqrt(np.einsum("i,nij,j->n", along, covariance, along)) / distance


def _certainty(picture: Array, corners: Array) -> Array:
    """(N, 2, 2) whitening of a corner's pixel error: near 1 across its edges, near 0 along a line without an end.

    Square root of the structure tensor of the tracking window, over its larger eigenvalue (Foerstner and Guelch 1987).
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    entries = cv2.cornerEigenValsAndVecs(grey, WINDOW_PX, 3)
    at = np.clip(corners.astype(int), 0, np.array(grey.shape[::-1]) - 1)
    large, small, *vectors = np.moveaxis(entries[at[:, 1], at[:, 0]].astype(np.float64), -1, 0)
    basis = np.stack(vectors, -1).reshape(-1, 2, 2)  # rows: eigenvectors of the larger, the smaller value
    share = np.sqrt(np.maximum(small, 0) / np.maximum(large, 1e-12))
    scale = np.stack([np.ones_like(share), share], -1)
    return scale[:, :, None] * basis


def _local_warp(cameras: CameraPath, frame: int, view: int, corners: Array, plane: Plane) -> Array:
    """(N, 2, 2) derivative of the pixel in ``view`` by the pixel in ``frame``, on the plane."""
    offsets = ([0.5, 0], [-0.5, 0], [0, 0.5], [0, -0.5])
    steps = [_pixels_on_plane(cameras, frame, view, corners + offset, plane) for offset in offsets]
    warp = np.stack([steps[0] - steps[1], steps[2] - steps[3]], -1)
    broken = ~np.isfinite(warp).all((1, 2)) | (np.abs(np.linalg.det(np.nan_to_num(warp))) < 1e-6)
    warp[broken] = np.eye(2)
    return warp


def _fit_plane(
    points: Array, weight: Array, cameras: CameraPath, frame: int, at: Array, start: Plane, rng: np.random.Generator
) -> Plane:
    """Weighted RANSAC, then reweighted least squares. Planes that gravity favours win when the points cannot tell."""
    if len(points) < 5:
        raise NoSurface(
            f"only {len(points)} points are known around the pixel",
            "Choose a pixel on a textured surface that stands still",
        )
    origin, direction = _ray(cameras, frame, at)
    start_depth = float(start.intersect(origin, direction))
    best, best_score = None, -1.0
    chances = weight / weight.sum()
    # Level planes through single points stand beside the free ones: three points on a line define nothing.
    candidates = [(UP, points[i]) for i in rng.choice(len(points), 60, p=chances)]
    for _ in range(240):
        a, b, c = points[rng.choice(len(points), 3, replace=False, p=chances)]
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal)
        if length > 1e-12:
            candidates.append((normal / length, a))
    for normal, through in candidates:
        normal = normal if normal @ (origin - through) > 0 else -normal
        plane = Plane(normal, float(normal @ through))
        t = float(plane.intersect(origin, direction))
        if not (np.isfinite(t) and t > 0 and abs(np.log(t / start_depth)) < 0.3):
            continue
        spread = 0.005 * t * np.linalg.norm(direction)
        score = float((weight * np.exp(-0.5 * (plane.distance(points) / spread) ** 2)).sum())
        score *= 1.05 if abs(normal @ UP) > np.cos(np.radians(4)) else 1.0
        if score > best_score:
            best, best_score = plane, score
    if best is None:
        raise NoSurface("no plane fits the points around the pixel", "Choose a pixel on a flat, textured surface")
    return _refine_plane(best, points, weight, cameras, frame, at)


def _refine_plane(plane: Plane, points: Array, weight: Array, cameras: CameraPath, frame: int, at: Array) -> Plane:
    """Reweighted total least squares on the plane's inliers; slopes that the points do not support stay as they are."""
    origin, _ = _ray(cameras, frame, at)
    for _ in range(8):
        spread = _tolerance(cameras, frame, plane, at)
        w = weight * np.exp(-0.5 * (plane.distance(points) / spread) ** 2)
        if (w > 0.05).sum() < 4:
            return plane
        centre = (w[:, None] * points).sum(0) / w.sum()
        # A prior of one point's weight on either side of the centre along the current plane keeps thin clusters level.
        arms = _basis(plane.normal) * 20 * spread
        stacked = np.concatenate([points - centre, arms, -arms])
        ws = np.concatenate([w, np.full(4, 0.25)])
        _, vectors = np.linalg.eigh((ws[:, None] * stacked).T @ stacked)
        normal = vectors[:, 0] if vectors[:, 0] @ (origin - centre) > 0 else -vectors[:, 0]
        plane = Plane(normal, float(normal @ centre))
    return plane


def _basis(normal: Array) -> Array:
    """(2, 3) unit vectors that span the plane."""
    first = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])

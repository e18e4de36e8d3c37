"""Structure from motion with COLMAP, in a process of its own: ``python -m geometry.reconstruct.colmap_worker REQUEST``.

The only importer of pycolmap, and it never imports OpenCV: in one process the two can abort each other.

REQUEST is a JSON file, see ``Request``. Written into its ``out`` folder: ``result.json`` (``Result``), and when a
model was found ``cameras.npz`` (index (N,), camera_from_world (N, 4, 4)), ``points.npz`` (xyz (P, 3), error_px (P,),
track_length (P,), and the observations: obs_index (M,), obs_point (M,), obs_xy (M, 2)) and ``model/``, COLMAP's own
folder. Frames are 0-based indices here. Pixels: first centre (0.5, 0.5), COLMAP's convention and ours.

How: key frames are mapped first (global, then incremental, over a grid of focal lengths), all other frames are then
resected against the key frames' points, all tracks are triangulated, and everything is adjusted together
(``adjust.py``; the lens gets k2 and k3 only when they explain what k1 leaves).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pycolmap

from geometry.reconstruct.cameras.adjust import Adjusted, Bundle, Freedom, Views, adjust

Array = np.ndarray

MIN_PAIR_MATCHES = 30
MAX_PARTNERS = 7  # of a key frame in the database, spread from its next neighbour to the farthest
GOOD_REPROJECTION_PX = 0.45  # an attempt this good ends the search for a focal length
FILTER_PX = 2.0
MIN_ANGLE = np.deg2rad(0.6)
POINTS_PER_KEYFRAME = 350
ADJUSTED_OBSERVATIONS = 20_000, 40_000  # of a long clip, of a short one: the work grows with the frames' square
FRAMES_TIMES_OBSERVATIONS = 2_000_000
ADJUSTED_FRAMES = 240  # of a long clip, spread; the others are resected
WHOLE = 0.9  # of the frames registered: gaps do not matter then
FIRST_LOSS_PX = 1.0  # scale of the Cauchy loss
LOSS_PER_ERROR, LOSS_PX = 2.0, (0.1, 0.5)  # 2.4 standard deviations: 95 % efficient on normal noise (Huber 1981)
LENS_GAIN = 0.97  # of the cost that k1 leaves; k2 and k3 must do better


@dataclass(frozen=True)
class Request:
    out: str
    wh: tuple[int, int]
    frames: int  # how many
    keyframes: list[int]
    focal_px: float | None  # known: held fixed
    focal_guesses_px: list[float]
    seed: int
    tracks: str | None  # .npz with frame, track, xy; None = SIFT on ``images``
    images: str | None  # folder of %06d.png by index


@dataclass(frozen=True)
class Result:
    solved: bool
    method: str = ""
    focal_px: float = 0.0
    distortion: tuple[float, float, float, float, float] = (0.0,) * 5  # k1 k2 p1 p2 k3
    registered: int = 0
    longest: int = 0  # frames in a row that were registered
    points: int = 0
    reprojection_px: float = 0.0
    median_triangulation_deg: float = 0.0
    depth_spread: float = 0.0  # of the points' distances, relative: next to none is a turn, taken for an orbit
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observations:
    """Sorted by frame: point ``track[i]`` seen at ``xy[i]`` in frame ``frame[i]``; tracks are 0..T-1."""

    frame: Array
    track: Array
    xy: Array

    @property
    def tracks(self) -> int:
        return int(self.track.max(initial=-1)) + 1

    def where(self, mask: Array) -> Observations:
        return Observations(self.frame[mask], self.track[mask], self.xy[mask])

    def relabelled(self, min_length: int) -> Observations:
        """Only tracks seen at least so often, with ids made consecutive."""
        kept = self.where(np.bincount(self.track, minlength=self.tracks)[self.track] >= min_length)
        return Observations(kept.frame, np.unique(kept.track, return_inverse=True)[1], kept.xy)


def run(request: Request) -> Result:
    pycolmap.logging.minloglevel = 2
    pycolmap.set_random_seed(request.seed)
    out = Path(request.out)
    out.mkdir(parents=True, exist_ok=True)
    seen = _load(request.tracks) if request.tracks else _sift(request)
    attempts: list[str] = []
    sparse = _spread_tracks(seen.where(np.isin(seen.frame, request.keyframes)), request.wh, POINTS_PER_KEYFRAME)
    best, method = _map_keyframes(request, sparse, attempts)
    if best is None:
        return Result(False, attempts=tuple(attempts))
    model = _complete(request, seen, best)
    return _write(model, method, tuple(attempts), out)


# --- observations ------------------------------------------------------------------------------------------------


def _load(path: str) -> Observations:
    with np.load(path) as data:
        return Observations(data["frame"], data["track"], data["xy"]).relabelled(3)


def _sift(request: Request) -> Observations:
    """SIFT features of all frames, matched to the next ones, chained to tracks over pairs."""
    if request.images is None:
        raise ValueError("request: expected tracks or images, got neither")
    database = Path(request.out) / "sift.db"
    database.unlink(missing_ok=True)
    reader = pycolmap.ImageReaderOptions(camera_model="SIMPLE_RADIAL")
    extraction = pycolmap.FeatureExtractionOptions()
    extraction.max_image_size = max(request.wh)
    extraction.sift.max_num_features = 3000
    pycolmap.extract_features(database, request.images, camera_mode=pycolmap.CameraMode.SINGLE,
                              reader_options=reader, extraction_options=extraction)
    pairing = pycolmap.SequentialPairingOptions()
    pairing.overlap, pairing.quadratic_overlap = 6, True
    pycolmap.match_sequential(database, pairing_options=pairing)
    with pycolmap.Database.open(database) as db:
        images = sorted(db.read_all_images(), key=lambda image: image.name)
        index = {image.image_id: int(Path(image.name).stem) for image in images}
        keypoints = {image.image_id: db.read_keypoints(image.image_id)[:, :2] for image in images}
        ids, geometries = db.read_two_view_geometries()
        pairs = [(pycolmap.pair_id_to_image_pair(i), g.inlier_matches) for i, g in zip(ids, geometries, strict=True)]
    return _chained(keypoints, pairs, index).relabelled(3)


def _chained(keypoints: dict, pairs: list, index: dict[int, int]) -> Observations:
    """Connected components of matches; a component with two features in one frame is dropped."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    start, total = {}, 0
    for image, xy in keypoints.items():
        start[image], total = total, total + len(xy)
    found = [(a, b, m.astype(int)) for (a, b), m in pairs if len(m)]
    links = [np.stack([start[a] + m[:, 0], start[b] + m[:, 1]]) for a, b, m in found]
    row, column = np.concatenate(links, 1) if links else np.zeros((2, 0), int)
    _, track = connected_components(coo_matrix((np.ones(len(row)), (row, column)), (total, total)), directed=False)
    frame = np.concatenate([np.full(len(xy), index[image]) for image, xy in keypoints.items()])
    xy = np.concatenate(list(keypoints.values())).astype(np.float64)
    order = np.argsort(frame, kind="stable")
    frame, track, xy = frame[order], track[order], xy[order]
    key = track.astype(np.int64) * (frame.max() + 1) + frame
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    torn = np.zeros(track.max() + 1, bool)
    torn[track[count[inverse] > 1]] = True
    return Observations(frame, track, xy).where(~torn[track])


def _spread_tracks(seen: Observations, wh: tuple[int, int], per_frame: int) -> Observations:
    """Whole tracks, about ``per_frame`` a frame: those that span most time in every cell of the picture.

    Span, not count: a point that is seen again after a long time is what closes a loop.
    """
    count = np.bincount(seen.track, minlength=seen.tracks)
    length = _span(seen)
    side = np.sqrt(wh[0] * wh[1] / per_frame)
    cell = (seen.xy // side).astype(np.int64) @ (1, 100_000)
    order = np.lexsort((-length[seen.track], cell, seen.frame))
    first = np.r_[True, (cell[order][1:] != cell[order][:-1]) | (seen.frame[order][1:] != seen.frame[order][:-1])]
    keep = np.zeros(seen.tracks, bool)
    keep[seen.track[order[first]]] = True
    # A track that is the best somewhere is kept everywhere, so cells fill up: take the longest until there are enough.
    ranked = np.flatnonzero(keep)[np.argsort(-length[keep], kind="stable")]
    enough = np.searchsorted(np.cumsum(count[ranked]), 1.6 * per_frame * len(np.unique(seen.frame)))
    keep[ranked[enough + 1 :]] = False
    return seen.where(keep[seen.track])


def _span(seen: Observations) -> Array:
    first, last = np.full(seen.tracks, np.iinfo(np.int64).max), np.full(seen.tracks, -1)
    np.minimum.at(first, seen.track, seen.frame)
    np.maximum.at(last, seen.track, seen.frame)
    return last - first


# --- key frames --------------------------------------------------------------------------------------------------


def _map_keyframes(
    request: Request, seen: Observations, attempts: list[str]
) -> tuple[pycolmap.Reconstruction | None, str]:
    """The best model of the key frames over mappers and focal lengths."""
    best, best_score, best_method, before = None, np.inf, "", np.inf
    keys = _connected(request, seen)
    for number, (mapper, focal, model) in enumerate(_attempts(request, seen)):
        registered = model.num_reg_images() if model else 0
        share = min(1.0, registered / keys)
        error = model.compute_mean_reprojection_error() if model and model.num_points3D() else np.inf
        attempts.append(f"{mapper} f={focal:.0f}: {registered}/{keys}, {error:.3f} px")
        # A frame lost costs more than any error that still passes the gate.
        score = error + 10 * (1 - share)
        if model is not None and share >= 0.5 and score < best_score:
            best, best_score, best_method = model, score, mapper
        same = abs(score - before) < 0.02 * score  # from another focal length: what is left is the lens's distortion
        before = score
        if best_score < GOOD_REPROJECTION_PX or ((same or number >= 2) and best_score < 2 * GOOD_REPROJECTION_PX):
            break
    return best, best_method


def _connected(request: Request, seen: Observations) -> int:
    """How many key frames hang together by shared tracks: no mapper can do more."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(request.keyframes)
    pairs = np.array(list(_key_pairs(seen, [np.flatnonzero(seen.frame == k) for k in request.keyframes])), int)
    a, b = pairs.reshape(-1, 2).T
    _, group = connected_components(coo_matrix((np.ones(len(a)), (a, b)), (count, count)), directed=False)
    return int(np.bincount(group).max())


def _attempts(request: Request, seen: Observations) -> Iterator[tuple[str, float, pycolmap.Reconstruction | None]]:
    focals = [request.focal_px] if request.focal_px else request.focal_guesses_px
    for mapper in ("global", "incremental"):
        for focal in focals:
            folder = Path(request.out) / f"{mapper}_{focal:.0f}"
            folder.mkdir(parents=True, exist_ok=True)
            _fill_database(folder / "database.db", request, seen, focal)
            models = (_global if mapper == "global" else _incremental)(folder, request)
            yield mapper, focal, max(models.values(), key=lambda m: m.num_reg_images(), default=None)


def _camera(request: Request, focal: float, distortion: Array | None = None) -> pycolmap.Camera:
    """The simplest of COLMAP's models that has ``distortion`` (k1, k2, k3)."""
    w, h = request.wh
    k1, k2, k3 = (0.0, 0.0, 0.0) if distortion is None else (float(k) for k in distortion)
    model, params = "SIMPLE_RADIAL", [focal, w / 2, h / 2, k1]
    if k2 or k3:
        model, params = "FULL_OPENCV", [focal, focal, w / 2, h / 2, k1, k2, 0.0, 0.0, k3, 0.0, 0.0, 0.0]
    return pycolmap.Camera(model=model, width=w, height=h, params=params, camera_id=1, has_prior_focal_length=True)


def _fill_database(path: Path, request: Request, seen: Observations, focal: float) -> None:
    """Key frames, their track points as features, and verified pairs over short and long baselines."""
    path.unlink(missing_ok=True)
    camera = _camera(request, focal)
    keys = request.keyframes
    parts = [np.flatnonzero(seen.frame == k) for k in keys]
    options = pycolmap.TwoViewGeometryOptions(compute_relative_pose=True)
    options.ransac.max_error = 1.5
    options.ransac.max_num_trials = 1000
    options.ransac.random_seed = request.seed
    options.detect_watermark = False
    options.min_E_F_inlier_ratio = 0.8  # the camera is known well enough: prefer the essential matrix
    with pycolmap.Database.open(path) as db:
        db.write_camera(camera, use_camera_id=True)
        rig = pycolmap.Rig(rig_id=1)
        rig.add_ref_sensor(camera.sensor_id)
        db.write_rig(rig, use_rig_id=True)
        for i, (key, part) in enumerate(zip(keys, parts, strict=True)):
            image = pycolmap.Image(name=f"{key:06d}.png", camera_id=1, image_id=i + 1)
            db.write_image(image, use_image_id=True)
            frame = pycolmap.Frame(frame_id=i + 1, rig_id=1)
            frame.add_data_id(image.data_id)
            db.write_frame(frame, use_frame_id=True)
            db.write_keypoints(i + 1, seen.xy[part].astype(np.float32))
        for i, j in _key_pairs(seen, parts):
            ids_a, ids_b = seen.track[parts[i]], seen.track[parts[j]]
            _, a, b = np.intersect1d(ids_a, ids_b, assume_unique=True, return_indices=True)
            matches = np.stack([a, b], -1).astype(np.uint32)
            geometry = pycolmap.estimate_two_view_geometry(
                camera, seen.xy[parts[i]], camera, seen.xy[parts[j]], matches, options
            )
            if len(geometry.inlier_matches) >= MIN_PAIR_MATCHES:
                db.write_matches(i + 1, j + 1, matches)
                db.write_two_view_geometry(i + 1, j + 1, geometry)


def _key_pairs(seen: Observations, parts: list[Array]) -> Iterator[tuple[int, int]]:
    for i in range(len(parts)):
        reach = [j for j in range(i + 1, len(parts))
                 if len(np.intersect1d(seen.track[parts[i]], seen.track[parts[j]])) >= MIN_PAIR_MATCHES]
        if len(reach) > MAX_PARTNERS:
            reach = [reach[k] for k in np.unique(np.linspace(0, len(reach) - 1, MAX_PARTNERS).round().astype(int))]
        yield from ((i, j) for j in reach)


def _global(folder: Path, request: Request) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.GlobalPipelineOptions()
    options.random_seed = options.mapper.random_seed = request.seed
    options.decompose_relative_pose = True
    options.mapper.bundle_adjustment.refine_focal_length = request.focal_px is None
    options.mapper.ba_num_iterations = 2
    options.mapper.bundle_adjustment.ceres.solver_options.max_num_iterations = 25  # all is adjusted again later
    options.mapper.bundle_adjustment.ceres.solver_options.function_tolerance = 1e-5
    options.mapper.global_positioning.use_gpu = False
    options.mapper.bundle_adjustment.ceres.use_gpu = False
    return pycolmap.global_mapping(folder / "database.db", request.images or folder, folder, options)


def _incremental(folder: Path, request: Request) -> dict[int, pycolmap.Reconstruction]:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = request.seed
    options.extract_colors = False
    options.multiple_models = False
    options.ba_refine_focal_length = request.focal_px is None
    options.mapper.abs_pose_refine_focal_length = request.focal_px is None
    options.mapper.init_max_forward_motion = 1.0
    options.mapper.init_min_tri_angle = 4.0
    options.mapper.filter_min_tri_angle = 0.7
    options.triangulation.min_angle = 0.7
    return pycolmap.incremental_mapping(folder / "database.db", request.images or folder, folder, options)


# --- all frames, all tracks --------------------------------------------------------------------------------------


def _complete(request: Request, seen: Observations, keys: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    camera = keys.cameras[1]
    poses = {int(Path(i.name).stem): i.cam_from_world().matrix() for i in keys.images.values() if i.has_pose}
    xyz = _triangulate(seen, camera, poses)
    for _ in range(2):  # the second time with the points that the first round's frames brought
        _resect(request, seen, camera, poses, xyz)
        xyz = _triangulate(seen, camera, poses)
    loss_px = FIRST_LOSS_PX
    for most_terms in (1, 3):
        # Every point keeps all its observations; which points take part decides how long the adjustment takes.
        chosen = _spread_frames(sorted(poses))
        thin = _thinned(seen.where(np.isin(seen.frame, chosen)), xyz, poses, request)
        camera, poses, error_px = _adjusted(
            request, thin, camera, {i: poses[i] for i in chosen}, xyz, loss_px, most_terms)
        # The second time as strict as the tracks are exact: what drags along by half a pixel is no noise then.
        loss_px = float(np.clip(LOSS_PER_ERROR * error_px, *LOSS_PX))
        xyz = _triangulate(seen, camera, poses)
        _resect(request, seen, camera, poses, xyz)
    if len(poses) < WHOLE * request.frames:  # a solve that failed half-way: islands beyond a gap are not trusted
        poses = {i: poses[i] for i in _longest_run(sorted(poses))}
    return _model(seen, camera, poses, _triangulate(seen, camera, poses))


def _longest_run(frames: list[int]) -> list[int]:
    breaks = np.flatnonzero(np.diff(frames) > 1) + 1
    return max((run.tolist() for run in np.split(np.array(frames), breaks)), key=len)


def _spread_frames(frames: list[int]) -> list[int]:
    step = np.linspace(0, len(frames) - 1, min(len(frames), ADJUSTED_FRAMES)).round().astype(int)
    return [frames[i] for i in step]


def _adjusted(
    request: Request, seen: Observations, camera: pycolmap.Camera, poses: dict[int, Array], xyz: Array, loss_px: float,
    most_terms: int,
) -> tuple[pycolmap.Camera, dict[int, Array], float]:
    """Camera and poses after a bundle adjustment of ``seen``, and the median error that it left."""
    indices = sorted(poses)
    stacked = np.stack([poses[i] for i in indices])
    ids, point = np.unique(seen.track, return_inverse=True)
    k1, k2, _, _, k3 = _opencv_distortion(camera)
    views = Views(np.searchsorted(indices, seen.frame), point, seen.xy - np.array(request.wh) / 2)
    start = Bundle(stacked[..., :3], stacked[..., 3], xyz[ids], np.full(len(indices), camera.mean_focal_length()),
                   np.array([k1, k2, k3]))
    found = _with_lens(start, views, request.focal_px is None, loss_px, most_terms)
    bundle = found.bundle
    matrices = np.concatenate([bundle.rotation, _translation(bundle)[..., None]], 2)
    posed = dict(zip(indices, matrices, strict=True))
    return _camera(request, float(bundle.focal[0]), bundle.distortion), posed, float(np.median(found.error_px))


def _with_lens(start: Bundle, views: Views, focal_free: bool, loss_px: float, most_terms: int) -> Adjusted:
    simple = adjust(start, views, Freedom(focal_free, distortion=1), loss_px=loss_px)
    if most_terms == 1:
        return simple
    full = adjust(simple.bundle, views, Freedom(focal_free, distortion=most_terms), loss_px=loss_px)
    return full if full.cost < LENS_GAIN * simple.cost else simple


def _translation(bundle: Bundle) -> Array:
    if bundle.translation is None:
        raise ValueError("bundle: expected translations, got none")
    return bundle.translation


def _resect(request: Request, seen: Observations, camera: pycolmap.Camera, poses: dict[int, Array], xyz: Array) -> None:
    """Add the poses of frames that have none yet, from the known points they see."""
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = 3.0
    options.ransac.random_seed = request.seed
    for index in range(request.frames):
        if index in poses:
            continue
        part = np.flatnonzero(seen.frame == index)
        part = part[np.isfinite(xyz[seen.track[part], 0])]
        if len(part) < 12:
            continue
        found = pycolmap.estimate_and_refine_absolute_pose(seen.xy[part], xyz[seen.track[part]], camera, options)
        if found is not None and found["num_inliers"] >= max(12, 0.3 * len(part)):
            poses[index] = found["cam_from_world"].matrix()


def _triangulate(seen: Observations, camera: pycolmap.Camera, poses: dict[int, Array]) -> Array:
    """(T, 3) points by reweighted least squares over all observations; nan where they are inconsistent."""
    known = np.isin(seen.frame, list(poses))
    part = seen.where(known)
    matrix = np.zeros((int(seen.frame.max()) + 1, 3, 4))
    for index, pose in poses.items():
        matrix[index] = pose
    rays = camera.cam_from_img(part.xy)
    pose = matrix[part.frame]
    rows = np.stack([rays[:, :1] * pose[:, 2] - pose[:, 0], rays[:, 1:] * pose[:, 2] - pose[:, 1]], 1)
    weight = np.ones(len(part.track))
    xyz = np.full((seen.tracks, 3), np.nan)
    error = np.zeros(len(part.track))
    for _ in range(4):
        xyz = _solve_points(rows * weight[:, None, None], part.track, seen.tracks)
        at = (pose[:, :, :3] @ xyz[part.track][..., None])[..., 0] + pose[:, :, 3]
        z = np.where(at[:, 2] > 1e-9, at[:, 2], np.nan)
        error = np.linalg.norm(at[:, :2] / z[:, None] - rays, axis=1) * camera.mean_focal_length()
        # 1 / z turns the algebraic error into pixels; the rest is a Cauchy weight.
        weight = np.nan_to_num(1 / (z * (1 + (error / 1.0) ** 2)), nan=0.0)
    good = error < FILTER_PX
    views = np.bincount(part.track[good], minlength=seen.tracks)
    share = views / np.maximum(np.bincount(part.track, minlength=seen.tracks), 1)
    angle = _angles(xyz, part, _centres(matrix))
    xyz[(views < 3) | (share < 0.6) | (angle < MIN_ANGLE)] = np.nan
    return xyz


def _solve_points(rows: Array, track: Array, tracks: int) -> Array:
    """Least squares of the 2 x 4 ``rows`` of each observation: (T, 3), nan where there is too little."""
    a, b = rows[..., :3], -rows[..., 3]
    normal, right = np.zeros((tracks, 3, 3)), np.zeros((tracks, 3))
    products, sides = np.swapaxes(a, 1, 2) @ a, (np.swapaxes(a, 1, 2) @ b[..., None])[..., 0]
    for r in range(3):
        right[:, r] = np.bincount(track, sides[:, r], minlength=tracks)
        for c in range(3):
            normal[:, r, c] = np.bincount(track, products[:, r, c], minlength=tracks)
    size = np.trace(normal, axis1=1, axis2=2)
    solvable = (size > 0) & (np.linalg.det(normal) > 1e-14 * size**3)
    xyz = np.full((tracks, 3), np.nan)
    xyz[solvable] = np.linalg.solve(normal[solvable], right[solvable][..., None])[..., 0]
    return xyz


def _centres(poses: Array) -> Array:
    return -(np.swapaxes(poses[..., :3], -1, -2) @ poses[..., 3:])[..., 0]


def _angles(xyz: Array, seen: Observations, centres: Array) -> Array:
    """(T,) the angle in radians under which each point sees the spread of its cameras."""
    to_camera = centres[seen.frame] - xyz[seen.track]
    to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
    order = np.lexsort((seen.frame, seen.track))
    track, direction = seen.track[order], to_camera[order]
    first = np.r_[True, track[1:] != track[:-1]]
    reference = direction[first][np.cumsum(first) - 1]
    chord = np.linalg.norm(direction - reference, axis=1)
    widest = np.zeros(len(xyz))
    np.maximum.at(widest, track, np.nan_to_num(chord))
    return 2 * np.arcsin(np.clip(widest / 2, 0, 1))


def _thinned(seen: Observations, xyz: Array, poses: dict[int, Array], request: Request) -> Observations:
    """At most about ``ADJUSTED_OBSERVATIONS``, by dropping whole tracks: the longest of every picture cell stay."""
    usable = np.isfinite(xyz[seen.track, 0]) & np.isin(seen.frame, list(poses))
    part, frames = seen.where(usable), max(len(poses), 1)
    most = int(np.clip(FRAMES_TIMES_OBSERVATIONS // frames, *ADJUSTED_OBSERVATIONS))
    return part if len(part.track) <= most else _spread_tracks(part, request.wh, max(150, most // frames))


def _model(seen: Observations, camera: pycolmap.Camera, poses: dict[int, Array], xyz: Array
           ) -> pycolmap.Reconstruction:
    """A COLMAP model of all posed frames and all points that are finite, with consistent observations only."""
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(camera)
    good = np.isfinite(xyz[seen.track, 0]) & np.isin(seen.frame, list(poses))
    part = seen.where(good)
    elements: dict[int, list[tuple[int, int]]] = {}
    for index in sorted(poses):
        at = np.flatnonzero(part.frame == index)
        points = xyz[part.track[at]] @ poses[index][:, :3].T + poses[index][:, 3]
        with np.errstate(all="ignore"):
            error = np.linalg.norm(camera.img_from_cam(points) - part.xy[at], axis=1)
        at = at[(points[:, 2] > 0) & (error < FILTER_PX)]
        image = pycolmap.Image(name=f"{index:06d}.png", keypoints=part.xy[at], camera_id=1, image_id=index + 1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(poses[index]))
        for k, track in enumerate(part.track[at].tolist()):
            elements.setdefault(track, []).append((index + 1, k))
    for track, seen_in in sorted(elements.items()):
        if len(seen_in) >= 3:
            model.add_point3D(xyz[track], pycolmap.Track([pycolmap.TrackElement(*e) for e in seen_in]))
    return model


# --- results -----------------------------------------------------------------------------------------------------


def _write(model: pycolmap.Reconstruction, method: str, attempts: tuple[str, ...], out: Path) -> Result:
    model.update_point_3d_errors()
    folder = out / "model"
    folder.mkdir(exist_ok=True)
    model.write(folder)
    images = sorted(model.images.values(), key=lambda image: image.image_id)
    poses = np.stack([np.vstack([i.cam_from_world().matrix(), [0, 0, 0, 1]]) for i in images])
    index = np.array([i.image_id - 1 for i in images])
    ids = sorted(model.points3D)
    points = [model.points3D[i] for i in ids]
    xyz = np.array([p.xyz for p in points]).reshape(-1, 3)
    pairs = [(e.image_id, e.point2D_idx, n) for n, p in enumerate(points) for e in p.track.elements]
    seen_in, feature, point = np.array(pairs, int).reshape(-1, 3).T
    features = {i.image_id: np.array([p.xy for p in i.points2D]).reshape(-1, 2) for i in images}
    xy = np.array([features[i][k] for i, k in zip(seen_in, feature, strict=True)]).reshape(-1, 2)
    order = np.argsort(seen_in, kind="stable")
    seen = Observations(seen_in[order] - 1, point[order], xy[order])
    centres = np.zeros((index.max() + 1, 3))
    centres[index] = _centres(poses[:, :3])
    angle = _angles(xyz, seen, centres) if len(xyz) else np.zeros(1)
    np.savez(out / "cameras.npz", index=index, camera_from_world=poses)
    np.savez(out / "points.npz", xyz=xyz, error_px=np.array([p.error for p in points]),
             track_length=np.array([p.track.length() for p in points]),
             obs_index=seen.frame, obs_point=seen.track, obs_xy=seen.xy)
    camera = model.cameras[1]
    return Result(True, method, float(camera.mean_focal_length()), _opencv_distortion(camera),
                  len(images), len(_longest_run(index.tolist())), len(xyz),
                  float(model.compute_mean_reprojection_error()), float(np.rad2deg(np.median(angle))),
                  _spread_of(np.linalg.norm(xyz - centres[index].mean(0), axis=1)), attempts)


def _spread_of(distance: Array) -> float:
    low, middle, high = np.percentile(distance, [10, 50, 90]) if len(distance) else (1.0, 1.0, 1.0)
    return float((high - low) / middle)


def _opencv_distortion(camera: pycolmap.Camera) -> tuple[float, float, float, float, float]:
    extra = [float(p) for p in camera.params[list(camera.extra_params_idxs())]]
    if camera.model_name == "FULL_OPENCV":
        return (extra[0], extra[1], extra[2], extra[3], extra[4])
    return (extra[0], extra[1] if len(extra) > 1 else 0.0, 0.0, 0.0, 0.0)


def main(arguments: list[str]) -> None:
    request = Request(**json.loads(Path(arguments[0]).read_text()))
    result = run(request)
    (Path(request.out) / "result.json").write_text(json.dumps(asdict(result)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Cameras and sparse points of a clip with parallax: tracks, kind of shot, structure from motion, gate, upright."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.errors import NoParallax, SolveFailed, TooFewFrames
from geometry.reconstruct.ground import find_ground, world_y_up
from geometry.reconstruct.keyframes import choose_keyframes
from geometry.reconstruct.shot import ShotAnalysis, analyse_shot
from geometry.reconstruct.tracks import Tracks, track_clip
from geometry.scene import FrameSource, Plane, SparsePoints
from geometry.shapes import expect_shape
from geometry.trajectory import CameraPath

Array = np.ndarray
Report = Callable[..., None]  # report(done, total)

MIN_FRAMES = 5
FOCAL_GUESSES = (1.1, 0.75, 1.7, 2.6)  # f / max(W, H): phone, wide, portrait, tele
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Gate:
    """What a solve must reach to be believed."""

    min_registered: float = 0.9  # share of frames
    focal_ratio: tuple[float, float] = (0.4, 8.0)  # f / max(W, H)
    max_k1: float = 0.5
    max_reprojection_px: float = 1.0
    min_triangulation_deg: float = 1.5
    min_points: int = 50


@dataclass(frozen=True)
class PointViews:
    """Which frame saw which sparse point where: (M,) source frame, (M,) index into the points, (M, 2) px."""

    frame: Array
    point: Array
    xy: Array

    def __post_init__(self) -> None:
        expect_shape("xy", self.xy, (None, 2))
        expect_shape("frame", self.frame, (len(self.xy),))
        expect_shape("point", self.point, (len(self.xy),))


@dataclass(frozen=True)
class CameraSolve:
    """An upright (+Y up) solve in scene units, on the working raster."""

    cameras: CameraPath
    points: SparsePoints
    views: PointViews
    ground: Plane | None
    shot: ShotAnalysis
    unregistered: tuple[int, ...]
    reprojection_px: float
    median_triangulation_deg: float
    method: str  # which tracks and which mapper
    attempts: tuple[str, ...]
    model_folder: Path  # COLMAP's own files; their world is *not* turned upright


def solve_cameras(
    clip: FrameSource,
    *,
    frames: Sequence[int] | None,
    focal_px: float | None,
    seed: int,
    workdir: Path,
    report: Report,
    gate: Gate | None = None,
) -> CameraSolve:
    """Solve the cameras of ``frames`` (all when None); ``focal_px`` on the working raster is held fixed when given.

    Raises ``TooFewFrames``, ``TooFewFeatures``, ``NoParallax`` or ``SolveFailed``, each with a hint.
    """
    gate = gate or Gate()
    numbers = tuple(clip.numbers if frames is None else frames)
    if len(numbers) < MIN_FRAMES:
        raise TooFewFrames(f"the clip has {len(numbers)} frame(s)", f"At least {MIN_FRAMES} are needed, better 20")
    tracks = track_clip(clip, frames=numbers, progress=lambda done, total: report(60 * done // total, 100))
    shot = analyse_shot(tracks, seed=seed)
    if shot.kind != "parallax":
        raise _refusal(shot)
    workdir.mkdir(parents=True, exist_ok=True)
    reasons = []
    for source in ("klt", "sift"):
        folder = workdir / source
        request = _request(clip, tracks, folder, source, focal_px, seed)
        report(65 if source == "klt" else 75, 100)
        result = _run_worker(folder, request)
        reason = _gate_reason(result, len(numbers), max(tracks.wh), gate)
        if reason is None:
            solve = _read(folder, result, source, numbers, tracks.wh, shot, seed)
            report(100, 100)
            return solve
        reasons.append(f"{source}: {reason}")
    raise SolveFailed(
        "the camera's path could not be solved (" + "; ".join(reasons) + ")",
        "Give the focal length, or use a part of the clip with a steadier, slower, longer move and fewer movers",
    )


def _refusal(shot: ShotAnalysis) -> NoParallax:
    if shot.kind == "locked":
        return NoParallax(
            f"the camera stands still (the picture moves {shot.motion_px:.2f} px)",
            "Depth needs a camera that travels; give cameras with --cameras, or film with a sideways move",
        )
    return NoParallax(
        f"the camera only turns on the spot (rotation alone explains the picture to {shot.residual_px:.2f} px)",
        "Depth needs a camera that travels; give cameras with --cameras, or film with a sideways move",
    )


def _request(
    clip: FrameSource, tracks: Tracks, folder: Path, source: str, focal_px: float | None, seed: int
) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    index = np.searchsorted(tracks.frames, tracks.frame)
    if source == "klt":
        np.savez(folder / "tracks.npz", frame=index, track=tracks.track, xy=tracks.xy)
    else:
        (folder / "images").mkdir(exist_ok=True)
        for i, number in enumerate(tracks.frames):
            picture = clip.display(number, tracks.wh)
            cv2.imwrite(str(folder / "images" / f"{i:06d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return {
        "out": str(folder),
        "wh": tracks.wh,
        "frames": len(tracks.frames),
        "keyframes": choose_keyframes(tracks),
        "focal_px": focal_px,
        "focal_guesses_px": [ratio * max(tracks.wh) for ratio in FOCAL_GUESSES],
        "seed": seed,
        "tracks": str(folder / "tracks.npz") if source == "klt" else None,
        "images": None if source == "klt" else str(folder / "images"),
    }


def _run_worker(folder: Path, request: dict[str, object]) -> dict:
    """The result of a worker process; one that crashes counts as one that found nothing, and says why."""
    (folder / "request.json").write_text(json.dumps(request))
    (folder / "result.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "geometry.reconstruct.colmap_worker", str((folder / "request.json").resolve())]
    with open(folder / "worker.log", "w") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ.copy(), check=False).returncode
    if code != 0 or not (folder / "result.json").exists():
        lines = (folder / "worker.log").read_text().strip().splitlines()
        return {"solved": False, "attempts": [f"the worker ended with code {code}: {lines[-1] if lines else ''}"]}
    return json.loads((folder / "result.json").read_text())


def _gate_reason(result: dict, frames: int, side_px: int, gate: Gate) -> str | None:
    """Why a result is not believed, or None."""
    if not result["solved"]:
        return "no model (" + ", ".join(result["attempts"]) + ")"
    ratio = result["focal_px"] / side_px
    checks = (
        (result["registered"] >= gate.min_registered * frames, f"{result['registered']} of {frames} frames"),
        (gate.focal_ratio[0] <= ratio <= gate.focal_ratio[1], f"focal length {ratio:.2f} x picture size"),
        (abs(result["distortion"][0]) < gate.max_k1, f"distortion k1 = {result['distortion'][0]:.2f}"),
        (result["reprojection_px"] < gate.max_reprojection_px, f"reprojection {result['reprojection_px']:.2f} px"),
        (result["median_triangulation_deg"] > gate.min_triangulation_deg,
         f"triangulation angle {result['median_triangulation_deg']:.2f} degrees"),
        (result["points"] >= gate.min_points, f"{result['points']} points"),
    )
    failed = [text for good, text in checks if not good]
    return ", ".join(failed) or None


def _read(
    folder: Path, result: dict, source: str, numbers: tuple[int, ...], wh: tuple[int, int], shot: ShotAnalysis,
    seed: int,
) -> CameraSolve:
    with np.load(folder / "cameras.npz") as data:
        index, poses = data["index"], data["camera_from_world"]
    with np.load(folder / "points.npz") as data:
        points = SparsePoints(data["xyz"], data["error_px"], data["track_length"])
        views = PointViews(np.array(numbers)[data["obs_index"]], data["obs_point"], data["obs_xy"])
    focal = result["focal_px"]
    lens = Camera(focal, focal, wh[0] / 2, wh[1] / 2, wh, tuple(result["distortion"]))
    solved = tuple(numbers[i] for i in index)
    path = CameraPath(solved, (lens,) * len(solved), poses)
    ground = find_ground(path, points.xyz, seed=seed)
    upright = world_y_up(ground)
    plane = None if ground.plane is None else Plane(upright[:3, :3] @ ground.plane.normal, ground.plane.offset)
    turned = replace(points, xyz=rigid.transform(upright, points.xyz), seen=_first_and_last(views, len(points.xyz)))
    return CameraSolve(
        path.in_world(upright), turned, views, plane, shot,
        tuple(n for n in numbers if n not in set(solved)),
        result["reprojection_px"], result["median_triangulation_deg"],
        f"{source} {result['method']}", tuple(result["attempts"]), folder / "model",
    )


def _first_and_last(views: PointViews, count: int) -> Array:
    """(N, 2) first and last source frame that saw each point."""
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(first, views.point, views.frame)
    np.maximum.at(last, views.point, views.frame)
    return np.stack([first, last], -1)

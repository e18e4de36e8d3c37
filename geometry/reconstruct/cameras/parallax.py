"""A camera that travels: structure from motion over long tracks, in COLMAP's process; gate; upright world."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.disagree import moving_tracks
from geometry.reconstruct.cameras.keyframes import choose_keyframes
from geometry.reconstruct.cameras.lines import segments_of
from geometry.reconstruct.cameras.loops import with_loops
from geometry.reconstruct.cameras.shot import SURE_PX
from geometry.reconstruct.cameras.solution import CameraSolve, Gate, PointViews, ShotToSolve
from geometry.reconstruct.cameras.tracks import Tracks
from geometry.reconstruct.cameras.turns import pair_up
from geometry.reconstruct.cameras.vanishing import direction_near
from geometry.reconstruct.errors import SolveFailed
from geometry.reconstruct.ground import Ground, find_ground, world_y_up
from geometry.scene import MotionSource, Plane, SparsePoints
from geometry.trajectory import CameraPath

Array = np.ndarray

FOCAL_GUESSES = (1.1, 0.75, 1.7, 2.6)  # f / max(W, H): phone, wide, portrait, tele
MASK_MARGIN_PX = 5
LINE_FRAMES = 8
NEARLY_LEVEL = np.deg2rad(12.0)
ROOT = Path(__file__).resolve().parents[3]
HINT = "Give the focal length, or use a part of the clip with a steadier, slower, longer move and fewer movers"


def solve_parallax(shot: ShotToSolve) -> CameraSolve:
    """Raises ``SolveFailed`` that says what every attempt came to."""
    if shot.tracks is None:
        raise ValueError("tracks: expected those of the shot, got none")
    if shot.shot.residual_px < SURE_PX and shot.shot.background_share > 0.5:  # whoever asks: a pan is never called 3D
        raise SolveFailed(f"the camera only turns or stands (that explains the picture to {shot.shot.residual_px:.2f} "
                          "px)", "Depth needs a camera that travels: film with a sideways move, or solve it as a pan")
    tracks = shot.tracks if shot.masks is None else _unmasked(shot.tracks, shot.masks)
    keys = choose_keyframes(tracks)
    numbers = [shot.frames[i] for i in keys]
    moving = moving_tracks(pair_up(tracks, numbers), int(tracks.track.max(initial=-1)) + 1)
    tracks = with_loops(shot.clip, tracks.keep(~moving), numbers, seed=shot.seed)
    shot.workdir.mkdir(parents=True, exist_ok=True)
    reasons = []
    for source in ("klt", "sift"):
        folder = shot.workdir / source
        request = _request(shot, tracks, keys, folder, source)
        shot.report(70 if source == "klt" else 80, 100)
        result = _run_worker(folder, request)
        reason = gate_reason(result, len(shot.frames), max(shot.wh), shot.gate)
        if reason is None:
            solve = _read(shot, folder, result, source)
            shot.report(100, 100)
            return solve
        reasons.append(f"{source}: {reason}")
    raise SolveFailed("the camera's path could not be solved (" + "; ".join(reasons) + ")", HINT)


def _unmasked(tracks: Tracks, masks: MotionSource) -> Tracks:
    """Without the observations on, or close to, what moves."""
    keep = np.ones(len(tracks.frame), bool)
    side = 2 * MASK_MARGIN_PX + 1
    for frame in tracks.frames:
        grown = cv2.dilate((masks.read(frame) > 0).astype(np.uint8), np.ones((side, side), np.uint8))
        mine = slice(*np.searchsorted(tracks.frame, [frame, frame + 1]))
        x, y = tracks.xy[mine].astype(int).T
        keep[mine] = grown[np.clip(y, 0, grown.shape[0] - 1), np.clip(x, 0, grown.shape[1] - 1)] == 0
    return replace(tracks, frame=tracks.frame[keep], track=tracks.track[keep], xy=tracks.xy[keep])


def _request(shot: ShotToSolve, tracks: Tracks, keys: Sequence[int], folder: Path, source: str) -> dict[str, object]:
    folder.mkdir(parents=True, exist_ok=True)
    if source == "klt":
        index = np.searchsorted(shot.frames, tracks.frame)
        np.savez(folder / "tracks.npz", frame=index, track=tracks.track, xy=tracks.xy)
    else:
        (folder / "images").mkdir(exist_ok=True)
        for i, number in enumerate(shot.frames):
            picture = shot.clip.display(number, shot.wh)
            cv2.imwrite(str(folder / "images" / f"{i:06d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return {
        "out": str(folder),
        "wh": shot.wh,
        "frames": len(shot.frames),
        "keyframes": list(keys),
        "focal_px": shot.focal_px,
        "focal_guesses_px": [ratio * max(shot.wh) for ratio in FOCAL_GUESSES],
        "seed": shot.seed,
        "tracks": str(folder / "tracks.npz") if source == "klt" else None,
        "images": None if source == "klt" else str(folder / "images"),
    }


def _run_worker(folder: Path, request: dict[str, object]) -> dict:
    """The result of a worker process; one that crashes counts as one that found nothing, and says why."""
    (folder / "request.json").write_text(json.dumps(request))
    (folder / "result.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "geometry.reconstruct.colmap_worker", str((folder / "request.json").resolve())]
    # Its matrices are small: threads of the linear algebra would only wait for each other.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with open(folder / "worker.log", "w") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, env=environment, check=False).returncode
    if code != 0 or not (folder / "result.json").exists():
        lines = (folder / "worker.log").read_text().strip().splitlines()
        return {"solved": False, "attempts": [f"the worker ended with code {code}: {lines[-1] if lines else ''}"]}
    return json.loads((folder / "result.json").read_text())


def gate_reason(result: dict, frames: int, side_px: int, gate: Gate) -> str | None:
    """Why a result is not believed, or None."""
    if not result["solved"]:
        return "no model (" + ", ".join(result["attempts"]) + ")"
    ratio = result["focal_px"] / side_px
    registered = result["registered"] >= gate.min_registered * frames or result["longest"] >= gate.min_range * frames
    checks = (
        (registered, f"{result['registered']} of {frames} frames, {result['longest']} without a gap"),
        (gate.focal_ratio[0] <= ratio <= gate.focal_ratio[1], f"focal length {ratio:.2f} x picture size"),
        (abs(result["distortion"][0]) < gate.max_k1, f"distortion k1 = {result['distortion'][0]:.2f}"),
        (result["reprojection_px"] < gate.max_reprojection_px, f"reprojection {result['reprojection_px']:.2f} px"),
        (result["median_triangulation_deg"] > gate.min_triangulation_deg,
         f"triangulation angle {result['median_triangulation_deg']:.2f} degrees"),
        (result["points"] >= gate.min_points, f"{result['points']} points"),
        (result["depth_spread"] >= gate.min_depth_spread, "all points at one distance: the camera only turned"),
    )
    failed = [text for good, text in checks if not good]
    return ", ".join(failed) or None


def _read(shot: ShotToSolve, folder: Path, result: dict, source: str) -> CameraSolve:
    numbers = np.array(shot.frames)
    with np.load(folder / "cameras.npz") as data:
        index, poses = data["index"], data["camera_from_world"]
    with np.load(folder / "points.npz") as data:
        points = SparsePoints(data["xyz"], data["error_px"], data["track_length"])
        views = PointViews(numbers[data["obs_index"]], data["obs_point"], data["obs_xy"])
    focal, (w, h) = result["focal_px"], shot.wh
    lens = Camera(focal, focal, w / 2, h / 2, shot.wh, tuple(result["distortion"]))
    solved = tuple(int(n) for n in numbers[index])
    path = CameraPath(solved, (lens,) * len(solved), poses)
    ground = find_ground(path, points.xyz, seed=shot.seed)
    ground, by_lines = _upright(shot, path, ground)
    upright = world_y_up(ground)
    plane = None if ground.plane is None else Plane(upright[:3, :3] @ ground.plane.normal, ground.plane.offset)
    placed = replace(points, xyz=rigid.transform(upright, points.xyz), seen=_first_and_last(views, len(points.xyz)))
    missing = tuple(sorted(set(shot.frames) - set(solved)))
    return CameraSolve(
        path.in_world(upright), placed, views, plane, shot.shot, missing, result["reprojection_px"],
        result["median_triangulation_deg"], f"{source} {result['method']}", tuple(result["attempts"]), True,
        by_lines or plane is not None, folder / "model", _advice(missing, shot),
    )


def _upright(shot: ShotToSolve, path: CameraPath, ground: Ground) -> tuple[Ground, bool]:
    """Without a floor, up is as upright edges have it, where there are any; also whether there are.

    A floor's many points know better: lines that recede over it look upright too.
    """
    if ground.plane is not None:
        return ground, False
    index = np.unique(np.linspace(0, len(path) - 1, LINE_FRAMES).round().astype(int))
    greys = [cv2.cvtColor(shot.clip.display(path.frames[i], shot.wh), cv2.COLOR_RGB2GRAY) for i in index]
    lines = segments_of(greys, [path.cameras[i] for i in index], path.camera_from_world[index, :3, :3])
    up = direction_near(lines, path.cameras[0].fx, ground.up, NEARLY_LEVEL, seed=shot.seed)
    return (ground, False) if up is None else (replace(ground, up=up), True)


def _advice(missing: tuple[int, ...], shot: ShotToSolve) -> str:
    unused = "" if shot.horizon is None else "the given horizon is not used: a camera that travels shows its own; "
    return (unused + _about_missing(missing, shot)).rstrip("; ")


def _about_missing(missing: tuple[int, ...], shot: ShotToSolve) -> str:
    if not missing:
        return ""
    start, end = (missing[0], missing[-1])
    blurred = [frame for frame in shot.look.blurred if start <= frame <= end]
    why = f"frames {blurred[0]}-{blurred[-1]} are blurred; " if blurred else ""
    return (f"{len(missing)} of {len(shot.frames)} frames have no camera ({start} to {end}): {why}"
            "give the focal length, mask what moves, or solve that part as a clip of its own")


def _first_and_last(views: PointViews, count: int) -> Array:
    """(N, 2) first and last source frame that saw each point."""
    first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(first, views.point, views.frame)
    np.maximum.at(last, views.point, views.frame)
    return np.stack([first, last], -1)

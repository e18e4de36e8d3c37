"""Stages: the cameras of a clip, solved or imported."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from geometry import rigid
from geometry.reconstruct.cameras import solve
from geometry.reconstruct.cameras.solution import CameraSolve
from geometry.reconstruct.cameras.tracks import track_clip, working_wh
from geometry.reconstruct.errors import ReconstructError
from geometry.reconstruct.ground import find_ground, world_y_up
from geometry.reconstruct.triangulate import triangulate
from geometry.scene import Plane, SparsePoints
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest, Unsolvable
from services.export.cameras import cameras_of_clip, is_level, is_metric
from services.media.clip import ClipReader
from services.pipelines.context import Report
from services.pipelines.scene_folder import save_cameras

FILM_BACK_MM = 36.0
MOST_POINTS = 3000
FEWEST = 3  # frames that show parallax
NEARLY_LEVEL = np.deg2rad(3.0)  # a floor by which a given world may be out of true
MOST_ERROR_PX = 2.0  # of a point that is believed under somebody else's cameras


@dataclass(frozen=True)
class SolveConfig:
    frames: tuple[int, int]  # first and last
    focal_mm: float | None
    seed: int
    kind: Literal["", "parallax", "pan", "locked"] = ""  # "" = as the analysis says
    horizon: tuple[float, float, float, float] | None = None  # two points of the displayed picture, x0 y0 x1 y1


@dataclass(frozen=True)
class ImportConfig:
    frames: tuple[int, int]


def solve_cameras(*, out: Path, config: SolveConfig, report: Report, clip: ClipReader) -> None:
    """Writes ``cameras.json`` and ``points.npz``; with parallax also ``colmap/``."""
    wh = working_wh(clip.hw)
    focal_px = None if config.focal_mm is None else config.focal_mm / FILM_BACK_MM * wh[0]
    workdir = out / "work"
    try:
        solved = solve.solve_cameras(
            clip, frames=None, focal_px=focal_px, seed=config.seed, workdir=workdir, report=report, kind=config.kind,
            horizon=config.horizon,
        )
    except ReconstructError as error:
        raise Unsolvable(f"clip: {error.message}", error.hint) from error
    source_wh = clip.hw[1], clip.hw[0]
    save_cameras(out, solved.cameras, solved.points, source_wh, solved.ground, _info(solved, len(clip.numbers)))
    if solved.model_folder is not None:
        shutil.move(solved.model_folder, out / "colmap")
    shutil.rmtree(workdir, ignore_errors=True)  # a solve without COLMAP leaves none


def _info(solved: CameraSolve, frames: int) -> dict[str, Any]:
    return {
        "kind": solved.shot.kind, "method": solved.method, "attempts": list(solved.attempts),
        "registered": len(solved.cameras), "frames": frames, "unregistered": list(solved.unregistered),
        "reprojection_px": solved.reprojection_px, "median_triangulation_deg": solved.median_triangulation_deg,
        "points": len(solved.points.xyz), "shot": asdict(solved.shot), "focal_known": solved.focal_known,
        "horizon_known": solved.horizon_known, "depth_is_a_guess": solved.depth_is_a_guess, "advice": solved.advice,
    }


def imported_cameras(*, out: Path, config: ImportConfig, report: Report, clip: ClipReader, file: str) -> None:
    """Writes ``cameras.json`` and an empty ``points.npz`` from somebody else's solve."""
    source_wh = clip.hw[1], clip.hw[0]
    path = cameras_of_clip(file, wh=source_wh, rate=clip.rate, numbers=clip.numbers)
    if len(path) < FEWEST:
        raise InvalidRequest("scene.cameras_file", f"cameras for {FEWEST} frames of the clip", len(path))
    cameras = path.scaled(working_wh(clip.hw))
    points = _points(clip, cameras, report)
    cameras, points, ground = _on_its_ground(cameras, points, level=is_level(file))
    info = {"kind": "imported", "method": Path(file).name, "registered": len(path), "frames": len(clip.numbers),
            "unregistered": sorted(set(clip.numbers) - set(path.frames)), "points": len(points.xyz),
            "reprojection_px": float(np.median(points.error_px)) if len(points.xyz) else None}
    save_cameras(out, cameras, points, source_wh, ground, info, scale_known=is_metric(file))


def _on_its_ground(
    cameras: CameraPath, points: SparsePoints, *, level: bool
) -> tuple[CameraPath, SparsePoints, Plane | None]:
    """With the floor that the points show, if any. A world that is not ``level`` is turned until up is +Y."""
    ground = find_ground(cameras, points.xyz)
    if not level:
        upright = world_y_up(ground)
        cameras, points = cameras.in_world(upright), replace(points, xyz=rigid.transform(upright, points.xyz))
        ground = find_ground(cameras, points.xyz)
    plane = ground.plane
    believed = plane is not None and plane.normal[1] > np.cos(NEARLY_LEVEL)
    return cameras, points, plane if believed else None


def _points(clip: ClipReader, cameras: CameraPath, report: Report) -> SparsePoints:
    """What can be tracked and agrees with the given cameras."""
    tracks = track_clip(clip, frames=cameras.frames, progress=report)
    longest = np.argsort(-tracks.lengths(), kind="stable")[:MOST_POINTS]
    tracks = tracks.keep(np.isin(np.arange(len(tracks.lengths())), longest))
    ids, column = np.unique(tracks.track, return_inverse=True)
    grid = np.full((len(cameras), len(ids), 2), np.nan)
    grid[np.searchsorted(cameras.frames, tracks.frame), column] = tracks.xy
    found = triangulate(cameras, grid)
    good = found.error_px < MOST_ERROR_PX
    visible, numbers = np.isfinite(grid[..., 0]), np.array(cameras.frames)
    seen = np.stack([numbers[visible.argmax(0)], numbers[::-1][visible[::-1].argmax(0)]], -1)
    return SparsePoints(found.points[good], found.error_px[good], visible.sum(0)[good], seen[good])

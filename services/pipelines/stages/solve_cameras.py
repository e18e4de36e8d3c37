"""Stages: the cameras of a clip, solved or imported."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from geometry.reconstruct import solve
from geometry.reconstruct.errors import ReconstructError
from geometry.reconstruct.tracks import track_clip, working_wh
from geometry.reconstruct.triangulate import triangulate
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest, Unsolvable
from services.export.cameras import import_cameras
from services.media.clip import ClipReader
from services.pipelines.context import Report
from services.pipelines.scene_folder import save_cameras

FILM_BACK_MM = 36.0
MOST_POINTS = 3000
MOST_ERROR_PX = 2.0  # of a point that is believed under somebody else's cameras


@dataclass(frozen=True)
class SolveConfig:
    frames: tuple[int, int]  # first and last
    focal_mm: float | None
    seed: int


@dataclass(frozen=True)
class ImportConfig:
    frames: tuple[int, int]


def solve_cameras(*, out: Path, config: SolveConfig, report: Report, clip: ClipReader) -> None:
    """Writes ``cameras.json``, ``points.npz`` and ``colmap/``."""
    wh = working_wh(clip.hw)
    focal_px = None if config.focal_mm is None else config.focal_mm / FILM_BACK_MM * wh[0]
    workdir = out / "work"
    try:
        solved = solve.solve_cameras(
            clip, frames=None, focal_px=focal_px, seed=config.seed, workdir=workdir, report=report
        )
    except ReconstructError as error:
        raise Unsolvable(f"clip: {error.message}", error.hint) from error
    info = {
        "kind": solved.shot.kind, "method": solved.method, "attempts": list(solved.attempts),
        "registered": len(solved.cameras), "frames": len(clip.numbers), "unregistered": list(solved.unregistered),
        "reprojection_px": solved.reprojection_px, "median_triangulation_deg": solved.median_triangulation_deg,
        "points": len(solved.points.xyz), "shot": asdict(solved.shot),
    }
    source_wh = clip.hw[1], clip.hw[0]
    save_cameras(out, solved.cameras, solved.points, source_wh, solved.ground, info)
    shutil.move(solved.model_folder, out / "colmap")
    shutil.rmtree(workdir)


def imported_cameras(*, out: Path, config: ImportConfig, report: Report, clip: ClipReader, file: str) -> None:
    """Writes ``cameras.json`` and an empty ``points.npz`` from somebody else's solve."""
    source_wh = clip.hw[1], clip.hw[0]
    path = import_cameras(Path(file), wh=source_wh, rate=clip.rate)
    common = [number for number in clip.numbers if number in path]
    if len(common) < 3:
        raise InvalidRequest(
            "scene.cameras_file", f"cameras for frames {clip.numbers[0]}-{clip.numbers[-1]}",
            f"frames {path.frames[0]}-{path.frames[-1]}",
        )
    cameras = path.select(common).scaled(working_wh(clip.hw))
    points = _points(clip, cameras, report)
    info = {"kind": "imported", "method": Path(file).name, "registered": len(common), "frames": len(clip.numbers),
            "unregistered": sorted(set(clip.numbers) - set(common)), "points": len(points.xyz),
            "reprojection_px": float(np.median(points.error_px)) if len(points.xyz) else None}
    save_cameras(out, cameras, points, source_wh, None, info, scale_known=_in_metres(Path(file)))


def _in_metres(file: Path) -> bool:
    """USD says how long its units are; a ``cameras.json`` of ours says whether it knows."""
    if file.suffix.lower() in (".usd", ".usda", ".usdc", ".usdz"):
        return True
    if file.suffix.lower() != ".json":
        return False
    return bool(json.loads(file.read_text()).get("scene", {}).get("scale_known", False))


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

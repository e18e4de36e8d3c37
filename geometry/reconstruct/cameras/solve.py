"""Cameras of any clip: a look, tracks, the kind of shot, and the solver for that kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from geometry.reconstruct.cameras.locked import solve_locked
from geometry.reconstruct.cameras.look import look_at
from geometry.reconstruct.cameras.pan import solve_pan
from geometry.reconstruct.cameras.parallax import solve_parallax
from geometry.reconstruct.cameras.shot import Kind, ShotAnalysis, analyse_shot, analyse_still
from geometry.reconstruct.cameras.solution import CameraSolve, Gate, Horizon, Report, ShotToSolve, Solver
from geometry.reconstruct.cameras.tracks import TrackSettings, track_clip, working_wh
from geometry.reconstruct.errors import TooFewFrames
from geometry.scene import FrameSource, MotionSource

__all__ = ["SOLVERS", "CameraSolve", "Gate", "solve_cameras"]

SOLVERS: dict[Kind, Solver] = {"parallax": solve_parallax, "pan": solve_pan, "locked": solve_locked}
MIN_FRAMES: dict[Kind, int] = {"parallax": 5, "pan": 2, "locked": 1}
MOST_OBSERVATIONS = 1_000_000  # of a long clip: fewer points then, so that memory does not grow with its length


def solve_cameras(
    clip: FrameSource,
    *,
    frames: Sequence[int] | None,
    focal_px: float | None,
    seed: int,
    workdir: Path,
    report: Report,
    gate: Gate | None = None,
    kind: Literal["", "parallax", "pan", "locked"] = "",
    horizon: Horizon | None = None,
    masks: MotionSource | None = None,
) -> CameraSolve:
    """Solve the cameras of ``frames`` (all when None).

    ``focal_px`` on the working raster is held fixed when given. ``kind`` overrides what the analysis says; a solve with
    parallax must still pass the gate. ``horizon`` are two points (x0, y0, x1, y1) of the displayed picture on the
    horizon in the first frame; it serves shots without parallax. ``masks`` say what moves.

    Raises ``TooFewFrames``, ``TooFewFeatures``, ``SizeChanged``, ``HasCuts`` or ``SolveFailed``, each with a hint.
    """
    numbers = tuple(clip.numbers if frames is None else frames)
    _refuse_short(numbers, kind)
    wh = working_wh(clip.hw)
    look = look_at(clip, numbers, wh)
    look.refuse_cuts()
    report(15, 100)
    still = analyse_still(look)
    tracks = None
    if (kind or (still and still.kind)) != "locked":
        settings = TrackSettings(points=max(400, min(TrackSettings.points, MOST_OBSERVATIONS // len(numbers))))
        tracks = track_clip(clip, frames=numbers, settings=settings,
                            progress=lambda done, total: report(15 + 45 * done // total, 100))
    shot = still if still or tracks is None else analyse_shot(tracks, look)
    solve_as: Kind = kind or (shot.kind if shot else "locked")
    if shot is None:
        shot = ShotAnalysis("locked", look.motion_px, look.motion_px, None, 0.0, look.moving_share)
    scale = wh[0] / clip.hw[1], wh[1] / clip.hw[0]
    on_raster = None if horizon is None else (
        horizon[0] * scale[0], horizon[1] * scale[1], horizon[2] * scale[0], horizon[3] * scale[1])
    return SOLVERS[solve_as](ShotToSolve(
        clip, numbers, wh, look, tracks, replace(shot, kind=solve_as), focal_px, on_raster, masks, seed, workdir,
        gate or Gate(), report,
    ))


def _refuse_short(numbers: tuple[int, ...], kind: Literal["", "parallax", "pan", "locked"]) -> None:
    if kind and kind not in get_args(Kind):
        raise ValueError(f"kind: expected one of {', '.join(get_args(Kind))}, got {kind!r}")
    least = MIN_FRAMES[kind or "parallax"]
    if len(numbers) < least:
        raise TooFewFrames(
            f"the clip has {len(numbers)} frame(s)",
            f"At least {least} are needed, better 20; a still can be solved as a locked-off shot",
        )

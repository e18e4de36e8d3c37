"""Stage: what moves by itself, frame by frame: its masks, its depth, and its motion where it is stiff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from geometry.reconstruct.motion.masks import BadClick, Click, MotionFolder, find_motion
from geometry.reconstruct.motion.movers import measure_movers, write_movers
from geometry.reconstruct.motion.still_world import Kind
from geometry.scene import Scene4D
from models import registry
from models.checkpoints import Checkpoint
from models.runtime import Runtime, RuntimeSettings
from services.errors import InvalidRequest
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Report
from services.pipelines.learned import service_errors
from services.pipelines.scene_folder import MOTION, MOVERS
from services.pipelines.stages.clicked_movers import follow_clicks

SETTING = "reconstruct.segmentation_backend"


@dataclass(frozen=True)
class MoversConfig:
    frames: tuple[int, int]  # first and last
    kind: Kind
    clicks: tuple[Click, ...]  # of the user: pixels of the displayed picture that show a mover
    seed: int
    runtime: RuntimeSettings | None = None  # of the learned tracker that follows the clicks; None = embedded


def track_movers(
    *, out: Path, config: MoversConfig, report: Report, clip: ClipReader, scene: Scene4D,
    checkpoint: Checkpoint | None, **_: Artifact,
) -> None:
    """Writes ``motion/%04d.png``, one for every frame of the clip, and ``movers.json``; depth is in scene units.

    ``scene`` has the depth of what stands still. A ``checkpoint``, whose digest must be among the stage's inputs,
    follows what was clicked at. Raises ``InvalidRequest`` for a click outside the clip.
    """
    folder = MotionFolder(out / MOTION)
    try:
        find_motion(
            clip, scene.cameras, kind=config.kind, depth=scene.depth, seed=config.seed, folder=folder,
            workdir=out / "work", report=lambda done, total: report(2 * done, 3 * total),
            clicks=() if checkpoint else config.clicks, points=scene.points,
        )
    except BadClick as error:
        raise InvalidRequest("scene.movers", "pixels of frames whose camera is known", str(error)) from error
    if checkpoint and config.runtime:
        with service_errors(SETTING):
            model = registry.load(checkpoint, Runtime.open(config.runtime))
            follow_clicks(folder, model, clip, scene.working_wh, config.clicks)
    seen = replace(scene, motion=folder)
    movers = measure_movers(
        clip, seen, seed=config.seed, report=lambda done, total: report(2 * total + done, 3 * total)
    )
    write_movers(out / MOVERS, movers)

"""Stage: dense depth of every frame that has a camera, by a learned model, made to agree with the scene's points."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath
from models import registry
from models.base import DepthPrediction
from models.checkpoints import Checkpoint
from models.depth import align
from models.errors import AlignmentFailed
from models.runtime import Runtime, RuntimeSettings
from services.errors import Unsolvable
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Report
from services.pipelines.learned import service_errors
from services.pipelines.scene_folder import load_cameras

SETTING = "reconstruct.depth_backend"


@dataclass(frozen=True)
class LearnedDepthConfig:
    runtime: RuntimeSettings
    seed: int


def learned_depth(
    *, out: Path, config: LearnedDepthConfig, report: Report, clip: ClipReader, cameras: Artifact,
    checkpoint: Checkpoint,
) -> None:
    """Writes one depth map per frame, see ``DepthFolder``. ``checkpoint.digest`` must be among the stage's inputs."""
    path, points = load_cameras(cameras)
    work = out / "work"
    work.mkdir()
    total = 2 * len(path)
    fits: dict[int, align.Alignment] = {}
    with service_errors(SETTING):
        model = registry.load(checkpoint, Runtime.open(config.runtime))
        for done, frame in enumerate(path.frames):
            prediction = model.predict(clip.display(frame, path.camera(frame).wh))
            _write(work / f"{frame:06d}.npz", prediction)
            try:
                fits[frame] = align.fit(prediction, _seen(path, points, frame), seed=(config.seed, frame))
            except AlignmentFailed as error:
                reason = error
            report(done + 1, total)
        if not fits:
            raise Unsolvable(f"scene: no frame's learned depth could be aligned. {reason.message}",
                             f"Set {SETTING}: embedded, or use another checkpoint")
    folder = DepthFolder(out)
    for done, frame in enumerate(path.frames):
        seen = _seen(path, points, frame)
        folder.write(frame, align.apply(_read(work / f"{frame:06d}.npz"), _nearest(fits, frame), seen))
        report(len(path) + done + 1, total)
    shutil.rmtree(work)


def _seen(path: CameraPath, points: SparsePoints, frame: int) -> align.SeenPoints:
    return align.seen_points(path.camera(frame), path.pose(frame), points, frame)


def _nearest(fits: Mapping[int, align.Alignment], frame: int) -> align.Alignment:
    """A frame that sees too few points takes the alignment of the nearest one that could be aligned."""
    return fits[min(fits, key=lambda other: (abs(other - frame), other))]


def _write(path: Path, prediction: DepthPrediction) -> None:
    np.savez(path, inverse_depth=prediction.inverse_depth.astype(np.float32), metric=prediction.metric)


def _read(path: Path) -> DepthPrediction:
    with np.load(path) as data:
        return DepthPrediction(data["inverse_depth"], bool(data["metric"]))

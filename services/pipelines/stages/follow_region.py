"""Stage: masks of a region that one frame shows, in every frame: by geometry, or by a learned tracker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from geometry.region import cut_out, evidence_of_movers, evidence_of_place, movers_in
from geometry.scene import Scene4D
from models import registry
from models.base import Prompt
from models.checkpoints import Checkpoint
from models.runtime import Runtime, RuntimeSettings
from services.media import images
from services.media.clip import ClipReader
from services.pipelines.context import Artifact, Report
from services.pipelines.learned import service_errors
from services.pipelines.stages.track_movers import SETTING
from services.pipelines.steadied import steadied_visibility

Array = np.ndarray
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FollowConfig:
    frames: tuple[int, int]  # first and last
    shown: int  # the frame that shows the region
    box: Box | None  # px of the displayed picture; None = a painted mask, whose digest is among the inputs
    seed: int


def follow_region(
    *, out: Path, config: FollowConfig, report: Report, clip: ClipReader, scene: Scene4D, mask: Array | None,
    **_: Artifact,
) -> None:
    """Writes ``masks/%04d.png`` for every frame of ``clip``; ``mask`` (H, W) float32 is painted, on its raster."""
    region = _region(config, clip, scene, mask)
    movers = () if scene.motion is None else movers_in(region, scene.motion.read(config.shown))
    judge = (partial(evidence_of_movers, scene, movers) if movers
             else partial(evidence_of_place, scene, region, config.shown))
    outside = steadied_visibility(
        clip, scene, clip.numbers, lambda number: judge(number) if number in scene.cameras else None
    )
    for done, (number, visible) in enumerate(zip(clip.numbers, outside, strict=True)):
        # What was painted stands.
        inside = mask if number == config.shown and mask is not None else 1 - visible
        images.write_mask(out / "masks" / f"{number:04d}.png", inside)
        report(done + 1, len(clip.numbers), shown_over(clip.display(number), inside))


def _region(config: FollowConfig, clip: ClipReader, scene: Scene4D, mask: Array | None) -> Array:
    """On the working raster."""
    w, h = scene.working_wh
    if mask is not None:
        return cv2.resize(mask, (w, h), interpolation=cv2.INTER_AREA)
    assert config.box is not None
    ratio = np.tile(np.array([w, h]) / scene.source_wh, 2)
    x0, y0, x1, y1 = (float(v) for v in np.array(config.box) * ratio)
    return cut_out(clip.display(config.shown, (w, h)), (x0, y0, x1, y1), config.seed)


@dataclass(frozen=True)
class LearnedFollowConfig:
    follow: FollowConfig
    runtime: RuntimeSettings


def learned_follow(
    *, out: Path, config: LearnedFollowConfig, report: Report, clip: ClipReader, checkpoint: Checkpoint,
    mask: Array | None, **_: Artifact,
) -> None:
    """The same by a ``VideoSegmenter``. ``checkpoint.digest`` must be among the stage's inputs."""
    prompt = Prompt(box=config.follow.box) if mask is None else Prompt(mask=mask)
    with service_errors(SETTING):
        model = registry.load(checkpoint, Runtime.open(config.runtime))
        frames = model.track(clip, config.follow.shown, [prompt], (clip.hw[1], clip.hw[0]))
        for done, frame in enumerate(frames):
            inside = frame.masks[0] * (frame.presence[0] > 0.5)
            images.write_mask(out / "masks" / f"{frame.frame:04d}.png", inside)
            report(done + 1, len(clip.numbers), shown_over(clip.display(frame.frame), inside))


def shown_over(picture: Array, mask: Array) -> Array:
    """(h, w, 3) uint8 preview: what is outside the mask turns dark."""
    light = (0.25 + 0.75 * mask)[..., None]
    return (picture * light).astype(np.uint8)

"""Stage: guides of some frames as files.

``guides/depth/%04d.exr`` (Z), ``normal/`` (8 bits, world axes, 0 = -1 and 255 = 1, black where there is nothing),
``edges/`` and ``softedge/`` (8 bits, white on black), ``ids/`` (16 bits, 0 = nothing), ``flow/`` (.exr: X, Y in px to
the next frame, and ``visible``; the last frame has none).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from geometry.guides import GuideSource
from geometry.trajectory import CameraPath
from services.media import exr, images
from services.pipelines.context import Report

Array = np.ndarray
GUIDES = "guides"


@dataclass(frozen=True)
class GuidesConfig:
    frames: tuple[int, ...]
    cameras: CameraPath  # of the frames, and of the one behind the last, where there is one


def render_guides(*, out: Path, config: GuidesConfig, report: Report, source: GuideSource) -> None:
    """See above. ``source`` must be that of ``config.cameras`` and of the scene among the stage's inputs."""
    known = config.cameras.frames
    after = dict(pairwise(known))
    workers = min(os.cpu_count() or 1, len(config.frames))
    run = -(-len(config.frames) // workers)  # frames that a worker has to itself: the next one is looked at once only
    order = [frame for start in range(run) for frame in config.frames[start::run]]
    with ThreadPoolExecutor(workers) as pool:
        drawn = pool.map(lambda frame: _draw(out / GUIDES, source, frame, after.get(frame)), order)
        for done, picture in enumerate(drawn):
            report(done + 1, len(config.frames), preview=picture)


def _draw(out: Path, source: GuideSource, frame: int, following: int | None) -> Array:
    guides = source.guides(frame)
    seen, name = guides.gbuffer, f"{frame:04d}"
    exr.write_measured(out / "depth" / f"{name}.exr", {"Z": seen.depth})
    images.write_picture(out / "normal" / f"{name}.png", normals_shown(seen.normal, seen.object_id > 0))
    images.write_mask(out / "edges" / f"{name}.png", guides.lines.drawing)
    soft: Array = np.rint(guides.soft_edges * 255).astype(np.uint8)
    images.write_picture(out / "softedge" / f"{name}.png", soft)
    images.write_picture(out / "ids" / f"{name}.png", seen.object_id.astype(np.uint16))
    if following is not None:
        flow = source.flow(frame, following)
        channels = {"X": flow.dx_dy[..., 0], "Y": flow.dx_dy[..., 1], "visible": flow.visible.astype(np.float16)}
        exr.write_measured(out / "flow" / f"{name}.exr", channels)
    return np.repeat(soft[..., None], 3, 2)


def normals_shown(normal: Array, there: Array) -> Array:
    """(H, W, 3) uint8."""
    shown: Array = cv2.convertScaleAbs(normal, alpha=127.5, beta=127.5)  # rounds, and clips to 255
    shown[~there] = 0
    return shown

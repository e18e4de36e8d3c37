"""Stage: a quick look at every frame of a blockout, small, for what is wrong with the shot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from geometry.guides import GuideSource
from geometry.sight import Sight
from geometry.trajectory import CameraPath
from services.pipelines.blockout_shot import Shot
from services.pipelines.context import Artifact, Report

SIDE_PX = 128
FILE = "survey.json"


@dataclass(frozen=True)
class SurveyConfig:
    cameras: CameraPath


@dataclass(frozen=True)
class Survey:
    """``seen``: in how many frames each object is, by name; ``inside``: the frames in which the inner side of a closed
    one is; ``empty``: those in which nothing is."""

    seen: dict[str, int]
    inside: dict[str, list[int]]
    empty: list[int]
    is_still: bool  # every frame is the same picture


def survey_shot(*, out: Path, config: SurveyConfig, report: Report, shot: Shot) -> None:
    w, h = shot.wh
    scale = min(1.0, SIDE_PX / max(w, h))
    cameras = config.cameras.scaled((max(1, round(w * scale)), max(1, round(h * scale))))
    source = GuideSource(shot.blockout.instances, cameras, keep=2)
    found = Survey({}, {}, [], is_still=True)
    before: Sight | None = None
    for done, frame in enumerate(cameras.frames):
        sight = source.sight(frame)
        ids = np.append(sight.surface.topology.object_id, 0)[np.unique(sight.face)]
        for name in dict.fromkeys(shot.blockout.names[i - 1] for i in ids if i > 0):
            found.seen[name] = found.seen.get(name, 0) + 1
        for i in sight.seen_from_inside():
            found.inside.setdefault(shot.blockout.names[i - 1], []).append(frame)
        if not ids.any():
            found.empty.append(frame)
        if before is not None and not _same(before, sight):
            found = Survey(found.seen, found.inside, found.empty, is_still=False)
        before = sight
        report(done + 1, len(cameras))
    (out / FILE).write_text(json.dumps(asdict(found), indent=1))


def load_survey(artifact: Artifact) -> Survey:
    return Survey(**json.loads((artifact.path / FILE).read_text()))


def _same(a: Sight, b: Sight) -> bool:
    return (
        a.camera == b.camera
        and np.array_equal(a.camera_from_world, b.camera_from_world)
        and np.array_equal(a.surface.vertices, b.surface.vertices)
    )

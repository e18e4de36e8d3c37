"""Stage: a quick look at every frame of a blockout, small, for what is wrong with the shot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from geometry.guides import GuideSource
from geometry.sight import Sight
from geometry.sight_kernels import NOTHING
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.pipelines.blockout_shot import Shot
from services.pipelines.context import Artifact, Report

SIDE_PX = 128
INSIDE = 0.01  # of the picture
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
        sight = _seen(source, frame)
        ids = np.append(sight.surface.topology.object_id, 0)[np.unique(sight.face)]
        for name in dict.fromkeys(shot.blockout.names[i - 1] for i in ids if i > 0):
            found.seen[name] = found.seen.get(name, 0) + 1
        for i in _inside(sight):
            found.inside.setdefault(shot.blockout.names[i - 1], []).append(frame)
        if not ids.any():
            found.empty.append(frame)
        if before is not None and not _same(before, sight):
            found = Survey(found.seen, found.inside, found.empty, is_still=False)
        before = sight
        report(done + 1, len(cameras))
    (out / FILE).write_text(json.dumps(asdict(found), indent=1))


def _seen(source: GuideSource, frame: int) -> Sight:
    """The first look at a frame, which shows whether it can be posed at all."""
    try:
        return source.sight(frame)
    except ValueError as error:
        raise InvalidRequest("shot.scene", "one that can be posed at every frame", f"{error}, at {frame}") from error


def _inside(sight: Sight) -> list[int]:
    """Ids of closed objects whose inner side fills more than a stray pixel on an edge."""
    seen = sight.face[sight.face != NOTHING]
    inner = sight.surface.topology.object_id[seen[sight.from_behind[seen]]]
    return [i for i in sight.seen_from_inside() if np.count_nonzero(inner == i) > INSIDE * sight.face.size]


def load_survey(artifact: Artifact) -> Survey:
    return Survey(**json.loads((artifact.path / FILE).read_text()))


def _same(a: Sight, b: Sight) -> bool:
    return (
        a.camera == b.camera
        and np.array_equal(a.camera_from_world, b.camera_from_world)
        and np.array_equal(a.surface.vertices, b.surface.vertices)
    )

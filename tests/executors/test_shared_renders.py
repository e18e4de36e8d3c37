"""Real jobs of several chunks: two workers deliver the pictures that one does, byte by byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from examples.film_sets import write_blockout
from examples.small_scene import camera_path, make_scene
from examples.truth import place_hero, render_truth
from services.config import Config, RayConfig, RenderSettings, ServerConfig, StoreConfig
from services.executors.base import Executor, Task
from services.executors.local import LocalExecutor
from services.pipelines.requests import (
    Clip,
    GuidesRequest,
    InsertedObject,
    InsertRequest,
    Lighting,
    Matching,
    PrevisShot,
    SceneOptions,
)
from tests.pipelines.previs_shots import yard

PICTURES = (".png", ".exr")  # encoded videos and the order of a fused mesh's vertices may differ


@dataclass(frozen=True)
class Shared:
    """A job, the stage that is shared, and the folder in which it leaves ``frames`` pictures."""

    kind: str
    request: Any
    stage: str
    pictures: str
    frames: int


def _guides(folder: Path) -> Shared:
    """Four chunks of 24 frames."""
    scene = write_blockout(yard(96), folder / "yard.glb")
    shot = PrevisShot(str(scene), width_px=384, height_px=256)
    return Shared("guides", GuidesRequest(shot), "guides", "guides/softedge/", 96)


def _insertion(folder: Path) -> Shared:
    """One frame, a halo, the rest."""
    path = camera_path("arc", 8, (320, 184))
    hero = place_hero(path, frame=0)
    render_truth(make_scene(), path, path.frames, folder, with_object=hero, spp=16, seed=3)
    robot = InsertedObject(str(folder / "hero.glb"), hero.at_px, 0, height_px=hero.height_px)
    request = InsertRequest(
        Clip(str(folder / "plate")), (robot,), SceneOptions(cameras_file=str(folder / "cameras.json")),
        Lighting(str(folder / "sky.exr")), Matching(motion_blur=False), seed=3,
    )
    return Shared("insert", request, "render", "composite/", 8)


@pytest.fixture(scope="module", params=[_guides, _insertion])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    make: Callable[[Path], Shared] = request.param
    return make(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    server, store = ServerConfig(slots=2, cancel_grace_s=1.0), StoreConfig(str(tmp_path / "store"), 10**9)
    return Config(server, RayConfig(cpus=0.5), store, render=RenderSettings(spp=16))


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_two_workers_render_what_one_does(
    executor: Executor, config: Config, shared: Shared, tmp_path: Path
) -> None:
    """Both begin together: a helper that is called later may find that such small jobs are done."""
    together: list[dict[str, Any]] = []
    alone: list[dict[str, Any]] = []
    job = Task("jobs/1", shared.kind, shared.request)
    helper = replace(job, job="jobs/1-helper1", helper=1)
    await asyncio.gather(executor.run(job, together.append), executor.run(helper, lambda message: None))
    other = replace(config, store=StoreConfig(str(tmp_path / "other"), 10**9))
    await LocalExecutor(other, tmp_path / "alone", tmp_path / "logs").run(
        Task("jobs/2", shared.kind, shared.request), alone.append
    )
    assert _delivered(together) == _delivered(alone)
    assert sum(path.startswith(shared.pictures) for path in _delivered(alone)) == shared.frames
    assert _made_by_others(tmp_path / "logs" / "jobs-2.log", shared.stage) == 0
    assert _made_by_others(tmp_path / "logs" / "jobs-1.log", shared.stage) > 0


def _delivered(messages: list[dict[str, Any]]) -> dict[str, str]:
    files = (file for message in messages if message["kind"] == "files" for file in message["files"])
    return {file["path"]: file["sha256"] for file in files if file["path"].endswith(PICTURES)}


def _made_by_others(log_file: Path, stage: str) -> int:
    """Chunks that lay in the store when the job itself came to them."""
    lines = [json.loads(line) for line in log_file.read_text().splitlines() if line.startswith("{")]
    return sum(line.get("message") == "stage is there" and line["stage"] == stage and line["hit"] for line in lines)

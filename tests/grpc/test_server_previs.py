"""Previs through the front door: the real pipelines behind a real server, by the client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import backlot
import pytest
from backlot import AnchorEdit, PrevisShot, PrevisStyle, StyleRegion

from services.config import Config
from services.server import running_server
from tests.pipelines.previs_shots import Studio, pictures, yard

WH = {"width_px": 96, "height_px": 64}


@pytest.fixture
def config(with_server: Callable[..., Config]) -> Config:
    return with_server(registry="services.executors.registry")


async def test_guides_anchors_and_the_whole(config: Config, notes: Path, tmp_path: Path) -> None:
    studio = Studio(notes, yard(4))
    shot, style = PrevisShot(studio.scene, **WH), PrevisStyle(studio.reference(1), aligned_frame=1)
    async with running_server(config) as address, backlot.AsyncClient(address, shares_files=True) as client:
        guides = await client.render_guides(shot)
        await guides.download(tmp_path / "guides")
        assert len(pictures(tmp_path / "guides" / "guides" / "softedge")) == 4
        with pytest.raises(backlot.NotFound, match="has made no anchors: it is a job of kind guides"):
            await guides.anchors()

        job = await client.render_previs(shot, style)
        await job.download(tmp_path / "one")
        anchors = await job.anchors()
        assert {anchor.path for anchor in anchors} == {f"anchors/{p}" for p in pictures(tmp_path / "one" / "anchors")}
        assert {(anchor.source, anchor.redo) for anchor in anchors} == {("painted", 0)}
        assert {1} <= {anchor.frame for anchor in anchors}

        lock = AnchorEdit(3, str(tmp_path / "one" / "anchors" / "0003.png"))
    async with running_server(config) as address, backlot.AsyncClient(address) as client:  # uploads
        job = await client.render_anchors(shot, style, anchors=(lock, AnchorEdit(2)), seed=4)
        stages = [event.stage async for event in job.watch()]
        assert set(stages) == {"", "survey", "choose anchors", "guides", "anchors", "finish", "report"}
        assert {(a.frame, a.source) for a in await job.anchors()} >= {(3, "given"), (2, "painted")}


async def test_bad_requests_never_become_jobs(config: Config, notes: Path) -> None:
    studio = Studio(notes, yard(2))
    shot, style = PrevisShot(studio.scene, **WH), PrevisStyle(studio.reference(0))
    box = (0.0, 0.0, 9.0, 9.0)

    async with running_server(config) as address, backlot.AsyncClient(address, shares_files=True) as client:
        async def wrong(shot: PrevisShot, style: PrevisStyle = style, **more: Any) -> str:
            with pytest.raises(backlot.InvalidRequest) as caught:
                await client.render_previs(shot, style, **more)
            return caught.value.field

        assert await wrong(PrevisShot(studio.scene, width_px=640)) == "shot.width_px"
        assert await wrong(PrevisShot(studio.scene, frames=3, last_frame=2)) == "shot.frames"
        assert await wrong(PrevisShot(studio.scene, first_frame=3, last_frame=2)) == "shot.last_frame"
        assert await wrong(PrevisShot(studio.scene, rate=-1.0)) == "shot.rate"
        assert await wrong(PrevisShot(studio.scene, up_axis="y")) == "shot.up_axis"
        assert await wrong(PrevisShot("/etc/passwd")) == "shot.scene"
        assert await wrong(shot, PrevisStyle("/etc/passwd")) == "style.reference"
        twice = (StyleRegion("shed", box), StyleRegion("shed", box))
        assert await wrong(shot, PrevisStyle(style.reference, regions=twice)) == "style.regions[1].object"
        empty = (StyleRegion("shed", box), StyleRegion("tower", (9.0, 0.0, 9.0, 9.0)))
        assert await wrong(shot, PrevisStyle(style.reference, regions=empty)) == "style.regions[1].box"
        assert await wrong(shot, anchors=(AnchorEdit(1), AnchorEdit(1))) == "anchors[1].frame"
        assert await wrong(shot, anchors=(AnchorEdit(0, style.reference, redo=1),)) == "anchors[0].redo"
        assert not [job async for job in client.jobs()]

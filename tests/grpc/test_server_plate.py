"""Plates through the front door: the real pipelines behind a real server, by the client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import backlot
import numpy as np
import pytest
from backlot import (
    ControlPicture,
    DepthBand,
    FlowHint,
    PlateCamera,
    PlateFluid,
    PlateGeneration,
    PlateLayers,
    PlateSource,
    PlateThing,
)

from services.config import Config
from services.export.layer_files import write_layer_folder
from services.media import images
from services.media.layered import open_layers
from services.server import running_server
from tests.layer_stacks import large


@pytest.fixture
def config(with_server: Callable[..., Config]) -> Config:
    return with_server(registry="services.executors.registry")


async def test_a_folder_is_uploaded_and_its_package_comes_back(config: Config, notes: Path, tmp_path: Path) -> None:
    write_layer_folder(notes / "layers", large())
    async with running_server(config) as address, backlot.AsyncClient(address) as client:
        job = await client.build_layers(notes / "layers")
        await job.download(tmp_path / "out")
    again = open_layers(tmp_path / "out" / "layers").stack
    assert [layer.name for layer in again] == ["sky", "sea", "rock"]
    assert np.array_equal(again.layers[2].colour, large().layers[2].colour)


async def test_bad_requests_never_become_jobs(config: Config, notes: Path) -> None:
    write_layer_folder(notes / "layers", large())
    images.write_picture(notes / "mask.png", np.full((64, 96), 255, np.uint8))
    source, mask = PlateSource(str(notes / "layers")), str(notes / "mask.png")

    async with running_server(config) as address, backlot.AsyncClient(address, shares_files=True) as client:
        async def wrong(source: PlateSource = source, **more: Any) -> str:
            with pytest.raises(backlot.InvalidRequest) as caught:
                await client.animate_plate(source, **more)
            return caught.value.field

        assert await wrong(PlateSource()) == "source.path"
        assert await wrong(PlateSource("/etc/passwd")) == "source.path"
        assert await wrong(PlateSource(source.path, near=5, far=4)) == "source.near"
        assert await wrong(PlateSource(source.path, alpha="both")) == "source.alpha"
        assert await wrong(PlateSource(source.path, horizon="1,2,1,2")) == "source.horizon"
        assert await wrong(PlateSource(source.path, camera_height_m=2)) == "source.camera_height_m"
        assert await wrong(PlateSource(generation=PlateGeneration("a", look="gaudy"))) == "source.generation.look"
        guided = PlateGeneration("a", controls=(ControlPicture("depth", mask), ControlPicture("heat", mask)))
        assert await wrong(PlateSource(generation=guided)) == "source.generation.controls[1].kind"
        assert await wrong(layers=PlateLayers(bands=(DepthBand(1, 2), DepthBand(3, 2)))) == "layers.bands[1]"
        assert await wrong(layers=PlateLayers(things=(PlateThing("a"),))) == "layers.things[0]"
        things = PlateLayers(things=(PlateThing("a", ((1, 1),)), PlateThing("a", ((1, 1),))))
        assert await wrong(layers=things) == "layers.things.name"
        assert await wrong(fluids=(PlateFluid(mask),)) == "fluids[0].hints"
        assert await wrong(fluids=(PlateFluid(mask, (FlowHint(1, 1, 1, 1),)),)) == "fluids[0].hints"
        assert await wrong(camera=PlateCamera("locked", cameras_file=mask)) == "camera.move"
        assert await wrong(camera=PlateCamera(overscan=0.7)) == "camera.overscan"
        assert await wrong(camera=PlateCamera(aperture=0.1)) == "camera.aperture"
        assert await wrong(camera=PlateCamera(easing="slow")) == "camera.easing"
        assert await wrong(camera=PlateCamera(width_px=8, height_px=8)) == "camera.width_px"
        assert await wrong(codec="hap") == "codec"
        assert not [job async for job in client.jobs()]

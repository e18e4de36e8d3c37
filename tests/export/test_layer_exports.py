"""Every delivery of layers, opened by its own reader: the same layers, sizes, names and depth."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from psd_tools import PSDImage

from geometry.layers import LayerStack
from services.export.layer_exr import write_layer_exr
from services.export.layer_files import write_layer_folder
from services.export.psd import merged, write_psd
from services.export.twop5d import write_2p5d
from services.media.layered import open_layers
from tests.layer_stacks import painted

Write = Callable[[Path, LayerStack], object]
# What each format keeps: of colours, and of depth.
FORMATS: dict[str, tuple[Write, float, float]] = {
    "plate.psd": (write_psd, 1e-5, 3e-4),
    "plate.exr": (write_layer_exr, 2e-6, 0),
    "layers": (write_layer_folder, 0, 3e-5),
    "plate.2p5d": (write_2p5d, 0, 3e-4),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_written_is_a_source_again(tmp_path: Path, name: str, dtype: type) -> None:
    write, colour_error, depth_error = FORMATS[name]
    stack = painted(dtype)
    write(tmp_path / name, stack)
    found = open_layers(tmp_path / name)
    assert found.warnings == ()
    again = found.stack
    assert [layer.name for layer in again] == ["sky", "land/hills", "hut"]
    assert [(layer.hw, layer.xy) for layer in again] == [(layer.hw, layer.xy) for layer in stack]
    assert again.camera.wh == stack.camera.wh
    assert again.camera.fx == pytest.approx(50)
    assert again.is_metric
    if name != "plate.2p5d":  # which has no place for it
        assert again.picture == stack.picture
    is_linear = {"srgb": False, "linear": True}
    for before, after in zip(stack, again, strict=True):
        assert after.depth == pytest.approx(before.depth, rel=depth_error + 1e-7)
        alpha = after.alpha / after.white
        assert alpha == pytest.approx(before.alpha / before.white, abs=1e-5 if dtype is not np.uint8 else 1e-3)
        if is_linear[stack.encoding] == is_linear[again.encoding]:
            shown = alpha > (0 if stack.encoding == "srgb" else 0.01)
            error = np.abs(after.colour / after.white - before.colour / before.white)[shown]
            assert error.max() <= max(colour_error, 2e-6 if dtype is np.float32 else 0)


def test_photoshop_document(tmp_path: Path) -> None:
    stack = painted(np.uint8)
    write_psd(tmp_path / "p.psd", stack)
    document = PSDImage.open(tmp_path / "p.psd")
    assert (document.depth, document.size) == (16, (48, 32))
    *layers, picture, depth = document
    assert [(layer.name, layer.bbox) for layer in layers] == [
        ("sky", (0, 0, 48, 32)), ("land/hills", (-6, 14, 54, 34)), ("hut", (21, 16, 32, 25)),
    ]  # fmt: skip
    assert depth.name == "depth 7.5:60.0 m"
    assert (picture.name, picture.bbox) == ("picture 50.0,50.0,24.0,16.0", stack.picture)
    assert not depth.visible and not picture.visible
    hut = depth[2].numpy("color")
    assert (hut == 1).all()  # the nearest is white
    shown = document.numpy()
    assert np.rint(shown[..., :3] * 65535) == pytest.approx(merged(stack)[..., :3], abs=1)
    assert shown[0, 0, :3] == pytest.approx(stack.layers[0].colour[0, 0] / 255, abs=1e-4)


def test_multipart_exr(tmp_path: Path) -> None:
    stack = painted(np.uint8)
    write_layer_exr(tmp_path / "p.exr", stack)
    with OpenEXR.File(str(tmp_path / "p.exr"), separate_channels=True) as file:
        assert [part.name() for part in file.parts] == ["sky", "land/hills", "hut"]
        hills = file.parts[1]
        assert set(hills.channels) == {"R", "G", "B", "A", "Z"}
        assert hills.channels["R"].pixels.dtype == np.float16
        assert np.array_equal(hills.channels["Z"].pixels, stack.layers[1].depth)
        assert hills.header["dataWindow"][0].tolist() == [-6, 14]
        assert hills.channels["R"].pixels[0].max() == 0  # clear there: premultiplied


def test_2p5d_says_what_the_format_says(tmp_path: Path) -> None:
    stack = painted(np.uint8)
    write_2p5d(tmp_path / "p.2p5d", stack)
    with zipfile.ZipFile(tmp_path / "p.2p5d") as archive:
        document = json.loads(archive.read("data.json"))
        assert set(archive.namelist()) == {
            "data.json", "00_sky.png", "01_land_hills.png", "01_land_hills_depth.png", "02_hut.png",
        }  # fmt: skip
    assert document["meta"] == {"version": "1.0.0", "generator": "Backlot"}
    asset = document["asset"]
    assert (asset["min_depth"], asset["max_depth"]) == (7.5, 60)
    assert asset["field_of_view"] == pytest.approx(np.degrees(2 * np.arctan(24 / 50)))
    sky, hills, hut = document["plates"]
    assert (sky["z"], sky["mean_depth"], sky["scale_x"], sky["scale_y"], sky["x"], sky["y"]) == (1, 0, 1, 1, 0, 0)
    assert (hut["z"], hut["mean_depth"], hut["width"], hut["height"]) == (0.125, 1, 11, 9)
    assert (hut["x"], hut["y"]) == pytest.approx(((21 + 5.5 - 24) / 48, (16 - 16 - 4.5) / 32))
    assert 0 < hills["mean_depth"] < 1


def test_the_same_layers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.2p5d", "b.2p5d"):
        write_2p5d(tmp_path / name, painted())
    assert (tmp_path / "a.2p5d").read_bytes() == (tmp_path / "b.2p5d").read_bytes()

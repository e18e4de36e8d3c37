"""Plates: what comes out of layers and of one still, what is reported, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geometry.moves import camera_path, parse_move
from services.config import PlateSettings, Settings
from services.errors import BacklotError, InvalidRequest, Unsupported
from services.export.cameras import import_cameras
from services.media import exr, images
from services.media.clip import open_clip
from services.media.layered import open_layers
from services.pipelines.plate import run_layers, run_plate
from services.pipelines.requests import (
    AnimatePlateRequest,
    BuildLayersRequest,
    DepthBand,
    FlowHint,
    PlateCamera,
    PlateFluid,
    PlateGeneration,
    PlateLayers,
    PlateMargins,
    PlateSource,
    PlateThing,
)
from tests.layer_stacks import large
from tests.pipelines.plate_bench import Bench, still

Array = np.ndarray
MOVE = "truck=right:0.3+dolly=in:0.2"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _mask(rows: slice) -> Array:
    mask = np.zeros((64, 96), np.uint8)
    mask[rows] = 255
    return mask


def _report(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


def _code(depth: Array) -> Array:
    return np.rint((1 / depth - 1 / 40) / (1 / 4 - 1 / 40) * 65535).astype(np.uint16)


def test_layers_become_a_moving_plate(bench: Bench) -> None:
    stack = large()
    fluid = PlateFluid(bench.picture("water.png", _mask(np.s_[36:])), (FlowHint(20, 50, 60, 50),))
    request = AnimatePlateRequest(
        PlateSource(bench.folder()), camera=PlateCamera(MOVE, frames=5, rate=25.0), fluids=(fluid,), codec="exr"
    )
    out, facts = bench.run(run_plate, request)
    assert facts == {"layers": 3, "frames": 5, "width_px": 112, "height_px": 80}
    assert bench.warnings == []
    frames = [images.read_picture(out / "frames" / f"{i:04d}.png") for i in range(5)]
    assert frames[0].dtype == np.uint8
    laid = stack.layers[0].colour[8:72, 8:104].copy()
    for layer in stack.layers[1:]:
        (x, y), (h, w) = layer.xy, layer.hw
        canvas = np.zeros((80, 112, 4), np.float32)
        canvas[y : y + h, x : x + w] = np.dstack([layer.colour, layer.alpha])
        part = canvas[8:72, 8:104]
        share = part[..., 3:] / 255
        laid = laid * (1 - share) + part[..., :3] * share
    assert np.abs(frames[0] - laid).max() <= 1  # at the source view nothing moves, and water has not begun to
    assert np.abs(frames[4].astype(int) - frames[0]).mean() > 2
    light = exr.read_channels(out / "exr" / "0000.exr")
    assert light["R"].dtype == np.float16
    assert light["Z"][50, 47] == pytest.approx(7)
    with open_clip(out / "plate.mp4") as clip:
        assert (len(clip.numbers), clip.rate, clip.hw) == (5, 25, (64, 96))
    report = _report(out)
    assert [(layer["name"], layer["flows"]) for layer in report["layers"]] == [
        ("sky", False), ("sea", True), ("rock", False),
    ]  # fmt: skip
    assert report["cover"]["outside"] == []
    assert report["cover"]["safe_box"]["high"][0] > 0.3

    for name in ("layers", "plate.psd", "plate.exr", "plate.2p5d"):
        again = open_layers(out / name).stack
        assert [(layer.name, layer.hw) for layer in again] == [(layer.name, layer.hw) for layer in stack]
    assert open_layers(out / "layers").stack.layers[1].motion is not None
    path = camera_path(parse_move(MOVE), stack.picture_camera, 5, pivot_depth=1, rate=25)
    for name in ("cameras.json", "plate.chan", "scene.usda"):
        cameras = import_cameras(out / name)
        moved = cameras.camera_from_world[4] @ np.linalg.inv(cameras.camera_from_world[0])
        assert moved == pytest.approx(path.camera_from_world[4], abs=1e-6)
    assert {"plate.nk", "import_unreal.py", "contact_sheet.png", "layers/01_sea.obj"} <= {
        file.relative_to(out).as_posix() for file in out.rglob("*")
    }  # fmt: skip


def test_another_move_takes_nothing_apart_again(bench: Bench) -> None:
    request = AnimatePlateRequest(PlateSource(bench.folder()), camera=PlateCamera(MOVE, frames=2))
    bench.run(run_plate, request)
    assert "layers" in bench.ran
    bench.run(run_plate, replace(request, camera=PlateCamera("truck=left:0.1", frames=2)))
    assert bench.ran == {"safe box", "frames", "scenes", "finish", "report"}
    bench.run(run_layers, BuildLayersRequest(PlateSource(bench.folder())))
    assert bench.ran == {"finish", "report"}


def test_the_package_is_a_source_again(bench: Bench) -> None:
    first, _ = bench.run(run_layers, BuildLayersRequest(PlateSource(bench.folder())))
    request = AnimatePlateRequest(PlateSource(str(first / "layers")), camera=PlateCamera(frames=1))
    again, _ = bench.run(run_plate, request)
    direct, _ = bench.run(run_plate, replace(request, source=PlateSource(bench.folder())))
    assert (again / "frames" / "0000.png").read_bytes() == (direct / "frames" / "0000.png").read_bytes()


def test_a_loop_closes(bench: Bench) -> None:
    """With a loop of 4 frames the fifth would be the first: the step into it is like the others."""
    fluid = PlateFluid(bench.picture("water.png", _mask(np.s_[36:])), (FlowHint(20, 50, 140, 50),))
    camera = PlateCamera("truck=right:0.2", frames=4, loop=True)
    out, _ = bench.run(run_plate, AnimatePlateRequest(PlateSource(bench.folder()), camera=camera, fluids=(fluid,)))
    frames = [images.read_picture(out / "frames" / f"{i:04d}.png").astype(float) for i in range(4)]
    steps = [np.abs(frames[(i + 1) % 4] - frames[i]).mean() for i in range(4)]
    assert min(steps) > 0.5
    assert steps[3] < 1.5 * np.median(steps)


def test_cameras_of_a_file_and_prores(bench: Bench) -> None:
    source = PlateSource(bench.folder())
    first, _ = bench.run(run_plate, AnimatePlateRequest(source, camera=PlateCamera(MOVE, frames=3)))
    camera = PlateCamera(cameras_file=str(first / "cameras.json"))
    request = AnimatePlateRequest(source, camera=camera, codec="prores")
    out, facts = bench.run(run_plate, request)
    assert facts["frames"] == 3
    for i in range(3):
        one, other = (images.read_picture(folder / "frames" / f"{i:04d}.png").astype(int) for folder in (first, out))
        assert np.abs(one - other).max() <= 1
    with open_clip(out / "plate.mov") as clip:
        assert clip.info.codec == "prores"


def test_layers_without_a_backdrop_keep_their_alpha(bench: Bench) -> None:
    stack = large()
    bench.folder(replace(stack, layers=stack.layers[1:]))
    request = AnimatePlateRequest(PlateSource(bench.folder()), camera=PlateCamera(frames=1), codec="prores")
    out, _ = bench.run(run_plate, request)
    _, alpha = images.read_layer(out / "frames" / "0000.png")
    assert (alpha[:27] == 0).all()
    assert (alpha[36:] == 255).all()
    (warning,) = bench.warnings
    assert warning.endswith("px of the source view clear: no camera is safe")


def test_a_move_that_leaves_the_safe_box_is_reported(bench: Bench) -> None:
    request = AnimatePlateRequest(PlateSource(bench.folder()), camera=PlateCamera("pan=right:25", frames=3))
    out, _ = bench.run(run_plate, request)
    (warning,) = bench.warnings
    assert "may see past the layers in frame(s) 1, 2: outpaint more, or move less" in warning
    assert _report(out)["cover"]["uncovered_frames"] == [1, 2]
    assert (images.read_picture(out / "frames" / "0002.png")[:, -3:] == 0).all()


def test_one_still_is_taken_apart(bench: Bench) -> None:
    picture, depth = still()
    files = bench.picture("still.png", picture), bench.picture("z.png", _code(depth))
    source = PlateSource(files[0], near=4, far=40, depth=files[1])
    cut = PlateLayers(count=2, things=(PlateThing("post", box=(36, 10, 56, 58)),), outpaint=PlateMargins(10, 6, 10, 6))
    out, facts = bench.run(run_plate, AnimatePlateRequest(source, cut, PlateCamera("truck=left:0.1", frames=2)))
    assert facts["layers"] == 3
    stack = open_layers(out / "layers").stack
    assert (stack.camera.wh, stack.picture) == ((116, 76), (10, 6, 106, 70))
    post = next(layer for layer in stack if layer.name == "post")
    assert post.median_depth == pytest.approx(5, rel=0.1)
    first = images.read_picture(out / "frames" / "0000.png").astype(int)
    assert np.abs(first - picture).max() <= 2


def test_level_ground_under_a_horizon(bench: Bench) -> None:
    picture, _ = still()
    source = PlateSource(bench.picture("still.png", picture), horizon="0,30,96,30", camera_height_m=1.6, focal_mm=36)
    cut = PlateLayers(things=(PlateThing("post", box=(36, 10, 56, 58)),), count=2)
    out, _ = bench.run(run_layers, BuildLayersRequest(source, cut))
    stack = open_layers(out / "layers").stack
    assert stack.is_metric
    post = next(layer for layer in stack if layer.name == "post")
    assert post.median_depth == pytest.approx(1.6 * 96 / (54 - 30), rel=0.05)  # height x focal / rows below the horizon


def test_what_is_painted_anew_is_gone(bench: Bench) -> None:
    picture, depth = still()
    mask = np.zeros((64, 96), np.uint8)
    mask[12:57, 38:54] = 255
    depth[14:54, 40:52] = depth[14:54, :12]
    source = PlateSource(bench.picture("still.png", picture), depth=bench.picture("z.png", _code(depth)))
    cut = PlateLayers(count=2, inpaint=bench.picture("m.png", mask))
    out, _ = bench.run(run_plate, AnimatePlateRequest(source, cut, PlateCamera(frames=1)))
    frame = images.read_picture(out / "frames" / "0000.png")
    assert (frame[mask == 0] == picture[mask == 0]).mean() > 0.99
    red = (frame[..., 0].astype(int) - frame[..., 1] > 80).sum()
    assert red == 0


# Bad input ----------------------------------------------------------------------------------------------------------


def _refused(bench: Bench, request: Any, settings: Settings | None = None) -> BacklotError:
    with pytest.raises(BacklotError) as caught:
        bench.run(run_plate if isinstance(request, AnimatePlateRequest) else run_layers, request, settings)
    return caught.value


def test_text_needs_a_model_and_the_key_is_named(bench: Bench) -> None:
    bare = BuildLayersRequest(PlateSource(generation=PlateGeneration("a bay at dawn", look="moody")))
    error = _refused(bench, bare)
    assert isinstance(error, Unsupported)
    assert "plate.generation_backend; here it is none" in str(error)
    picture, depth = still()
    source = PlateSource(bench.picture("a.png", picture), depth=bench.picture("z.png", _code(depth)),
                         generation=PlateGeneration("grass"))  # fmt: skip
    assert "plate.inpainting_backend; here it is embedded" in str(_refused(bench, BuildLayersRequest(source)))
    error = _refused(bench, BuildLayersRequest(replace(source, generation=PlateGeneration(aspect="2:1"))))
    assert "source.generation.aspect: expected nothing beside a source" in str(error)


def test_a_still_needs_depth(bench: Bench) -> None:
    source = PlateSource(bench.picture("a.png", still()[0]))
    error = _refused(bench, BuildLayersRequest(source))
    assert str(error) == ("source.depth: expected a depth picture, a horizon, or plate.depth_backend in the "
                          "configuration, got none of them")  # fmt: skip
    absent = Settings(plate=PlateSettings(depth_backend="no-such-model"))
    assert "plate.depth_backend" in str(_refused(bench, BuildLayersRequest(source), absent))


@pytest.mark.parametrize(("depth", "message"), [
    (lambda code: code[:, :40], "expected the shape of the picture"),
    (lambda code: np.full_like(code, 9), "expected near and far, got 9 all over"),
    (lambda code: 65535 - code, "looks inverted"),
    (lambda code: np.dstack([code, code // 2, code]), None),  # its first channel is taken
])  # fmt: skip
def test_depth_pictures(bench: Bench, depth: Any, message: str | None) -> None:
    picture, z = still()
    source = PlateSource(bench.picture("a.png", picture), depth=bench.picture("z.png", depth(_code(z))))
    request = BuildLayersRequest(source, PlateLayers(count=2))
    if message is None:
        bench.run(run_layers, request)
        return
    error = _refused(bench, request)
    assert isinstance(error, InvalidRequest)
    assert error.field == "source.depth"
    assert message in str(error)


def test_holes_in_depth_are_filled(bench: Bench) -> None:
    picture, z = still()
    z[5:9, 5:20] = 0
    exr.write_depth(bench.root / "z.exr", z)
    source = PlateSource(bench.picture("a.png", picture), depth=str(bench.root / "z.exr"))
    out, _ = bench.run(run_layers, BuildLayersRequest(source, PlateLayers(count=2)))
    back = open_layers(out / "layers").stack.layers[0]
    assert back.depth[7 - back.xy[1], 10 - back.xy[0]] == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize(("change", "field"), [
    ({"source": PlateSource("L", depth="D")}, "source.depth"), ({"source": PlateSource("L", horizon="0,1,2,3")},
                                                                "source.horizon"),
    ({"layers": PlateLayers(count=3)}, "layers.count"), ({"layers": PlateLayers(outpaint=PlateMargins(1))},
                                                         "layers.outpaint"),
    ({"source": PlateSource("/nowhere")}, "source.path"),
    ({"camera": PlateCamera("dolly=sideways:1")}, "camera.move"), ({"camera": PlateCamera("dolly=in")}, "camera.move"),
    ({"camera": PlateCamera("dolly-zoom=in:500")}, "camera.move"),
    ({"camera": PlateCamera(width_px=100, height_px=100)}, "camera.width_px"),
    ({"camera": PlateCamera(cameras_file="D")}, "camera.cameras_file"),
    ({"fluids": (PlateFluid("D", (FlowHint(1, 1, 2, 2),)),)}, "fluids[0].hints[0]"),
    ({"fluids": (PlateFluid("S", (FlowHint(1, 1, 2, 2),)),)}, "fluids[0].mask"),
    ({"fluids": (PlateFluid("D", (FlowHint(9, 50, 2, 50),), "rok"),)}, "fluids[0].layer"),
    ({"fluids": (PlateFluid("D", video="D"),)}, "fluids[0].video"),
])  # fmt: skip
def test_what_does_not_fit_layers_is_named(bench: Bench, change: dict[str, Any], field: str) -> None:
    """L: the folder, D: a picture white below, S: one of another size."""
    names = {"L": bench.folder(), "D": bench.picture("d.png", _mask(np.s_[40:])),
             "S": bench.picture("s.png", np.full((9, 9), 255, np.uint8))}  # fmt: skip

    def real(part: Any) -> Any:
        if isinstance(part, tuple):
            return tuple(real(one) for one in part)
        paths = {name: names.get(getattr(part, name), getattr(part, name))
                 for name in ("path", "depth", "cameras_file", "mask", "video") if hasattr(part, name)}  # fmt: skip
        return replace(part, **paths)

    base = AnimatePlateRequest(PlateSource(names["L"]), camera=PlateCamera(frames=1))
    error = _refused(bench, replace(base, **{key: real(part) for key, part in change.items()}))
    assert isinstance(error, InvalidRequest)
    assert error.field == field


@pytest.mark.parametrize(("cut", "field"), [
    (PlateLayers(things=(PlateThing("a", ((200, 5),)),)), "layers.things[0].clicks"),
    (PlateLayers(things=(PlateThing("a", box=(200, 5, 210, 9)),)), "layers.things[0].box"),
    (PlateLayers(outpaint=PlateMargins(96)), "layers.outpaint"),
    (PlateLayers(bands=(DepthBand(1, 5), DepthBand(4, 9))), "layers.bands"),
])  # fmt: skip
def test_what_does_not_fit_a_still_is_named(bench: Bench, cut: PlateLayers, field: str) -> None:
    picture, z = still()
    source = PlateSource(bench.picture("a.png", picture), depth=bench.picture("z.png", _code(z)))
    error = _refused(bench, BuildLayersRequest(source, cut))
    assert isinstance(error, InvalidRequest)
    assert error.field == field

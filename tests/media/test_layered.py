"""Files with layers as people hand them in: what is understood, what is reported, what is refused."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from psd_tools import PSDImage
from psd_tools.constants import BlendMode

from geometry.layers import LayerStack
from services.errors import InvalidRequest
from services.export.twop5d import write_2p5d
from services.media import exr, images
from services.media.layered import layered_kind, open_layers
from services.media.raw_layers import LayerOptions, code_from_depth, depth_from_code, filled, spread, unique
from tests.layer_stacks import painted
from tests.media.icc_profiles import ADOBE_RGB, matrix_profile, srgb_profile

RNG = np.random.default_rng(1)
_OPAQUE = np.array([0, 0, 0, 255], np.uint8)
RED, GREEN = np.array([255, 0, 0, 255], np.uint8), np.array([0, 200, 0, 255], np.uint8)


def _flat(h: int, w: int, rgba: np.ndarray) -> np.ndarray:
    return np.broadcast_to(rgba, (h, w, 4)).copy()


def _refused(path: Path, options: LayerOptions | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        open_layers(path, options)
    assert caught.value.field.startswith("source")
    return str(caught.value)


# Photoshop documents ------------------------------------------------------------------------------------------------


@pytest.fixture
def document() -> Any:
    """Two plain layers, on a canvas of 20 x 10."""
    psd = PSDImage.new("RGBA", (20, 10))
    psd.create_pixel_layer_from_array(_flat(10, 20, RED), name="sky")
    psd.create_group(name="land").create_pixel_layer_from_array(_flat(4, 6, GREEN), name="hut", left=3, top=5)
    return psd


def _saved(psd: Any, folder: Path) -> Path:
    psd.save(folder / "p.psd")
    return folder / "p.psd"


def test_groups_become_names_and_order_becomes_depth(document: Any, tmp_path: Path) -> None:
    found = open_layers(_saved(document, tmp_path), LayerOptions(near=2, far=20, focal_mm=18))
    sky, hut = found.stack
    assert (sky.name, hut.name, hut.xy, hut.hw) == ("sky", "land/hut", (3, 5), (4, 6))
    assert (sky.median_depth, hut.median_depth) == (20, 2)
    assert sky.colour.dtype == np.uint8
    assert hut.colour[0, 0].tolist() == [0, 200, 0]
    assert found.stack.camera.fx == 10  # 18 mm on 36 mm film: half the width
    assert not found.stack.is_metric
    assert found.warnings == ("depth by layer order, from 20 (far) to 2 (near): 'sky', 'land/hut'",)


def test_what_is_left_out_is_reported(document: Any, tmp_path: Path) -> None:
    for name in ("sketch", "grain"):
        document.create_pixel_layer_from_array(_flat(2, 2, RED), name=name)
    document[2].visible = False
    document[3].blend_mode = BlendMode.DISSOLVE
    found = open_layers(_saved(document, tmp_path))
    assert [layer.name for layer in found.stack] == ["sky", "land/hut", "grain"]
    assert found.warnings[:2] == ("'sketch' is hidden: left out", "'grain': blend mode dissolve is laid over as normal")


def test_opacity_masks_and_clipped_layers(document: Any, tmp_path: Path) -> None:
    document[1].opacity = 128  # the group
    document[1][0].opacity = 128
    clipped = document.create_pixel_layer_from_array(_flat(10, 5, GREEN), name="moss", left=15)
    document.remove(clipped)
    document.insert(1, clipped)
    clipped.clipping = True
    sky, hut = open_layers(_saved(document, tmp_path)).stack
    assert hut.alpha[0, 0] == round(255 * (128 / 255) ** 2)
    assert sky.colour[0, 14].tolist() == [255, 0, 0]
    assert sky.colour[0, 15].tolist() == [0, 200, 0]


def test_layer_masks_hide(document: Any, tmp_path: Path) -> None:
    from PIL import Image

    mask = np.zeros((10, 20), np.uint8)
    mask[:, 10:] = 255
    document[0].create_mask(Image.fromarray(mask))
    sky = open_layers(_saved(document, tmp_path)).stack.layers[0]
    assert (sky.alpha[:, :10] == 0).all() and (sky.alpha[:, 10:] == 255).all()


def _laid_over(stack: LayerStack) -> np.ndarray:
    """(H, W, 3) float: the layers over one another, as a screen shows them."""
    out = np.zeros((*stack.camera.hw, 3))
    for layer in stack:
        (x, y), (h, w) = layer.xy, layer.hw
        part, alpha = out[y : y + h, x : x + w], layer.alpha[..., None] / layer.white
        part[:] = part * (1 - alpha) + layer.colour / layer.white * alpha
    return out


def test_masks_of_groups_hide_what_is_in_them(document: Any, tmp_path: Path) -> None:
    """A mask of 12 x 10 from (0, 0) on, whose right part is half clear; beyond it all is hidden."""
    from PIL import Image

    mask = np.full((10, 12), 255, np.uint8)
    mask[:, 6:] = 51
    land = document[1]
    end = len(land._bounding_channels)
    land.create_mask(Image.fromarray(mask), top=0, left=0)
    land._bounding_channels = type(land._channels)(land._channels[:end])  # the library gives a group's end one, too
    document[1].create_pixel_layer_from_array(_flat(10, 4, RED), name="mast", left=11)
    hut, mast = open_layers(_saved(document, tmp_path)).stack.layers[1:]
    assert hut.alpha[0].tolist() == [255, 255, 255, 51, 51, 51]  # columns 3 to 8
    assert mast.alpha[0].tolist() == [51, 0, 0, 0]
    document[1].opacity = 128
    found = open_layers(_saved(document, tmp_path))
    assert found.stack.layers[1].alpha[0, [0, 3]].tolist() == [128, round(51 * 128 / 255)]
    assert "'land': its opacity goes to each of its 2 layers; more of them shows where they overlap" in found.warnings
    document[1].mask.disabled = True
    assert open_layers(_saved(document, tmp_path)).stack.layers[1].alpha[0, 3] == 128


@pytest.mark.parametrize(("mode", "tolerance"), [
    (BlendMode.MULTIPLY, 1), (BlendMode.SCREEN, 1), (BlendMode.HARD_LIGHT, 1), (BlendMode.EXCLUSION, 1),
    (BlendMode.OVERLAY, 1), (BlendMode.SOFT_LIGHT, 1), (BlendMode.DARKEN, 1), (BlendMode.LUMINOSITY, 1),
])  # fmt: skip
def test_blend_modes_show_what_photoshop_shows(mode: BlendMode, tolerance: float, tmp_path: Path) -> None:
    """The whole picture against the library's own compositor, over a backdrop, a hard thing and a soft one."""
    psd = PSDImage.new("RGBA", (24, 16))
    psd.create_pixel_layer_from_array(RNG.integers(0, 256, (16, 24, 4), np.uint8) | _OPAQUE, name="sky")
    psd.create_pixel_layer_from_array(RNG.integers(0, 256, (6, 9, 4), np.uint8) | _OPAQUE, name="hut", left=3, top=5)
    light = RNG.integers(0, 256, (16, 12, 4), np.uint8)
    psd.create_pixel_layer_from_array(light, name="light", left=6, blend_mode=mode, opacity=200)
    found = open_layers(_saved(psd, tmp_path))
    assert [layer.name for layer in found.stack] == ["sky", "hut"]
    words = mode.name.lower().replace("_", " ")
    assert found.warnings[0] == f"'light': blend mode {words} is painted into the layers below it"
    expected = np.asarray(psd.composite(force=True, ignore_preview=True))[..., :3] / 255
    assert np.abs(_laid_over(found.stack) - expected).max() <= (tolerance + 0.5) / 255


def test_a_mode_that_is_linear_keeps_soft_edges(tmp_path: Path) -> None:
    psd = PSDImage.new("RGBA", (24, 16))
    psd.create_pixel_layer_from_array(RNG.integers(0, 256, (16, 24, 4), np.uint8) | _OPAQUE, name="sky")
    psd.create_pixel_layer_from_array(RNG.integers(0, 256, (8, 9, 4), np.uint8), name="fog", left=3, top=5)
    shade = RNG.integers(0, 256, (16, 12, 4), np.uint8)
    psd.create_pixel_layer_from_array(shade, name="shade", left=6, blend_mode=BlendMode.MULTIPLY)
    expected = np.asarray(psd.composite(force=True, ignore_preview=True))[..., :3] / 255
    found = open_layers(_saved(psd, tmp_path))
    assert np.abs(_laid_over(found.stack) - expected).max() <= 2 / 255


def test_a_mode_stays_in_a_group_that_is_put_together_by_itself(document: Any, tmp_path: Path) -> None:
    shade = document[1].create_pixel_layer_from_array(_flat(10, 20, np.array([128, 128, 128, 255], np.uint8)), name="s")
    shade.blend_mode = BlendMode.MULTIPLY
    sky, hut = open_layers(_saved(document, tmp_path)).stack  # the group passes through
    assert (sky.colour[0, 0].tolist(), hut.colour[0, 0].tolist()) == ([128, 0, 0], [0, 100, 0])
    document[1].blend_mode = BlendMode.NORMAL
    sky, hut = open_layers(_saved(document, tmp_path)).stack
    assert (sky.colour[0, 0].tolist(), hut.colour[0, 0].tolist()) == ([255, 0, 0], [0, 100, 0])
    document[1].blend_mode = BlendMode.SCREEN
    message = "'land': blend mode screen is laid over as normal; merge the group to keep it"
    assert message in open_layers(_saved(document, tmp_path)).warnings


def test_what_clips_keeps_its_mode(document: Any, tmp_path: Path) -> None:
    grey = document.create_pixel_layer_from_array(_flat(10, 5, np.array([51, 51, 51, 255], np.uint8)), name="shade")
    document.remove(grey)
    document.insert(1, grey)
    grey.clipping, grey.blend_mode, grey.opacity = True, BlendMode.MULTIPLY, 128
    sky = open_layers(_saved(document, tmp_path)).stack.layers[0]
    share = 128 / 255
    assert sky.colour[0, 0].tolist() == [round(255 * (1 - share) + 51 * share), 0, 0]
    assert sky.colour[0, 10].tolist() == [255, 0, 0]


def _with_profile(document: Any, profile: bytes) -> Any:
    from psd_tools.constants import Resource
    from psd_tools.psd.image_resources import ImageResource

    document._record.image_resources[Resource.ICC_PROFILE] = ImageResource(key=Resource.ICC_PROFILE.value, data=profile)
    return document


def test_colours_of_a_profile_become_srgb(document: Any, tmp_path: Path) -> None:
    plain = open_layers(_saved(document, tmp_path))
    found = open_layers(_saved(_with_profile(document, matrix_profile("Wide", ADOBE_RGB, 2.19921875)), tmp_path))
    assert "colours are brought from 'Wide' to sRGB; what lies beyond it is clipped" in found.warnings
    assert found.stack.layers[0].colour[0, 0].tolist() == [255, 0, 0]
    assert found.stack.layers[1].colour[0, 0].tolist() == [0, 201, 0]  # (200 / 255) ** 2.2 is .586 of light
    assert plain.stack.layers[1].colour[0, 0].tolist() == [0, 200, 0]
    same = open_layers(_saved(_with_profile(document, srgb_profile()), tmp_path))
    assert same.warnings == plain.warnings
    assert same.stack.layers[1].colour[0, 0].tolist() == [0, 200, 0]
    odd = open_layers(_saved(_with_profile(document, b"nothing at all"), tmp_path))
    assert odd.warnings[0] == "colour profile 'unnamed' is of a kind that is not understood: taken as sRGB"


def test_too_little_memory_is_no_damage(document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(self: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("services.media.psd._Reader.read", exhausted)
    with pytest.raises(MemoryError, match="no room"):
        open_layers(_saved(document, tmp_path))


def test_photoshop_documents_that_cannot_be_used(document: Any, tmp_path: Path) -> None:
    path = _saved(document, tmp_path)
    whole = path.read_bytes()

    def changed(offset: int, kind: str, value: int) -> Path:
        data = bytearray(whole)
        struct.pack_into(kind, data, offset, value)
        path.write_bytes(data)
        return path

    assert "sides of at most 30000 px, got 30001x10" in _refused(changed(18, ">I", 30001))
    assert "8 or 16 bits a channel, got 32" in _refused(changed(22, ">H", 32))
    assert "an RGB document, got CMYK" in _refused(changed(24, ">H", 4))
    assert "damaged or something else" in _refused(changed(0, ">I", 1))
    for size in (10, 80, whole.index(b"sky"), whole.index(b"hut") + 60):
        path.write_bytes(whole[:size])
        assert "p.psd, damaged" in _refused(path)
    document[0].visible = False
    assert "at least two visible layers of pixels (a flat one is a still" in _refused(_saved(document, tmp_path))


# Folders ------------------------------------------------------------------------------------------------------------


def _folder(path: Path, document: dict[str, Any], **pictures: np.ndarray) -> Path:
    path.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        images.write_picture(path / f"{name}.png", picture)
    (path / "plate.yaml").write_text(yaml.safe_dump(document))
    return path


def test_the_shortest_folder(tmp_path: Path) -> None:
    layers = [{"file": "sky.png"}, {"file": "hut.png", "at": [2, 1], "depth": 3}]
    folder = _folder(tmp_path / "f", {"layers": layers}, sky=_flat(8, 12, RED), hut=_flat(3, 4, GREEN))
    stack = open_layers(folder).stack
    assert stack.camera.wh == (12, 8)
    assert [(layer.name, layer.xy, layer.median_depth) for layer in stack] == [("sky", (0, 0), 40), ("hut", (2, 1), 3)]


def test_depth_and_motion_by_layer(tmp_path: Path) -> None:
    code = np.linspace(0, 65535, 12, dtype=np.uint16)[None] * np.ones((8, 1), np.uint16)
    layers = [{"file": "sky.png", "depth": {"file": "sky_z.png", "near": 5, "far": 50}, "motion": "m.exr"},
              {"file": "hut.png", "depth": {"file": "z.exr"}}]  # fmt: skip
    folder = _folder(tmp_path / "f", {"layers": layers}, sky=_flat(8, 12, RED), hut=_flat(8, 12, GREEN), sky_z=code)
    motion = RNG.normal(size=(8, 12, 2)).astype(np.float32)
    exr.write_channels(folder / "m.exr", {"X": motion[..., 0], "Y": motion[..., 1]})
    z = RNG.uniform(2, 4, (8, 12)).astype(np.float32)
    z[0, 0], z[3, 3] = np.inf, 0
    exr.write_depth(folder / "z.exr", z)
    found = open_layers(folder)
    sky, hut = found.stack
    assert sky.depth[0, [0, -1]].tolist() == pytest.approx([50, 5])
    assert np.array_equal(sky.motion, motion)
    assert hut.depth[0, 0] in (z[0, 1], z[1, 0])
    assert found.warnings == ("layer 'hut': holes in its depth, 2.1% of it, take what is nearest",)


@pytest.mark.parametrize(("change", "message"), [
    ({"layer": 3}, "source: plate.yaml: expected known keys, got layer"),
    ({"layers": []}, "source: plate.yaml: layers: expected at least one layer"),
    ({"layers": [{"name": "a"}]}, "source: plate.yaml: layers[0].file: expected a value, got none"),
    ({"layers": [{"file": "sky.png", "detph": 3}]}, "layers[0]: expected known keys, got detph"),
    ({"layers": [{"file": "sky.png", "depth": -1}]}, "layers[0].depth: expected a number > 0, got -1"),
    ({"layers": [{"file": "sky.png", "depth": True}]}, "layers[0].depth: expected int or float or dict, got True"),
    ({"layers": [{"file": "sky.png", "depth": {"file": "sky.png"}}]}, "near and far with 0 < near <= far"),
    ({"layers": [{"file": "sky.png", "depth": {"file": "hut.png", "near": 1, "far": 2}}]},
     "layers[0].depth: expected 12x8 px, as the layer has, got 4x3"),
    ({"layers": [{"file": "../sky.png"}]}, "layers[0].file: expected a file inside the folder, got ../sky.png"),
    ({"layers": [{"file": "/etc/passwd"}]}, "layers[0].file: expected a file inside the folder"),
    ({"layers": [{"file": "no.png"}]}, "layers[0].file: expected an existing file, got no.png"),
    ({"layers": [{"file": "sky.png"}, {"file": "hut.png"}]}, "at: [X, Y] of a layer that is not of the canvas's 12x8"),
    ({"layers": [{"file": "sky.png"}, {"file": "z.exr"}]}, "pictures of one kind, got EXR files, which are linear"),
    ({"size": [12]}, "size: expected 2 whole numbers, got [12]"), ({"alpha": "both"}, "straight or premultiplied"),
    ({"lens_px": [0, 9, 4, 3]}, "lens_px: expected two focal lengths > 0, and the principal point, got [0, 9, 4, 3]"),
    ({"picture": [0, 0, 99, 9]}, "a rectangle inside 12x8 px"),
])  # fmt: skip
def test_plate_yaml_is_strict(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = _folder(tmp_path / "f", {"layers": [{"file": "sky.png"}], **change}, sky=_flat(8, 12, RED),
                     hut=_flat(3, 4, GREEN))  # fmt: skip
    exr.write_rgb(folder / "z.exr", np.ones((8, 12, 3)))
    assert message in _refused(folder)


def test_plate_yaml_that_is_something_else(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "f", {}, sky=_flat(8, 12, RED))
    (folder / "plate.yaml").write_text("a: &a [1]\nb: [*a, *a]\n")
    assert "without aliases" in _refused(folder)
    (folder / "plate.yaml").write_text("layers: [")
    assert "a plate.yaml that is YAML" in _refused(folder)
    (folder / "plate.yaml").unlink()
    assert "a folder with plate.yaml, got f without" in _refused(folder)
    assert "which is empty or does not exist" in _refused(tmp_path / "nowhere.psd")


def test_premultiplied_alpha_is_told_apart_or_asked_for(tmp_path: Path) -> None:
    soft = _flat(8, 12, np.array([200, 100, 0, 255], np.uint8))
    soft[:, :4, 3] = 100
    premultiplied = soft.copy()
    premultiplied[:, :4, :3] = np.rint(soft[:, :4, :3] * (100 / 255)).astype(np.uint8)
    layers = {"layers": [{"file": "a.png"}]}

    def colour(picture: np.ndarray, **said: str) -> np.ndarray:
        folder = _folder(tmp_path / "f", layers, a=picture)
        return open_layers(folder, LayerOptions(**said)).stack.layers[0].colour[0, 0]

    assert colour(soft).tolist() == [200, 100, 0]  # brighter than its alpha
    _folder(tmp_path / "f", layers, a=premultiplied)
    assert "alpha: straight or premultiplied, said by the request or the file" in _refused(tmp_path / "f")
    assert colour(premultiplied, alpha="premultiplied") == pytest.approx([200, 100, 0], abs=2)
    assert colour(premultiplied, alpha="straight").tolist() == premultiplied[0, 0, :3].tolist()
    layers["alpha"] = "premultiplied"
    assert colour(premultiplied, alpha="straight").tolist() == premultiplied[0, 0, :3].tolist()  # the request has it
    del layers["alpha"]
    hard = _flat(8, 12, np.array([9, 9, 9, 255], np.uint8))
    hard[:, :4] = 0
    assert colour(hard).tolist() == [0, 0, 0]  # clear or opaque: both readings are one


# EXR ----------------------------------------------------------------------------------------------------------------


def _plane(value: float) -> np.ndarray:
    return np.full((4, 6), value, np.float32)


def test_layers_of_other_programs_are_ordered_by_depth(tmp_path: Path) -> None:
    """A part that is near comes first in the file, another holds two layers by the names of their channels."""
    near = {"R": _plane(0.25), "G": _plane(0.1), "B": _plane(0), "A": _plane(0.5), "Z": _plane(3)}
    rest = {f"{name}.{c}": _plane(v) for name, v, z in (("sky", 0.9, 90), ("hills", 0.3, 30)) for c, v in
            (("R", v), ("G", v), ("B", v), ("Z", z))}  # fmt: skip
    exr.write_parts(tmp_path / "p.exr", (6, 4), [exr.ExrPart("hut", near), exr.ExrPart("back", rest)])
    stack = open_layers(tmp_path / "p.exr").stack
    assert [(layer.name, layer.median_depth) for layer in stack] == [("back/sky", 90), ("back/hills", 30), ("hut", 3)]
    assert stack.encoding == "linear"
    assert stack.layers[2].colour[0, 0] == pytest.approx([0.5, 0.2, 0])
    straight = open_layers(tmp_path / "p.exr", LayerOptions(alpha="straight")).stack
    assert straight.layers[2].colour[0, 0] == pytest.approx([0.25, 0.1, 0])


def test_a_single_picture_has_no_layers(tmp_path: Path) -> None:
    exr.write_rgb(tmp_path / "one.exr", np.ones((4, 6, 3)))
    images.write_picture(tmp_path / "one.png", _flat(4, 6, RED))
    assert [layered_kind(tmp_path / name) for name in ("one.exr", "one.png")] == ["", ""]
    (tmp_path / "bad.exr").write_bytes(b"x" * 99)
    assert "an EXR picture" in _refused(tmp_path / "bad.exr")


# .2p5d --------------------------------------------------------------------------------------------------------------


def _archive(path: Path, document: Any, **pictures: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.json", document if isinstance(document, str) else json.dumps(document))
        for name, picture in pictures.items():
            archive.writestr(f"{name}.png", images.encode_png(picture))
    return path


def test_a_package_of_another_program(tmp_path: Path) -> None:
    """The numbers of the format's own example, on smaller pictures; nearer plates come first in the file."""
    plates = [
        {"name": "Foreground", "filename": "f.png", "x": 0.25, "y": -0.2, "z": 0.2, "scale_x": 0.25, "scale_y": 0.2},
        {"name": "Background", "filename": "b.png", "z": 0.75, "depth_map_filename": "z.png", "mean_depth": 0.4,
         "rotation_y": 5},
    ]  # fmt: skip
    document = {"asset": {"max_depth": 100, "min_depth": 10, "field_of_view": 90}, "plates": plates}
    flat = np.full((9, 16), round(0.4 * 65535), np.uint16)
    path = _archive(tmp_path / "p.2p5d", document, f=_flat(4, 8, RED), b=_flat(9, 16, GREEN), z=flat)
    found = open_layers(path)
    back, front = found.stack
    assert (found.stack.camera.wh, found.stack.camera.fx) == ((32, 20), pytest.approx(16))
    assert (back.name, back.hw, back.median_depth) == ("Background", (20, 32), pytest.approx(75, rel=1e-3))
    assert (front.name, front.hw, front.xy, front.median_depth) == ("Foreground", (4, 8), (20, 12), 20)
    assert found.warnings == ("'Background': its rotation is left out", "'Background' is brought from 16x9 to 32x20")


@pytest.mark.parametrize(("document", "message"), [
    ("{", "a data.json that is JSON"), ([1], "plates: a list of at least one plate"),
    ({"plates": [{"filename": "no.png"}]}, "plates[0].filename: a file of the archive, got 'no.png'"),
    ({"plates": [{"filename": "data.json"}]}, "plates[0].filename: a picture"),
    ({"plates": [{"filename": "f.png", "z": 0}]}, "plates[0]: scales and z > 0"),
    ({"plates": [{"filename": "f.png", "x": "1"}]}, "plates[0].x: a number, got '1'"),
    ({"plates": [{"filename": "f.png", "scale_x": 1e-9}]}, "a picture of 1.."),
    ({"asset": {"field_of_view": 180}, "plates": [{"filename": "f.png"}]}, "degrees between 0 and 180"),
    ({"asset": {"max_depth": 1, "min_depth": 2}, "plates": [{"filename": "f.png"}]}, "0 < min_depth <= max_depth"),
])  # fmt: skip
def test_packages_that_cannot_be_used(tmp_path: Path, document: Any, message: str) -> None:
    assert message in _refused(_archive(tmp_path / "p.2p5d", document, f=_flat(4, 8, RED)))


@pytest.mark.parametrize("name", ["../x.png", "a/../../x.png", "/x.png", "..\\x.png", "C:/x.png"])
def test_names_that_lead_out_of_the_package(tmp_path: Path, name: str) -> None:
    path = _archive(tmp_path / "p.2p5d", {"plates": [{"filename": name}]})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, images.encode_png(_flat(4, 8, RED)))
    assert "names that stay inside the archive" in _refused(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p.2p5d"]


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.2p5d"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.json", json.dumps({"plates": [{"filename": "f.png"}]}))
        archive.writestr("f.png", bytes(2**20))
    announced = path.read_bytes()
    monkeypatch.setattr("services.media.twop5d.BYTE_BUDGET", 2**19)
    assert "at most 524288 bytes unpacked" in _refused(path)
    # The directory may lie about sizes: here it says 2 KiB.
    path.write_bytes(announced.replace(struct.pack("<I", 2**20), struct.pack("<I", 2**11)))
    assert "p.2p5d" in _refused(path)
    path.write_bytes(announced[:200])
    assert "damaged or something else" in _refused(path)


def test_a_damaged_picture_in_a_package(tmp_path: Path) -> None:
    write_2p5d(tmp_path / "p.2p5d", painted(np.uint8))
    data = bytearray((tmp_path / "p.2p5d").read_bytes())
    at = data.index(b"IDAT") + 30
    data[at : at + 40] = bytes(40)
    (tmp_path / "p.2p5d").write_bytes(data)
    assert "damaged" in _refused(tmp_path / "p.2p5d")


# What all of them share ----------------------------------------------------------------------------------------------


def test_depth_by_order_is_even_in_disparity() -> None:
    assert spread([None, None, None], 2, 6) == pytest.approx([6, 3, 2])
    assert spread([None], 2, 6) == [6]
    assert spread([None, 3, None], 2, 6) == pytest.approx([6, 3, 2])
    assert spread([10, None, 5, None, 1], 2, 6) == pytest.approx([10, 20 / 3, 5, 5 / 3, 1])
    assert spread([None, 1], 2, 6) == pytest.approx([6, 1])


def test_code_values_of_depth() -> None:
    depth = np.array([[4.0, 8.0, 40.0, 400.0, 1.0]])
    code = code_from_depth(depth, 4, 40)
    assert code.tolist() == [[65535, round(65535 * (1 / 8 - 1 / 40) / (1 / 4 - 1 / 40)), 0, 0, 65535]]
    assert depth_from_code(code, 4, 40)[0] == pytest.approx([4, 8, 40, 40, 4], rel=1e-4)
    assert code_from_depth(np.full((2, 2), 7.0), 7, 7).max() == 0
    assert depth_from_code(np.zeros((1, 1), np.uint16), 7, 7)[0, 0] == pytest.approx(7)


def test_names_and_holes() -> None:
    assert unique(["a", "b", "a", "", "a"]) == ["a", "b", "a 2", "layer", "a 3"]
    depth = np.array([[1, 0, 0, 0, 5]], np.float32)
    assert filled(depth)[0, [0, 1, 3, 4]].tolist() == [1, 1, 5, 5]
    assert filled(np.ones((2, 2), np.float32)).tolist() == [[1, 1], [1, 1]]

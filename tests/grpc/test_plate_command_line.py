"""What people hand to ``backlot plate`` that cannot work: each is refused at the command line by what is wrong with it,
or is done with a warning that says what to look at. Real pipelines behind a real server."""

from __future__ import annotations

import asyncio
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backlot.cli import main
from psd_tools import PSDImage

from services.config import Config
from services.export.layer_files import write_layer_folder
from services.export.psd import write_psd
from services.media import exr, images
from services.server import running_server
from tests.layer_stacks import large
from tests.pipelines.plate_bench import still

pytestmark = pytest.mark.slow

Array = np.ndarray
PICTURE, DEPTH = still()


def _code(depth: Array) -> Array:
    return np.rint((1 / depth - 1 / 40) / (1 / 4 - 1 / 40) * 65535).astype(np.uint16)


def _psd(path: Path, offset: int = 0, kind: str = "", value: int = 0) -> Path:
    write_psd(path, large())
    data = bytearray(path.read_bytes())
    if kind:
        struct.pack_into(kind, data, offset, value)
    path.write_bytes(data)
    return path


def _flat_psd(path: Path) -> Path:
    psd = PSDImage.new("RGBA", (20, 10))
    psd.create_pixel_layer_from_array(np.full((10, 20, 4), 255, np.uint8), name="all")
    psd.save(path)
    return path


def _folder(path: Path, *pictures: Array) -> Path:
    path.mkdir()
    for i, picture in enumerate(pictures):
        images.write_picture(path / f"{i}.png", picture)
    (path / "plate.yaml").write_text(json.dumps({"layers": [{"file": f"{i}.png"} for i in range(len(pictures))]}))
    return path


def _soft(path: Path) -> Path:
    grey = np.full((8, 12, 4), 100, np.uint8)
    return _folder(path, grey)


def _still(root: Path, name: str, depth: Array) -> str:
    images.write_picture(root / "still.png", PICTURE)
    images.write_picture(root / f"{name}.png", depth)
    return f"{root}/still.png --depth {root}/{name}.png"


def _package(path: Path, member: str, *, lies: bool = False) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.json", json.dumps({"plates": [{"filename": member}]}))
        archive.writestr(member, images.encode_png(PICTURE))
    if lies:  # the directory's last entry says four gigabytes
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, data.rindex(b"PK\x01\x02") + 24, 2**32 - 2)
        path.write_bytes(data)
    return path


def _flows(root: Path, hint: str) -> str:
    write_layer_folder(root / "layers", large())
    mask = np.zeros((64, 96), np.uint8)
    mask[40:] = 255
    images.write_picture(root / "mask.png", mask)
    return f"{root}/layers --frames 1 --fluid {root}/mask.png --hint {hint}"


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "wide": (lambda root: _psd(root / "a.psd", 18, ">I", 30001), "sides of at most 30000 px, got 30001x"),
    "cmyk": (lambda root: _psd(root / "a.psd", 24, ">H", 4), "an RGB document, got CMYK"),
    "32 bits": (lambda root: _psd(root / "a.psd", 22, ">H", 32), "8 or 16 bits a channel, got 32"),
    "one layer": (lambda root: _flat_psd(root / "a.psd"), "at least two visible layers of pixels"),
    "sizes": (lambda root: _folder(root / "f", np.full((8, 12, 4), 255, np.uint8), np.full((3, 4, 4), 255, np.uint8)),
              "at: [X, Y] of a layer that is not of the canvas's 12x8"),
    "alpha": (lambda root: _soft(root / "f"), "alpha: straight or premultiplied, said by the request or the file"),
    "depth of another size": (lambda root: _still(root, "z", _code(DEPTH)[:, :40]), "the shape of the picture"),
    "depth inverted": (lambda root: _still(root, "z", 65535 - _code(DEPTH)), "it looks inverted; say what white is"),
    "depth constant": (lambda root: _still(root, "z", np.full((64, 96), 9, np.uint16)), "near and far, got 9 all over"),
    "no depth": (lambda root: _still(root, "z", _code(DEPTH)).split()[0], "plate.depth_backend in the configuration"),
    "hint outside": (lambda root: _flows(root, "9,5,2,5"), "--hint: expected a start inside the mask, got 9,5"),
    "hint in shares": (lambda root: _flows(root, ".5,.8,.6,.8"), "pixels of the 96 x 64 picture, not shares of it"),
    "horizon in shares": (lambda root: _still(root, "z", _code(DEPTH)).split()[0] + " --horizon 0,.45,1,.45",
                          "--horizon: expected pixels of the 96 x 64 picture, not shares of it, got 0,0.45,1,0.45"),
    "box in shares": (lambda root: _still(root, "z", _code(DEPTH)) + " --box .1,.1,.5,.9", "not shares of it"),
    "traversal": (lambda root: _package(root / "a.2p5d", "../x.png"), "names that stay inside the archive"),
    "bomb": (lambda root: _package(root / "a.2p5d", "x.png", lies=True), "bytes unpacked"),
    "separate": (lambda root: f"{_still(root, 'z', _code(DEPTH)).split()[0]} --separate --prompt x",
                 "plate.layered_backend; here it is none"),
}  # fmt: skip


@pytest.fixture
def config(with_server: Callable[..., Config]) -> Config:
    return with_server(registry="services.executors.registry")


async def test_each_is_refused_by_what_is_wrong(
    config: Config, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {}
    async with running_server(config) as address:
        for name, (made, message) in REFUSED.items():
            root = notes / name.replace(" ", "_")
            root.mkdir()
            line = f"plate {made(root)} --out {tmp_path / 'out'} --server {address}"
            code = await asyncio.to_thread(main, line.split())
            said = capsys.readouterr().err
            if code == 0 or message not in said or "Traceback" in said:
                wrong[name] = (code, said)
    assert not wrong
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


async def test_what_is_done_with_a_warning(
    config: Config, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    holes = DEPTH.copy()
    holes[5:9, 5:20] = 0
    exr.write_depth(notes / "holes.exr", holes)
    images.write_picture(notes / "still.png", PICTURE)
    stack = large()
    write_layer_folder(notes / "layers", stack)
    write_layer_folder(notes / "clear", replace(stack, layers=stack.layers[1:]))
    soft = notes / "soft"
    _soft(soft)
    asked = {
        f"{notes}/still.png --depth {notes}/holes.exr --layers 2 --layers-only": "",
        f"{soft} --alpha premultiplied --layers-only": "",
        f"{notes}/layers --move pan=right:25 --frames 3": "in frame(s) 1, 2: outpaint more, or move less",
        f"{notes}/clear --frames 1": "px of the source view clear: no camera is safe",
    }
    async with running_server(config) as address:
        for i, (line, warning) in enumerate(asked.items()):
            whole = f"plate {line} --out {tmp_path / str(i)} --server {address}"
            assert await asyncio.to_thread(main, whole.split()) == 0, capsys.readouterr().err
            assert warning in capsys.readouterr().err
            assert (tmp_path / str(i) / "contact_sheet.png").is_file()

"""Which files belong to an input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from backlot._requests import Input, InputKind
from backlot._uploads import local_files, scan


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("f.%04d.png", ["f.0001.png", "f.0002.png"]),
        ("f.%d.png", ["f.0001.png", "f.0002.png"]),
        ("f.*.png", ["f.0001.png", "f.0002.png", "f.x.png"]),
        ("f.000?.png", ["f.0001.png", "f.0002.png"]),
        ("g.%04d.png", []),
        ("", ["f.0001.png", "f.0002.png", "f.x.png", "notes.txt"]),
        ("f.0001.png", ["f.0001.png"]),
    ],
)
def test_files_of_a_sequence(pattern: str, names: list[str], tmp_path: Path) -> None:
    for name in ("f.0001.png", "f.0002.png", "f.x.png", "notes.txt", ".DS_Store"):
        (tmp_path / name).write_text("x")
    files = local_files(Input(str(tmp_path / pattern), InputKind.CLIP))
    assert [file.name for file in files] == names


def test_a_pattern_keeps_its_name_inside_the_asset(tmp_path: Path) -> None:
    (tmp_path / "f.0001.png").write_text("x")
    assert scan(Input(str(tmp_path / "f.%04d.png"), InputKind.CLIP)).main == "f.%04d.png"


def test_a_gltf_brings_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    document = {
        "buffers": [{"uri": "chair.bin"}, {"uri": "data:application/octet-stream;base64,AA=="}],
        "images": [{"uri": "../tex/wood%20dark.png"}, {"uri": "gone.png"}, {"bufferView": 0}],
    }
    _write(tmp_path, scene__chair_dot_gltf=json.dumps(document), scene__chair_dot_bin="b", scene__other_dot_bin="o")
    (tmp_path / "tex").mkdir()
    (tmp_path / "tex" / "wood dark.png").write_text("t")
    asset = scan(Input(str(tmp_path / "scene/chair.gltf"), InputKind.MESH))
    assert [file.relative_path for file in asset.files] == ["scene/chair.bin", "scene/chair.gltf", "tex/wood dark.png"]
    assert asset.main == "scene/chair.gltf"


def test_an_obj_brings_its_materials_and_their_textures(tmp_path: Path) -> None:
    _write(
        tmp_path,
        chair_dot_obj="mtllib chair.mtl\nv 0 0 0\n",
        chair_dot_mtl="newmtl a\nKd 1 1 1\nmap_Kd -s 1 1 1 tex/a.png\nbump b.png\n",
        tex__a_dot_png="a",
        b_dot_png="b",
        c_dot_png="c",
    )
    files = local_files(Input(str(tmp_path / "chair.obj"), InputKind.MESH))
    assert {file.relative_to(tmp_path).as_posix() for file in files} == {"chair.obj", "chair.mtl", "tex/a.png", "b.png"}


def test_cameras_bring_their_sidecar_or_all_of_their_folder(tmp_path: Path) -> None:
    _write(tmp_path, a_dot_chan="1", a_dot_chan_dot_json="{}", b_dot_chan="1", colmap__sparse__cameras_dot_txt="c")
    found = [
        [file.relative_to(tmp_path).as_posix() for file in local_files(Input(str(tmp_path / name), InputKind.CAMERAS))]
        for name in ("a.chan", "b.chan", "colmap")
    ]
    assert found == [["a.chan", "a.chan.json"], ["b.chan"], ["colmap/sparse/cameras.txt"]]


def test_the_asset_id_is_made_from_names_and_content(tmp_path: Path) -> None:
    ids = set()
    for folder, name, text in (("a", "x.mp4", "1"), ("b", "x.mp4", "1"), ("c", "x.mp4", "2"), ("d", "y.mp4", "1")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        path.write_text(text)
        ids.add(scan(Input(str(path), InputKind.CLIP)).asset_id)
    assert len(ids) == 3


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(Input(str(tmp_path / "none.mp4"), InputKind.CLIP))

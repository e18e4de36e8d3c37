"""Whatever the bytes, our parsers return something sound or raise a typed error."""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geometry.moves import parse_move
from services import convert
from services.artifacts.access import Access
from services.artifacts.assets import AssetStore
from services.errors import BacklotError, InvalidRequest, NotFound
from services.export.cameras import import_cameras, metres_per_unit
from services.media import images
from services.media.layer_folder import read_layer_folder
from services.media.twop5d import read_2p5d
from services.pipelines.inputs import path_keys
from services.tokens import Tokens

fuzzed = settings(
    max_examples=int(os.environ.get("BACKLOT_FUZZ_EXAMPLES", "60")), deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

NUMBERS = st.one_of(
    st.integers(-5, 5), st.integers(), st.floats(), st.sampled_from([0, 1e-300, 1e300, 2**63, 10**40, -1, 0.5])
)
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=8,
)
CHANGES = st.lists(st.tuples(st.randoms(use_true_random=False), JUNK), min_size=1, max_size=3)


@contextmanager
def _typed() -> Iterator[None]:
    """Typed errors are fine, warnings about numbers as well; all else fails the test."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with suppress(BacklotError):
            yield


def _changed(document: Any, changes: list) -> Any:
    """The document with some of its values, keys or itself replaced by junk."""
    document = copy.deepcopy(document)
    for random, junk in changes:
        places = list(_places(document))
        if not places:
            return junk
        holder, key = random.choice(places)
        if random.random() < 0.15:
            del holder[key]
        else:
            holder[key] = junk
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


POSE = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
CAMERAS: dict[str, Any] = {
    "w": 64, "h": 48, "fl_x": 50.0, "fl_y": 50.0, "cx": 32, "cy": 24, "k1": 0.1, "p2": 0.0,
    "convention": {"camera": "opengl", "world_up": "+y"}, "scene": {"scale_known": True},
    "frames": [{"file_path": f"{i:04d}.png", "frame": i, "transform_matrix": POSE} for i in (1, 2)],
}  # fmt: skip


@fuzzed
@given(CHANGES)
def test_cameras_json(tmp_path: Path, changes: list) -> None:
    file = tmp_path / "cameras.json"
    file.write_text(json.dumps(_changed(CAMERAS, changes)))
    with _typed():
        path = import_cameras(file)
        assert np.isfinite(path.camera_from_world).all()
        assert metres_per_unit(file) in (None, 1.0)


WORDS = st.one_of(NUMBERS.map(str), st.sampled_from(["nan", "inf", "-inf", "1e999", "x", "#", "0x1", "1_0", ""]))
SIDECAR = {"wh": [64, 48], "rotation_order": "ZXY", "film_back_mm": [24, 18],
           "lenses": [{"focal_mm": 30, "fx_over_fy": 1, "cx": 32, "cy": 24, "distortion": [0, 0, 0, 0, 0]}]}


@fuzzed
@given(st.lists(st.lists(WORDS, min_size=7, max_size=9), max_size=3), st.none() | CHANGES)
def test_chan(tmp_path: Path, rows: list[list[str]], changes: list | None) -> None:
    file, sidecar = tmp_path / "c.chan", tmp_path / "c.chan.json"
    file.write_text("\n".join(" ".join(row) for row in rows) if changes is None else "1 0 0 0 0 0 0 40\n")
    sidecar.unlink(missing_ok=True)
    if changes is not None:
        sidecar.write_text(json.dumps(_changed(SIDECAR, changes)))
    with _typed():
        import_cameras(file, wh=(64, 48))


COLMAP = {
    "cameras.bin": struct.pack("<QiiQQ4d", 1, 1, 1, 64, 48, 50, 50, 32, 24),
    "images.bin": struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 0, 1) + b"0001.png\0" + bytes(8),
}
CUTS = st.tuples(st.floats(0, 1), st.integers(0, 9), st.binary(max_size=9))


def _cut(data: bytes, place: float, length: int, junk: bytes) -> bytes:
    at = int(place * len(data))
    return data[:at] + junk + data[at + length :]


@fuzzed
@given(st.sampled_from(sorted(COLMAP)), st.lists(CUTS, min_size=1, max_size=3))
def test_colmap_binary(tmp_path: Path, name: str, cuts: list[tuple[float, int, bytes]]) -> None:
    for file, data in COLMAP.items():
        for cut in cuts if file == name else ():
            data = _cut(data, *cut)
        (tmp_path / file).write_bytes(data)
    with _typed():
        import_cameras(tmp_path)


@fuzzed
@given(st.lists(st.lists(WORDS, max_size=12), max_size=4), st.lists(st.lists(WORDS, max_size=12), max_size=4))
def test_colmap_text(tmp_path: Path, lenses: list[list[str]], pictures: list[list[str]]) -> None:
    good = ("1 PINHOLE 64 48 50 50 32 24\n", "1 1 0 0 0 0 0 0 1 0001.png\n\n")
    for file, first, rows in (("cameras.txt", good[0], lenses), ("images.txt", good[1], pictures)):
        (tmp_path / file).write_text(first + "\n".join(" ".join(row) for row in rows))
    with _typed():
        import_cameras(tmp_path)


PLATE: dict[str, Any] = {
    "size": [8, 6], "alpha": "straight", "encoding": "srgb", "metric": True, "lens_px": [9, 9, 4, 3],
    "picture": [0, 0, 8, 6],
    "layers": [
        {"file": "a.png", "name": "sky", "at": [0, 0], "depth": 9.0},
        {"file": "a.png", "depth": {"file": "a.png", "near": 1, "far": 4}},
    ],
}  # fmt: skip


@pytest.fixture
def picture() -> bytes:
    return images.encode_png(np.full((6, 8, 4), 200, np.uint8))


@fuzzed
@given(changes=CHANGES)
def test_plate_yaml(tmp_path: Path, picture: bytes, changes: list) -> None:
    (tmp_path / "a.png").write_bytes(picture)
    (tmp_path / "plate.yaml").write_text(yaml.safe_dump(_changed(PLATE, changes)))
    with _typed():
        read_layer_folder(tmp_path, "source.path")


@fuzzed
@given(text=st.text(max_size=200) | st.text("{}[]&*!|>-:,#'\"\n a0", max_size=60))
def test_any_text_as_plate_yaml(tmp_path: Path, text: str) -> None:
    (tmp_path / "plate.yaml").write_bytes(text.encode(errors="replace"))
    with _typed():
        read_layer_folder(tmp_path, "source.path")


ASSET: dict[str, Any] = {
    "meta": {"generator": "x"}, "asset": {"field_of_view": 60, "max_depth": 10, "min_depth": 1},
    "plates": [{"name": "sky", "filename": "a.png", "x": 0, "y": 0, "z": 0.5, "scale_x": 1, "scale_y": 1, "scale_z": 1,
                "depth_map_filename": "a.png", "mean_depth": 0.5}],
}  # fmt: skip


def test_a_2p5d_of_one_small_picture_cannot_ask_for_a_huge_layer(tmp_path: Path, picture: bytes) -> None:
    """The canvas is at least a pixel wide and high, whatever the scale that a plate is brought to on it."""
    document = copy.deepcopy(ASSET)
    document["plates"][0] |= {"scale_x": 1e5, "scale_y": 1e5}
    with zipfile.ZipFile(tmp_path / "x.2p5d", "w") as archive:
        archive.writestr("data.json", json.dumps(document))
        archive.writestr("a.png", picture)
    with pytest.raises(InvalidRequest, match="pixels"):
        read_2p5d(tmp_path / "x.2p5d", "source.path", "straight")


@fuzzed
@given(changes=CHANGES)
def test_2p5d(tmp_path: Path, picture: bytes, changes: list) -> None:
    with zipfile.ZipFile(tmp_path / "x.2p5d", "w") as archive:
        archive.writestr("data.json", json.dumps(_changed(ASSET, changes)))
        archive.writestr("a.png", picture)
    with _typed():
        read_2p5d(tmp_path / "x.2p5d", "source.path", "straight")


@fuzzed
@given(cuts=st.lists(CUTS, min_size=1, max_size=3))
def test_2p5d_archives(tmp_path: Path, picture: bytes, cuts: list[tuple[float, int, bytes]]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.json", json.dumps(ASSET))
        archive.writestr("a.png", picture)
    data = stream.getvalue()
    for cut in cuts:
        data = _cut(data, *cut)
    (tmp_path / "x.2p5d").write_bytes(data)
    with _typed():
        read_2p5d(tmp_path / "x.2p5d", "source.path", "straight")


KINDS = sorted(convert._REQUESTS)


def _field(descriptor: Any, draw: Any, depth: int) -> Any:
    kind = descriptor.cpp_type
    if kind == descriptor.CPPTYPE_MESSAGE:
        return _message(descriptor.message_type, draw, depth + 1)
    if kind == descriptor.CPPTYPE_STRING:
        if descriptor.type == descriptor.TYPE_BYTES:
            return draw(st.binary(max_size=8))
        return draw(st.sampled_from(["", "x", "/", "/nowhere", "..", "path:1=2,3", "path:", "+y", "world", "\0"])
                    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
    if kind == descriptor.CPPTYPE_BOOL:
        return draw(st.booleans())
    if kind in (descriptor.CPPTYPE_DOUBLE, descriptor.CPPTYPE_FLOAT):
        return draw(st.floats(width=32) | st.sampled_from([0.0, -1.0, 1.0]))
    low = 0 if kind in (descriptor.CPPTYPE_UINT32, descriptor.CPPTYPE_UINT64) else -(2**31)
    return draw(st.integers(low, 2**31 - 1) | st.integers(0, 5))


def _message(descriptor: Any, draw: Any, depth: int = 0) -> Any:
    from google.protobuf import message_factory

    made = message_factory.GetMessageClass(descriptor)()
    for field in descriptor.fields:
        if depth > 3 or not draw(st.integers(0, 2)):
            continue
        values = [_field(field, draw, depth) for _ in range(draw(st.integers(0, 2)) if field.is_repeated else 1)]
        if field.is_repeated:
            getattr(made, field.name).extend(values)
        elif field.cpp_type == field.CPPTYPE_MESSAGE:
            getattr(made, field.name).CopyFrom(values[0])
        else:
            setattr(made, field.name, values[0])
    return made


@pytest.fixture
def access(tmp_path: Path) -> Access:
    def no_result(asset: str, tenant: str) -> Path:
        raise NotFound("no result")

    return Access([tmp_path], AssetStore(tmp_path / "assets"), no_result, any_local=True)


@fuzzed
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_requests(access: Access, kind: str, data: st.DataObject) -> None:
    message = _message(convert._REQUESTS[kind].DESCRIPTOR, data.draw)
    with _typed():
        convert.job_request(kind, message.SerializeToString(), access)


@fuzzed
@given(kind=st.sampled_from(KINDS), junk=st.binary(max_size=60))
def test_requests_of_any_bytes(access: Access, kind: str, junk: bytes) -> None:
    try:
        convert._REQUESTS[kind].FromString(junk)
    except DecodeError:
        return  # gRPC answers those
    with _typed():
        convert.job_request(kind, junk, access)


STEPS = st.lists(
    st.tuples(st.sampled_from(["truck", "dolly", "zoom", "handheld", "locked", "forward", "x", ""]),
              st.sampled_from(["", "=", "=right:", "=in:", "=3:", "=\u0663:", "=:"]), WORDS).map("".join),
    min_size=1, max_size=4,
)  # fmt: skip


@fuzzed
@given(STEPS, st.sampled_from(["+", ";", "0:", "@"]))
def test_moves(steps: list[str], between: str) -> None:
    with suppress(ValueError):  # which names the part
        parse_move(between.join(steps))


@fuzzed
@given(st.lists(st.tuples(WORDS, st.lists(WORDS, max_size=4)), max_size=3))
def test_ways_of_objects(keys: list[tuple[str, list[str]]]) -> None:
    with _typed():
        way = path_keys("path:" + ";".join(f"{frame}={','.join(at)}" for frame, at in keys), "objects[0].attach")
        assert np.isfinite([(*key.at, key.yaw) for key in way]).all()


LINES = st.text(max_size=12) | st.sampled_from(["anna sha256:" + "0" * 64, "# x", "anna sha256:0"])


@fuzzed
@given(st.lists(LINES, max_size=4))
def test_token_files(tmp_path: Path, lines: list[str]) -> None:
    file = tmp_path / "tokens"
    file.write_text("\n".join(lines), errors="surrogatepass")
    file.chmod(0o600)
    with _typed():
        assert Tokens(file).tenant("x") is None

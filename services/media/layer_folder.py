"""A folder of pictures, one for each layer, and ``plate.yaml`` that says what they are.

    size: [1920, 1080]              # of the canvas, px; default: the farthest layer's
    alpha: straight                 # or premultiplied; default: found where that is clear
    encoding: srgb                  # or linear; default: linear for EXR files
    metric: true                    # depths are metres; default: false
    lens_px: [1900, 1900, 960, 540] # focal lengths and principal point; default: the request's focal length
    picture: [0, 0, 1920, 1080]     # the part of the canvas that was the source; default: all
    layers:                         # from the farthest to the nearest
      - file: sky.png
        name: sky                   # default: the file's name
        at: [0, 0]                  # of its first pixel on the canvas; needed where sizes differ
        depth: 60                   # everywhere,
      - file: hills.png
        depth: {file: hills_depth.png, near: 8, far: 60}    # or a picture: white is near, 1/z runs linearly;
      - file: hut.exr
        depth: {file: hut_depth.exr}                        # or an EXR of z-depth
        motion: hut_motion.exr      # X, Y: px a frame
        video: water.mov            # its colour, frame by frame, on the layer's raster

Unknown keys, missing files and files outside the folder are errors; nothing is guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from geometry.camera import Camera
from geometry.layers import Encoding
from services.errors import InvalidRequest
from services.media import exr, images
from services.media.clip import ClipReader, open_clip
from services.media.decoder import check_budget
from services.media.raw_layers import ALPHAS, RawLayer, RawLayers, depth_from_code, straight

Array = np.ndarray

FILE = "plate.yaml"
BYTE_BUDGET = 2**32  # of all decoded layers
_LARGEST_YAML_BYTES = 2**20
_DEEPEST = 50


def is_layer_folder(path: Path) -> bool:
    return path.is_dir() and (path / FILE).is_file()


def files_of(folder: Path) -> list[Path]:
    """Everything that the folder's layers are made of, for digests."""
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


def read_layer_folder(folder: Path, field: str, alpha: str = "") -> RawLayers:
    """``alpha`` overrules the file's. Raises ``InvalidRequest`` that names the key."""
    top = _Keys(_loaded(folder / FILE, field), f"{field}: {FILE}")
    entries = top.take("layers", list)
    if not entries:
        raise top.wrong("layers", "at least one layer", entries)
    stored = top.choice("alpha", ("", *ALPHAS), "")
    said = alpha or stored
    asked: str = top.choice("encoding", ("", "srgb", "linear"), "")
    readers = [_Entry(folder, entry, f"{field}: {FILE}: layers[{i}]") for i, entry in enumerate(entries)]
    width, height = wh = tuple(top.integers("size", 2, readers[0].wh))
    check_budget((width, height), folder / FILE, field)
    lens = top.numbers("lens_px", 4, None)
    if lens and min(lens[:2]) <= 0:
        raise top.wrong("lens_px", "two focal lengths > 0, and the principal point", lens)
    picture = tuple(top.integers("picture", 4, (0, 0, *wh)))
    metric = top.take("metric", bool, False)
    top.done()
    _check(readers, wh, top)
    layers = tuple(reader.layer(said) for reader in readers)
    encoding: Encoding = asked or ("linear" if readers[0].is_float else "srgb")  # type: ignore[assignment]
    camera = Camera(lens[0], lens[1], lens[2], lens[3], (width, height)) if lens else None
    return RawLayers(layers, (width, height), encoding, camera, picture, metric)


def _loaded(file: Path, field: str) -> Any:
    if file.stat().st_size > _LARGEST_YAML_BYTES:
        raise InvalidRequest(field, f"a {FILE} of at most {_LARGEST_YAML_BYTES} bytes", file.stat().st_size)
    text = file.read_text(errors="replace")
    if _nesting(text) > _DEEPEST:  # the time that the parser takes grows with the square of it
        raise InvalidRequest(field, f"a {FILE} of lists in lists at most {_DEEPEST} deep", "deeper ones")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise InvalidRequest(field, f"a {FILE} without aliases, which can make a file endless", "some")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidRequest(field, f"a {FILE} that is YAML", str(error).splitlines()[0]) from error


def _nesting(text: str) -> int:
    """How deep brackets are nested, at most."""
    depth = deepest = 0
    for bracket in re.findall(r"[][{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _check(readers: list[_Entry], wh: tuple[int, ...], top: _Keys) -> None:
    if len({reader.is_float for reader in readers}) > 1:
        raise top.wrong("layers", "pictures of one kind", "EXR files, which are linear, beside others")
    total = sum(reader.bytes for reader in readers)
    if total > BYTE_BUDGET:
        raise top.wrong("layers", f"at most {BYTE_BUDGET} decoded bytes", total)
    for reader in readers:
        if reader.at is None and reader.wh != wh:
            expected = f"at: [X, Y] of a layer that is not of the canvas's {wh[0]}x{wh[1]}"
            raise InvalidRequest(reader.keys.where, expected, f"none for {reader.wh[0]}x{reader.wh[1]}")


class _Entry:
    """One layer of the file; its header is read first."""

    def __init__(self, folder: Path, entry: Any, where: str) -> None:
        self.keys = keys = _Keys(entry, where)
        self._folder = folder
        self._file = self._inside(keys.take("file", str), "file")
        self.name = keys.take("name", str, self._file.stem)
        self.at = keys.integers("at", 2, None)
        self._depth = keys.take("depth", (int, float, dict), None)
        self._motion, self._video = keys.take("motion", str, ""), keys.take("video", str, "")
        keys.done()
        header = images.read_header(self._file, f"{where}.file")
        self.wh, self.is_float = header.wh, header.bit_depth == 32
        self.bytes = header.wh[0] * header.wh[1] * 4 * header.bit_depth // 8

    def layer(self, said: str) -> RawLayer:
        colour, alpha = images.read_layer(self._file, f"{self.keys.where}.file")
        said = said or ("premultiplied" if self.is_float else "")
        colour = straight(colour, alpha, said, f"{self.keys.where}.file", self._file.name)
        depth = self._depth if self._depth is None or isinstance(self._depth, dict) else float(self._depth)
        if isinstance(depth, float) and not (math.isfinite(depth) and depth > 0):
            raise self.keys.wrong("depth", "a number > 0", depth)
        return RawLayer(
            self.name, colour, alpha, (0, 0) if self.at is None else (self.at[0], self.at[1]),
            self._depth_map(depth) if isinstance(depth, dict) else depth,
            self._motion_map() if self._motion else None, self._clip(colour.dtype) if self._video else None,
        )

    def _depth_map(self, entry: dict) -> Array:
        keys = _Keys(entry, f"{self.keys.where}.depth")
        file = self._inside(keys.take("file", str), "depth")
        near, far = keys.take("near", (int, float), None), keys.take("far", (int, float), None)
        keys.done()
        plane = images.read_plane(file, keys.where)
        self._expect_raster("depth", plane.shape[:2])
        if plane.dtype == np.float32:
            return plane
        if near is None or far is None or not 0 < near <= far:
            raise InvalidRequest(keys.where, "near and far with 0 < near <= far, for a picture of integers",
                                 f"{near} and {far}")
        return depth_from_code(plane, float(near), float(far))

    def _motion_map(self) -> Array:
        where = f"{self.keys.where}.motion"
        channels = exr.read_channels(self._inside(self._motion, "motion"), where)
        if not {"X", "Y"} <= set(channels):
            raise InvalidRequest(where, "an EXR with channels X and Y", ", ".join(channels))
        motion = np.stack([channels["X"], channels["Y"]], -1).astype(np.float32)
        self._expect_raster("motion", motion.shape[:2])
        return motion

    def _clip(self, dtype: np.dtype) -> ClipReader:
        try:
            clip = open_clip(self._inside(self._video, "video"))
        except InvalidRequest as error:
            raise InvalidRequest(f"{self.keys.where}.video", error.expected, error.got) from error
        self._expect_raster("video", clip.hw)
        if clip.info.dtype != dtype:
            raise self.keys.wrong("video", f"a clip of {dtype}, as the layer is", clip.info.dtype)
        return clip

    def _expect_raster(self, key: str, hw: tuple[int, ...]) -> None:
        if tuple(hw) != self.wh[::-1]:
            raise self.keys.wrong(key, f"{self.wh[0]}x{self.wh[1]} px, as the layer has", f"{hw[1]}x{hw[0]}")

    def _inside(self, name: str, key: str) -> Path:
        """A file below the folder. Uploads are links into a store, so that only the name can be judged."""
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
            raise self.keys.wrong(key, "a file inside the folder", name)
        path = self._folder / name
        if not path.is_file():
            raise self.keys.wrong(key, "an existing file", name)
        return path


class _Keys:
    """A mapping whose every key must be asked for, and have the type that is asked for."""

    def __init__(self, mapping: Any, where: str) -> None:
        self.where = where
        if not isinstance(mapping, Mapping):
            raise InvalidRequest(where, "keys and values", mapping)
        self._left = dict(mapping)

    def take(self, key: str, kind: type | tuple[type, ...], *default: Any) -> Any:
        if key not in self._left:
            if not default:
                raise self.wrong(key, "a value", "none")
            return default[0]
        value = self._left.pop(key)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.wrong(key, " or ".join(k.__name__ for k in kinds), repr(value))
        return value

    def choice(self, key: str, known: tuple[str, ...], default: str) -> str:
        value = self.take(key, str, default)
        if value not in known:
            raise self.wrong(key, " or ".join(filter(None, known)), value)
        return value

    def numbers(self, key: str, count: int, default: Any, kinds: tuple[type, ...] = (int, float)) -> Any:
        if key not in self._left:
            return default
        values = self.take(key, list)
        if len(values) != count or not all(type(v) in kinds and math.isfinite(v) for v in values):
            raise self.wrong(key, f"{count} {'whole ' if kinds == (int,) else ''}numbers", values)
        return values

    def integers(self, key: str, count: int, default: Any) -> Any:
        return self.numbers(key, count, default, (int,))

    def done(self) -> None:
        if self._left:
            raise InvalidRequest(self.where, "known keys", ", ".join(map(str, self._left)))

    def wrong(self, key: str, expected: object, got: object) -> InvalidRequest:
        between = "." if self.where.endswith("]") else ": "
        return InvalidRequest(f"{self.where}{between}{key}", expected, got)



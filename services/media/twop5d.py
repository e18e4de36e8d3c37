"""``.2p5d``, the 2.5D asset of Disguise and what reads it: a zip with ``data.json``, pictures and depth maps.

What the numbers mean here, format version 1.0.0:

- ``field_of_view``: horizontal, degrees, of the picture that all plates are seen in from the origin.
- ``z``: the plate's distance as a share of ``max_depth`` (metres).
- ``scale_x``, ``scale_y``: the plate's sides as shares of the picture's where the plate stands; ``x``, ``y``: its
  middle, in the same shares, from the picture's middle, y up.
- depth maps: inverse-normalised between ``min_depth`` and ``max_depth``, white near (see ``raw_layers``);
  ``mean_depth`` is the map's mean. A map is relief around ``z``, times ``scale_z``.

Names are checked before anything is unpacked, and only what ``data.json`` refers to is.
"""

from __future__ import annotations

import json
import math
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from geometry.camera import Camera
from services.errors import InvalidRequest
from services.media import images
from services.media.decoder import check_budget
from services.media.raw_layers import RawLayer, RawLayers, depth_from_code, straight

Array = np.ndarray

DATA = "data.json"
GENERATOR = "Backlot"
BYTE_BUDGET = 2**32  # of all files, unpacked
_MOST_FILES = 4096
_BYTES_PER_PX = 20  # colour, alpha and depth as float32
_LARGEST_JSON_BYTES = 2**20
_DEFAULT_FOV_DEG = 60.0


def read_2p5d(path: Path, field: str, alpha: str = "") -> RawLayers:
    """Raises ``InvalidRequest`` for a damaged archive, names that lead out of it, bombs, and files that are missing."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="backlot-2p5d-") as folder:
            return _Reader(archive, Path(folder), path, field).read(alpha)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError) as error:
        raise InvalidRequest(field, "a .2p5d file", f"{path.name}, damaged or something else: {error}") from error


@dataclass(frozen=True)
class _Plate:
    """An entry of ``plates``; ``mean`` None: the document does not say it."""

    name: str
    picture: Path
    depth: Path | None
    wh: tuple[int, int]
    scale: tuple[float, float, float]
    xyz: tuple[float, float, float]
    mean: float | None


class _Reader:
    def __init__(self, archive: zipfile.ZipFile, folder: Path, path: Path, field: str) -> None:
        self._archive, self._folder, self._path, self._field = archive, folder, path, field
        self._notes: list[str] = []
        self._members = self._checked()
        self._left_bytes = self._left_decoded_bytes = BYTE_BUDGET

    def read(self, alpha: str) -> RawLayers:
        document = self._document()
        asset, listed = _mapping(document.get("asset")), document.get("plates")
        if not isinstance(listed, list) or not listed:
            raise self._wrong("plates: a list of at least one plate", listed)
        plates = [self._plate(_mapping(plate), f"plates[{i}]", i) for i, plate in enumerate(listed)]
        width, height = (max(1, round(max(plate.wh[k] / plate.scale[k] for plate in plates))) for k in (0, 1))
        check_budget((width, height), self._path, self._field)
        fov = self._number(asset, "field_of_view", _DEFAULT_FOV_DEG, "asset")
        if not 0 < fov < 180:
            raise self._wrong("asset.field_of_view: degrees between 0 and 180", fov)
        focal = width / 2 / math.tan(math.radians(fov) / 2)
        far = self._number(asset, "max_depth", 1.0, "asset")
        near = self._number(asset, "min_depth", far / 100, "asset")
        if not 0 < near <= far:
            raise self._wrong("asset: 0 < min_depth <= max_depth", f"{near} and {far}")
        if _mapping(document.get("meta")).get("generator") != GENERATOR:
            plates.sort(key=lambda plate: -plate.xyz[2])
        layers = tuple(self._layer(plate, (width, height), near, far, alpha) for plate in plates)
        camera = Camera(focal, focal, width / 2, height / 2, (width, height))
        return RawLayers(layers, (width, height), "srgb", camera, None, "max_depth" in asset, tuple(self._notes))

    def _checked(self) -> Mapping[str, zipfile.ZipInfo]:
        infos = self._archive.infolist()
        if len(infos) > _MOST_FILES:
            raise self._wrong(f"at most {_MOST_FILES} files", len(infos))
        for info in infos:
            parts = PurePosixPath(info.filename.replace("\\", "/"))
            if parts.is_absolute() or ".." in parts.parts or ":" in info.filename:
                raise self._wrong("names that stay inside the archive", info.filename)
        total = sum(info.file_size for info in infos)
        if total > BYTE_BUDGET:
            raise self._wrong(f"at most {BYTE_BUDGET} bytes unpacked", total)
        return {info.filename: info for info in infos}

    def _document(self) -> Mapping[str, Any]:
        if DATA not in self._members:
            raise self._wrong(f"a {DATA}", "none")
        if self._members[DATA].file_size > _LARGEST_JSON_BYTES:
            raise self._wrong(f"a {DATA} of at most {_LARGEST_JSON_BYTES} bytes", self._members[DATA].file_size)
        try:
            document = json.loads(self._unpacked(DATA))
        except (ValueError, RecursionError) as error:
            raise self._wrong(f"a {DATA} that is JSON", error) from error
        return _mapping(document)

    def _plate(self, plate: Mapping[str, Any], where: str, i: int) -> _Plate:
        x, y, z = (self._number(plate, key, default, where) for key, default in (("x", 0.0), ("y", 0.0), ("z", 1.0)))
        scale = tuple(self._number(plate, f"scale_{axis}", 1.0, where) for axis in "xyz")
        if min(*scale, z) <= 0:
            raise self._wrong(f"{where}: scales and z > 0", (*scale, z))
        picture = self._file(plate.get("filename"), f"{where}.filename", i, "")
        name = str(plate.get("name") or PurePosixPath(plate["filename"]).stem)
        for key in ("rotation_x", "rotation_y", "rotation_z", "mesh_filename"):
            if plate.get(key):
                self._notes.append(f"{name!r}: its {key.partition('_')[0]} is left out")
        depth, mean = plate.get("depth_map_filename"), plate.get("mean_depth")
        return _Plate(
            name, picture, self._file(depth, f"{where}.depth_map_filename", i, "_depth") if depth else None,
            images.read_header(picture, f"{self._field}: {where}.filename").wh, scale, (x, y, z),  # type: ignore[arg-type]
            None if mean is None else self._number(plate, "mean_depth", 0.0, where),
        )

    def _layer(self, plate: _Plate, canvas: tuple[int, int], near: float, far: float, said: str) -> RawLayer:
        colour, alpha = images.read_layer(plate.picture, self._field)
        colour = straight(colour, alpha, said, self._field, plate.name)
        wh = (max(1, round(canvas[0] * plate.scale[0])), max(1, round(canvas[1] * plate.scale[1])))
        check_budget(wh, self._path, self._field)
        self._left_decoded_bytes -= wh[0] * wh[1] * _BYTES_PER_PX
        if self._left_decoded_bytes < 0:
            raise self._wrong(f"layers of at most {BYTE_BUDGET} decoded bytes", f"more with {plate.name!r}")
        depth = plate.xyz[2] * far if plate.depth is None else _resized(self._relief(plate, near, far), wh)
        if plate.wh != wh:
            self._notes.append(f"{plate.name!r} is brought from {plate.wh[0]}x{plate.wh[1]} to {wh[0]}x{wh[1]}")
        x = (0.5 + plate.xyz[0]) * canvas[0] - wh[0] / 2
        y = (0.5 - plate.xyz[1]) * canvas[1] - wh[1] / 2
        return RawLayer(plate.name, _resized(colour, wh), _resized(alpha, wh), (round(x), round(y)), depth)

    def _relief(self, plate: _Plate, near: float, far: float) -> Array:
        """The map's depth, moved as a whole to where the plate stands."""
        assert plate.depth is not None
        depth = depth_from_code(images.read_plane(plate.depth, self._field), near, far)
        if plate.mean is None:
            return depth
        middle = 1 / (plate.mean * (1 / near - 1 / far) + 1 / far)
        moved = (depth - np.float32(middle)) * np.float32(plate.scale[2]) + np.float32(plate.xyz[2] * far)
        return np.maximum(moved, np.float32(near / 10))

    def _file(self, name: Any, where: str, i: int, kind: str) -> Path:
        """A member of the archive, unpacked under a name of ours."""
        if not isinstance(name, str) or name not in self._members:
            raise self._wrong(f"{where}: a file of the archive", repr(name))
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in images.SUFFIXES:
            raise self._wrong(f"{where}: a picture ({' '.join(images.SUFFIXES)})", name)
        path = self._folder / f"{i}{kind}{suffix}"
        path.write_bytes(self._unpacked(name))
        return path

    def _unpacked(self, name: str) -> bytes:
        """What the archive says of sizes may be a lie."""
        with self._archive.open(name) as member:
            data = member.read(min(self._members[name].file_size, self._left_bytes) + 1)
        self._left_bytes -= len(data)
        if len(data) > self._members[name].file_size or self._left_bytes < 0:
            raise self._wrong(f"at most {BYTE_BUDGET} bytes unpacked, as many as it announces", f"more in {name}")
        return data

    def _number(self, mapping: Mapping[str, Any], key: str, default: float, where: str) -> float:
        value = mapping.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._wrong(f"{where}.{key}: a number", repr(value))
        return float(value)

    def _wrong(self, expected: object, got: object) -> InvalidRequest:
        return InvalidRequest(self._field, f"{self._path.name} with {expected}", got)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _resized(plane: Array, wh: tuple[int, int]) -> Array:
    if plane.shape[1::-1] == wh:
        return plane
    shrinks = wh[0] <= plane.shape[1] and wh[1] <= plane.shape[0]
    return cv2.resize(plane, wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)

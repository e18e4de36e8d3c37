"""Cameras of a glTF 2.0 file (.gltf, .glb): the perspective camera node and its animation, sampled at whole frames."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from geometry import frames, rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath
from services.export.aspect import expect_aspect

Array = np.ndarray

_COMPONENTS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
_FLOAT = 5126
_MODES = ("LINEAR", "STEP", "CUBICSPLINE")
_GLB_MAGIC, _JSON_CHUNK, _BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942


@dataclass(frozen=True)
class _Track:
    """Key frames of one property of one node."""

    times: Array  # (K,) seconds
    values: Array  # (K, C); of a spline (3 K, C): incoming slope, value, outgoing slope
    mode: str

    def at(self, time: float, *, is_rotation: bool) -> Array:
        time = float(np.clip(time, self.times[0], self.times[-1]))
        if self.mode == "CUBICSPLINE":
            return self._spline(time)
        if self.mode == "STEP" or len(self.times) == 1:
            return self.values[self._key(time)]
        if is_rotation:
            return Slerp(self.times, Rotation.from_quat(self.values))(time).as_quat()
        return np.array([np.interp(time, self.times, column) for column in self.values.T])

    def _key(self, time: float) -> int:
        return max(int(np.searchsorted(self.times, time, "right")) - 1, 0)

    def _spline(self, time: float) -> Array:
        """glTF 2.0, appendix C.5; the caller normalises quaternions."""
        incoming, values, outgoing = self.values.reshape(-1, 3, self.values.shape[1]).swapaxes(0, 1)
        if len(self.times) == 1:
            return values[0]
        k = min(self._key(time), len(self.times) - 2)
        span = self.times[k + 1] - self.times[k]
        t = (time - self.times[k]) / span
        ease = t * t * (3 - 2 * t)
        slopes = t * (1 - t) ** 2 * outgoing[k] - t * t * (1 - t) * incoming[k + 1]
        return (1 - ease) * values[k] + ease * values[k + 1] + span * slopes


def read_gltf(
    file: Path, wh: tuple[int, int] | None, rate: Fraction, numbers: Sequence[int] | None = None
) -> CameraPath:
    """The only perspective camera, on a raster of ``wh``; frame n is the time n / ``rate``.

    Frames: from the first key of the camera and its parents to the last; ``numbers`` (else frame 0) of one that stands
    still. Raises ``ValueError``.
    """
    if wh is None:
        raise ValueError(f"wh: expected the picture's raster ({file.name} does not store it), got none")
    document, blob = _load(file)
    nodes = document.get("nodes", [])
    leaf = _camera_node(file, nodes)
    camera = _lens(file, document["cameras"][nodes[leaf]["camera"]], wh)
    tracks, chain = _tracks(file, document, blob), _chain(nodes, leaf)
    moving = [tracks[key].times * float(rate) for key in tracks if key[0] in chain]
    if moving:
        first, last = min(times[0] for times in moving), max(times[-1] for times in moving)
        numbers = range(int(np.ceil(first - 1e-3)), int(np.floor(last + 1e-3)) + 1)
    numbers = (0,) if numbers is None else numbers
    poses = np.stack([_global_pose(nodes, chain, tracks, float(number / rate)) for number in numbers])
    return CameraPath(tuple(numbers), (camera,) * len(numbers), frames.backlot_from_gltf(poses))


def _camera_node(file: Path, nodes: list[dict[str, Any]]) -> int:
    found = [i for i, node in enumerate(nodes) if "camera" in node]
    if len(found) != 1:
        shown = found or range(len(nodes))
        names = [str(nodes[i].get("name", f"node {i}")) for i in shown]
        kind = "" if found else "nothing but "
        raise ValueError(f"{file.name}: expected one camera, got {kind}{', '.join(names[:12]) or 'no nodes'}")
    return found[0]


def _lens(file: Path, lens: dict[str, Any], wh: tuple[int, int]) -> Camera:
    if lens["type"] != "perspective":
        raise ValueError(f"{file.name}: expected a perspective camera, got {lens['type']}")
    view = lens["perspective"]
    if not 0 < view.get("yfov", 0) < np.pi:
        raise ValueError(f"{file.name}: camera: yfov: expected an angle between 0 and pi, got {view.get('yfov')}")
    expect_aspect(view.get("aspectRatio", wh[0] / wh[1]), wh)
    fy = wh[1] / 2 / np.tan(view["yfov"] / 2)
    return Camera(fy, fy, wh[0] / 2, wh[1] / 2, wh)


def _load(file: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON document and the GLB's binary chunk (empty for .gltf)."""
    data = file.read_bytes()
    if file.suffix.lower() == ".gltf":
        return json.loads(data), b""
    if len(data) < 20 or struct.unpack_from("<I", data)[0] != _GLB_MAGIC:
        raise ValueError(f"{file.name}: expected a GLB file, got something else")
    chunks, at = {}, 12
    while at + 8 <= len(data):
        length, kind = struct.unpack_from("<II", data, at)
        chunks[kind] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return json.loads(chunks.get(_JSON_CHUNK, b"{}")), chunks.get(_BIN_CHUNK, b"")


def _tracks(file: Path, document: dict[str, Any], blob: bytes) -> dict[tuple[int, str], _Track]:
    tracks = {}
    for animation in document.get("animations", []):
        for channel in animation["channels"]:
            sampler = animation["samplers"][channel["sampler"]]
            mode = sampler.get("interpolation", "LINEAR")
            if mode not in _MODES:
                raise ValueError(f"{file.name}: animation: expected {', '.join(_MODES)}, got {mode}")
            target = channel["target"]
            if target["path"] == "weights" or "node" not in target:
                continue
            times = _accessor(file, document, blob, sampler["input"])[:, 0]
            values = _accessor(file, document, blob, sampler["output"])
            tracks[target["node"], target["path"]] = _Track(times, values, mode)
    return tracks


def _accessor(file: Path, document: dict[str, Any], blob: bytes, index: int) -> Array:
    """(count, components) float64 of a float accessor."""
    accessor = document["accessors"][index]
    if accessor["componentType"] != _FLOAT or "sparse" in accessor:
        raise ValueError(f"{file.name}: accessors[{index}]: expected plain floats, got {accessor['componentType']}")
    view = document["bufferViews"][accessor["bufferView"]]
    data = _buffer(file, document["buffers"][view["buffer"]], blob)
    columns, count = _COMPONENTS[accessor["type"]], accessor["count"]
    stride = view.get("byteStride", 4 * columns)
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    if start + (count - 1) * stride + 4 * columns > len(data):
        raise ValueError(f"{file.name}: accessors[{index}]: expected data within its buffer, got past its end")
    values = np.ndarray((count, columns), "<f4", data, start, (stride, 4))
    return values.astype(np.float64)


def _buffer(file: Path, buffer: dict[str, Any], blob: bytes) -> bytes:
    uri = buffer.get("uri")
    if uri is None:
        return blob
    if uri.startswith("data:"):
        return base64.b64decode(uri.partition(",")[2])
    neighbour = (file.parent / uri).resolve()
    if not neighbour.is_relative_to(file.parent.resolve()):
        raise ValueError(f"{file.name}: buffers: expected a file beside it, got {uri}")
    return neighbour.read_bytes()


def _chain(nodes: list[dict[str, Any]], leaf: int) -> list[int]:
    """Nodes from the root down to ``leaf``."""
    parents = {child: i for i, node in enumerate(nodes) for child in node.get("children", [])}
    chain = [leaf]
    while chain[0] in parents and len(chain) <= len(nodes):
        chain.insert(0, parents[chain[0]])
    return chain


def _global_pose(
    nodes: list[dict[str, Any]], chain: list[int], tracks: dict[tuple[int, str], _Track], time: float
) -> Array:
    """world_from_camera without the scale that a parent may have."""
    pose = np.eye(4)
    for i in chain:
        pose = pose @ _local(nodes[i], i, tracks, time)
    pose[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)
    return pose


def _local(node: dict[str, Any], i: int, tracks: dict[tuple[int, str], _Track], time: float) -> Array:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    values = {"translation": node.get("translation", (0, 0, 0)), "rotation": node.get("rotation", (0, 0, 0, 1)),
              "scale": node.get("scale", (1, 1, 1))}
    for name in values:
        if (i, name) in tracks:
            values[name] = tracks[i, name].at(time, is_rotation=name == "rotation")
    rotation = Rotation.from_quat(np.asarray(values["rotation"], np.float64)).as_matrix()
    return rigid.rigid(rotation * np.asarray(values["scale"], np.float64), np.asarray(values["translation"]))

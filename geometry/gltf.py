"""glTF 2.0 documents: accessors, nodes and their animation, cameras. Meshes are in ``blockout_gltf``.

Tracks are named by JSON pointers, as the extension KHR_animation_pointer names what it moves: ``/nodes/3/rotation``,
``/cameras/0/perspective/yfov``.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from geometry import rigid
from geometry.mesh import MeshError

Array = np.ndarray
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
KINDS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
MODES = ("LINEAR", "STEP", "CUBICSPLINE")
GLB_MAGIC, JSON_CHUNK, BIN_CHUNK = 0x46546C67, 0x4E4F534A, 0x004E4942
PACKED = ("KHR_draco_mesh_compression", "EXT_meshopt_compression")


class NoSuchAnimation(MeshError):
    """The file has none of that name."""


@dataclass(frozen=True)
class Track:
    """Key frames of one property: ``times`` (K,) seconds; ``values`` (K, C), of a spline (3 K, C): slope in, value,
    slope out."""

    times: Array
    values: Array
    mode: str
    is_rotation: bool = False

    def at(self, time: float) -> Array:
        """(C,) at ``time`` in seconds; before the first and after the last key the end's value."""
        time = float(np.clip(time, self.times[0], self.times[-1]))
        if self.mode == "CUBICSPLINE":
            return self._spline(time)
        if self.mode == "STEP" or len(self.times) == 1:
            return self.values[self._key(time)]
        if self.is_rotation:
            return Slerp(self.times, Rotation.from_quat(self.values))(time).as_quat()
        k = min(self._key(time), len(self.times) - 2)
        weight = (time - self.times[k]) / (self.times[k + 1] - self.times[k])
        return (1 - weight) * self.values[k] + weight * self.values[k + 1]

    def _key(self, time: float) -> int:
        return max(int(np.searchsorted(self.times, time, "right")) - 1, 0)

    def _spline(self, time: float) -> Array:
        """glTF 2.0, appendix C.5; whoever asks for a rotation normalises it."""
        slope_in, values, slope_out = self.values.reshape(-1, 3, self.values.shape[1]).swapaxes(0, 1)
        if len(self.times) == 1:
            return values[0]
        k = min(self._key(time), len(self.times) - 2)
        span = self.times[k + 1] - self.times[k]
        t = (time - self.times[k]) / span
        ease = t * t * (3 - 2 * t)
        slopes = t * (1 - t) ** 2 * slope_out[k] - t * t * (1 - t) * slope_in[k + 1]
        return (1 - ease) * values[k] + ease * values[k + 1] + span * slopes


class Document:
    """A .gltf or .glb file. Raises ``MeshError`` for files that are none, and for packed geometry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.json, self._blob = _chunks(path)
        packed = [name for name in self.json.get("extensionsRequired", ()) if name in PACKED]
        if packed:
            raise MeshError(f"{path}: expected plain geometry, got {packed[0]}: export it without compression")
        self.nodes: list[dict[str, Any]] = self.json.get("nodes", [])
        self._buffers = lru_cache(None)(self._buffer)

    def node_name(self, node: int) -> str:
        """Its own name, else its mesh's."""
        stored = self.nodes[node]
        mesh = self.json["meshes"][stored["mesh"]] if "mesh" in stored else {}
        return str(stored.get("name") or mesh.get("name") or f"node {node}")

    def accessor(self, index: int) -> Array:
        """(count, components) float64; whole numbers that stand for fractions are divided."""
        accessor = self.json["accessors"][index]
        columns, count, kind = COMPONENTS[accessor["type"]], accessor["count"], accessor["componentType"]
        values = np.zeros((count, columns))
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], accessor.get("byteOffset", 0), count, columns, kind)
        if "sparse" in accessor:
            values = values.copy()
            sparse, few = accessor["sparse"], accessor["sparse"]["count"]
            rows, cells = sparse["indices"], sparse["values"]
            at = self._view(rows["bufferView"], rows.get("byteOffset", 0), few, 1, rows["componentType"])[:, 0]
            values[at.astype(int)] = self._view(cells["bufferView"], cells.get("byteOffset", 0), few, columns, kind)
        if accessor.get("normalized"):
            values = np.maximum(values / np.iinfo(KINDS[kind]).max, -1)
        return values

    def bytes_of_view(self, index: int) -> bytes:
        view = self.json["bufferViews"][index]
        start = view.get("byteOffset", 0)
        return self._buffers(view["buffer"])[start : start + view["byteLength"]]

    def bytes_of_uri(self, uri: str) -> bytes:
        """Raises ``FileNotFoundError``, and ``MeshError`` for a file that does not lie beside or below this one."""
        if uri.startswith("data:"):
            return base64.b64decode(uri.partition(",")[2])
        file = (self.path.parent / unquote(uri)).resolve()
        if not file.is_relative_to(self.path.parent.resolve()):
            raise MeshError(f"{self.path}: uri: expected a file beside it, got {uri}")
        return file.read_bytes()

    def _view(self, view_index: int, offset: int, count: int, columns: int, kind: int) -> Array:
        view, dtype = self.json["bufferViews"][view_index], np.dtype(KINDS[kind])
        data = self._buffers(view["buffer"])
        stride = view.get("byteStride", dtype.itemsize * columns)
        start = view.get("byteOffset", 0) + offset
        if start + (count - 1) * stride + dtype.itemsize * columns > len(data):
            raise MeshError(f"{self.path}: bufferViews[{view_index}]: expected data within its buffer, got more")
        return np.ndarray((count, columns), dtype, data, start, (stride, dtype.itemsize)).astype(np.float64)

    def _buffer(self, index: int) -> bytes:
        uri = self.json["buffers"][index].get("uri")
        return self._blob if uri is None else self.bytes_of_uri(uri)


def _chunks(path: Path) -> tuple[dict[str, Any], bytes]:
    """The JSON document and the GLB's binary chunk (empty for .gltf)."""
    data, blob = path.read_bytes(), b""
    if path.suffix.lower() == ".glb":
        if len(data) < 20 or struct.unpack_from("<I", data)[0] != GLB_MAGIC:
            raise MeshError(f"{path}: expected a GLB file (binary glTF), got {data[:4]!r}")
        chunks, at = {}, 12
        while at + 8 <= len(data):
            length, kind = struct.unpack_from("<II", data, at)
            chunks[kind] = data[at + 8 : at + 8 + length]
            at += 8 + length
        data, blob = chunks.get(JSON_CHUNK, b""), chunks.get(BIN_CHUNK, b"")
    try:
        document = json.loads(data)
    except ValueError as error:
        raise MeshError(f"{path}: expected glTF JSON: {error}") from error
    if not isinstance(document, dict) or "asset" not in document:
        raise MeshError(f"{path}: expected a glTF document with an 'asset' entry")
    return document, blob


def read_tracks(document: Document, animation: str | None = None) -> tuple[dict[str, Track], tuple[str, ...]]:
    """Tracks by pointer, and warnings. Animations that move different things play together; one that moves what an
    earlier one moves (another take of a character, say) is left out. ``animation`` names the only one to play.

    Raises ``NoSuchAnimation`` for a name that is not there.
    """
    takes = {str(take.get("name", i)): take for i, take in enumerate(document.json.get("animations", []))}
    if animation is not None and animation not in takes:
        raise NoSuchAnimation(f"animation: expected one of {', '.join(takes) or '(none)'}, got {animation!r}")
    tracks: dict[str, Track] = {}
    warnings = []
    for name, take in takes.items():
        own = dict(_channels(document, take))
        if animation not in (None, name):
            continue
        if tracks.keys() & own.keys():
            warnings.append(f"{document.path.name}: animation {name!r} moves what an earlier one moves: it is left out")
        else:
            tracks |= own
    return tracks, tuple(warnings)


def _channels(document: Document, animation: Mapping[str, Any]) -> list[tuple[str, Track]]:
    found = []
    for channel in animation["channels"]:
        target, sampler = channel["target"], animation["samplers"][channel["sampler"]]
        pointer = target.get("extensions", {}).get("KHR_animation_pointer", {}).get("pointer")
        if pointer is None and "node" not in target:
            continue
        mode = sampler.get("interpolation", "LINEAR")
        if mode not in MODES:
            raise MeshError(f"{document.path}: animation: expected {', '.join(MODES)}, got {mode}")
        pointer = pointer or f"/nodes/{target['node']}/{target['path']}"
        times = document.accessor(sampler["input"])[:, 0]
        rows = len(times) * (3 if mode == "CUBICSPLINE" else 1)
        values = document.accessor(sampler["output"]).reshape(rows, -1)  # several weights of one key follow each other
        found.append((pointer, Track(times, values, mode, pointer.endswith("/rotation"))))
    return found


class Nodes:
    """The nodes of the scene over time."""

    def __init__(self, document: Document, tracks: Mapping[str, Track]) -> None:
        self._nodes, self._tracks = document.nodes, tracks
        scenes = document.json.get("scenes", [])
        children = {child for node in self._nodes for child in node.get("children", [])}
        roots = [i for i in range(len(self._nodes)) if i not in children]
        shown = scenes[document.json.get("scene", 0)].get("nodes", []) if scenes else roots
        self.order = self._below(shown)
        self.worlds = lru_cache(4)(self._worlds)

    def _below(self, roots: list[int]) -> list[tuple[int, int | None]]:
        """(node, parent) of all that is shown, parents first."""
        order: list[tuple[int, int | None]] = [(root, None) for root in roots]
        seen = set(roots)
        for node, _ in order:  # grows as it is walked
            for child in self._nodes[node].get("children", []):
                if child in seen:
                    raise MeshError(f"node {child}: expected one parent, got several")
                seen.add(child)
                order.append((child, node))
        return order

    def _worlds(self, time: float) -> dict[int, Array]:
        """``world_from_node`` (4, 4) of every node at ``time`` in seconds."""
        worlds: dict[int, Array] = {}
        for node, parent in self.order:
            local = self._local(node, time)
            worlds[node] = local if parent is None else worlds[parent] @ local
        return worlds

    def _local(self, node: int, time: float) -> Array:
        stored = self._nodes[node]
        if "matrix" in stored:
            return np.array(stored["matrix"], np.float64).reshape(4, 4).T
        rest = {"translation": (0, 0, 0), "rotation": (0, 0, 0, 1), "scale": (1, 1, 1)}
        values = {}
        for name, default in rest.items():
            track = self._tracks.get(f"/nodes/{node}/{name}")
            values[name] = np.asarray(stored.get(name, default), np.float64) if track is None else track.at(time)
        rotation = Rotation.from_quat(values["rotation"]).as_matrix()
        return rigid.rigid(rotation * values["scale"], values["translation"])

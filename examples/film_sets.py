"""Sets that are filmed twice: as they are, textured and lit, and as the bare blockout that a previs starts from.

    film_set = interior(46, (720, 480))
    write_blockout(film_set, "room.glb")           # grey objects, their motion, the camera with its zoom
    picture = true_picture(film_set, frame, spp=32, seed=0)

Metres, +Y up. ``interior``: the small room; ``turntable``: a turning stand with a robot on it; a street from which a
car drives away is in ``examples.town``.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from examples.shots import make_shot
from examples.small_scene import camera_path, heading, make_scene, sky
from examples.truth import MAX_DEPTH, developed, frame_seed
from geometry import frames
from geometry.mesh import Mesh
from geometry.render.base import Instance, Renderer, RenderScene, View
from geometry.trajectory import CameraPath

Array = np.ndarray
CAMERA = "shotcam"
GREY = 0.6  # of a blockout
FLOAT, UINT = 5126, 5125


@dataclass(frozen=True)
class Piece:
    """An object; ``world_at`` (4, 4, rigid) of the frame, None = where its vertices are."""

    name: str
    meshes: tuple[Mesh, ...]
    world_at: Callable[[float], Array] | None = None


@dataclass(frozen=True)
class FilmSet:
    """Piece k has object id k + 1, here and in the blockout."""

    pieces: tuple[Piece, ...]
    path: CameraPath
    rate: Fraction = Fraction(24)

    def instances(self, frame: float) -> tuple[Instance, ...]:
        still = np.eye(4)
        return tuple(
            Instance(piece.meshes, still if piece.world_at is None else piece.world_at(frame), k)
            for k, piece in enumerate(self.pieces, 1)
        )


def interior(n_frames: int, wh: tuple[int, int]) -> FilmSet:
    scene = make_scene()
    pieces = (Piece(name, item.meshes) for name, item in zip(scene.names, scene.instances, strict=True))
    return FilmSet(tuple(pieces), camera_path("arc", n_frames, wh))


def turntable(n_frames: int, wh: tuple[int, int]) -> FilmSet:
    shot = make_shot("turntable", n_frames, wh)
    pieces = [Piece(name, item.meshes) for name, item in zip(shot.scene.names, shot.scene.instances, strict=True)]
    (stand,) = shot.actors
    pieces.append(Piece(stand.name, stand.meshes, lambda frame: stand.world_from_mover(shot.time(frame))))
    return FilmSet(tuple(pieces), shot.path)


_sky = cache(sky)  # renderers know a scene again by the identity of its parts


def true_picture(film_set: FilmSet, frame: int, renderer: Renderer, *, spp: int, seed: int) -> Array:
    """(H, W, 3) uint8 sRGB: the set as it is at ``frame``, path traced."""
    path = film_set.path
    light = _sky(heading(path.pose(path.frames[0])))
    traced = renderer.trace(
        RenderScene(film_set.instances(frame), light), View(path.camera(frame), (path.pose(frame),)), objects=[],
        spp=spp, seed=frame_seed(seed, frame, 0), max_depth=MAX_DEPTH,
    )
    return developed(traced.rest_rgb, 0.0, seed, frame)


def write_blockout(film_set: FilmSet, path: str | Path) -> Path:
    """Binary glTF 2.0: grey objects without textures, and the camera ``CAMERA`` with its zoom."""
    glb = _Glb()
    times = [float(frame / film_set.rate) for frame in film_set.path.frames]
    for piece in film_set.pieces:
        moves = [] if piece.world_at is None else [piece.world_at(frame) for frame in film_set.path.frames]
        glb.animate(glb.node(piece.name, mesh=glb.mesh(piece.meshes)), times, moves)
    lenses = film_set.path.cameras
    yfov = [2 * np.arctan(lens.hw[0] / 2 / lens.fy) for lens in lenses]
    camera = glb.camera(yfov[0], lenses[0].wh[0] / lenses[0].wh[1])
    poses = [frames.gltf_from_backlot(pose) for pose in film_set.path.camera_from_world]
    glb.animate(glb.node(CAMERA, camera=camera), times, poses)
    if np.ptp(yfov) > 0:
        pointer = {"pointer": f"/cameras/{camera}/perspective/yfov"}
        glb.channel({"path": "pointer", "extensions": {"KHR_animation_pointer": pointer}}, times, np.array(yfov))
        glb.json["extensionsUsed"] = ["KHR_animation_pointer"]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(glb.data())
    return path


class _Glb:
    """A binary glTF document that grows."""

    def __init__(self) -> None:
        grey = {"pbrMetallicRoughness": {"baseColorFactor": [GREY, GREY, GREY, 1], "metallicFactor": 0}}
        self.json: dict[str, Any] = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": []}], "nodes": [], "meshes": [],
            "materials": [grey], "cameras": [], "accessors": [], "bufferViews": [],
            "animations": [{"samplers": [], "channels": []}],
        }
        self._blob = bytearray()

    def node(self, name: str, **stored: Any) -> int:
        index = self._add("nodes", {"name": name, **stored})
        self.json["scenes"][0]["nodes"].append(index)
        return index

    def mesh(self, meshes: Sequence[Mesh]) -> int:
        return self._add("meshes", {"primitives": [self._primitive(mesh) for mesh in meshes]})

    def camera(self, yfov: float, aspect: float) -> int:
        lens = {"yfov": float(yfov), "aspectRatio": aspect, "znear": 0.01}
        return self._add("cameras", {"type": "perspective", "perspective": lens})

    def animate(self, node: int, times: Sequence[float], worlds: Sequence[Array]) -> None:
        """Rigid matrices (4, 4), one for each time; none: it stands still."""
        if not worlds:
            return
        matrices = np.stack(worlds)
        turns = Rotation.from_matrix(matrices[:, :3, :3]).as_quat()
        self.channel({"node": node, "path": "translation"}, times, matrices[:, :3, 3])
        self.channel({"node": node, "path": "rotation"}, times, turns)

    def channel(self, target: dict[str, Any], times: Sequence[float], values: Array) -> None:
        samplers, channels = self.json["animations"][0]["samplers"], self.json["animations"][0]["channels"]
        moments = self._accessor(np.array(times), min=[float(times[0])], max=[float(times[-1])])
        samplers.append({"input": moments, "output": self._accessor(values)})
        channels.append({"sampler": len(samplers) - 1, "target": target})

    def data(self) -> bytes:
        document = {key: value for key, value in self.json.items() if value != []}
        if not self.json["animations"][0]["channels"]:
            del document["animations"]
        document["buffers"] = [{"byteLength": len(self._blob)}]
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(self._blob), 0x004E4942) + self._blob
        return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks

    def _primitive(self, mesh: Mesh) -> dict[str, Any]:
        low, high = mesh.vertices.min(0).tolist(), mesh.vertices.max(0).tolist()
        attributes = {"POSITION": self._accessor(mesh.vertices, min=low, max=high)}
        if mesh.normals is not None:
            attributes["NORMAL"] = self._accessor(mesh.normals)
        indices = self._accessor(mesh.faces.ravel(), UINT)
        return {"attributes": attributes, "indices": indices, "material": 0}

    def _accessor(self, values: Array, kind: int = FLOAT, **more: list[float]) -> int:
        stored = np.ascontiguousarray(values, "<f4" if kind == FLOAT else "<u4")
        view = self._add("bufferViews", {"buffer": 0, "byteOffset": len(self._blob), "byteLength": stored.nbytes})
        self._blob += stored.tobytes()
        shape = "SCALAR" if stored.ndim == 1 else f"VEC{stored.shape[1]}"
        return self._add(
            "accessors", {"bufferView": view, "componentType": kind, "count": len(stored), "type": shape, **more}
        )

    def _add(self, kind: str, item: dict[str, Any]) -> int:
        self.json[kind].append(item)
        return len(self.json[kind]) - 1

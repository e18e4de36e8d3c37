"""glTF and GLB blockouts: animated nodes, skins, morph targets and cameras with zoom."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from geometry import frames
from geometry.blockout import Blockout, Body, Pose, expect_aspect
from geometry.camera import Camera
from geometry.gltf import Document, Nodes, Track, read_tracks
from geometry.mesh import Material, Mesh, MeshError

Array = np.ndarray
TRIANGLES, STRIP, FAN = 4, 5, 6


@dataclass(frozen=True)
class Primitive:
    """Triangles of one material, and what bends them: ``joints``, ``weights`` (V, J) and ``targets`` of (T, V, 3)."""

    mesh: Mesh
    joints: Array | None
    weights: Array | None
    moved: Array  # (T, V, 3) offsets of the vertices, one set for each morph target
    turned: Array  # (T, V, 3) offsets of the normals


def read_gltf(path: Path, rate: Fraction, animation: str | None = None) -> Blockout:
    """Nodes with triangles are the bodies, named as the nodes. Raises ``MeshError``."""
    document = Document(path)
    tracks, warnings = read_tracks(document, animation)
    nodes = Nodes(document, tracks)
    reader = _Meshes(document)
    bodies, cameras = [], []
    for node, _ in nodes.order:
        stored = document.nodes[node]
        if "mesh" in stored:
            parts = reader.primitives(stored["mesh"])
            if parts:
                bodies.append(Body(document.node_name(node), _NodeMotion(document, nodes, tracks, node, parts, rate)))
        if "camera" in stored:
            cameras.append(GltfCamera(document, nodes, tracks, node, rate))
    moments = [track.times * float(rate) for track in tracks.values()]
    shown = range(1)
    if moments:
        first, last = min(times[0] for times in moments), max(times[-1] for times in moments)
        shown = range(int(np.ceil(first - 1e-3)), max(int(np.floor(last + 1e-3)), int(np.ceil(first - 1e-3))) + 1)
    return Blockout(tuple(bodies), tuple(cameras), shown, warnings + tuple(reader.warnings))


@dataclass(frozen=True)
class GltfCamera:
    """A perspective camera node."""

    document: Document
    nodes: Nodes
    tracks: Mapping[str, Track]
    node: int
    rate: Fraction

    @property
    def name(self) -> str:
        return self.document.node_name(self.node)

    @property
    def aspect(self) -> float | None:
        lens = self.document.json["cameras"][self.document.nodes[self.node]["camera"]]
        return lens.get("perspective", {}).get("aspectRatio")

    def at(self, frame: float, wh: tuple[int, int]) -> tuple[Camera, Array]:
        time = frame / float(self.rate)
        index = self.document.nodes[self.node]["camera"]
        lens = self.document.json["cameras"][index]
        if lens["type"] != "perspective":
            raise ValueError(f"camera {self.name}: expected a perspective camera, got {lens['type']}")
        zoom = self.tracks.get(f"/cameras/{index}/perspective/yfov")
        yfov = lens["perspective"].get("yfov") if zoom is None else float(zoom.at(time)[0])
        if yfov is None or not 0 < yfov < np.pi:
            raise ValueError(f"camera {self.name}: yfov: expected an angle between 0 and pi, got {yfov}")
        expect_aspect(lens["perspective"].get("aspectRatio", wh[0] / wh[1]), wh)
        fy = wh[1] / 2 / np.tan(yfov / 2)
        pose = self.nodes.worlds(time)[self.node].copy()
        pose[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)  # a parent's scale moves the camera, no more
        return Camera(fy, fy, wh[0] / 2, wh[1] / 2, wh), frames.backlot_from_gltf(pose)


class _NodeMotion:
    """A node's meshes over time: bent by morph targets, then by the node's skin or moved by the node."""

    def __init__(
        self, document: Document, nodes: Nodes, tracks: Mapping[str, Track], node: int,
        parts: tuple[Primitive, ...], rate: Fraction,
    ) -> None:
        self._nodes, self._node, self._rate, self._parts = nodes, node, float(rate), parts
        stored = document.nodes[node]
        self._weights = tracks.get(f"/nodes/{node}/weights")
        mesh = document.json["meshes"][stored["mesh"]]
        self._rest_weights = np.array(stored.get("weights", mesh.get("weights", ())), np.float64)
        self._skin = _Skin.of(document, stored["skin"]) if "skin" in stored else None
        self._bent = lru_cache(4)(self._bend)

    def at(self, frame: float) -> Pose:
        time = frame / self._rate
        weights = self._rest_weights if self._weights is None else self._weights.at(time)
        worlds = self._nodes.worlds(time)
        if self._skin is None:
            return Pose(self._bent(weights.tobytes(), b""), worlds[self._node])
        # The joints alone say where a skin is; the node that carries it does not (glTF 2.0, 3.7.3.3).
        return Pose(self._bent(weights.tobytes(), self._skin.matrices(worlds).tobytes()), np.eye(4))

    def _bend(self, weights: bytes, matrices: bytes) -> tuple[Mesh, ...]:
        return tuple(
            _skinned(_morphed(part, np.frombuffer(weights)), part, np.frombuffer(matrices).reshape(-1, 4, 4))
            for part in self._parts
        )


@dataclass(frozen=True)
class _Skin:
    joints: tuple[int, ...]
    joint_from_rest: Array  # (J, 4, 4)

    @classmethod
    def of(cls, document: Document, index: int) -> _Skin:
        skin = document.json["skins"][index]
        joints = tuple(skin["joints"])
        if "inverseBindMatrices" not in skin:
            return cls(joints, np.tile(np.eye(4), (len(joints), 1, 1)))
        stored = document.accessor(skin["inverseBindMatrices"])
        return cls(joints, stored.reshape(-1, 4, 4).swapaxes(1, 2))  # stored by columns

    def matrices(self, worlds: Mapping[int, Array]) -> Array:
        """(J, 4, 4) ``world_from_rest`` of each joint."""
        return np.stack([worlds[joint] for joint in self.joints]) @ self.joint_from_rest


def _morphed(part: Primitive, weights: Array) -> Mesh:
    if not len(part.moved) or not weights.any():
        return part.mesh
    weights = weights[: len(part.moved)]
    normals = part.mesh.normals
    if normals is not None:
        normals = normals + np.tensordot(weights, part.turned, 1)
    return replace(part.mesh, vertices=part.mesh.vertices + np.tensordot(weights, part.moved, 1), normals=normals)


def _skinned(mesh: Mesh, part: Primitive, matrices: Array) -> Mesh:
    """Linear blend skinning: each vertex by the weighted mean of its joints' matrices."""
    if part.joints is None or part.weights is None or not len(matrices):
        return mesh
    blend = np.einsum("vj,vjab->vab", part.weights, matrices[part.joints, :3])  # (V, 3, 4)
    vertices = np.einsum("vab,vb->va", blend[..., :3], mesh.vertices) + blend[..., 3]
    normals = mesh.normals
    if normals is not None:
        a, b, c = blend[:, 0, :3], blend[:, 1, :3], blend[:, 2, :3]
        cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], 1)  # turn normals, whatever the stretch
        normals = np.einsum("vab,vb->va", cofactors, normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return replace(mesh, vertices=vertices, normals=normals)


class _Meshes:
    """Meshes and materials of a document, each read once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.warnings: list[str] = []
        self.primitives = lru_cache(None)(self._primitives)
        self._material = lru_cache(None)(self._read_material)

    def _primitives(self, mesh: int) -> tuple[Primitive, ...]:
        stored = self._document.json["meshes"][mesh]
        name = str(stored.get("name", f"mesh {mesh}"))
        parts = (self._primitive(name, primitive) for primitive in stored["primitives"])
        return tuple(part for part in parts if part is not None)

    def _primitive(self, name: str, stored: Mapping[str, Any]) -> Primitive | None:
        attributes, mode = stored["attributes"], stored.get("mode", TRIANGLES)
        if mode not in (TRIANGLES, STRIP, FAN) or "POSITION" not in attributes:
            self.warnings.append(f"{self._document.path.name}: mesh {name!r}: points and lines are left out")
            return None
        read = {key: self._document.accessor(index) for key, index in attributes.items() if not key.startswith("_")}
        vertices = read["POSITION"]
        if not np.isfinite(vertices).all():
            bad = f"{int((~np.isfinite(vertices).all(1)).sum())} of {len(vertices)}"
            raise MeshError(f"mesh {name!r}: vertices: expected finite coordinates, got nan or inf in {bad}")
        order = np.arange(len(vertices))
        if "indices" in stored:
            order = self._document.accessor(stored["indices"])[:, 0].astype(np.int64)
        faces = _triangles(order, mode)
        if not len(faces):
            return None
        look, place = self._material(stored.get("material", -1))
        uv = read.get("TEXCOORD_0")
        mesh = Mesh(
            vertices=vertices,
            faces=faces.astype(np.int32),
            uv=None if uv is None else _placed(uv, place),
            normals=read.get("NORMAL"),
            material=look,
            name=name,
            colors=read["COLOR_0"][:, :3] if "COLOR_0" in read else None,
        )
        return Primitive(mesh, *_influences(read), *self._targets(stored.get("targets", ()), len(vertices)))

    def _targets(self, targets: tuple[Mapping[str, int], ...], count: int) -> tuple[Array, Array]:
        def offsets(key: str) -> Array:
            rows = [self._document.accessor(t[key]) if key in t else np.zeros((count, 3)) for t in targets]
            return np.stack(rows) if rows else np.zeros((0, count, 3))

        return offsets("POSITION"), offsets("NORMAL")

    def _read_material(self, index: int) -> tuple[Material, Mapping[str, Any]]:
        """The material (glTF 2.0, 3.9), and where its texture lies on the surface (KHR_texture_transform)."""
        if index < 0:
            return Material(), {}
        stored = self._document.json["materials"][index]
        factors = stored.get("pbrMetallicRoughness", {})
        texture = factors.get("baseColorTexture", {})
        r, g, b, alpha = (float(v) for v in factors.get("baseColorFactor", (1, 1, 1, 1)))
        emissive = [float(v) for v in stored.get("emissiveFactor", (0, 0, 0))]
        mode = stored.get("alphaMode", "OPAQUE")
        material = Material(
            base_color=(r, g, b),
            base_texture=self._texture(texture, keep_alpha=mode != "OPAQUE"),
            metallic=float(factors.get("metallicFactor", 1)),
            roughness=float(factors.get("roughnessFactor", 1)),
            emissive=(emissive[0], emissive[1], emissive[2]),
            opacity=alpha if mode == "BLEND" else 1.0,
            alpha_cutoff=float(stored.get("alphaCutoff", 0.5)) if mode == "MASK" else None,
        )
        return material, texture.get("extensions", {}).get("KHR_texture_transform", {})

    def _texture(self, stored: Mapping[str, Any], *, keep_alpha: bool) -> Array | None:
        """(H, W, 3 or 4) uint8; None, and a warning, when it is not there or no picture."""
        if "index" not in stored:
            return None
        from PIL import Image, UnidentifiedImageError

        document = self._document
        source = document.json["textures"][stored["index"]].get("source")
        try:
            image = document.json["images"][source]
            is_inside = "bufferView" in image
            data = document.bytes_of_view(image["bufferView"]) if is_inside else document.bytes_of_uri(image["uri"])
            with Image.open(io.BytesIO(data)) as picture:
                texels = np.array(picture.convert("RGBA" if keep_alpha and "A" in picture.getbands() else "RGB"))
        except (OSError, TypeError, UnidentifiedImageError):
            name = "texture" if source is None else document.json["images"][source].get("uri", f"image {source}")
            self.warnings.append(f"{document.path.name}: texture {name!r} is missing, its base colour is used")
            return None
        return texels[..., :3].copy() if texels.shape[2] == 4 and texels[..., 3].min() == 255 else texels


def _triangles(order: Array, mode: int) -> Array:
    """(F, 3) of corner indices in the file's order."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    count = max(len(order) - 2, 0)
    i = np.arange(count)
    if mode == FAN:
        return np.stack([order[i + 1], order[i + 2], np.repeat(order[:1], count)], 1)
    return np.stack([order[i], order[i + 1 + i % 2], order[i + 2 - i % 2]], 1)


def _influences(read: Mapping[str, Array]) -> tuple[Array | None, Array | None]:
    """(V, J) joints and weights that add up to 1, of all sets."""
    sets = sorted(key for key in read if key.startswith("JOINTS_"))
    if not sets:
        return None, None
    joints = np.concatenate([read[key] for key in sets], 1).astype(np.int64)
    weights = np.concatenate([read[key.replace("JOINTS", "WEIGHTS")] for key in sets], 1)
    return joints, weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)


def _placed(uv: Array, place: Mapping[str, Any]) -> Array:
    """(V, 2) with v up, after KHR_texture_transform: scale, turn, shift, in the file's axes (v down)."""
    c, s = np.cos(place.get("rotation", 0.0)), np.sin(place.get("rotation", 0.0))
    moved = (uv * place.get("scale", (1, 1))) @ np.array([[c, s], [-s, c]]).T + place.get("offset", (0, 0))
    return np.stack([moved[:, 0], 1 - moved[:, 1]], 1)

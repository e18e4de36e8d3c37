"""Small glTF files for the tests, written number by number."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {"f4": 5126, "u1": 5121, "u2": 5123, "u4": 5125, "i2": 5122}
SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
SQUARE = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0.0]])


class GltfWriter:
    """A document that grows; ``save`` writes it as .gltf with its data inside, or as .glb."""

    def __init__(self) -> None:
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": [], "nodes": [],
                                     "meshes": [], "animations": [], "cameras": []}  # fmt: skip
        self.blob = b""

    def accessor(self, values: Any, kind: str = "f4", **more: Any) -> int:
        """Index of a new accessor of (N, C) or (N,) ``values``."""
        data = np.ascontiguousarray(values, np.dtype(kind).newbyteorder("<"))
        columns = 1 if data.ndim == 1 else data[0].size
        self.json["bufferViews"].append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": data.nbytes})
        self.blob += data.tobytes() + b"\0" * (-data.nbytes % 4)
        self.json["accessors"].append({"bufferView": len(self.json["bufferViews"]) - 1, "componentType": KINDS[kind],
                                       "count": len(data), "type": SHAPES[columns], **more})  # fmt: skip
        return len(self.json["accessors"]) - 1

    def mesh(self, vertices: Any = SQUARE, faces: Any = ((0, 1, 2), (0, 2, 3)), **primitive: Any) -> int:
        attributes = {"POSITION": self.accessor(vertices), **primitive.pop("attributes", {})}
        indices = self.accessor(np.ravel(faces), "u2")
        self.json["meshes"].append({"primitives": [{"attributes": attributes, "indices": indices, **primitive}]})
        return len(self.json["meshes"]) - 1

    def node(self, name: str, **stored: Any) -> int:
        self.json["nodes"].append({"name": name, **stored})
        return len(self.json["nodes"]) - 1

    def animate(self, target: dict[str, Any], times: Any, values: Any, *, mode: str = "LINEAR", name: str = "") -> None:
        """One animation with one channel."""
        sampler = {"input": self.accessor(times), "output": self.accessor(values), "interpolation": mode}
        channel = {"sampler": 0, "target": target}
        named = {"name": name} if name else {}
        self.json["animations"].append({"channels": [channel], "samplers": [sampler], **named})

    def save(self, path: Path) -> Path:
        document = {key: value for key, value in self.json.items() if value != []}
        buffer: dict[str, Any] = {"byteLength": len(self.blob)}
        if path.suffix == ".gltf":
            import base64

            data = base64.b64encode(self.blob).decode()
            document["buffers"] = [buffer | {"uri": f"data:application/octet-stream;base64,{data}"}]
            path.write_text(json.dumps(document))
            return path
        document["buffers"] = [buffer]
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), 0x4E4F534A) + text
        chunks += struct.pack("<II", len(self.blob), 0x004E4942) + self.blob
        path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks)
        return path

"""glTF, OBJ and PLY files by trimesh, with what trimesh drops or rounds read from the file itself."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from geometry.mesh import FileContent, Material, Mesh, MeshError, baked, linear_from_srgb

Array = np.ndarray


def read(path: Path) -> FileContent:
    """Raises ``MeshError`` or whatever the reader meets in a broken file."""
    import trimesh

    suffix = path.suffix.lower()
    document = _gltf_document(path) if suffix in (".glb", ".gltf") else None
    scene = trimesh.load_scene(str(path), process=False)
    missing = _missing_gltf(path, document) if document else _missing_obj(path) if suffix == ".obj" else ()
    exact = {m.get("name"): m for m in (document or {}).get("materials", [])}
    solid = {n: g for n, g in scene.geometry.items() if isinstance(g, trimesh.Trimesh) and len(g.faces)}
    own = {name: _mesh(name, solid[name], exact, is_gltf=document is not None) for name in solid}
    meshes = []
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        if name in own:
            meshes.append(baked(own[name], np.asarray(matrix, np.float64)))
    warnings = tuple(f"{path.name}: texture {name!r} is missing, its base colour is used" for name in missing)
    return FileContent(tuple(meshes), "+y", 1.0 if document else None, warnings)


def _mesh(name: str, geometry: Any, exact: dict[str, Any], *, is_gltf: bool) -> Mesh:
    vertices = np.array(geometry.vertices, np.float64)
    faces = np.array(geometry.faces, np.int32)
    if not np.isfinite(vertices).all():
        bad = f"{int((~np.isfinite(vertices).all(1)).sum())} of {len(vertices)}"
        raise MeshError(f"mesh {name!r}: vertices: expected finite coordinates, got nan or inf in {bad}")
    uv = getattr(geometry.visual, "uv", None)
    # trimesh computes normals when asked: only those that came with the file are wanted.
    normals = np.array(geometry.vertex_normals) if "vertex_normals" in geometry._cache.cache else None
    if normals is not None and (normals.shape != vertices.shape or not np.isfinite(normals).all()):
        normals = None
    if uv is not None and (np.shape(uv) != (len(vertices), 2) or not np.isfinite(uv).all()):
        uv = None
    return Mesh(
        vertices=vertices,
        faces=faces,
        uv=None if uv is None else np.array(uv, np.float64),
        normals=normals,
        material=_material(getattr(geometry.visual, "material", None), exact),
        name=name,
        colors=_colors(geometry, is_gltf),
    )


def _colors(geometry: Any, is_gltf: bool) -> Array | None:
    """(V, 3) linear; glTF stores linear values, the others sRGB."""
    visual = geometry.visual
    if visual.kind == "vertex":
        codes = np.asarray(visual.vertex_colors)[:, :3]
    elif "color" in getattr(visual, "vertex_attributes", {}):
        codes = np.asarray(visual.vertex_attributes["color"])[:, :3]
    else:
        return None
    if codes.dtype != np.uint8:
        return np.clip(codes, 0, 1).astype(np.float64)
    return codes / 255.0 if is_gltf else linear_from_srgb(codes).astype(np.float64)


def _material(found: Any, exact: dict[str, Any]) -> Material:
    import trimesh

    if isinstance(found, trimesh.visual.material.PBRMaterial):
        return _pbr(found, exact.get(found.name, {}))
    if isinstance(found, trimesh.visual.material.SimpleMaterial):
        return _mtl(found)
    return Material()


def _pbr(found: Any, stored: dict[str, Any]) -> Material:
    """glTF 2.0, 3.9: what is not stored is 1 (colour, metallic, roughness) or 0 (emissive)."""
    # trimesh rounds factors to bytes, which ruins dark linear colours: the file's own numbers are used.
    factors = stored.get("pbrMetallicRoughness", {})
    r, g, b, a = factors.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
    metallic, roughness = factors.get("metallicFactor", 1.0), factors.get("roughnessFactor", 1.0)
    if found.metallicRoughnessTexture is not None:  # one number for the whole surface: the texture's mean
        texture = np.asarray(found.metallicRoughnessTexture.convert("RGB"), np.float64) / 255
        roughness, metallic = roughness * texture[..., 1].mean(), metallic * texture[..., 2].mean()
    mode = stored.get("alphaMode", "OPAQUE")
    strength = stored.get("extensions", {}).get("KHR_materials_emissive_strength", {}).get("emissiveStrength", 1.0)
    emissive = np.array(stored.get("emissiveFactor", (0.0, 0.0, 0.0))) * strength
    if found.emissiveTexture is not None:
        emissive *= linear_from_srgb(np.asarray(found.emissiveTexture.convert("RGB"))).mean((0, 1))
    return Material(
        base_color=(float(r), float(g), float(b)),
        base_texture=_texture(found.baseColorTexture, keep_alpha=mode != "OPAQUE"),
        metallic=float(metallic),
        roughness=float(roughness),
        emissive=(float(emissive[0]), float(emissive[1]), float(emissive[2])),
        opacity=float(a) if mode == "BLEND" else 1.0,
        alpha_cutoff=float(stored.get("alphaCutoff", 0.5)) if mode == "MASK" else None,
    )


def _mtl(found: Any) -> Material:
    """Wavefront MTL with its PBR extension (``Pr``, ``Pm``)."""
    values = {k.lower(): v for k, v in found.kwargs.items()}
    texture = _texture(found.image, keep_alpha=True)
    kd = np.asarray(values.get("kd", np.asarray(found.diffuse)[:3] / 255.0), np.float64).ravel()
    shininess = _number(values.get("ns"), 0.0)
    default_roughness = float(np.sqrt(2 / (shininess + 2))) if shininess else 0.6  # Blinn-Phong to a GGX width
    color = (1.0, 1.0, 1.0) if texture is not None else (float(kd[0]), float(kd[1]), float(kd[2]))
    return Material(
        base_color=color,
        base_texture=texture,
        metallic=_number(values.get("pm"), 0.0),
        roughness=_number(values.get("pr"), default_roughness),
        opacity=_number(values.get("d"), 1.0),
    )


def _number(value: Any, default: float) -> float:
    return default if value is None else float(np.ravel(value)[0])


def _texture(image: Any, *, keep_alpha: bool) -> Array | None:
    """(H, W, 3 or 4) uint8. Alpha only where it says something."""
    if image is None:
        return None
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    texels = np.asarray(image.convert("RGBA" if keep_alpha and has_alpha else "RGB"), np.uint8)
    if texels.shape[2] == 4 and texels[..., 3].min() == 255:
        texels = texels[..., :3]
    return np.ascontiguousarray(texels)


def _gltf_document(path: Path) -> dict[str, Any]:
    """The JSON part. Raises ``MeshError`` when there is none."""
    data = path.read_bytes()
    if path.suffix.lower() == ".glb":
        if data[:4] != b"glTF" or len(data) < 20:
            raise MeshError(f"{path}: expected a binary glTF (magic 'glTF'), got {data[:4]!r}")
        length, kind = struct.unpack_from("<I4s", data, 12)
        declared = struct.unpack_from("<I", data, 8)[0]
        if kind != b"JSON" or declared > len(data):
            raise MeshError(f"{path}: truncated: its header declares {declared} bytes, the file has {len(data)}")
        data = data[20 : 20 + length]
    try:
        document = json.loads(data)
    except ValueError as error:
        raise MeshError(f"{path}: expected glTF JSON: {error}") from error
    if not isinstance(document, dict) or "asset" not in document:
        raise MeshError(f"{path}: expected a glTF document with an 'asset' entry")
    return document


def _missing_gltf(path: Path, document: dict[str, Any]) -> tuple[str, ...]:
    from urllib.parse import unquote

    uris = [image.get("uri", "") for image in document.get("images", [])]
    return tuple(u for u in uris if u and not u.startswith("data:") and not (path.parent / unquote(u)).is_file())


def _missing_obj(path: Path) -> tuple[str, ...]:
    missing = []
    with path.open(errors="replace") as lines:
        libraries = [line.split(maxsplit=1)[1].strip() for line in lines if line.startswith("mtllib ")]
    for library in libraries:
        file = path.parent / library
        if not file.is_file():
            missing.append(library)
            continue
        maps = [line.split() for line in file.read_text(errors="replace").splitlines() if "map_Kd" in line]
        missing += [m[-1] for m in maps if len(m) > 1 and not (path.parent / m[-1].replace("\\", "/")).is_file()]
    return tuple(missing)

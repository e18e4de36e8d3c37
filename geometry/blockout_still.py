"""OBJ and PLY: scenes that do not move and have no camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geometry.blockout import Blockout, Body, Pose, Still
from geometry.mesh import AXES, Mesh, MeshError, load_model, turned
from geometry.mesh_trimesh import _mesh, _missing_obj
from geometry.rigid import rotation_between


def read_still(path: Path, up_axis: str | None) -> Blockout:
    """The objects (``o``, else groups ``g``) of an OBJ; a PLY is one object, named as the file."""
    if path.suffix.lower() == ".ply":
        model = load_model(path, up_axis)
        return Blockout((_still(path.stem, model.meshes),), (), range(1), model.warnings)
    if up_axis is not None and up_axis not in AXES:
        raise ValueError(f"up_axis: expected one of {', '.join(AXES)}, got {up_axis!r}")
    rotation = rotation_between(AXES[up_axis or "+y"], AXES["+y"])
    objects: dict[str, list[Mesh]] = {}
    for name, mesh in _obj_meshes(path):
        objects.setdefault(name, []).append(turned(mesh, rotation))
    missing = tuple(f"{path.name}: {name!r} is missing, its base colour is used" for name in _missing_obj(path))
    return Blockout(tuple(_still(name, tuple(meshes)) for name, meshes in objects.items()), (), range(1), missing)


def _still(name: str, meshes: tuple[Mesh, ...]) -> Body:
    return Body(name, Still(Pose(meshes, np.eye(4))))


def _obj_meshes(path: Path) -> list[tuple[str, Mesh]]:
    """(object, mesh of one material) in the order of the file."""
    import trimesh

    owners, by_objects = _obj_owners(path)
    if not owners:  # the reader would make something of loose points
        return []
    scene = trimesh.load_scene(
        str(path), process=False, group_material=True, split_objects=by_objects, split_groups=not by_objects
    )
    # trimesh hands out its chunks, one for each object and material with faces, last one first.
    found = list(scene.geometry.values())[::-1]
    if len(found) != len(owners):
        raise MeshError(f"{path}: expected {len(owners)} objects by material, the reader found {len(found)}")
    return [
        (name, _mesh(name, part, {}, is_gltf=False))
        for name, part in zip(owners, found, strict=True)
        if isinstance(part, trimesh.Trimesh) and len(part.faces)
    ]


def _obj_owners(path: Path) -> tuple[list[str], bool]:
    """The object of each (object, material) that has faces, in the file's order; whether objects, not groups, were
    meant."""
    lines = [line.split(maxsplit=1) for line in path.read_text(errors="replace").splitlines() if line[:1] in "ogfu"]
    by_objects = any(line[0] == "o" for line in lines if line)
    owner, material = path.stem, ""
    seen: dict[tuple[str, str], None] = {}
    for line in lines:
        key, value = line[0], line[1].strip() if len(line) > 1 else ""
        if key == ("o" if by_objects else "g"):
            owner = value or path.stem
        elif key == "usemtl":
            material = value
        elif key == "f":
            seen[owner, material] = None
    return [name for name, _ in seen], by_objects

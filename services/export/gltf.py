"""Cameras of a glTF 2.0 file (.gltf, .glb): the perspective camera node and its animation, sampled at whole frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from geometry.blockout_gltf import GltfCamera
from geometry.gltf import Document, Nodes, Track, read_tracks
from geometry.trajectory import CameraPath


def read_gltf(
    file: Path, wh: tuple[int, int] | None, rate: Fraction, numbers: Sequence[int] | None = None
) -> CameraPath:
    """The only perspective camera, on a raster of ``wh``; frame n is the time n / ``rate``.

    Frames: from the first key of the camera and its parents to the last; ``numbers`` (else frame 0) of one that stands
    still. Raises ``ValueError``.
    """
    if wh is None:
        raise ValueError(f"wh: expected the picture's raster ({file.name} does not store it), got none")
    document = Document(file)
    tracks, _ = read_tracks(document)
    camera = GltfCamera(document, Nodes(document, tracks), tracks, _camera_node(document), rate)
    moving = [track.times * float(rate) for track in _tracks_of(camera, tracks)]
    if moving:
        first, last = min(times[0] for times in moving), max(times[-1] for times in moving)
        numbers = range(int(np.ceil(first - 1e-3)), int(np.floor(last + 1e-3)) + 1)
    numbers = (0,) if numbers is None else numbers
    lenses, poses = zip(*(camera.at(number, wh) for number in numbers), strict=True)
    return CameraPath(tuple(numbers), lenses, np.stack(poses))


def _camera_node(document: Document) -> int:
    found = [i for i, node in enumerate(document.nodes) if "camera" in node]
    if len(found) != 1:
        names = [document.node_name(i) for i in found or range(len(document.nodes))]
        kind = "" if found else "nothing but "
        raise ValueError(
            f"{document.path.name}: expected one camera, got {kind}{', '.join(names[:12]) or 'no nodes'}")
    return found[0]


def _tracks_of(camera: GltfCamera, tracks: Mapping[str, Track]) -> list[Track]:
    """What moves the camera, its lens or a parent of it."""
    parents = dict(camera.nodes.order)
    node: int | None = camera.node
    moved = [f"/cameras/{camera.document.nodes[camera.node]['camera']}/"]
    while node is not None:
        moved.append(f"/nodes/{node}/")
        node = parents.get(node)
    return [track for pointer, track in tracks.items() if pointer.startswith(tuple(moved))]

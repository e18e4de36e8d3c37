"""What the user handed in, opened and checked before any long work starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from geometry.mesh import MeshError, Model, load_model
from geometry.placement import PathKey
from services.errors import InvalidRequest
from services.export.nuke import sidecar_path
from services.media import images
from services.media.clip import ClipReader, open_clip
from services.media.sequence import SequenceDecoder, find_files
from services.pipelines.requests import Clip, InsertedObject

MINIMUM_FRAMES = 3


def open_plate(clip: Clip) -> ClipReader:
    """The clip, with enough frames to see parallax. Raises ``InvalidRequest`` that names the field."""
    reader = open_clip(clip.path, first_frame=clip.first_frame, last_frame=clip.last_frame, colorspace=clip.colorspace)
    if len(reader.numbers) < MINIMUM_FRAMES:
        reader.close()
        raise InvalidRequest("clip.path", f"at least {MINIMUM_FRAMES} frames", f"{len(reader.numbers)}")
    return reader


@dataclass(frozen=True)
class Prop:
    """One object of the request with its mesh; ``object_id`` counts from 1, ``name`` is that of its mask folder."""

    request: InsertedObject
    model: Model
    digest: str
    frame: int
    object_id: int
    name: str
    path: tuple[PathKey, ...] = ()  # where it walks; yaw as asked for, radians
    field: str = "objects[0]"  # of the request


def path_keys(attach: str, field: str) -> tuple[PathKey, ...]:
    """``path:FRAME=X,Y[,YAW];...`` as keys, yaw in degrees; nothing for other attachments."""
    if not attach.startswith("path:"):
        return ()
    keys = []
    for word in attach.removeprefix("path:").split(";"):
        frame, _, numbers = word.partition("=")
        values = numbers.split(",")
        try:
            x, y, yaw = (float(v) for v in (*values, "0")[:3])
            if len(values) > 3 or not np.isfinite((x, y, yaw)).all():
                raise ValueError
            keys.append(PathKey(int(frame), (x, y), np.radians(yaw)))
        except ValueError:
            raise InvalidRequest(field, "path:FRAME=X,Y[,YAW];FRAME=X,Y[,YAW];...", attach) from None
    return tuple(keys)


def open_props(objects: Sequence[InsertedObject], clip: ClipReader, fields: Sequence[str] = ()) -> tuple[Prop, ...]:
    """All objects of a request, checked against the clip. Raises ``InvalidRequest`` below ``fields``, one an object."""
    props: list[Prop] = []
    for i, wanted in enumerate(objects):
        field = fields[i] if fields else f"objects[{i}]"
        frame = clip.numbers[0] if wanted.frame is None else wanted.frame
        if frame not in clip.numbers:
            raise InvalidRequest(f"{field}.frame", f"one of {clip.numbers[0]}-{clip.numbers[-1]}", frame)
        h, w = clip.hw
        x, y = wanted.at_px
        if not (0 <= x < w and 0 <= y < h):
            raise InvalidRequest(f"{field}.at_px", f"a pixel inside the {w} x {h} picture", f"{x:g},{y:g}")
        keys = path_keys(wanted.attach, f"{field}.attach")
        if any(key.frame not in clip.numbers for key in keys):
            raise InvalidRequest(f"{field}.attach", f"frames of {clip.numbers[0]}-{clip.numbers[-1]}", wanted.attach)
        digest = mesh_digest(Path(wanted.path))
        props.append(Prop(wanted, _model(wanted, field), digest, frame, i + 1, _name(wanted, props), keys, field))
    return tuple(props)


def _model(wanted: InsertedObject, field: str) -> Model:
    try:
        model = load_model(wanted.path, wanted.object_up or None)
    except MeshError as error:
        raise InvalidRequest(f"{field}.path", "a mesh that can be rendered", str(error)) from error
    if model.height <= 0:
        raise InvalidRequest(f"{field}.path", "a mesh with a height along its up axis", "a flat one: try object_up")
    return model


def _name(wanted: InsertedObject, others: list[Prop]) -> str:
    """Unique among its neighbours and safe as a folder's name."""
    base = "".join(c if c.isalnum() or c in "-_" else "_" for c in (wanted.name or Path(wanted.path).stem)) or "object"
    taken = {prop.name for prop in others}
    count, name = 1, base
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name


def mesh_digest(path: Path) -> str:
    """sha256 of a mesh file and of the files that it names: buffers, materials, textures, layers."""
    return files_sha256([path, *sorted({file.resolve() for file in named_files(path) if file.is_file()} - {path})])


def named_files(path: Path) -> Iterator[Path]:
    """The files that a mesh names, there or not. Whether it can be read at all, its reader says."""
    suffix = path.suffix.lower()
    if suffix == ".gltf":
        try:
            document = json.loads(path.read_bytes())
            named = [part.get("uri", "data:") for kind in ("buffers", "images") for part in document.get(kind, ())]
        except (ValueError, AttributeError, TypeError):
            return
        yield from (path.parent / unquote(uri) for uri in named if not uri.startswith("data:"))
    elif suffix in (".obj", ".mtl"):
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) > 1 and words[0].startswith(("mtllib", "map_", "bump", "disp", "norm", "refl")):
                file = path.parent / (line.split(maxsplit=1)[1].strip() if words[0] == "mtllib" else words[-1])
                yield file
                if words[0] == "mtllib" and file.is_file():
                    yield from named_files(file)
    elif suffix in (".usd", ".usda", ".usdc", ".usdz"):
        from pxr import Tf, UsdUtils

        try:
            layers, assets, _ = UsdUtils.ComputeAllDependencies(str(path))
        except Tf.ErrorException:
            return
        yield from (Path(layer.realPath) for layer in layers)
        yield from map(Path, assets)


def cameras_digest(path: Path) -> str:
    """sha256 of a camera file with its sidecar or the files that it points to, or of a COLMAP folder."""
    if path.is_dir():
        return files_sha256(sorted(p for p in path.rglob("*") if p.is_file()))
    sidecar = sidecar_path(path)
    return mesh_digest(path) + (files_sha256([sidecar]) if sidecar.exists() else "")


def files_sha256(files: list[Path]) -> str:
    """sha256 over the names and contents of files, in order."""
    total = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            total.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def check_hdri(path: str) -> str:
    """Digest of a lat-long picture that can be read; empty when none is given."""
    if not path:
        return ""
    picture = images.read_latlong(Path(path))
    if not np.isfinite(picture).all() or picture.min() < 0:
        raise InvalidRequest("lighting.hdri", "finite radiance >= 0", f"{Path(path).name} with other values")
    return files_sha256([Path(path)])


@dataclass(frozen=True)
class Holdout:
    """Roto masks by source frame number: 1 hides the objects."""

    decoder: SequenceDecoder
    digest: str

    def read(self, frame: int, hw: tuple[int, int]) -> np.ndarray | None:
        if frame not in self.decoder.numbers:
            return None
        mask = self.decoder.decode(frame)
        if mask.shape[:2] != hw:
            raise InvalidRequest("holdout", f"masks of (H, W) = {hw}", f"{mask.shape[:2]} at frame {frame}")
        code = mask[..., 0]
        return code.astype(np.float32) / (1.0 if code.dtype.kind == "f" else np.iinfo(code.dtype).max)


def open_holdout(path: str) -> Holdout | None:
    if not path:
        return None
    try:
        decoder = SequenceDecoder(find_files(Path(path)))  # frames without a mask may be missing
    except InvalidRequest as error:
        raise InvalidRequest("holdout", error.expected, error.got) from error
    return Holdout(decoder, files_sha256(list(decoder.files)))

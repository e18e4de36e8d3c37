"""Reads what clients have uploaded, before any job does: ``python -m services.inspection --fd N``, in a process that
``services.sandbox`` starts, watches and limits.

Everything is opened by the reader that jobs use, and its first picture decoded, so that files which lie, swell or
crash their reader do it here, where it costs nothing but an answer.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
from collections.abc import Callable
from pathlib import Path

from geometry.blockout import load_blockout
from geometry.mesh import TRIMESH_SUFFIXES, USD_SUFFIXES, load_model
from services import log as logs
from services.errors import BacklotError, InvalidRequest
from services.executors.base import Message
from services.executors.channel import Channel, answer
from services.export.cameras import import_cameras
from services.export.colmap import find_model
from services.media import exr, images
from services.media.clip import open_clip
from services.media.layer_folder import is_layer_folder, read_layer_folder
from services.media.psd import is_psd, read_psd
from services.media.sequence import SequenceDecoder, find_files
from services.media.twop5d import read_2p5d
from services.pipelines.inputs import named_files
from services.sandbox import BLOCKOUT, CAMERAS, MASKS, SCENE, Inspection

log = logging.getLogger(__name__)

ANY_WH = (1920, 1080)  # of a camera file that does not say its raster
MEMORY_BYTES = 2 * 2**30  # that reading a file may take
LONGEST_ERROR = 500  # characters: USD can say a lot
LONGEST_HEADER_BYTES = 100_000_000  # as the format has it
LAZY = ("PIL.Image", "av", "psd_tools", "pxr.UsdUtils", "scipy.spatial.transform", "trimesh", "yaml")


def inspect(wanted: Inspection) -> None:
    """Raises ``InvalidRequest`` for what cannot be read, or leads out of its folder."""
    try:
        _check_names(wanted)
        _reader(wanted)()
    except BacklotError:
        raise
    except MemoryError as error:
        raise InvalidRequest(wanted.field, f"media that is read within {MEMORY_BYTES >> 20} MiB",
                             wanted.path.name) from error
    except Exception as error:  # readers fail in as many ways as there are broken bytes
        log.info("unreadable", exc_info=error, extra={"file": str(wanted.path)})
        got = f"{wanted.path.name}: {type(error).__name__}: {error}"[:LONGEST_ERROR]
        raise InvalidRequest(wanted.field, "media that can be read", got) from error


def _reader(wanted: Inspection) -> Callable[[], object]:
    path, field, suffix = wanted.path, wanted.field, wanted.path.suffix.lower()
    if wanted.kind == CAMERAS:
        return lambda: import_cameras(path, wh=ANY_WH, field=field)
    if wanted.kind == SCENE:
        return lambda: import_cameras(path / "cameras.json", field=field)
    if wanted.kind == MASKS:
        return lambda: _read_masks(path)
    if suffix in TRIMESH_SUFFIXES + USD_SUFFIXES and path.is_file():
        return lambda: load_blockout(path) if wanted.kind == BLOCKOUT else load_model(path)
    if path.is_dir():
        return lambda: _read_folder(path, field)
    if is_psd(path):
        return lambda: read_psd(path, field)
    if suffix == ".2p5d":
        return lambda: read_2p5d(path, field, "straight")
    if suffix == ".hdr":
        return lambda: images.read_latlong(path, field)
    if suffix == ".exr" and path.is_file():
        return lambda: exr.read_parts(path, field)
    if suffix in images.SUFFIXES and path.is_file():
        return lambda: images.read_layer(path, field)
    return lambda: _read_clip(path, field)


def _read_folder(path: Path, field: str) -> None:
    """Layers, cameras, pictures, weights."""
    for file in path.glob("*.safetensors"):
        _check_tensors(file, field)
    if is_layer_folder(path):
        read_layer_folder(path, field, "straight")
    elif any(file.suffix.lower() in images.SUFFIXES for file in path.iterdir()):
        _read_clip(path, field)
    elif any((path / name).exists() for name in ("cameras.txt", "cameras.bin", "sparse")):
        find_model(path)
        import_cameras(path, field=field)


def _read_clip(path: Path, field: str) -> None:
    try:
        with open_clip(path) as clip:
            clip.read(clip.numbers[0])
    except InvalidRequest as error:
        raise InvalidRequest(field, error.expected, error.got) from error


def _read_masks(path: Path) -> None:
    """Pictures whose numbers may have gaps."""
    masks = SequenceDecoder(find_files(path))
    masks.decode(masks.numbers[0])


def _check_tensors(file: Path, field: str) -> None:
    """The header of safetensors: its length in 8 bytes, little end first, and a JSON object. Never a pickle."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if 2 <= length <= min(LONGEST_HEADER_BYTES, file.stat().st_size - 8):
            text = stream.read(length)
            if text.startswith(b"{") and isinstance(json.loads(text), dict):
                return
    raise InvalidRequest(field, "safetensors", f"something else in {file.name}")


def _check_names(wanted: Inspection) -> None:
    if not wanted.path.is_file():
        return
    for file in named_files(wanted.path):
        if file.exists() and not file.resolve().is_relative_to(wanted.home.resolve()):
            got = f"{wanted.path.name}, which names {file}"
            raise InvalidRequest(wanted.field, "names of files that were uploaded with it", got)


def main() -> None:
    logs.set_up(process="inspection")
    channel = Channel.from_arguments()
    for name in LAZY:  # what libraries have mapped by now is not what a file takes
        importlib.import_module(name)
    _limit_memory()
    channel.send({"kind": "ready"})
    while True:
        wanted: Inspection = channel.receive()
        channel.send(answer(lambda wanted=wanted: _answer(wanted), "the server's"))  # type: ignore[misc]


def _answer(wanted: Inspection) -> Message:
    inspect(wanted)
    return {"kind": "result"}


def _limit_memory() -> None:
    import cv2

    cv2.setNumThreads(1)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()

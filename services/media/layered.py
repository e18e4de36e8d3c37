"""Any file with layers, opened: a Photoshop document, a folder with ``plate.yaml``, a multipart EXR, a ``.2p5d``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from geometry.layers import LayerStack
from services.errors import InvalidRequest
from services.media.layer_exr import is_layered_exr, read_layer_exr
from services.media.layer_folder import FILE, files_of, is_layer_folder, read_layer_folder
from services.media.psd import is_psd, read_psd
from services.media.raw_layers import LayerOptions, RawLayers, stacked
from services.media.twop5d import read_2p5d

KINDS = f"a layered PSD, a folder with {FILE}, a multipart EXR, a .2p5d or one picture"


@dataclass(frozen=True)
class LayeredFile:
    """``kind`` is psd, folder, exr or 2p5d; ``warnings`` tell what was left out or assumed."""

    stack: LayerStack
    kind: str
    warnings: tuple[str, ...]


def layered_kind(path: Path, field: str = "source") -> str:
    """Which of the kinds the path is; "" for one without layers. Raises ``InvalidRequest`` for what is not there."""
    if path.is_dir():
        if not is_layer_folder(path):
            raise InvalidRequest(field, f"a folder with {FILE}", f"{path.name} without")
        return "folder"
    if not path.is_file() or path.stat().st_size == 0:
        raise InvalidRequest(field, KINDS, f"{path.name}, which is empty or does not exist")
    suffix = path.suffix.lower()
    if is_psd(path):
        return "psd"
    if suffix == ".2p5d":
        return "2p5d"
    return "exr" if suffix == ".exr" and is_layered_exr(path, field) else ""


def open_layers(path: Path, options: LayerOptions | None = None, field: str = "source") -> LayeredFile:
    """The layers of a file. Raises ``InvalidRequest`` that names ``field`` and says what is wrong."""
    options = options or LayerOptions()
    kind = layered_kind(path, field)
    if not kind:
        raise InvalidRequest(field, "a file with layers", path.name)
    try:
        stack, warnings = stacked(_read(kind, path, field, options.alpha), options)
    except ValueError as error:  # geometry.layers says what does not fit
        raise InvalidRequest(field, "layers that fit together", f"{path.name}: {error}") from error
    return LayeredFile(stack, kind, warnings)


def source_files(path: Path) -> list[Path]:
    """The files that a source is made of, for digests."""
    return files_of(path) if path.is_dir() else [path]


def _read(kind: str, path: Path, field: str, alpha: str) -> RawLayers:
    if kind == "psd":
        return read_psd(path, field)
    if kind == "folder":
        return read_layer_folder(path, field, alpha)
    if kind == "exr":
        return read_layer_exr(path, field, alpha)
    return read_2p5d(path, field, alpha)

"""Read solved cameras from whatever another program wrote."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.export.colmap import read_colmap
from services.export.gltf import read_gltf
from services.export.nerfstudio import read_cameras_json
from services.export.nuke import read_chan
from services.export.usd import read_usd

FIELD = "scene.cameras_file"
KINDS = "cameras.json or transforms.json, a COLMAP folder, .chan, .usd, .gltf or .glb"
_USD = (".usd", ".usda", ".usdc", ".usdz")
_GLTF = (".gltf", ".glb")


def import_cameras(
    path: str | Path, *, wh: tuple[int, int] | None = None, rate: Fraction = Fraction(24)
) -> CameraPath:
    """Cameras of a file, or of a COLMAP folder, in Backlot's convention and at the file's own raster.

    ``wh`` and ``rate`` are the clip's, for formats that store neither (.chan without sidecar, USD, glTF). COLMAP's
    world keeps its axes, which need not be level. Raises ``InvalidRequest`` that says what is wrong with the file.
    """
    path = Path(path)
    if not path.exists():
        raise InvalidRequest(FIELD, KINDS, f"{path}, which does not exist")
    try:
        return _read(path, wh, rate)
    except (ValueError, KeyError, TypeError, IndexError, OSError) as error:
        # Damaged files fail in as many ways as there are parsers; the cause is chained.
        raise InvalidRequest(FIELD, KINDS, f"{path.name}: {error}") from error


def _read(path: Path, wh: tuple[int, int] | None, rate: Fraction) -> CameraPath:
    suffix = path.suffix.lower()
    if path.is_dir():
        return read_colmap(path)
    if suffix == ".json":
        return read_cameras_json(path)
    if suffix == ".chan":
        return read_chan(path, wh)
    if suffix in _USD:
        return read_usd(path, wh)
    if suffix in _GLTF:
        return read_gltf(path, wh, rate)
    raise ValueError(f"a {suffix or 'nameless'} file is not known")

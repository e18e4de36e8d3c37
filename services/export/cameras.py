"""Read solved cameras from whatever another program wrote.

| format | frame numbers | raster | lens |
|---|---|---|---|
| ``cameras.json``, ``transforms.json`` | stored, or the number that ends a picture's name | stored | with distortion |
| COLMAP folder, text or binary | the number that ends a picture's name | stored | with distortion |
| Nuke ``.chan`` | stored | in our sidecar, else the clip's | vfov of the picture's height |
| USD | time codes | ours only, else the clip's | film back of the picture's aspect |
| glTF, GLB | time x the clip's rate | the clip's | vertical field of view |

A USD or glTF camera that does not move stands still for the whole clip.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from geometry.blockout import expect_aspect
from geometry.camera import Camera
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.export.colmap import read_colmap
from services.export.gltf import read_gltf
from services.export.nerfstudio import read_cameras_json
from services.export.nuke import read_chan
from services.export.usd_cameras import read_unit, read_usd

FIELD = "scene.cameras_file"
KINDS = "cameras.json or transforms.json, a COLMAP folder, .chan, .usd, .gltf or .glb"
_USD = (".usd", ".usda", ".usdc", ".usdz")
_GLTF = (".gltf", ".glb")


def import_cameras(
    path: str | Path, *, wh: tuple[int, int] | None = None, rate: Fraction = Fraction(24),
    numbers: Sequence[int] | None = None, field: str = FIELD,
) -> CameraPath:
    """Cameras of a file, or of a COLMAP folder, in Backlot's convention and at the file's own raster.

    ``wh``, ``rate`` and frame ``numbers`` are the clip's, for formats that do not store them. Positions are in metres
    where the format says how long its units are. COLMAP's world keeps its axes, which need not be level. Raises
    ``InvalidRequest`` that names ``field`` and says what is wrong with the file.
    """
    path = Path(path)
    if not path.exists():
        raise InvalidRequest(field, KINDS, f"{path}, which does not exist")
    try:
        return _finite(_read(path, wh, rate, numbers))
    except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RecursionError, OSError) as error:
        # Damaged files fail in as many ways as there are parsers; the cause is chained.
        raise InvalidRequest(field, KINDS, f"{path.name}: {error}") from error


def cameras_of_clip(
    path: str | Path, *, wh: tuple[int, int] | None, rate: Fraction, numbers: Sequence[int] | None, field: str = FIELD
) -> CameraPath:
    """Cameras of a file for the frames ``numbers`` of a clip, on its raster ``wh``; ``None`` = what the file says.

    Frames between solved ones may lack a camera, as every solver leaves some out. Raises ``InvalidRequest`` when the
    file is of another aspect, or begins later or ends earlier than the clip.
    """
    found = import_cameras(path, wh=wh, rate=rate, numbers=numbers, field=field)
    wh = wh or found.cameras[0].wh
    try:
        for lens in dict.fromkeys(found.cameras):
            expect_aspect(lens.wh[0] / lens.wh[1], wh)
    except ValueError as error:
        raise InvalidRequest(field, KINDS, f"{Path(path).name}: {error}") from error
    if numbers is not None:
        first, last = found.frames[0], found.frames[-1]
        if first > numbers[0] or last < numbers[-1]:
            raise InvalidRequest(field, f"cameras for frames {numbers[0]}-{numbers[-1]}",
                                 f"{len(found)} for frames {first}-{last}; a range of frames that they cover would do")
        known = set(found.frames)
        found = found.select([number for number in numbers if number in known])
    return found.scaled(wh)


def metres_per_unit(path: str | Path) -> float | None:
    """How long a unit of the scene or camera file is, as its format declares; None where nothing says.

    What ``import_cameras`` returns has been multiplied by it already.
    """
    return _unit(Path(path))[0]


def is_metric(path: str | Path) -> bool:
    """Whether the file's unit is a true length: files of ours say so when they do not know their scale."""
    return _unit(Path(path))[1]


def is_level(path: str | Path) -> bool:
    """Whether the format says which way is up; a COLMAP folder does not."""
    return not Path(path).is_dir()


def _unit(path: Path) -> tuple[float | None, bool]:
    suffix = path.suffix.lower()
    if suffix in _USD:
        return read_unit(path)
    if suffix in _GLTF:
        return 1.0, True  # glTF 2.0, section 3.4: all linear distances are in metres
    if suffix == ".json":
        document = json.loads(path.read_text())
        scene = document.get("scene") if isinstance(document, dict) else None
        if isinstance(scene, dict) and scene.get("scale_known"):
            return 1.0, True
    return None, False


def _read(path: Path, wh: tuple[int, int] | None, rate: Fraction, numbers: Sequence[int] | None) -> CameraPath:
    suffix = path.suffix.lower()
    if path.is_dir():
        return read_colmap(path)
    if suffix == ".json":
        return read_cameras_json(path)
    if suffix == ".chan":
        return read_chan(path, wh)
    if suffix in _USD:
        return read_usd(path, wh, numbers)
    if suffix in _GLTF:
        return read_gltf(path, wh, rate, numbers)
    raise ValueError(f"a {suffix or 'nameless'} file is not known")


def _finite(path: CameraPath) -> CameraPath:
    if max(map(abs, path.frames)) >= 2**31:
        raise ValueError(f"frame: expected numbers of 32 bits, got {max(path.frames, key=abs):.3g}")
    bad = ~np.isfinite(path.camera_from_world).all((1, 2))
    if bad.any():
        raise ValueError(f"frame {path.frames[int(bad.argmax())]}: pose: expected finite numbers, got nan or inf")
    for lens in dict.fromkeys(path.cameras):
        if not np.isfinite(_numbers(lens)).all():
            raise ValueError(f"lens: expected finite numbers, got {_numbers(lens)}")
    return path


def _numbers(lens: Camera) -> list[float]:
    return [lens.fx, lens.fy, lens.cx, lens.cy, *lens.distortion]

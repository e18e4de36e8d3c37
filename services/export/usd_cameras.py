"""The camera of any program's USD stage, ours (see ``usd``) among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geometry import frames
from geometry.blockout import expect_aspect
from geometry.trajectory import CameraPath
from services.export.usd import SCALE_KNOWN

Array = np.ndarray


def read_usd(file: Path, wh: tuple[int, int] | None = None, numbers: Sequence[int] | None = None) -> CameraPath:
    """The only camera of a USD stage, in metres, +Y up. ``wh`` is the raster of a stage that does not say one.

    Frames: those the file names, else every whole time code of the stage's range; ``numbers`` (else 0) of a camera that
    stands still. Raises ``ValueError``.
    """
    from pxr import Gf, Usd, UsdGeom

    stage = _opened(file)
    prim = _only_camera(file, stage)
    raster = prim.GetAttribute("backlot:rasterWh").Get()
    if raster is None and wh is None:
        raise ValueError(f"wh: expected the picture's raster ({file.name} does not store it), got none")
    size = (int(raster[0]), int(raster[1])) if raster is not None else wh
    assert size is not None
    camera = UsdGeom.Camera(prim)
    if not camera.GetFocalLengthAttr().HasAuthoredValue():
        raise ValueError(f"{prim.GetPath()}.focalLength: expected a value, got none")
    shown = tuple(_frames(stage, prim, numbers))
    distortion = tuple(prim.GetAttribute("backlot:distortion").Get() or (0.0,) * 5)
    lenses, poses = [], []
    for number in shown:
        seen: Gf.Camera = camera.GetCamera(Usd.TimeCode(number))
        if raster is None:
            expect_aspect(seen.horizontalAperture / seen.verticalAperture, size)
        back = frames.FilmBack(seen.focalLength, seen.horizontalAperture, seen.verticalAperture,
                               seen.horizontalApertureOffset, seen.verticalApertureOffset)
        lenses.append(replace(frames.camera_from_film_back(back, size), distortion=distortion))
        poses.append(_rigid_part(np.array(seen.transform).T))
    world = frames.backlot_from_usd(
        np.stack(poses), z_up=UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z,
        metres_per_unit=UsdGeom.GetStageMetersPerUnit(stage),
    )
    return CameraPath(shown, tuple(lenses), world)


def read_unit(file: Path) -> tuple[float, bool]:
    """Metres per unit of a stage, and whether that is a true length. Raises ``ValueError``."""
    from pxr import UsdGeom

    stage = _opened(file)
    known = stage.GetRootLayer().customLayerData.get(SCALE_KNOWN, True)
    return float(UsdGeom.GetStageMetersPerUnit(stage)), bool(known)


def _opened(file: Path) -> Any:
    from pxr import Tf, Usd

    try:
        return Usd.Stage.Open(str(file))
    except Tf.ErrorException as error:
        raise ValueError(f"{file.name}: expected a USD stage, got something else") from error


def _only_camera(file: Path, stage: Any) -> Any:
    from pxr import UsdGeom

    prims = list(stage.Traverse())
    cameras = [prim for prim in prims if prim.IsA(UsdGeom.Camera)]
    if len(cameras) != 1:
        kind = "" if cameras else "nothing but "
        names = [str(prim.GetPath()) for prim in (cameras or prims)[:12]]
        raise ValueError(f"{file.name}: expected one camera, got {kind}{', '.join(names) or 'no prims'}")
    return cameras[0]


def _frames(stage: Any, prim: Any, numbers: Sequence[int] | None) -> Sequence[int]:
    listed = prim.GetAttribute("backlot:frames").Get()
    if listed is not None:
        return [int(number) for number in listed]
    if not _moves(prim):
        return (0,) if numbers is None else numbers
    if not stage.HasAuthoredTimeCodeRange():
        raise ValueError("startTimeCode and endTimeCode: expected both of a camera that moves, got none")
    return range(int(np.ceil(stage.GetStartTimeCode())), int(np.floor(stage.GetEndTimeCode())) + 1)


def _moves(prim: Any) -> bool:
    """Whether the camera, its lens or anything above it changes over time."""
    from pxr import UsdGeom

    if any(attribute.ValueMightBeTimeVarying() for attribute in prim.GetAttributes()):
        return True
    while prim and not prim.IsPseudoRoot():
        if prim.IsA(UsdGeom.Xformable) and UsdGeom.Xformable(prim).TransformMightBeTimeVarying():
            return True
        prim = prim.GetParent()
    return False


def _rigid_part(pose: Array) -> Array:
    """A camera below a scaled parent: the scale moves its place and means nothing to its axes."""
    scale = np.linalg.norm(pose[:3, :3], axis=0)
    out = pose.copy()
    out[:3, :3] /= scale
    return out

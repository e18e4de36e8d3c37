"""A blockout with the camera that films it, opened and checked before any long work starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from geometry import moves
from geometry.blockout import Blockout, FileCamera, expect_aspect, load_blockout
from geometry.camera import Camera
from geometry.gltf import NoSuchAnimation
from geometry.guides import GuideSource
from geometry.mesh import MeshError
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.export.cameras import import_cameras, metres_per_unit
from services.media import images
from services.pipelines.inputs import mesh_digest
from services.pipelines.requests import LARGEST_SIDE_PX, SMALLEST_SIDE_PX, PrevisShot, PrevisStyle

Array = np.ndarray
RATE = 24.0
MOVE_FRAMES = 48  # of a move through a scene that stands still, where nothing says how many
FIELD_DEG = 35.0  # of a camera that frames a scene without any, across the picture's smaller side
ROWS, ASPECT = 480, 1.5  # of the picture where nothing says its size
MOST_FRAMES = 100_000
PIVOT_WH = (48, 32)
KEEP = 8  # frames whose geometry stays in memory: anchors, and a frame with its neighbours for each thread


@dataclass(frozen=True)
class Shot:
    """``cameras`` are pinholes on the picture's raster; they cover ``frames``, and the aligned reference's frame."""

    blockout: Blockout
    cameras: CameraPath
    frames: tuple[int, ...]  # to make
    rate: Fraction
    digest: str  # of the scene's files and of how they are read
    warnings: tuple[str, ...] = ()

    @property
    def wh(self) -> tuple[int, int]:
        return self.cameras.cameras[0].wh

    def guides(self) -> GuideSource:
        return GuideSource(self.blockout.instances, self.cameras, keep=KEEP)


def open_shot(request: PrevisShot, style: PrevisStyle | None = None) -> Shot:
    """Raises ``InvalidRequest`` that names the field. Cameras are in the unit of the scene."""
    rate = Fraction(request.rate or RATE).limit_denominator(1001)
    try:
        blockout = load_blockout(
            request.scene, rate=rate, up_axis=request.up_axis or None, animation=request.animation or None
        )
    except NoSuchAnimation as error:
        raise refused("shot.animation", error) from error
    except MeshError as error:
        raise InvalidRequest("shot.scene", "a scene with triangles", str(error)) from error
    aligned = style.aligned_frame if style is not None else None
    wh = _raster(request, blockout, Path(style.reference) if style is not None and aligned is not None else None)
    cameras, frames, notes = (
        _imported(request, blockout, wh, rate, aligned) if request.cameras_file
        else _of_the_scene(request, blockout, wh, aligned)
    )
    digest = f"{mesh_digest(Path(request.scene))} {rate} {request.up_axis} {request.animation}"
    return Shot(blockout, cameras, frames, rate, digest, blockout.warnings + notes)


def refused(field: str, error: Exception) -> InvalidRequest:
    """Errors of geometry read ``name: expected ..., got ...``."""
    expected, _, got = str(error).partition("expected ")[2].partition(", got ")
    return InvalidRequest(field, expected, got) if got else InvalidRequest(field, "something else", str(error))


def _raster(request: PrevisShot, blockout: Blockout, painted: Path | None) -> tuple[int, int] | None:
    """Width and height of the picture; None: what the imported cameras say."""
    wh = (request.width_px, request.height_px) if request.width_px else None
    if painted is not None:
        header = images.read_header(painted, "style.reference")
        if not SMALLEST_SIDE_PX <= min(header.wh) <= max(header.wh) <= LARGEST_SIDE_PX:
            expected = f"sides of {SMALLEST_SIDE_PX}..{LARGEST_SIDE_PX} px"
            raise InvalidRequest("style.reference", expected, f"{header.wh[0]} x {header.wh[1]}")
        wh = wh or header.wh
        _expect_aspect("style.reference", header.wh, wh[0] / wh[1], "of the picture, as it is painted over a frame")
    if request.cameras_file:
        return wh
    camera = _named(request, blockout)
    if wh is None:
        return 2 * round(ROWS * (getattr(camera, "aspect", None) or ASPECT) / 2), ROWS
    if camera is not None and camera.aspect is not None:
        field = "shot.width_px" if request.width_px else "style.reference"
        _expect_aspect(field, wh, camera.aspect, f"of the camera {camera.name}")
    return wh


def _named(request: PrevisShot, blockout: Blockout) -> FileCamera | None:
    """None: the scene has none, and a move is asked for, which can start from one that frames it."""
    if request.move and not (blockout.cameras or request.camera):
        return None
    try:
        return blockout.camera(request.camera or None)
    except ValueError as error:
        told = refused("shot.camera", error)
        if blockout.cameras or request.camera:
            raise told from error
        raise InvalidRequest("shot.camera", f"{told.expected}, or a file of cameras, or a move", told.got) from error


def _expect_aspect(field: str, wh: tuple[int, int], aspect: float, whose: str) -> None:
    try:
        expect_aspect(aspect, wh)
    except ValueError as error:
        got = f"{wh[0]} x {wh[1]}, which is {wh[0] / wh[1]:.3f}"
        raise InvalidRequest(field, f"the aspect {aspect:.3f} {whose}", got) from error


Found = tuple[CameraPath, tuple[int, ...], tuple[str, ...]]


def _of_the_scene(request: PrevisShot, blockout: Blockout, wh: tuple[int, int] | None, aligned: int | None) -> Found:
    assert wh is not None
    if request.move:
        return _moved(request, blockout, wh, aligned)
    frames = _frames(request, blockout.frames, bounded=len(blockout.frames) > 1)
    known = range(min(blockout.frames[0], frames[0]), max(blockout.frames[-1], frames[-1]) + 1)
    numbers = _with_aligned(frames, aligned, known)
    try:
        return blockout.camera_path(wh, request.camera or None, numbers), frames, ()
    except ValueError as error:
        raise refused("shot.camera", error) from error


def _moved(request: PrevisShot, blockout: Blockout, wh: tuple[int, int], aligned: int | None) -> Found:
    """From where the camera stands at the first frame; what is animated keeps its last pose beyond its end."""
    try:
        move = moves.parse_move(request.move)
    except ValueError as error:
        raise InvalidRequest("shot.move", "a move, such as orbit=left:40+dolly=in:0.5", error) from error
    known = blockout.frames if len(blockout.frames) > 1 else range(blockout.frames[0], blockout.frames[0] + MOVE_FRAMES)
    frames = _frames(request, known, bounded=False)
    _with_aligned(frames, aligned, frames)
    camera = _named(request, blockout)
    if camera is None:
        focal = min(wh) / 2 / np.tan(np.radians(FIELD_DEG) / 2)
        lens = Camera(focal, focal, wh[0] / 2, wh[1] / 2, wh)
        pose, pivot_depth = blockout.framed(lens, frames)
    else:
        start = blockout.camera_path(wh, camera.name, frames[:1])
        lens, pose = start.cameras[0], start.pose(frames[0])
        pivot_depth = _pivot_depth(blockout, lens, pose, frames[0])
    try:
        path = moves.camera_path(
            move, lens, len(frames), pivot_depth=pivot_depth, rate=float(request.rate or RATE), up=pose[:3, 1]
        )
    except ValueError as error:
        raise InvalidRequest("shot.move", "a move that can be made", error) from error
    return CameraPath(frames, path.cameras, path.camera_from_world @ pose), frames, ()


def _pivot_depth(blockout: Blockout, lens: Camera, pose: Array, frame: int) -> float:
    """Z-depth of what the camera looks at: in the middle of the picture, else on the whole."""
    small = CameraPath((frame,), (lens.scaled(PIVOT_WH),), pose[None])
    depth = GuideSource(blockout.instances, small).sight(frame).gbuffer().depth
    middle = float(depth[PIVOT_WH[1] // 2, PIVOT_WH[0] // 2])
    return middle or (float(np.median(depth[depth > 0])) if (depth > 0).any() else 1.0)


def _imported(
    request: PrevisShot, blockout: Blockout, wh: tuple[int, int] | None, rate: Fraction, aligned: int | None
) -> Found:
    field, file = "shot.cameras_file", Path(request.cameras_file)
    still = _frames(request, blockout.frames, bounded=len(blockout.frames) > 1)
    path = import_cameras(file, wh=wh, rate=rate, numbers=_with_aligned(still, aligned, None), field=field)
    distorts = not all(camera.is_pinhole for camera in path.cameras)
    notes = ("the lens distortion of the cameras is left out: pictures are those of a pinhole",) if distorts else ()
    path = replace(path, cameras=tuple(camera.pinhole() for camera in path.cameras))
    raster = wh or path.cameras[0].wh
    for lens in dict.fromkeys(path.cameras):
        _expect_aspect("shot.width_px" if request.width_px else field, raster, lens.wh[0] / lens.wh[1],
                       f"of the cameras in {file.name}")
    frames = _frames(request, path.frames, bounded=True)
    numbers = _with_aligned(frames, aligned, path.frames)
    missing = [number for number in numbers if number not in path]
    if missing:
        raise InvalidRequest(field, f"a camera for each of the frames {frames[0]}-{frames[-1]}",
                             f"none for {len(missing)} of them, the first is {missing[0]}")
    return _in_unit_of(request, path.select(numbers).scaled(raster)), frames, notes


def _in_unit_of(request: PrevisShot, path: CameraPath) -> CameraPath:
    """What stores no unit is in that of its partner: imported cameras are in metres where their file has one."""
    scene, cameras = metres_per_unit(request.scene), metres_per_unit(request.cameras_file)
    if scene is None and cameras is not None:
        return path.in_world(np.eye(4), 1 / cameras)
    if scene is not None and cameras is None:
        return path.in_world(np.eye(4), scene)
    return path


def _frames(request: PrevisShot, known: Sequence[int], *, bounded: bool) -> tuple[int, ...]:
    """The frames asked for, of all those in between that are ``known``; beyond them where nothing bounds them."""
    first = known[0] if request.first_frame is None else request.first_frame
    last = known[-1] if request.last_frame is None else request.last_frame
    if request.frames:
        last = first + request.frames - 1
    if bounded and not known[0] <= first <= last <= known[-1]:
        field = "shot.frames" if request.frames else "shot.first_frame" if first < known[0] else "shot.last_frame"
        raise InvalidRequest(field, f"frames of {known[0]}-{known[-1]}", f"{first}-{last}")
    if last - first >= MOST_FRAMES:
        raise InvalidRequest("shot.frames", f"at most {MOST_FRAMES}", last - first + 1)
    return tuple(range(first, max(first, last) + 1))


def _with_aligned(frames: Sequence[int], aligned: int | None, known: Sequence[int] | None) -> tuple[int, ...]:
    if aligned is None or aligned in frames:
        return tuple(frames)
    if known is not None and aligned not in known:
        raise InvalidRequest("style.aligned_frame", f"a frame of {known[0]}-{known[-1]}", aligned)
    return tuple(sorted((*frames, aligned)))

"""Every other program's idea of a camera, converted to and from Backlot's, here and nowhere else.

Backlot: ``camera_from_world``, OpenCV camera axes (x right, y down, z forward), right-handed world with +Y up.

| system     | stores                           | camera axes                 | up of the world       |
|------------|----------------------------------|-----------------------------|-----------------------|
| nerfstudio | world_from_camera                | OpenGL (y up, looks along -z) | +Z                  |
| COLMAP     | camera_from_world, qw qx qy qz   | OpenCV                      | none; stays as it is  |
| glTF       | world_from_camera                | OpenGL                      | +Y                    |
| USD        | world_from_camera                | OpenGL                      | +Y or +Z, metresPerUnit |
| Blender    | world_from_camera                | OpenGL                      | +Z                    |
| Nuke .chan | translation, Euler angles, vfov  | OpenGL                      | +Y                    |
| Mitsuba    | world_from_camera                | x left, y up, z forward     | +Y                    |

Poses are (..., 4, 4) float64 unless said otherwise. Functions are named ``X_from_backlot`` and ``backlot_from_X``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.trajectory import CameraPath

Array = np.ndarray

OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])  # its own inverse
MITSUBA_FROM_OPENCV = np.diag([-1.0, -1.0, 1.0, 1.0])  # its own inverse
YUP_FROM_ZUP = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
ZUP_FROM_YUP = YUP_FROM_ZUP.T

FILM_BACK_MM = 36.0  # width assumed wherever a focal length is in mm


def opengl_from_backlot(camera_from_world: Array, *, z_up: bool = False) -> Array:
    """``world_from_camera`` with OpenGL camera axes, in the Y-up world or turned to +Z up."""
    pose = rigid.inverse(camera_from_world) @ OPENGL_FROM_OPENCV
    return ZUP_FROM_YUP @ pose if z_up else pose


def backlot_from_opengl(world_from_camera: Array, *, z_up: bool = False) -> Array:
    """Inverse of ``opengl_from_backlot``."""
    pose = YUP_FROM_ZUP @ world_from_camera if z_up else np.asarray(world_from_camera, np.float64)
    return rigid.inverse(pose @ OPENGL_FROM_OPENCV)


def nerfstudio_from_backlot(camera_from_world: Array) -> Array:
    return opengl_from_backlot(camera_from_world, z_up=True)


def backlot_from_nerfstudio(transform_matrix: Array) -> Array:
    return backlot_from_opengl(transform_matrix, z_up=True)


def blender_from_backlot(camera_from_world: Array) -> Array:
    return opengl_from_backlot(camera_from_world, z_up=True)


def backlot_from_blender(matrix_world: Array) -> Array:
    return backlot_from_opengl(matrix_world, z_up=True)


def gltf_from_backlot(camera_from_world: Array) -> Array:
    """The camera node's global matrix, column vectors (glTF 2.0, section 3.10)."""
    return opengl_from_backlot(camera_from_world)


def backlot_from_gltf(node_matrix: Array) -> Array:
    return backlot_from_opengl(node_matrix)


def usd_from_backlot(camera_from_world: Array, *, z_up: bool = False, metres_per_unit: float = 1.0) -> Array:
    """Camera-to-world for column vectors; USD itself keeps the transpose."""
    pose = opengl_from_backlot(camera_from_world, z_up=z_up)
    pose[..., :3, 3] /= metres_per_unit
    return pose


def backlot_from_usd(world_from_camera: Array, *, z_up: bool = False, metres_per_unit: float = 1.0) -> Array:
    """Inverse of ``usd_from_backlot``; metres out."""
    pose = np.array(world_from_camera, np.float64)
    pose[..., :3, 3] *= metres_per_unit
    return backlot_from_opengl(pose, z_up=z_up)


def mitsuba_from_backlot(camera_from_world: Array) -> Array:
    """``to_world`` of a Mitsuba sensor."""
    return rigid.inverse(camera_from_world) @ MITSUBA_FROM_OPENCV


def backlot_from_mitsuba(to_world: Array) -> Array:
    return rigid.inverse(np.asarray(to_world, np.float64) @ MITSUBA_FROM_OPENCV)


def colmap_from_backlot(camera_from_world: Array) -> tuple[Array, Array]:
    """(..., 4) ``qw qx qy qz`` and (..., 3) translation."""
    return rigid.quaternion(camera_from_world), camera_from_world[..., :3, 3]


def backlot_from_colmap(wxyz: Array, translation: Array) -> Array:
    return rigid.from_quaternion(wxyz, translation)


# Nuke ------------------------------------------------------------------------------------------------------------

CHAN_ROTATION_ORDER = "ZXY"  # Nuke's default: turned about z first, then x, then y


def chan_from_backlot(camera_from_world: Array, rotation_order: str = CHAN_ROTATION_ORDER) -> Array:
    """(N, 6) ``tx ty tz rx ry rz`` in degrees; angles run on from row to row without jumps of a full turn."""
    pose = opengl_from_backlot(np.asarray(camera_from_world))
    angles = Rotation.from_matrix(pose[:, :3, :3]).as_euler(_extrinsic(rotation_order))
    xyz = angles[:, [rotation_order.index(axis) for axis in "XYZ"]]
    return np.concatenate([pose[:, :3, 3], np.degrees(np.unwrap(xyz, axis=0))], 1)


def backlot_from_chan(rows: Array, rotation_order: str = CHAN_ROTATION_ORDER) -> Array:
    """(N, 4, 4) from (N, 6) ``tx ty tz rx ry rz`` in degrees."""
    rows = np.asarray(rows, np.float64)
    angles = rows[:, [3 + "XYZ".index(axis) for axis in rotation_order]]
    rotation = Rotation.from_euler(_extrinsic(rotation_order), angles, degrees=True).as_matrix()
    return backlot_from_opengl(rigid.rigid(rotation, rows[:, :3]))


def _extrinsic(rotation_order: str) -> str:
    """SciPy's name (lower case: about fixed axes, first letter first). Raises ``ValueError``."""
    if sorted(rotation_order) != ["X", "Y", "Z"]:
        raise ValueError(f"rotation_order: expected a permutation of XYZ, got {rotation_order!r}")
    return rotation_order.lower()


def vfov_deg(camera: Camera) -> float:
    """Vertical field of view of a centred pinhole with the same focal length."""
    return float(np.degrees(2 * np.arctan2(camera.hw[0] / 2, camera.fy)))


# Film backs ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FilmBack:
    """A lens in millimetres, as USD and Nuke say it: an aperture of ``width_mm`` x ``height_mm``.

    Offsets move the aperture's middle from the optical axis, positive to the right and up.
    """

    focal_mm: float
    width_mm: float
    height_mm: float
    offset_x_mm: float = 0.0
    offset_y_mm: float = 0.0


def film_back_from_camera(camera: Camera, width_mm: float = FILM_BACK_MM) -> FilmBack:
    """Exact for the pinhole part; what is not square (fx != fy) goes into the height."""
    w, h = camera.wh
    focal_mm = camera.fx * width_mm / w
    return FilmBack(
        focal_mm=focal_mm,
        width_mm=width_mm,
        height_mm=focal_mm * h / camera.fy,
        offset_x_mm=focal_mm * (w / 2 - camera.cx) / camera.fx,
        offset_y_mm=focal_mm * (camera.cy - h / 2) / camera.fy,
    )


def camera_from_film_back(back: FilmBack, wh: tuple[int, int]) -> Camera:
    """Inverse of ``film_back_from_camera`` on a raster of ``wh`` pixels."""
    w, h = wh
    fx, fy = back.focal_mm * w / back.width_mm, back.focal_mm * h / back.height_mm
    cx = w / 2 - back.offset_x_mm * fx / back.focal_mm
    cy = h / 2 + back.offset_y_mm * fy / back.focal_mm
    return Camera(fx, fy, cx, cy, wh)


# cameras.json ----------------------------------------------------------------------------------------------------

CONVENTION = {"camera": "opengl", "world_up": "+y"}
_INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "k2", "k3", "p1", "p2")
_NERFSTUDIO = {"camera": "opengl", "world_up": "+z"}  # what a file without ``convention`` means


def cameras_json_from_path(path: CameraPath, *, world_up: str = "+y", names: Sequence[str] = ()) -> dict[str, Any]:
    """The ``cameras.json`` document. Intrinsics stand at the top when all frames share them, else in each frame.

    ``names`` are pictures' file names, one for each frame; ``world_up="+z"`` gives nerfstudio's own convention.
    """
    if world_up not in ("+y", "+z"):
        raise ValueError(f"world_up: expected +y or +z, got {world_up!r}")
    shared = len(set(path.cameras)) == 1
    poses = opengl_from_backlot(path.camera_from_world, z_up=world_up == "+z")
    frames: list[dict[str, Any]] = []
    for i, number in enumerate(path.frames):
        frame: dict[str, Any] = {"frame": number, "transform_matrix": poses[i].tolist()}
        if names:
            frame["file_path"] = names[i]
        frames.append(frame if shared else frame | _intrinsics(path.cameras[i]))
    document: dict[str, Any] = {"convention": {"camera": "opengl", "world_up": world_up}, "camera_model": "OPENCV"}
    return document | (_intrinsics(path.cameras[0]) if shared else {}) | {"frames": frames}


def path_from_cameras_json(document: Mapping[str, Any]) -> CameraPath:
    """Read ``cameras.json``, and nerfstudio's ``transforms.json``, which has no ``convention`` and +Z up.

    Frames without ``frame`` take the number that ends their file's name. Raises ``ValueError`` that names the field.
    """
    convention = document.get("convention", _NERFSTUDIO)
    axes, up = convention.get("camera"), convention.get("world_up")
    if axes not in ("opengl", "opencv") or up not in ("+y", "+z"):
        raise ValueError(f"convention: expected camera opengl or opencv, world_up +y or +z, got {dict(convention)}")
    model = document.get("camera_model", "OPENCV")
    if model not in ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE"):
        raise ValueError(f"camera_model: expected OPENCV or PINHOLE, got {model!r}")
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames:
        raise ValueError("frames: expected a list of at least one frame")
    numbers = [_frame_number(frame, i) for i, frame in enumerate(frames)]
    order = np.argsort(numbers, kind="stable")
    poses = np.stack([_pose(frames[i], i) for i in order])
    if axes == "opencv":
        poses = poses @ OPENGL_FROM_OPENCV
    cameras = tuple(_camera({**document, **frames[i]}, i) for i in order)
    return CameraPath(tuple(numbers[i] for i in order), cameras, backlot_from_opengl(poses, z_up=up == "+z"))


def _intrinsics(camera: Camera) -> dict[str, Any]:
    k1, k2, p1, p2, k3 = camera.distortion
    values = (camera.fx, camera.fy, camera.cx, camera.cy, *camera.wh, k1, k2, k3, p1, p2)
    return dict(zip(_INTRINSICS, values, strict=True))


def _camera(values: Mapping[str, Any], i: int) -> Camera:
    missing = [name for name in ("fl_x", "cx", "cy", "w", "h") if name not in values]
    if missing:
        raise ValueError(f"frames[{i}]: expected {', '.join(missing)} there or at the top of the file, got nothing")
    if values.get("k4"):
        raise ValueError(f"frames[{i}].k4: expected 0 (Brown-Conrady has k1 k2 k3), got {values['k4']}")
    k1, k2, k3, p1, p2 = (float(values.get(name, 0.0)) for name in ("k1", "k2", "k3", "p1", "p2"))
    return Camera(
        float(values["fl_x"]), float(values.get("fl_y", values["fl_x"])), float(values["cx"]), float(values["cy"]),
        (int(values["w"]), int(values["h"])), (k1, k2, p1, p2, k3),
    )


def _frame_number(frame: Mapping[str, Any], i: int) -> int:
    if "frame" in frame:
        return int(frame["frame"])
    match = re.search(r"(\d+)$", PurePath(str(frame.get("file_path", ""))).stem)
    if match is None:
        raise ValueError(f"frames[{i}].frame: expected a frame number, or a file_path that ends in one, got neither")
    return int(match[1])


def _pose(frame: Mapping[str, Any], i: int) -> Array:
    pose = np.array(frame.get("transform_matrix", ()), np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"frames[{i}].transform_matrix: expected 4x4 finite numbers, got shape {pose.shape}")
    if not np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-4) or np.linalg.det(pose[:3, :3]) < 0:
        raise ValueError(f"frames[{i}].transform_matrix: expected a rotation and a translation, got {pose.tolist()}")
    return pose

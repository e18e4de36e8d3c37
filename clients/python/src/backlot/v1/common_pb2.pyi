from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ShotKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SHOT_KIND_UNSPECIFIED: _ClassVar[ShotKind]
    SHOT_KIND_PARALLAX: _ClassVar[ShotKind]
    SHOT_KIND_PAN: _ClassVar[ShotKind]
    SHOT_KIND_LOCKED: _ClassVar[ShotKind]
SHOT_KIND_UNSPECIFIED: ShotKind
SHOT_KIND_PARALLAX: ShotKind
SHOT_KIND_PAN: ShotKind
SHOT_KIND_LOCKED: ShotKind

class MediaPath(_message.Message):
    __slots__ = ("uri", "asset")
    URI_FIELD_NUMBER: _ClassVar[int]
    ASSET_FIELD_NUMBER: _ClassVar[int]
    uri: str
    asset: AssetPath
    def __init__(self, uri: _Optional[str] = ..., asset: _Optional[_Union[AssetPath, _Mapping]] = ...) -> None: ...

class AssetPath(_message.Message):
    __slots__ = ("asset_id", "relative_path")
    ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_PATH_FIELD_NUMBER: _ClassVar[int]
    asset_id: str
    relative_path: str
    def __init__(self, asset_id: _Optional[str] = ..., relative_path: _Optional[str] = ...) -> None: ...

class Clip(_message.Message):
    __slots__ = ("path", "first_frame", "last_frame", "colorspace")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    path: MediaPath
    first_frame: int
    last_frame: int
    colorspace: str
    def __init__(self, path: _Optional[_Union[MediaPath, _Mapping]] = ..., first_frame: _Optional[int] = ..., last_frame: _Optional[int] = ..., colorspace: _Optional[str] = ...) -> None: ...

class KnownDistance(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1", "metres")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    METRES_FIELD_NUMBER: _ClassVar[int]
    x0: float
    y0: float
    x1: float
    y1: float
    metres: float
    def __init__(self, x0: _Optional[float] = ..., y0: _Optional[float] = ..., x1: _Optional[float] = ..., y1: _Optional[float] = ..., metres: _Optional[float] = ...) -> None: ...

class MoverClick(_message.Message):
    __slots__ = ("at_px", "frame")
    AT_PX_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    at_px: PixelPoint
    frame: int
    def __init__(self, at_px: _Optional[_Union[PixelPoint, _Mapping]] = ..., frame: _Optional[int] = ...) -> None: ...

class SceneOptions(_message.Message):
    __slots__ = ("cameras_file", "scene_dir", "focal_mm", "horizon", "known_distance", "camera_height_m", "kind", "movers")
    CAMERAS_FILE_FIELD_NUMBER: _ClassVar[int]
    SCENE_DIR_FIELD_NUMBER: _ClassVar[int]
    FOCAL_MM_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    KNOWN_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MOVERS_FIELD_NUMBER: _ClassVar[int]
    cameras_file: MediaPath
    scene_dir: MediaPath
    focal_mm: float
    horizon: str
    known_distance: KnownDistance
    camera_height_m: float
    kind: ShotKind
    movers: _containers.RepeatedCompositeFieldContainer[MoverClick]
    def __init__(self, cameras_file: _Optional[_Union[MediaPath, _Mapping]] = ..., scene_dir: _Optional[_Union[MediaPath, _Mapping]] = ..., focal_mm: _Optional[float] = ..., horizon: _Optional[str] = ..., known_distance: _Optional[_Union[KnownDistance, _Mapping]] = ..., camera_height_m: _Optional[float] = ..., kind: _Optional[_Union[ShotKind, str]] = ..., movers: _Optional[_Iterable[_Union[MoverClick, _Mapping]]] = ...) -> None: ...

class PixelPoint(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class PixelBox(_message.Message):
    __slots__ = ("x0", "y0", "x1", "y1")
    X0_FIELD_NUMBER: _ClassVar[int]
    Y0_FIELD_NUMBER: _ClassVar[int]
    X1_FIELD_NUMBER: _ClassVar[int]
    Y1_FIELD_NUMBER: _ClassVar[int]
    x0: float
    y0: float
    x1: float
    y1: float
    def __init__(self, x0: _Optional[float] = ..., y0: _Optional[float] = ..., x1: _Optional[float] = ..., y1: _Optional[float] = ...) -> None: ...

class InsertedObject(_message.Message):
    __slots__ = ("path", "at_px", "frame", "height_m", "height_px", "scale", "yaw_deg", "object_up", "attach", "name")
    PATH_FIELD_NUMBER: _ClassVar[int]
    AT_PX_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    YAW_DEG_FIELD_NUMBER: _ClassVar[int]
    OBJECT_UP_FIELD_NUMBER: _ClassVar[int]
    ATTACH_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    path: MediaPath
    at_px: PixelPoint
    frame: int
    height_m: float
    height_px: float
    scale: float
    yaw_deg: float
    object_up: str
    attach: str
    name: str
    def __init__(self, path: _Optional[_Union[MediaPath, _Mapping]] = ..., at_px: _Optional[_Union[PixelPoint, _Mapping]] = ..., frame: _Optional[int] = ..., height_m: _Optional[float] = ..., height_px: _Optional[float] = ..., scale: _Optional[float] = ..., yaw_deg: _Optional[float] = ..., object_up: _Optional[str] = ..., attach: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Lighting(_message.Message):
    __slots__ = ("hdri", "hdri_yaw_deg", "exposure_ev")
    HDRI_FIELD_NUMBER: _ClassVar[int]
    HDRI_YAW_DEG_FIELD_NUMBER: _ClassVar[int]
    EXPOSURE_EV_FIELD_NUMBER: _ClassVar[int]
    hdri: MediaPath
    hdri_yaw_deg: float
    exposure_ev: float
    def __init__(self, hdri: _Optional[_Union[MediaPath, _Mapping]] = ..., hdri_yaw_deg: _Optional[float] = ..., exposure_ev: _Optional[float] = ...) -> None: ...

class Matching(_message.Message):
    __slots__ = ("motion_blur", "grain", "sharpness", "shutter_deg")
    MOTION_BLUR_FIELD_NUMBER: _ClassVar[int]
    GRAIN_FIELD_NUMBER: _ClassVar[int]
    SHARPNESS_FIELD_NUMBER: _ClassVar[int]
    SHUTTER_DEG_FIELD_NUMBER: _ClassVar[int]
    motion_blur: bool
    grain: bool
    sharpness: bool
    shutter_deg: float
    def __init__(self, motion_blur: _Optional[bool] = ..., grain: _Optional[bool] = ..., sharpness: _Optional[bool] = ..., shutter_deg: _Optional[float] = ...) -> None: ...

from backlot.v1 import common_pb2 as _common_pb2
from backlot.v1 import jobs_pb2 as _jobs_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnchorSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANCHOR_SOURCE_UNSPECIFIED: _ClassVar[AnchorSource]
    ANCHOR_SOURCE_PAINTED: _ClassVar[AnchorSource]
    ANCHOR_SOURCE_GIVEN: _ClassVar[AnchorSource]
ANCHOR_SOURCE_UNSPECIFIED: AnchorSource
ANCHOR_SOURCE_PAINTED: AnchorSource
ANCHOR_SOURCE_GIVEN: AnchorSource

class PrevisShot(_message.Message):
    __slots__ = ("scene", "camera", "cameras_file", "first_frame", "last_frame", "frames", "width_px", "height_px", "rate", "up_axis", "move", "animation")
    SCENE_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FILE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    UP_AXIS_FIELD_NUMBER: _ClassVar[int]
    MOVE_FIELD_NUMBER: _ClassVar[int]
    ANIMATION_FIELD_NUMBER: _ClassVar[int]
    scene: _common_pb2.MediaPath
    camera: str
    cameras_file: _common_pb2.MediaPath
    first_frame: int
    last_frame: int
    frames: int
    width_px: int
    height_px: int
    rate: float
    up_axis: str
    move: str
    animation: str
    def __init__(self, scene: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., camera: _Optional[str] = ..., cameras_file: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., first_frame: _Optional[int] = ..., last_frame: _Optional[int] = ..., frames: _Optional[int] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., rate: _Optional[float] = ..., up_axis: _Optional[str] = ..., move: _Optional[str] = ..., animation: _Optional[str] = ...) -> None: ...

class PrevisStyle(_message.Message):
    __slots__ = ("reference", "aligned_frame", "regions", "prompt", "adapter")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ALIGNED_FRAME_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    reference: _common_pb2.MediaPath
    aligned_frame: int
    regions: _containers.RepeatedCompositeFieldContainer[StyleRegion]
    prompt: str
    adapter: _common_pb2.MediaPath
    def __init__(self, reference: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., aligned_frame: _Optional[int] = ..., regions: _Optional[_Iterable[_Union[StyleRegion, _Mapping]]] = ..., prompt: _Optional[str] = ..., adapter: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ...) -> None: ...

class StyleRegion(_message.Message):
    __slots__ = ("object", "box")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    object: str
    box: _common_pb2.PixelBox
    def __init__(self, object: _Optional[str] = ..., box: _Optional[_Union[_common_pb2.PixelBox, _Mapping]] = ...) -> None: ...

class AnchorEdit(_message.Message):
    __slots__ = ("frame", "picture", "redo")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    REDO_FIELD_NUMBER: _ClassVar[int]
    frame: int
    picture: _common_pb2.MediaPath
    redo: int
    def __init__(self, frame: _Optional[int] = ..., picture: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., redo: _Optional[int] = ...) -> None: ...

class RenderGuidesRequest(_message.Message):
    __slots__ = ("request_id", "shot", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SHOT_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    shot: PrevisShot
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., shot: _Optional[_Union[PrevisShot, _Mapping]] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class RenderGuidesResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

class RenderAnchorsRequest(_message.Message):
    __slots__ = ("request_id", "shot", "style", "anchors", "anchors_backend", "seed", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SHOT_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_BACKEND_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    shot: PrevisShot
    style: PrevisStyle
    anchors: _containers.RepeatedCompositeFieldContainer[AnchorEdit]
    anchors_backend: str
    seed: int
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., shot: _Optional[_Union[PrevisShot, _Mapping]] = ..., style: _Optional[_Union[PrevisStyle, _Mapping]] = ..., anchors: _Optional[_Iterable[_Union[AnchorEdit, _Mapping]]] = ..., anchors_backend: _Optional[str] = ..., seed: _Optional[int] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class RenderAnchorsResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

class RenderPrevisRequest(_message.Message):
    __slots__ = ("request_id", "shot", "style", "anchors", "anchors_backend", "seed", "inbetween_backend", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SHOT_FIELD_NUMBER: _ClassVar[int]
    STYLE_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_BACKEND_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    INBETWEEN_BACKEND_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    shot: PrevisShot
    style: PrevisStyle
    anchors: _containers.RepeatedCompositeFieldContainer[AnchorEdit]
    anchors_backend: str
    seed: int
    inbetween_backend: str
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., shot: _Optional[_Union[PrevisShot, _Mapping]] = ..., style: _Optional[_Union[PrevisStyle, _Mapping]] = ..., anchors: _Optional[_Iterable[_Union[AnchorEdit, _Mapping]]] = ..., anchors_backend: _Optional[str] = ..., seed: _Optional[int] = ..., inbetween_backend: _Optional[str] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class RenderPrevisResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

class ListAnchorsRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListAnchorsResponse(_message.Message):
    __slots__ = ("result_asset_id", "anchors")
    RESULT_ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    ANCHORS_FIELD_NUMBER: _ClassVar[int]
    result_asset_id: str
    anchors: _containers.RepeatedCompositeFieldContainer[Anchor]
    def __init__(self, result_asset_id: _Optional[str] = ..., anchors: _Optional[_Iterable[_Union[Anchor, _Mapping]]] = ...) -> None: ...

class Anchor(_message.Message):
    __slots__ = ("frame", "relative_path", "source", "redo")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_PATH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REDO_FIELD_NUMBER: _ClassVar[int]
    frame: int
    relative_path: str
    source: AnchorSource
    redo: int
    def __init__(self, frame: _Optional[int] = ..., relative_path: _Optional[str] = ..., source: _Optional[_Union[AnchorSource, str]] = ..., redo: _Optional[int] = ...) -> None: ...

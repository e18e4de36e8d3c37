from backlot.v1 import common_pb2 as _common_pb2
from backlot.v1 import jobs_pb2 as _jobs_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ReconstructSceneRequest(_message.Message):
    __slots__ = ("request_id", "clip", "scene", "seed", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    SCENE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    clip: _common_pb2.Clip
    scene: _common_pb2.SceneOptions
    seed: int
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., clip: _Optional[_Union[_common_pb2.Clip, _Mapping]] = ..., scene: _Optional[_Union[_common_pb2.SceneOptions, _Mapping]] = ..., seed: _Optional[int] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class ReconstructResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

class ImportSceneRequest(_message.Message):
    __slots__ = ("request_id", "path", "cameras_file", "clip", "width_px", "height_px", "rate", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FILE_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    path: _common_pb2.MediaPath
    cameras_file: _common_pb2.MediaPath
    clip: _common_pb2.Clip
    width_px: int
    height_px: int
    rate: float
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., path: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., cameras_file: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., clip: _Optional[_Union[_common_pb2.Clip, _Mapping]] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., rate: _Optional[float] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class GetSceneRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class Scene(_message.Message):
    __slots__ = ("name", "result_asset_id", "registered_frames", "width_px", "height_px", "scale_known")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RESULT_ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    SCALE_KNOWN_FIELD_NUMBER: _ClassVar[int]
    name: str
    result_asset_id: str
    registered_frames: _containers.RepeatedScalarFieldContainer[int]
    width_px: int
    height_px: int
    scale_known: bool
    def __init__(self, name: _Optional[str] = ..., result_asset_id: _Optional[str] = ..., registered_frames: _Optional[_Iterable[int]] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., scale_known: _Optional[bool] = ...) -> None: ...

class PreviewPlacementRequest(_message.Message):
    __slots__ = ("scene_dir", "clip", "object", "frame", "width_px")
    SCENE_DIR_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    scene_dir: _common_pb2.MediaPath
    clip: _common_pb2.Clip
    object: _common_pb2.InsertedObject
    frame: int
    width_px: int
    def __init__(self, scene_dir: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., clip: _Optional[_Union[_common_pb2.Clip, _Mapping]] = ..., object: _Optional[_Union[_common_pb2.InsertedObject, _Mapping]] = ..., frame: _Optional[int] = ..., width_px: _Optional[int] = ...) -> None: ...

class PreviewPlacementResponse(_message.Message):
    __slots__ = ("preview", "base_in_world")
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    BASE_IN_WORLD_FIELD_NUMBER: _ClassVar[int]
    preview: _jobs_pb2.Preview
    base_in_world: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, preview: _Optional[_Union[_jobs_pb2.Preview, _Mapping]] = ..., base_in_world: _Optional[_Iterable[float]] = ...) -> None: ...

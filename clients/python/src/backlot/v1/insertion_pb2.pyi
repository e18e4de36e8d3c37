from backlot.v1 import common_pb2 as _common_pb2
from backlot.v1 import jobs_pb2 as _jobs_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InsertObjectRequest(_message.Message):
    __slots__ = ("request_id", "clip", "objects", "scene", "lighting", "matching", "holdout", "draft", "backend", "seed", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    SCENE_FIELD_NUMBER: _ClassVar[int]
    LIGHTING_FIELD_NUMBER: _ClassVar[int]
    MATCHING_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_FIELD_NUMBER: _ClassVar[int]
    DRAFT_FIELD_NUMBER: _ClassVar[int]
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    clip: _common_pb2.Clip
    objects: _containers.RepeatedCompositeFieldContainer[_common_pb2.InsertedObject]
    scene: _common_pb2.SceneOptions
    lighting: _common_pb2.Lighting
    matching: _common_pb2.Matching
    holdout: _common_pb2.MediaPath
    draft: bool
    backend: str
    seed: int
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., clip: _Optional[_Union[_common_pb2.Clip, _Mapping]] = ..., objects: _Optional[_Iterable[_Union[_common_pb2.InsertedObject, _Mapping]]] = ..., scene: _Optional[_Union[_common_pb2.SceneOptions, _Mapping]] = ..., lighting: _Optional[_Union[_common_pb2.Lighting, _Mapping]] = ..., matching: _Optional[_Union[_common_pb2.Matching, _Mapping]] = ..., holdout: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., draft: _Optional[bool] = ..., backend: _Optional[str] = ..., seed: _Optional[int] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class InsertResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

class PropagateMasksRequest(_message.Message):
    __slots__ = ("request_id", "clip", "frame", "placement", "box", "mask", "scene", "seed", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    SCENE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    clip: _common_pb2.Clip
    frame: int
    placement: _common_pb2.InsertedObject
    box: _common_pb2.PixelBox
    mask: _common_pb2.MediaPath
    scene: _common_pb2.SceneOptions
    seed: int
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., clip: _Optional[_Union[_common_pb2.Clip, _Mapping]] = ..., frame: _Optional[int] = ..., placement: _Optional[_Union[_common_pb2.InsertedObject, _Mapping]] = ..., box: _Optional[_Union[_common_pb2.PixelBox, _Mapping]] = ..., mask: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., scene: _Optional[_Union[_common_pb2.SceneOptions, _Mapping]] = ..., seed: _Optional[int] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class PropagateMasksResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

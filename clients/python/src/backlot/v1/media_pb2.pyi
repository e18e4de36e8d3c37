from backlot.v1 import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class UploadRequest(_message.Message):
    __slots__ = ("asset_id", "relative_path", "offset", "data", "total_bytes", "sha256")
    ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    asset_id: str
    relative_path: str
    offset: int
    data: bytes
    total_bytes: int
    sha256: str
    def __init__(self, asset_id: _Optional[str] = ..., relative_path: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class UploadResponse(_message.Message):
    __slots__ = ("asset_id", "files")
    ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    asset_id: str
    files: _containers.RepeatedCompositeFieldContainer[StoredFile]
    def __init__(self, asset_id: _Optional[str] = ..., files: _Optional[_Iterable[_Union[StoredFile, _Mapping]]] = ...) -> None: ...

class StoredFile(_message.Message):
    __slots__ = ("relative_path", "size_bytes", "sha256", "received_bytes")
    RELATIVE_PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_BYTES_FIELD_NUMBER: _ClassVar[int]
    relative_path: str
    size_bytes: int
    sha256: str
    received_bytes: int
    def __init__(self, relative_path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., received_bytes: _Optional[int] = ...) -> None: ...

class DownloadRequest(_message.Message):
    __slots__ = ("asset_id", "relative_path", "offset", "limit_bytes")
    ASSET_ID_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_BYTES_FIELD_NUMBER: _ClassVar[int]
    asset_id: str
    relative_path: str
    offset: int
    limit_bytes: int
    def __init__(self, asset_id: _Optional[str] = ..., relative_path: _Optional[str] = ..., offset: _Optional[int] = ..., limit_bytes: _Optional[int] = ...) -> None: ...

class DownloadResponse(_message.Message):
    __slots__ = ("offset", "data", "total_bytes", "sha256")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TOTAL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    offset: int
    data: bytes
    total_bytes: int
    sha256: str
    def __init__(self, offset: _Optional[int] = ..., data: _Optional[bytes] = ..., total_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("media", "probe_clip", "page_size", "page_token")
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    PROBE_CLIP_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    media: _common_pb2.MediaPath
    probe_clip: bool
    page_size: int
    page_token: str
    def __init__(self, media: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., probe_clip: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("files", "next_page_token", "clip")
    FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CLIP_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[StoredFile]
    next_page_token: str
    clip: ClipInfo
    def __init__(self, files: _Optional[_Iterable[_Union[StoredFile, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., clip: _Optional[_Union[ClipInfo, _Mapping]] = ...) -> None: ...

class ClipInfo(_message.Message):
    __slots__ = ("width_px", "height_px", "first_frame", "frame_count", "rate_numerator", "rate_denominator", "bit_depth", "colorspace")
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    FIRST_FRAME_FIELD_NUMBER: _ClassVar[int]
    FRAME_COUNT_FIELD_NUMBER: _ClassVar[int]
    RATE_NUMERATOR_FIELD_NUMBER: _ClassVar[int]
    RATE_DENOMINATOR_FIELD_NUMBER: _ClassVar[int]
    BIT_DEPTH_FIELD_NUMBER: _ClassVar[int]
    COLORSPACE_FIELD_NUMBER: _ClassVar[int]
    width_px: int
    height_px: int
    first_frame: int
    frame_count: int
    rate_numerator: int
    rate_denominator: int
    bit_depth: int
    colorspace: str
    def __init__(self, width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., first_frame: _Optional[int] = ..., frame_count: _Optional[int] = ..., rate_numerator: _Optional[int] = ..., rate_denominator: _Optional[int] = ..., bit_depth: _Optional[int] = ..., colorspace: _Optional[str] = ...) -> None: ...

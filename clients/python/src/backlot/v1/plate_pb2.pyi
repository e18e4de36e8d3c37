from backlot.v1 import common_pb2 as _common_pb2
from backlot.v1 import jobs_pb2 as _jobs_pb2
from google.longrunning import operations_pb2 as _operations_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PlateSource(_message.Message):
    __slots__ = ("path", "near", "far", "focal_mm", "alpha", "depth", "depth_kind", "depth_white", "horizon", "camera_height_m", "generation")
    PATH_FIELD_NUMBER: _ClassVar[int]
    NEAR_FIELD_NUMBER: _ClassVar[int]
    FAR_FIELD_NUMBER: _ClassVar[int]
    FOCAL_MM_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_KIND_FIELD_NUMBER: _ClassVar[int]
    DEPTH_WHITE_FIELD_NUMBER: _ClassVar[int]
    HORIZON_FIELD_NUMBER: _ClassVar[int]
    CAMERA_HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    path: _common_pb2.MediaPath
    near: float
    far: float
    focal_mm: float
    alpha: str
    depth: _common_pb2.MediaPath
    depth_kind: str
    depth_white: str
    horizon: str
    camera_height_m: float
    generation: PlateGeneration
    def __init__(self, path: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., near: _Optional[float] = ..., far: _Optional[float] = ..., focal_mm: _Optional[float] = ..., alpha: _Optional[str] = ..., depth: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., depth_kind: _Optional[str] = ..., depth_white: _Optional[str] = ..., horizon: _Optional[str] = ..., camera_height_m: _Optional[float] = ..., generation: _Optional[_Union[PlateGeneration, _Mapping]] = ...) -> None: ...

class PlateGeneration(_message.Message):
    __slots__ = ("prompt", "negative_prompt", "look", "controls", "concepts", "aspect")
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_PROMPT_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    CONTROLS_FIELD_NUMBER: _ClassVar[int]
    CONCEPTS_FIELD_NUMBER: _ClassVar[int]
    ASPECT_FIELD_NUMBER: _ClassVar[int]
    prompt: str
    negative_prompt: str
    look: str
    controls: _containers.RepeatedCompositeFieldContainer[ControlPicture]
    concepts: _containers.RepeatedCompositeFieldContainer[LearnedConcept]
    aspect: str
    def __init__(self, prompt: _Optional[str] = ..., negative_prompt: _Optional[str] = ..., look: _Optional[str] = ..., controls: _Optional[_Iterable[_Union[ControlPicture, _Mapping]]] = ..., concepts: _Optional[_Iterable[_Union[LearnedConcept, _Mapping]]] = ..., aspect: _Optional[str] = ...) -> None: ...

class ControlPicture(_message.Message):
    __slots__ = ("kind", "picture")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    picture: _common_pb2.MediaPath
    def __init__(self, kind: _Optional[str] = ..., picture: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ...) -> None: ...

class LearnedConcept(_message.Message):
    __slots__ = ("word", "file")
    WORD_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    word: str
    file: _common_pb2.MediaPath
    def __init__(self, word: _Optional[str] = ..., file: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ...) -> None: ...

class PlateLayers(_message.Message):
    __slots__ = ("count", "bands", "things", "outpaint", "inpaint", "separate")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    BANDS_FIELD_NUMBER: _ClassVar[int]
    THINGS_FIELD_NUMBER: _ClassVar[int]
    OUTPAINT_FIELD_NUMBER: _ClassVar[int]
    INPAINT_FIELD_NUMBER: _ClassVar[int]
    SEPARATE_FIELD_NUMBER: _ClassVar[int]
    count: int
    bands: _containers.RepeatedCompositeFieldContainer[DepthBand]
    things: _containers.RepeatedCompositeFieldContainer[PlateThing]
    outpaint: PlateMargins
    inpaint: _common_pb2.MediaPath
    separate: bool
    def __init__(self, count: _Optional[int] = ..., bands: _Optional[_Iterable[_Union[DepthBand, _Mapping]]] = ..., things: _Optional[_Iterable[_Union[PlateThing, _Mapping]]] = ..., outpaint: _Optional[_Union[PlateMargins, _Mapping]] = ..., inpaint: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., separate: _Optional[bool] = ...) -> None: ...

class DepthBand(_message.Message):
    __slots__ = ("near", "far")
    NEAR_FIELD_NUMBER: _ClassVar[int]
    FAR_FIELD_NUMBER: _ClassVar[int]
    near: float
    far: float
    def __init__(self, near: _Optional[float] = ..., far: _Optional[float] = ...) -> None: ...

class PlateThing(_message.Message):
    __slots__ = ("name", "clicks", "outside", "box")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLICKS_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    name: str
    clicks: _containers.RepeatedCompositeFieldContainer[_common_pb2.PixelPoint]
    outside: _containers.RepeatedCompositeFieldContainer[_common_pb2.PixelPoint]
    box: _common_pb2.PixelBox
    def __init__(self, name: _Optional[str] = ..., clicks: _Optional[_Iterable[_Union[_common_pb2.PixelPoint, _Mapping]]] = ..., outside: _Optional[_Iterable[_Union[_common_pb2.PixelPoint, _Mapping]]] = ..., box: _Optional[_Union[_common_pb2.PixelBox, _Mapping]] = ...) -> None: ...

class PlateMargins(_message.Message):
    __slots__ = ("left", "top", "right", "bottom")
    LEFT_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTTOM_FIELD_NUMBER: _ClassVar[int]
    left: int
    top: int
    right: int
    bottom: int
    def __init__(self, left: _Optional[int] = ..., top: _Optional[int] = ..., right: _Optional[int] = ..., bottom: _Optional[int] = ...) -> None: ...

class PlateFluid(_message.Message):
    __slots__ = ("mask", "hints", "layer", "speed", "video")
    MASK_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    LAYER_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    VIDEO_FIELD_NUMBER: _ClassVar[int]
    mask: _common_pb2.MediaPath
    hints: _containers.RepeatedCompositeFieldContainer[FlowHint]
    layer: str
    speed: float
    video: _common_pb2.MediaPath
    def __init__(self, mask: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., hints: _Optional[_Iterable[_Union[FlowHint, _Mapping]]] = ..., layer: _Optional[str] = ..., speed: _Optional[float] = ..., video: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ...) -> None: ...

class FlowHint(_message.Message):
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

class PlateCamera(_message.Message):
    __slots__ = ("move", "cameras_file", "frames", "width_px", "height_px", "rate", "loop", "easing", "pivot_depth", "overscan", "focus", "aperture", "shutter_deg", "repaint")
    MOVE_FIELD_NUMBER: _ClassVar[int]
    CAMERAS_FILE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    LOOP_FIELD_NUMBER: _ClassVar[int]
    EASING_FIELD_NUMBER: _ClassVar[int]
    PIVOT_DEPTH_FIELD_NUMBER: _ClassVar[int]
    OVERSCAN_FIELD_NUMBER: _ClassVar[int]
    FOCUS_FIELD_NUMBER: _ClassVar[int]
    APERTURE_FIELD_NUMBER: _ClassVar[int]
    SHUTTER_DEG_FIELD_NUMBER: _ClassVar[int]
    REPAINT_FIELD_NUMBER: _ClassVar[int]
    move: str
    cameras_file: _common_pb2.MediaPath
    frames: int
    width_px: int
    height_px: int
    rate: float
    loop: bool
    easing: str
    pivot_depth: float
    overscan: float
    focus: float
    aperture: float
    shutter_deg: float
    repaint: bool
    def __init__(self, move: _Optional[str] = ..., cameras_file: _Optional[_Union[_common_pb2.MediaPath, _Mapping]] = ..., frames: _Optional[int] = ..., width_px: _Optional[int] = ..., height_px: _Optional[int] = ..., rate: _Optional[float] = ..., loop: _Optional[bool] = ..., easing: _Optional[str] = ..., pivot_depth: _Optional[float] = ..., overscan: _Optional[float] = ..., focus: _Optional[float] = ..., aperture: _Optional[float] = ..., shutter_deg: _Optional[float] = ..., repaint: _Optional[bool] = ...) -> None: ...

class BuildLayersRequest(_message.Message):
    __slots__ = ("request_id", "source", "layers", "seed", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    source: PlateSource
    layers: PlateLayers
    seed: int
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., source: _Optional[_Union[PlateSource, _Mapping]] = ..., layers: _Optional[_Union[PlateLayers, _Mapping]] = ..., seed: _Optional[int] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class BuildLayersResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

class AnimatePlateRequest(_message.Message):
    __slots__ = ("request_id", "source", "layers", "camera", "fluids", "codec", "seed", "no_cache", "priority")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LAYERS_FIELD_NUMBER: _ClassVar[int]
    CAMERA_FIELD_NUMBER: _ClassVar[int]
    FLUIDS_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    NO_CACHE_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    source: PlateSource
    layers: PlateLayers
    camera: PlateCamera
    fluids: _containers.RepeatedCompositeFieldContainer[PlateFluid]
    codec: str
    seed: int
    no_cache: bool
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., source: _Optional[_Union[PlateSource, _Mapping]] = ..., layers: _Optional[_Union[PlateLayers, _Mapping]] = ..., camera: _Optional[_Union[PlateCamera, _Mapping]] = ..., fluids: _Optional[_Iterable[_Union[PlateFluid, _Mapping]]] = ..., codec: _Optional[str] = ..., seed: _Optional[int] = ..., no_cache: _Optional[bool] = ..., priority: _Optional[int] = ...) -> None: ...

class AnimatePlateResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: _jobs_pb2.JobResult
    def __init__(self, result: _Optional[_Union[_jobs_pb2.JobResult, _Mapping]] = ...) -> None: ...

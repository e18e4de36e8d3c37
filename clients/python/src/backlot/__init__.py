"""The light client of Backlot: requests, jobs, results. Needs grpcio and protobuf only.

    with backlot.embedded_server() as server, server.connect() as client:
        chair = backlot.InsertedObject("chair.glb", at_px=(640, 520), height_px=180)
        job = client.insert("shot.mp4", [chair])
        job.download("out")

``Client`` speaks to any server; ``AsyncClient`` is the same with ``await``. Errors form one tree below
``BacklotError``.
"""

from backlot._async import AsyncClient, AsyncJob
from backlot._client import Client, Job
from backlot._embedded import EmbeddedServer, embedded_server
from backlot._errors import (
    BacklotError,
    Cancelled,
    CorruptFile,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ServerNotFound,
    Unavailable,
    Unsolvable,
)
from backlot._events import Anchor, Event, JobState, JobSummary, ResultFile
from backlot._requests import (
    AnchorEdit,
    AnchorsRequest,
    Clip,
    GuidesRequest,
    ImportSceneRequest,
    InsertedObject,
    InsertRequest,
    KnownDistance,
    Lighting,
    Matching,
    MoverClick,
    PrevisRequest,
    PrevisShot,
    PrevisStyle,
    PropagateMasksRequest,
    ReconstructRequest,
    SceneOptions,
    StyleRegion,
)

__all__ = [
    "Anchor",
    "AnchorEdit",
    "AnchorsRequest",
    "AsyncClient",
    "AsyncJob",
    "BacklotError",
    "Cancelled",
    "Client",
    "Clip",
    "CorruptFile",
    "EmbeddedServer",
    "Event",
    "GuidesRequest",
    "ImportSceneRequest",
    "InsertRequest",
    "InsertedObject",
    "InternalError",
    "InvalidRequest",
    "Job",
    "JobState",
    "JobSummary",
    "KnownDistance",
    "Lighting",
    "Matching",
    "MoverClick",
    "NotFound",
    "PermissionDenied",
    "PrevisRequest",
    "PrevisShot",
    "PrevisStyle",
    "PropagateMasksRequest",
    "ReconstructRequest",
    "ResourceExhausted",
    "ResultFile",
    "SceneOptions",
    "ServerNotFound",
    "StyleRegion",
    "Unavailable",
    "Unsolvable",
    "embedded_server",
]

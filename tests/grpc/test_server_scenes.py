"""Modelled scenes through the front door: the real pipeline behind a real server."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from backlot.v1 import common_pb2, jobs_pb2, media_pb2, scene_pb2
from google.rpc import code_pb2

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Mesh
from geometry.trajectory import CameraPath
from services.config import Config
from services.export.usd import write_usd
from tests.grpc.running import Stubs, failure, serving, wrong_field

REGISTRY = "services.executors.registry"


def model(folder: Path) -> Path:
    """A floor, and a camera that steps sideways above it for three frames."""
    floor = np.array([[-9, 0, 9], [9, 0, 9], [9, 0, -9], [-9, 0, -9]], float)
    poses = np.stack([rigid.look_at((0.1 * i, 1.5, 2), (0.1 * i, 0, -2)) for i in range(3)])
    path = CameraPath((4, 5, 6), (Camera(60, 60, 32, 18, (64, 36)),) * 3, poses)
    write_usd(folder / "floor.usda", path, Fraction(24), mesh=Mesh(floor, np.array([[0, 1, 2], [0, 2, 3]], np.int32)))
    return folder / "floor.usda"


def place(path: Path) -> common_pb2.MediaPath:
    return common_pb2.MediaPath(uri=str(path))


async def test_a_modelled_scene_is_a_scene(with_server: Callable[..., Config], notes: Path) -> None:
    async with serving(with_server(registry=REGISTRY)) as stubs:
        request = scene_pb2.ImportSceneRequest(path=place(model(notes)), request_id="one")
        operation = await stubs.scenes.ImportScene(request)
        assert (await stubs.scenes.ImportScene(request)).name == operation.name
        events = await stubs.events(operation.name)
        assert events[-1].state == jobs_pb2.JOB_STATE_SUCCEEDED
        assert {event.stage for event in events} == {"", "render depth", "export scene", "preview", "report"}
        paths = {file.relative_path for event in events for file in event.files}
        wanted = {"cameras.json", "mesh.ply", "depth/0005.exr", "confidence/0006.png", "scene.usda", "transforms.json",
                  "cameras.chan", "colmap/images.txt", "report.json", "contact_sheet.png", "preview.mp4"}
        assert wanted <= paths
        ended = await stubs.operation(operation.name)
        response, metadata = scene_pb2.ReconstructResponse(), jobs_pb2.JobMetadata()
        assert ended.response.Unpack(response)
        assert ended.metadata.Unpack(metadata)
        assert (response.result.file_count, metadata.kind) == (len(paths), "import_scene")
        scene = await stubs.scenes.GetScene(scene_pb2.GetSceneRequest(name=operation.name))
        assert (list(scene.registered_frames), scene.width_px, scene.height_px) == ([4, 5, 6], 64, 36)
        assert not scene.scale_known  # the stage says that its unit is a guess
        report = media_pb2.DownloadRequest(asset_id=scene.result_asset_id, relative_path="report.json")
        chunks = [chunk.data async for chunk in stubs.media.Download(report)]
        assert b'"import_scene"' in b"".join(chunks)


async def test_bad_requests_never_become_jobs(stubs: Stubs, notes: Path) -> None:
    def asked(**fields: Any) -> Any:
        return stubs.scenes.ImportScene(scene_pb2.ImportSceneRequest(**fields))

    file = place(model(notes))
    assert await wrong_field(asked()) == "path"
    assert await wrong_field(asked(path=file, width_px=640)) == "width_px"
    assert await wrong_field(asked(path=file, rate=-1)) == "rate"
    assert await wrong_field(asked(path=file, rate=24, clip=common_pb2.Clip(path=file))) == "rate"
    assert await wrong_field(asked(path=file, cameras_file=place(Path("/etc/passwd")))) == "cameras_file"
    assert not (await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs


async def test_a_model_without_a_camera_fails_and_says_what_it_holds(
    with_server: Callable[..., Config], notes: Path
) -> None:
    (notes / "tri.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 0 1\nf 1 2 3\n")
    async with serving(with_server(registry=REGISTRY)) as stubs:
        operation = await stubs.scenes.ImportScene(scene_pb2.ImportSceneRequest(path=place(notes / "tri.obj")))
        error = (await stubs.ended(operation.name, 60)).error
        assert error.code == code_pb2.INVALID_ARGUMENT
        assert error.message.startswith("cameras_file: expected cameras: an OBJ or PLY file holds none")
        status = await failure(stubs.scenes.GetScene(scene_pb2.GetSceneRequest(name=operation.name)))
        assert status.code == code_pb2.NOT_FOUND

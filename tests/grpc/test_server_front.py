"""The front door itself: errors with details, health, reflection, where it listens, how it is configured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from backlot.v1 import common_pb2, insertion_pb2, jobs_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services import errors
from services.config import ROOT, Config, ServerConfig, load
from services.errors import InvalidRequest
from services.listening import check_listen
from tests.grpc.running import Stubs, failure, tiny_request


def _subclasses(cls: type[errors.BacklotError]) -> set[type[errors.BacklotError]]:
    return {cls}.union(*map(_subclasses, cls.__subclasses__()))


def test_every_error_has_a_status_and_a_reason_of_its_own() -> None:
    ours = {cls for cls in _subclasses(errors.BacklotError) if cls.__module__ == "services.errors"}
    assert set(errors.STATUS) == ours - {errors.BacklotError}
    assert len({cls.reason for cls in errors.STATUS}) == len(errors.STATUS)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("objects[0].at_px", "a pixel of the picture", (1, 2)),
        errors.Unsolvable("no parallax", "walk a step"),
        errors.NotFound("no such job"),
        errors.ResourceExhausted("full"),
    ],
)
def test_errors_survive_the_journal(error: errors.BacklotError) -> None:
    again = errors.from_data(errors.as_data(error))
    assert type(again) is type(error)
    assert errors.as_data(again) == errors.as_data(error)


def test_a_long_error_still_fits_into_trailing_metadata() -> None:
    assert errors.to_status(InvalidRequest("f" * 5000, "e" * 5000, "g" * 5000)).ByteSize() < 8000


async def test_the_field_of_the_right_object_is_named(stubs: Stubs, notes: Path) -> None:
    place = common_pb2.MediaPath(uri=str(notes))
    good = common_pb2.InsertedObject(path=place, at_px=common_pb2.PixelPoint(x=1, y=1), height_px=10)
    bad = common_pb2.InsertedObject(path=place, at_px=common_pb2.PixelPoint(x=1, y=1), height_px=-1)
    request = insertion_pb2.InsertObjectRequest(clip=common_pb2.Clip(path=place), objects=[good, bad])
    status = await failure(stubs.insertion.InsertObject(request))
    violation = error_details_pb2.BadRequest()
    assert any(detail.Unpack(violation) for detail in status.details)
    assert violation.field_violations[0].field == "objects[1].height_px"
    assert status.message == "objects[1].height_px: expected > 0, got -1.0"
    assert len((await stubs.jobs.ListJobs(jobs_pb2.ListJobsRequest())).jobs) == 0


async def test_an_unknown_job_is_not_found(stubs: Stubs) -> None:
    assert (await failure(stubs.operation("jobs/none"))).code == grpc.StatusCode.NOT_FOUND.value[0]
    call = stubs.jobs.WatchJob(jobs_pb2.WatchJobRequest(name="jobs/none"))
    assert (await failure(call.read())).code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_a_region_must_be_shown(stubs: Stubs, notes: Path) -> None:
    clip = common_pb2.Clip(path=common_pb2.MediaPath(uri=str(notes)))
    status = await failure(stubs.insertion.PropagateMasks(insertion_pb2.PropagateMasksRequest(clip=clip)))
    assert status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert status.message == "region: expected exactly one of placement, box, mask, got none"


async def test_health_and_reflection(stubs: Stubs) -> None:
    health = health_pb2_grpc.HealthStub(stubs.channel)
    for service in ("", "backlot.v1.JobService", "google.longrunning.Operations"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    call = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo(iter([request]))
    listed = {service.name async for answer in call for service in answer.list_services_response.service}
    assert {f"backlot.v1.{name}Service" for name in ("Media", "Scene", "Insertion", "Job")} <= listed


async def test_requests_over_four_mebibytes_are_refused(stubs: Stubs, notes: Path) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stubs.scenes.ReconstructScene(tiny_request(notes, text="x" * (4 * 2**20)))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "127.0.0.2:0", "[::1]:5", "localhost:80", "unix:/x/y.sock"])
def test_this_machine_may_connect(listen: str) -> None:
    check_listen(ServerConfig(listen=listen))


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:1", "[::]:1", "10.1.2.3:4", "a.example:80", "127.0.0.1", ":1", "localhost:x"]
)
def test_other_addresses_are_refused_without_tls(listen: str) -> None:
    with pytest.raises(InvalidRequest, match=r"server\.listen"):
        check_listen(ServerConfig(listen=listen))


def _run_server(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.server", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_wrong_start_says_why_and_exits_with_two(tmp_path: Path) -> None:
    done = _run_server("--listen", "0.0.0.0:1", "--journal", str(tmp_path), "--store", str(tmp_path / "store"))
    assert done.returncode == 2
    assert "server.listen: expected a loopback address" in done.stderr


def test_a_shadowed_package_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import models
    from services.server import check_application_root

    monkeypatch.setattr(models, "__file__", str(tmp_path / "models" / "__init__.py"))
    with pytest.raises(errors.InternalError, match="models: expected the package below"):
        check_application_root()


def _config_file(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("server: {slotz: 2}", "server.slotz"),
        ("serverr: {slots: 2}", "serverr"),
        ("render: {spp: many}", "render.spp"),
        ("server: {slots: 0}", "server.slots"),
    ],
)
def test_unknown_keys_and_wrong_values_are_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load(_config_file(tmp_path, text))
    assert caught.value.field == f"mine.yaml: {key}"


def test_the_shipped_configuration_is_the_default() -> None:
    assert load("cpu") == Config()
    assert load("cpu", ["render.spp=7"]).settings.render.spp == 7


def test_an_unknown_configuration_lists_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="cpu"):
        load("nope")

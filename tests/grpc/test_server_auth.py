"""Who may come in: TLS, tokens, client certificates; and that tenants do not see each other's things."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import backlot
import grpc
import pytest
from backlot.cli import main as command_line
from backlot.v1 import jobs_pb2, media_pb2, previs_pb2, scene_pb2
from google.longrunning import operations_proto_pb2
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.config import Config, ServerConfig
from services.errors import InvalidRequest
from services.health import is_serving
from services.listening import check_listen
from services.server import SERVICES, running_server
from services.tokens import Tokens, add
from tests.grpc.running import Stubs, failure, tiny_request
from tests.grpc.test_server_media import ASSET, _asset, _download, _messages

UNAUTHENTICATED, NOT_FOUND = (
    code.value[0] for code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND)
)


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, and what it has signed: ``server``, ``anna``, ``ben``; ``stranger`` signed itself."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj")
    for name in ("ca", "stranger"):
        openssl(*new, f"/CN={name}", "-x509", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "anna", "ben"):
        openssl(*new, f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    return folder


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    return {name: add(tmp_path / "tokens", name) for name in ("anna", "ben")}


@pytest.fixture
def guarded(with_server: Callable[..., Config], pki: Path, tokens: dict[str, str], tmp_path: Path) -> Config:
    """TLS and tokens."""
    return with_server(
        tls_certificate=str(pki / "server.pem"), tls_key=str(pki / "server.key"), token_file=str(tmp_path / "tokens")
    )


def _credentials(pki: Path, token: str = "", certificate: str = "") -> grpc.ChannelCredentials:
    mine = (pki / f"{certificate}.key", pki / f"{certificate}.pem") if certificate else ()
    secure = grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes(), *(file.read_bytes() for file in mine))
    return grpc.composite_channel_credentials(secure, grpc.access_token_call_credentials(token)) if token else secure


@asynccontextmanager
async def _callers(config: Config, *credentials: grpc.ChannelCredentials):
    async with running_server(config) as address:
        callers = [Stubs(address, one) for one in credentials]
        try:
            yield callers
        finally:
            for caller in callers:
                await caller.channel.close()


LIST = jobs_pb2.ListJobsRequest()


async def test_every_method_but_health_asks_for_a_token(guarded: Config, pki: Path, notes: Path) -> None:
    async with _callers(guarded, _credentials(pki), _credentials(pki, "wrong")) as callers:
        for stubs in callers:
            calls = {
                "unary": stubs.jobs.ListJobs(LIST),
                "operation": stubs.operation("jobs/none"),
                "submit": stubs.submit(notes),
                "stream out": stubs.jobs.WatchJob(jobs_pb2.WatchJobRequest(name="jobs/none")).read(),
                "download": stubs.media.Download(media_pb2.DownloadRequest(asset_id=ASSET)).read(),
                "stream in": stubs.media.Upload(_messages(b"abc")),
            }
            for name, call in calls.items():
                status = await failure(call)
                assert status.code == UNAUTHENTICATED, name
                assert "wrong" not in status.message
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            asked = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo(iter([request]))
            assert (await failure(asked.read())).code == UNAUTHENTICATED
            health = await health_pb2_grpc.HealthStub(stubs.channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert not (guarded.server.journal_folder / "assets").exists()


async def test_no_method_of_any_service_answers_a_stranger(guarded: Config, pki: Path) -> None:
    pool = descriptor_pool.Default()
    methods = [(service, method) for service in SERVICES for method in pool.FindServiceByName(service).methods]
    async with _callers(guarded, _credentials(pki)) as (stubs,):
        for service, method in methods:
            streams = (method.client_streaming, method.server_streaming)
            shape = "_".join("stream" if many else "unary" for many in streams)
            call = getattr(stubs.channel, shape)(f"/{service}/{method.name}")
            begun = call(iter([b""]) if method.client_streaming else b"")
            answer = begun.read() if method.server_streaming else begun
            assert (await failure(answer)).code == UNAUTHENTICATED, method.full_name
    assert len(methods) >= 25


async def test_uploads_belong_to_a_tenant(guarded: Config, pki: Path, tokens: dict[str, str]) -> None:
    async with _callers(guarded, *(_credentials(pki, tokens[name]) for name in ("anna", "ben"))) as (anna, ben):
        await anna.media.Upload(_messages(b"abc"))
        describe = media_pb2.DescribeRequest(media=_asset())
        assert [file.relative_path for file in (await anna.media.Describe(describe)).files] == ["shots/a.bin"]
        assert (await failure(ben.media.Describe(describe))).code == NOT_FOUND
        assert (await failure(_download(ben, ASSET, "shots/a.bin"))).code == NOT_FOUND
        await ben.media.Upload(_messages(b"other"))  # the same name is another thing
        assert await _download(anna, ASSET, "shots/a.bin") == b"abc"
        assert await _download(ben, ASSET, "shots/a.bin") == b"other"


async def test_jobs_belong_to_a_tenant(guarded: Config, pki: Path, tokens: dict[str, str], notes: Path) -> None:
    async with _callers(guarded, *(_credentials(pki, tokens[name]) for name in ("anna", "ben"))) as (anna, ben):
        name = await anna.submit(notes)
        await anna.ended(name)
        asset = "result-" + name.removeprefix("jobs/")
        as_input = tiny_request(notes)
        as_input.scene.scene_dir.CopyFrom(_asset("one", asset))
        calls = {
            "get": ben.operation(name),
            "wait": ben.ended(name),
            "cancel": ben.cancel(name),
            "update": ben.jobs.UpdateJob(jobs_pb2.UpdateJobRequest(name=name, pinned=True)),
            "delete": ben.operations.DeleteOperation(operations_proto_pb2.DeleteOperationRequest(name=name)),
            "scene": ben.scenes.GetScene(scene_pb2.GetSceneRequest(name=name)),
            "anchors": ben.previs.ListAnchors(previs_pb2.ListAnchorsRequest(name=name)),
            "watch": ben.jobs.WatchJob(jobs_pb2.WatchJobRequest(name=name)).read(),
            "describe": ben.media.Describe(media_pb2.DescribeRequest(media=_asset("one", asset))),
            "download": _download(ben, asset, "two.bin"),
            "result as input": ben.scenes.ReconstructScene(as_input),
        }
        for what, call in calls.items():
            assert (await failure(call)).code == NOT_FOUND, what
        assert len((await ben.jobs.ListJobs(LIST)).jobs) == 0
        assert len((await ben.operations.ListOperations(operations_proto_pb2.ListOperationsRequest())).operations) == 0
        assert (await anna.operation(name)).done
        await anna.ended((await anna.scenes.ReconstructScene(as_input)).name)


async def test_a_certificate_says_who_calls(with_server: Callable[..., Config], pki: Path) -> None:
    files = {"tls_certificate": "server.pem", "tls_key": "server.key", "tls_client_ca": "ca.pem"}
    config = with_server(**{key: str(pki / name) for key, name in files.items()})
    people = [_credentials(pki, certificate=name) for name in ("anna", "ben", "stranger", "")]
    async with _callers(config, *people) as (anna, ben, stranger, nobody):
        await anna.media.Upload(_messages(b"abc"))
        assert (await failure(_download(ben, ASSET, "shots/a.bin"))).code == NOT_FOUND
        assert await _download(anna, ASSET, "shots/a.bin") == b"abc"
        for caller in (stranger, nobody):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await caller.jobs.ListJobs(LIST)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_tokens_come_and_go_while_the_server_runs(
    guarded: Config, pki: Path, tokens: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    async with running_server(guarded) as address:
        new = add(file, "carl")
        carl = Stubs(address, _credentials(pki, new))
        await carl.jobs.ListJobs(LIST)
        kept = [line for line in file.read_text().splitlines(keepends=True) if not line.startswith("carl")]
        file.write_text("".join(kept))
        assert (await failure(carl.jobs.ListJobs(LIST))).code == UNAUTHENTICATED
        file.write_text("")
        status = await failure(carl.jobs.ListJobs(LIST))
        assert (status.code, str(file) in status.message) == (UNAUTHENTICATED, False)
        await carl.channel.close()


async def test_no_token_reaches_a_log(
    guarded: Config, pki: Path, tokens: dict[str, str], notes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    async with _callers(guarded, _credentials(pki, tokens["anna"]), _credentials(pki, "s3cret-guess")) as (anna, guess):
        name = await anna.submit(notes)
        await anna.ended(name)
        await failure(guess.jobs.ListJobs(LIST))
    logs = [path.read_text() for path in guarded.server.journal_folder.rglob("*.log")]
    for text in (caplog.text, *logs):
        assert not any(secret in text for secret in (*tokens.values(), "s3cret-guess"))


def _secured(**values: str) -> ServerConfig:
    return ServerConfig(**{"listen": "0.0.0.0:1", **values})


TLS = {"tls_certificate": "c.pem", "tls_key": "k.pem"}


def test_an_open_address_with_tls_and_somebody_to_ask_is_fine() -> None:
    check_listen(_secured(**TLS, token_file="t"))
    check_listen(_secured(**TLS, tls_client_ca="ca.pem"))


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({}, ("server.listen", "server.tls_certificate", "server.token_file", "server.tls_client_ca")),
        ({"token_file": "t"}, ("server.token_file", "server.tls_certificate")),
        ({"tls_client_ca": "t"}, ("server.tls_client_ca", "server.tls_certificate")),
        ({"tls_certificate": "c"}, ("server.tls_key",)),
        ({"tls_key": "k"}, ("server.tls_certificate",)),
        (TLS, ("server.token_file", "server.tls_client_ca")),
        ({"listen": "127.0.0.1:1", "token_file": "t"}, ("server.token_file", "server.tls_certificate")),
    ],
)
def test_what_is_not_safe_does_not_start(values: dict[str, str], keys: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_listen(_secured(**values))
    assert all(key in str(caught.value) for key in keys)


@pytest.mark.parametrize(
    "text", ["", "# none\n", "anna\n", "anna sha256:12\n", "An!na sha256:" + "0" * 64, "hunter2-in-clear\n"]
)
def test_a_malformed_token_file_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text)
    with pytest.raises(InvalidRequest, match=r"server\.token_file") as caught:
        Tokens(tmp_path / "tokens")
    assert "hunter2" not in str(caught.value)


def test_a_token_file_that_others_can_change_is_refused(tmp_path: Path) -> None:
    token = add(tmp_path / "tokens", "anna")
    assert Tokens(tmp_path / "tokens").tenant(token) == "anna"
    assert token not in (tmp_path / "tokens").read_text()
    os.chmod(tmp_path / "tokens", 0o666)
    with pytest.raises(InvalidRequest, match="chmod go-w"):
        Tokens(tmp_path / "tokens")


async def test_an_embedded_server_asks_its_user_for_nothing(guarded: Config, tmp_path: Path) -> None:
    private = dataclasses.replace(
        guarded, server=dataclasses.replace(guarded.server, listen=f"unix:{tmp_path}/s", token_file="/nowhere")
    )
    async with running_server(private, embedded=True) as address:
        stubs = Stubs(address)
        assert len((await stubs.jobs.ListJobs(LIST)).jobs) == 0
        await stubs.channel.close()


async def test_a_supervisor_asks_for_health_without_a_token(guarded: Config) -> None:
    async with running_server(guarded) as address:
        server = dataclasses.replace(guarded.server, listen=address)
        assert await asyncio.to_thread(is_serving, server)
        elsewhere = dataclasses.replace(server, listen="0.0.0.0:" + address.rpartition(":")[2])
        assert await asyncio.to_thread(is_serving, elsewhere)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.health.TIMEOUT_S", 0.5)
        assert not await asyncio.to_thread(is_serving, server)


async def test_the_clients_and_the_command_line_say_who_they_are(
    guarded: Config, pki: Path, tokens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(tokens["anna"] + "\n")
    async with running_server(guarded) as address:
        async with backlot.AsyncClient(address, token=tokens["ben"], tls=pki / "ca.pem") as client:
            assert [job async for job in client.jobs()] == []
        flags = ("jobs", "--server", address, "--json")
        shown = ("--token-file", str(tmp_path / "token"), "--ca", str(pki / "ca.pem"))
        assert await asyncio.to_thread(command_line, (*flags, *shown)) == 0
        monkeypatch.setenv("BACKLOT_CA", str(pki / "ca.pem"))
        assert await asyncio.to_thread(command_line, flags) == 1
        monkeypatch.setenv("BACKLOT_TOKEN", tokens["ben"])
        assert await asyncio.to_thread(command_line, flags) == 0

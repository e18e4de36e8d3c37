"""The doctor, on the machine that runs the tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services import doctor
from services.config import Config, ModelsSettings, ReconstructSettings, ServerConfig, StoreConfig


def test_its_parts_say_what_is_there(tmp_path: Path) -> None:
    config = Config(store=StoreConfig(url=str(tmp_path / "store")))
    parts = (doctor._libraries, doctor._codecs, doctor._storage)
    checks = {check.name: check for part in parts for check in part(config)}
    assert checks["encoder libx264"].ready
    assert checks["grpcio"].detail[0].isdigit()
    assert str(tmp_path / "store") in checks["store"].detail


def test_a_store_that_cannot_be_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config = Config(store=StoreConfig(url=str(tmp_path / "file" / "store")))
    (store,) = (check for check in doctor._storage(config) if check.name == "store")
    assert not store.ready
    assert store.required


def test_backends_say_what_they_need(tmp_path: Path) -> None:
    chosen = ReconstructSettings(depth_backend="depth-anything-v2-small")
    config = Config(reconstruct=chosen, models=ModelsSettings(folder=str(tmp_path)))
    checks = {check.name: check for check in doctor._backends(config)}
    assert checks["previs.anchors_backend"] == doctor.Check("previs.anchors_backend", True, "embedded")
    wanted, offered = checks["reconstruct.depth_backend"], checks["checkpoint depth-anything-v2-small"]
    assert not wanted.ready and wanted.required
    assert not offered.ready and not offered.required
    assert str(tmp_path / "depth-anything-v2-small") in wanted.detail
    assert not any(tmp_path.iterdir())  # nothing was fetched


@pytest.mark.parametrize(
    ("server", "ready", "words"),
    [
        (ServerConfig(), True, "asks for nothing"),
        (ServerConfig(listen="0.0.0.0:1"), False, "server.tls_certificate"),
        (ServerConfig(tls_certificate="c", tls_key="k", token_file="/nowhere"), False, "server.token_file"),
    ],
)
def test_the_front_door_is_looked_at(server: ServerConfig, ready: bool, words: str) -> None:
    (address,) = doctor._front_door(Config(server=server))
    assert address.ready is ready
    assert words in address.detail


def test_a_media_root_that_is_not_there_is_reported(tmp_path: Path) -> None:
    server = ServerConfig(media_roots=(str(tmp_path), str(tmp_path / "gone")))
    assert [check.ready for check in doctor._front_door(Config(server=server))] == [True, True, False]


def test_an_import_that_fails_says_why() -> None:
    assert doctor._import("x", "no_such_module") == doctor.Check("x", False, "not installed: make install")


@pytest.mark.parametrize(("ready", "required", "status"), [(True, True, 0), (False, False, 0), (False, True, 1)])
def test_only_what_is_required_counts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ready: bool, required: bool, status: int
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda config: [doctor.Check("one", ready, "why", required)])
    assert doctor.main(["--json"]) == status
    shown = json.loads(capsys.readouterr().out)
    assert shown["healthy"] is (status == 0)
    assert shown["checks"][0]["detail"] == "why"

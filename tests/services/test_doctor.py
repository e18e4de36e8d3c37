"""The doctor, on the machine that runs the tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services import doctor
from services.config import Config, StoreConfig


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

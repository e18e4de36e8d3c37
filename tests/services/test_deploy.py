"""What the container file, the systemd unit and the operators' page name is there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services import config
from services.config import ROOT

CONTAINERFILE = (ROOT / "deploy" / "Containerfile").read_text()
UNIT = (ROOT / "deploy" / "backlot.service").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_what_the_image_copies_is_there_and_reaches_the_build() -> None:
    copied = re.findall(r"^COPY (\S+) (\S+)$", CONTAINERFILE, re.MULTILINE)
    shown = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert {source for source, _ in copied} == shown
    for source, target in copied:
        assert (ROOT / source).exists()
        assert target in (source, "./")


def test_modules_that_are_started_are_there() -> None:
    words = set(re.findall(r'-m"?,? "?(services[\w.]*)', CONTAINERFILE + UNIT + OPERATIONS))
    assert words >= {"services.server", "services.health", "services.doctor", "services.tokens"}
    for module in words:
        assert importlib.util.find_spec(module), module


def test_the_image_has_the_libraries_that_an_installation_asks_for() -> None:
    (listed,) = re.findall(r"^libraries=\((.*)\)$", (ROOT / "scripts" / "system-packages").read_text(), re.MULTILINE)
    (installed,) = re.findall(r"--no-install-recommends ([^\\]+)", CONTAINERFILE)
    assert {entry.rpartition(":")[2] for entry in listed.split()} | {"libllvm19", "tini"} == set(installed.split())


def test_configurations_that_the_page_shows_are_accepted(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", OPERATIONS, re.DOTALL)
    unit_lines = re.findall(r"^#\s+((?:server|store): \{.*\})$", UNIT, re.MULTILINE)
    for number, text in enumerate([*blocks, "\n".join(unit_lines)]):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert yaml.safe_load(text)
        config.load(str(file))
    assert blocks
    assert len(unit_lines) == 2


def test_configuration_keys_that_the_page_names_are_there() -> None:
    named = set(re.findall(r"`(server|store)\.(\w+)[`:]", OPERATIONS))
    sections = {"server": config.ServerConfig(), "store": config.StoreConfig()}
    assert len(named) >= 8
    for section, key in named:
        assert hasattr(sections[section], key), f"{section}.{key}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """With a program that is there, and a user who is."""
    unit = tmp_path / "backlot.service"
    text = re.sub(r"(?m)^(User|Group)=.*$", r"\1=root", UNIT).replace("/opt/backlot/.venv/bin/python", sys.executable)
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")

"""A real server on a free port, with real workers that run tiny pipelines."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.config import Config, ServerConfig, StoreConfig
from tests.grpc.running import Stubs, serving


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "media" / "notes"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def config(tmp_path: Path, notes: Path) -> Config:
    server = ServerConfig(
        listen="127.0.0.1:0",
        media_roots=(str(tmp_path / "media"),),
        journal=str(tmp_path / "journal"),
        registry="tests.services.tiny_pipelines",
        retry_delay_s=0.05,
    )
    return Config(server=server, store=StoreConfig(url=str(tmp_path / "store"), cap_bytes=10**9))


@pytest.fixture
def with_server(config: Config) -> Callable[..., Config]:
    """The configuration with other values of its server section."""

    def change(**values: Any) -> Config:
        return dataclasses.replace(config, server=dataclasses.replace(config.server, **values))

    return change


@pytest.fixture
async def stubs(config: Config) -> AsyncIterator[Stubs]:
    async with serving(config) as stubs:
        yield stubs

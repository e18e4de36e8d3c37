from __future__ import annotations

from collections.abc import Iterator

import pytest
from tiny_server import TinyServer


@pytest.fixture
def tiny() -> TinyServer:
    return TinyServer()


@pytest.fixture
def target(tiny: TinyServer) -> Iterator[str]:
    server, address = tiny.start()
    yield address
    server.stop(0).wait()

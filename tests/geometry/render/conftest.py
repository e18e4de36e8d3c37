from __future__ import annotations

import functools

import pytest

from geometry.render import make_renderer
from geometry.render.base import Renderer


@functools.cache
def renderer_named(name: str) -> Renderer:
    """One renderer a kind for all tests: scenes and kernels are loaded once."""
    if name == "pytorch3d":
        pytest.importorskip("pytorch3d")
        return make_renderer("pytorch3d")
    try:
        return make_renderer("mitsuba", name)
    except RuntimeError as missing:
        if name == "llvm":
            pytest.skip(str(missing))
        raise


@pytest.fixture(params=["llvm", "scalar", "pytorch3d"])
def any_renderer(request: pytest.FixtureRequest) -> Renderer:
    """Every backend that draws G-buffers."""
    return renderer_named(request.param)


@pytest.fixture(params=["llvm", "scalar"])
def tracer(request: pytest.FixtureRequest) -> Renderer:
    """Every backend that traces paths."""
    return renderer_named(request.param)


@pytest.fixture
def best_renderer() -> Renderer:
    """The one that a user gets."""
    return renderer_named("auto")

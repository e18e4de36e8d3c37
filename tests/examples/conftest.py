"""One small rendered clip for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.small_scene import camera_path, make_scene
from examples.truth import place_hero, render_truth


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 0 and 1 of a 4-frame dolly, 96 x 64."""
    out = tmp_path_factory.mktemp("truth")
    path = camera_path("dolly", 4, (96, 64))
    render_truth(
        make_scene(), path, [0, 1], out, with_object=place_hero(path, frame=0, yaw_deg=-20), spp=8, seed=1,
        shutter_samples=2,
    )
    return out

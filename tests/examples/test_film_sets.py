"""The town as a blockout is the town that is filmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples.film_sets import CAMERA, write_blockout
from examples.town import town
from geometry.blockout import load_blockout
from geometry.guides import GuideSource

WH = (96, 64)


@pytest.mark.slow
def test_the_blockout_shows_what_the_set_shows(tmp_path: Path) -> None:
    film_set = town(5, WH)
    blockout = load_blockout(write_blockout(film_set, tmp_path / "town.glb"))
    assert blockout.names == tuple(piece.name for piece in film_set.pieces)
    path = blockout.camera_path(WH, CAMERA)
    np.testing.assert_allclose(path.camera_from_world, film_set.path.camera_from_world, atol=1e-5)
    assert [c.fx for c in path.cameras] == pytest.approx([c.fx for c in film_set.path.cameras], rel=1e-5)
    ours, theirs = GuideSource(blockout.instances, path), GuideSource(film_set.instances, film_set.path)
    car = blockout.object_id("car")
    for frame in (0, 4):
        a, b = (source.guides(frame).gbuffer.object_id for source in (ours, theirs))
        assert (a != b).mean() < 0.003
        assert (a == car).sum() > 50
    assert all(not mesh.material.base_texture for body in blockout.instances(0) for mesh in body.meshes)

"""Learned depth backends on tiny random checkpoints of the real classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from models import registry
from models.errors import WrongClass
from tests.models import tiny_checkpoints as tiny


@pytest.fixture(scope="module", params=["depth_anything", "depth_pro"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    return registry.load(tiny.save(request.param, tmp_path_factory.mktemp(request.param)), tiny.on_cpu())


def test_depth_is_on_the_pictures_raster_and_comes_from_the_picture(model) -> None:
    first, other = model.predict(tiny.picture(1)), model.predict(tiny.picture(2))
    assert first.inverse_depth.shape == (45, 70) and first.inverse_depth.dtype == np.float32
    assert np.isfinite(first.inverse_depth).all() and (first.inverse_depth >= 0).all()
    assert first.inverse_depth.std() > 1e-3 * first.inverse_depth.mean()
    assert np.abs(first.inverse_depth - other.inverse_depth).max() > 0.01 * first.inverse_depth.max()


def test_the_same_picture_gives_the_same_depth(model) -> None:
    assert np.array_equal(model.predict(tiny.picture(1)).inverse_depth, model.predict(tiny.picture(1)).inverse_depth)


def test_any_shape_of_picture(model) -> None:
    for hw in ((30, 90), (90, 30), (64, 64)):
        assert model.predict(tiny.picture(3, hw)).inverse_depth.shape == hw


def test_pictures_of_another_type_are_refused(model) -> None:
    with pytest.raises(ValueError, match=r"picture: expected \(H, W, 3\) uint8, got \(45, 70, 3\) float64"):
        model.predict(tiny.picture(1) / 255.0)


def test_depth_anything_in_metres_is_inverted(tmp_path: Path) -> None:
    folder = tmp_path / "metric"
    reference = tiny.depth_anything(metric=True)
    reference.save_pretrained(folder)
    checkpoint = tiny.save("depth_anything", tmp_path / "relative")
    manifest = type(checkpoint)(checkpoint.manifest, folder)
    found = registry.load(manifest, tiny.on_cpu()).predict(tiny.picture(1))
    assert found.metric
    assert (found.inverse_depth >= 1 / 20 - 1e-6).all()  # a sigmoid times 20 m reaches no farther


def test_depth_pro_tells_the_focal_length(tmp_path: Path) -> None:
    """60 degrees, give or take what the random head adds; focal and metres follow from it by equation 1."""
    model = registry.load(tiny.save("depth_pro", tmp_path), tiny.on_cpu())
    small, large = model.predict(tiny.picture(1)), model.predict(tiny.picture(1, (90, 140)))
    assert small.metric and small.focal_px is not None and large.focal_px is not None
    assert 0.2 * 70 < small.focal_px < 5 * 70
    assert large.focal_px / small.focal_px == pytest.approx(2, rel=0.1)


def test_a_depth_pro_without_field_of_view_is_refused(tmp_path: Path) -> None:
    import transformers

    config = tiny.depth_pro().config
    config.use_fov_model = False
    transformers.DepthProForDepthEstimation(config).save_pretrained(tmp_path / "bare")
    checkpoint = tiny.save("depth_pro", tmp_path / "whole")
    with pytest.raises(WrongClass, match="field of view"):
        registry.load(type(checkpoint)(checkpoint.manifest, tmp_path / "bare"), tiny.on_cpu())

"""The contract of inbetween models, on tiny random checkpoints: conditions reach them, sizes and lengths are exact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from models import registry  # noqa: E402
from models.base import Arc  # noqa: E402
from models.checkpoints import Checkpoint  # noqa: E402
from models.errors import InputRefused, NotTrainedFor, PackageMissing, WrongClass  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402
from tests.models import tiny_pipelines  # noqa: E402

LENGTHS = {"cogvideox_ggi": 6, "wan_flf": 9, "wan_vace": 9}
SIZES = {"cogvideox_ggi": (16, 24), "wan_flf": (16, 32), "wan_vace": (16, 32)}
SEED = [7]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return {name: tiny_pipelines.save(name, tmp_path_factory.mktemp(name), {"steps": 2}) for name in LENGTHS}


@pytest.fixture(scope="module")
def models(checkpoints: dict[str, Checkpoint]) -> dict[str, Any]:
    return {name: registry.load(checkpoint, tiny.on_cpu()) for name, checkpoint in checkpoints.items()}


@pytest.fixture(params=list(LENGTHS))
def model(request: pytest.FixtureRequest, models: dict[str, Any]) -> Any:
    return models[request.param]


def with_settings(model: Any, **values: Any) -> Any:
    return type(model)(model.pipeline, model.runtime, replace(model.settings, **values))


def arc(model: Any, **given: Any) -> Arc:
    length, hw = LENGTHS[model.name], SIZES[model.name]
    draw = np.random.default_rng(0)
    return replace(
        Arc(
            tiny.picture(1, hw), tiny.picture(2, hw), draw.random((length, *hw), np.float32),
            depth=1 + draw.random((length, *hw), np.float32),
            noise=draw.standard_normal((length, *model.noise_chw(hw)), np.float32), prompt="a red house",
        ),
        **given,
    )


def generate(model: Any, seed: list[int] = SEED, **given: Any) -> np.ndarray:
    return model.generate(arc(model, **given), seed).frames


# What each model is shown; the others it says it ignores.
SHOWN = {
    "cogvideox_ggi": {"first", "last", "soft_edges", "noise", "prompt"},
    "wan_flf": {"first", "last", "prompt"},
    "wan_vace": {"first", "last", "soft_edges", "prompt"},
}


def test_what_the_model_is_shown_reaches_it(model: Any) -> None:
    length, hw = LENGTHS[model.name], SIZES[model.name]
    whole = arc(model)
    first = generate(model)
    assert first.shape == (length, *hw, 3) and first.dtype == np.uint8 and first.std() > 5
    assert np.array_equal(generate(model), first)
    assert not np.array_equal(generate(model, seed=[8]), first)
    assert whole.noise is not None and whole.depth is not None
    others = {
        "first": tiny.picture(3, hw), "last": tiny.picture(4, hw), "soft_edges": 1 - whole.soft_edges,
        "noise": -whole.noise, "depth": whole.depth[::-1], "prompt": "blue sky",
    }
    changes = {name for name, value in others.items() if not np.array_equal(generate(model, **{name: value}), first)}
    assert changes == SHOWN[model.name]


def test_wan_takes_carried_noise_where_settings_say_so(models: dict[str, Any]) -> None:
    half = with_settings(models["wan_flf"], gamma=0.5)
    noise = arc(half).noise
    assert noise is not None
    assert not np.array_equal(generate(half), generate(half, noise=-noise))


def test_vace_can_be_led_by_depth(models: dict[str, Any]) -> None:
    led = with_settings(models["wan_vace"], control="depth")
    first, depth = generate(led), arc(led).depth
    assert depth is not None
    assert not np.array_equal(generate(led, depth=depth[::-1]), first)
    assert np.array_equal(generate(led, soft_edges=1 - arc(led).soft_edges), first)
    with pytest.raises(InputRefused, match="expected depth"):
        generate(led, depth=None)


@pytest.mark.parametrize("name", ["wan_flf", "wan_vace"])
def test_long_clips_go_through_windows(models: dict[str, Any], name: str) -> None:
    """13 frames are 4 latents; windows of 3 see each other through those that they share."""
    model = with_settings(models[name], window=3, overlap=1)
    asked: list[int] = []
    hook = model.pipeline.transformer.patch_embedding.register_forward_hook(
        lambda _, given, __: asked.append(given[0].shape[2])
    )
    hw, draw = SIZES[name], np.random.default_rng(1)
    long = Arc(tiny.picture(1, hw), tiny.picture(2, hw), draw.random((13, *hw), np.float32))
    try:
        found = model.generate(long, SEED).frames
        assert set(asked) == {3} and len(asked) == 2 * 2 * model.settings.steps  # windows x questions x steps
    finally:
        hook.remove()
    assert found.shape == (13, *hw, 3)
    assert not np.array_equal(model.generate(replace(long, last=tiny.picture(5, hw)), SEED).frames[-1], found[-1])


@pytest.mark.parametrize(("name", "frames", "hw", "message"), [
    ("wan_flf", 9, (16, 24), r"multiples of 16, got 24x16"),
    ("wan_vace", 9, (20, 32), r"multiples of 16, got 32x20"),
    ("wan_flf", 8, (16, 32), r"4k \+ 1 frames .* got 8"),
    ("wan_vace", 1, (16, 32), r"4k \+ 1 frames .* got 1"),
    ("cogvideox_ggi", 6, (16, 32), r"expected 24x16 px, got 32x16"),
    ("cogvideox_ggi", 11, (16, 24), r"expected 2 to 10 frames, got 11"),
    ("cogvideox_ggi", 1, (16, 24), r"expected 2 to 10 frames, got 1"),
])
def test_sizes_and_lengths_are_exact(
    models: dict[str, Any], name: str, frames: int, hw: tuple[int, int], message: str
) -> None:
    with pytest.raises(InputRefused, match=message):
        models[name].check(frames, hw)
    blank = np.zeros((*hw, 3), np.uint8)
    with pytest.raises(InputRefused, match=message):
        models[name].generate(Arc(blank, blank, np.zeros((frames, *hw), np.float32)), SEED)


def test_noise_of_another_raster_is_refused(models: dict[str, Any]) -> None:
    with pytest.raises(InputRefused, match=r"noise: expected .* \(T, 4, 4, 6\), got \(6, 4, 8, 6\)"):
        generate(models["cogvideox_ggi"], noise=np.zeros((6, 4, 8, 6), np.float32))


def test_the_last_latent_stands_for_the_last_frame_alone(models: dict[str, Any]) -> None:
    model = models["cogvideox_ggi"]
    assert [model.padded_length(frames) for frames in (2, 3, 6, 7, 45, 46)] == [5, 9, 9, 13, 49, 49]
    whole = arc(model)
    with model.runtime.inference():
        conditions = model.conditions(whole.first, whole.last, whole.soft_edges)
        anchors, edges = conditions[0, :, :4], conditions[0, :, 4:]
        assert conditions.shape == (1, 3, 8, 4, 6)
        assert torch.equal(anchors[0], model.encode(whole.first[None])[0, 0])
        assert not anchors[1].any()
        assert torch.equal(anchors[2], model.encode(whole.last[None])[0, 0])
        assert torch.equal(edges, model.encode(np.repeat(whole.soft_edges[..., None], 3, 3))[0])


# --- loading


def test_published_cogvideox_weights_are_refused(tmp_path: Path) -> None:
    published = tiny_pipelines.save("cogvideox_ggi", tmp_path, {}, channels=8)
    with pytest.raises(NotTrainedFor, match=r"expected in_channels 12 .*, got 8\. models\.training\.ggi"):
        registry.load(published, tiny.on_cpu())


def test_wan_weights_for_one_frame_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotTrainedFor, match="expected weights for two frames"):
        registry.load(tiny_pipelines.save("wan_flf", tmp_path, {}, last=False), tiny.on_cpu())


def test_a_pipeline_with_other_components_is_refused(checkpoints: dict[str, Checkpoint]) -> None:
    flf = checkpoints["wan_flf"]
    as_vace = replace(flf, manifest=replace(flf.manifest, backend="wan_vace"))
    with pytest.raises(WrongClass, match="got one with image_encoder"):
        registry.load(as_vace, tiny.on_cpu())
    as_ggi = replace(flf, manifest=replace(flf.manifest, backend="cogvideox_ggi"))
    with pytest.raises(WrongClass):
        registry.load(as_ggi, tiny.on_cpu())


def test_wans_autoencoder_stays_float32(checkpoints: dict[str, Checkpoint]) -> None:
    from models.runtime import Runtime, RuntimeSettings

    runtime = Runtime.open(RuntimeSettings(device="cpu", precision="bfloat16"))
    model = registry.load(checkpoints["wan_vace"], runtime)
    assert model.pipeline.vae.dtype == torch.float32
    assert model.pipeline.transformer.patch_embedding.weight.dtype == torch.bfloat16
    assert generate(model).std() > 5


def test_a_tokenizer_that_needs_a_package_says_which(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from models import loading

    checkpoint = checkpoints["cogvideox_ggi"]
    copy = Path(shutil.copytree(checkpoint.folder, tmp_path / "tiny"))
    (copy / "tokenizer" / "tokenizer.json").unlink()
    (copy / "tokenizer" / "spiece.model").write_bytes(b"pieces")
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(PackageMissing, match="tiny: tokenizer: sentencepiece is not installed"):
        registry.load(replace(checkpoint, folder=copy), tiny.on_cpu())

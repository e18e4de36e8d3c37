"""The contract of anchor models, on tiny random checkpoints: what they are shown reaches them, guidance holds."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from models import registry  # noqa: E402
from models.anchors.controlled import ControlledAnchors  # noqa: E402
from models.base import Style, View, WarpedAnchor  # noqa: E402
from models.checkpoints import Checkpoint  # noqa: E402
from models.errors import CheckpointAbsent, InputRefused, NotTrainedFor, TensorsMissing, WrongClass  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402
from tests.models import tiny_pipelines  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")  # diffusers' own

HW = (22, 30)  # no multiples of anything
STEPS = 3
EDGES = np.random.default_rng(0).random(HW).astype(np.float32)
STYLE = Style(tiny.picture(1), "a red house")
SEED = [7]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    return {
        name: tiny_pipelines.save(name, tmp_path_factory.mktemp(name), {"steps": STEPS, "dilate_px": 0})
        for name in ("flux_sag", "qwen_controlnet")
    }


@pytest.fixture(scope="module", params=["flux_sag", "qwen_controlnet"])
def model(request: pytest.FixtureRequest, checkpoints: dict[str, Checkpoint]) -> ControlledAnchors:
    return registry.load(checkpoints[request.param], tiny.on_cpu())


def with_settings(model: ControlledAnchors, **values: Any) -> ControlledAnchors:
    return type(model)(model.pipeline, model.runtime, replace(model.settings, **values))


def paint(model: ControlledAnchors, edges: np.ndarray = EDGES, style: Style = STYLE, **given: Any) -> np.ndarray:
    seed = given.pop("seed", SEED)
    return model.paint(View(edges, **given), style, seed).picture


def test_what_the_model_is_shown_reaches_it(model: ControlledAnchors) -> None:
    first = paint(model)
    assert first.shape == (*HW, 3) and first.dtype == np.uint8 and first.std() > 5
    assert np.array_equal(paint(model), first)  # the same seed
    assert not np.array_equal(paint(model, edges=1 - EDGES), first)
    assert not np.array_equal(paint(model, style=replace(STYLE, prompt="blue sky")), first)
    assert not np.array_equal(paint(model, seed=[8]), first)
    assert np.array_equal(paint(with_settings(model, control_weight=0.0)),
                          paint(with_settings(model, control_weight=0.0), edges=1 - EDGES))


def test_settings_come_from_the_manifest(model: ControlledAnchors) -> None:
    assert model.settings.steps == STEPS
    assert model.settings.guided_until == {"flux_sag": 12, "qwen_controlnet": 14}[model.name]


def as_the_autoencoder_has_it(model: ControlledAnchors, picture: np.ndarray) -> np.ndarray:
    """There and back; sides must fit the model."""
    with model.runtime.inference():
        latents = model.encode(model.pixels(picture))
        config = model.pipeline.vae.config
        if model.name == "flux_sag":
            raw = latents / config.scaling_factor + config.shift_factor
        else:
            mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (config.latents_mean, config.latents_std))
            raw = (latents * std + mean)[:, :, None]
        decoded = model.pipeline.vae.decode(raw).sample.reshape(3, *picture.shape[:2])
    return (decoded.movedim(0, 2).numpy() / 2 + 0.5).clip(0, 1) * 255


def test_full_guidance_reproduces_the_warped_anchor(model: ControlledAnchors) -> None:
    hw = (24, 32)
    edges, earlier = np.zeros(hw, np.float32), tiny.picture(3, hw)
    warped = WarpedAnchor(earlier, np.ones(hw, np.float32))
    expected = as_the_autoencoder_has_it(model, earlier)

    def error(until: int) -> float:
        guided = paint(with_settings(model, guided_until=until), edges=edges, warped=warped)
        return float(np.abs(guided - expected).max())

    assert error(STEPS + 1) <= 1  # rounding
    assert error(STEPS + 1) < error(STEPS) < np.abs(paint(model, edges=edges) - expected).max()


def test_where_nothing_is_known_nothing_is_guided(model: ControlledAnchors) -> None:
    nothing = WarpedAnchor(tiny.picture(3, HW), np.zeros(HW, np.float32))
    assert np.array_equal(paint(model, warped=nothing), paint(model))
    half = WarpedAnchor(nothing.picture, (np.arange(HW[1]) < 16).astype(np.float32) * np.ones(HW, np.float32))
    assert not np.array_equal(paint(model, warped=half), paint(model))
    everywhere = with_settings(model, dilate_px=100.0)
    assert np.array_equal(paint(everywhere, warped=half), paint(model))


def test_the_negative_prompt_starts_late(model: ControlledAnchors) -> None:
    def painted(**values: Any) -> np.ndarray:
        return paint(with_settings(model, negative_prompt="mud", true_cfg=3.5, **values))

    never = paint(with_settings(model, true_cfg=1.0))
    # Qwen's pipeline rescales by a ratio of norms, which is 1 up to rounding
    assert np.abs(painted(cfg_from=STEPS).astype(int) - never).max() <= 1
    assert not np.array_equal(painted(cfg_from=1), never)
    assert not np.array_equal(painted(cfg_from=0), painted(cfg_from=1))


def test_what_it_cannot_do_is_refused(model: ControlledAnchors, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="expected a style trained on the reference, or a prompt, got neither"):
        paint(model, style=Style(STYLE.reference))
    with pytest.raises(InputRefused, match="cannot assign regions"):
        paint(model, style=replace(STYLE, regions={1: (0, 0, 5, 5)}))
    with pytest.raises(CheckpointAbsent, match=r"style: no style\.json .* in"):
        paint(model, style=replace(STYLE, adapter=tmp_path))


# --- loading


def copied(checkpoint: Checkpoint, to: Path) -> Checkpoint:
    shutil.copytree(checkpoint.folder.parent, to, dirs_exist_ok=True)
    return replace(checkpoint, folder=to / "tiny", parts={name: to / f"tiny-{name}" for name in checkpoint.parts})


def load(checkpoint: Checkpoint) -> Any:
    return registry.load(checkpoint, tiny.on_cpu())


def test_a_pipeline_of_another_kind(checkpoints: dict[str, Checkpoint]) -> None:
    qwen = checkpoints["qwen_controlnet"]
    as_flux = replace(qwen, manifest=replace(qwen.manifest, backend="flux_sag"))
    with pytest.raises(WrongClass, match="transformer: expected weights of FluxTransformer2DModel, got QwenImage"):
        load(as_flux)


def test_a_part_of_another_class(checkpoints: dict[str, Checkpoint]) -> None:
    flux = checkpoints["flux_sag"]
    wrong = replace(flux, parts={"controlnet": flux.folder / "vae"})
    with pytest.raises(WrongClass, match="controlnet: expected weights of FluxControlNetModel, got AutoencoderKL"):
        load(wrong)


def test_a_pipeline_without_its_part(checkpoints: dict[str, Checkpoint]) -> None:
    with pytest.raises(WrongClass, match=r"expected a pipeline with controlnet \(FluxControlNetModel\)"):
        load(replace(checkpoints["flux_sag"], parts={}))


@pytest.mark.parametrize("folder", ["tiny-controlnet", "tiny/text_encoder_2"])
def test_missing_tensors_anywhere(checkpoints: dict[str, Checkpoint], tmp_path: Path, folder: str) -> None:
    from safetensors.torch import load_file, save_file

    checkpoint = copied(checkpoints["flux_sag"], tmp_path)
    (file,) = (tmp_path / folder).glob("*.safetensors")
    tensors = load_file(file)
    lost = sorted(tensors)[0]
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(TensorsMissing, match=rf"checkpoint tiny: \w+: 1 tensor\(s\) .* the first is {lost}"):
        load(checkpoint)


def test_a_controlnet_whose_modes_lack_soft_edges(checkpoints: dict[str, Checkpoint], tmp_path: Path) -> None:
    import diffusers

    flux = checkpoints["flux_sag"]
    config = diffusers.FluxControlNetModel.load_config(flux.parts["controlnet"])
    diffusers.FluxControlNetModel.from_config({**config, "num_mode": 7}).save_pretrained(tmp_path)
    with pytest.raises(NotTrainedFor, match="expected one for soft edges, got one with 7 modes"):
        load(replace(flux, parts={"controlnet": tmp_path}))


def test_a_controlnet_on_pixels(tmp_path: Path) -> None:
    """XLabs' kind: it reads the edges itself, on a raster an eighth of theirs."""
    model = load(tiny_pipelines.save("flux_sag", tmp_path, {"steps": 2}, pixels=True))
    assert not np.array_equal(paint(model), paint(model, edges=1 - EDGES))
    picture, edges = tiny.picture(1, (32, 48)), np.zeros((32, 48), np.float32)
    with model.runtime.inference():
        lesson, other = (model.lesson(picture, e, "red") for e in (edges, edges + 1))
        time = torch.tensor([0.5])
        velocity = model.velocity(lesson, lesson.clean, time)
        assert velocity.shape == lesson.clean.shape
        assert not torch.equal(model.velocity(other, lesson.clean, time), velocity)


@pytest.mark.gpu
@pytest.mark.parametrize("offload", ["none", "model", "sequential"])
def test_on_the_gpu_a_style_is_worn_and_taken_off(
    checkpoints: dict[str, Checkpoint], tmp_path: Path, offload: str
) -> None:
    from models.runtime import Runtime, RuntimeSettings
    from models.training.style_lora import StyleSettings, train_style

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    checkpoint, settings = checkpoints["flux_sag"], StyleSettings(rank=4, steps=6, learning_rate=2e-2, side_px=28)
    reference, edges = tiny.picture(1, (24, 32)), np.zeros((24, 32), np.float32)
    exact = registry.load(checkpoint, tiny.on_cpu())
    style = train_style(exact, reference, edges, "red", tmp_path, SEED, lambda *_: None, settings).folder
    model = registry.load(checkpoint, Runtime.open(RuntimeSettings(precision="float32", offload=offload)))
    for adapter in (None, style, None):
        worn = replace(STYLE, adapter=adapter)
        near = np.abs(paint(model, style=worn).astype(int) - paint(exact, style=worn))
        assert near.mean() < 1, adapter

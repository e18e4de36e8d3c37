"""A style's LoRA: it learns, resumes bit for bit, and is worn by the model it was trained for only."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("peft")

from models import registry  # noqa: E402
from models.anchors.controlled import ControlledAnchors  # noqa: E402
from models.base import Style, View  # noqa: E402
from models.errors import CheckpointRefused, TensorsMissing, WrongClass  # noqa: E402
from models.training.style_lora import StyleSettings, TrainedStyle, flow_matching_loss, train_style  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402
from tests.models import tiny_pipelines  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")  # diffusers' own

HW = (24, 32)
REFERENCE = tiny.picture(1, HW)
EDGES = np.random.default_rng(0).random(HW).astype(np.float32)
SETTINGS = StyleSettings(rank=4, steps=12, learning_rate=2e-2, side_px=28, save_every=3)
SEED = [3]


class Stopped(Exception):
    pass


def train(
    model: ControlledAnchors, folder: Path, stop_at: int | None = None, settings: StyleSettings = SETTINGS
) -> TrainedStyle:
    seen: list[int] = []

    def report(done: int, total: int, loss: float) -> None:
        seen.append(done)
        assert total == settings.steps and loss > 0
        if done == stop_at:
            raise Stopped

    return train_style(model, REFERENCE, EDGES, "red", folder, SEED, report, settings)


@pytest.fixture(scope="module", params=["flux_sag", "qwen_controlnet"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ControlledAnchors:
    saved = tiny_pipelines.save(request.param, tmp_path_factory.mktemp(request.param), {"steps": 2})
    return registry.load(saved, tiny.on_cpu())


@pytest.fixture(scope="module")
def trained(model: ControlledAnchors, tmp_path_factory: pytest.TempPathFactory) -> TrainedStyle:
    return train(model, tmp_path_factory.mktemp("style"))


def mean_loss(model: ControlledAnchors) -> float:
    with model.runtime.inference():
        lesson = model.lesson(REFERENCE, EDGES, "red")
        return float(np.mean([float(flow_matching_loss(model, lesson, [99, index])) for index in range(8)]))


def test_the_loss_goes_down_and_the_picture_changes(model: ControlledAnchors, trained: TrainedStyle) -> None:
    assert len(trained.losses) == SETTINGS.steps
    model.wear(trained.folder)
    learned = mean_loss(model)
    model.wear(None)
    assert learned < 0.85 * mean_loss(model)
    style = Style(REFERENCE, "red", trained.folder)
    styled, plain = (model.paint(View(EDGES), s, SEED).picture for s in (style, replace(style, adapter=None)))
    assert not np.array_equal(styled, plain)
    assert trained.sample.picture.shape == (24, 32, 3)  # about 28 x 28 px, sides of what the model takes


def test_the_weights_are_safetensors_and_say_what_they_are(model: ControlledAnchors, trained: TrainedStyle) -> None:
    about = json.loads((trained.folder / "style.json").read_text())
    assert about["backend"] == model.name and about["settings"]["rank"] == 4 and len(about["reference_sha256"]) == 64
    for part in ("transformer", "controlnet"):
        assert (trained.folder / part / "pytorch_lora_weights.safetensors").is_file()
    model.wear(trained.folder)
    assert {network.peft_config["style"].lora_alpha for network in model.adapted.values()} == {4}  # as it was trained
    assert not [path for path in trained.folder.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".ckpt")]


def test_a_stopped_training_ends_like_one_that_was_not(
    model: ControlledAnchors, trained: TrainedStyle, tmp_path: Path
) -> None:
    with pytest.raises(Stopped):
        train(model, tmp_path, stop_at=7)  # the state is that of step 6
    resumed = train(model, tmp_path)
    assert resumed.losses == trained.losses
    assert np.array_equal(resumed.sample.picture, trained.sample.picture)
    for file in trained.folder.glob("*/pytorch_lora_weights.safetensors"):
        assert file.read_bytes() == (tmp_path / file.relative_to(trained.folder)).read_bytes()
    with pytest.raises(CheckpointRefused, match="holds the state of another run"):
        train(model, tmp_path, settings=replace(SETTINGS, learning_rate=1e-3))


def test_a_style_of_another_backend_is_refused(model: ControlledAnchors, trained: TrainedStyle, tmp_path: Path) -> None:
    other = Path(shutil.copytree(trained.folder, tmp_path / "other"))
    (other / "style.json").write_text(json.dumps({"backend": "something_else"}))
    with pytest.raises(WrongClass, match=f"style: expected one trained for {model.name}, got one for something_else"):
        model.wear(other)
    (other / "style.json").write_text("[]")
    with pytest.raises(CheckpointRefused, match=r"style\.json: expected a JSON object with backend"):
        model.wear(other)


def test_a_style_of_a_larger_model_is_refused(model: ControlledAnchors, trained: TrainedStyle, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    other = Path(shutil.copytree(trained.folder, tmp_path / "other"))
    file = other / "controlnet" / "pytorch_lora_weights.safetensors"
    with safe_open(file, "pt") as opened:
        tensors = {name: opened.get_tensor(name).repeat(2, 2) for name in opened.keys()}  # noqa: SIM118
        metadata = opened.metadata()
    save_file(tensors, file, metadata)
    with pytest.raises(TensorsMissing, match="style: controlnet: its tensors do not fit"):
        model.wear(other)
    assert not any(getattr(network, "peft_config", {}) for network in model.adapted.values())  # nothing half worn
    model.wear(trained.folder)

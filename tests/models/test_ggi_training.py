"""Weights for edges and warped noise, made from published ones: they learn to look at the edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from geometry.flow import Flow  # noqa: E402
from models import registry  # noqa: E402
from models.base import Arc  # noqa: E402
from models.checkpoints import Checkpoint  # noqa: E402
from models.errors import InputRefused, NotTrainedFor  # noqa: E402
from models.inbetween.cogvideox_ggi import CogVideoXGgi  # noqa: E402
from models.training.ggi import GgiTraining, TrainingClip, _carried_noise, ggi_loss, train_ggi, widen  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402
from tests.models import tiny_pipelines  # noqa: E402

LENGTH, HW = 6, (16, 24)
SETTINGS = GgiTraining(steps=40, learning_rate=1e-2, batch=1, save_every=20)


def clip(seed: int) -> TrainingClip:
    """Squares that move right by their side in each frame; edges and picture agree."""
    on = (np.random.default_rng(seed).random((4, 6)) > 0.5).astype(np.float32)
    edges = np.stack([np.roll(np.kron(on, np.ones((4, 4), np.float32)), 4 * frame, 1) for frame in range(LENGTH)])
    frames = (20 + 200 * np.repeat(edges[..., None], 3, 3)).astype(np.uint8)
    back = Flow(np.tile(np.float32([-4, 0]), (*HW, 1)), np.tile(np.arange(HW[1]) >= 4, (HW[0], 1)))
    return TrainingClip(frames, edges, (back,) * (LENGTH - 1))


def ignore(*_: Any) -> None:
    pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_pipelines.save("cogvideox_ggi", tmp_path_factory.mktemp("published"), {"steps": 2}, channels=8)


@pytest.fixture(scope="module")
def trained(published: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, list[float]]:
    folder = tmp_path_factory.mktemp("ggi")
    model = CogVideoXGgi.load_untrained(published, tiny.on_cpu())
    losses = train_ggi(model, [clip(seed) for seed in range(4)], folder, [1], ignore, SETTINGS)
    return replace(published, parts={"transformer": folder / "transformer"}), losses


def generated(model: CogVideoXGgi, of: TrainingClip, edges: np.ndarray) -> np.ndarray:
    return model.generate(Arc(of.frames[0], of.frames[-1], edges), [5]).frames


def test_widened_weights_ignore_edges_until_they_are_trained(published: Checkpoint, tmp_path: Path) -> None:
    model = CogVideoXGgi.load_untrained(published, tiny.on_cpu())
    widen(model)
    one, other = clip(50), clip(51)
    assert np.array_equal(generated(model, one, one.soft_edges), generated(model, one, other.soft_edges))
    model.pipeline.transformer.save_pretrained(tmp_path)
    with pytest.raises(NotTrainedFor, match="expected trained edge channels, got zeros"):
        registry.load(replace(published, parts={"transformer": tmp_path}), tiny.on_cpu())


def test_trained_weights_look_at_the_edges(trained: tuple[Checkpoint, list[float]]) -> None:
    checkpoint, losses = trained
    assert len(losses) == SETTINGS.steps and np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    model = registry.load(checkpoint, tiny.on_cpu())
    one, other = clip(50), clip(51)  # never seen in training
    assert not np.array_equal(generated(model, one, one.soft_edges), generated(model, one, other.soft_edges))

    def loss(of: TrainingClip, edges: np.ndarray) -> list[float]:
        with model.runtime.inference():
            return [float(ggi_loss(model, replace(of, soft_edges=edges), [9, i], SETTINGS)) for i in range(6)]

    gains = [wrong - own for of, by in ((clip(52), clip(53)), (clip(54), clip(55)))
             for own, wrong in zip(loss(of, of.soft_edges), loss(of, by.soft_edges), strict=True)]
    assert sum(gain > 0 for gain in gains) >= 9  # of 12 equal draws: its own edges tell it more


def test_a_stopped_training_ends_like_one_that_was_not(published: Checkpoint, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=4, save_every=2, batch=2)

    def run(folder: Path, stop_at: int | None) -> list[float]:
        def report(done: int, *_: Any) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        model = CogVideoXGgi.load_untrained(published, tiny.on_cpu())
        return train_ggi(model, [clip(1), clip(2)], folder, [1], report, settings)

    straight = run(tmp_path / "straight", None)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", 3)
    assert run(tmp_path / "stopped", None) == straight
    file = "transformer/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "straight" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes()


def test_clips_of_another_size_are_refused(published: Checkpoint, tmp_path: Path) -> None:
    model = CogVideoXGgi.load_untrained(published, tiny.on_cpu())
    small = TrainingClip(np.zeros((6, 8, 24, 3), np.uint8), np.zeros((6, 8, 24), np.float32),
                         (Flow(np.zeros((8, 24, 2), np.float32), np.ones((8, 24), bool)),) * 5)
    with pytest.raises(InputRefused, match="expected 24x16 px, got 24x8"):
        train_ggi(model, [small], tmp_path, [1], ignore, SETTINGS)


def test_the_noise_goes_with_the_picture() -> None:
    noise = _carried_noise(clip(1).flow, (4, 4, 6), [3])
    assert noise.shape == (LENGTH, 4, 4, 6)
    np.testing.assert_allclose(noise[1:, :, :, 1:], noise[:-1, :, :, :-1], atol=1e-5)  # 4 px are one latent pixel
    assert 0.8 < noise.std() < 1.2


def test_a_clip_needs_a_flow_between_all_frames() -> None:
    one = clip(1)
    with pytest.raises(ValueError, match="flow: expected 5, one less than frames, got 4"):
        replace(one, flow=one.flow[:-1])

"""Device, precision, attention, offload and seeds, resolved on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from models import registry
from models.errors import DeviceMissing, MemoryExhausted
from models.runtime import Runtime, RuntimeSettings
from tests.models import tiny_checkpoints as tiny

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing where there is no GPU")


def test_the_cpu_computes_in_full_precision() -> None:
    runtime = Runtime.open(RuntimeSettings(device="cpu"))
    assert runtime.device.type == "cpu" and runtime.dtype == torch.float32
    assert Runtime.open(RuntimeSettings(device="cpu", precision="bfloat16")).dtype == torch.bfloat16


@no_gpu
@pytest.mark.parametrize(("settings", "match"), [
    (RuntimeSettings(device="cuda"), "cuda is not there, 0 CUDA"),
    (RuntimeSettings(device="cuda:3"), "cuda:3 is not there"),
    (RuntimeSettings(device="toaster"), "got 'toaster'"),
    (RuntimeSettings(offload="model"), "offload: model needs a CUDA device, got cpu"),
    (RuntimeSettings(attention="xformers"), "xformers needs a CUDA device"),
])
def test_what_the_machine_does_not_have(settings: RuntimeSettings, match: str) -> None:
    with pytest.raises(DeviceMissing, match=match):
        Runtime.open(settings)


def test_seeds_draw_the_same_everywhere_and_each_its_own() -> None:
    runtime = tiny.on_cpu()
    first, again, other = (torch.randn(8, generator=runtime.generator(s)) for s in ((7, 1), (7, 1), (7, 2)))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.device.type == "cpu"


def test_results_do_not_follow_the_number_of_threads(tmp_path: Path) -> None:
    model = registry.load(tiny.save("depth_anything", tmp_path), tiny.on_cpu())
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(model.predict(tiny.picture(1)).inverse_depth)
        assert torch.get_num_threads() == threads  # and nobody else's number is changed
    torch.set_num_threads(1)
    assert np.array_equal(*found)


def test_eager_attention_and_sdpa_agree(tmp_path: Path) -> None:
    checkpoint = tiny.save("sam", tmp_path)
    found = []
    for attention in ("sdpa", "eager"):
        runtime = Runtime.open(RuntimeSettings(device="cpu", attention=attention))
        model = registry.load(checkpoint, runtime)
        assert model._model.config._attn_implementation == attention
        with runtime.inference():
            found.append(model._model.get_image_embeddings(torch.ones(1, 3, tiny.SIDE, tiny.SIDE)))
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_too_little_memory_has_a_name() -> None:
    with pytest.raises(MemoryExhausted, match=r"cpu: CUDA out of memory\. Use a smaller"), tiny.on_cpu().inference():
        raise torch.OutOfMemoryError("CUDA out of memory\ndetails")


def test_a_pipeline_is_placed_and_its_vae_tiled() -> None:
    diffusers = pytest.importorskip("diffusers")

    class Pipeline(diffusers.DiffusionPipeline):
        def __init__(self, vae: object) -> None:
            super().__init__()
            self.register_modules(vae=vae)

    vae = diffusers.AutoencoderKL(block_out_channels=(8,), latent_channels=4, norm_num_groups=4)
    pipeline = Pipeline(vae)
    placed = Runtime.open(RuntimeSettings(device="cpu", vae_tiling=True)).place_pipeline(pipeline)
    assert placed is pipeline and vae.use_tiling and pipeline.device.type == "cpu"


@pytest.mark.gpu
def test_bfloat16_on_the_gpu_is_near_the_cpu(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    checkpoint = tiny.save("depth_anything", tmp_path)
    exact = registry.load(checkpoint, tiny.on_cpu()).predict(tiny.picture(1)).inverse_depth
    near = registry.load(checkpoint, Runtime.open(RuntimeSettings())).predict(tiny.picture(1)).inverse_depth
    assert np.abs(near - exact).mean() < 0.05 * exact.mean()

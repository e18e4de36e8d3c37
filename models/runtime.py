"""Where and how learned backends compute: the only place that chooses device, precision, attention, offload, tiling
and seeds. torch is imported when a runtime is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.errors import DeviceMissing, MemoryExhausted, PackageMissing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RuntimeSettings:
    device: str = "auto"  # auto = the first CUDA device, else the CPU; or cpu, cuda, cuda:1, ...
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto = bfloat16 on CUDA, else float32
    attention: Literal["sdpa", "eager", "xformers"] = "sdpa"  # xformers: of diffusers pipelines on CUDA
    offload: Literal["none", "model", "sequential"] = "none"  # diffusers: keep one model, or one layer, on the GPU
    vae_tiling: bool = False  # diffusers: less memory, a little slower

    def frugal(self, *, trains: bool) -> RuntimeSettings:
        """The same results from less memory, more slowly; what ``trains`` must lie on the device whole."""
        can_offload = self.device.startswith("cuda") and not trains
        return replace(self, vae_tiling=True, offload="sequential" if can_offload else self.offload)


@dataclass(frozen=True)
class Runtime:
    """Settings resolved on this machine."""

    device: torch.device
    dtype: torch.dtype
    settings: RuntimeSettings

    @classmethod
    def open(cls, settings: RuntimeSettings) -> Runtime:
        """Raises ``PackageMissing``, ``DeviceMissing``."""
        try:
            import torch
        except ImportError as error:
            raise PackageMissing("torch is not installed", "Install the extra: learned") from error
        name = settings.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise DeviceMissing(f"models.runtime.device: expected auto, cpu, cuda or cuda:N, got {name!r}") from error
        if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
            there = torch.cuda.device_count()
            raise DeviceMissing(f"models.runtime.device: {name} is not there, {there} CUDA device(s) are")
        if device.type != "cuda" and settings.offload != "none":
            raise DeviceMissing(f"models.runtime.offload: {settings.offload} needs a CUDA device, got {device.type}")
        if settings.attention == "xformers" and (device.type != "cuda" or find_spec("xformers") is None):
            raise DeviceMissing("models.runtime.attention: xformers needs a CUDA device and its package", "Use sdpa")
        precision = settings.precision
        if precision == "auto":
            precision = "bfloat16" if device.type == "cuda" else "float32"
        return cls(device, getattr(torch, precision), settings)

    @property
    def model_options(self) -> dict[str, Any]:
        """For transformers' ``from_pretrained``, which takes SDPA wherever a class has it, and knows no xformers."""
        eager = {"attn_implementation": "eager"} if self.settings.attention == "eager" else {}
        return {"dtype": self.dtype, **eager}

    @property
    def float32(self) -> torch.dtype:
        """For what needs it on every device."""
        import torch

        return torch.float32

    @contextmanager
    def inference(self) -> Iterator[None]:
        """No gradients, and ``repeatable``. Not torch's inference mode: training cannot use what models keep of it."""
        import torch

        with self.repeatable(), torch.no_grad():
            yield

    @contextmanager
    def training(self) -> Iterator[None]:
        """Gradients; weights that are trained stay float32 while the others compute at the runtime's precision.

        Raises ``DeviceMissing`` for a device that shall hold only part of the model.
        """
        import torch

        if self.settings.offload != "none":
            raise DeviceMissing(f"models.runtime.offload: training needs none, got {self.settings.offload}")
        mixed = torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
        with self.repeatable(), torch.enable_grad(), mixed:
            yield

    @contextmanager
    def repeatable(self) -> Iterator[None]:
        """The same result every time: on the CPU sums follow the thread count, so there it is one.

        Raises ``MemoryExhausted`` when the device has too little memory.
        """
        import torch

        cudnn = torch.backends.cudnn
        before = cudnn.deterministic, cudnn.benchmark, torch.get_num_threads()
        cudnn.deterministic, cudnn.benchmark = True, False
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise MemoryExhausted(
                f"{self.device}: {str(error).splitlines()[0]}", "Use a smaller checkpoint or picture, or a larger GPU"
            ) from error
        finally:
            cudnn.deterministic, cudnn.benchmark = before[:2]
            torch.set_num_threads(before[2])

    def generator(self, seed: Sequence[int]) -> torch.Generator:
        """Random numbers for (seed, stage, index, ...). On the CPU, so that every device draws the same."""
        import torch

        word = np.random.SeedSequence(list(seed)).generate_state(1, np.uint64)[0]
        return torch.Generator("cpu").manual_seed(int(word >> np.uint64(1)))

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """A float array on this runtime's device at its precision."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.device, self.dtype)

    def normal(self, shape: Sequence[int], seed: Sequence[int]) -> torch.Tensor:
        """White noise, float32, on this runtime's device; the same on every device."""
        import torch

        return torch.randn(tuple(shape), generator=self.generator(seed)).to(self.device)

    def place_pipeline(self, pipeline: Any) -> Any:
        """A diffusers pipeline made ready: on the device or offloaded from it, with its attention and its VAE set."""
        if self.settings.attention == "xformers":
            pipeline.enable_xformers_memory_efficient_attention()
        if self.settings.vae_tiling:
            pipeline.vae.enable_tiling()
        if self.settings.offload == "model":
            pipeline.enable_model_cpu_offload(device=self.device)
        elif self.settings.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=self.device)
        else:
            pipeline.to(self.device)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @contextmanager
    def whole(self, pipeline: Any) -> Iterator[None]:
        """A placed pipeline with nothing offloaded, so that its models can be changed; then it is placed again."""
        offloaded = self.settings.offload != "none"
        if offloaded:
            pipeline.remove_all_hooks()
        try:
            yield
        finally:
            if offloaded:
                self.place_pipeline(pipeline)

"""LoRA weights of a style on disk: a folder per model that wears them, and ``style.json``, written last."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import CheckpointAbsent, CheckpointRefused, TensorsMissing, WrongClass

ADAPTER = "style"
ABOUT = "style.json"
WEIGHTS = "pytorch_lora_weights.safetensors"  # as diffusers names them


def save(models: Mapping[str, Any], folder: Path, about: Mapping[str, Any]) -> None:
    """``about`` must say which ``backend`` the weights are for. The same weights are the same bytes: diffusers' own way
    of saving adds its configuration in changing order; rank and scale follow from the tensors, where alpha = rank.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    for name, model in models.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        weights = get_peft_model_state_dict(model, adapter_name=ADAPTER)
        save_file({key: value.contiguous() for key, value in weights.items()}, folder / name / WEIGHTS)
    (folder / ABOUT).write_text(json.dumps(dict(about), indent=1, sort_keys=True) + "\n")


def put_on(models: Mapping[str, Any], folder: Path, backend: str) -> None:
    """Raises ``CheckpointAbsent``, ``WrongClass``, ``TensorsMissing``, ``CheckpointRefused``."""
    from safetensors import SafetensorError

    missing = [file for file in (ABOUT, *(f"{name}/{WEIGHTS}" for name in models)) if not (folder / file).is_file()]
    if missing:
        raise CheckpointAbsent(f"style: no {' and no '.join(missing)} in {folder}", "Train the style to its end")
    try:
        trained_for = json.loads((folder / ABOUT).read_text())["backend"]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointRefused(f"style: {ABOUT}: expected a JSON object with backend") from error
    if trained_for != backend:
        raise WrongClass(f"style: expected one trained for {backend}, got one for {trained_for}")
    for name, model in models.items():
        try:
            model.load_lora_adapter(
                folder / name, prefix=None, adapter_name=ADAPTER, weight_name=WEIGHTS, use_safetensors=True,
                local_files_only=True,
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise CheckpointRefused(f"style: {name}: cannot be read: {str(error).splitlines()[0]}") from error
        except RuntimeError as error:
            raise TensorsMissing(
                f"style: {name}: its tensors do not fit: {str(error).splitlines()[-1].strip()}",
                "It was trained for another checkpoint",
            ) from error


def take_off(models: Mapping[str, Any]) -> None:
    for model in models.values():
        if hasattr(model, "peft_config"):
            model.unload_lora()

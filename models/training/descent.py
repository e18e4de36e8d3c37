"""Gradient descent that can be stopped and taken up again: AdamW over some parameters, its state as safetensors.

A run that was stopped and resumed ends bit for bit like one that was not: what is random in a step comes from a
generator made for that step.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import CheckpointRefused

if TYPE_CHECKING:
    import torch

Report = Callable[[int, int, float], None]  # steps done, steps in all, the last loss; may raise to stop

STATE = "state.json"
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Pace:
    steps: int
    learning_rate: float
    batch: int = 1  # losses that are averaged before a step is taken
    max_norm: float = 1.0  # of the gradient
    save_every: int = 50  # steps


def descend(
    models: Mapping[str, Any], loss_of: Callable[[int, int], torch.Tensor], pace: Pace, folder: Path, about: object,
    report: Report,
) -> list[float]:
    """Minimise ``loss_of(step, index in the batch)`` over what requires gradients in ``models``; the loss of each step.

    Takes up what lies in ``folder``. ``about`` is what the run depends on, in JSON's types: a state of another run is
    refused with ``CheckpointRefused``.
    """
    import torch

    parameters = {
        f"{name}.{key}": value for name, model in models.items() for key, value in model.named_parameters()
        if value.requires_grad
    }
    optimizer = torch.optim.AdamW(parameters.values(), lr=pace.learning_rate)
    losses = _take_up(folder, parameters, optimizer, about)
    for step in range(len(losses), pace.steps):
        optimizer.zero_grad()
        total = 0.0
        for index in range(pace.batch):
            loss = loss_of(step, index) / pace.batch
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(parameters.values(), pace.max_norm)
        optimizer.step()
        losses.append(total)
        if len(losses) % pace.save_every == 0 or len(losses) == pace.steps:
            _put_down(folder, parameters, optimizer, losses, about)
        report(len(losses), pace.steps, total)
    return losses


def _put_down(
    folder: Path, parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, losses: list[float],
    about: object,
) -> None:
    """``state.json`` names a folder that is complete; it is replaced in one go, then older ones are removed."""
    from safetensors.torch import save_file

    current = folder / f"step-{len(losses):06d}"
    current.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().contiguous() for name, value in parameters.items()}
    save_file(weights, current / "weights.safetensors")
    moments = {
        f"{name}:{key}": moment.contiguous() for name, value in parameters.items()
        for key, moment in optimizer.state[value].items()
    }
    save_file(moments, current / "optimizer.safetensors")
    draft = folder / f"{STATE}.new"
    draft.write_text(json.dumps({"folder": current.name, "about": about, "losses": losses}))
    os.replace(draft, folder / STATE)
    for older in folder.glob("step-*"):
        if older != current:
            shutil.rmtree(older)


def _take_up(
    folder: Path, parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, about: object
) -> list[float]:
    import torch
    from safetensors.torch import load_file

    if not (folder / STATE).is_file():
        return []
    state = json.loads((folder / STATE).read_text())
    if state["about"] != json.loads(json.dumps(about)):
        raise CheckpointRefused(f"training: {folder} holds the state of another run", "Choose an empty folder")
    weights = load_file(folder / state["folder"] / "weights.safetensors")
    moments = load_file(folder / state["folder"] / "optimizer.safetensors")
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(weights[name])
            of_this = {key: moments[f"{name}:{key}"] for key in MOMENTS if f"{name}:{key}" in moments}
            for key, moment in of_this.items():  # none, where no gradient ever came
                optimizer.state[value][key] = moment if key == "step" else moment.to(value.device)
    return list(state["losses"])

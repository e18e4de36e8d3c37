"""Weights into the classes of transformers and diffusers, from safetensors on disk, or an error that says what is
wrong with them. Nothing is fetched, and no code that came with weights is run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from models.checkpoints import WEIGHTLESS, Checkpoint
from models.errors import CheckpointRefused, PackageMissing, TensorsMissing, WrongClass
from models.runtime import Runtime

LIBRARIES = ("diffusers", "transformers")
ALSO_KNOWN_AS = {  # what published configurations call a class that has got its own name since
    "ControlNetUnionModel": ("ControlNetModel", "ControlNetModel_Union"),
}


def load_transformers(class_name: str, model_types: Sequence[str], checkpoint: Checkpoint, runtime: Runtime) -> Any:
    """A model of transformers' class ``class_name`` in evaluation mode on the runtime's device.

    ``model_types`` are what ``config.json`` may call itself. Raises ``WrongClass``, ``TensorsMissing``,
    ``CheckpointRefused``.
    """
    label = f"checkpoint {checkpoint.manifest.name}"
    found = _read_config(checkpoint.folder, label).get("model_type")
    if found not in model_types:
        raise WrongClass(f"{label}: expected weights of {' or '.join(model_types)}, got {found}")
    model = _load_model("transformers", class_name, checkpoint.folder, label, **runtime.model_options)
    return model.to(runtime.device).eval()


def load_components(
    checkpoint: Checkpoint, runtime: Runtime, models: Mapping[str, tuple[str, str]], float32: Sequence[str] = (),
    unused: Sequence[str] = (),
) -> dict[str, Any]:
    """The components of a diffusers pipeline by name: ``models`` (library and class of each), and what carries no
    weights (tokenizers, schedulers, processors) as ``model_index.json`` names it. They are not on the device yet.

    Components in ``float32`` are loaded at that precision, those in ``unused`` not at all. Raises ``WrongClass`` when
    the pipeline has other models than these, ``TensorsMissing``, ``CheckpointRefused``.
    """
    label = f"checkpoint {checkpoint.manifest.name}"
    index = checkpoint.index()
    components = {}
    for name, (library, class_name) in index.items():
        if name in unused:
            continue
        if class_name.endswith(WEIGHTLESS):
            components[name] = _load_weightless(library, class_name, checkpoint.component(name), f"{label}: {name}")
        elif name not in models:
            raise WrongClass(f"{label}: expected a pipeline of {', '.join(models)}, got one with {name} ({class_name})")
    for name, (library, class_name) in models.items():
        folder = checkpoint.component(name)
        if name not in index and name not in checkpoint.parts:
            raise WrongClass(f"{label}: expected a pipeline with {name} ({class_name}), got {', '.join(index)}")
        config = _read_config(folder, f"{label}: {name}")
        found = config.get("_class_name") if library == "diffusers" else index[name][1]
        names = (class_name, f"{class_name}WithProjection", *ALSO_KNOWN_AS.get(class_name, ()))
        if found not in names:  # the projection is then left unread
            raise WrongClass(f"{label}: {name}: expected weights of {class_name}, got {found}")
        options = dict(runtime.model_options) if library == "transformers" else {"dtype": runtime.dtype}
        if name in float32:
            options["dtype"] = runtime.float32
        components[name] = _load_model(library, class_name, folder, f"{label}: {name}", **options).eval()
    return components


def _read_config(folder: Path, label: str) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        config = None
    if not isinstance(config, dict):
        raise CheckpointRefused(f"{label}: config.json: expected a JSON object")
    return config


def _class(library: str, class_name: str, label: str) -> Any:
    try:
        import diffusers
        import transformers
    except ImportError as error:
        raise PackageMissing("diffusers or transformers is not installed", "Install the extra: learned") from error
    diffusers.utils.logging.set_verbosity_error()  # what matters is raised
    found = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), class_name, None)
    if found is None:
        raise WrongClass(f"{label}: expected a class of {' or '.join(LIBRARIES)}, got {library}.{class_name}")
    return found


def _load_weightless(library: str, class_name: str, folder: Path, label: str) -> Any:
    if class_name == "CLIPImageProcessor":
        class_name = "CLIPImageProcessorPil"  # the same without torchvision
    only_pieces = (folder / "spiece.model").is_file() and not (folder / "tokenizer.json").is_file()
    if only_pieces and not find_spec("sentencepiece"):
        raise PackageMissing(f"{label}: sentencepiece is not installed", "Install the extra: learned")
    try:
        return _class(library, class_name, label).from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointRefused(f"{label}: {class_name} cannot read it: {str(error).splitlines()[0]}") from error


def _load_model(library: str, class_name: str, folder: Path, label: str, **options: Any) -> Any:
    loaded_class = _class(library, class_name, label)
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if library == "transformers":
        options["trust_remote_code"] = False
    try:
        model, info = loaded_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, ignore_mismatched_sizes=True,
            output_loading_info=True, **options,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise CheckpointRefused(f"{label}: {class_name} cannot read it: {str(error).splitlines()[0]}") from error
    lost = sorted(info["missing_keys"]) + sorted(str(key[0]) for key in info["mismatched_keys"])
    if lost:
        raise TensorsMissing(
            f"{label}: {len(lost)} tensor(s) of {class_name} are missing or of another shape, the first is {lost[0]}",
            "Fetch the checkpoint again; it may belong to another variant of the model",
        )
    return model

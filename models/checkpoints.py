"""Checkpoints: what a manifest says of one, and finding its files. Nothing is fetched unless the policy allows it.

A manifest is a YAML file in ``configs/checkpoints/``, named after the checkpoint. The weights lie in the manifest's
``folder``, else in ``<root>/<name>/``, as Hugging Face lays them out: ``config.json`` and ``*.safetensors``, or, for a
diffusers pipeline, ``model_index.json`` and a folder per component. Parts that come from elsewhere (a ControlNet, a
transformer trained here) lie in ``<root>/<name>-<part>/``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from models.errors import (
    BadManifest,
    CheckpointAbsent,
    CheckpointRefused,
    ChecksumMismatch,
    LicenceRefused,
    PackageMissing,
    PickleRefused,
    UnknownName,
)

MANIFESTS = Path(__file__).resolve().parents[1] / "configs" / "checkpoints"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
WANTED = ("*.safetensors", "*.json", "*.txt", "*.model")  # of a hub's repository; never pickles
WANTED_OF_PIPELINES = ("*/*.safetensors", "*.json", "*/*.txt", "*/*.model")  # weights at the top are the same again
INDEX = "model_index.json"
WEIGHTLESS = ("Tokenizer", "TokenizerFast", "Scheduler", "Processor", "ProcessorPil", "FeatureExtractor")  # they end so

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """One component of a pipeline that comes from elsewhere; it takes the place of the pipeline's own."""

    licence: str
    commercial: bool
    hub_id: str = ""
    revision: str = ""
    folder: str = ""  # empty = <root>/<name>-<part>


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint is and where it comes from."""

    kind: str  # a kind of models.registry.BACKENDS
    backend: str  # one of its backends
    licence: str  # SPDX name, or what its authors call it
    commercial: bool  # may its results be sold
    hub_id: str = ""  # owner/name on the Hugging Face hub
    revision: str = ""  # commit, tag or branch there; empty = its main branch
    folder: str = ""  # where the files lie; empty = <root>/<name>
    pipeline: bool = False  # diffusers' layout: model_index.json and a folder per component
    parts: dict[str, Part] = field(default_factory=dict)  # of a pipeline, by component
    settings: dict[str, Any] = field(default_factory=dict)  # of the backend, where not its defaults
    vram_gib: float = 0.0  # about what one call needs on a GPU at the default precision
    sha256: dict[str, str] = field(default_factory=dict)  # of files by name; checked when given
    name: str = ""  # of the manifest's file, filled in


@dataclass(frozen=True)
class Policy:
    """What a deployment allows. ``root`` holds a folder per checkpoint."""

    root: Path
    allow_noncommercial: bool = False
    allow_download: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """Files that are there and may be used."""

    manifest: Manifest
    folder: Path
    parts: dict[str, Path] = field(default_factory=dict)  # folders of what comes from elsewhere

    @cached_property
    def digest(self) -> str:
        """sha256 over the settings and the names and contents of configurations and weights: for the keys of stages."""
        listing = {"settings": json.dumps(self.manifest.settings, sort_keys=True)}
        for part, folder in {"": self.folder, **self.parts}.items():
            deep = "*/*" if self.manifest.pipeline and not part else "*"
            files = sorted({*folder.glob(f"{deep}.safetensors"), *folder.rglob("*.json")})
            listing |= {f"{part}:{path.relative_to(folder)}": _sha256(path) for path in files}
        return hashlib.sha256(json.dumps(listing, sort_keys=True).encode()).hexdigest()

    def component(self, name: str) -> Path:
        """The folder of a pipeline's component, wherever it comes from."""
        return self.parts.get(name, self.folder / name)

    def index(self) -> dict[str, tuple[str, str]]:
        """Library and class of each component that ``model_index.json`` names. Raises ``CheckpointRefused``."""
        return _read_index(self.folder, f"checkpoint {self.manifest.name}")

    def settings(self, defaults: type[T]) -> T:
        """The backend's settings dataclass, with what the manifest says instead. Raises ``BadManifest``."""
        try:
            made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(defaults), self.manifest.settings))
        except OmegaConfBaseException as error:
            raise BadManifest(
                f"checkpoint {self.manifest.name}: settings.{error.full_key}: {str(error.msg).splitlines()[0]}"
            ) from error
        assert isinstance(made, defaults)
        return made


def names(kind: str | None = None, folder: Path = MANIFESTS) -> list[str]:
    """Checkpoints that have a manifest."""
    found = sorted(folder.glob("*.yaml"))
    return [path.stem for path in found if kind is None or read_manifest(path.stem, folder=folder).kind == kind]


def read_manifest(name: str, kind: str | None = None, folder: Path = MANIFESTS) -> Manifest:
    """``name`` is a file of ``folder`` without its suffix, or the path of a YAML file.

    Raises ``UnknownName``, ``BadManifest``; also when it is not of the wanted ``kind``.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(names(kind, folder)) or "none"
        raise UnknownName(f"checkpoint: expected a YAML file or one of {known}, got {name!r}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(Manifest), OmegaConf.load(path), {"name": path.stem})
        manifest = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise BadManifest(f"{path.name}: {error.full_key or '?'}: {str(error.msg).splitlines()[0]}") from error
    assert isinstance(manifest, Manifest)
    if kind is not None and manifest.kind != kind:
        raise UnknownName(
            f"checkpoint {manifest.name}: expected one for {kind}, got one for {manifest.kind}",
            f"There are: {', '.join(names(kind, folder)) or 'none'}",
        )
    return manifest


def find(manifest: Manifest, policy: Policy) -> Checkpoint:
    """The checkpoint's files, licences and checksums checked. Raises ``ModelError``."""
    label = f"checkpoint {manifest.name}"
    sources: dict[str, Manifest | Part] = {label: manifest}
    sources |= {f"{label}: {name}": part for name, part in manifest.parts.items()}
    for of, item in sources.items():
        if not (item.commercial or policy.allow_noncommercial):
            raise LicenceRefused(
                f"{of}: its licence ({item.licence}) does not allow commercial work",
                "Set models.allow_noncommercial: true if yours is none",
            )
    folder = Path(manifest.folder).expanduser() if manifest.folder else policy.root / manifest.name
    marker = INDEX if manifest.pipeline else "config.json"
    _fetch_if_absent(label, manifest, folder, marker, policy)
    if manifest.pipeline:
        _expect_pipeline(label, manifest, folder)
    else:
        _expect_weights(label, manifest, folder)
    parts = {}
    for name, part in manifest.parts.items():
        parts[name] = Path(part.folder).expanduser() if part.folder else policy.root / f"{manifest.name}-{name}"
        _fetch_if_absent(f"{label}: {name}", part, parts[name], "config.json", policy)
        _expect_weights(f"{label}: {name}", part, parts[name])
    for file, expected in manifest.sha256.items():
        got = _sha256(folder / file) if (folder / file).is_file() else "no such file"
        if got != expected.lower():
            raise ChecksumMismatch(f"{label}: {file}: expected sha256 {expected}, got {got}")
    return Checkpoint(manifest, folder, parts)


def _fetch_if_absent(label: str, source: Manifest | Part, folder: Path, marker: str, policy: Policy) -> None:
    if not (folder / marker).is_file() and policy.allow_download and source.hub_id:
        _download(label, source, folder, WANTED_OF_PIPELINES if marker == INDEX else WANTED)


def _expect_pipeline(label: str, manifest: Manifest, folder: Path) -> None:
    if not (folder / INDEX).is_file():
        _raise_absent(label, manifest, folder, [INDEX])
    for name, (_, class_name) in _read_index(folder, label).items():
        if name in manifest.parts:
            continue
        if not (folder / name).is_dir():
            _raise_absent(label, manifest, folder, [f"{name}/"])
        if not class_name.endswith(WEIGHTLESS):
            _expect_weights(f"{label}: {name}", manifest, folder / name)


def _read_index(folder: Path, label: str) -> dict[str, tuple[str, str]]:
    try:
        entries = json.loads((folder / INDEX).read_text()).items()
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointRefused(f"{label}: {INDEX}: expected a JSON object") from error
    return {
        name: (str(value[0]), str(value[1])) for name, value in entries
        if not name.startswith("_") and isinstance(value, list) and len(value) == 2 and value[0] is not None
    }


def _expect_weights(label: str, source: Manifest | Part, folder: Path) -> None:
    weights = list(folder.glob("*.safetensors"))
    pickles = [path.name for path in sorted(folder.glob("*")) if path.suffix.lower() in PICKLES]
    if pickles and not weights:
        raise PickleRefused(
            f"{label}: expected *.safetensors in {folder}, got {', '.join(pickles)}",
            "A pickle can run code when it is read: convert it to safetensors",
        )
    missing = [name for name, there in (("config.json", (folder / "config.json").is_file()), ("*.safetensors", weights))
               if not there]
    if missing:
        _raise_absent(label, source, folder, missing)


def _raise_absent(label: str, source: Manifest | Part, folder: Path, missing: list[str]) -> NoReturn:
    origin = f"from {source.hub_id} on the Hugging Face hub" if source.hub_id else "of your checkpoint"
    if source.revision:
        origin += f" at revision {source.revision}"
    pipeline = isinstance(source, Manifest) and source.pipeline
    files = f"{INDEX} and the folders it names" if pipeline else "config.json and *.safetensors"
    raise CheckpointAbsent(
        f"{label}: no {' and no '.join(missing)} in {folder}",
        f"Put {files} {origin} there (licence: {source.licence})"
        + (", or set models.allow_download: true" if source.hub_id else ""),
    )


def _download(label: str, source: Manifest | Part, folder: Path, patterns: tuple[str, ...]) -> None:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise PackageMissing("huggingface_hub is not installed", "Install the extra: learned") from error
    try:
        snapshot_download(
            source.hub_id, revision=source.revision or None, local_dir=folder, allow_patterns=list(patterns)
        )
    except (OSError, ValueError) as error:  # the hub's errors are these, network's too
        raise CheckpointAbsent(
            f"{label}: could not fetch {source.hub_id}: {str(error).splitlines()[0]}",
            f"Put its configuration and its *.safetensors into {folder}",
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Configuration: one YAML per deployment under ``configs/``, checked against these dataclasses; unknown keys fail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from models.checkpoints import Policy
from models.runtime import RuntimeSettings
from services.errors import InvalidRequest

ROOT = Path(__file__).resolve().parents[1]


def cache_folder() -> Path:
    """The user's cache folder, as the XDG base directory specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backlot"


@dataclass(frozen=True)
class ServerConfig:
    listen: str = "127.0.0.1:50505"  # port 0 = any free one
    slots: int = 1  # jobs that run at the same time
    queue_limit: int = 1000  # jobs that may wait
    media_roots: tuple[str, ...] = ()  # folders whose files requests may name
    journal: str = ""  # folder of journal, uploads and logs; empty = in the user's cache folder
    registry: str = ""  # module that names the pipelines and calls; empty = ours
    cancel_grace_s: float = 6.0  # from asking a worker to stop to SIGTERM; the same again to SIGKILL
    max_attempts: int = 3  # how often a job is started when its worker dies

    @property
    def journal_folder(self) -> Path:
        return Path(self.journal).expanduser() if self.journal else cache_folder() / "server"


@dataclass(frozen=True)
class StoreConfig:
    url: str = ""  # folder or file:// URL; empty = $BACKLOT_STORE, or in the user's cache folder
    cap_bytes: int = 50 * 2**30

    @property
    def location(self) -> str:
        return self.url or os.environ.get("BACKLOT_STORE") or str(cache_folder() / "store")


@dataclass(frozen=True)
class ReconstructSettings:
    max_side: int = 960  # px of the working raster
    depth_backend: str = "embedded"  # or the name or path of a checkpoint's manifest
    segmentation_backend: str = "embedded"  # of movers clicked at and of regions to follow; or a checkpoint's manifest


@dataclass(frozen=True)
class RenderSettings:
    backend: str = "mitsuba"
    variant: str = "auto"
    spp: int = 64
    draft_spp: int = 16


@dataclass(frozen=True)
class HarmonizeSettings:
    backend: str = "none"


@dataclass(frozen=True)
class PrevisSettings:
    anchors_backend: str = "embedded"  # or the name or path of a checkpoint's manifest
    inbetween_backend: str = "embedded"
    longest_arc: int = 46  # frames from anchor to anchor, both counted, that a learned backend is asked for
    style_steps: int = 0  # of training a learned painter on the reference, when no style adapter comes with it


@dataclass(frozen=True)
class ModelsSettings:
    """Learned backends: where weights lie, which are allowed, how they compute. docs/models.md says more."""

    folder: str = ""  # a folder per checkpoint; empty = in the user's cache folder
    allow_noncommercial: bool = False  # weights whose licence forbids commercial work
    allow_download: bool = False  # fetch absent weights from the Hugging Face hub
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    @property
    def policy(self) -> Policy:
        root = Path(self.folder).expanduser() if self.folder else cache_folder() / "models"
        return Policy(root, self.allow_noncommercial, self.allow_download)


@dataclass(frozen=True)
class Settings:
    """What pipelines see of the configuration, as ``context.settings``."""

    reconstruct: ReconstructSettings = field(default_factory=ReconstructSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    harmonize: HarmonizeSettings = field(default_factory=HarmonizeSettings)
    previs: PrevisSettings = field(default_factory=PrevisSettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)


@dataclass(frozen=True)
class Config:
    server: ServerConfig = field(default_factory=ServerConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    reconstruct: ReconstructSettings = field(default_factory=ReconstructSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    harmonize: HarmonizeSettings = field(default_factory=HarmonizeSettings)
    previs: PrevisSettings = field(default_factory=PrevisSettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)

    @property
    def settings(self) -> Settings:
        return Settings(self.reconstruct, self.render, self.harmonize, self.previs, self.models)


def load(name: str, overrides: Sequence[str] = ()) -> Config:
    """``name`` is a file of ``configs/`` without its suffix, or a path to a YAML file; ``overrides`` are like
    ``server.slots=2``. Raises ``InvalidRequest`` that names the key.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else ROOT / "configs" / f"{name}.yaml"
    if not path.is_file():
        known = " ".join(sorted(p.stem for p in (ROOT / "configs").glob("*.yaml")))
        raise InvalidRequest("config", f"a YAML file or one of: {known}", name)
    try:
        layers = [OmegaConf.structured(Config), OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides))]
        config = OmegaConf.to_object(OmegaConf.merge(*layers))
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        got = str(error.msg).splitlines()[0]
        raise InvalidRequest(f"{path.name}: {key}", "a known key and a value of its type", got) from error
    assert isinstance(config, Config)
    _check(config, path.name)
    return config


def _check(config: Config, file: str) -> None:
    for key, value in (
        ("server.slots", config.server.slots),
        ("server.queue_limit", config.server.queue_limit),
        ("server.max_attempts", config.server.max_attempts),
        ("store.cap_bytes", config.store.cap_bytes),
        ("reconstruct.max_side", config.reconstruct.max_side),
        ("render.spp", config.render.spp),
        ("render.draft_spp", config.render.draft_spp),
    ):
        if value < 1:
            raise InvalidRequest(f"{file}: {key}", ">= 1", value)
    if config.previs.longest_arc < 2:
        raise InvalidRequest(f"{file}: previs.longest_arc", ">= 2", config.previs.longest_arc)
    if config.previs.style_steps < 0:
        raise InvalidRequest(f"{file}: previs.style_steps", ">= 0", config.previs.style_steps)

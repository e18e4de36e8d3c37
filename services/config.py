"""Configuration: one YAML per deployment under ``configs/``, checked against these dataclasses; unknown keys fail."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
class TenantConfig:
    share: float = 1.0  # of the slots, beside those of others who want them
    running_limit: int = 0  # jobs that run at the same time; 0 = as many as there are slots
    queue_limit: int = 0  # jobs that may wait; 0 = as many as in the whole queue


@dataclass(frozen=True)
class ServerConfig:
    listen: str = "127.0.0.1:50505"  # port 0 = any free one
    slots: int = 1  # jobs that run at the same time
    queue_limit: int = 1000  # jobs that may wait
    media_roots: tuple[str, ...] = ()  # folders whose files requests may name
    journal: str = ""  # folder of journal, uploads and logs; empty = in the user's cache folder
    files: str = ""  # folder of uploads, results and logs; empty = the journal's. On a cluster all nodes see it
    registry: str = ""  # module that names the pipelines and calls; empty = ours
    cancel_grace_s: float = 6.0  # from asking a worker to stop to SIGTERM; the same again to SIGKILL
    max_attempts: int = 3  # how often a job is started when its worker dies or it fails for a while only
    retry_delay_s: float = 1.0  # before it is started again; doubled each time
    keep_results_days: float = 0.0  # after that, jobs that have ended are deleted unless pinned; 0 = never
    keep_uploads_days: float = 0.0  # after that, uploads that no job here names are deleted; 0 = never
    executor: str = "local"  # or ray
    helpers: int = 0  # workers more that a job of many chunks may use; beside the slots
    tenants: dict[str, TenantConfig] = field(default_factory=dict)  # by name; others are as TenantConfig() says
    tls_certificate: str = ""  # PEM file of the server's chain; an address that others can reach needs TLS, and
    tls_key: str = ""
    token_file: str = ""  # tokens and whose they are (services/tokens.py), or
    metrics: str = ""  # HOST:PORT where Prometheus may ask; empty = nowhere
    tls_client_ca: str = ""  # PEM file: clients show a certificate that it signed, whose common name is their tenant

    @property
    def journal_folder(self) -> Path:
        return Path(self.journal).expanduser() if self.journal else cache_folder() / "server"

    @property
    def files_folder(self) -> Path:
        return Path(self.files).expanduser() if self.files else self.journal_folder


@dataclass(frozen=True)
class RayConfig:
    """Of ``server.executor: ray``. What a worker asks the cluster for decides where it runs."""

    address: str = ""  # of the cluster's head, HOST:PORT; auto = the one on this machine; empty = start one here
    cpus: float = 1.0
    gpus: float = 0.0
    memory_bytes: int = 0  # 0 = not asked for
    resources: dict[str, float] = field(default_factory=dict)  # custom ones


@dataclass(frozen=True)
class StoreConfig:
    url: str = ""  # folder or file:// URL; empty = $BACKLOT_STORE, or in the user's cache folder
    cap_bytes: int = 50 * 2**30
    remote: str = ""  # URL of a storage that several machines share (s3://bucket/prefix, ...); docs/operations.md

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
    spp: int = 32
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
class PlateSettings:
    depth_backend: str = "none"  # of a still that comes without depth; or the name or path of a checkpoint's manifest
    segmentation_backend: str = "embedded"  # of things that are clicked at; or a checkpoint's manifest
    inpainting_backend: str = "embedded"  # of margins and of what is hidden; or a checkpoint's manifest
    generation_backend: str = "none"  # of pictures from text
    layered_backend: str = "none"  # takes pictures apart into layers: --separate


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
    plate: PlateSettings = field(default_factory=PlateSettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)


@dataclass(frozen=True)
class Config:
    server: ServerConfig = field(default_factory=ServerConfig)
    ray: RayConfig = field(default_factory=RayConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    reconstruct: ReconstructSettings = field(default_factory=ReconstructSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    harmonize: HarmonizeSettings = field(default_factory=HarmonizeSettings)
    previs: PrevisSettings = field(default_factory=PrevisSettings)
    plate: PlateSettings = field(default_factory=PlateSettings)
    models: ModelsSettings = field(default_factory=ModelsSettings)

    @property
    def settings(self) -> Settings:
        return Settings(self.reconstruct, self.render, self.harmonize, self.previs, self.plate, self.models)


def frugal(settings: Settings) -> Settings:
    """The same results from less memory, more slowly; equal to ``settings`` where there is no such way."""
    backends = {
        settings.reconstruct.depth_backend, settings.reconstruct.segmentation_backend, settings.previs.anchors_backend,
        settings.previs.inbetween_backend, settings.plate.depth_backend, settings.plate.segmentation_backend,
        settings.plate.inpainting_backend, settings.plate.generation_backend, settings.plate.layered_backend,
    }
    if backends <= {"embedded", "none"}:
        return settings
    runtime = settings.models.runtime.frugal(trains=settings.previs.style_steps > 0)
    return replace(settings, models=replace(settings.models, runtime=runtime))


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
    _check_tenants(config.server, file)
    if config.previs.longest_arc < 2:
        raise InvalidRequest(f"{file}: previs.longest_arc", ">= 2", config.previs.longest_arc)
    if config.previs.style_steps < 0:
        raise InvalidRequest(f"{file}: previs.style_steps", ">= 0", config.previs.style_steps)


def _check_tenants(server: ServerConfig, file: str) -> None:
    for name, tenant in server.tenants.items():
        for key, value, ok in (
            ("share", tenant.share, tenant.share > 0),
            ("running_limit", tenant.running_limit, tenant.running_limit >= 0),
            ("queue_limit", tenant.queue_limit, tenant.queue_limit >= 0),
        ):
            if not ok:
                raise InvalidRequest(f"{file}: server.tenants.{name}.{key}", "> 0" if key == "share" else ">= 0", value)
    if server.executor not in ("local", "ray"):
        raise InvalidRequest(f"{file}: server.executor", "local or ray", server.executor)

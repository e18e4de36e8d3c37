"""Checkpoints of several folders: diffusers pipelines with parts from elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from models.checkpoints import Checkpoint, Manifest, Part, Policy, find, read_manifest
from models.errors import BadManifest, CheckpointAbsent, CheckpointRefused, LicenceRefused, PickleRefused

CONTROLNET = Part("MIT", True, hub_id="somebody/controlnet")
MANIFEST = Manifest(
    "anchors", "flux_sag", "Apache-2.0", True, hub_id="somebody/flux", pipeline=True, parts={"controlnet": CONTROLNET},
    name="mine",
)
INDEX = {
    "_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "image_encoder": [None, None], "boundary_ratio": None,
}
FILES = (
    "mine/transformer/config.json", "mine/transformer/part-1.safetensors", "mine/tokenizer/tokenizer.json",
    "mine/scheduler/scheduler_config.json", "mine-controlnet/config.json", "mine-controlnet/w.safetensors",
)


def put(root: Path, *files: str) -> None:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(file)


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    put(tmp_path, *FILES)
    (tmp_path / "mine" / "model_index.json").write_text(json.dumps(INDEX))
    return Policy(tmp_path)


def test_a_whole_pipeline_is_found_with_its_parts(policy: Policy) -> None:
    found = find(MANIFEST, policy)
    assert found.component("transformer") == policy.root / "mine" / "transformer"
    assert found.component("controlnet") == policy.root / "mine-controlnet"
    assert found.index()["tokenizer"] == ("transformers", "CLIPTokenizer") and "image_encoder" not in found.index()


def test_a_part_takes_the_place_of_the_pipelines_own(policy: Policy) -> None:
    put(policy.root, "elsewhere/config.json", "elsewhere/w.safetensors")
    (policy.root / "mine" / "transformer" / "part-1.safetensors").unlink()  # nobody needs it now
    trained = {"transformer": Part("MIT", True, folder=str(policy.root / "elsewhere"))}
    assert find(replace(MANIFEST, parts=trained), policy).component("transformer") == policy.root / "elsewhere"


@pytest.mark.parametrize(("gone", "message"), [
    ("mine/model_index.json", r"checkpoint mine: no model_index\.json in .*mine\. Put .* from somebody/flux"),
    ("mine/transformer/part-1.safetensors", r"checkpoint mine: transformer: no \*\.safetensors in .*mine/transformer"),
    ("mine-controlnet/config.json", r"controlnet: no config\.json in .*mine-controlnet\. Put .* somebody/controlnet"),
])
def test_what_is_missing_is_named(policy: Policy, gone: str, message: str) -> None:
    (policy.root / gone).unlink()
    with pytest.raises(CheckpointAbsent, match=message):
        find(MANIFEST, policy)


def test_a_missing_folder_is_named(policy: Policy) -> None:
    (policy.root / "mine" / "tokenizer").rename(policy.root / "mine" / "renamed")
    with pytest.raises(CheckpointAbsent, match="no tokenizer/ in .*mine"):
        find(MANIFEST, policy)


@pytest.mark.parametrize("folder", ["mine/transformer", "mine-controlnet"])
def test_a_pickle_in_any_folder_is_refused(policy: Policy, folder: str) -> None:
    for file in (policy.root / folder).glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(PickleRefused, match=rf"expected \*\.safetensors in .*{folder}, got .*\.bin"):
        find(MANIFEST, policy)


def test_an_index_that_is_none(policy: Policy) -> None:
    (policy.root / "mine" / "model_index.json").write_text("[]")
    with pytest.raises(CheckpointRefused, match=r"model_index\.json: expected a JSON object"):
        find(MANIFEST, policy)


def test_the_licence_of_a_part_counts(policy: Policy) -> None:
    research = replace(MANIFEST, parts={"controlnet": replace(CONTROLNET, licence="NC", commercial=False)})
    with pytest.raises(LicenceRefused, match=r"checkpoint mine: controlnet: its licence \(NC\)"):
        find(research, policy)
    find(research, replace(policy, allow_noncommercial=True))


def test_parts_are_fetched_from_their_own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: dict[str, list[str]] = {}

    def fetch(hub_id: str, *, revision: str | None, local_dir: Path, allow_patterns: list[str]) -> None:
        asked[hub_id] = allow_patterns
        put(tmp_path, *FILES)
        (tmp_path / "mine" / "model_index.json").write_text(json.dumps(INDEX))
        if "controlnet" not in hub_id:
            (tmp_path / "mine-controlnet" / "config.json").unlink()

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    find(MANIFEST, Policy(tmp_path, allow_download=True))
    assert list(asked) == ["somebody/flux", "somebody/controlnet"]
    assert "*.safetensors" not in asked["somebody/flux"]  # one file with everything lies at the top, too


def test_the_digest_follows_parts_and_settings(policy: Policy) -> None:
    before = find(MANIFEST, policy).digest
    assert find(replace(MANIFEST, settings={"steps": 3}), policy).digest != before
    assert find(MANIFEST, policy).digest == before
    (policy.root / "mine-controlnet" / "w.safetensors").write_text("other")
    assert find(MANIFEST, policy).digest != before


@dataclass(frozen=True)
class Settings:
    steps: int = 25
    weight: float | None = 0.8


def test_settings_are_typed(tmp_path: Path) -> None:
    def settings(**values: object) -> Settings:
        return Checkpoint(replace(MANIFEST, settings=values), tmp_path).settings(Settings)

    assert settings() == Settings() and settings(steps=3, weight=None) == Settings(3, None)
    with pytest.raises(BadManifest, match=r"checkpoint mine: settings\.flavour"):
        settings(flavour=1)
    with pytest.raises(BadManifest, match=r"checkpoint mine: settings\.steps"):
        settings(steps="many")


def test_a_manifest_with_parts_is_read(tmp_path: Path) -> None:
    text = "kind: anchors\nbackend: flux_sag\nlicence: MIT\ncommercial: true\nparts: {controlnet: {licence: MIT"
    (tmp_path / "good.yaml").write_text(text + ", commercial: false}}\n")
    assert read_manifest(str(tmp_path / "good.yaml")).parts == {"controlnet": Part("MIT", False)}
    (tmp_path / "bad.yaml").write_text(text + "}}\n")
    with pytest.raises(BadManifest, match=r"bad\.yaml: parts\.controlnet\.commercial"):
        read_manifest(str(tmp_path / "bad.yaml"))

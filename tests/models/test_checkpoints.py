"""Which checkpoints are found and which are refused, before and while they are loaded."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from models import registry
from models.checkpoints import Checkpoint, Manifest, Policy, find, names, read_manifest
from models.errors import (
    BadManifest,
    CheckpointAbsent,
    CheckpointRefused,
    ChecksumMismatch,
    LicenceRefused,
    PickleRefused,
    TensorsMissing,
    UnknownName,
    WrongClass,
)

MANIFEST = Manifest("depth", "depth_anything", "Apache-2.0", True, hub_id="somebody/something", name="mine")


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(tmp_path)


def put(policy: Policy, *files: str) -> Path:
    folder = policy.root / MANIFEST.name
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file).write_text(file)
    return folder


# --- manifests


@pytest.mark.parametrize("name", names())
def test_our_own_manifests(name: str) -> None:
    manifest = read_manifest(name)
    assert manifest.name == name and manifest.hub_id and manifest.licence
    assert manifest.backend in registry.BACKENDS[manifest.kind]


def test_default_names_are_commercial_and_others_are_not() -> None:
    """Written down a second time: a change must be meant."""
    forbidden = {name for name in names() if not read_manifest(name).commercial}
    assert forbidden == {
        "depth-anything-v2-large", "depth-pro", "flux1-dev-hed", "flux1-dev-union", "cogvideox-5b-ggi",
        "flux1-dev", "flux1-fill",
    }


def test_an_unknown_checkpoint_lists_those_of_its_kind() -> None:
    with pytest.raises(UnknownName, match=r"depth-anything-v2-large, .*depth-pro, got 'midas'") as error:
        read_manifest("midas", "depth")
    assert "sam" not in str(error.value)


def test_a_checkpoint_of_another_kind() -> None:
    with pytest.raises(UnknownName, match="sam-base: expected one for depth, got one for picture_segmentation"):
        read_manifest("sam-base", "depth")


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("kind: depth\nbackend: depth_anything\nlicence: MIT\ncommercial: true\nfolder: /weights\n")
    assert read_manifest(str(file)) == Manifest("depth", "depth_anything", "MIT", True, folder="/weights", name="other")


@pytest.mark.parametrize(("text", "key"), [
    ("kind: depth\nbackend: x\nlicence: MIT\n", "commercial"),  # a licence is never guessed
    ("kind: depth\nbackend: x\ncommercial: true\n", "licence"),
    ("kind: depth\nbackend: x\nlicence: MIT\ncommercial: true\nflavour: 1\n", "flavour"),
])
def test_bad_manifests(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(BadManifest, match=rf"bad\.yaml: {key}"):
        read_manifest(str(tmp_path / "bad.yaml"))


# --- files


def test_an_absent_checkpoint_says_what_to_put_where(policy: Policy) -> None:
    with pytest.raises(CheckpointAbsent) as error:
        find(replace(MANIFEST, revision="abc"), policy)
    for part in ("no config.json and no *.safetensors", str(policy.root / "mine"), "somebody/something", "abc",
                 "Apache-2.0", "allow_download"):
        assert part in str(error.value)
    put(policy, "config.json")
    with pytest.raises(CheckpointAbsent, match=r"no \*\.safetensors"):
        find(MANIFEST, policy)


def test_nothing_is_fetched_unless_allowed(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked: list[tuple[str, str | None, list[str]]] = []

    def fetch(hub_id: str, *, revision: str | None, local_dir: Path, allow_patterns: list[str]) -> None:
        asked.append((hub_id, revision, allow_patterns))
        put(policy, "config.json", "model.safetensors")

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    with pytest.raises(CheckpointAbsent):
        find(MANIFEST, policy)
    assert not asked
    allowed = replace(policy, allow_download=True)
    assert find(MANIFEST, allowed).folder == policy.root / "mine"
    assert find(MANIFEST, allowed).manifest == MANIFEST
    assert [hub_id for hub_id, _, _ in asked] == ["somebody/something"]  # once: then it is there
    assert asked[0][1] is None and not any(".bin" in pattern for pattern in asked[0][2])


def test_a_hub_that_does_not_answer(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")

    def fetch(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(hub, "snapshot_download", fetch)
    with pytest.raises(CheckpointAbsent, match="could not fetch somebody/something: no route to host"):
        find(MANIFEST, replace(policy, allow_download=True))


@pytest.mark.parametrize("file", ["pytorch_model.bin", "sam.pth", "model.pt", "model.ckpt"])
def test_a_pickle_is_refused(policy: Policy, file: str) -> None:
    put(policy, "config.json", file)
    with pytest.raises(PickleRefused, match=f"got {file}"):
        find(MANIFEST, policy)
    put(policy, "model.safetensors")  # beside safe weights it is just never opened
    find(MANIFEST, policy)


def test_a_licence_that_forbids_commercial_work(policy: Policy) -> None:
    put(policy, "config.json", "model.safetensors")
    research = replace(MANIFEST, licence="CC-BY-NC-4.0", commercial=False)
    with pytest.raises(LicenceRefused, match=r"mine: its licence \(CC-BY-NC-4\.0\).*allow_noncommercial: true"):
        find(research, policy)
    find(research, replace(policy, allow_noncommercial=True))


def test_checksums_are_checked_when_given(policy: Policy) -> None:
    put(policy, "config.json", "model.safetensors")
    right = hashlib.sha256(b"model.safetensors").hexdigest()
    find(replace(MANIFEST, sha256={"model.safetensors": right.upper()}), policy)
    with pytest.raises(ChecksumMismatch, match=f"model.safetensors: expected sha256 {'0' * 64}, got {right}"):
        find(replace(MANIFEST, sha256={"model.safetensors": "0" * 64}), policy)
    with pytest.raises(ChecksumMismatch, match=r"part-2\.safetensors: .* got no such file"):
        find(replace(MANIFEST, sha256={"part-2.safetensors": right}), policy)


def test_the_digest_follows_the_contents_not_the_place(policy: Policy, tmp_path: Path) -> None:
    folder = put(policy, "config.json", "model.safetensors")
    before = find(MANIFEST, policy).digest
    folder.rename(tmp_path / "elsewhere")
    moved = replace(MANIFEST, folder=str(tmp_path / "elsewhere"))
    assert find(moved, policy).digest == before
    (tmp_path / "elsewhere" / "model.safetensors").write_text("other")
    assert find(moved, policy).digest != before


# --- loading


def test_unknown_kinds_and_backends_list_what_there_is() -> None:
    with pytest.raises(UnknownName, match="expected one of depth, video_segmentation, .* got 'taste'"):
        registry.backend("taste", "x")
    with pytest.raises(UnknownName, match="depth backend: expected one of depth_anything, depth_pro, got 'x'"):
        registry.backend("depth", "x")


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoint:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from tests.models import tiny_checkpoints as tiny

    return tiny.save("depth_anything", tmp_path / "weights")


def load(checkpoint: Checkpoint) -> object:
    from tests.models import tiny_checkpoints as tiny

    return registry.load(checkpoint, tiny.on_cpu())


def test_weights_of_another_class(saved: Checkpoint) -> None:
    other = replace(saved, manifest=replace(saved.manifest, backend="depth_pro"))
    with pytest.raises(WrongClass, match="tiny: expected weights of depth_pro, got depth_anything"):
        load(other)


def test_missing_tensors(saved: Checkpoint) -> None:
    from safetensors.torch import load_file, save_file

    file = saved.folder / "model.safetensors"
    tensors = load_file(file)
    save_file({name: t for name, t in tensors.items() if name != "head.conv1.bias"}, file, {"format": "pt"})
    with pytest.raises(TensorsMissing, match=r"1 tensor\(s\) .* the first is head\.conv1\.bias"):
        load(saved)


def test_tensors_of_another_shape(saved: Checkpoint) -> None:
    config = json.loads((saved.folder / "config.json").read_text())
    (saved.folder / "config.json").write_text(json.dumps(config | {"head_hidden_size": 12}))
    with pytest.raises(TensorsMissing, match="of another shape"):
        load(saved)


def test_a_file_that_was_cut_short(saved: Checkpoint) -> None:
    file = saved.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckpointRefused, match="cannot read it"):
        load(saved)


def test_a_config_that_is_none(saved: Checkpoint) -> None:
    (saved.folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointRefused, match="config.json: expected a JSON object"):
        load(saved)


def test_the_room_opens_without_torch() -> None:
    """Nobody who uses no learned backend waits for it, or needs it installed."""
    code = (
        "import sys, models.registry, models.depth.align, models.pictures, models.depth.depth_anything,"
        " models.anchors.flux_sag, models.anchors.qwen_controlnet, models.inbetween.cogvideox_ggi,"
        " models.inbetween.wan_flf, models.inbetween.wan_vace, models.training.style_lora, models.training.ggi,"
        " models.segmentation.sam2_video, services.config, services.pipelines.stages.learned_depth;"
        "print([m for m in ('torch', 'transformers', 'diffusers', 'huggingface_hub') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

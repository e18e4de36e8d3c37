"""Inpainting, generation and layers on tiny random checkpoints of the real classes; the embedded inpainting beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from models import registry  # noqa: E402
from models.base import Prompt  # noqa: E402
from models.errors import CheckpointAbsent, CheckpointRefused, InputRefused, NotTrainedFor, UnknownName  # noqa: E402
from models.generation import looks  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402
from tests.models import tiny_painters as painters  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning"),  # diffusers' own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers on tensors
]
SEED = [3]
STEPS = {"steps": 2}
WH = (30, 22)  # no multiples of anything
PICTURE = tiny.picture(1, (40, 56))
MASK = np.zeros((40, 56), bool)
MASK[10:25, 20:45] = True


# --- inpainting


@pytest.fixture(scope="module", params=["sdxl_inpaint", "flux_fill"])
def inpainter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    checkpoint = painters.save(request.param, tmp_path_factory.mktemp(request.param), STEPS)
    return registry.load(checkpoint, tiny.on_cpu())


def test_inpainting_paints_the_mask_alone(inpainter: Any) -> None:
    first = inpainter.fill(PICTURE, MASK, "a stone wall", SEED)
    assert first.dtype == np.uint8 and np.array_equal(first[~MASK], PICTURE[~MASK])
    assert (first[MASK] != PICTURE[MASK]).any(-1).mean() > 0.5
    assert np.array_equal(first, inpainter.fill(PICTURE, MASK, "a stone wall", SEED))
    for other in (inpainter.fill(PICTURE, MASK, "a stone wall", [4]), inpainter.fill(PICTURE, MASK, "water", SEED),
                  inpainter.fill(np.where(MASK[..., None], PICTURE, 255 - PICTURE), MASK, "a stone wall", SEED)):
        assert not np.array_equal(other[MASK], first[MASK])


def test_a_large_picture_is_painted_smaller(tmp_path: Path) -> None:
    checkpoint = painters.save("sdxl_inpaint", tmp_path, STEPS | {"side_px": 32})
    found = registry.load(checkpoint, tiny.on_cpu()).fill(PICTURE, MASK, "", SEED)
    assert found.shape == PICTURE.shape and np.array_equal(found[~MASK], PICTURE[~MASK])


def test_masks_of_nothing_and_of_everything(inpainter: Any) -> None:
    embedded = registry.embedded("inpainting", "exemplar")
    for model in (inpainter, embedded):
        with pytest.raises(InputRefused, match="got nothing"):
            model.fill(PICTURE, np.zeros_like(MASK), "", SEED)
        with pytest.raises(InputRefused, match="got all of it"):
            model.fill(PICTURE, np.ones_like(MASK), "", SEED)
        with pytest.raises(ValueError, match="mask"):
            model.fill(PICTURE, MASK[:5], "", SEED)


def test_flux_dev_is_no_flux_fill(tmp_path: Path) -> None:
    checkpoint = painters.save("flux_fill", tmp_path, STEPS, whole=painters.flux_fill(False))
    with pytest.raises(NotTrainedFor, match="sees a masked picture"):
        registry.load(checkpoint, tiny.on_cpu())


def test_embedded_inpainting_copies_what_is_round_the_hole() -> None:
    rows = np.repeat(((np.arange(60) // 6) % 2 * 120 + 60)[:, None], 80, 1)
    picture = np.repeat(rows[..., None], 3, 2).astype(np.uint8)
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    holed = np.where(mask[..., None], 0, picture).astype(np.uint8)
    found = registry.embedded("inpainting", "exemplar").fill(holed, mask)
    assert np.array_equal(found[~mask], picture[~mask])
    assert np.abs(found[mask].astype(int) - picture[mask]).mean() < 15


# --- generation


@pytest.fixture(scope="module", params=["sdxl", "sd21", "flux", "qwen_image"])
def generator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    checkpoint = painters.save(request.param, tmp_path_factory.mktemp(request.param), STEPS)
    return registry.load(checkpoint, tiny.on_cpu())


def test_words_and_seed_make_the_picture(generator: Any) -> None:
    first = generator.generate("a valley", negative="fog", wh=WH, seed=SEED)
    assert first.shape == (22, 30, 3) and first.dtype == np.uint8 and first.std() > 5
    assert np.array_equal(first, generator.generate("a valley", negative="fog", wh=WH, seed=SEED))
    for told in ({"prompt": "ruins"}, {"negative": "rain"}, {"seed": [4]}):
        other = {"prompt": "a valley", "negative": "fog", "seed": SEED} | told
        assert not np.array_equal(generator.generate(other.pop("prompt"), wh=WH, **other), first), told
    with pytest.raises(InputRefused, match="control: .*got depth"):
        generator.generate("a valley", wh=WH, controls={"depth": PICTURE}, seed=SEED)


@pytest.mark.parametrize(("backend", "nets"), [
    ("sdxl", "union"), ("sdxl", "several"), ("sd21", "several"),
])  # fmt: skip
def test_several_conditions_at_once(backend: str, nets: str, tmp_path: Path) -> None:
    if nets == "union":
        parts = {"controlnet": painters.union()}
    else:
        parts = {f"controlnet_{kind}": painters.controlnet(backend == "sdxl") for kind in ("depth", "edges")}
    model = registry.load(painters.save(backend, tmp_path, STEPS | {"control_weight": 2.0}, parts), tiny.on_cpu())
    given = {"depth": PICTURE, "edges": 255 - PICTURE}
    pictures = [
        model.generate("a valley", wh=WH, controls=controls, seed=SEED)
        for controls in ({}, {"depth": PICTURE}, {"edges": 255 - PICTURE}, given, {"depth": 255 - PICTURE})
    ]
    for index, picture in enumerate(pictures):
        assert all(not np.array_equal(picture, other) for other in pictures[:index]), index
    with pytest.raises(InputRefused, match="got smell"):
        model.generate("a valley", wh=WH, controls={"smell": PICTURE}, seed=SEED)


def test_a_controlnet_of_another_kind_is_refused(tmp_path: Path) -> None:
    checkpoint = painters.save("sdxl", tmp_path, STEPS, {"controlnet": painters.controlnet(True)})
    with pytest.raises(CheckpointRefused, match="expected a union of conditions, got one"):
        registry.load(checkpoint, tiny.on_cpu())


@pytest.mark.parametrize("backend", ["sdxl", "sd21"])
def test_learned_words(backend: str, tmp_path: Path) -> None:
    """A concept changes the picture of the prompt that names it, and is forgotten afterwards."""
    model = registry.load(painters.save(backend, tmp_path, STEPS), tiny.on_cpu())
    keys = ("clip_l", "clip_g") if backend == "sdxl" else ("emb_params",)
    paths = {}
    for word in ("<kelp>", "<rust>"):
        paths[word] = tmp_path / f"{word[1:-1]}.safetensors"
        fresh = torch.Generator().manual_seed(len(word) + ord(word[1]))
        save_file({key: torch.randn(2, painters.TEXT, generator=fresh) * 3 for key in keys}, paths[word])
    prompt = "a <kelp> tower of <rust>"
    plain = model.generate(prompt, wh=WH, seed=SEED)
    both = model.generate(prompt, wh=WH, concepts=paths, seed=SEED)
    one = model.generate(prompt, wh=WH, concepts={"<kelp>": paths["<kelp>"]}, seed=SEED)
    assert not np.array_equal(both, plain) and not np.array_equal(one, both) and not np.array_equal(one, plain)
    assert np.array_equal(model.generate(prompt, wh=WH, seed=SEED), plain)
    with pytest.raises(InputRefused, match="expected it in the prompt"):
        model.generate("a tower", wh=WH, concepts=paths, seed=SEED)
    with pytest.raises(CheckpointAbsent, match="no file"):
        model.generate("<x>", wh=WH, concepts={"<x>": tmp_path / "no.safetensors"}, seed=SEED)
    save_file({"clip_l": torch.zeros(1, 5)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointRefused, match="of 32 numbers a word"):
        model.generate("<x>", wh=WH, concepts={"<x>": tmp_path / "other.safetensors"}, seed=SEED)


def test_looks_are_words_after_the_prompt() -> None:
    assert looks.names() == ["standard", "classic", "moody", "scifi"]
    found = looks.in_look("moody", "a harbour", "boats")
    assert found.prompt.startswith("a harbour, overcast dusk") and found.negative.startswith("boats, people")
    with pytest.raises(UnknownName, match="expected one of standard, classic, moody, scifi"):
        looks.in_look("grim", "x")


# --- layers, segments


def test_layers_of_one_picture(tmp_path: Path) -> None:
    checkpoint = painters.save("qwen_layered", tmp_path, {"steps": 1, "true_cfg": 1.0})
    model = registry.load(checkpoint, tiny.on_cpu())
    found = model.separate(PICTURE, 2, "a valley", SEED)
    assert [layer.shape for layer in found] == [(40, 56, 4)] * 2 and found[0].dtype == np.uint8
    assert not np.array_equal(found[0], found[1])
    with pytest.raises(InputRefused, match="prompt"):
        model.separate(PICTURE, 2, " ", SEED)
    with pytest.raises(InputRefused, match="at least one"):
        model.separate(PICTURE, 0, "a valley", SEED)


def test_segment_anything_by_its_own_package(tmp_path: Path) -> None:
    package = pytest.importorskip("segment_anything", exc_type=(ImportError, RuntimeError))
    from models.checkpoints import Checkpoint, Manifest

    (tmp_path / "config.json").write_text('{"model_type": "vit_b"}')
    save_file(package.sam_model_registry["vit_b"]().state_dict(), tmp_path / "model.safetensors")
    manifest = Manifest("picture_segmentation", "segment_anything", "none: random", True, name="tiny")
    model = registry.load(Checkpoint(manifest, tmp_path), tiny.on_cpu())
    click = Prompt(clicks=np.array([[9.0, 9.0]]), inside=np.array([True]))
    masks = model.segment(PICTURE, [Prompt(box=(5, 5, 30, 30)), click])
    assert masks.shape == (2, 40, 56) and masks.min() >= 0 and masks.max() <= 1

"""Plates with learned backends, the whole way: tiny random checkpoints, named by the configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import save_file  # noqa: E402

from models.checkpoints import Checkpoint  # noqa: E402
from models.runtime import RuntimeSettings  # noqa: E402
from services.config import ModelsSettings, PlateSettings, Settings  # noqa: E402
from services.errors import InvalidRequest, Unsupported  # noqa: E402
from services.media import images  # noqa: E402
from services.media.layered import open_layers  # noqa: E402
from services.pipelines.plate import run_layers, run_plate  # noqa: E402
from services.pipelines.requests import (  # noqa: E402
    AnimatePlateRequest,
    BuildLayersRequest,
    ControlPicture,
    LearnedConcept,
    PlateCamera,
    PlateGeneration,
    PlateLayers,
    PlateMargins,
    PlateSource,
    PlateThing,
)
from services.pipelines.stages import generate_picture  # noqa: E402
from tests.models import tiny_checkpoints as tiny  # noqa: E402
from tests.models import tiny_painters as painters  # noqa: E402
from tests.pipelines.plate_bench import Bench, still  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning"),  # diffusers' own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers on tensors
]
Array = np.ndarray
STEPS = {"steps": 2}
HEAVY = [pytest.param(name, marks=pytest.mark.slow) for name in ("sdxl", "flux", "qwen_image")]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(generate_picture, "PIXELS", 96 * 64)  # pictures of a million pixels take a CPU minutes
    return Bench(tmp_path)


def manifest(checkpoint: Checkpoint, root: Path) -> str:
    """A file, as a configuration may name it."""
    parts = {name: {"folder": str(folder), "licence": "none", "commercial": True}
             for name, folder in checkpoint.parts.items()}  # fmt: skip
    document = {
        "kind": checkpoint.manifest.kind, "backend": checkpoint.manifest.backend, "licence": "none",
        "commercial": True, "pipeline": checkpoint.manifest.pipeline, "folder": str(checkpoint.folder),
        "settings": dict(checkpoint.manifest.settings), **({"parts": parts} if parts else {}),
    }  # fmt: skip
    file = root / f"{checkpoint.manifest.backend}.yaml"
    file.write_text(json.dumps(document))  # JSON is YAML
    return str(file)


def settings(**keys: str) -> Settings:
    return Settings(plate=PlateSettings(**keys), models=ModelsSettings(runtime=RuntimeSettings("cpu")))


def saved(backend: str, root: Path, parts: Mapping[str, Any] | None = None, **more: Any) -> str:
    (root / backend).mkdir(parents=True)
    return manifest(painters.save(backend, root / backend, STEPS | more, parts), root)


def clip_vectors(root: Path, keys: tuple[str, ...]) -> str:
    fresh = torch.Generator().manual_seed(3)
    save_file({key: torch.randn(2, painters.TEXT, generator=fresh) * 3 for key in keys}, root / "kelp.safetensors")
    return str(root / "kelp.safetensors")


@pytest.mark.parametrize("backend", ["sd21", *HEAVY])
def test_a_picture_from_words_becomes_layers(backend: str, bench: Bench, tmp_path: Path) -> None:
    """Made, its depth estimated, taken apart: nothing but words comes in."""
    generator, depth = saved(backend, tmp_path), manifest(tiny.save("depth_anything", tmp_path / "depth"), tmp_path)
    words = PlateGeneration("a bay", "fog", "moody", aspect="3:2")
    request = BuildLayersRequest(PlateSource(generation=words), PlateLayers(count=2))
    out, _ = bench.run(run_layers, request, settings(generation_backend=generator, depth_backend=depth))
    picture = images.read_picture(out / "generated.png")
    assert picture.shape == (64, 96, 3)
    stack = open_layers(out / "layers").stack
    assert stack.camera.wh == (96, 64)
    report = json.loads((out / "report.json").read_text())
    assert report["backends"]["depth"].startswith("depth_anything")
    other = BuildLayersRequest(PlateSource(generation=PlateGeneration("a hill", aspect="3:2")), PlateLayers(count=2))
    changed, _ = bench.run(run_layers, other, settings(generation_backend=generator, depth_backend=depth))
    assert not np.array_equal(images.read_picture(changed / "generated.png"), picture)


@pytest.mark.parametrize(("backend", "nets", "keys"), [
    ("sd21", "several", ("emb_params",)),
    pytest.param("sdxl", "several", ("clip_l", "clip_g"), marks=pytest.mark.slow),
    pytest.param("sdxl", "union", ("clip_l", "clip_g"), marks=pytest.mark.slow),
])  # fmt: skip
def test_several_controls_and_a_concept(
    backend: str, nets: str, keys: tuple[str, ...], bench: Bench, tmp_path: Path
) -> None:
    if nets == "union":
        parts = {"controlnet": painters.union()}
    else:
        parts = {f"controlnet_{kind}": painters.controlnet(backend == "sdxl") for kind in ("depth", "edges")}
    generator = saved(backend, tmp_path, parts, control_weight=2.0)
    configured = settings(
        generation_backend=generator, depth_backend=manifest(tiny.save("depth_anything", tmp_path / "d"), tmp_path)
    )
    guide = bench.picture("guide.png", still()[0])
    controls = (ControlPicture("depth", guide), ControlPicture("edges", guide))
    concept = LearnedConcept("<kelp>", clip_vectors(tmp_path, keys))

    def made(controls: tuple[ControlPicture, ...], concepts: tuple[LearnedConcept, ...]) -> Array:
        words = PlateGeneration("a <kelp> bay", controls=controls, concepts=concepts, aspect="3:2")
        out, _ = bench.run(run_layers, BuildLayersRequest(PlateSource(generation=words), PlateLayers(count=2)),
                           configured)  # fmt: skip
        return images.read_picture(out / "generated.png")

    pictures = [made((), ()), made(controls[:1], ()), made(controls, ()), made(controls, (concept,))]
    for i, picture in enumerate(pictures):
        assert all(not np.array_equal(picture, other) for other in pictures[:i]), i
    if nets == "several":  # a union takes every kind
        with pytest.raises((InvalidRequest, Unsupported), match="expected depth or edges, got pose"):
            made((ControlPicture("pose", guide),), ())


@pytest.mark.parametrize("backend", ["sdxl_inpaint", pytest.param("flux_fill", marks=pytest.mark.slow)])
def test_margins_hidden_parts_and_key_frames_are_painted_by_a_model(
    backend: str, bench: Bench, tmp_path: Path
) -> None:
    more = {"refine": 0.5} if backend == "sdxl_inpaint" else {}
    configured = settings(inpainting_backend=saved(backend, tmp_path, **more))
    picture, depth = still()
    code = np.rint((1 / depth - 1 / 40) / (1 / 4 - 1 / 40) * 65535).astype(np.uint16)
    mask = np.zeros((64, 96), np.uint8)
    mask[2:9, 2:20] = 255
    source = PlateSource(
        bench.picture("a.png", picture), near=4, far=40, depth=bench.picture("z.png", code),
        generation=PlateGeneration("a meadow"),
    )
    cut = PlateLayers(count=2, outpaint=PlateMargins(8, 4, 8, 4), inpaint=bench.picture("m.png", mask))
    camera = PlateCamera("truck=right:2.5", frames=2, repaint=True)
    out, _ = bench.run(run_plate, AnimatePlateRequest(source, cut, camera), configured)
    frame = images.read_picture(out / "frames" / "0000.png").astype(int)
    kept = mask == 0
    assert np.abs(frame[kept] - picture[kept]).max() <= 2
    assert (np.abs(frame[~kept] - picture[~kept]).max(-1) > 3).mean() > 0.5
    report = json.loads((out / "report.json").read_text())
    assert report["backends"]["inpainting"].startswith(backend)
    assert report["repainted"]["keys"] == [1]
    embedded, _ = bench.run(run_plate, AnimatePlateRequest(
        PlateSource(source.path, near=4, far=40, depth=source.depth), cut, camera))  # fmt: skip
    assert not np.array_equal(frame, images.read_picture(embedded / "frames" / "0000.png"))


def test_what_a_thing_is_the_model_says(bench: Bench, tmp_path: Path) -> None:
    """A random model sees nothing anywhere, which is refused; colours alone would have found the post."""
    configured = settings(segmentation_backend=manifest(tiny.save("sam", tmp_path / "sam"), tmp_path))
    picture, depth = still()
    code = np.rint((1 / depth - 1 / 40) / (1 / 4 - 1 / 40) * 65535).astype(np.uint16)
    source = PlateSource(bench.picture("a.png", picture), near=4, far=40, depth=bench.picture("z.png", code))
    cut = PlateLayers(count=2, things=(PlateThing("post", clicks=((46, 30),), box=(30, 5, 60, 60)),))
    with pytest.raises(InvalidRequest, match="selection 'post': expected a thing there, found nothing"):
        bench.run(run_layers, BuildLayersRequest(source, cut), configured)
    out, _ = bench.run(run_layers, BuildLayersRequest(source, cut))
    assert "post" in [layer.name for layer in open_layers(out / "layers").stack]


@pytest.mark.slow
def test_a_model_takes_a_picture_apart(bench: Bench, tmp_path: Path) -> None:
    configured = settings(layered_backend=saved("qwen_layered", tmp_path, true_cfg=1.0))
    picture, _ = still()
    source = PlateSource(bench.picture("a.png", picture), near=2, far=20, generation=PlateGeneration("a post"))
    request = AnimatePlateRequest(source, PlateLayers(count=3, separate=True), PlateCamera("truck=left:0.1", frames=2))
    out, facts = bench.run(run_plate, request, configured)
    assert facts["layers"] == 3
    layers = open_layers(out / "layers").stack.layers
    assert [layer.median_depth for layer in layers] == pytest.approx([20, 2 / (0.5 + 0.05) * 1, 2], rel=0.7)
    assert np.abs(images.read_picture(out / "frames" / "0000.png").astype(int) - picture).max() <= 2
    assert json.loads((out / "report.json").read_text())["backends"]["separation"].startswith("qwen_layered")


@pytest.mark.parametrize(("request_", "key"), [
    (lambda path, z: BuildLayersRequest(PlateSource(generation=PlateGeneration("a bay"))), "plate.generation_backend"),
    (lambda path, z: BuildLayersRequest(PlateSource(path)), "plate.depth_backend"),
    (lambda path, z: BuildLayersRequest(PlateSource(path, depth=z, generation=PlateGeneration("x"))),
     "plate.inpainting_backend"),
    (lambda path, z: BuildLayersRequest(PlateSource(path, generation=PlateGeneration("x")), PlateLayers(separate=True)),
     "plate.layered_backend"),
])  # fmt: skip
def test_without_models_the_key_is_named(bench: Bench, request_: Callable[[str, str], Any], key: str) -> None:
    picture, depth = still()
    request = request_(bench.picture("a.png", picture), bench.picture("z.png", (depth * 100).astype(np.uint16)))
    with pytest.raises((Unsupported, InvalidRequest), match=key):
        bench.run(run_layers, request)


@pytest.mark.parametrize("key", ["generation_backend", "depth_backend", "segmentation_backend", "inpainting_backend",
                                 "layered_backend"])  # fmt: skip
def test_weights_that_are_absent_are_said_with_the_key(bench: Bench, key: str) -> None:
    picture, depth = still()
    path, z = bench.picture("a.png", picture), bench.picture("z.png", (depth * 100).astype(np.uint16))
    words, thing = PlateGeneration("x"), (PlateThing("post", ((46, 30),)),)
    request = {
        "generation_backend": BuildLayersRequest(PlateSource(generation=words)),
        "depth_backend": BuildLayersRequest(PlateSource(path)),
        "segmentation_backend": BuildLayersRequest(PlateSource(path, depth=z), PlateLayers(things=thing)),
        "inpainting_backend": BuildLayersRequest(PlateSource(path, depth=z, generation=words)),
        "layered_backend": BuildLayersRequest(PlateSource(path, generation=words), PlateLayers(separate=True)),
    }[key]
    with pytest.raises((Unsupported, InvalidRequest), match=f"plate.{key}"):
        bench.run(run_layers, request, settings(**{key: "no-such-checkpoint"}))

"""The whole way with learned backends: tiny random checkpoints of the real classes, named by the configuration."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from examples.film_sets import FilmSet
from geometry.guides import GuideSource
from models.inbetween.noise import carried_noise
from models.runtime import RuntimeSettings
from models.training.style_lora import flow_matching_loss
from services.config import ModelsSettings, PrevisSettings, Settings, load
from services.errors import InvalidRequest, Unsupported
from services.media import images
from services.pipelines import painters, previs
from services.pipelines.blockout_shot import open_shot
from services.pipelines.requests import AnchorEdit, AnchorsRequest, PrevisRequest, PrevisShot, PrevisStyle, StyleRegion
from services.pipelines.stages import train_look as stage
from services.pipelines.stages.train_look import TrainingConfig
from tests.models import tiny_pipelines
from tests.pipelines.previs_shots import Studio, coloured, pictures, yard

pytestmark = pytest.mark.filterwarnings("ignore:.*FluxPosEmbed:FutureWarning")  # diffusers' own

PAIRS = {
    "commercial": ("qwen_controlnet", "wan_vace", (48, 32)), "paper": ("flux_sag", "cogvideox_ggi", (24, 16)),
    "no edges between": ("qwen_controlnet", "wan_flf", (48, 32)),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in list(PAIRS)[1:]]
COUNT, LONGEST = 8, 5


def named(backend: str, root: Path) -> str:
    """The manifest of a tiny checkpoint: a file, as a configuration may name it."""
    root.mkdir()
    checkpoint = tiny_pipelines.save(backend, root, {"steps": 2})
    parts = "".join(f"  {name}: {{folder: {folder}, licence: none, commercial: true}}\n"
                    for name, folder in checkpoint.parts.items())  # fmt: skip
    file = root / f"{backend}.yaml"
    file.write_text(
        f"kind: {checkpoint.manifest.kind}\nbackend: {backend}\nlicence: none\ncommercial: true\npipeline: true\n"
        f"folder: {checkpoint.folder}\nsettings: {dict(checkpoint.manifest.settings)}\n"
        + (f"parts:\n{parts}" if parts else "")
    )
    return str(file)


@pytest.fixture(scope="module", params=["commercial", *SLOW])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Studio, Settings]:
    anchors, inbetween, wh = PAIRS[request.param]
    root = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    names = [named(backend, root / backend) for backend in (anchors, inbetween)]
    settings = Settings(
        previs=PrevisSettings(*names, longest_arc=LONGEST), models=ModelsSettings(runtime=RuntimeSettings("cpu"))
    )
    return Studio(root, yard(COUNT, wh)), settings


def request(studio: Studio, **more: Any) -> PrevisRequest:
    wh = studio.set.path.cameras[0].wh
    shot = PrevisShot(studio.scene, width_px=wh[0], height_px=wh[1])
    return PrevisRequest(shot, PrevisStyle(studio.reference(2), 2, prompt="a red yard"), **more)


@pytest.fixture(scope="module")
def whole(place: tuple[Studio, Settings]) -> tuple[Path, dict[str, Any]]:
    studio, settings = place
    return studio.run(previs.run_previs, request(studio), settings)


def test_exact_anchors_stand_at_both_ends_of_every_arc(
    place: tuple[Studio, Settings], whole: tuple[Path, dict[str, Any]]
) -> None:
    frames, anchors = pictures(whole[0] / "frames"), pictures(whole[0] / "anchors")
    assert list(frames) == [f"{frame:04d}.png" for frame in range(COUNT)]
    assert {name: frames[name] for name in anchors} == anchors
    numbers = [anchor["frame"] for anchor in whole[1]["anchors"]]
    assert max(np.diff(numbers)) <= LONGEST - 1
    np.testing.assert_array_equal(images.read_picture(whole[0] / "anchors" / "0002.png"), coloured(place[0].set, 2))


def test_the_same_seed_is_the_same_video_and_another_is_not(
    place: tuple[Studio, Settings], whole: tuple[Path, dict[str, Any]]
) -> None:
    studio, settings = place
    studio.run(previs.run_previs, request(studio), settings)
    assert set(studio.ran) == {"report"}
    other, _ = studio.run(previs.run_previs, request(studio, seed=3), settings)
    assert "guides" not in studio.ran
    first, second = pictures(whole[0] / "frames"), pictures(other / "frames")
    assert first["0002.png"] == second["0002.png"]
    assert first["0000.png"] != second["0000.png"]


def test_made_again_from_nothing_it_is_the_same_video(
    place: tuple[Studio, Settings], whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    studio, settings = place
    elsewhere = Studio(tmp_path, studio.set)
    again, _ = elsewhere.run(previs.run_previs, request(elsewhere), settings)
    assert {"anchors", "frames"} <= set(elsewhere.ran)
    for folder in ("anchors", "frames"):
        assert pictures(again / folder) == pictures(whole[0] / folder)


def test_what_geometry_knows_reaches_the_models(
    place: tuple[Studio, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the painter and the video model are asked for, by pictures, edges, noise and words."""
    studio, settings = place
    asked: dict[str, list[Any]] = {"paint": [], "generate": []}
    load_model = painters.registry.load

    def watched(*arguments: Any) -> Any:
        model = load_model(*arguments)
        for name in asked:
            if hasattr(model, name):
                call = getattr(model, name)
                monkeypatch.setattr(
                    model, name, lambda *a, name=name, call=call: (asked[name].append(a), call(*a))[1]
                )
        return model

    monkeypatch.setattr(painters.registry, "load", watched)
    elsewhere = Studio(tmp_path, studio.set)
    out, facts = elsewhere.run(previs.run_previs, request(elsewhere), settings)
    source = open_shot(request(elsewhere).shot).guides()
    frames = [anchor["frame"] for anchor in facts["anchors"]]

    assert len(asked["paint"]) == len(frames) - 1  # one is the reference itself
    edges = {frame: source.guides(frame).soft_edges for frame in range(COUNT)}
    for view, style, _ in asked["paint"]:
        assert any(np.array_equal(view.soft_edges, edges[frame]) for frame in frames)
        assert view.warped is not None and view.warped.known.mean() > 0.3  # the reference comes before all others
        assert style.prompt == "a red yard"

    arcs = [(a, b) for a, b in pairwise(frames) if b - a > 1]
    assert len(asked["generate"]) == len(arcs)
    for (a, b), (arc, _) in zip(arcs, asked["generate"], strict=True):
        for picture, frame in ((arc.first, a), (arc.last, b)):
            np.testing.assert_array_equal(picture, images.read_picture(out / "anchors" / f"{frame:04d}.png"))
        for i in range(len(arc.soft_edges)):
            np.testing.assert_array_equal(arc.soft_edges[i], edges[min(a + i, b)])
        assert arc.depth.shape == arc.soft_edges.shape and arc.prompt == "a red yard"
        assert arc.noise is None or len(arc.noise) == len(arc.soft_edges)


def test_redoing_an_anchor_touches_its_arcs(
    place: tuple[Studio, Settings], whole: tuple[Path, dict[str, Any]]
) -> None:
    studio, settings = place
    again, facts = studio.run(previs.run_previs, request(studio, anchors=(AnchorEdit(0, redo=1),)), settings)
    assert facts["anchors"][0] == {"frame": 0, "relative_path": "anchors/0000.png", "source": "painted", "redo": 1}
    old, new = pictures(whole[0] / "frames"), pictures(again / "frames")
    next_anchor = facts["anchors"][1]["frame"]
    assert {int(name[:4]) for name in old if old[name] != new[name]} == set(range(next_anchor))


def test_what_the_models_cannot_do_is_said_before_anything_is_painted(place: tuple[Studio, Settings]) -> None:
    studio, settings = place
    plain = request(studio)
    with pytest.raises(InvalidRequest, match="style.prompt: expected a prompt, or an adapter"):
        studio.run(previs.run_previs, replace(plain, style=replace(plain.style, prompt="")), settings)
    parts = (StyleRegion("shed", (0, 0, 9, 9)),)
    with pytest.raises(InvalidRequest, match=r"style.regions\[0\].object: expected none"):
        studio.run(previs.run_previs, replace(plain, style=replace(plain.style, regions=parts)), settings)
    w, h = studio.set.path.cameras[0].wh
    odd = replace(plain, shot=replace(plain.shot, width_px=3 * w // 2 + 3, height_px=3 * h // 2 + 2))
    with pytest.raises(InvalidRequest, match="previs.inbetween_backend: expected a usable checkpoint, got .*expected"):
        studio.run(previs.run_previs, odd, settings)
    assert not {"anchors", "guides"} & set(studio.ran)


def test_a_painter_learns_the_reference_first(place: tuple[Studio, Settings]) -> None:
    studio, settings = place
    learning = replace(settings, previs=replace(settings.previs, style_steps=2, inbetween_backend="embedded"))
    plain = request(studio)
    silent = replace(plain, style=PrevisStyle(studio.reference(2), prompt=""))  # not aligned: its edges are guessed
    first, _ = studio.run(previs.run_previs, silent, learning)
    assert "learn the style" in studio.ran
    studio.run(previs.run_previs, replace(silent, anchors=(AnchorEdit(3),)), learning)
    assert "learn the style" not in studio.ran
    other, _ = studio.run(previs.run_previs, silent, replace(learning, previs=replace(learning.previs, style_steps=3)))
    assert pictures(first / "anchors") != pictures(other / "anchors")


def test_learning_lowers_the_loss(place: tuple[Studio, Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same draws of noise, with what the pipeline has trained and without."""
    studio, settings = place
    learning = replace(settings, previs=replace(settings.previs, style_steps=40))
    losses: list[float] = []
    train = stage.train_style

    def watched(model: Any, reference: Any, edges: Any, prompt: str, folder: Path, *rest: Any) -> Any:
        trained = train(model, reference, edges, prompt, folder, *rest)
        with model.runtime.inference():
            lesson = model.lesson(reference, edges, prompt)
            for adapter in (None, folder):
                model.wear(adapter)
                drawn = [float(flow_matching_loss(model, lesson, [99, i])) for i in range(8)]
                losses.append(float(np.mean(drawn)))
        return trained

    monkeypatch.setattr(stage, "train_style", watched)
    plain = request(studio, seed=17)
    studio.run(previs.run_anchors, AnchorsRequest(plain.shot, plain.style, seed=17), learning)
    assert losses[1] < losses[0]


def test_training_goes_on_where_it_was_stopped(
    place: tuple[Studio, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps in three stages, of which the last one fails at first, and three at once."""
    studio, settings = place
    learning = replace(settings, previs=replace(settings.previs, style_steps=3))
    wanted = AnchorsRequest(**{f.name: getattr(request(studio, seed=9), f.name) for f in fields(AnchorsRequest)})
    began: list[int] = []
    train = previs.train_look

    def watched(*, config: TrainingConfig, **rest: Any) -> None:
        began.append(config.begun)
        if began == [0, 1, 2]:
            raise InterruptedError("the worker is gone")
        train(config=config, **rest)

    monkeypatch.setattr(previs, "LESSON", 1)
    monkeypatch.setattr(previs, "train_look", watched)
    with pytest.raises(InterruptedError):
        studio.run(previs.run_anchors, wanted, learning)
    parts, _ = studio.run(previs.run_anchors, wanted, learning)
    assert began == [0, 1, 2, 2]
    monkeypatch.setattr(previs, "LESSON", 3)
    whole, _ = studio.run(previs.run_anchors, wanted, learning)
    assert began[4:] == [0]
    assert pictures(parts / "anchors") == pictures(whole / "anchors")


def test_checkpoints_that_cannot_be_used(place: tuple[Studio, Settings], tmp_path: Path) -> None:
    studio, settings = place
    empty = replace(settings, previs=PrevisSettings("qwen-image-union", "embedded"),
                    models=ModelsSettings(folder=str(tmp_path)))  # fmt: skip
    with pytest.raises(Unsupported, match="previs.anchors_backend: checkpoint qwen-image-union: no model_index"):
        studio.run(previs.run_previs, request(studio), empty)
    with pytest.raises(Unsupported, match="flux1-dev-hed.* does not allow commercial work"):
        studio.run(previs.run_previs, request(studio, anchors_backend="flux1-dev-hed"), settings)
    wrong = replace(settings.previs, anchors_backend=settings.previs.inbetween_backend)
    with pytest.raises(InvalidRequest, match="expected one for anchors, got one for inbetween"):
        studio.run(previs.run_previs, request(studio), replace(settings, previs=wrong))


@pytest.mark.parametrize(("spoil", "message"), [
    ("pickle", "expected .*safetensors in .*, got .*bin"),
    ("cut", "1 tensor.s. of .* are missing"),
])  # fmt: skip
def test_spoiled_weights_are_found_before_anything_is_drawn(tmp_path: Path, spoil: str, message: str) -> None:
    from safetensors.torch import load_file, save_file

    studio = Studio(tmp_path, yard(COUNT, (48, 32)))
    manifest = named("qwen_controlnet", tmp_path / "qwen")
    (weights,) = (tmp_path / "qwen").rglob("transformer/*.safetensors")
    if spoil == "pickle":
        weights.rename(weights.with_suffix(".bin"))
    else:
        tensors = load_file(weights)
        tensors.pop(sorted(tensors)[0])
        save_file(tensors, weights, {"format": "pt"})
    settings = Settings(previs=PrevisSettings(manifest), models=ModelsSettings(runtime=RuntimeSettings("cpu")))
    with pytest.raises(Unsupported, match=f"(?s)previs.anchors_backend: .*({message})"):
        studio.run(previs.run_previs, request(studio), settings)
    assert "guides" not in studio.ran


def source_of(film_set: FilmSet) -> GuideSource:
    return GuideSource(film_set.instances, film_set.path)


def test_weights_of_another_class_are_found_before_anything_is_drawn(place: tuple[Studio, Settings]) -> None:
    studio, settings = place
    theirs = Path(settings.previs.inbetween_backend)
    file = theirs.with_name("disguised.yaml")
    file.write_text(theirs.read_text().replace("kind: inbetween", "kind: anchors").replace(
        f"backend: {theirs.stem}", f"backend: {Path(settings.previs.anchors_backend).stem}"))  # fmt: skip
    wrong = replace(settings, previs=replace(settings.previs, anchors_backend=str(file), inbetween_backend="embedded"))
    other = PrevisShot(studio.scene, frames=3, width_px=72, height_px=48)
    with pytest.raises(Unsupported, match="previs.anchors_backend: checkpoint disguised: .*expected"):
        studio.run(previs.run_previs, replace(request(studio), shot=other), wrong)
    assert "guides" not in studio.ran


def test_noise_stays_on_surfaces_and_white() -> None:
    source = source_of(yard(5, (96, 64)))
    noise = carried_noise(source, range(5), (4, 32, 48), [3])
    assert noise is not None
    assert noise.shape == (5, 4, 32, 48)
    assert abs(float(noise.mean())) < 0.02
    assert float(noise.std()) == pytest.approx(1, abs=0.02)
    way = source.flow(4, 0)
    seen = way.visible[1::2, 1::2]
    column, row = (way.target_px[1::2, 1::2] / 2).astype(int)[seen].T
    assert np.corrcoef(noise[4, :, seen].ravel(), noise[0, :, row, column].ravel())[0, 1] > 0.3
    assert carried_noise(source, range(5), (0, 64, 96), [3]) is None


@pytest.mark.parametrize("name", ["gpu-24gb", "gpu-80gb"])
def test_configurations_for_gpus_name_checkpoints_for_commercial_work(name: str) -> None:
    from models.checkpoints import read_manifest

    config = load(name)
    for kind, manifest in (("anchors", config.previs.anchors_backend), ("inbetween", config.previs.inbetween_backend)):
        assert read_manifest(manifest, kind).commercial
    assert not config.models.allow_noncommercial
    assert config.models.runtime.device == "cuda"

"""The score of results whose quality is known by construction."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks.insertion import ROWS, Quality, score
from benchmarks.markdown import figure_table
from benchmarks.run_memory import forth_and_back
from examples.small_scene import camera_path, make_scene
from examples.truth import place_hero, render_truth
from geometry import frames as camera_files
from geometry import rigid
from services.media import images

FRAMES = (0, 1, 2)


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("truth")
    path = camera_path("arc", 3, (128, 72))
    render_truth(make_scene(), path, FRAMES, out, with_object=place_hero(path, frame=0), spp=4, seed=1)
    return out


@pytest.fixture
def perfect(truth: Path, tmp_path: Path) -> Path:
    """A job's output folder that equals the truth, in a world of another size, place and direction."""
    for ours, theirs in (("composite", "composite"), ("masks", "visible"), ("effect", "change")):
        shutil.copytree(truth / theirs, tmp_path / ours)
    for f in FRAMES:  # everything that differs is effect
        differs = (images.read_picture(truth / "plate" / f"{f:04d}.png") != images.read_picture(
            truth / "composite" / f"{f:04d}.png")).any(-1)
        effect = images.read_mask(truth / "change" / f"{f:04d}.png")
        images.write_mask(tmp_path / "effect" / f"{f:04d}.png", np.maximum(effect, differs))
    scale, new_from_old = 3.0, rigid.look_at((1, 2, 3), (0, 0, 1))
    path = camera_files.path_from_cameras_json(json.loads((truth / "cameras.json").read_text()))
    moved = path.in_world(new_from_old, scale)
    (tmp_path / "cameras.json").write_text(json.dumps(camera_files.cameras_json_from_path(moved)))
    placed = np.array(json.loads((truth / "truth.json").read_text())["world_from_object"])
    placed = new_from_old @ np.diag([scale, scale, scale, 1]) @ placed
    (tmp_path / "report.json").write_text(json.dumps({"objects": [{"world_from_object": placed.tolist()}]}))
    return tmp_path


def test_a_perfect_result_is_perfect_in_any_gauge(truth: Path, perfect: Path) -> None:
    quality = score(truth, perfect)
    assert quality.solved_frames == 3
    assert quality.drift_p95_px < 1e-6
    assert quality.ate_of_path < 1e-9
    assert (quality.j_all, quality.j_worst, quality.f_all) == (1, 1, 1)
    assert quality.untouched_changed_px == 0
    assert quality.object_psnr_db == np.inf
    assert quality.contact_gap_px == 0
    assert quality.grain_ratio == 1 or np.isnan(quality.grain_ratio)
    assert quality.plate_effect_psnr_db < 40


def shift_masks(out: Path, frames: tuple[int, ...]) -> None:
    """Two pixels up."""
    for f in frames:
        mask = images.read_mask(out / "masks" / f"{f:04d}.png")
        images.write_mask(out / "masks" / f"{f:04d}.png", np.roll(mask, -2, 0))


def test_an_object_that_moves_drifts(truth: Path, perfect: Path) -> None:
    shift_masks(perfect, (1, 2))
    quality = score(truth, perfect)
    assert quality.centroid_drift_p95_px == pytest.approx(1.9)  # 95 % of the way from 0 to 2
    assert quality.j_worst < quality.j_all < 1


def test_an_object_that_always_floats_does_not_drift_but_has_a_gap(truth: Path, perfect: Path) -> None:
    shift_masks(perfect, FRAMES)
    quality = score(truth, perfect)
    assert quality.centroid_drift_p95_px == pytest.approx(0, abs=1e-6)
    assert quality.contact_gap_px == pytest.approx(2, abs=1e-6)


def test_a_touched_background_is_counted(truth: Path, perfect: Path) -> None:
    ours = images.read_picture(perfect / "composite" / "0001.png")
    ours[0, :5, 0] ^= 1
    images.write_picture(perfect / "composite" / "0001.png", ours)
    assert score(truth, perfect).untouched_changed_px == 5


def test_a_wrong_placement_is_seen_as_drift(truth: Path, perfect: Path) -> None:
    report = json.loads((perfect / "report.json").read_text())
    placed = np.array(report["objects"][0]["world_from_object"])
    placed[:3, 3] += 0.3 * placed[:3, 1]  # a third of its own unit upwards: parallax
    report["objects"][0]["world_from_object"] = placed.tolist()
    (perfect / "report.json").write_text(json.dumps(report))
    assert score(truth, perfect).drift_p95_px > 0.3


def test_every_row_of_the_table_is_a_figure_that_exists() -> None:
    measured = {"seconds", "first_frame_s", "peak_gib", "re_edit_first_s", "re_edit_s", "same_frames"}
    assert {field for _, field, _, _ in ROWS} == set(Quality.__dataclass_fields__) | measured
    text = figure_table(ROWS, {"dolly": {"drift_p95_px": 0.256, "same_frames": True}, "arc": {"drift_p95_px": 0.5}})
    assert "| drift p95 (px) | 0.26 | 0.50 | <= .5 |" in text
    assert "| same frames with 1 and 2 threads | True |  | True |" in text
    assert "contact gap" not in text


def test_a_long_clip_goes_forth_and_back(truth: Path, tmp_path: Path) -> None:
    longer = forth_and_back(truth, tmp_path / "long", 7)
    files = sorted((longer / "plate").glob("*.png"))
    assert len(files) == 7
    order = [next(f for f in FRAMES if path.samefile(truth / "plate" / f"{f:04d}.png")) for path in files]
    assert order == [0, 1, 2, 1, 0, 1, 2]

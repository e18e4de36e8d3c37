"""The figures of the previs benchmark on pictures whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import picture_metrics as pictures
from benchmarks import previs
from benchmarks.markdown import figure_table
from geometry.flow import Flow
from tests.pipelines.previs_shots import yard

GREY = np.full((20, 30, 3), 0.5)


def halves(column: int = 15) -> np.ndarray:
    picture = np.zeros((20, 30, 3))
    picture[:, column:] = 0.8
    return picture


def test_ssim() -> None:
    noise = np.random.default_rng(0).random((40, 40, 3))
    assert pictures.ssim(noise, noise) == pytest.approx(1)
    assert pictures.ssim(noise, 1 - noise) < 0
    assert pictures.ssim(noise, np.full_like(noise, 0.5)) < 0.1
    assert pictures.ssim(GREY, GREY * 0.8) == pytest.approx((2 * 0.5 * 0.4 + 1e-4) / (0.25 + 0.16 + 1e-4), rel=1e-3)


def test_silhouettes_count_where_the_truth_shows_them() -> None:
    lines = np.zeros((20, 30), bool)
    lines[:, [5, 15]] = True  # where column 5 is, nothing is to be seen
    found = pictures.silhouette_recall(lines, halves(), halves())
    assert (found.true, found.found) == (20, 20)
    assert pictures.silhouette_recall(lines, halves(17), halves()).share == 1  # 2 px away
    assert pictures.silhouette_recall(lines, halves(22), halves()).share == 0
    assert pictures.silhouette_recall(lines, GREY, halves()).share == 0
    assert (found + found).true == 40
    assert np.isnan(pictures.silhouette_recall(lines, GREY, GREY).share)


def test_warp_error_follows_the_flow() -> None:
    flow = Flow(np.tile(np.float32([3, 0]), (20, 30, 1)), np.arange(30)[None] < np.full((20, 1), 26))
    assert pictures.warp_error(halves(15), halves(18), flow) == pytest.approx(0, abs=1e-6)
    assert pictures.warp_error(halves(15), halves(18) + 0.1, flow) == pytest.approx(0.1, abs=1e-6)
    assert pictures.warp_error(halves(15), halves(15), flow) == pytest.approx(0.8 * 3 / 24)


def test_bled_pixels() -> None:
    ids = np.zeros((12, 12), int)
    ids[2:10, 2:6], ids[2:10, 6:10] = 1, 2
    colours = pictures.palette(3)
    picture = colours[ids]
    samples = np.kron(ids, np.ones((2, 2), int))
    samples[11, 15] = 1  # a thorn of object 1 in a pixel of object 2, at row 5 and column 7
    inner = pictures.inner_ids(samples, (12, 12))
    assert (inner[5, 3], inner[2, 4], inner[7, 8], inner[5, 7], inner[0, 0]) == (1, 0, 2, 0, 0)
    assert pictures.bled_pixels(picture, inner, colours, [1, 2]) == 0
    picture[5, 3], picture[2, 4] = colours[2], colours[2]  # inside, and on a silhouette
    assert pictures.bled_pixels(picture, inner, colours, [1, 2]) == 1
    assert pictures.bled_pixels(picture, inner, colours, [2]) == 0
    with pytest.raises(ValueError, match="at most 64"):
        pictures.palette(65)
    apart = np.abs(pictures.palette(64)[:, None].astype(int) - pictures.palette(64)).sum(-1)
    assert apart[~np.eye(64, dtype=bool)].min() == 72


def test_a_finished_run_is_scored(tmp_path: Path) -> None:
    """A run whose frames are the truth's, but for a slight haze."""
    truth = previs.Truth(tmp_path / "truth", yard(21, (48, 32)))
    assert (truth.held_out, truth.reference, truth.pairs) == ((0, 5, 10, 15, 20), 5, [(5, 6)])
    true = {frame: np.full((32, 48, 3), 40 + 7 * frame, np.uint8) for frame in range(21)}
    for frame, picture in true.items():
        previs.images.write_picture(truth.folder / f"{frame:04d}.png", picture)
        haze = 0 if frame == truth.reference else 10
        previs.images.write_picture(tmp_path / "out" / "frames" / f"{frame:04d}.png", picture + np.uint8(haze))
    (tmp_path / "out" / "report.json").write_text(json.dumps({"anchors": [1, 2, 3]}))
    found = previs.score(truth, tmp_path / "out", previs.write_blockout(truth.film_set, tmp_path / "yard.glb"))
    assert found.anchors == 3
    assert found.aligned_psnr == np.inf
    assert found.all_psnr == pytest.approx(20 * np.log10(255 / 10))
    assert found.seen_psnr == pytest.approx(found.all_psnr)
    assert found.warp_ratio == pytest.approx(17 / 7, rel=0.01)  # frame 6 is hazy, frame 5 the reference
    text = figure_table(previs.ROWS, {"yard": {"all_psnr": 28.13, "bled_px": 0}})
    assert "| held out, all (dB) | 28.1 | >= 20 |" in text
    assert "| pixels bled over an object id | 0 | 0 |" in text

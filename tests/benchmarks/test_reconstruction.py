"""The score of reconstructions whose quality is known by construction."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.clip_truth import RenderedTruth, Solved, tum_poses
from benchmarks.process import Run
from benchmarks.reconstruction import ROOT, job_figures, ratio_figures, score, shot_kinds, stock_figures
from benchmarks.reconstruction_table import ALL, ROWS, Row, table
from examples.shots import ShotKind, make_shot, render_shot, write_geometry
from examples.solids import turned
from geometry import frames as camera_files
from geometry import rigid
from geometry.render import make_renderer
from geometry.trajectory import CameraPath
from services.media import exr, images

WH = (128, 72)
FRAMES = 10
NEW_FROM_OLD, SCALE = rigid.look_at((1, 2, 3), (0, 0, 1)), 3.0
BELIEVED = 44  # rows
renderer = cache(make_renderer)


def write_truth(kind: ShotKind, out: Path, frames: int = FRAMES) -> RenderedTruth:
    write_geometry(make_shot(kind, frames, WH), out, renderer())
    return RenderedTruth(out)


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RenderedTruth]:
    kinds: tuple[ShotKind, ...] = ("static", "turntable", "follow", "glass")
    return {kind: write_truth(kind, tmp_path_factory.mktemp(kind)) for kind in kinds}


def write_perfect(truth: RenderedTruth, out: Path) -> Path:
    """A job's output folder that equals the truth, in a world of another size, place and direction; the mover's label
    is another, too."""
    similarity = NEW_FROM_OLD @ np.diag([SCALE, SCALE, SCALE, 1])
    write_cameras(out, truth.path.in_world(NEW_FROM_OLD, SCALE))
    timings = {"look": 1.0, "solve cameras": 2.0, "estimate depth": 4.0}
    (out / "report.json").write_text(json.dumps({"scene": {"kind": truth.camera}, "timings_s": timings}))
    for f in truth.path.frames:
        name = f"{f:04d}.png"
        exr.write_depth(out / "depth" / f"{f:04d}.exr", truth.depth(f) * np.float32(SCALE))
        images.write_mask(out / "confidence" / name, np.ones(WH[::-1]))
        images.write_picture(out / "motion" / name, 5 * truth.labels(f))
    movers = []
    for motion in truth.facts["movers"].values():
        poses = np.array([motion["world_from_mover"][str(f)] for f in truth.path.frames])
        track = similarity @ poses @ np.linalg.inv(poses[2]) @ np.linalg.inv(similarity)
        shown = [f for f in truth.path.frames if truth.labels(f).any()]
        depth = [SCALE * float(np.median(truth.depth(f)[truth.labels(f) > 0])) for f in shown]
        movers.append({"label": 5, "frames": shown, "depth": [None, *depth[1:]], "depth_sigma": [0.0] * len(shown),
                       "track": {"rest": 2, "frames": list(truth.path.frames), "world_from_rest": track.tolist()}})
    (out / "movers.json").write_text(json.dumps({"movers": movers}))
    return out


def write_cameras(out: Path, path: CameraPath) -> None:
    (out / "cameras.json").write_text(json.dumps(camera_files.cameras_json_from_path(path)))


@pytest.mark.parametrize("kind", ["static", "turntable", "follow", "glass"])
def test_a_perfect_result_is_perfect_in_any_gauge(truths: dict[str, RenderedTruth], kind: str, tmp_path: Path) -> None:
    figures = score(truths[kind], write_perfect(truths[kind], tmp_path))
    assert figures["kind_right"] is True
    assert figures["registered"] == 1
    exact = {"step_deg": 1e-5, "turn_deg": 1e-5, "focal": 1e-9, "drift_median_px": 1e-4, "drift_p95_px": 1e-4,
             "abs_rel": 1e-5, "wrong": 0, "false_motion": 0}
    exact |= {"ate": 1e-9} if kind != "follow" else {}
    exact |= {"support_p95_px": 1e-4, "support_deg": 1e-5, "mover_depth": 1e-6} if kind == "turntable" else {}
    assert {name: figures[name] for name in exact} == pytest.approx(dict.fromkeys(exact, 0.0), abs=1e-4)
    assert all(figures[name] <= most + 1e-12 for name, most in exact.items())  # type: ignore[operator]
    if kind != "follow":
        assert figures["tae"] == pytest.approx(figures["true_tae"], abs=1e-5) and figures["true_tae"] < 2e-3
        assert figures["opw"] == pytest.approx(figures["true_opw"], abs=1e-5)
    whole = ["delta", "coverage", "edge_recall", "edge_f", "right_trusted"]
    whole += ["motion_j", "motion_f"] if kind in ("turntable", "follow") else []
    whole += ["support_frames"] if kind == "turntable" else []
    assert {figures[name] for name in whole} == {1.0}
    assert ("ate" in figures) is (kind != "follow")
    assert np.isnan(figures["wrong_doubted"])  # type: ignore[call-overload]


def test_a_long_lens_and_a_wrong_kind_are_seen(truths: dict[str, RenderedTruth], tmp_path: Path) -> None:
    out = write_perfect(truths["follow"], tmp_path)
    path = Solved(out).path
    longer = replace(path.cameras[0], fx=path.cameras[0].fx * 1.1, fy=path.cameras[0].fy * 1.1)
    write_cameras(out, replace(path, cameras=(longer,) * len(path)))
    report = json.loads((out / "report.json").read_text())
    report["scene"]["kind"] = "locked"
    (out / "report.json").write_text(json.dumps(report))
    figures = score(truths["follow"], out)
    assert figures["kind_right"] is False
    assert figures["focal"] == pytest.approx(0.1)
    assert figures["turn_deg"] < 1e-5  # type: ignore[operator]
    assert figures["drift_p95_px"] > 1  # type: ignore[operator]


def test_a_camera_that_nods_once_is_seen_in_turn_and_drift(truths: dict[str, RenderedTruth], tmp_path: Path) -> None:
    out = write_perfect(truths["static"], tmp_path)
    path = Solved(out).path
    poses = path.camera_from_world.copy()
    poses[7] = turned(np.deg2rad(1.0), axis="x") @ poses[7]
    write_cameras(out, replace(path, camera_from_world=poses))
    figures = score(truths["static"], out)
    assert figures["turn_deg"] == pytest.approx(0.9, abs=0.05)  # the best common turn takes a tenth of it
    assert figures["step_deg"] == pytest.approx(np.sqrt(2 / 9), rel=1e-3)  # there and back, of nine steps
    one_degree_px = path.cameras[0].fx * np.deg2rad(1.0)
    assert 0.8 * one_degree_px < figures["drift_p95_px"] < 1.6 * one_degree_px  # type: ignore[operator]
    assert figures["drift_median_px"] < 0.3  # type: ignore[operator]


def test_depth_figures_follow_the_confidence(truths: dict[str, RenderedTruth], tmp_path: Path) -> None:
    truth = truths["glass"]
    out = write_perfect(truth, tmp_path)
    for f in truth.path.frames:
        unseen = truth.unsure(f, "glass", "mirror")
        depth = Solved(out).depth(f)
        exr.write_depth(out / "depth" / f"{f:04d}.exr", np.where(unseen, 1.5 * depth, depth).astype(np.float32))
        confidence = np.where(unseen, 0.2, 0.9)
        confidence[:BELIEVED] = 0.9  # the upper part of glass and mirror is believed
        images.write_mask(out / "confidence" / f"{f:04d}.png", confidence)
    figures = score(truth, out)
    unseen = np.stack([truth.unsure(f, "glass", "mirror")[::2, ::2] for f in truth.path.frames])
    assert figures["wrong"] == pytest.approx(unseen.mean(), rel=0.05)  # of all pixels but the sky's
    assert figures["wrong_doubted"] == pytest.approx(unseen[:, BELIEVED // 2 :].sum() / unseen.sum(), rel=0.01)
    assert figures["right_trusted"] == 1
    assert unseen[:, BELIEVED // 2 :].sum() < 0.1 * unseen.size  # so that the most confident 90 % hold none of it
    believed = unseen[:, : BELIEVED // 2].sum() / (unseen.size - unseen[:, BELIEVED // 2 :].sum())
    assert figures["abs_rel"] == pytest.approx(0.5 * believed, rel=0.25)


def test_masks_that_lag_and_swim_are_seen(truths: dict[str, RenderedTruth], tmp_path: Path) -> None:
    truth = truths["turntable"]
    out = write_perfect(truth, tmp_path)
    for f in truth.path.frames:
        images.write_picture(out / "motion" / f"{f:04d}.png", np.roll(5 * truth.labels(f), 4, axis=1))
    stored = json.loads((out / "movers.json").read_text())
    stored["movers"][0]["depth"] = [None if z is None else 1.2 * z for z in stored["movers"][0]["depth"]]
    track = np.array(stored["movers"][0]["track"]["world_from_rest"])
    track[-1] = track[-1] @ turned(np.deg2rad(2.0))
    stored["movers"][0]["track"]["world_from_rest"] = track.tolist()
    (out / "movers.json").write_text(json.dumps(stored))
    figures = score(truth, out)
    assert 0.6 < figures["motion_j"] < 0.95  # type: ignore[operator]
    assert 0 < figures["motion_f"] < 1  # type: ignore[operator]
    assert figures["false_motion"] > 0.005  # type: ignore[operator]
    assert figures["mover_depth"] == pytest.approx(0.2, rel=1e-3)
    assert figures["support_deg"] == pytest.approx(2.0, rel=1e-3)


def test_an_orbit_that_does_not_close_drifts_where_it_returns(tmp_path: Path) -> None:
    truth = write_truth("orbit", tmp_path / "truth", 40)
    out = write_perfect(truth, tmp_path)
    assert score(truth, out)["returned_p95_px"] < 1e-4  # type: ignore[operator]
    path = Solved(out).path
    poses = np.stack([p @ turned(np.deg2rad(0.05 * i)) for i, p in enumerate(path.camera_from_world)])
    write_cameras(out, replace(path, camera_from_world=poses))  # two degrees are missing at the end
    figures = score(truth, out)
    assert figures["returned_p95_px"] > 1.5 * figures["drift_median_px"] > 0  # type: ignore[operator]


def test_what_a_job_did_not_leave_is_not_measured_and_no_pass(
    truths: dict[str, RenderedTruth], tmp_path: Path
) -> None:
    out = write_perfect(truths["turntable"], tmp_path)
    shutil.rmtree(out / "motion")
    shutil.rmtree(out / "depth")
    figures = score(truths["turntable"], out)
    lines = table({"turntable": figures}).splitlines()
    for heading in ("motion J", "turning support: drift p95 (px)", "depth abs-rel, most confident 90 %"):
        assert next(line for line in lines if line.startswith(f"| {heading} |")).split("|")[2] == " not measured ! "
    assert next(line for line in lines if line.startswith("| drift of pinned points, p95")).split("|")[2] == " 0.00 "


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    failed = Run(1, 3.0, 2**30, ((1.0, {"stage": "x"}), (2.0, {"error": {"message": "the camera only turns"}})), "")
    figures = job_figures(failed, tmp_path)
    assert (figures["delivered"], figures["seconds"], figures["peak_gib"]) == (False, 3.0, 1.0)
    text = table({"pan": figures})
    assert "| cameras delivered | no ! | yes |" in text
    assert "| rotation, worst frame (deg) | not measured ! | <= 0.100 |" in text
    assert text.endswith("pan: {'message': 'the camera only turns'}")


def test_time_to_cameras_ends_with_their_stage(truths: dict[str, RenderedTruth], tmp_path: Path) -> None:
    out = write_perfect(truths["static"], tmp_path)
    assert job_figures(Run(0, 9.0, 0), out)["cameras_s"] == 3.0
    (out / "report.json").write_text(json.dumps({"timings_s": {"estimate depth": 4.0}}))
    assert "cameras_s" not in job_figures(Run(0, 9.0, 0), out)


def test_ratios_need_two_whole_solves() -> None:
    figures: dict[str, object] = {
        "cameras_s": 10.0, "stock_s": 40.0, "ate": 2e-4, "stock_ate": 1e-4, "registered": 1.0, "stock_registered": 1.0}
    assert ratio_figures(figures) == {"time_ratio": 0.25, "ate_ratio": 2.0}
    assert ratio_figures(figures | {"stock_registered": 0.5}) == {}
    assert ratio_figures({"registered": 1.0, "stock_registered": 1.0, "stock_s": 4.0}) == {}


def test_cells_mark_what_misses_its_goal() -> None:
    row = Row("figure", "x", ".1f", frozenset({"pan", "orbit"}), at_most=0.5, goal_for=frozenset({"pan"}))
    assert row.cell("pan", {"x": 0.4}) == "0.4"
    assert row.cell("pan", {"x": 0.7}) == "0.7 !"
    assert row.cell("pan", {"x": float("nan")}) == row.cell("pan", {}) == "not measured !"
    assert row.cell("orbit", {"x": 0.7}) == "0.7"
    assert row.cell("static", {"x": 0.7}) == ""
    assert all(row.shots <= ALL | {"clip"} and (row.at_least is None or row.at_most is None) for row in ROWS)


def test_shots_are_chosen_by_name() -> None:
    assert shot_kinds("orbit,static") == ["static", "orbit"]
    with pytest.raises(argparse.ArgumentTypeError, match="got 'crane'"):
        shot_kinds("static,crane")


def test_tum_poses_lie_between_their_neighbours(tmp_path: Path) -> None:
    half = np.sqrt(0.5)
    rows = [f"10.0 1 2 3 0 0 0 1\n# a remark\n10.1 3 2 3 0 {half} 0 {half}\n"]  # moved by 2, turned by 90 degrees
    (tmp_path / "poses.txt").write_text("".join(rows))
    poses = tum_poses(tmp_path / "poses.txt", [Path("10.0.png"), Path("10.05.png"), Path("10.1.png")])
    np.testing.assert_allclose(rigid.inverse(poses)[:, :3, 3], [[1, 2, 3], [2, 2, 3], [3, 2, 3]], atol=1e-9)
    # A camera turned by +90 degrees about y looks along world +x.
    np.testing.assert_allclose(poses[:, 2, :3], [[0, 0, 1], [half, 0, half], [1, 0, 0]], atol=1e-9)
    with pytest.raises(ValueError, match="expected a pose within 0.1 s of 10.3.png"):
        tum_poses(tmp_path / "poses.txt", [Path("10.3.png")])


def test_stock_colmap_and_our_process_never_share_libraries() -> None:
    code = "import sys, benchmarks.reconstruction; sys.exit('pycolmap' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
    code = "import sys, benchmarks.stock_colmap; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_stock_colmap_solves_a_rendered_clip(tmp_path: Path) -> None:
    render_shot(make_shot("static", 8, (480, 270)), tmp_path, seed=1)
    truth = RenderedTruth(tmp_path)
    figures = stock_figures(tmp_path / "plate", tmp_path / "stock", truth.path)
    assert figures["stock_registered"] == 1
    assert figures["stock_ate"] < 0.005  # type: ignore[operator]
    assert figures["stock_s"] > 0  # type: ignore[operator]

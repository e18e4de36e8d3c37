"""Reconstruction measured against truth, through the public command line, beside stock COLMAP on the same frames.

    python -m benchmarks.reconstruction --out DIR [--shots static,mover,...] [--frames 48] [--wh 640x360]
    python -m benchmarks.reconstruction --out DIR --clip FOLDER --truth-poses groundtruth.txt [--truth-focal-px F]

For every shot of ``examples.shots``: render it (once; kept in DIR/SHOT/truth), run ``backlot reconstruct`` on the plate
as a lossless sequence with an empty cache, then ``benchmarks.stock_colmap``, compare, and print a Markdown table; the
numbers are also in DIR/figures.json. ``!`` marks a goal that was missed or not measured.

How: ATE after the best similarity of the camera centres. Depth error on what stands still, after one scale for the
clip, the median of truth / depth; a pixel without depth among the most confident 90 % is wrong by 100 %. A depth edge
is a jump by more than 10 % between neighbours. Wrong depth is off by more than 10 %, doubted means confidence < .5.
Its steadiness: see ``benchmarks.steadiness``. Motion: all movers together. Drift: see ``benchmarks.pinned``. Neither
time to cameras holds a program's start.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks import metrics
from benchmarks.clip_truth import RenderedTruth, Solved, tum_poses
from benchmarks.pinned import Drift, drift, pin
from benchmarks.process import Run, run
from benchmarks.reconstruction_table import REAL, Figures, table
from benchmarks.steadiness import JudgedDepth, Steadiness, steadiness
from examples.make_demo_clip import raster, show_progress
from examples.shots import KINDS, SPP, ShotKind, make_shot, render_shot
from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.tracks import working_wh
from geometry.trajectory import CameraPath
from services.media import images
from services.media.clip import open_clip
from services.media.contact_sheet import evenly
from services.media.sequence import find_files

Array = np.ndarray
T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent
SEED = 7
ORBIT_FRAMES = 2.5  # times those of other shots: 3 degrees a frame
CONFIDENT_SHARE = 0.9
TOLERANCE_PX = 2.0
DEPTH_FRAMES, DEPTH_STEP = 24, 2  # depth is compared in so many frames, at every second row and column
SHOWN_SHARE = 0.001  # of the picture: less of a mover is no mask to be judged
CAMERAS_STAGE = "solve cameras"


def render(folder: Path, kind: ShotKind, frames: int, wh: tuple[int, int]) -> None:
    """Render a shot into ``folder`` unless it is there already, complete and with the same settings."""
    frames = round(ORBIT_FRAMES * frames) if kind == "orbit" else frames
    settings = {"kind": kind, "frames": frames, "wh": list(wh), "spp": SPP, "seed": SEED}
    done = folder / "settings.json"
    if done.exists() and json.loads(done.read_text()) == settings:
        return
    done.unlink(missing_ok=True)
    render_shot(make_shot(kind, frames, wh), folder, seed=SEED, report=show_progress)
    done.write_text(json.dumps(settings))


def reconstruct(clip: Path, out: Path) -> Run:
    """``backlot reconstruct`` from nothing; it may fail."""
    program = str(Path(sys.executable).with_name("backlot"))
    command = [program, "reconstruct", str(clip), "--out", str(out), "--no-cache", "--json"]
    return run(command, cwd=ROOT, environment={"BACKLOT_STORE": str(out.parent / "store")})  # not the user's own


def job_figures(done: Run, out: Path) -> Figures:
    """Whether it delivered, and what it cost."""
    figures: Figures = {
        "delivered": done.returncode == 0, "seconds": done.seconds, "peak_gib": done.peak_bytes / 2**30,
    }
    if done.returncode != 0:
        said = [e["error"] for _, e in done.events if e.get("error")]
        return figures | {"error": str(said[-1]) if said else done.errors[-500:]}
    timings = Solved(out).report["timings_s"]
    if CAMERAS_STAGE in timings:
        stages = list(timings)
        figures["cameras_s"] = sum(timings[s] for s in stages[: stages.index(CAMERAS_STAGE) + 1])
    return figures


# --- cameras -----------------------------------------------------------------------------------------------------


def camera_figures(solved: CameraPath, truth: CameraPath, *, travels: bool) -> Figures:
    """``travels``: the true camera does, so that its path has a length and a shape."""
    common = [f for f in solved.frames if f in truth]
    figures: Figures = {"registered": len(common) / len(truth)}
    if len(common) < 3:
        return figures
    ours, theirs = solved.select(common), truth.select(common)
    turn = metrics.rotation_error(ours.camera_from_world, theirs.camera_from_world)
    figures |= {"step_deg": turn.step_deg, "turn_deg": turn.worst_deg}
    if travels:
        figures["ate"] = metrics.pose_error(ours.centres, theirs.centres).ate_of_path
    ratios = [a.fx / b.fx for a, b in zip(ours.cameras, theirs.cameras, strict=True)]
    return figures | {"focal": float(np.median(np.abs(np.array(ratios) - 1)))}


def stock_figures(clip: Path, out: Path, truth: CameraPath) -> Figures:
    """Seconds and trajectory error of stock COLMAP on the frames that the job saw, on the working raster."""
    with open_clip(clip) as frames:
        wh = working_wh(frames.hw)
        for number in frames.numbers:
            images.write_picture(out / "pictures" / f"{number:06d}.png", frames.display(number, wh))
    done = run([sys.executable, "-m", "benchmarks.stock_colmap", str(out / "pictures"), str(out)], cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"stock_colmap: exit code {done.returncode}\n{done.errors[-3000:]}")
    result = json.loads((out / "stock.json").read_text())
    poses = {int(f): np.vstack([pose, [0, 0, 0, 1]]) for f, pose in result["poses"].items() if int(f) in truth}
    figures: Figures = {"stock_s": result["seconds"], "stock_registered": len(poses) / len(truth)}
    if len(poses) >= 3:
        centres = rigid.inverse(np.stack([poses[f] for f in sorted(poses)]))[:, :3, 3]
        figures["stock_ate"] = metrics.pose_error(centres, truth.select(sorted(poses)).centres).ate_of_path
    return figures


def ratio_figures(figures: Figures) -> Figures:
    """Ours / stock's, where both have a whole solve of the same clip."""
    names = {"time_ratio": ("cameras_s", "stock_s"), "ate_ratio": ("ate", "stock_ate")}
    shares = [figures.get(name, 0.0) for name in ("registered", "stock_registered")]
    if not all(isinstance(s, float) and s >= 0.9 for s in shares):
        return {}
    return {name: figures[a] / figures[b] for name, (a, b) in names.items()  # type: ignore[operator]
            if a in figures and b in figures}


# --- depth and motion --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _DepthSamples:
    """Of what stands still and has a true depth, over the clip, (N,) each; ``plain`` is neither glass nor mirror."""

    depth: Array
    confidence: Array
    truth: Array
    plain: Array


def depth_figures(truth: RenderedTruth, solved: Solved) -> tuple[Figures, float]:
    """And the clip's scale, true units per solved one."""
    found, edges = _depth_samples(truth, solved)
    error = metrics.confident_depth_error(found.depth, found.confidence, found.truth, CONFIDENT_SHARE)
    scale = metrics.scale_to(found.depth[found.plain], found.truth[found.plain])
    doubt = metrics.depth_doubt(found.depth, found.confidence, found.truth, scale)
    return {
        "abs_rel": error.abs_rel, "delta": error.delta, "coverage": error.coverage,
        "edge_recall": edges.recall, "edge_f": edges.f,
        "wrong": doubt.wrong, "wrong_doubted": doubt.wrong_doubted, "right_trusted": doubt.right_trusted,
    }, scale


def _depth_samples(truth: RenderedTruth, solved: Solved) -> tuple[_DepthSamples, metrics.EdgeCounts]:
    columns, edges = [], metrics.EdgeCounts()
    for frame in _some(solved.path.frames):
        depth, true_depth = solved.depth(frame), truth.depth(frame)
        edges += metrics.edge_counts(depth, true_depth, TOLERANCE_PX)
        thin = np.s_[::DEPTH_STEP, ::DEPTH_STEP]
        still = (truth.labels(frame) == 0)[thin] & (true_depth > 0)[thin]
        plain = ~truth.unsure(frame, "glass", "mirror")
        maps = (depth, solved.confidence(frame), true_depth, plain)
        columns.append([a[thin][still] for a in maps])
    return _DepthSamples(*(np.concatenate(parts) for parts in zip(*columns, strict=True))), edges


def _some(frames: Sequence[T]) -> list[T]:
    return [frames[i] for i in evenly(len(frames), DEPTH_FRAMES)]


def steadiness_figures(truth: RenderedTruth, solved: Solved, scale: float) -> Figures:
    """TAE and OPW from some frames to the next with the true cameras, and those of the truth itself."""
    ours, own = Steadiness(), Steadiness()
    steps = [pair for pair in itertools.pairwise(solved.path.frames) if all(frame in truth.path for frame in pair)]
    for pair in _some(steps):
        first, second = (_judged(truth, solved, frame, scale) for frame in pair)
        ours += steadiness(first, second, truth.path)
        own += steadiness(replace(first, depth=first.truth), replace(second, depth=second.truth), truth.path)
    return {"tae": ours.tae, "opw": ours.opw, "true_tae": own.tae, "true_opw": own.opw}


def _judged(truth: RenderedTruth, solved: Solved, frame: int, scale: float) -> JudgedDepth:
    true_depth = truth.depth(frame)
    still = (truth.labels(frame) == 0) & (true_depth > 0)
    return JudgedDepth(frame, np.float32(scale) * solved.depth(frame), true_depth, still)


def motion_figures(truth: RenderedTruth, solved: Solved) -> Figures:
    """Masks of all frames; J and F over those that show a mover."""
    j, f, alarms = [], [], []
    for frame in truth.path.frames:
        mask, true_mask = solved.labels(frame) > 0, truth.labels(frame) > 0
        alarms.append((mask & ~true_mask).mean())
        if true_mask.mean() > SHOWN_SHARE:
            j.append(metrics.iou(mask, true_mask))
            f.append(metrics.boundary_f(mask, true_mask, TOLERANCE_PX))
    figures: Figures = {"false_motion": float(np.mean(alarms))}
    return figures | ({"motion_j": float(np.mean(j)), "motion_f": float(np.mean(f))} if j else {})


def mover_labels(truth: RenderedTruth, solved: Solved) -> dict[int, int]:
    """The solve's label by true label: the one that covers most of it over the clip; absent when none does."""
    together = np.zeros((256, 256), np.int64)
    for frame in truth.path.frames:
        both = truth.labels(frame).astype(np.intp) * 256 + solved.labels(frame)
        together += np.bincount(both.ravel(), minlength=256 * 256).reshape(256, 256)
    movers = (int(label) for label in truth.facts["movers"])
    return {label: int(together[label, 1:].argmax()) + 1 for label in movers if together[label, 1:].any()}


def mover_depth_error(truth: RenderedTruth, solved: Solved, scale: float) -> float:
    """Median over movers and frames of the relative error of a mover's depth, its true one being its pixels' median."""
    assert solved.movers is not None
    errors = []
    for label, ours in mover_labels(truth, solved).items():
        mover = solved.movers[ours]
        for frame, depth in zip(mover.frames, mover.depth, strict=True):
            shown = truth.labels(frame) == label
            if shown.mean() > SHOWN_SHARE and np.isfinite(depth):
                errors.append(abs(scale * depth / np.median(truth.depth(frame)[shown]) - 1))
    return float(np.median(errors)) if errors else math.nan


# --- drift -------------------------------------------------------------------------------------------------------


def drift_figures(truth: RenderedTruth, solved: Solved) -> Figures:
    """Of points on what stands still, pinned in the first, middle and last frame (on an orbit in the first)."""
    frames = truth.path.frames
    chosen = frames[:1] if truth.kind == "orbit" else [frames[i] for i in evenly(len(frames), 3)]
    found = []
    for reference in (f for f in chosen if f in solved.path):
        where = (truth.labels(reference) == 0) & ~truth.unsure(reference, "glass", "mirror")
        points = pin(truth.path, truth.depth, reference, where, SEED)
        found.append(drift(points, solved.path, on_the_ray=solved.camera != "parallax"))
    together = Drift.joined(found)
    per_px = working_wh(truth.path.cameras[0].hw)[0] / truth.path.cameras[0].wh[0]
    figures = _percentiles(together.all * per_px, drift_median_px=50, drift_p95_px=95)
    return figures | _percentiles(together.returned * per_px, returned_p95_px=95)


def support_figures(truth: RenderedTruth, solved: Solved) -> Figures:
    """Of the turning support's points and turn, as its rigid track has them; relative to the middle frame."""
    label = mover_labels(truth, solved).get(1)
    track = solved.movers[label].track if solved.movers and label in solved.movers else None
    if track is None:
        return {}
    ours, theirs = solved.camera_from_rest(track), truth.camera_from_mover(1)
    reference = ours.frames[len(ours) // 2]
    points = pin(theirs, truth.depth, reference, truth.labels(reference) == 1, SEED)
    off = [_turn_from(ours, f, reference) @ _turn_from(theirs, f, reference).T for f in ours.frames]
    angles = rigid.rotation_angle(rigid.rigid(np.stack(off), np.zeros((len(off), 3))))
    figures = _percentiles(drift(points, ours, on_the_ray=False).all, support_p95_px=95)
    return figures | {"support_deg": float(np.degrees(np.max(angles))), "support_frames": len(ours) / len(theirs)}


def _turn_from(path: CameraPath, frame: int, reference: int) -> Array:
    """(3, 3) turn since the reference in the reference camera's axes: no world in it."""
    return path.pose(frame)[:3, :3] @ path.pose(reference)[:3, :3].T


def _percentiles(values: Array, **wanted: float) -> Figures:
    return {name: float(np.percentile(values, q)) for name, q in wanted.items()} if values.size else {}


# --- the runs ----------------------------------------------------------------------------------------------------


def score(truth: RenderedTruth, out: Path) -> Figures:
    """A job's output folder against the truth; what it does not hold is left out."""
    solved = Solved(out)
    figures: Figures = {"kind_right": solved.camera == truth.camera}
    figures |= camera_figures(solved.path, truth.path, travels=truth.camera == "parallax")
    figures |= drift_figures(truth, solved)
    scale = math.nan
    if solved.has_depth:
        depth, scale = depth_figures(truth, solved)
        figures |= depth | steadiness_figures(truth, solved, scale)
    if solved.has_motion:
        figures |= motion_figures(truth, solved)
    if solved.has_motion and solved.movers is not None and truth.facts["movers"]:
        figures["mover_depth"] = mover_depth_error(truth, solved, scale)
    if truth.kind == "turntable" and solved.has_motion:
        figures |= support_figures(truth, solved)
    return figures


def measure(folder: Path, *, stock: bool) -> Figures:
    """One job from nothing on the truth in ``folder``."""
    truth = RenderedTruth(folder / "truth")
    done = reconstruct(truth.folder / "plate", folder / "solved")
    figures = job_figures(done, folder / "solved")
    if figures["delivered"]:
        figures |= score(truth, folder / "solved")
    if stock and truth.camera == "parallax":
        figures |= stock_figures(truth.folder / "plate", folder / "stock", truth.path)
    return figures | ratio_figures(figures)


def measure_clip(clip: Path, poses: Path, focal_px: float | None, folder: Path, *, stock: bool) -> Figures:
    """One job from nothing on a real clip, whose pictures are named by the time they were taken."""
    files = find_files(clip)
    with open_clip(clip) as frames:
        wh = frames.hw[1], frames.hw[0]
    lens = Camera(focal_px or 1.0, focal_px or 1.0, wh[0] / 2, wh[1] / 2, wh)
    truth = CameraPath(tuple(files), (lens,) * len(files), tum_poses(poses, tuple(files.values())))
    done = reconstruct(clip, folder / "solved")
    figures = job_figures(done, folder / "solved")
    if figures["delivered"]:
        figures |= camera_figures(Solved(folder / "solved").path, truth, travels=True)
    if stock:
        figures |= stock_figures(clip, folder / "stock", truth)
    if focal_px is None:
        figures.pop("focal", None)
    return figures | ratio_figures(figures)


def shot_kinds(text: str) -> list[ShotKind]:
    wanted = text.split(",")
    for kind in wanted:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"expected some of {','.join(KINDS)}, got {kind!r}")
    return [kind for kind in KINDS if kind in wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shots", type=shot_kinds, default=list(KINDS), help=f"some of {','.join(KINDS)}")
    parser.add_argument("--frames", type=int, default=48, help="of a shot; an orbit has 2.5 times as many")
    parser.add_argument("--wh", type=raster, default=(640, 360), metavar="WxH")
    parser.add_argument("--no-stock", action="store_true", help="leave stock COLMAP out")
    parser.add_argument("--score-only", action="store_true", help="results lie in DIR already; times are not measured")
    parser.add_argument("--clip", type=Path, help="a real clip instead: a folder of pictures named by their times")
    parser.add_argument("--truth-poses", type=Path, help="its camera poses, a TUM trajectory")
    parser.add_argument("--truth-focal-px", type=float)
    arguments = parser.parse_args()
    if (arguments.clip is None) != (arguments.truth_poses is None):
        parser.error("--clip and --truth-poses belong together")
    arguments.out.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Figures] = {}
    stock = not arguments.no_stock
    if arguments.clip:
        columns[REAL] = measure_clip(
            arguments.clip, arguments.truth_poses, arguments.truth_focal_px, arguments.out / REAL, stock=stock)
    for kind in () if arguments.clip else arguments.shots:
        folder = arguments.out / kind
        if arguments.score_only:
            columns[kind] = score(RenderedTruth(folder / "truth"), folder / "solved")
        else:
            render(folder / "truth", kind, arguments.frames, arguments.wh)
            columns[kind] = measure(folder, stock=stock)
        (arguments.out / "figures.json").write_text(json.dumps(columns, indent=1))
    (arguments.out / "figures.json").write_text(json.dumps(columns, indent=1))
    print(table(columns))


if __name__ == "__main__":
    main()

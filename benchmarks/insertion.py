"""Insertion measured against rendered truth, through the public command line.

    python -m benchmarks.insertion --out DIR [--frames 48] [--wh 832x480] [--paths dolly,arc] [--re-edit] [--threads]

For every path: render the plate and the true composite (once; kept in DIR), run ``backlot insert`` on the plate as a
lossless sequence, with the true light and with the light estimated, compare, and print a Markdown table. The numbers
are also in DIR/figures.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks import metrics
from benchmarks.markdown import figure_table
from benchmarks.process import Run, run_job
from examples.make_demo_clip import raster, show_progress
from examples.small_scene import PathKind, Variant, camera_path, make_scene
from examples.truth import MAX_DEPTH, place_hero, render_truth
from geometry import frames as camera_files
from geometry import rigid
from geometry.trajectory import CameraPath
from services.media import images

Array = np.ndarray
ROOT = Path(__file__).resolve().parent.parent
SPP, SHUTTER_SAMPLES, GRAIN, SEED = 24, 4, 0.006, 7
YAW_DEG, OTHER_YAW_DEG = -20.0, 40.0
OCCLUDED = 0.02  # share of the hero that is hidden in an occluded frame; fully hidden frames count too
TOLERANCE_PX = 2.0


def render(folder: Path, kind: PathKind, frames: int, wh: tuple[int, int], variant: Variant = "textured") -> None:
    """Render the truth of one path into ``folder`` unless it is there already, complete and with the same settings."""
    settings = {"kind": kind, "frames": frames, "wh": list(wh), "variant": variant, "spp": SPP, "seed": SEED,
                "max_depth": MAX_DEPTH,
                "shutter_samples": SHUTTER_SAMPLES, "grain_sigma": GRAIN, "yaw_deg": YAW_DEG}
    done = folder / "settings.json"
    if done.exists() and json.loads(done.read_text()) == settings:
        return
    done.unlink(missing_ok=True)
    path = camera_path(kind, frames, wh)
    render_truth(
        make_scene(variant), path, path.frames, folder, with_object=place_hero(path, frame=0, yaw_deg=YAW_DEG),
        spp=SPP, seed=SEED, shutter_samples=SHUTTER_SAMPLES, grain_sigma=GRAIN, report=show_progress,
    )
    done.write_text(json.dumps(settings))


def insert(
    truth: Path, out: Path, *, lit: bool = True, yaw_deg: float = YAW_DEG, cached: bool = False,
    threads: int | None = None, more: Sequence[str] = (),
) -> Run:
    """``backlot insert`` with the truth's own words. Raises ``RuntimeError`` with its messages when it fails."""
    facts = json.loads((truth / "truth.json").read_text())
    x, y = facts["at_px"]
    arguments = [
        str(truth / "plate"), "--object", str(truth / "hero.glb"), "--at", f"{x},{y}", "--frame", str(facts["frame"]),
        "--height-px", str(facts["height_px"]), "--yaw", str(yaw_deg),
        *(["--hdri", str(truth / "sky.exr")] if lit else []), *([] if cached else ["--no-cache"]), *more,
    ]
    return run_job("insert", arguments, out, cwd=ROOT, threads=threads)


@dataclass(frozen=True)
class Quality:
    """One result against its truth; shares and PSNR are means over frames unless the name says otherwise."""

    solved_frames: int
    ate_of_path: float
    drift_median_px: float
    drift_p95_px: float
    centroid_drift_p95_px: float  # of the visible mask, frames where the hero is not hidden; needs no cameras
    j_all: float
    j_occluded: float  # nan when no frame is occluded
    j_worst: float
    f_all: float
    order_share: float  # of the pixels along the whole hero's contour, in occluded frames; nan when there are none
    effect_iou: float
    untouched_changed_px: int  # must be 0
    object_psnr_db: float  # over all visible object pixels of the clip
    effect_psnr_db: float  # over the rest of what truly changed
    plate_effect_psnr_db: float  # what doing nothing gets there
    contact_gap_px: float
    grain_ratio: float  # of the object's grain to the true one's; nan when too little of it is seen


def score(truth: Path, out: Path) -> Quality:
    """Compare the output folder of one job with the truth."""
    facts = json.loads((truth / "truth.json").read_text())
    solved = camera_files.path_from_cameras_json(json.loads((out / "cameras.json").read_text()))
    true_path = camera_files.path_from_cameras_json(json.loads((truth / "cameras.json").read_text()))
    drift = _drift(facts, solved, json.loads((out / "report.json").read_text()))
    frames = [_Frame.read(truth, out, f) for f in true_path.frames]
    hidden = [f.hidden for f in frames]
    j = np.array([metrics.iou(f.mask > 0.5, f.visible > 0.5) for f in frames])
    occluded = np.array([h > OCCLUDED for h in hidden])
    common = [f for f in solved.frames if f in true_path]
    pose = metrics.pose_error(solved.select(common).centres, true_path.select(common).centres)
    return Quality(
        solved_frames=len(common),
        ate_of_path=pose.ate_of_path,
        drift_median_px=float(np.median(drift)),
        drift_p95_px=float(np.percentile(drift, 95)),
        centroid_drift_p95_px=_centroid_drift(frames, facts["frame"], occluded),
        j_all=float(j.mean()),
        j_occluded=float(j[occluded].mean()) if occluded.any() else float("nan"),
        j_worst=float(j.min()),
        f_all=float(np.mean([metrics.boundary_f(f.mask > 0.5, f.visible > 0.5, TOLERANCE_PX) for f in frames])),
        order_share=_order_share(frames, occluded),
        effect_iou=float(np.mean([metrics.iou(f.effect > 0, f.change > 0) for f in frames])),
        untouched_changed_px=sum(metrics.changed_outside(f.plate, f.ours, f.effect) for f in frames),
        object_psnr_db=_psnr(frames, "ours", lambda f: f.visible > 0.5),
        effect_psnr_db=_psnr(frames, "ours", lambda f: (f.change > 0) & (f.visible == 0)),
        plate_effect_psnr_db=_psnr(frames, "plate", lambda f: (f.change > 0) & (f.visible == 0)),
        contact_gap_px=_contact_gap(frames, occluded),
        grain_ratio=_grain_ratio(frames),
    )


@dataclass(frozen=True)
class _Frame:
    """Pictures (H, W, 3) uint8; masks (H, W) in [0, 1]."""

    number: int
    plate: Array
    composite: Array  # the truth
    ours: Array
    coverage: Array
    visible: Array
    change: Array
    mask: Array
    effect: Array
    hidden: float  # share of the hero behind something

    @classmethod
    def read(cls, truth: Path, out: Path, number: int) -> _Frame:
        name = f"{number:04d}.png"
        visible, coverage = images.read_mask(truth / "visible" / name), images.read_mask(truth / "coverage" / name)
        return cls(
            number=number,
            plate=images.read_picture(truth / "plate" / name),
            composite=images.read_picture(truth / "composite" / name),
            ours=images.read_picture(out / "composite" / name),
            coverage=coverage,
            visible=visible,
            change=images.read_mask(truth / "change" / name),
            mask=images.read_mask(out / "masks" / name),
            effect=images.read_mask(out / "effect" / name),
            hidden=float(1 - visible.sum() / coverage.sum()) if coverage.any() else 0.0,
        )


def _drift(facts: dict[str, Any], solved: CameraPath, report: dict[str, Any]) -> Array:
    """(N, A) px: the job's own cameras and placement against the truth, the placing frame's offset taken away."""
    placed = np.array(report["objects"][0]["world_from_object"])
    true_placed = np.array(facts["world_from_object"])
    in_object = rigid.transform(rigid.inverse(true_placed), np.array(facts["anchors_world"]))
    anchors = in_object @ placed[:3, :3].T + placed[:3, 3]
    frames = [f for f in solved.frames if str(f) in facts["anchors_px"]]
    px = np.stack([solved.camera(f).px_from_cam(rigid.transform(solved.pose(f), anchors)) for f in frames])
    truth_px = np.array([facts["anchors_px"][str(f)] for f in frames])
    return metrics.drift_px(px, truth_px, frames.index(facts["frame"]))


def _centroid_drift(frames: Sequence[_Frame], reference: int, occluded: Array) -> float:
    clear = [f for f, o in zip(frames, occluded, strict=True) if not o]
    px = np.stack([metrics.centroid_px(f.mask) for f in clear])[:, None]
    truth = np.stack([metrics.centroid_px(f.visible) for f in clear])[:, None]
    numbers = [f.number for f in clear]
    if reference not in numbers:
        return float("nan")
    return float(np.nanpercentile(metrics.drift_px(px, truth, numbers.index(reference)), 95))


def _order_share(frames: Sequence[_Frame], occluded: Array) -> float:
    """How often, along the contour of the whole hero, it is rightly in front of or behind what is there."""
    right = []
    for frame in (f for f, o in zip(frames, occluded, strict=True) if o):
        solid = (frame.coverage > 0.5).astype(np.uint8)
        along = (solid > 0) & (cv2.erode(solid, np.ones((5, 5), np.uint8)) == 0)
        right.append(((frame.mask > 0.5) == (frame.visible > 0.5))[along])
    return float(np.concatenate(right).mean()) if right else float("nan")


def _contact_gap(frames: Sequence[_Frame], occluded: Array) -> float:
    gaps = [metrics.contact_gap_px(f.mask, f.visible) for f, o in zip(frames, occluded, strict=True) if not o]
    known = [gap for gap in gaps if np.isfinite(gap)]
    return float(np.median(known)) if known else float("nan")


def _psnr(frames: Sequence[_Frame], picture: str, region: Callable[[_Frame], Array]) -> float:
    """Over all the pixels of a region in the clip together."""
    ours, theirs = [], []
    for frame in frames:
        chosen = region(frame)
        ours.append(getattr(frame, picture)[chosen])
        theirs.append(frame.composite[chosen])
    return metrics.psnr(np.concatenate(ours) / 255, np.concatenate(theirs) / 255)


def _grain_ratio(frames: Sequence[_Frame]) -> float:
    """Grain on the object's inside, ours against the true composite's, as both were seen by the same estimator."""
    ratios = []
    for frame in frames[:: max(len(frames) // 8, 1)]:
        inside = (frame.visible > 0.999) & (frame.mask > 0.999)
        if inside.sum() < 500:
            continue
        ours, theirs = (metrics.grain_sigma(p[..., 1] / 255, inside) for p in (frame.ours, frame.composite))
        ratios.append(ours / theirs)
    return float(np.median(ratios)) if ratios else float("nan")


@dataclass(frozen=True)
class ReEdit:
    """The same job with another yaw: nothing is solved again."""

    first_frame_s: float
    seconds: float


def re_edit(truth: Path, folder: Path) -> ReEdit:
    """Run once with the cache, then again with another yaw, and time the second."""
    insert(truth, folder / "before", cached=True)
    done = insert(truth, folder / "after", cached=True, yaw_deg=OTHER_YAW_DEG)
    first = done.first_with_file("composite/")
    return ReEdit(done.seconds if first is None else first, done.seconds)


def same_at_any_thread_count(truth: Path, folder: Path) -> bool:
    """Are the lossless frames of 1 and of 2 threads the same? Both start from one solve, which is exempt."""
    solve = folder / "solve"
    insert(truth, solve)
    for threads in (1, 2):
        insert(truth, folder / f"threads{threads}", threads=threads, more=["--scene", str(solve)])
    one, two = (sorted((folder / f"threads{n}" / "composite").glob("*.png")) for n in (1, 2))
    return len(one) == len(two) > 0 and all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


ROWS = (  # heading, field, format, goal
    ("solved frames", "solved_frames", "d", "all"),
    ("ATE / path", "ate_of_path", ".3%", ""),
    ("drift median (px)", "drift_median_px", ".2f", "<= .2"),
    ("drift p95 (px)", "drift_p95_px", ".2f", "<= .5"),
    ("mask centroid drift p95 (px)", "centroid_drift_p95_px", ".2f", ""),
    ("visible mask J, all frames", "j_all", ".3f", ">= .92"),
    ("visible mask J, occluded frames", "j_occluded", ".3f", ">= .95"),
    ("visible mask J, worst frame", "j_worst", ".3f", ""),
    ("visible mask F at 2 px", "f_all", ".3f", ">= .90"),
    ("depth order along the contour, occluded frames", "order_share", ".3f", ">= .95"),
    ("effect IoU", "effect_iou", ".3f", ">= .70"),
    ("changed pixels where effect is 0", "untouched_changed_px", "d", "0"),
    ("object PSNR (dB)", "object_psnr_db", ".1f", ">= 28 lit, 22 est."),
    ("effect PSNR (dB)", "effect_psnr_db", ".1f", ">= 30 lit, plate + 4 est."),
    ("the plate's own effect PSNR (dB)", "plate_effect_psnr_db", ".1f", ""),
    ("contact gap (px)", "contact_gap_px", ".2f", "<= 1"),
    ("grain on the object / truth", "grain_ratio", ".2f", ".9-1.1"),
    ("end to end (s)", "seconds", ".0f", "<= 360 for 48 frames"),
    ("first frame (s)", "first_frame_s", ".0f", ""),
    ("peak memory of a process (GiB)", "peak_gib", ".2f", "<= 4"),
    ("re-edit: first new frame (s)", "re_edit_first_s", ".1f", "<= 15"),
    ("re-edit: all (s)", "re_edit_s", ".0f", "<= 150"),
    ("same frames with 1 and 2 threads", "same_frames", "", "True"),
)


def measure(truth: Path, out: Path, *, lit: bool) -> dict[str, object]:
    """One job from nothing: figures by field name."""
    done = insert(truth, out, lit=lit)
    first = done.first_with_file("composite/")
    figures = asdict(score(truth, out)) | {"seconds": done.seconds, "peak_gib": done.peak_bytes / 2**30}
    return figures if first is None else figures | {"first_frame_s": first}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--wh", type=raster, default=(832, 480), metavar="WxH")
    parser.add_argument("--paths", default="dolly,arc", help="of dolly, arc, handheld, orbit")
    parser.add_argument("--variant", choices=("textured", "plain"), default="textured")
    parser.add_argument("--light", choices=("given", "estimated", "both"), default="both")
    parser.add_argument("--re-edit", action="store_true", help="also time a second run with another yaw")
    parser.add_argument("--threads", action="store_true", help="also compare the frames of 1 and 2 threads")
    parser.add_argument("--score-only", action="store_true", help="results lie in DIR already")
    arguments = parser.parse_args()
    columns: dict[str, dict[str, object]] = {}
    for kind in arguments.paths.split(","):
        truth = arguments.out / kind / "truth"
        render(truth, kind, arguments.frames, arguments.wh, arguments.variant)
        for light in ("given", "estimated") if arguments.light == "both" else (arguments.light,):
            out = arguments.out / kind / light
            columns[f"{kind}, light {light}"] = (
                asdict(score(truth, out)) if arguments.score_only else measure(truth, out, lit=light == "given")
            )
        first = columns[next(name for name in columns if name.startswith(kind))]
        if arguments.re_edit:
            edited = re_edit(truth, arguments.out / kind / "re-edit")
            first |= {"re_edit_first_s": edited.first_frame_s, "re_edit_s": edited.seconds}
        if arguments.threads:
            first["same_frames"] = same_at_any_thread_count(truth, arguments.out / kind)
        (arguments.out / "figures.json").write_text(json.dumps(columns, indent=1))
    print(figure_table(ROWS, columns))


if __name__ == "__main__":
    main()

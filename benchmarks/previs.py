"""Previs measured against rendered truth, through the public command line.

    python -m benchmarks.previs --out DIR [--scenes street,interior,prop] [--frames 46] [--wh 720x480]

For every scene: path trace some frames of the textured set (once; kept in DIR), run ``backlot previs`` on its bare
blockout with the true picture of one frame as reference, compare the others, and print a Markdown table. The
numbers are also in DIR/figures.json. The embedded backends, from nothing (``--no-cache``).
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks import picture_metrics as pictures
from benchmarks.markdown import figure_table
from benchmarks.metrics import psnr
from benchmarks.process import Run, run_job
from examples.film_sets import CAMERA, FilmSet, interior, true_picture, turntable, write_blockout
from examples.make_demo_clip import raster, show_progress
from examples.town import town
from geometry.coverage import SAMPLES_PER_PX, Coverage
from geometry.guides import GuideSource
from geometry.render import make_renderer
from geometry.sight import Sight
from services.artifacts.stages import JobContext
from services.artifacts.store import Store
from services.config import ModelsSettings, Settings
from services.media import images
from services.pipelines import previs
from services.pipelines.blockout_shot import open_shot
from services.pipelines.painters import Backend
from services.pipelines.requests import PrevisRequest, PrevisShot, PrevisStyle
from services.pipelines.stages.paint_anchor import Painter
from services.pipelines.style_inputs import Look

Array = np.ndarray
ROOT = Path(__file__).resolve().parent.parent
SCENES: dict[str, Callable[[int, tuple[int, int]], FilmSet]] = {
    "street": town, "interior": interior, "prop": turntable,
}
SPP, SEED = 48, 7
EVERY = 5  # frames from one that is compared to the next
SMALL, SMALL_FRAMES = (240, 160), 12  # for what is compared bit by bit, and for colours that must not bleed
ARC = 46  # frames


@dataclass(frozen=True)
class Truth:
    """A set with its true pictures; ``reference`` is the frame whose picture is given."""

    folder: Path
    film_set: FilmSet

    @property
    def frames(self) -> tuple[int, ...]:
        return self.film_set.path.frames

    @property
    def reference(self) -> int:
        return self.held_out[len(self.held_out) // 3]

    @cached_property
    def held_out(self) -> tuple[int, ...]:
        return tuple(self.frames[::EVERY])

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Frames that follow each other, of which both pictures are there."""
        return [(frame, frame + 1) for frame in self.held_out[1::3] if frame + 1 in self.frames]

    def picture(self, frame: int) -> Array:
        return images.read_picture(self.folder / f"{frame:04d}.png")

    def render(self, spp: int) -> None:
        """Frames that are not there yet with these settings."""
        settings = {"wh": list(self.film_set.path.cameras[0].wh), "frames": len(self.frames), "spp": spp, "seed": SEED}
        of_these = self.folder / "settings.json"
        if not of_these.exists() or json.loads(of_these.read_text()) != settings:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            of_these.write_text(json.dumps(settings))
        wanted = sorted({*self.held_out, *(frame for pair in self.pairs for frame in pair)})
        missing = [frame for frame in wanted if not (self.folder / f"{frame:04d}.png").exists()]
        renderer = make_renderer() if missing else None
        for count, frame in enumerate(missing, 1):
            assert renderer is not None
            picture = true_picture(self.film_set, frame, renderer, spp=spp, seed=SEED)
            images.write_picture(self.folder / f"{frame:04d}.png", picture)
            show_progress(count, len(missing))


def make(scene: Path, reference: Path, aligned: int, out: Path, wh: tuple[int, int], threads: int | None = None) -> Run:
    """``backlot previs`` from nothing. Raises ``RuntimeError`` with its messages when it fails."""
    arguments = [
        str(scene), "--camera", CAMERA, "--reference", str(reference), "--aligned-frame", str(aligned), "--size",
        f"{wh[0]}x{wh[1]}", "--no-cache",
    ]
    return run_job("previs", arguments, out, cwd=ROOT, threads=threads)


@dataclass(frozen=True)
class Quality:
    """One video against its truth; PSNR in dB over all compared frames together, but for the reference's."""

    anchors: int
    aligned_psnr: float  # the reference's own frame
    seen_psnr: float  # what the reference shows
    all_psnr: float
    all_ssim: float
    silhouette_recall: float
    warp_ratio: float  # exact-flow warp error, of the true render's
    warp_of_per_frame: float  # of that of frames painted one by one


def score(truth: Truth, out: Path, blockout: Path) -> Quality:
    source = GuideSource(truth.film_set.instances, truth.film_set.path)
    report = json.loads((out / "report.json").read_text())
    ours: list[Array] = []
    theirs: list[Array] = []
    seen: list[Array] = []
    recall = pictures.Recall()
    similar = []
    for frame in truth.held_out:
        if frame == truth.reference:
            continue
        made, true = _frame(out, frame), truth.picture(frame) / 255
        ours.append(made)
        theirs.append(true)
        seen.append(source.flow(frame, truth.reference).visible)
        silhouettes = source.guides(frame).lines.kinds[..., 0] > 0.5
        recall += pictures.silhouette_recall(silhouettes, made, true)
        similar.append(pictures.ssim(made, true))
    visible, a, b = np.stack(seen), np.stack(ours), np.stack(theirs)
    warps = [_warp_errors(truth, out, source, pair) for pair in truth.pairs]
    return Quality(
        anchors=len(report["anchors"]),
        aligned_psnr=psnr(_frame(out, truth.reference), truth.picture(truth.reference) / 255),
        seen_psnr=psnr(a, b, visible), all_psnr=psnr(a, b), all_ssim=float(np.mean(similar)),
        silhouette_recall=recall.share,
        warp_ratio=float(np.mean([made for made, _ in warps]) / np.mean([true for _, true in warps])),
        warp_of_per_frame=_against_per_frame(truth, out, blockout, source),
    )


def _frame(out: Path, frame: int) -> Array:
    return images.read_picture(out / "frames" / f"{frame:04d}.png") / 255


def _warp_errors(truth: Truth, out: Path, source: GuideSource, pair: tuple[int, int]) -> tuple[float, float]:
    flow = source.flow(*pair)
    made = pictures.warp_error(_frame(out, pair[0]), _frame(out, pair[1]), flow)
    return made, pictures.warp_error(truth.picture(pair[0]) / 255, truth.picture(pair[1]) / 255, flow)


def _against_per_frame(truth: Truth, out: Path, blockout: Path, source: GuideSource) -> float:
    """The embedded painter asked for two frames that follow each other, neither knowing of any other."""
    w, h = truth.film_set.path.cameras[0].wh
    shot = open_shot(PrevisShot(str(blockout), CAMERA, width_px=w, height_px=h))
    look = Look(truth.picture(truth.reference), truth.reference, {}, "", None, "")
    painter = Painter(Backend("anchors", "benchmark", None, ModelsSettings()), shot.guides(), look)
    pair = truth.pairs[-1]
    alone = [painter.paint(frame, {}, (SEED, frame)) / 255 for frame in pair]
    made, _ = _warp_errors(truth, out, source, pair)
    return made / pictures.warp_error(alone[0], alone[1], source.flow(*pair))


@dataclass(frozen=True)
class Exactness:
    """What must hold to the bit, on a small raster."""

    bled_px: int  # inside objects that the reference shows, each in a colour of its own
    same_with_1_and_2_threads: bool
    same_in_chunks: bool


def exactness(name: str, folder: Path) -> Exactness:
    film_set = SCENES[name](SMALL_FRAMES, SMALL)
    source, aligned = GuideSource(film_set.instances, film_set.path), SMALL_FRAMES // 3
    scene = write_blockout(film_set, folder / "blockout.glb")
    colours = pictures.palette(len(film_set.pieces) + 1)
    inner = {frame: _inner(source.sight(frame)) for frame in film_set.path.frames}
    reference = source.sight(aligned)
    images.write_picture(
        folder / "colours.png", Coverage(reference).composed(colours[_object_ids(reference, 1)].astype(np.float32))
    )
    for threads in (1, 2):
        make(scene, folder / "colours.png", aligned, folder / f"threads{threads}", SMALL, threads)
    made = {frame: images.read_picture(folder / "threads2" / "frames" / f"{frame:04d}.png") for frame in inner}
    known = np.unique(inner[aligned][inner[aligned] > 0]).tolist()
    return Exactness(
        bled_px=sum(pictures.bled_pixels(made[frame], inner[frame], colours, known) for frame in inner),
        same_with_1_and_2_threads=_same(folder / "threads1" / "frames", folder / "threads2" / "frames"),
        same_in_chunks=_chunked(scene, aligned, folder),
    )


def _object_ids(sight: Sight, per_px: int) -> Array:
    return np.append(sight.surface.topology.object_id, 0)[sight.faces(per_px)]


def _inner(sight: Sight) -> Array:
    return pictures.inner_ids(_object_ids(sight, SAMPLES_PER_PX), sight.camera.hw)


def _chunked(scene: Path, aligned: int, folder: Path) -> bool:
    """Frames of chunks of 5 against those of chunks as always."""
    whole = previs.CHUNK, previs.ARC_CHUNK
    previs.CHUNK = previs.ARC_CHUNK = 5
    try:
        in_process(scene, folder / "colours.png", aligned, folder / "chunks", SMALL)
    finally:
        previs.CHUNK, previs.ARC_CHUNK = whole
    return _same(folder / "chunks" / "frames", folder / "threads2" / "frames")


def in_process(scene: Path, reference: Path, aligned: int, out: Path, wh: tuple[int, int]) -> None:
    """As ``make`` does, in this process and with its own idea of chunks."""
    store = Store(str(out.parent / "store-chunks"), 2**34)

    def keep(message: dict) -> None:
        for file in message.get("files", ()):
            (out / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(store.path(file["key"], file["file"]), out / file["path"])

    context = JobContext(store, Settings(), keep, salt=str(previs.CHUNK))
    shot = PrevisShot(str(scene), CAMERA, width_px=wh[0], height_px=wh[1])
    previs.run_previs(PrevisRequest(shot, PrevisStyle(str(reference), aligned)), context)
    context.close()


def _same(one: Path, two: Path) -> bool:
    a, b = sorted(one.glob("*.png")), sorted(two.glob("*.png"))
    return len(a) == len(b) > 0 and all(x.read_bytes() == y.read_bytes() for x, y in zip(a, b, strict=True))


ROWS = (  # heading, field, format, goal
    ("style set-up (s)", "setup_s", ".0f", "0"),
    ("guides, all frames (s)", "guides_s", ".1f", "<= 5 for 46 of 720x480"),
    ("choosing anchors (s)", "choice_s", ".1f", ""),
    ("anchors", "anchors", "d", ""),
    ("anchors, all (s)", "anchors_s", ".1f", ""),
    ("frames between anchors, all (s)", "frames_s", ".1f", ""),
    ("a 46-frame arc, anchors included (s)", "arc_s", ".1f", "<= 60"),
    ("end to end (s)", "seconds", ".1f", ""),
    ("peak memory of a process (GiB)", "peak_gib", ".2f", ""),
    ("aligned reference, its own frame (dB)", "aligned_psnr", ".1f", ">= 30"),
    ("held out, seen in the reference (dB)", "seen_psnr", ".1f", ">= 24"),
    ("held out, all (dB)", "all_psnr", ".1f", ">= 20"),
    ("held out, all (SSIM)", "all_ssim", ".3f", ""),
    ("silhouette recall within 2 px", "silhouette_recall", ".3f", ">= .95"),
    ("exact-flow warp error / true render's", "warp_ratio", ".2f", "<= 1.3"),
    ("exact-flow warp error / per-frame synthesis'", "warp_of_per_frame", ".2f", "<= .5"),
    ("pixels bled over an object id", "bled_px", "d", "0"),
    ("same frames with 1 and 2 threads", "same_with_1_and_2_threads", "", "True"),
    ("same frames in other chunks", "same_in_chunks", "", "True"),
)


def measure(truth: Truth, folder: Path, wh: tuple[int, int], *, made: bool = False) -> dict[str, object]:
    """One job from nothing: figures by field name. ``made``: its results lie there already."""
    blockout, out = write_blockout(truth.film_set, folder / "blockout.glb"), folder / "result"
    figures: dict[str, object] = {"setup_s": 0.0}
    if not made:
        done = make(blockout, truth.folder / f"{truth.reference:04d}.png", truth.reference, out, wh)
        figures |= {"seconds": done.seconds, "peak_gib": done.peak_bytes / 2**30}
    timings = json.loads((out / "report.json").read_text())["timings_s"]
    per_arc = ARC / len(truth.frames)
    figures |= {
        "guides_s": timings["guides"], "choice_s": timings["choose anchors"], "anchors_s": timings["anchors"],
        "frames_s": timings["frames"], "arc_s": (timings["anchors"] + timings["frames"]) * per_arc,
    }
    return figures | asdict(score(truth, out, blockout))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", default=",".join(SCENES), help="of street, interior, prop")
    parser.add_argument("--frames", type=int, default=ARC)
    parser.add_argument("--wh", type=raster, default=(720, 480), metavar="WxH")
    parser.add_argument("--spp", type=int, default=SPP, help="samples a pixel of the truth")
    parser.add_argument("--score-only", action="store_true", help="results lie in DIR already")
    parser.add_argument("--no-exactness", action="store_true", help="leave out bleeding, threads and chunks")
    options = parser.parse_args(arguments)
    columns: dict[str, dict[str, object]] = {}
    for name in options.scenes.split(","):
        folder = options.out.absolute() / name
        truth = Truth(folder / "truth", SCENES[name](options.frames, options.wh))
        truth.render(options.spp)
        columns[name] = measure(truth, folder, options.wh, made=options.score_only)
        if not options.no_exactness:
            columns[name] |= asdict(exactness(name, folder / "exact"))
        (options.out / "figures.json").write_text(json.dumps(columns, indent=1))
    print(figure_table(ROWS, columns))


if __name__ == "__main__":
    main()

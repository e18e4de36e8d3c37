"""2.5D plates measured: how exact, how fast, how large.

    python -m benchmarks.plates --out DIR [--size-px 8192]

A painted landscape of five layers (``plate_scene``), composed, moved and set flowing with two threads, all from
nothing. Prints a Markdown table; the numbers are also in DIR/figures.json. Loops are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numba
import numpy as np

from benchmarks.markdown import figure_table
from benchmarks.metrics import psnr
from benchmarks.plate_scene import OUTPAINTED, landscape
from geometry import rigid
from geometry.layers import Layer, LayerStack
from geometry.moves import camera_path, parse_move
from geometry.plates.compose import Composer
from geometry.plates.fluid import Flowing
from geometry.plates.safe_box import SafeBox, safe_box

Array = np.ndarray
ROOT = Path(__file__).resolve().parent.parent
MOVE = "truck=right:0.3+dolly=in:0.3+pedestal=up:0.05"
PIVOT_M, FRAMES, THREADS = 6.0, 60, 2
FLUID_WH, PARALLAX_WH = (1280, 720), (1920, 1080)
POSES = 12  # at the corners of the safe box
ENLARGED = 4
A_LITTLE = SafeBox(np.full(3, -0.1), np.full(3, 0.1), 0.5)


@dataclass(frozen=True)
class Speed:
    fluid_s: float  # 60 frames
    parallax_fps: float


@dataclass(frozen=True)
class Exactness:
    recomposed_psnr: float
    recomposed_max: float  # code values of 255
    uncovered_px: int  # at the corners of the safe box
    same_with_1_and_2_threads: bool


@dataclass(frozen=True)
class Loop:
    seam: float
    contrast: float  # the least of the loop's middle third
    static_changed_px: int


@dataclass(frozen=True)
class Size:
    large_gb: float
    large_s: float


def speed() -> Speed:
    fluid, parallax = landscape(FLUID_WH), landscape(PARALLAX_WH, still=True)
    _warm(fluid)
    return Speed(_seconds(fluid, FLUID_WH, FRAMES), 16 / _seconds(parallax, PARALLAX_WH, 16))


def _warm(stack: LayerStack) -> None:
    composer = Composer(stack, stack.picture_camera.hw)
    composer.frame(stack.picture_camera, _inside(A_LITTLE, 0), time=3)


def _seconds(stack: LayerStack, wh: tuple[int, int], frames: int) -> float:
    """From the layers to the frames."""
    path = camera_path(parse_move(MOVE), stack.picture_camera, frames, pivot_depth=PIVOT_M)
    start = time.monotonic()
    composer = Composer(stack, (wh[1], wh[0]), period=frames)
    for frame in path.frames:
        composer.frame(path.camera(frame), path.pose(frame), time=frame)
    return time.monotonic() - start


def exactness() -> Exactness:
    stack = landscape(FLUID_WH)
    hw = stack.picture_camera.hw
    composer = Composer(stack, hw)
    here = composer.frame(stack.picture_camera, np.eye(4))
    error = np.abs(here.colour - _flattened(stack))
    box = safe_box(stack, hw)
    poses = [_inside(box, k) for k in range(POSES)]
    moved = [composer.frame(stack.picture_camera, pose, time=7) for pose in poses]
    numba.set_num_threads(1)
    again = Composer(stack, hw).frame(stack.picture_camera, poses[0], time=7)
    numba.set_num_threads(THREADS)
    return Exactness(
        recomposed_psnr=psnr(here.colour, _flattened(stack)), recomposed_max=255 * float(error.max()),
        uncovered_px=sum(int(frame.uncovered.sum()) for frame in moved),
        same_with_1_and_2_threads=bool((again.colour == moved[0].colour).all()),
    )


def _flattened(stack: LayerStack) -> Array:
    x0, y0, x1, y1 = stack.picture
    out = np.zeros((y1 - y0, x1 - x0, 3))
    for layer in stack:
        alpha = layer.alpha[y0:y1, x0:x1, None] / layer.white
        out = out * (1 - alpha) + layer.colour[y0:y1, x0:x1] / layer.white * alpha
    return out


def _inside(box: SafeBox, k: int) -> Array:
    """A pose at a corner of the safe box."""
    rng = np.random.default_rng([5, k])
    offset = np.where(rng.uniform(size=3) < 0.5, box.low, box.high)
    return rigid.rigid(np.eye(3), -offset)


def loop() -> Loop:
    """The lake by itself, at a locked camera."""
    lake = next(layer for layer in landscape(FLUID_WH) if layer.name == "lake")
    assert lake.motion is not None
    flowing, moves = Flowing.of(lake, FRAMES), (lake.motion != 0).any(-1)
    first = before = flowing.frame(0)
    steps, contrasts, changed = [], [], 0
    for frame in range(1, FRAMES + 1):
        now = flowing.frame(frame % FRAMES)
        steps.append(np.abs(now[moves].astype(np.int16) - before[moves]).mean())
        changed += int((now[~moves] != lake.colour[~moves]).any(-1).sum())
        if FRAMES / 3 <= frame <= 2 * FRAMES / 3:
            contrasts.append(now[moves].std() / first[moves].std())
        before = now
    return Loop(float(steps[-1] / np.median(steps)), float(min(contrasts)), changed)


def size(edge_px: int) -> Size:
    """In a process of its own, for its memory."""
    command = [sys.executable, "-m", "benchmarks.plates", "--one-frame", str(edge_px)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Size(**json.loads(done.stdout))


def one_frame(edge_px: int) -> Size:
    """A canvas of ``edge_px`` squared, what was outpainted included, in five still layers before a moved camera."""
    small = round(edge_px / ENLARGED / (1 + 2 * OUTPAINTED))
    stack = _enlarged(landscape((small, small), still=True))
    start = time.monotonic()
    Composer(stack, stack.picture_camera.hw).frame(stack.picture_camera, _inside(A_LITTLE, 1))
    seconds = time.monotonic() - start
    return Size(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, seconds)


def _enlarged(stack: LayerStack) -> LayerStack:
    """Painting it at full size would take more memory than composing it."""

    def larger(values: Array) -> Array:
        return cv2.resize(values, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_LINEAR)

    layers = []
    for layer in stack:
        colour, alpha = larger(layer.colour), larger(layer.alpha)
        is_flat = not any(layer.depth.strides)
        depth = np.broadcast_to(layer.depth[0, 0], alpha.shape) if is_flat else larger(layer.depth)
        layers.append(Layer(layer.name, colour, alpha, depth))
    w, h = stack.camera.wh
    x0, y0, x1, y1 = (ENLARGED * value for value in stack.picture)
    return LayerStack(tuple(layers), stack.camera.scaled((ENLARGED * w, ENLARGED * h)), (x0, y0, x1, y1))


ROWS = (
    ("60 frames of 1280x720, fluid and camera, s", "fluid_s", ".1f", "<= 60"),
    ("parallax only, 1920x1080, frames/s", "parallax_fps", ".1f", ">= 4"),
    ("recomposition at the source view, PSNR dB", "recomposed_psnr", ".1f", ">= 45"),
    ("largest error there, code values", "recomposed_max", ".3f", "<= 2"),
    ("uncovered pixels at the corners of the safe box", "uncovered_px", "d", "0"),
    ("loop seam / median frame difference", "seam", ".3f", "<= 1.05"),
    ("mid-loop contrast", "contrast", ".1%", ">= 95 %"),
    ("still pixels changed at a locked camera", "static_changed_px", "d", "0"),
    ("same with 1 and 2 threads", "same_with_1_and_2_threads", "", "True"),
    ("largest canvas: peak memory, GB", "large_gb", ".1f", "< 8"),
    ("largest canvas: composer and one frame, s", "large_s", ".0f", ""),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("plates"))
    parser.add_argument("--size-px", type=int, default=8192, help="edge of the largest canvas; 0 leaves it out")
    parser.add_argument("--one-frame", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one_frame:
        print(json.dumps(asdict(one_frame(options.one_frame))))
        return
    numba.set_num_threads(min(THREADS, numba.get_num_threads()))
    figures = asdict(speed()) | asdict(exactness()) | asdict(loop())
    if options.size_px:
        figures |= asdict(size(options.size_px))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(figure_table(ROWS, {"landscape": figures}))


if __name__ == "__main__":
    main()

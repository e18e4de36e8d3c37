"""Does memory grow with the length of the clip?

    python -m benchmarks.run_memory --out DIR [--short 48] [--long 480] [--wh 832x480]

Renders the short clip, plays it forth and back until it is long enough, inserts the hero into both, and prints the peak
of the largest process and their ratio (goal: <= 1.3, and <= 4 GiB).
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from benchmarks.insertion import insert, render
from examples.make_demo_clip import raster


def forth_and_back(truth: Path, longer: Path, frames: int) -> Path:
    """A truth folder whose plate has ``frames`` frames; the pictures are links to those of ``truth``."""
    pictures = sorted((truth / "plate").glob("*.png"))
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    shutil.rmtree(longer, ignore_errors=True)
    (longer / "plate").mkdir(parents=True)
    for name in ("truth.json", "hero.glb", "sky.exr"):
        shutil.copy(truth / name, longer / name)
    for i in range(frames):
        os.link(there_and_back[i % len(there_and_back)], longer / "plate" / f"{i:04d}.png")
    return longer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--short", type=int, default=48)
    parser.add_argument("--long", type=int, default=480)
    parser.add_argument("--wh", type=raster, default=(832, 480), metavar="WxH")
    arguments = parser.parse_args()
    truth = arguments.out / "truth"
    render(truth, "arc", arguments.short, arguments.wh)
    longer = forth_and_back(truth, arguments.out / "truth-long", arguments.long)
    short_peak = insert(truth, arguments.out / "short").peak_bytes
    long_peak = insert(longer, arguments.out / "long").peak_bytes
    print("| frames | peak of the largest process (GiB) |\n|---|---|")
    print(f"| {arguments.short} | {short_peak / 2**30:.2f} |\n| {arguments.long} | {long_peak / 2**30:.2f} |")
    print(f"\nratio {long_peak / short_peak:.2f} (goal <= 1.3)")


if __name__ == "__main__":
    main()

"""Write the demo's inputs: a clip of a room, an object, the light, and where the object can stand.

    python -m examples.make_demo_clip OUT_DIR [--frames 24] [--wh 640x360]

leaves ``clip.mp4``, ``hero.glb``, ``sky.exr`` and ``demo.json`` in OUT_DIR and prints the command to run next. With
``--json`` it prints the content of ``demo.json`` instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from examples.hero import write_hero_glb
from examples.small_scene import PathKind, camera_path, make_scene
from examples.truth import place_hero, render_truth
from services.media import images
from services.media.encode import VideoWriter

FRAMES, WH = 24, (640, 360)
SPP, SHUTTER_SAMPLES = 12, 4
YAW_DEG = -20.0
SECONDS = 2  # the move takes as long, whatever the number of frames


def make_demo_clip(
    out: Path, frames: int = FRAMES, wh: tuple[int, int] = WH, *, kind: PathKind = "dolly", spp: int = SPP,
    seed: int = 0,
) -> dict[str, Any]:
    """Render the clip and write everything into ``out``. Returns what ``demo.json`` holds: ``at_px`` is the exact
    pixel of the ideal base point at ``frame``."""
    out.mkdir(parents=True, exist_ok=True)
    path = camera_path(kind, frames, wh)
    hero = place_hero(path, frame=0, yaw_deg=YAW_DEG)
    with TemporaryDirectory() as rendered, VideoWriter(out / "clip.mp4", wh, Fraction(frames, SECONDS)) as video:
        render_truth(
            make_scene(), path, path.frames, Path(rendered), with_object=None, spp=spp, seed=seed,
            shutter_samples=SHUTTER_SAMPLES, report=show_progress,
        )
        for frame in path.frames:
            video.write(images.read_picture(Path(rendered) / "plate" / f"{frame:04d}.png"))
        (out / "sky.exr").write_bytes((Path(rendered) / "sky.exr").read_bytes())
    write_hero_glb(out / "hero.glb")
    facts = {
        "clip": str(out / "clip.mp4"), "object": str(out / "hero.glb"), "hdri": str(out / "sky.exr"),
        "frame": hero.frame, "at_px": [round(v, 2) for v in hero.at_px], "height_px": round(hero.height_px, 2),
        "yaw_deg": hero.yaw_deg,
    }
    (out / "demo.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts


def show_progress(done: int, total: int) -> None:
    print(f"\rframe {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


def command(facts: dict[str, Any], out: str) -> str:
    """The command line that puts the object where it is meant to stand."""
    x, y = facts["at_px"]
    return (
        f"backlot insert {facts['clip']} --object {facts['object']} --at {x:g},{y:g} "
        f"--height-px {facts['height_px']:g} --yaw {facts['yaw_deg']:g} --hdri {facts['hdri']} --out {out}"
    )


def raster(text: str) -> tuple[int, int]:
    """``WxH`` in pixels."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) >= 64 and int(height) >= 64):
        raise argparse.ArgumentTypeError(f"expected WxH of at least 64x64, got {text!r}")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--wh", type=raster, default=WH, metavar="WxH")
    parser.add_argument("--json", action="store_true", help="print what demo.json holds")
    arguments = parser.parse_args()
    facts = make_demo_clip(arguments.out, arguments.frames, arguments.wh)
    if arguments.json:
        print(json.dumps(facts))
        return
    print(f"{facts['clip']} written. The object's ideal place in frame {facts['frame']}: --at {facts['at_px'][0]:g},"
          f"{facts['at_px'][1]:g}\nNow run:\n  {command(facts, str(arguments.out / 'result'))}")


if __name__ == "__main__":
    main()

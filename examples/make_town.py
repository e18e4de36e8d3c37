"""Write the inputs of the previs demo: the blockout of a small town and a picture of what it shall look like.

    python -m examples.make_town OUT_DIR [--frames 46] [--wh 720x480]

leaves ``town.glb`` (grey boxes, a car that drives away, the camera ``shotcam``), ``reference.png`` (the town as it is,
textured and lit, at ``reference_frame``) and ``town.json`` in OUT_DIR, and prints the command to run next.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from examples.film_sets import CAMERA, true_picture, write_blockout
from examples.make_demo_clip import raster
from examples.town import town
from geometry.render import make_renderer
from services.media import images

FRAMES, WH = 46, (720, 480)
SPP = 64


def make_town(out: Path, frames: int = FRAMES, wh: tuple[int, int] = WH, *, spp: int = SPP) -> dict[str, Any]:
    """Returns what ``town.json`` holds."""
    film_set = town(frames, wh)
    frame = film_set.path.frames[len(film_set.path) // 3]
    write_blockout(film_set, out / "town.glb")
    images.write_picture(out / "reference.png", true_picture(film_set, frame, make_renderer(), spp=spp, seed=0))
    facts = {
        "scene": str(out / "town.glb"), "camera": CAMERA, "reference": str(out / "reference.png"),
        "reference_frame": frame,
    }
    (out / "town.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--wh", type=raster, default=WH, metavar="WxH")
    arguments = parser.parse_args()
    facts = make_town(arguments.out, arguments.frames, arguments.wh)
    print(f"backlot previs {facts['scene']} --camera {facts['camera']} --reference {facts['reference']} "
          f"--aligned-frame {facts['reference_frame']} --out {arguments.out / 'result'}")


if __name__ == "__main__":
    main()

"""Write the inputs of the plate demo: a bay at dusk as a layered Photoshop document, and a mask of its water.

    python -m examples.make_plate OUT_DIR [--wh 1280x720]

leaves ``bay.psd`` (16 bits, with depth), ``water.png``, and the same as one picture with depth (``bay.png``,
``bay_depth.exr``) in OUT_DIR, and prints the command to run next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from examples.bay import bay, water
from examples.make_demo_clip import raster
from geometry.layers import LayerStack
from services.export.psd import merged, write_psd
from services.media import exr, images

Array = np.ndarray
WH = (1280, 720)
MOVE = "truck=right:0.5+dolly=in:0.7+pedestal=up:0.15"


def make_plate(out: Path, wh: tuple[int, int] = WH) -> None:
    stack = bay(wh)
    x0, y0, x1, y1 = stack.picture
    write_psd(out / "bay.psd", stack)
    images.write_picture(out / "water.png", water(stack))
    images.write_picture(out / "bay.png", np.ascontiguousarray(merged(stack)[y0:y1, x0:x1, :3]))
    exr.write_depth(out / "bay_depth.exr", depth_of(stack)[y0:y1, x0:x1])


def depth_of(stack: LayerStack) -> Array:
    """(H, W) of the canvas: that of the nearest layer which makes up half a pixel."""
    out = np.zeros(stack.camera.hw, np.float32)
    for layer in stack:
        (x, y), (h, w) = layer.xy, layer.hw
        part = out[y : y + h, x : x + w]
        part[:] = np.where(layer.alpha > layer.white / 2, layer.depth, part)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--wh", type=raster, default=WH, metavar="WxH")
    arguments = parser.parse_args()
    make_plate(arguments.out, arguments.wh)
    w, h = arguments.wh
    arrow = ",".join(str(round(n)) for n in (0.5 * w, 0.8 * h, 0.47 * w, 0.83 * h))
    print(f"backlot plate {arguments.out / 'bay.psd'} --move {MOVE} --frames 60 --loop "
          f"--fluid {arguments.out / 'water.png'} --hint {arrow} --fluid-layer sea --out {arguments.out / 'result'}")


if __name__ == "__main__":
    main()

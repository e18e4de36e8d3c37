"""A layer stack as a 16-bit Photoshop document; depth, picture and lens lie in hidden layers that our reader knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from psd_tools import PSDImage
from psd_tools.api.layers import Group
from psd_tools.constants import Compression

from geometry.layers import LayerStack
from services.export.layer_files import depth_range, srgb_codes
from services.media.psd import LONGEST_SIDE_PX
from services.media.raw_layers import code_from_depth

Array = np.ndarray

_U16 = np.dtype(np.uint16)


def write_psd(file: Path, stack: LayerStack) -> None:
    """Raises ``ValueError`` for a canvas that the format cannot hold."""
    if max(stack.camera.wh) > LONGEST_SIDE_PX:
        raise ValueError(f"wh: expected sides of at most {LONGEST_SIDE_PX} px, got {stack.camera.wh}")
    document = _Document.new("RGBA", stack.camera.wh, depth=16)
    for layer in stack:
        _add(document, layer.name, srgb_codes(layer, stack.encoding, _U16), layer.xy)
    x0, y0, x1, y1 = stack.picture
    lens = ",".join(repr(float(v)) for v in (stack.camera.fx, stack.camera.fy, stack.camera.cx, stack.camera.cy))
    _add(document, f"picture {lens}", np.full((y1 - y0, x1 - x0, 3), 65535, np.uint16), (x0, y0))
    document[-1].visible = False
    near, far = depth_range(stack)
    group = document.create_group(name=f"depth {near!r}:{far!r}" + (" m" if stack.is_metric else ""))
    for layer in stack:
        grey = code_from_depth(layer.depth, near, far)
        _add(group, layer.name, np.repeat(grey[..., None], 3, 2), layer.xy)
    group.visible = False
    document.merged = merged(stack)
    file.parent.mkdir(parents=True, exist_ok=True)
    document.save(file)


def merged(stack: LayerStack) -> Array:
    """(H, W, 4) uint16 straight RGBA of the canvas: all layers laid over one another in sRGB, as Photoshop does."""
    w, h = stack.camera.wh
    colour, cover = np.zeros((h, w, 3), np.float32), np.zeros((h, w, 1), np.float32)
    for layer in stack:
        x, y = layer.xy
        at = np.s_[max(y, 0) : max(y + layer.hw[0], 0), max(x, 0) : max(x + layer.hw[1], 0)]
        hh, ww = colour[at].shape[:2]
        code = srgb_codes(layer, stack.encoding, _U16)[max(-y, 0) :, max(-x, 0) :][:hh, :ww]
        over = code / np.float32(65535)
        colour[at] = over[..., :3] * over[..., 3:] + colour[at] * (1 - over[..., 3:])
        cover[at] = over[..., 3:] + cover[at] * (1 - over[..., 3:])
    freed = np.divide(colour, cover, out=np.zeros_like(colour), where=cover > 0)
    return np.rint(np.concatenate([freed, cover], 2) * 65535).astype(np.uint16)


def _add(parent: PSDImage | Group, name: str, picture: Array, xy: tuple[int, int]) -> None:
    parent.create_pixel_layer_from_array(
        picture, name=name, left=xy[0], top=xy[1], compression=Compression.ZIP_WITH_PREDICTION
    )


class _Document(PSDImage):
    """A document whose merged picture is ours: the library would composite all layers as floats, several times over."""

    merged: Array

    def _update_preview(self) -> None:
        alpha = self.merged[..., 3:] / np.float32(65535)
        on_white = self.merged[..., :3] * alpha + 65535 * (1 - alpha)
        planes = [*np.moveaxis(on_white, 2, 0), self.merged[..., 3]]
        data = [np.rint(plane).astype(">u2").tobytes() for plane in planes]
        self._record.image_data.set_data(data, self._record.header)

"""``plate.nk``: a Nuke script with a card for each layer, the camera and a ScanlineRender.

Planes are Card2 nodes; reliefs are read from OBJ files beside the pictures. Files are found from where the script lies.
A Card2 is one unit wide and as high as its picture's aspect; cameras are as in ``.chan``: OpenGL axes, rotation ZXY.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from geometry import frames
from geometry.layers import LayerStack
from geometry.trajectory import CameraPath
from services.export.cards import Card, cards, level

Array = np.ndarray

_HERE = "[file dirname [value root.name]]"


def write_nuke(
    file: Path, stack: LayerStack, path: CameraPath, rate: Fraction, pictures: Sequence[str]
) -> list[Path]:
    """``pictures`` are the layers' files as paths from the script's folder; OBJ files go beside them and are returned.

    ``path`` is in the source camera's world.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    script, made = _Script(), []
    w, h = path.cameras[0].wh
    script.node("Root", {
        "first_frame": path.frames[0], "last_frame": path.frames[-1], "fps": f"{float(rate):g}",
        "format": _quoted(f"{w} {h} 0 0 {w} {h} 1 plate"),
    })
    standing = []
    for i, (card, picture) in enumerate(zip(cards(stack), pictures, strict=True)):
        seen = _read(script, i, card, picture, stack.encoding)
        if card.is_plane:
            standing.append(script.node("Card2", _card_knobs(i, card), [seen]))
            continue
        mesh = Path(picture).with_suffix(".obj")
        write_obj(file.parent / mesh, card)
        made.append(file.parent / mesh)
        knobs = {"file": _quoted(f"{_HERE}/{mesh.as_posix()}"), "label": _quoted(card.layer.name), "name": f"Mesh{i}"}
        standing.append(script.node("ReadGeo2", knobs, [seen]))
    scene = script.node("Scene", {"name": "Plate"}, standing)
    camera = script.node("Camera2", _camera_knobs(level(path)))
    script.node("ScanlineRender", {"name": "ScanlineRender1", "conservative_shader_sampling": "false"},
                [None, scene, camera])
    file.write_text(script.text)
    return made


def write_obj(file: Path, card: Card) -> None:
    """A card as Wavefront OBJ, with its uv."""
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in card.vertices]
    lines += [f"vt {u:.9g} {v:.9g}" for u, v in card.uv]
    lines += ["f " + " ".join(f"{i}/{i}" for i in quad) for quad in card.quads + 1]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n")


def _read(script: _Script, i: int, card: Card, picture: str, encoding: str) -> str:
    h, w = card.layer.hw
    knobs = {
        "file": _quoted(f"{_HERE}/{picture}"), "format": _quoted(f"{w} {h} 0 0 {w} {h} 1 layer{i}"),
        "label": _quoted(card.layer.name), "name": f"Read{i}",
    }
    if encoding == "linear":  # EXR, premultiplied as the format has it
        return script.node("Read", knobs)
    return script.node("Premult", {"name": f"Premult{i}"}, [script.node("Read", knobs | {"colorspace": "sRGB"})])


def _card_knobs(i: int, card: Card) -> dict[str, object]:
    (w, h), (pixels_h, pixels_w) = card.wh, card.layer.hw
    stretch = h / (w * pixels_h / pixels_w)  # 1 where pixels are square
    return {
        "translate": _vector(card.middle), "scaling": _vector((1.0, stretch, 1.0)), "uniform_scale": f"{w:.9g}",
        "label": _quoted(card.layer.name), "name": f"Card{i}",
    }


def _camera_knobs(path: CameraPath) -> dict[str, object]:
    rows = frames.chan_from_backlot(path.camera_from_world)
    backs = [frames.film_back_from_camera(camera) for camera in path.cameras]
    shifts = [(2 * back.offset_x_mm / back.width_mm, 2 * back.offset_y_mm / back.height_mm) for back in backs]
    return {
        "rot_order": frames.CHAN_ROTATION_ORDER, "translate": _curves(path.frames, rows[:, :3]),
        "rotate": _curves(path.frames, rows[:, 3:]),
        "focal": _curves(path.frames, np.array([[back.focal_mm] for back in backs])),
        "haperture": f"{backs[0].width_mm:.9g}", "vaperture": f"{backs[0].height_mm:.9g}",
        "win_translate": _curves(path.frames, np.array(shifts)), "name": "Camera1",
    }  # fmt: skip


def _curves(numbers: Sequence[int], rows: Array) -> str:
    """An animated knob: a curve for each column, or a number where it stays the same."""
    return "{" + " ".join(
        f"{column[0]:.9g}" if np.ptp(column) < 1e-9
        else "{curve " + " ".join(f"x{n} {v:.9g}" for n, v in zip(numbers, column, strict=True)) + "}"
        for column in rows.T
    ) + "}"  # fmt: skip


def _vector(values: Sequence[float] | Array) -> str:
    return "{" + " ".join(f"{value:.9g}" for value in values) + "}"


def _quoted(text: str) -> str:
    """Between quotes Tcl still runs what stands in brackets: wanted of ``_HERE``, not of names."""
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    if not text.startswith(_HERE):
        safe = safe.replace("[", "\\[")
    return f'"{safe}"'


class _Script:
    """Nodes in the order of Nuke's stack: inputs are pushed, the first one last."""

    def __init__(self) -> None:
        self.text = ""
        self._count = 0

    def node(self, kind: str, knobs: Mapping[str, object], inputs: Sequence[str | None] = ()) -> str:
        """Returns the variable that stands for it."""
        self.text += "".join(f"push {'0' if name is None else f'${name}'}\n" for name in reversed(inputs))
        lines = [f" {key} {value}" for key, value in {"inputs": len(inputs), **knobs}.items()]
        self.text += "\n".join([f"{kind} {{", *lines, "}"]) + "\n"
        if kind == "Root":
            return ""
        self._count += 1
        self.text += f"set N{self._count} [stack 0]\n"
        return f"N{self._count}"

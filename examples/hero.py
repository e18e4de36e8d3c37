"""The object that the demo and the benchmark insert: a painted tin robot, built by code.

Object space: metres, +Y up, its face towards +Z, the centre of its box's bottom face at the origin. The raised arm and
the wind-up key make it asymmetric, so that a wrong yaw shows.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from examples.solids import cylinder, lathe, moved, rounded, turned
from examples.textures import painted, to_uint8, value_noise
from geometry.mesh import Material, Mesh

Array = np.ndarray
HEIGHT_M = 0.6


def paint(red: int, green: int, blue: int, roughness: float = 0.45, metallic: float = 0.0) -> Material:
    """Linear colour in 1/255, which is how glTF writers store it: the file and the mesh agree exactly."""
    return Material((red / 255, green / 255, blue / 255), roughness=roughness, metallic=metallic)


TEAL, CREAM, ORANGE = paint(20, 104, 112), paint(205, 190, 150), paint(210, 74, 18)
DARK, BRASS, GLOW = paint(14, 14, 17, 0.3), paint(225, 160, 70, 0.3, 1.0), paint(230, 235, 210, 0.25)


def chest_plate(hw: tuple[int, int] = (512, 512)) -> Array:
    """(H, W, 3) uint8 sRGB: the lithographed front of the body; it wraps around, so the front is the middle column."""
    h, w = hw
    picture = painted(hw, (0.30, 0.64, 0.66), 11, 0.03)
    cream, ink, red, gold, green = (237, 227, 199), (26, 28, 36), (219, 69, 41), (242, 189, 77), (64, 128, 92)
    for y, thick, colour in ((0.20, 10, gold), (0.235, 4, ink), (0.80, 10, gold), (0.765, 4, ink)):
        cv2.line(picture, (0, int(y * h)), (w, int(y * h)), colour, thick, cv2.LINE_AA)
    for x in np.linspace(0, 1, 25):
        for y in (0.155, 0.845):
            cv2.circle(picture, (int(x * w), int(y * h)), 4, gold, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (int(0.40 * w), int(0.29 * h)), (int(0.60 * w), int(0.70 * h)), cream, -1, cv2.LINE_AA)
    cv2.rectangle(picture, (int(0.40 * w), int(0.29 * h)), (int(0.60 * w), int(0.70 * h)), ink, 3, cv2.LINE_AA)
    dial = (int(0.465 * w), int(0.42 * h))
    cv2.circle(picture, dial, 26, ink, -1, cv2.LINE_AA)
    cv2.circle(picture, dial, 22, (247, 242, 224), -1, cv2.LINE_AA)
    for angle in np.linspace(-2.4, 2.4, 9) - np.pi / 2:
        tip = np.array([np.cos(angle), np.sin(angle)])
        ends = [tuple(int(v) for v in dial + tip * r) for r in (15, 20)]
        cv2.line(picture, ends[0], ends[1], ink, 2, cv2.LINE_AA)
    cv2.line(picture, dial, (dial[0] + 11, dial[1] - 13), red, 3, cv2.LINE_AA)
    for i, colour in enumerate((red, gold, green)):
        cv2.circle(picture, (int(0.555 * w), int((0.36 + 0.06 * i) * h)), 10, colour, -1, cv2.LINE_AA)
    for i in range(4):
        y = int((0.575 + 0.03 * i) * h)
        cv2.line(picture, (int(0.42 * w), y), (int(0.58 * w), y), ink, 3, cv2.LINE_AA)
    for x in (0.16, 0.72):
        cv2.putText(picture, "B-07", (int(x * w), int(0.55 * h)), cv2.FONT_HERSHEY_SIMPLEX, 1.0, cream, 3, cv2.LINE_AA)
    wear = 1 + 0.03 * value_noise(hw, (h / 4, w / 4), np.random.default_rng(12))
    return to_uint8(picture / 255 * wear[..., None])


def hero_object() -> tuple[Mesh, ...]:
    """The robot's parts, ``HEIGHT_M`` tall."""
    litho = Material((1.0, 1.0, 1.0), chest_plate(), roughness=0.4)
    parts = [
        rounded((0, 0.285, 0), (0.125, 0.125, 0.09), litho, "body"),
        rounded((0, 0.487, 0.004), (0.085, 0.068, 0.078), CREAM, "head"),
        moved(cylinder(0.04, 0, 0.05, DARK, "neck"), turned(0, (0, 0.395, 0))),
        moved(cylinder(0.014, 0, 0.22, ORANGE, "ears"), turned(np.pi / 2, (0.11, 0.49, 0), "z")),
        rounded((0, 0.452, 0.078), (0.045, 0.011, 0.008), DARK, "mouth", 0.5),
        *(moved(cylinder(0.028, 0, 0.02, ORANGE, f"lamp ring {n}"), turned(np.pi / 2, (x, 0.503, 0.068), "x"))
          for n, x in (("left", 0.036), ("right", -0.036))),
        *(rounded((x, 0.503, 0.087), (0.02, 0.02, 0.012), GLOW, f"lamp {n}", 1.0)
          for n, x in (("left", 0.036), ("right", -0.036))),
        lathe([(0.012, 0.548), (0.012, 0.556), (0.005, 0.562), (0.004, 0.60)], BRASS, "antenna", 20),
        rounded((0, 0.607, 0), (0.014, 0.014, 0.014), ORANGE, "bulb", 1.0, 20),
        *(rounded((x, 0.10, 0), (0.036, 0.075, 0.04), CREAM, f"leg {n}", 0.55)
          for n, x in (("left", 0.06), ("right", -0.06))),
        *(rounded((x, 0.03, 0.018), (0.05, 0.03, 0.072), ORANGE, f"foot {n}", 0.4)
          for n, x in (("left", 0.06), ("right", -0.06))),
        *_arm(1.0, 2.5), *_arm(-1.0, 0.28),
        moved(cylinder(0.008, 0, 0.07, BRASS, "key shaft"), turned(-np.pi / 2, (0, 0.29, -0.08), "x")),
        rounded((0.026, 0.29, -0.145), (0.027, 0.022, 0.006), BRASS, "key wing left", 0.8, 24),
        rounded((-0.026, 0.29, -0.145), (0.027, 0.022, 0.006), BRASS, "key wing right", 0.8, 24),
    ]
    return _stand_on_origin(parts)


def _arm(side: float, swing: float) -> list[Mesh]:
    """Shoulder, arm and claw; ``swing`` radians away from hanging down."""
    shoulder = (side * 0.138, 0.355, 0.0)
    frame = turned(side * swing, shoulder, "z")
    name = "left" if side > 0 else "right"
    return [
        rounded(shoulder, (0.03, 0.03, 0.03), DARK, f"shoulder {name}", 1.0, 24),
        moved(rounded((0, -0.075, 0), (0.022, 0.078, 0.024), TEAL, f"arm {name}", 0.6), frame),
        moved(cylinder(0.026, -0.158, -0.138, BRASS, f"cuff {name}"), frame),
        *(moved(rounded((s * 0.018, -0.176, 0), (0.009, 0.026, 0.014), ORANGE, f"claw {name} {s}", 0.7, 20), frame)
          for s in (-1, 1)),
    ]


def _stand_on_origin(parts: list[Mesh]) -> tuple[Mesh, ...]:
    points = np.concatenate([part.vertices for part in parts])
    lower, upper = points.min(0), points.max(0)
    base = np.array([(lower[0] + upper[0]) / 2, lower[1], (lower[2] + upper[2]) / 2])
    scale = HEIGHT_M / (upper[1] - lower[1])
    return tuple(replace(part, vertices=(part.vertices - base) * scale) for part in parts)


def write_hero_glb(path: str | Path) -> Path:
    """The robot as binary glTF 2.0 with metallic-roughness materials and an embedded texture."""
    import trimesh
    from PIL import Image
    from trimesh.visual.material import PBRMaterial
    from trimesh.visual.texture import TextureVisuals

    scene = trimesh.Scene()
    for part in hero_object():
        material = part.material
        texture = None if material.base_texture is None else Image.open(_png(material.base_texture))
        pbr = PBRMaterial(
            name=part.name,
            baseColorFactor=[*(round(255 * c) for c in material.base_color), 255],
            baseColorTexture=texture,
            metallicFactor=material.metallic,
            roughnessFactor=material.roughness,
        )
        geometry = trimesh.Trimesh(part.vertices, part.faces, vertex_normals=part.normals, process=False,
                                   visual=TextureVisuals(uv=part.uv, material=pbr))
        scene.add_geometry(geometry, geom_name=part.name, node_name=part.name)
    path = Path(path)
    path.write_bytes(scene.export(file_type="glb"))
    return path


def _png(picture: Array) -> io.BytesIO:
    ok, data = cv2.imencode(".png", picture[..., ::-1])
    if not ok:
        raise ValueError(f"texture: cannot be written as PNG, shape {picture.shape}")
    return io.BytesIO(data.tobytes())

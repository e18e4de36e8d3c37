"""Layers as scenes of other programs: USD by its own library, Nuke by a small parser, Unreal's script by Python."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdShade

from geometry import frames, rigid
from geometry.camera import Camera
from geometry.layers import Layer, LayerStack
from geometry.trajectory import CameraPath
from services.export.cards import cards, level, write_cards
from services.export.layer_files import write_layer_folder
from services.export.nuke_cards import write_nuke
from services.export.unreal import rotator_deg, write_unreal
from services.export.usd_cameras import read_usd
from tests.layer_stacks import painted

RATE = Fraction(24000, 1001)


@pytest.fixture
def stack() -> LayerStack:
    return painted(np.uint8)


@pytest.fixture
def path(stack: LayerStack) -> CameraPath:
    """The source view, then 0.5 to the right and turned 10 degrees to the left."""
    turned = rigid.rigid(_about_y(-10), np.array([0.5, 0, 0]))
    return CameraPath((0, 1), (stack.picture_camera,) * 2, np.stack([np.eye(4), rigid.inverse(turned)]))


def _about_y(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _depth_at(layer: Layer, px: np.ndarray) -> float:
    """Of the layer's pixel under a place of its raster."""
    x, y = np.clip(np.floor(px).astype(int), 0, [layer.hw[1] - 1, layer.hw[0] - 1])
    return float(layer.depth[y, x])


# USD -----------------------------------------------------------------------------------------------------------------


def test_usd_opens_with_cards_and_camera(tmp_path: Path, stack: LayerStack, path: CameraPath) -> None:
    pictures = write_layer_folder(tmp_path / "layers", stack)
    write_cards(tmp_path / "scene.usda", stack, path, RATE, [f"./layers/{name}" for name in pictures])
    stage = Usd.Stage.Open(str(tmp_path / "scene.usda"))
    prims = list(stage.GetPrimAtPath("/World/Cards").GetChildren())
    assert [prim.GetDisplayName() for prim in prims] == [layer.name for layer in stack]
    for prim, layer in zip(prims, stack, strict=True):
        assert tuple(prim.GetAttribute("backlot:layerWh").Get()) == layer.hw[::-1]
        points = np.array(UsdGeom.Mesh(prim).GetPointsAttr().Get(), float)
        seen = stack.camera.px_from_cam(points * (1, -1, -1))  # the source camera sees the layer where it lay
        assert seen.min(0) == pytest.approx(layer.xy, abs=1e-3)
        assert seen.max(0) == pytest.approx(np.add(layer.xy, layer.hw[::-1]), abs=1e-3)
        for point, px in list(zip(points, seen, strict=True))[::37]:
            assert -point[2] == pytest.approx(_depth_at(layer, px - layer.xy), rel=0.08)
        material, _ = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()
        surface = material.ComputeSurfaceSource()[0]
        source = surface.GetInput("emissiveColor").GetConnectedSources()[0][0].source
        assert Path(UsdShade.Shader(source.GetPrim()).GetInput("file").Get().resolvedPath).is_file()
    again = read_usd(tmp_path / "scene.usda")
    assert again.camera_from_world == pytest.approx(level(path).camera_from_world, abs=1e-6)
    assert again.cameras[1].fx == pytest.approx(50)
    assert stage.GetRootLayer().customLayerData["scaleKnown"] is True


def test_a_plane_is_four_corners_by_hand() -> None:
    flat = Layer("a", np.zeros((10, 20, 3), np.uint8), np.zeros((10, 20), np.uint8), np.full((10, 20), 4, np.float32))
    card = cards(LayerStack((flat,), Camera(20, 20, 10, 5, (20, 10)), (0, 0, 20, 10)))[0]
    assert card.vertices.tolist() == [[-2, 1, -4], [2, 1, -4], [-2, -1, -4], [2, -1, -4]]
    assert card.uv.tolist() == [[0, 1], [1, 1], [0, 0], [1, 0]]
    a, b, c = card.vertices[card.quads[0][:3]]
    assert np.cross(b - a, c - b)[2] > 0  # its face looks at the camera
    assert (card.wh, card.middle.tolist()) == ((4, 2), [0, 0, -4])


# Nuke ----------------------------------------------------------------------------------------------------------------


@dataclass
class Node:
    kind: str
    knobs: dict[str, str]
    inputs: list[Node | None] = field(default_factory=list)


def parsed(text: str) -> list[Node]:
    """The nodes of a script, connected as Nuke's stack does it."""
    stack: list[Node | None] = []
    named: dict[str, Node | None] = {}
    nodes = []
    for block in re.finditer(r"^(\w+) \{\n(.*?)^\}$|^push (\S+)$|^set (\w+) \[stack 0\]$", text, re.M | re.S):
        kind, body, pushed, variable = block.groups()
        if pushed:
            stack.append(None if pushed == "0" else named[pushed.removeprefix("$")])
        elif variable:
            named[variable] = stack[-1]
        else:
            knobs = dict(line.strip().split(" ", 1) for line in body.splitlines())
            node = Node(kind, knobs, [stack.pop() for _ in range(int(knobs.pop("inputs")))])
            nodes.append(node)
            if kind != "Root":
                stack.append(node)
    return nodes


def _numbers(knob: str) -> list[float]:
    return [float(word) for word in knob.strip("{}").split()]


def test_nuke_script(tmp_path: Path, stack: LayerStack, path: CameraPath) -> None:
    pictures = [f"layers/{name}" for name in write_layer_folder(tmp_path / "layers", stack)]
    meshes = write_nuke(tmp_path / "plate.nk", stack, path, RATE, pictures)
    text = (tmp_path / "plate.nk").read_text()
    assert text.count("{") == text.count("}")
    nodes = parsed(text)
    render = nodes[-1]
    assert render.kind == "ScanlineRender"
    background, scene, camera = render.inputs
    assert background is None
    assert [node.kind for node in scene.inputs] == ["Card2", "ReadGeo2", "Card2"]
    assert [node.knobs["label"] for node in scene.inputs] == ['"sky"', '"land/hills"', '"hut"']
    reads = [node.inputs[0].inputs[0] for node in scene.inputs]
    for read, name, layer in zip(reads, pictures, stack, strict=True):
        assert read.knobs["file"] == f'"[file dirname [value root.name]]/{name}"'
        assert read.knobs["format"].startswith(f'"{layer.hw[1]} {layer.hw[0]} 0 0')
    hut = scene.inputs[2].knobs
    assert float(hut["uniform_scale"]) == pytest.approx(11 / 50 * 7.5)
    assert _numbers(hut["translate"]) == pytest.approx([(26.5 - 24) / 50 * 7.5, -(20.5 - 16) / 50 * 7.5, -7.5])
    assert _numbers(hut["scaling"]) == pytest.approx([1, 1, 1])
    rows = frames.chan_from_backlot(level(path).camera_from_world)
    assert camera.knobs["rot_order"] == "ZXY"
    curve = re.findall(r"x1 (\S+?)\}", camera.knobs["translate"] + camera.knobs["rotate"])
    assert [float(v) for v in curve] == pytest.approx([rows[1, 0], rows[1, 4]])  # x, and about y
    assert float(camera.knobs["focal"].strip("{}")) == pytest.approx(50 * 36 / 44)
    (mesh,) = meshes
    lines = [line.split() for line in mesh.read_text().splitlines()]
    points = np.array([row[1:] for row in lines if row[0] == "v"], float)
    assert points == pytest.approx(cards(stack)[1].vertices, rel=1e-6, abs=1e-6)
    assert len([row for row in lines if row[0] == "f"]) == len(cards(stack)[1].quads)


def test_names_do_nothing_in_nuke(tmp_path: Path, path: CameraPath) -> None:
    flat = Layer('a "b" [exit] $c', np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.ones((4, 4)))
    write_nuke(tmp_path / "p.nk", LayerStack((flat,), Camera(4, 4, 2, 2, (4, 4)), (0, 0, 4, 4)), path, RATE, ["a.png"])
    assert r'label "a \"b\" \[exit] \$c"' in (tmp_path / "p.nk").read_text()


# Unreal --------------------------------------------------------------------------------------------------------------


def test_unreal_script(tmp_path: Path, stack: LayerStack, path: CameraPath) -> None:
    write_unreal(tmp_path / "import_unreal.py", stack, path, RATE, ["layers/a.png", "layers/b.png", "layers/c.png"])
    text = (tmp_path / "import_unreal.py").read_text()
    compile(text, "import_unreal.py", "exec")
    tree = ast.parse(text)
    data = {
        node.targets[0].id: ast.literal_eval(node.value) for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("PLATES", "CAMERA")
    }  # fmt: skip
    plates, camera = data["PLATES"], data["CAMERA"]
    assert [(p["name"], p["pixels"], p["picture"]) for p in plates] == [
        ("sky", [48, 32], "layers/a.png"), ("land/hills", [60, 20], "layers/b.png"), ("hut", [11, 9], "layers/c.png"),
    ]  # fmt: skip
    assert [p["depth_cm"] for p in plates] == pytest.approx([layer.median_depth * 100 for layer in stack], rel=1e-6)
    assert plates[2]["location_cm"] == pytest.approx([750, 37.5, -67.5])
    assert plates[2]["size_cm"] == pytest.approx([11 / 50 * 750, 9 / 50 * 750])
    assert camera["rate"] == [24000, 1001]
    assert camera["keys"][1][:7] == pytest.approx([1, 0, 50, 0, 0, -10, 0], abs=1e-5)
    calls = {ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert {
        "spawn_actor_from_class", "select_media_source_asset", "set_sequence_path", "add_key", "create_asset", "main",
    } <= calls  # fmt: skip
    spawned = [ast.unparse(node.args[0]) for node in ast.walk(tree)
               if isinstance(node, ast.Call) and ast.unparse(node.func) == "actors.spawn_actor_from_class"]
    assert spawned == ["unreal.MediaPlate", "unreal.CineCameraActor"]


@pytest.mark.parametrize(("axis", "angles"), [("x", [20, 0, 0]), ("y", [0, 20, 0]), ("z", [0, 0, 20])])
def test_turns_in_unreal_by_hand(axis: str, angles: list[float]) -> None:
    """About x the camera looks up, about y to the right, about z it leans clockwise."""
    from scipy.spatial.transform import Rotation

    pose = rigid.rigid(Rotation.from_euler(axis, 20, degrees=True).as_matrix(), np.zeros(3))
    assert rotator_deg(rigid.inverse(pose)) == pytest.approx(angles, abs=1e-5)

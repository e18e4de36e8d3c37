"""Stage: the moving plate for other programs: ``scene.usda``, ``plate.nk``, ``import_unreal.py``, and its cameras as
``cameras.json`` and ``plate.chan`` (+Y up, the source camera at the origin). Pictures are those of ``layers/``."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from geometry.trajectory import CameraPath
from services.export.cards import level, write_cards
from services.export.layer_files import picture_names
from services.export.nerfstudio import write_cameras_json
from services.export.nuke import write_chan
from services.export.nuke_cards import write_nuke
from services.export.unreal import write_unreal
from services.pipelines.context import Artifact, Report
from services.pipelines.stack_store import load_stack
from services.pipelines.stages.package_layers import LAYERS


@dataclass(frozen=True)
class ExportConfig:
    path: CameraPath  # in the source camera's world
    rate: str


def export_plate(*, out: Path, config: ExportConfig, report: Report, source: Path, layers: Artifact) -> None:
    stack, rate = load_stack(layers.path, source), Fraction(config.rate)
    pictures = [f"{LAYERS}/{name}" for name in picture_names(stack)]
    write_cards(out / "scene.usda", stack, config.path, rate, [f"./{picture}" for picture in pictures])
    report(1, 3)
    write_nuke(out / "plate.nk", stack, config.path, rate, pictures)
    report(2, 3)
    write_unreal(out / "import_unreal.py", stack, config.path, rate, pictures)
    write_cameras_json(out / "cameras.json", level(config.path))
    write_chan(out / "plate.chan", level(config.path))
    report(3, 3)

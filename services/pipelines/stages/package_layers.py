"""Stage: the layers as files to edit: ``layers/`` (a source again), ``plate.psd``, ``plate.exr``, ``plate.2p5d``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.export.layer_exr import write_layer_exr
from services.export.layer_files import write_layer_folder
from services.export.psd import write_psd
from services.export.twop5d import write_2p5d
from services.pipelines.context import Artifact, Report
from services.pipelines.stack_store import load_stack, videos

LAYERS = "layers"


def package_layers(
    *, out: Path, config: None, report: Report, source: Path, layers: Artifact, flow: Artifact | None = None
) -> None:
    stack = load_stack(layers.path, source, None if flow is None else flow.path)
    write_layer_folder(out / LAYERS, stack, videos(stack))
    report(1, 4)
    still = replace(stack, layers=tuple(replace(layer, motion=None, video=None) for layer in stack))
    for done, (write, name) in enumerate((
        (write_psd, "plate.psd"), (write_layer_exr, "plate.exr"), (write_2p5d, "plate.2p5d"),
    )):  # fmt: skip
        write(out / name, still)
        report(done + 2, 4)

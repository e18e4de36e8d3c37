"""Stage: ``report.json``. What went in, what did the work, how long it took, what was measured."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from services.media.clip import ClipReader
from services.pipelines.context import Report

LIBRARIES = ("mitsuba", "pycolmap", "open3d", "opencv-contrib-python-headless", "numpy", "av")


def write_report(*, out: Path, config: dict[str, Any], report: Report) -> None:
    (out / "report.json").write_text(json.dumps(config, indent=1))


def clip_facts(clip: ClipReader) -> dict[str, Any]:
    info = clip.info
    return {
        "codec": info.codec, "width": clip.hw[1], "height": clip.hw[0], "rate": str(clip.rate),
        "frames": [clip.numbers[0], clip.numbers[-1]], "bit_depth": info.source_bits, "colorspace": clip.colorspace,
        "variable_rate": info.variable_rate, "sha256": clip.digest,
    }


def versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}

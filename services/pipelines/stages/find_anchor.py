"""Stage: measure the surface under one pixel. It does not know the object, so that re-edits keep it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.reconstruct.anchor import Anchor, carrier_anchor, fit_anchor
from geometry.reconstruct.errors import ReconstructError
from geometry.scene import FrameSource, Plane, Scene4D
from services.errors import Unsolvable
from services.pipelines.context import Artifact, Report


@dataclass(frozen=True)
class AnchorConfig:
    frame: int
    at_px: tuple[float, float]
    seed: int
    carrier: int = 0  # label of the mover whose surface is wanted; 0 = of what stands still


def find_anchor(
    *, out: Path, config: AnchorConfig, report: Report, clip: FrameSource, scene: Scene4D, **_: Artifact
) -> None:
    """Writes ``anchor.json``."""
    try:
        if config.carrier:
            track = next(m.track for m in scene.movers if m.label == config.carrier)
            assert track is not None
            anchor = carrier_anchor(scene, config.frame, config.at_px, track, seed=config.seed)
        else:
            anchor = fit_anchor(clip, scene, config.frame, config.at_px, seed=config.seed, report=report)
    except ReconstructError as error:
        raise Unsolvable(f"objects.at_px: {error.message}", error.hint) from error
    document = {
        "point": anchor.point.tolist(),
        "normal": anchor.support.normal.tolist(),
        "offset": anchor.support.offset,
        "tracked": anchor.tracked,
        "residual_px": anchor.residual_px,
    }
    (out / "anchor.json").write_text(json.dumps(document, indent=1))


def load_anchor(artifact: Artifact) -> Anchor:
    document = json.loads((artifact.path / "anchor.json").read_text())
    support = Plane(np.array(document["normal"]), document["offset"])
    return Anchor(np.array(document["point"]), support, document["tracked"], document["residual_px"])

"""Stage: grain, sharpness and shutter of the plate, to match the render to it; in display-referred (sRGB) values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geometry.masks import agreed_flow, carried_onto
from geometry.match import GrainModel, measure_blur_px, measure_grain, measure_shutter_deg
from geometry.scene import FrameSource
from services.pipelines.context import Artifact, Report

PLATE = "plate.npz"
FRAMES = 5
MOVING_FRAMES = 12
LARGEST = (1920, 1080)


@dataclass(frozen=True)
class PlateConfig:
    frames: tuple[int, int]  # first and last of the range


@dataclass(frozen=True)
class PlateLook:
    grain: GrainModel
    blur_px: float  # gaussian sigma of its sharpest edges
    shutter_deg: float


def measure_plate(*, out: Path, config: PlateConfig, report: Report, clip: FrameSource) -> None:
    """Writes ``plate.npz``."""
    numbers = clip.numbers
    picked = np.unique(np.linspace(0, len(numbers) - 2, FRAMES).round().astype(int))
    pairs, pictures = [], []
    for i in picked:
        here, next_ = (_middle(clip.display(numbers[k])) for k in (i, i + 1))
        pairs.append((here / np.float32(255), carried_onto(here, next_) / np.float32(255)))
        pictures.append(here / np.float32(255))
        report(len(pairs), len(picked))
    grain = measure_grain(pairs)
    np.savez(
        out / PLATE, level=grain.level, sigma=grain.sigma, kernel=grain.kernel, mixing=grain.mixing,
        blur_px=measure_blur_px(pictures), shutter_deg=measure_shutter_deg(_moving(clip)),
    )


def load_plate_look(artifact: Artifact) -> PlateLook:
    with np.load(artifact.path / PLATE) as stored:
        grain = GrainModel(stored["level"], stored["sigma"], stored["kernel"], stored["mixing"])
        return PlateLook(grain, float(stored["blur_px"]), float(stored["shutter_deg"]))


def _moving(clip: FrameSource) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames all over the clip, each with the median of its optical flow."""
    numbers = clip.numbers
    for i in np.unique(np.linspace(0, len(numbers) - 2, MOVING_FRAMES).round().astype(int)):
        here, next_ = (_middle(clip.display(numbers[k])) for k in (i, i + 1))
        flow, agreement = agreed_flow(here, next_)
        if (agreement > 0.5).mean() > 0.2:
            yield here / np.float32(255), np.median(flow[agreement > 0.5], axis=0)


def _middle(picture: np.ndarray) -> np.ndarray:
    """At most ``LARGEST`` px of a large picture, at its own scale: grain must not be filtered."""
    h, w = picture.shape[:2]
    y, x = max((h - LARGEST[1]) // 2, 0), max((w - LARGEST[0]) // 2, 0)
    return np.ascontiguousarray(picture[y : y + LARGEST[1], x : x + LARGEST[0]])

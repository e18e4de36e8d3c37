"""Stage: what lights the objects, as a lat-long picture in world directions (its centre column looks along -Z)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geometry import rigid
from geometry.light import (
    GAUGE,
    REC709,
    ShadingSamples,
    View,
    continued_upwards,
    direction_from_uv,
    directions,
    estimate_light,
    given_environment,
    irradiance_of_picture,
    mesh_shadow_test,
    shading_samples,
    unprojected,
    uv_from_direction,
)
from geometry.reconstruct.anchor import Anchor
from geometry.render.base import Environment
from geometry.scene import FrameSource, Scene4D
from services.media import images
from services.pipelines.context import Artifact, Report

LIGHT = "light.exr"
WHITE = 0.85  # albedo of the whitest common surfaces: paper, paint
VIEWS = 12  # frames that the estimate looks at
BELIEVED = 0.3  # confidence of depth that may hide the given picture
CLIPPED = 0.95  # linear
NEAR_HW = (128, 256)  # raster of what the clip shows around the object
WIDTH_PX = 1024  # of a given picture, as traced: small suns stay sharp enough and start-up stays short


@dataclass(frozen=True)
class GivenLight:
    """``yaw`` (radians) turns the picture's centre column into the view direction at the placing frame."""

    frame: int
    yaw: float
    exposure_ev: float
    centre: tuple[float, float, float]  # the middle of the object, from where the surroundings are seen


@dataclass(frozen=True)
class LightConfig:
    frame: int
    exposure_ev: float
    centre: tuple[float, float, float]


def view_yaw(camera_from_world: np.ndarray) -> float:
    """Turn about up (radians, counter-clockwise from above) that takes -Z into the camera's horizontal direction."""
    forward = rigid.inverse(camera_from_world)[:3, 2]
    return float(np.arctan2(-forward[0], -forward[2]))


def given_light(
    *, out: Path, config: GivenLight, report: Report, hdri_path: str, clip: FrameSource, scene: Scene4D, anchor: Anchor,
    **_: Artifact,
) -> None:
    """Writes ``light.exr`` from an artist's picture, turned into the world and seen from where the object stands.

    What the clip shows to be in the way, walls say, hides the picture and shines as bright as the plate has it.
    """
    picture = images.read_latlong(Path(hdri_path))
    if picture.shape[1] > WIDTH_PX:
        picture = cv2.resize(picture, (WIDTH_PX, WIDTH_PX // 2), interpolation=cv2.INTER_AREA)
    far = _in_world(given_environment(picture, config.yaw, config.exposure_ev))
    views = list(_views(clip, scene, report))
    # Only where depth is believed: sky must not hide the artist's sky.
    near, coverage = continued_upwards(*unprojected(views, np.array(config.centre), NEAR_HW, solid=BELIEVED))
    h, w = far.shape[:2]
    near, coverage = (cv2.resize(a, (w, h), interpolation=cv2.INTER_LINEAR) for a in (near, coverage))
    # A lamp that the plate clips is brighter than the plate says.
    near = np.where(near.max(-1, keepdims=True) > CLIPPED, np.maximum(near, far), near)
    radiance = far + coverage[..., None] * (near - far)
    about = {
        "kind": "given", "flagged": False, "hidden_share": float(coverage.mean()),
        "support_albedo": _support_albedo(views, anchor, config.frame, scene, radiance).tolist(),
    }
    _write(out, radiance.astype(np.float32), about)


def _support_albedo(views: list[View], anchor: Anchor, frame: int, scene: Scene4D, radiance: np.ndarray) -> np.ndarray:
    """(3,) what the support must reflect to look as the plate has it under the given light: it colours the bounce."""
    samples = _samples(views, anchor, frame, scene)
    # Shadows and all: what counts is how much light the support as a whole sends back.
    shown = samples.radiance[samples.on_support].mean(0)
    return np.clip(np.pi * shown / irradiance_of_picture(Environment(radiance), anchor.support.normal), 0.03, 0.85)


def estimated_light(
    *, out: Path, config: LightConfig, report: Report, clip: FrameSource, scene: Scene4D, anchor: Anchor, **_: Artifact
) -> None:
    """Writes ``light.exr`` and ``light.json`` from the clip's own shading, shadows and surroundings."""
    views = list(_views(clip, scene, report))
    joined = _samples(views, anchor, config.frame, scene)
    distance = _distance(anchor, config.frame, scene)
    test = None if scene.mesh is None else mesh_shadow_test(scene.mesh, start=0.03 * distance)
    estimate = estimate_light(
        joined, views=views, centre=np.array(config.centre), shadowed=test, support_normal=anchor.support.normal,
        support_luminance=_support_luminance(joined),
    )
    about = {
        "kind": "estimated",
        "flagged": estimate.flagged,
        "key_direction": None if estimate.key_direction is None else estimate.key_direction.tolist(),
        "key_confidence": estimate.key_confidence,
        "support_albedo": estimate.support_albedo.tolist(),
    }
    _write(out, estimate.environment.radiance * np.float32(2.0**config.exposure_ev), about)


def _distance(anchor: Anchor, frame: int, scene: Scene4D) -> float:
    return float(np.linalg.norm(rigid.transform(scene.cameras.pose(frame), anchor.point)))


def _samples(views: list[View], anchor: Anchor, frame: int, scene: Scene4D) -> ShadingSamples:
    """What the views show of surfaces; at least one sample lies on the support."""
    tolerance = 0.01 * _distance(anchor, frame, scene)
    joined = ShadingSamples.joined(
        shading_samples(view, anchor.support, tolerance=tolerance, stride_px=8) for view in views
    )
    return joined if joined.on_support.any() else _with_support_patch(joined, views[0], anchor)


def _views(clip: FrameSource, scene: Scene4D, report: Report) -> Iterator[View]:
    """Frames all over the clip, linear on the working raster, with their depth."""
    frames = [number for number in clip.numbers if number in scene.cameras]
    picked = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, VIEWS).round().astype(int))]
    for i, frame in enumerate(picked):
        linear = cv2.resize(clip.linear(frame), scene.working_wh, interpolation=cv2.INTER_AREA)
        yield View(linear, scene.cameras.camera(frame), scene.cameras.pose(frame), scene.depth.read(frame))
        report(i + 1, len(picked))


def _support_luminance(samples: ShadingSamples) -> float:
    """Albedo of the support, a guess between the gauge and what the clip's whites say.

    Nothing matt reflects more than about WHITE, so a support nearly as bright as the brightest surfaces is no dark one;
    yet those may be sunlit windows. The geometric mean of both opinions is wrong by little in either case.
    """
    luminance = samples.radiance @ REC709
    white = float(np.percentile(luminance, 97))
    told = np.clip(WHITE * float(np.median(luminance[samples.on_support])) / white, 0.1, 0.8)
    return float(np.sqrt(GAUGE * told))


def _with_support_patch(samples: ShadingSamples, view: View, anchor: Anchor) -> ShadingSamples:
    """The plate's mean around the anchor stands for a support whose depth nobody trusts."""
    px = view.camera.px_from_cam(rigid.transform(view.camera_from_world, anchor.point))
    w, h = view.camera.wh
    x, y = (int(np.clip(v, 0, n - 1)) for v, n in zip(np.nan_to_num(px), (w, h), strict=True))
    window = view.linear[max(y - 12, 0) : y + 13, max(x - 12, 0) : x + 13].reshape(-1, 3)
    patch = ShadingSamples(
        np.median(window, axis=0)[None].astype(np.float64), anchor.support.normal[None], anchor.point[None],
        np.ones(1), np.ones(1, bool),
    )
    return ShadingSamples.joined([samples, patch])


def _in_world(environment: Environment) -> np.ndarray:
    """The radiance re-sampled so that its centre column looks along world -Z."""
    radiance = environment.radiance
    h, w = radiance.shape[:2]
    uv = uv_from_direction(directions((h, w)), environment.yaw) * (w, h) - 0.5
    # The picture wraps around: one column from the other side lies beyond each edge.
    wrapped = np.concatenate([radiance[:, -1:], radiance, radiance[:, :1]], 1)
    grid = uv.astype(np.float32)
    return cv2.remap(wrapped, grid[..., 0] + 1, grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _write(out: Path, radiance: np.ndarray, about: dict[str, Any]) -> None:
    images.write_latlong(out / LIGHT, radiance)
    h, w = radiance.shape[:2]
    brightest = np.unravel_index(int((radiance @ REC709).argmax()), (h, w))
    about["brightest_direction"] = direction_from_uv((np.array(brightest[::-1]) + 0.5) / (w, h)).tolist()
    (out / "light.json").write_text(json.dumps(about, indent=1))


def load_light_facts(artifact: Artifact) -> dict[str, Any]:
    """What is known about the light, as it goes into the report."""
    return json.loads((artifact.path / "light.json").read_text())


def load_light(artifact: Artifact) -> Environment:
    return Environment(images.read_latlong(artifact.path / LIGHT))

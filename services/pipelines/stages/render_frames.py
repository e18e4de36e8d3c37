"""Stage: differential render layers of a few frames, on the plate's own raster, lens distortion included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from geometry import rigid
from geometry.camera import Camera, LensWarp
from geometry.match import choose_shutter_samples, shutter_times
from geometry.mesh import Model
from geometry.render.base import Environment, Instance, Renderer, View
from geometry.render.differential import plane_instance, render_layers
from geometry.scene import Plane, RenderLayers
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact, Report
from services.pipelines.layer_files import save_layers

Array = np.ndarray
FILTER_MARGIN_PX = 4  # border beyond the lens raster, for interpolation
RECEIVER_REACH = 12.0  # half width of a support, in object heights: shadows of a sun 5 degrees high still fall on it
MOST_SHUTTER_SAMPLES = 8


@dataclass(frozen=True)
class RenderConfig:
    """Everything that decides the picture; all plain numbers, because it enters the stage's key."""

    frames: tuple[int, ...]
    world_from_object: tuple[tuple[tuple[float, ...], ...], ...]  # (4, 4) with scale, one per object
    supports: tuple[tuple[float, float, float, float], ...]  # normal and offset of each distinct support
    support_of: tuple[int, ...]  # index into ``supports``, one per object
    support_albedo: tuple[float, float, float]
    source_wh: tuple[int, int]
    spp: int
    seed: int
    shutter_deg: float  # 0 = no motion blur
    renderer: str


@dataclass(frozen=True)
class Stage3D:
    """What is rendered, kept alive over all chunks so that nothing is loaded twice."""

    renderer: Renderer
    cameras: CameraPath  # of the displayed raster
    objects: tuple[Instance, ...]
    receivers: tuple[Instance, ...]
    environment: Environment


def build_stage(
    config: RenderConfig, renderer: Renderer, cameras: CameraPath, models: Sequence[Model], environment: Environment
) -> Stage3D:
    objects = tuple(
        Instance(model.meshes, np.array(matrix), i + 1)
        for i, (model, matrix) in enumerate(zip(models, config.world_from_object, strict=True))
    )
    receivers = []
    for i, support in enumerate(config.supports):
        plane = Plane(np.array(support[:3]), support[3])
        standing = [k for k, index in enumerate(config.support_of) if index == i]
        feet = np.array([objects[k].world_from_object[:3, 3] for k in standing])
        height = max(models[k].height * float(np.linalg.norm(objects[k].world_from_object[:3, 1])) for k in standing)
        reach = RECEIVER_REACH * height + float(np.linalg.norm(feet - feet.mean(0), axis=1).max())
        receivers.append(plane_instance(plane, feet.mean(0), reach, config.support_albedo, len(objects) + 1 + i))
    return Stage3D(renderer, cameras.scaled(config.source_wh), objects, tuple(receivers), environment)


def render_frames(*, out: Path, config: RenderConfig, report: Report, stage: Stage3D, **_: Artifact) -> None:
    """Writes one file of layers for each of ``config.frames`` that has a camera."""
    for i, frame in enumerate(config.frames):
        if frame in stage.cameras:
            save_layers(out, frame, _render(config, stage, frame))
        report(i + 1, len(config.frames))


def _render(config: RenderConfig, stage: Stage3D, frame: int) -> RenderLayers:
    warp = _warp(stage.cameras.camera(frame))
    view = View(warp.pinhole, _shutter_poses(config, stage, frame))
    later = frame + 1 if frame + 1 in stage.cameras else None
    next_view = None if later is None else View(warp.pinhole, (stage.cameras.pose(later),))
    layers = render_layers(
        stage.renderer, objects=stage.objects, receivers=stage.receivers, environment=stage.environment, view=view,
        spp=max(config.spp, len(view.camera_from_world)), seed=config.seed * 100_003 + frame, next_view=next_view,
    )
    return _through_lens(warp, layers)


@lru_cache(maxsize=4)
def _warp(camera: Camera) -> LensWarp:
    return LensWarp.of(camera, FILTER_MARGIN_PX)


def _shutter_poses(config: RenderConfig, stage: Stage3D, frame: int) -> tuple[Array, ...]:
    """Camera poses over the exposure: as many as the objects' motion in the picture asks for.

    The middle of the exposure comes first among equals: G-buffers belong to the first sample.
    """
    cameras = stage.cameras
    if config.shutter_deg == 0:
        return (cameras.pose(frame),)
    motion = max(_motion_px(cameras, frame, instance) for instance in stage.objects)
    count = choose_shutter_samples(motion, config.shutter_deg, MOST_SHUTTER_SAMPLES)
    times = sorted(shutter_times(frame, config.shutter_deg, count), key=lambda t: (abs(t - frame), t))
    return tuple(cameras.pose_between(t) for t in times)


def _motion_px(cameras: CameraPath, frame: int, instance: Instance) -> float:
    """How far the object's origin and its top move in the picture from this frame to the next."""
    origin = instance.world_from_object[:3, 3]
    points = np.stack([origin, origin + instance.world_from_object[:3, 1]])
    camera = cameras.camera(frame)
    now, then = (camera.px_from_cam(rigid.transform(cameras.pose_between(t), points)) for t in (frame, frame + 1))
    moved = np.linalg.norm(then - now, axis=1)
    return float(np.nan_to_num(moved, nan=0.0).max())


def _through_lens(warp: LensWarp, layers: RenderLayers) -> RenderLayers:
    """Layers of the overscanned pinhole as the lens shows them. What names a surface is taken, never blended."""
    if warp.lens.is_pinhole:
        return RenderLayers(**{name: warp.distort(getattr(layers, name)) for name in RenderLayers.__dataclass_fields__})
    blended = {name: warp.distort(getattr(layers, name)) for name in ("beauty", "alpha")}
    blended["ratio"] = 1 + warp.distort(layers.ratio - 1)
    names = ("depth", "normal", "motion")
    taken = {name: warp.distort(getattr(layers, name), interpolation=cv2.INTER_NEAREST) for name in names}
    ids = warp.distort(layers.object_id.astype(np.float32), interpolation=cv2.INTER_NEAREST).astype(np.int32)
    return replace(layers, **blended, **taken, object_id=ids)

"""Stage: differential render layers of a few frames, on the plate's own raster, lens distortion included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from geometry.render.differential import TracedLayers, plane_instance, trace_layers
from geometry.scene import RenderLayers, RigidTrack
from geometry.trajectory import CameraPath
from services.pipelines.context import Artifact, Report
from services.pipelines.layer_files import save_layers
from services.pipelines.one_behind import one_behind
from services.pipelines.supports import Motion, Numbers, Support

Array = np.ndarray
FILTER_MARGIN_PX = 4  # border beyond the lens raster, for interpolation
RECEIVER_REACH = 12.0  # half width of a support, in object heights: shadows of a sun 5 degrees high still fall on it
MOST_SHUTTER_SAMPLES = 8


@dataclass(frozen=True)
class RenderConfig:
    """Everything that decides the picture; all plain numbers, because it enters the stage's key."""

    frames: tuple[int, ...]
    world_from_object: tuple[Numbers, ...]  # with scale, one per object, as placed
    motions: tuple[Motion | None, ...]  # one per object; None = it stands still
    supports: tuple[Support, ...]
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
    objects: tuple[Instance, ...]  # at rest
    receivers: tuple[Instance, ...]
    object_tracks: tuple[RigidTrack | None, ...]
    receiver_tracks: tuple[RigidTrack | None, ...]
    environment: Environment

    @property
    def is_still(self) -> bool:
        return not any(self.object_tracks + self.receiver_tracks)

    def objects_at(self, time: float, later: float | None = None) -> tuple[Instance, ...]:
        """The objects at a fractional frame number; where they will be ``later`` tells their motion."""
        pairs = zip(self.objects, self.object_tracks, strict=True)
        return tuple(_moved(instance, track, time, later) for instance, track in pairs)

    def receivers_at(self, time: float) -> tuple[Instance, ...]:
        pairs = zip(self.receivers, self.receiver_tracks, strict=True)
        return tuple(_moved(instance, track, time, None) for instance, track in pairs)


def _moved(instance: Instance, track: RigidTrack | None, time: float, later: float | None) -> Instance:
    if track is None:
        return instance
    at_rest = instance.world_from_object
    then = None if later is None else track.at(later) @ at_rest
    return replace(instance, world_from_object=track.at(time) @ at_rest, world_from_object_next=then)


def build_stage(
    config: RenderConfig, renderer: Renderer, cameras: CameraPath, models: Sequence[Model], environment: Environment
) -> Stage3D:
    objects = tuple(
        Instance(model.meshes, np.array(matrix), i + 1)
        for i, (model, matrix) in enumerate(zip(models, config.world_from_object, strict=True))
    )
    receivers = []
    for i, support in enumerate(config.supports):
        standing = [k for k, index in enumerate(config.support_of) if index == i]
        feet = np.array([objects[k].world_from_object[:3, 3] for k in standing])
        height = max(models[k].height * float(np.linalg.norm(objects[k].world_from_object[:3, 1])) for k in standing)
        if support.motion is None:  # those that wander over it need it everywhere
            feet = np.concatenate([_stations(config.motions[k], objects[k].world_from_object[:3, 3]) for k in standing])
        reach = RECEIVER_REACH * height + float(np.linalg.norm(feet - feet.mean(0), axis=1).max())
        object_id = len(objects) + 1 + i
        receivers.append(plane_instance(support.plane, feet.mean(0), reach, config.support_albedo, object_id))
    return Stage3D(
        renderer=renderer, cameras=cameras.scaled(config.source_wh), objects=objects, receivers=tuple(receivers),
        object_tracks=tuple(None if motion is None else motion.track for motion in config.motions),
        receiver_tracks=tuple(None if s.motion is None else s.motion.track for s in config.supports),
        environment=environment,
    )


def _stations(motion: Motion | None, foot: Array) -> Array:
    """(N, 3) where a foot stands over the shot."""
    if motion is None:
        return foot[None]
    return np.array([rigid.transform(m, foot) for m in motion.track.world_from_rest])


def render_frames(*, out: Path, config: RenderConfig, report: Report, stage: Stage3D, **_: Artifact) -> None:
    """Writes one file of layers for each of ``config.frames`` that has a camera.

    A frame is denoised and written while the next one is traced: one of them uses all processors, the other does not.
    """
    jobs = (_trace(config, stage, frame, out) for frame in config.frames)
    for i, _written in enumerate(one_behind(jobs)):
        report(i + 1, len(config.frames))


def _trace(config: RenderConfig, stage: Stage3D, frame: int, out: Path) -> Callable[[], None]:
    """Traces a frame; what it returns does the rest without the renderer."""
    if frame not in stage.cameras:
        return lambda: None
    warp = _warp(stage.cameras.camera(frame))
    times = _shutter_times(config, stage, frame)
    later = frame + 1 if frame + 1 in stage.cameras else None
    next_view = None if later is None else View(warp.pinhole, (stage.cameras.pose(later),))

    def exposed(times: tuple[float, ...], now: float, spp: int, seed: int) -> TracedLayers:
        return trace_layers(
            stage.renderer, objects=stage.objects_at(now, later), receivers=stage.receivers_at(now),
            environment=stage.environment, view=View(warp.pinhole, tuple(stage.cameras.pose_between(t) for t in times)),
            spp=max(spp, len(times)), seed=seed, next_view=next_view,
        )

    seed = config.seed * 100_003 + frame
    if stage.is_still:
        moments = [exposed(times, frame, config.spp, seed)]
    else:  # The renderer moves the camera over the exposure, not the things: one picture for every moment of theirs.
        moments = [exposed((t,), t, config.spp // len(times), seed * 31 + i) for i, t in enumerate(times)]
    return lambda: save_layers(out, frame, _through_lens(warp, _mean([moment.layers() for moment in moments])))


def _mean(moments: Sequence[RenderLayers]) -> RenderLayers:
    """Of what a shutter mixes; the rest is the first moment's."""
    if len(moments) == 1:
        return moments[0]
    mixed = {name: np.mean([getattr(m, name) for m in moments], 0) for name in ("beauty", "alpha", "ratio")}
    return replace(moments[0], **mixed)


@lru_cache(maxsize=4)
def _warp(camera: Camera) -> LensWarp:
    return LensWarp.of(camera, FILTER_MARGIN_PX)


def _shutter_times(config: RenderConfig, stage: Stage3D, frame: int) -> tuple[float, ...]:
    """Moments of the exposure: as many as the objects' motion in the picture asks for.

    The middle of the exposure comes first among equals: G-buffers belong to the first sample.
    """
    if config.shutter_deg == 0:
        return (float(frame),)
    motion = max(
        _motion_px(stage.cameras, frame, *pair)
        for pair in zip(stage.objects_at(frame), stage.objects_at(frame + 1), strict=True)
    )
    count = choose_shutter_samples(motion, config.shutter_deg, MOST_SHUTTER_SAMPLES)
    return tuple(sorted(shutter_times(frame, config.shutter_deg, count), key=lambda t: (abs(t - frame), t)))


def _motion_px(cameras: CameraPath, frame: int, now: Instance, then: Instance) -> float:
    """How far an object's origin and its top move in the picture from this frame to the next."""
    def shown(instance: Instance, time: int) -> Array:
        origin = instance.world_from_object[:3, 3]
        points = np.stack([origin, origin + instance.world_from_object[:3, 1]])
        return cameras.camera(frame).px_from_cam(rigid.transform(cameras.pose_between(time), points))

    moved = np.linalg.norm(shown(then, frame + 1) - shown(now, frame), axis=1)
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

"""Stage: a few frames of the finished picture: what hides the object, match to the plate, composite, layers.

``composite = plate * ratio * (1 - object alpha) + object`` holds in linear light for every delivered EXR; grain is part
of the object layer. Where the effect matte is 0 the source's code values are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from geometry.composite import Composite, composite, plane_depth, receiver_evidence
from geometry.masks import Contact, Evidence, depth_evidence, holdout
from geometry.match import grain_object, match_sharpness
from geometry.scene import DepthMap, RenderLayers, Scene4D
from services.media import exr, images
from services.media.clip import ClipReader
from services.media.colour import linear_from_srgb, srgb_from_linear
from services.pipelines.context import Artifact, Report
from services.pipelines.inputs import Holdout
from services.pipelines.layer_files import load_layers
from services.pipelines.one_behind import one_behind
from services.pipelines.stages.measure_plate import PlateLook
from services.pipelines.steadied import HALO, steadied_visibility
from services.pipelines.supports import Support

Array = np.ndarray


@dataclass(frozen=True)
class CompositeConfig:
    frames: tuple[int, ...]
    names: tuple[str, ...]  # mask folder of object_id 1, 2, ...
    supports: tuple[Support, ...]
    support_of: tuple[int, ...]  # index into ``supports`` of object_id 1, 2, ...
    grain: bool
    sharpness: bool
    seed: int


ReadLayers = Callable[[int], RenderLayers | None]


@dataclass(frozen=True)
class Sources:
    """What the frames are made from, opened once per job."""

    clip: ClipReader
    scene: Scene4D
    look: PlateLook
    roto: Holdout | None


def composite_frames(
    *, out: Path, config: CompositeConfig, report: Report, sources: Sources, **layers: Artifact
) -> None:
    """Writes ``composite/``, ``masks/``, ``effect/`` and ``exr/`` for ``config.frames``."""
    folders = [artifact.path for name, artifact in sorted(layers.items()) if name.startswith("layers")]
    # A frame's layers are asked for by its own picture and by the masks of its neighbours.
    read = lru_cache(maxsize=2 * HALO + 3)(partial(load_layers, folders))
    numbers = _with_halo(sources.clip.numbers, config.frames)
    visible = visible_objects(config.supports, config.support_of, sources, read, numbers)
    masks = zip(visible, _reception(config, sources, read, numbers), strict=True)
    jobs = (  # a frame is written while the next one's masks are made
        partial(_write_frame, out, config, sources, read, number, seen, receiver)
        for number, (seen, receiver) in zip(numbers, masks, strict=True)
        if number in config.frames
    )
    for i, _written in enumerate(one_behind(jobs)):
        report(i + 1, len(config.frames), _preview(out, config.frames[i], sources.clip))


def _with_halo(numbers: Sequence[int], frames: Sequence[int]) -> list[int]:
    first, last = numbers.index(frames[0]), numbers.index(frames[-1])
    return list(numbers[max(first - HALO, 0) : last + 1 + HALO])


def visible_objects(
    supports: Sequence[Support], support_of: Sequence[int], sources: Sources, read: ReadLayers, numbers: Sequence[int]
) -> Iterator[Array]:
    """Who hides the objects, frame by frame: (H, W) float32 on the plate's raster, 1 = seen.

    Each object is judged on its own support: ``support_of`` has the index into ``supports`` of object_id 1, 2, ...
    """
    groups = [[i + 1 for i, s in enumerate(support_of) if s == index] for index in range(len(supports))]
    judged = [
        _steadied(sources, read, numbers, partial(_object_evidence, sources, support, ids))
        for support, ids in zip(supports, groups, strict=True)
    ]
    for number, *visible in zip(numbers, *judged, strict=True):
        layers = read(number) if len(groups) > 1 else None
        if layers is None:
            yield visible[0]
        else:
            owner = [np.isin(layers.object_id, ids) for ids in groups]
            yield np.select(owner, visible, 1.0).astype(np.float32)


def _reception(
    config: CompositeConfig, sources: Sources, read: ReadLayers, numbers: Sequence[int]
) -> Iterator[Array]:
    """Where the shadow may fall: on its support, not on what stands in front of it."""
    return _steadied(sources, read, numbers, partial(_support_evidence, sources, config.supports))


Judge = Callable[[RenderLayers, int], Evidence]


def _steadied(sources: Sources, read: ReadLayers, numbers: Sequence[int], judge: Judge) -> Iterator[Array]:
    def of_frame(number: int) -> Evidence | None:
        layers = read(number)
        return None if layers is None else judge(layers, number)

    return steadied_visibility(sources.clip, sources.scene, numbers, of_frame)


def _object_evidence(
    sources: Sources, support: Support, ids: Sequence[int], layers: RenderLayers, number: int
) -> Evidence:
    scene = sources.scene
    mine = np.isin(layers.object_id, ids)
    contact = Contact(support.plane_at(number), scene.cameras.camera(number), scene.cameras.pose(number))
    depth, alpha = np.where(mine, layers.depth, 0), np.where(mine, layers.alpha, 0)
    seen = _without(scene, number, (support,))
    return depth_evidence(depth, alpha, seen, contact=contact)


def _support_evidence(
    sources: Sources, supports: Sequence[Support], layers: RenderLayers, number: int
) -> Evidence:
    scene = sources.scene
    camera, pose = scene.cameras.camera(number), scene.cameras.pose(number)
    ratio = cv2.resize(layers.ratio, camera.wh, interpolation=cv2.INTER_AREA)
    depths = np.stack([plane_depth(support.plane_at(number), camera, pose) for support in supports])
    nearest = np.where(depths > 0, depths, np.inf).min(0)
    seen = _without(scene, number, supports)
    return receiver_evidence(seen, np.where(np.isfinite(nearest), nearest, 0), ratio)


def _without(scene: Scene4D, number: int, supports: Sequence[Support]) -> DepthMap:
    """A frame's depth where the carriers do not count: a carrier's depth is too rough to hide what it carries."""
    seen = scene.depth.read(number)
    carriers = [support.carrier for support in supports if support.carrier]
    if scene.motion is None or not carriers:
        return seen
    carried = np.isin(scene.motion.read(number), carriers)
    return replace(seen, confidence=np.where(carried, 0, seen.confidence).astype(np.float32))


def _write_frame(
    out: Path, config: CompositeConfig, sources: Sources, read: ReadLayers, number: int,
    visible: Array, receiver: Array,
) -> None:
    clip, look = sources.clip, sources.look
    code, linear = clip.read(number), clip.linear(number)
    layers = read(number)
    if layers is None:  # the camera of this frame is not known: the plate goes through untouched
        layers = _no_layers(clip.hw)
        visible = receiver = np.ones(clip.hw, np.float32)
    if config.sharpness:
        layers = _softened(layers, look.blur_px)
    roto = sources.roto.read(number, clip.hw) if sources.roto else None
    if roto is not None:
        visible, receiver = holdout(visible, roto), holdout(receiver, roto)
    if config.grain:
        rng = np.random.default_rng([config.seed, 0x6E, number])
        beauty = grain_object(
            layers.beauty, layers.alpha, visible, look.grain, rng,
            to_display=srgb_from_linear, to_linear=linear_from_srgb,
        )
        layers = replace(layers, beauty=beauty.astype(np.float32))
    frame = composite(code, linear, layers, visible, lambda rgb: clip.encode(rgb, number), receiver=receiver)
    _save(out, config, frame, linear, layers, visible, number)


def _no_layers(hw: tuple[int, int]) -> RenderLayers:
    zeros = np.zeros(hw, np.float32)
    three = np.zeros((*hw, 3), np.float32)
    motion, nobody = np.zeros((*hw, 2), np.float32), np.zeros(hw, np.int32)
    return RenderLayers(three, zeros, np.ones_like(three), zeros, three, motion, nobody)


def _softened(layers: RenderLayers, blur_px: float) -> RenderLayers:
    """The render with the plate's sharpness. Only as far as its own border, so that what is 1 or 0 outside stays so."""
    beauty, alpha, ratio = (match_sharpness(a, blur_px) for a in (layers.beauty, layers.alpha, layers.ratio))
    alpha = np.where(alpha < 1 / 512, 0, np.minimum(alpha, 1)).astype(np.float32)
    ratio = np.where(np.abs(ratio - 1) < 1 / 1024, 1, ratio).astype(np.float32)
    beauty = np.where(alpha[..., None] > 0, beauty, 0).astype(np.float32)
    return replace(layers, beauty=beauty, alpha=alpha, ratio=ratio)


def _save(
    out: Path, config: CompositeConfig, frame: Composite, plate: Array, layers: RenderLayers, visible: Array,
    number: int,
) -> None:
    name = f"{number:04d}"
    if frame.code.dtype.kind == "f":  # a PNG cannot hold floats: the EXR below is the lossless picture
        exr.write_rgb(out / "composite" / f"{name}.exr", frame.code, half=False)
    else:
        images.write_picture(out / "composite" / f"{name}.png", frame.code)
    coverage = frame.object_premultiplied[..., 3]
    images.write_mask(out / "masks" / f"{name}.png", coverage)
    ids = _grown_ids(layers, len(config.names))
    for i, folder in enumerate(config.names):
        images.write_mask(out / "masks" / folder / f"{name}.png", np.where(ids == i + 1, coverage, 0))
    images.write_picture(out / "effect" / f"{name}.png", frame.effect.astype(np.uint8) * 255)
    exr.write_layers(
        out / "exr" / f"{name}.exr",
        exr.CompositeLayers(
            composite=np.dstack([frame.linear, np.ones_like(coverage)]), plate=plate, object=frame.object_premultiplied,
            ratio=frame.ratio, occlusion=visible, normal=layers.normal, motion=layers.motion, depth=layers.depth,
            object_id=layers.object_id,
        ),
    )


def _grown_ids(layers: RenderLayers, count: int) -> Array:
    """(H, W) ids that reach over the soft rim: each pixel takes the id of the nearest pixel whose centre has one."""
    if count == 1:
        return np.ones(layers.object_id.shape, np.int32)
    missing = (layers.object_id == 0).astype(np.uint8)
    if missing.all():
        return layers.object_id
    _, labels = cv2.distanceTransformWithLabels(missing, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros(labels.max() + 1, np.int32)
    by_label[labels[missing == 0]] = layers.object_id[missing == 0]
    return by_label[labels]


def _preview(out: Path, number: int, clip: ClipReader) -> Array:
    path = out / "composite" / f"{number:04d}.png"
    picture = images.read_picture(path) if path.exists() else images.read_picture(path.with_suffix(".exr"))
    if picture.dtype.kind == "f":
        return (np.clip(srgb_from_linear(picture), 0, 1) * 255).astype(np.uint8)
    return picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)

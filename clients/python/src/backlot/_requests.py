"""What to ask for, as plain dataclasses, and how they become messages.

Field names are those of the contract and of the server, so that an error's ``field`` can be found here.
Paths are local: ``inputs`` lists them with their fields, the client uploads them or names them in place, and
``to_proto`` is given where they lie. Values are judged by the server alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum

from backlot.v1 import common_pb2, insertion_pb2, previs_pb2, scene_pb2


class InputKind(Enum):
    """Which files belong to an input (see ``_uploads``)."""

    CLIP = "clip"  # a video, or the folder or pattern of an image sequence
    MESH = "mesh"  # with the files that it refers to
    FILE = "file"
    FOLDER = "folder"  # with everything below
    CAMERAS = "cameras"  # a COLMAP folder, or a file with those that it refers to


@dataclass(frozen=True)
class Input:
    path: str
    kind: InputKind


Places = Mapping[Input, common_pb2.MediaPath]
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Clip:
    path: str
    first_frame: int | None = None
    last_frame: int | None = None
    colorspace: str = ""

    @property
    def input(self) -> Input:
        return Input(self.path, InputKind.CLIP)

    def to_proto(self, places: Places) -> common_pb2.Clip:
        return common_pb2.Clip(
            path=places[self.input],
            first_frame=self.first_frame,
            last_frame=self.last_frame,
            colorspace=self.colorspace,
        )


@dataclass(frozen=True)
class KnownDistance:
    """Two pixels of the first frame of the range and the metres between the surface points that they show."""

    x0: float
    y0: float
    x1: float
    y1: float
    metres: float

    def to_proto(self) -> common_pb2.KnownDistance:
        return common_pb2.KnownDistance(x0=self.x0, y0=self.y0, x1=self.x1, y1=self.y1, metres=self.metres)


@dataclass(frozen=True)
class MoverClick:
    """A pixel on something that moves by itself; ``frame`` None is the first of the range."""

    x: float
    y: float
    frame: int | None = None

    def to_proto(self) -> common_pb2.MoverClick:
        return common_pb2.MoverClick(at_px=common_pb2.PixelPoint(x=self.x, y=self.y), frame=self.frame)


@dataclass(frozen=True)
class SceneOptions:
    """What is known about the scene, or where an earlier solve of it lies."""

    cameras_file: str = ""
    scene_dir: str = ""
    focal_mm: float | None = None
    horizon: str = ""
    known_distance: KnownDistance | None = None
    camera_height_m: float | None = None
    kind: str = ""  # parallax, pan or locked; empty = found in the clip
    movers: tuple[MoverClick, ...] = ()

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        if self.cameras_file:
            yield "scene.cameras_file", Input(self.cameras_file, InputKind.CAMERAS)
        if self.scene_dir:
            yield "scene.scene_dir", Input(self.scene_dir, InputKind.FOLDER)

    def to_proto(self, places: Places) -> common_pb2.SceneOptions:
        return common_pb2.SceneOptions(
            cameras_file=places.get(Input(self.cameras_file, InputKind.CAMERAS)),
            scene_dir=places.get(Input(self.scene_dir, InputKind.FOLDER)),
            focal_mm=self.focal_mm,
            horizon=self.horizon,
            known_distance=self.known_distance.to_proto() if self.known_distance else None,
            camera_height_m=self.camera_height_m,
            kind=common_pb2.ShotKind.Value(f"SHOT_KIND_{self.kind.upper() or 'UNSPECIFIED'}"),
            movers=[click.to_proto() for click in self.movers],
        )


@dataclass(frozen=True)
class InsertedObject:
    """One object and where it stands; exactly one of ``height_m``, ``height_px`` and ``scale`` is given."""

    path: str
    at_px: tuple[float, float]
    frame: int | None = None
    height_m: float | None = None
    height_px: float | None = None
    scale: float | None = None
    yaw_deg: float = 0.0
    object_up: str = ""
    attach: str = "world"
    name: str = ""

    @property
    def input(self) -> Input:
        return Input(self.path, InputKind.MESH)

    def to_proto(self, places: Places) -> common_pb2.InsertedObject:
        return common_pb2.InsertedObject(
            path=places[self.input],
            at_px=common_pb2.PixelPoint(x=self.at_px[0], y=self.at_px[1]),
            frame=self.frame,
            height_m=self.height_m,
            height_px=self.height_px,
            scale=self.scale,
            yaw_deg=self.yaw_deg,
            object_up=self.object_up,
            attach=self.attach,
            name=self.name,
        )


@dataclass(frozen=True)
class Lighting:
    hdri: str = ""
    hdri_yaw_deg: float = 0.0
    exposure_ev: float = 0.0

    @property
    def input(self) -> Input:
        return Input(self.hdri, InputKind.FILE)

    def to_proto(self, places: Places) -> common_pb2.Lighting:
        return common_pb2.Lighting(
            hdri=places.get(self.input), hdri_yaw_deg=self.hdri_yaw_deg, exposure_ev=self.exposure_ev
        )


@dataclass(frozen=True)
class Matching:
    motion_blur: bool = True
    grain: bool = True
    sharpness: bool = True
    shutter_deg: float | None = None  # None = measured from the clip

    def to_proto(self) -> common_pb2.Matching:
        return common_pb2.Matching(
            motion_blur=self.motion_blur, grain=self.grain, sharpness=self.sharpness, shutter_deg=self.shutter_deg
        )


@dataclass(frozen=True)
class ReconstructRequest:
    clip: Clip
    scene: SceneOptions = field(default_factory=SceneOptions)
    seed: int = 0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield "clip.path", self.clip.input
        yield from self.scene.inputs

    def to_proto(self, places: Places, request_id: str) -> scene_pb2.ReconstructSceneRequest:
        return scene_pb2.ReconstructSceneRequest(
            request_id=request_id,
            clip=self.clip.to_proto(places),
            scene=self.scene.to_proto(places),
            seed=self.seed,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True)
class ImportSceneRequest:
    """A modelled scene; ``width_px``, ``height_px`` and ``rate`` are for one without a clip (0: as stored, 24)."""

    path: str
    cameras_file: str = ""
    clip: Clip | None = None
    width_px: int = 0
    height_px: int = 0
    rate: float = 0.0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield "path", self._mesh
        if self.cameras_file:
            yield "cameras_file", self._cameras
        if self.clip:
            yield "clip.path", self.clip.input

    @property
    def _mesh(self) -> Input:
        return Input(self.path, InputKind.MESH)

    @property
    def _cameras(self) -> Input:
        return Input(self.cameras_file, InputKind.CAMERAS)

    def to_proto(self, places: Places, request_id: str) -> scene_pb2.ImportSceneRequest:
        return scene_pb2.ImportSceneRequest(
            request_id=request_id,
            path=places[self._mesh],
            cameras_file=places.get(self._cameras),
            clip=self.clip.to_proto(places) if self.clip else None,
            width_px=self.width_px,
            height_px=self.height_px,
            rate=self.rate,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True)
class InsertRequest:
    clip: Clip
    objects: tuple[InsertedObject, ...]
    scene: SceneOptions = field(default_factory=SceneOptions)
    lighting: Lighting = field(default_factory=Lighting)
    matching: Matching = field(default_factory=Matching)
    holdout: str = ""
    draft: bool = False
    backend: str = "none"
    seed: int = 0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield "clip.path", self.clip.input
        for index, inserted in enumerate(self.objects):
            yield f"objects[{index}].path", inserted.input
        yield from self.scene.inputs
        if self.lighting.hdri:
            yield "lighting.hdri", self.lighting.input
        if self.holdout:
            yield "holdout", self._holdout_input

    @property
    def _holdout_input(self) -> Input:
        return Input(self.holdout, InputKind.CLIP)

    def to_proto(self, places: Places, request_id: str) -> insertion_pb2.InsertObjectRequest:
        return insertion_pb2.InsertObjectRequest(
            request_id=request_id,
            clip=self.clip.to_proto(places),
            objects=[inserted.to_proto(places) for inserted in self.objects],
            scene=self.scene.to_proto(places),
            lighting=self.lighting.to_proto(places),
            matching=self.matching.to_proto(),
            holdout=places.get(self._holdout_input),
            draft=self.draft,
            backend=self.backend,
            seed=self.seed,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True)
class PropagateMasksRequest:
    """Exactly one of ``placement``, ``box`` (x0, y0, x1, y1 px) and ``mask`` (a painted picture) is given."""

    clip: Clip
    frame: int | None = None  # the one that shows box or mask; None = the first
    placement: InsertedObject | None = None
    box: tuple[float, float, float, float] | None = None
    mask: str = ""
    scene: SceneOptions = field(default_factory=SceneOptions)
    seed: int = 0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield "clip.path", self.clip.input
        if self.placement:
            yield "placement.path", self.placement.input
        if self.mask:
            yield "mask", self._painted
        yield from self.scene.inputs

    @property
    def _painted(self) -> Input:
        return Input(self.mask, InputKind.FILE)

    def to_proto(self, places: Places, request_id: str) -> insertion_pb2.PropagateMasksRequest:
        return insertion_pb2.PropagateMasksRequest(
            request_id=request_id,
            clip=self.clip.to_proto(places),
            frame=self.frame,
            placement=self.placement.to_proto(places) if self.placement else None,
            box=common_pb2.PixelBox(**dict(zip(("x0", "y0", "x1", "y1"), self.box, strict=True)))
            if self.box
            else None,
            mask=places.get(self._painted),
            scene=self.scene.to_proto(places),
            seed=self.seed,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True)
class PrevisShot:
    """A blockout and its camera: ``camera`` names one in the scene's file, ``cameras_file`` brings others."""

    scene: str
    camera: str = ""
    cameras_file: str = ""
    first_frame: int | None = None
    last_frame: int | None = None
    frames: int = 0  # how many from the first on, instead of last_frame; 0 = all
    width_px: int = 0  # 0 = as the aligned reference or the cameras say
    height_px: int = 0
    rate: float = 0.0  # 0 = 24
    up_axis: str = ""

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield "shot.scene", self._scene
        if self.cameras_file:
            yield "shot.cameras_file", self._cameras

    @property
    def _scene(self) -> Input:
        return Input(self.scene, InputKind.MESH)

    @property
    def _cameras(self) -> Input:
        return Input(self.cameras_file, InputKind.CAMERAS)

    def to_proto(self, places: Places) -> previs_pb2.PrevisShot:
        return previs_pb2.PrevisShot(
            scene=places[self._scene],
            camera=self.camera,
            cameras_file=places.get(self._cameras),
            first_frame=self.first_frame,
            last_frame=self.last_frame,
            frames=self.frames,
            width_px=self.width_px,
            height_px=self.height_px,
            rate=self.rate,
            up_axis=self.up_axis,
        )


@dataclass(frozen=True)
class StyleRegion:
    """``object`` takes its look from ``box`` (x0, y0, x1, y1), in pixels of the reference."""

    object: str
    box: tuple[float, float, float, float]

    def to_proto(self) -> previs_pb2.StyleRegion:
        x0, y0, x1, y1 = self.box
        return previs_pb2.StyleRegion(object=self.object, box=common_pb2.PixelBox(x0=x0, y0=y0, x1=x1, y1=y1))


@dataclass(frozen=True)
class PrevisStyle:
    """``aligned_frame``: the frame that the reference is painted over, if it is."""

    reference: str
    aligned_frame: int | None = None
    regions: tuple[StyleRegion, ...] = ()
    prompt: str = ""
    adapter: str = ""

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield "style.reference", self._reference
        if self.adapter:
            yield "style.adapter", self._adapter

    @property
    def _reference(self) -> Input:
        return Input(self.reference, InputKind.FILE)

    @property
    def _adapter(self) -> Input:
        return Input(self.adapter, InputKind.FOLDER)

    def to_proto(self, places: Places) -> previs_pb2.PrevisStyle:
        return previs_pb2.PrevisStyle(
            reference=places[self._reference],
            aligned_frame=self.aligned_frame,
            regions=[region.to_proto() for region in self.regions],
            prompt=self.prompt,
            adapter=places.get(self._adapter),
        )


@dataclass(frozen=True)
class AnchorEdit:
    """What is done to the anchor of one frame: ``picture`` stands there, or it is painted a ``redo``-th time more."""

    frame: int
    picture: str = ""
    redo: int = 0

    @property
    def input(self) -> Input:
        return Input(self.picture, InputKind.FILE)

    def to_proto(self, places: Places) -> previs_pb2.AnchorEdit:
        return previs_pb2.AnchorEdit(frame=self.frame, picture=places.get(self.input), redo=self.redo)


@dataclass(frozen=True)
class GuidesRequest:
    shot: PrevisShot
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield from self.shot.inputs

    def to_proto(self, places: Places, request_id: str) -> previs_pb2.RenderGuidesRequest:
        return previs_pb2.RenderGuidesRequest(
            request_id=request_id, shot=self.shot.to_proto(places), no_cache=self.no_cache
        )


@dataclass(frozen=True)
class AnchorsRequest:
    shot: PrevisShot
    style: PrevisStyle
    anchors: tuple[AnchorEdit, ...] = ()
    anchors_backend: str = ""
    seed: int = 0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield from self.shot.inputs
        yield from self.style.inputs
        for index, edit in enumerate(self.anchors):
            if edit.picture:
                yield f"anchors[{index}].picture", edit.input

    def to_proto(self, places: Places, request_id: str) -> previs_pb2.RenderAnchorsRequest:
        return previs_pb2.RenderAnchorsRequest(
            request_id=request_id,
            shot=self.shot.to_proto(places),
            style=self.style.to_proto(places),
            anchors=[edit.to_proto(places) for edit in self.anchors],
            anchors_backend=self.anchors_backend,
            seed=self.seed,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True)
class PrevisRequest:
    shot: PrevisShot
    style: PrevisStyle
    anchors: tuple[AnchorEdit, ...] = ()
    anchors_backend: str = ""
    seed: int = 0
    inbetween_backend: str = ""
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield from AnchorsRequest(self.shot, self.style, self.anchors).inputs

    def to_proto(self, places: Places, request_id: str) -> previs_pb2.RenderPrevisRequest:
        return previs_pb2.RenderPrevisRequest(
            request_id=request_id,
            shot=self.shot.to_proto(places),
            style=self.style.to_proto(places),
            anchors=[edit.to_proto(places) for edit in self.anchors],
            anchors_backend=self.anchors_backend,
            seed=self.seed,
            inbetween_backend=self.inbetween_backend,
            no_cache=self.no_cache,
        )


Request = (
    ReconstructRequest
    | ImportSceneRequest
    | InsertRequest
    | PropagateMasksRequest
    | GuidesRequest
    | AnchorsRequest
    | PrevisRequest
)


def as_clip(clip: Clip | PathLike) -> Clip:
    return clip if isinstance(clip, Clip) else Clip(os.fspath(clip))

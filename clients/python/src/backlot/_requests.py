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

from backlot._errors import InvalidRequest
from backlot.v1 import common_pb2, insertion_pb2, plate_pb2, previs_pb2, scene_pb2


class InputKind(Enum):
    """Which files belong to an input (see ``_uploads``)."""

    CLIP = "clip"  # a video, or the folder or pattern of an image sequence
    MESH = "mesh"  # with the files that it refers to
    FILE = "file"
    FOLDER = "folder"  # with everything below
    CAMERAS = "cameras"  # a COLMAP folder, or a file with those that it refers to
    LAYERS = "layers"  # a file, or a folder with everything below


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
    """A blockout and its camera: ``camera`` names one in the scene's file, ``cameras_file`` brings others, and ``move``
    (such as orbit=left:40) starts from that camera, or from one that frames a scene without any."""

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
    move: str = ""
    animation: str = ""  # that of a glTF that plays; empty = all that do not contradict each other

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
            move=self.move,
            animation=self.animation,
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


@dataclass(frozen=True)
class ControlPicture:
    """A guide of a painter: ``kind`` is depth, edges, soft_edges, sketch, normal, segments or pose."""

    kind: str
    picture: str

    @property
    def input(self) -> Input:
        return Input(self.picture, InputKind.FILE)

    def to_proto(self, places: Places) -> plate_pb2.ControlPicture:
        return plate_pb2.ControlPicture(kind=self.kind, picture=places[self.input])


@dataclass(frozen=True)
class LearnedConcept:
    """``word`` of the prompt means what a model has learned (textual inversion)."""

    word: str
    file: str

    @property
    def input(self) -> Input:
        return Input(self.file, InputKind.FILE)

    def to_proto(self, places: Places) -> plate_pb2.LearnedConcept:
        return plate_pb2.LearnedConcept(word=self.word, file=places[self.input])


@dataclass(frozen=True)
class PlateGeneration:
    """For models that read text; ``look`` is standard, classic, moody or scifi, ``aspect`` W:H."""

    prompt: str = ""
    negative_prompt: str = ""
    look: str = ""
    controls: tuple[ControlPicture, ...] = ()
    concepts: tuple[LearnedConcept, ...] = ()
    aspect: str = ""

    def to_proto(self, places: Places) -> plate_pb2.PlateGeneration:
        return plate_pb2.PlateGeneration(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            look=self.look,
            controls=[control.to_proto(places) for control in self.controls],
            concepts=[concept.to_proto(places) for concept in self.concepts],
            aspect=self.aspect,
        )


@dataclass(frozen=True)
class PlateSource:
    """Layers (PSD, folder with plate.yaml, multipart EXR, .2p5d), one picture, or text that one is made from."""

    path: str = ""
    near: float = 0.0  # metres, where the source does not say; 0 = 4
    far: float = 0.0  # 0 = 40
    focal_mm: float = 0.0  # on 36 mm; 0 = 35
    alpha: str = ""  # straight or premultiplied; empty = as the file says or shows
    depth: str = ""  # a depth picture of a still
    depth_kind: str = ""  # inverse or z
    depth_white: str = ""  # near or far
    horizon: str = ""  # X0,Y0,X1,Y1
    camera_height_m: float | None = None
    generation: PlateGeneration = field(default_factory=PlateGeneration)

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        if self.path:
            yield "source.path", self._layers
        if self.depth:
            yield "source.depth", self._depth
        for index, control in enumerate(self.generation.controls):
            yield f"source.generation.controls[{index}].picture", control.input
        for index, concept in enumerate(self.generation.concepts):
            yield f"source.generation.concepts[{index}].file", concept.input

    @property
    def _layers(self) -> Input:
        return Input(self.path, InputKind.LAYERS)

    @property
    def _depth(self) -> Input:
        return Input(self.depth, InputKind.FILE)

    def to_proto(self, places: Places) -> plate_pb2.PlateSource:
        return plate_pb2.PlateSource(
            path=places.get(self._layers),
            near=self.near,
            far=self.far,
            focal_mm=self.focal_mm,
            alpha=self.alpha,
            depth=places.get(self._depth),
            depth_kind=self.depth_kind,
            depth_white=self.depth_white,
            horizon=self.horizon,
            camera_height_m=self.camera_height_m,
            generation=self.generation.to_proto(places),
        )


@dataclass(frozen=True)
class DepthBand:
    near: float
    far: float

    def to_proto(self) -> plate_pb2.DepthBand:
        return plate_pb2.DepthBand(near=self.near, far=self.far)


@dataclass(frozen=True)
class PlateThing:
    """Something that gets a layer of its own: ``clicks`` on it, ``outside`` beside it, a ``box`` round it; pixels."""

    name: str = ""
    clicks: tuple[tuple[float, float], ...] = ()
    outside: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None

    def to_proto(self) -> plate_pb2.PlateThing:
        return plate_pb2.PlateThing(
            name=self.name,
            clicks=[common_pb2.PixelPoint(x=x, y=y) for x, y in self.clicks],
            outside=[common_pb2.PixelPoint(x=x, y=y) for x, y in self.outside],
            box=common_pb2.PixelBox(**dict(zip(("x0", "y0", "x1", "y1"), self.box, strict=True)))
            if self.box
            else None,
        )


@dataclass(frozen=True)
class PlateMargins:
    """Pixels that are added at the sides of a picture."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def to_proto(self) -> plate_pb2.PlateMargins:
        margins = (self.left, self.top, self.right, self.bottom)
        if not all(isinstance(margin, int) for margin in margins):  # no message can hold it
            message = f"layers.outpaint: expected whole pixels, not shares of the picture, got {margins}"
            raise InvalidRequest(message, field="layers.outpaint")
        return plate_pb2.PlateMargins(left=self.left, top=self.top, right=self.right, bottom=self.bottom)


@dataclass(frozen=True)
class PlateLayers:
    """How a still is taken apart: into ``count`` layers by depth (0 = found), or ``bands``, and ``things``."""

    count: int = 0
    bands: tuple[DepthBand, ...] = ()
    things: tuple[PlateThing, ...] = ()
    outpaint: PlateMargins = field(default_factory=PlateMargins)
    inpaint: str = ""  # a painted picture: what is white is made anew first
    separate: bool = False  # by a model

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        if self.inpaint:
            yield "layers.inpaint", self._painted

    @property
    def _painted(self) -> Input:
        return Input(self.inpaint, InputKind.FILE)

    def to_proto(self, places: Places) -> plate_pb2.PlateLayers:
        return plate_pb2.PlateLayers(
            count=self.count,
            bands=[band.to_proto() for band in self.bands],
            things=[thing.to_proto() for thing in self.things],
            outpaint=self.outpaint.to_proto(),
            inpaint=places.get(self._painted),
            separate=self.separate,
        )


@dataclass(frozen=True)
class FlowHint:
    """Where something flows in a second: pixels, from (x0, y0) to (x1, y1)."""

    x0: float
    y0: float
    x1: float
    y1: float

    def to_proto(self) -> plate_pb2.FlowHint:
        return plate_pb2.FlowHint(x0=self.x0, y0=self.y0, x1=self.x1, y1=self.y1)


@dataclass(frozen=True)
class PlateFluid:
    """What is white in ``mask`` flows as ``hints`` say, or as a clip of it does (``video``)."""

    mask: str
    hints: tuple[FlowHint, ...] = ()
    layer: str = ""
    speed: float = 0.0
    video: str = ""

    @property
    def input(self) -> Input:
        return Input(self.mask, InputKind.FILE)

    @property
    def clip(self) -> Input:
        return Input(self.video, InputKind.CLIP)

    def to_proto(self, places: Places) -> plate_pb2.PlateFluid:
        return plate_pb2.PlateFluid(
            mask=places[self.input],
            hints=[hint.to_proto() for hint in self.hints],
            layer=self.layer,
            speed=self.speed,
            video=places.get(self.clip),
        )


@dataclass(frozen=True)
class PlateCamera:
    """How the camera moves (``move`` such as dolly=in:0.4+pan=left:3, or ``cameras_file``), and what it is; metres."""

    move: str = ""
    cameras_file: str = ""
    frames: int = 0  # 0 = 60, or as many as the cameras
    width_px: int = 0
    height_px: int = 0
    rate: float = 0.0  # 0 = 24
    loop: bool = False
    easing: str = ""  # smooth, linear or none
    pivot_depth: float = 0.0
    overscan: float = 0.0
    focus: float = 0.0
    aperture: float = 0.0
    shutter_deg: float = 0.0
    repaint: bool = False  # what the camera uncovers is painted behind the layers

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        if self.cameras_file:
            yield "camera.cameras_file", self._cameras

    @property
    def _cameras(self) -> Input:
        return Input(self.cameras_file, InputKind.CAMERAS)

    def to_proto(self, places: Places) -> plate_pb2.PlateCamera:
        return plate_pb2.PlateCamera(
            move=self.move,
            cameras_file=places.get(self._cameras),
            frames=self.frames,
            width_px=self.width_px,
            height_px=self.height_px,
            rate=self.rate,
            loop=self.loop,
            easing=self.easing,
            pivot_depth=self.pivot_depth,
            overscan=self.overscan,
            focus=self.focus,
            aperture=self.aperture,
            shutter_deg=self.shutter_deg,
            repaint=self.repaint,
        )


@dataclass(frozen=True)
class BuildLayersRequest:
    source: PlateSource
    layers: PlateLayers = field(default_factory=PlateLayers)
    seed: int = 0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield from self.source.inputs
        yield from self.layers.inputs

    def to_proto(self, places: Places, request_id: str) -> plate_pb2.BuildLayersRequest:
        return plate_pb2.BuildLayersRequest(
            request_id=request_id,
            source=self.source.to_proto(places),
            layers=self.layers.to_proto(places),
            seed=self.seed,
            no_cache=self.no_cache,
        )


@dataclass(frozen=True)
class AnimatePlateRequest:
    """``codec``: prores or exr beside frames and MP4."""

    source: PlateSource
    layers: PlateLayers = field(default_factory=PlateLayers)
    camera: PlateCamera = field(default_factory=PlateCamera)
    fluids: tuple[PlateFluid, ...] = ()
    codec: str = ""
    seed: int = 0
    no_cache: bool = False

    @property
    def inputs(self) -> Iterator[tuple[str, Input]]:
        yield from self.source.inputs
        yield from self.layers.inputs
        yield from self.camera.inputs
        for index, fluid in enumerate(self.fluids):
            yield f"fluids[{index}].mask", fluid.input
            if fluid.video:
                yield f"fluids[{index}].video", fluid.clip

    def to_proto(self, places: Places, request_id: str) -> plate_pb2.AnimatePlateRequest:
        return plate_pb2.AnimatePlateRequest(
            request_id=request_id,
            source=self.source.to_proto(places),
            layers=self.layers.to_proto(places),
            camera=self.camera.to_proto(places),
            fluids=[fluid.to_proto(places) for fluid in self.fluids],
            codec=self.codec,
            seed=self.seed,
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
    | BuildLayersRequest
    | AnimatePlateRequest
)


def as_clip(clip: Clip | PathLike) -> Clip:
    return clip if isinstance(clip, Clip) else Clip(os.fspath(clip))


def as_plate_source(source: PlateSource | PathLike) -> PlateSource:
    return source if isinstance(source, PlateSource) else PlateSource(os.fspath(source))

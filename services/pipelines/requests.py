"""What a job is asked to do: plain dataclasses, checked on construction, made from protos by ``services.convert``.

Field names are those of the protos, so that an error's field path reads the same on both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from services.errors import InvalidRequest


@dataclass(frozen=True)
class Clip:
    """A video file, or a folder or printf/glob pattern of an image sequence, on this machine."""

    path: str
    first_frame: int | None = None  # inclusive source frame numbers; None = from the start / to the end
    last_frame: int | None = None
    colorspace: str = ""  # OCIO name; empty = from tags, 8-bit untagged is sRGB

    def __post_init__(self) -> None:
        if not self.path:
            raise InvalidRequest("clip.path", "a file or folder", "nothing")
        first, last = self.first_frame, self.last_frame
        if first is not None and last is not None and last < first:
            raise InvalidRequest("clip.range", "first <= last", f"{first}-{last}")


@dataclass(frozen=True)
class KnownDistance:
    """Two pixels of the first frame of the range and the metres between the surface points they show."""

    x0: float
    y0: float
    x1: float
    y1: float
    metres: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.metres) and self.metres > 0):
            raise InvalidRequest("known_distance.metres", "> 0", self.metres)


@dataclass(frozen=True)
class MoverClick:
    """A pixel on something that moves by itself."""

    x: float
    y: float
    frame: int | None = None  # None = the first frame of the range


SHOT_KINDS = ("", "parallax", "pan", "locked")


@dataclass(frozen=True)
class SceneOptions:
    """How to solve a clip, or where its solution lies."""

    cameras_file: str = ""  # an imported solve
    scene_dir: str = ""  # the output folder of an earlier reconstruct job
    focal_mm: float | None = None  # 36 mm wide film back
    horizon: str = ""  # X0,Y0,X1,Y1: two points on it in the first frame
    known_distance: KnownDistance | None = None
    camera_height_m: float | None = None
    kind: str = ""  # one of SHOT_KINDS; empty = found in the clip
    movers: tuple[MoverClick, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in SHOT_KINDS:
            raise InvalidRequest("scene.kind", " ".join(SHOT_KINDS[1:]), self.kind)
        for name in ("focal_mm", "camera_height_m"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidRequest(f"scene.{name}", "> 0", value)

    @property
    def horizon_line(self) -> tuple[float, float, float, float] | None:
        """Two points of the displayed picture, or nothing. Raises ``InvalidRequest`` for other text."""
        return two_points("scene.horizon", self.horizon)


@dataclass(frozen=True)
class ReconstructRequest:
    clip: Clip
    scene: SceneOptions = field(default_factory=SceneOptions)
    seed: int = 0


@dataclass(frozen=True)
class ImportSceneRequest:
    path: str  # the mesh
    cameras_file: str = ""  # empty = those inside the mesh file
    clip: Clip | None = None  # gives raster, rate and frames; None = the cameras' own
    width_px: int = 0  # for cameras that store no raster, without a clip
    height_px: int = 0
    rate: float = 0.0  # frames per second without a clip; 0 = 24

    def __post_init__(self) -> None:
        if not self.path:
            raise InvalidRequest("path", "a mesh file", "nothing")
        if min(self.width_px, self.height_px) < 0 or bool(self.width_px) != bool(self.height_px):
            raise InvalidRequest("width_px", "width and height > 0, or neither", f"{self.width_px} x {self.height_px}")
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise InvalidRequest("rate", "> 0, or 0 for 24", self.rate)
        given = [name for name in ("width_px", "rate") if getattr(self, name)]
        if self.clip is not None and given:
            raise InvalidRequest(given[0], "nothing beside a clip", getattr(self, given[0]))


OBJECT_AXES = ("+x", "-x", "+y", "-y", "+z", "-z")


@dataclass(frozen=True)
class InsertedObject:
    """One object and where it stands. Exactly one of ``height_m``, ``height_px`` and ``scale`` is set."""

    path: str
    at_px: tuple[float, float]
    frame: int | None = None  # None = the first frame
    height_m: float | None = None
    height_px: float | None = None
    scale: float | None = None
    yaw_deg: float = 0.0
    object_up: str = ""  # one of OBJECT_AXES; empty = as the file declares
    attach: str = "world"  # world | mover | path:KEYS
    name: str = ""  # of its mask folder; empty = from the file

    def __post_init__(self) -> None:
        sizes = {n: getattr(self, n) for n in ("height_m", "height_px", "scale") if getattr(self, n) is not None}
        if len(sizes) != 1:
            raise InvalidRequest("objects.height", "exactly one of height_m, height_px, scale", sorted(sizes) or "none")
        (name, value), = sizes.items()
        if not (math.isfinite(value) and value > 0):
            raise InvalidRequest(f"objects.{name}", "> 0", value)
        if self.object_up and self.object_up not in OBJECT_AXES:
            raise InvalidRequest("objects.object_up", " ".join(OBJECT_AXES), self.object_up)
        if not (self.attach in ("world", "mover") or self.attach.startswith("path:")):
            raise InvalidRequest("objects.attach", "world, mover or path:KEYS", self.attach)
        if not self.path:
            raise InvalidRequest("objects.path", "a mesh file", "nothing")


@dataclass(frozen=True)
class Lighting:
    hdri: str = ""  # lat-long .hdr or .exr; empty = estimated from the clip
    hdri_yaw_deg: float = 0.0
    exposure_ev: float = 0.0


@dataclass(frozen=True)
class Matching:
    """What makes the render look filmed; each can be switched off."""

    motion_blur: bool = True
    grain: bool = True
    sharpness: bool = True
    shutter_deg: float | None = None  # None = measured from the clip

    def __post_init__(self) -> None:
        if self.shutter_deg is not None and not 0 <= self.shutter_deg <= 360:
            raise InvalidRequest("matching.shutter_deg", "0..360", self.shutter_deg)


@dataclass(frozen=True)
class InsertRequest:
    clip: Clip
    objects: tuple[InsertedObject, ...]
    scene: SceneOptions = field(default_factory=SceneOptions)
    lighting: Lighting = field(default_factory=Lighting)
    matching: Matching = field(default_factory=Matching)
    holdout: str = ""  # folder or pattern of roto masks: white hides the object
    draft: bool = False
    backend: str = "none"  # harmoniser
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.objects:
            raise InvalidRequest("objects", "at least one object", "none")


@dataclass(frozen=True)
class PrevisShot:
    """A blockout, its camera and the frames to make."""

    scene: str
    camera: str = ""  # a camera's name in the scene's file; empty = the only one there
    cameras_file: str = ""  # cameras of another file instead
    first_frame: int | None = None  # inclusive; None = the file's first / last
    last_frame: int | None = None
    frames: int = 0  # how many from the first on, instead of last_frame; 0 = all
    width_px: int = 0  # 0 = as the reference or the cameras say
    height_px: int = 0
    rate: float = 0.0  # frames per second; 0 = 24
    up_axis: str = ""  # of an OBJ or PLY: one of OBJECT_AXES
    move: str = ""  # as geometry.moves reads it; empty = the camera's own
    animation: str = ""  # that of a glTF that plays; empty = all that do not contradict each other

    def __post_init__(self) -> None:
        if not self.scene:
            raise InvalidRequest("shot.scene", "a scene file", "nothing")
        for name in ("camera", "move"):
            if getattr(self, name) and self.cameras_file:
                raise InvalidRequest(f"shot.{name}", "nothing beside cameras_file", getattr(self, name))
        first, last = self.first_frame, self.last_frame
        if first is not None and last is not None and last < first:
            raise InvalidRequest("shot.last_frame", f">= first_frame ({first})", last)
        if self.frames < 0 or (self.frames and last is not None):
            raise InvalidRequest("shot.frames", "> 0, or 0 beside last_frame", self.frames)
        w, h = self.width_px, self.height_px
        if (w, h) != (0, 0) and not (min(w, h) >= SMALLEST_SIDE_PX and max(w, h) <= LARGEST_SIDE_PX):
            raise InvalidRequest("shot.width_px", f"width and height of {SMALLEST_SIDE_PX}..{LARGEST_SIDE_PX} px, or "
                                 "neither", f"{w} x {h}")
        if not (math.isfinite(self.rate) and 0 <= self.rate <= 1000):
            raise InvalidRequest("shot.rate", "> 0, or 0 for 24", self.rate)
        if self.up_axis and self.up_axis not in OBJECT_AXES:
            raise InvalidRequest("shot.up_axis", " ".join(OBJECT_AXES), self.up_axis)


SMALLEST_SIDE_PX, LARGEST_SIDE_PX = 16, 8192


@dataclass(frozen=True)
class StyleRegion:
    """An object takes its look from a part of the reference: ``box`` is (x0, y0, x1, y1) in its pixels."""

    object: str
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (all(map(math.isfinite, self.box)) and x0 < x1 and y0 < y1):
            raise InvalidRequest("style.regions.box", "x0 < x1 and y0 < y1", ",".join(f"{v:g}" for v in self.box))


@dataclass(frozen=True)
class PrevisStyle:
    reference: str
    aligned_frame: int | None = None  # the frame that the reference is painted over; None = it shows something else
    regions: tuple[StyleRegion, ...] = ()
    prompt: str = ""
    adapter: str = ""  # a folder that models.training.style_lora wrote

    def __post_init__(self) -> None:
        if not self.reference:
            raise InvalidRequest("style.reference", "a picture", "nothing")
        named = [region.object for region in self.regions]
        twice = next((i for i, name in enumerate(named) if name in named[:i]), None)
        if twice is not None:
            raise InvalidRequest(f"style.regions[{twice}].object", "each object once", named[twice])


@dataclass(frozen=True)
class AnchorEdit:
    """What is done to the anchor of one frame; it touches no other anchor."""

    frame: int
    picture: str = ""  # stands there instead of a painted one
    redo: int = 0  # counts further attempts

    def __post_init__(self) -> None:
        if self.redo < 0 or (self.redo and self.picture):
            raise InvalidRequest("anchors.redo", ">= 0, and 0 beside a picture", self.redo)


@dataclass(frozen=True)
class GuidesRequest:
    shot: PrevisShot


@dataclass(frozen=True)
class AnchorsRequest:
    shot: PrevisShot
    style: PrevisStyle
    anchors: tuple[AnchorEdit, ...] = ()
    anchors_backend: str = ""  # "embedded" or the name of a checkpoint; empty = the configuration's
    seed: int = 0

    def __post_init__(self) -> None:
        edited = [edit.frame for edit in self.anchors]
        twice = next((i for i, frame in enumerate(edited) if frame in edited[:i]), None)
        if twice is not None:
            raise InvalidRequest(f"anchors[{twice}].frame", "each frame once", edited[twice])


@dataclass(frozen=True)
class PrevisRequest(AnchorsRequest):
    inbetween_backend: str = ""


PLATE_ALPHAS = ("", "straight", "premultiplied")
DEPTH_KINDS, DEPTH_WHITES = ("", "inverse", "z"), ("", "near", "far")
LOOKS = ("", "standard", "classic", "moody", "scifi")
CONTROLS = ("depth", "edges", "soft_edges", "sketch", "normal", "segments", "pose")
CODECS = ("", "prores", "exr")
EASINGS = ("", "smooth", "linear", "none")


@dataclass(frozen=True)
class ControlPicture:
    kind: str  # one of CONTROLS
    picture: str

    def __post_init__(self) -> None:
        _expect_choice("source.generation.controls.kind", self.kind, CONTROLS)
        if not self.picture:
            raise InvalidRequest("source.generation.controls.picture", "a picture", "nothing")


@dataclass(frozen=True)
class LearnedConcept:
    word: str  # as it stands in the prompt
    file: str

    def __post_init__(self) -> None:
        if not (self.word and self.file):
            raise InvalidRequest("source.generation.concepts.file", "a word and the file of what was learned",
                                 self.word or "no word")


@dataclass(frozen=True)
class PlateGeneration:
    """For models that read text."""

    prompt: str = ""
    negative_prompt: str = ""
    look: str = ""  # one of LOOKS
    controls: tuple[ControlPicture, ...] = ()
    concepts: tuple[LearnedConcept, ...] = ()
    aspect: str = ""  # W:H of the picture that is made; empty = 16:9

    def __post_init__(self) -> None:
        _expect_choice("source.generation.look", self.look, LOOKS)
        words = self.aspect.split(":") if self.aspect else ["16", "9"]
        if len(words) != 2 or not all(word.isdecimal() and int(word) > 0 for word in words):
            raise InvalidRequest("source.generation.aspect", "W:H, two whole numbers > 0", self.aspect)

@dataclass(frozen=True)
class PlateSource:
    """Layers, one still, or text that one is made from."""

    path: str = ""
    near: float = 0.0  # depths where the source does not say; 0 = services.media.raw_layers
    far: float = 0.0
    focal_mm: float = 0.0
    alpha: str = ""  # one of PLATE_ALPHAS
    depth: str = ""  # a depth picture of a still
    depth_kind: str = ""  # one of DEPTH_KINDS
    depth_white: str = ""  # one of DEPTH_WHITES
    horizon: str = ""  # X0,Y0,X1,Y1: two points on it
    camera_height_m: float | None = None
    generation: PlateGeneration = field(default_factory=PlateGeneration)

    def __post_init__(self) -> None:
        if not self.path and not self.generation.prompt:
            raise InvalidRequest("source.path", "layers, a picture, or a prompt to make one from", "nothing")
        for name in ("near", "far", "focal_mm"):
            _expect_not_negative(f"source.{name}", getattr(self, name))
        if self.near and self.far and self.near >= self.far:
            raise InvalidRequest("source.near", f"less than far ({self.far:g})", self.near)
        _expect_choice("source.alpha", self.alpha, PLATE_ALPHAS)
        _expect_choice("source.depth_kind", self.depth_kind, DEPTH_KINDS)
        _expect_choice("source.depth_white", self.depth_white, DEPTH_WHITES)
        if self.depth and self.horizon:
            raise InvalidRequest("source.horizon", "nothing beside a depth picture", self.horizon)
        height = self.camera_height_m
        if height is not None and not (self.horizon and math.isfinite(height) and height > 0):
            raise InvalidRequest("source.camera_height_m", "> 0, beside a horizon", height)
        two_points("source.horizon", self.horizon)


@dataclass(frozen=True)
class DepthBand:
    near: float
    far: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.far) and 0 <= self.near < self.far):
            raise InvalidRequest("layers.bands", "NEAR:FAR with 0 <= NEAR < FAR", f"{self.near:g}:{self.far:g}")


@dataclass(frozen=True)
class PlateThing:
    """Something that gets a layer of its own."""

    name: str = ""  # empty = counted
    clicks: tuple[tuple[float, float], ...] = ()  # px on it
    outside: tuple[tuple[float, float], ...] = ()  # px beside it
    box: tuple[float, float, float, float] | None = None  # x0, y0, x1, y1 px round it

    def __post_init__(self) -> None:
        if not self.clicks and self.box is None:
            raise InvalidRequest("layers.things", "a click on each thing, or a box round it", self.name or "neither")
        points = [n for point in (*self.clicks, *self.outside) for n in point]
        if not all(map(math.isfinite, points)):
            raise InvalidRequest("layers.things.clicks", "pixels", self.clicks)
        if self.box is not None and not (
            all(map(math.isfinite, self.box)) and self.box[0] < self.box[2] and self.box[1] < self.box[3]
        ):
            raise InvalidRequest("layers.things.box", "x0 < x1 and y0 < y1", ",".join(f"{v:g}" for v in self.box))


@dataclass(frozen=True)
class PlateMargins:
    """Pixels that are added at the sides."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        margins = (self.left, self.top, self.right, self.bottom)
        if not all(isinstance(margin, int) and margin >= 0 for margin in margins):
            raise InvalidRequest("layers.outpaint", "margins in whole pixels >= 0, not in shares", margins)


MOST_LAYERS = 16


@dataclass(frozen=True)
class PlateLayers:
    """How a still is taken apart."""

    count: int = 0  # by depth; 0 = found
    bands: tuple[DepthBand, ...] = ()
    things: tuple[PlateThing, ...] = ()
    outpaint: PlateMargins = field(default_factory=PlateMargins)
    inpaint: str = ""  # a painted picture: what is white is made anew first
    separate: bool = False  # by a model, instead of by depth

    def __post_init__(self) -> None:
        if not 0 <= self.count <= MOST_LAYERS:
            raise InvalidRequest("layers.count", f"1..{MOST_LAYERS}, or 0 for as many as are found", self.count)
        if self.count and self.bands:
            raise InvalidRequest("layers.bands", "nothing beside a count", len(self.bands))
        for name in ("bands", "things"):
            if self.separate and getattr(self, name):
                raise InvalidRequest(f"layers.{name}", "nothing beside separate: the model finds what is there",
                                     len(getattr(self, name)))
        names = [thing.name for thing in self.things if thing.name]
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise InvalidRequest("layers.things.name", "each name once", twice)


@dataclass(frozen=True)
class FlowHint:
    """Where something flows in a second, px: from (x0, y0) to (x1, y1)."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        values = (self.x0, self.y0, self.x1, self.y1)
        if not all(map(math.isfinite, values)) or values[:2] == values[2:]:
            got = ",".join(f"{value:g}" for value in values)
            raise InvalidRequest("fluids.hints", "X0,Y0,X1,Y1: two different points", got)


@dataclass(frozen=True)
class PlateFluid:
    mask: str
    hints: tuple[FlowHint, ...] = ()
    layer: str = ""  # empty = the one that is seen most below the mask
    speed: float = 0.0  # factor on the motion; 0 = 1
    video: str = ""  # a clip of it, whose mean motion is taken instead of hints

    def __post_init__(self) -> None:
        if not self.mask:
            raise InvalidRequest("fluids.mask", "a picture, white where it flows", "nothing")
        if bool(self.hints) == bool(self.video):
            got = "both" if self.video else "none"
            raise InvalidRequest("fluids.hints", "hints, or a clip to take the motion of", got)
        _expect_not_negative("fluids.speed", self.speed)


@dataclass(frozen=True)
class PlateCamera:
    """How the camera moves, and what it is. Lengths are in metres."""

    move: str = ""  # as geometry.moves reads it; empty = locked
    cameras_file: str = ""
    frames: int = 0  # 0 = 60, or as many as the cameras
    width_px: int = 0  # 0 = as the source
    height_px: int = 0
    rate: float = 0.0  # 0 = 24
    loop: bool = False
    easing: str = ""  # one of EASINGS
    pivot_depth: float = 0.0  # 0 = the middle of the layers
    overscan: float = 0.0
    focus: float = 0.0  # 0 = everything is sharp
    aperture: float = 0.0  # 0 = focus / 100
    shutter_deg: float = 0.0
    repaint: bool = False  # what the camera uncovers is painted behind the layers

    def __post_init__(self) -> None:
        if self.move and self.cameras_file:
            raise InvalidRequest("camera.move", "nothing beside cameras_file", self.move)
        if self.loop and self.cameras_file:
            raise InvalidRequest("camera.loop", "a move: cameras of a file go where they go", "cameras_file")
        if not 0 <= self.frames <= MOST_PLATE_FRAMES:
            raise InvalidRequest("camera.frames", f"1..{MOST_PLATE_FRAMES}, or 0 for 60", self.frames)
        w, h = self.width_px, self.height_px
        if (w, h) != (0, 0) and not (min(w, h) >= SMALLEST_SIDE_PX and max(w, h) <= LARGEST_SIDE_PX):
            raise InvalidRequest("camera.width_px", f"width and height of {SMALLEST_SIDE_PX}..{LARGEST_SIDE_PX} px, or "
                                 "neither", f"{w} x {h}")
        if not (math.isfinite(self.rate) and 0 <= self.rate <= 1000):
            raise InvalidRequest("camera.rate", "> 0, or 0 for 24", self.rate)
        _expect_choice("camera.easing", self.easing, EASINGS)
        for name in ("pivot_depth", "focus", "aperture"):
            _expect_not_negative(f"camera.{name}", getattr(self, name))
        if self.aperture and not self.focus:
            raise InvalidRequest("camera.aperture", "nothing without focus", self.aperture)
        if not 0 <= self.overscan <= 0.5:
            raise InvalidRequest("camera.overscan", "0..0.5", self.overscan)
        if not 0 <= self.shutter_deg <= 360:
            raise InvalidRequest("camera.shutter_deg", "0..360", self.shutter_deg)


MOST_PLATE_FRAMES = 100_000


@dataclass(frozen=True)
class BuildLayersRequest:
    source: PlateSource
    layers: PlateLayers = field(default_factory=PlateLayers)
    seed: int = 0


@dataclass(frozen=True)
class AnimatePlateRequest:
    source: PlateSource
    layers: PlateLayers = field(default_factory=PlateLayers)
    camera: PlateCamera = field(default_factory=PlateCamera)
    fluids: tuple[PlateFluid, ...] = ()
    codec: str = ""  # one of CODECS
    seed: int = 0

    def __post_init__(self) -> None:
        _expect_choice("codec", self.codec, CODECS)


def two_points(field_name: str, text: str) -> tuple[float, float, float, float] | None:
    """X0,Y0,X1,Y1 of two different points, or nothing. Raises ``InvalidRequest`` for other text."""
    if not text:
        return None
    try:
        x0, y0, x1, y1 = (float(word) for word in text.split(","))
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not all(map(math.isfinite, (x0, y0, x1, y1))) or (x0, y0) == (x1, y1):
        raise InvalidRequest(field_name, "X0,Y0,X1,Y1: two different points", text)
    return x0, y0, x1, y1


def _expect_choice(field_name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InvalidRequest(field_name, " ".join(filter(None, known)), value)


def _expect_not_negative(field_name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise InvalidRequest(field_name, "> 0, or 0 for the default", value)


@dataclass(frozen=True)
class PropagateMasksRequest:
    """Exactly one of ``placement``, ``box`` and ``mask`` is given; ``frame`` is the one that shows the region."""

    clip: Clip
    frame: int | None = None  # None = the first; a placement has a frame of its own
    placement: InsertedObject | None = None
    box: tuple[float, float, float, float] | None = None  # x0, y0, x1, y1 px of the displayed picture
    mask: str = ""  # a painted picture: white is inside
    scene: SceneOptions = field(default_factory=SceneOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        given = [name for name in ("placement", "box", "mask") if getattr(self, name)]
        if len(given) != 1:
            raise InvalidRequest("region", "exactly one of placement, box, mask", " ".join(given) or "none")
        if self.placement is not None and self.frame is not None:
            raise InvalidRequest("frame", "nothing beside a placement, which has its own", self.frame)
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (all(map(math.isfinite, self.box)) and x0 < x1 and y0 < y1):
                raise InvalidRequest("box", "x0 < x1 and y0 < y1", ",".join(f"{v:g}" for v in self.box))

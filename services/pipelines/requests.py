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
        if not self.horizon:
            return None
        try:
            x0, y0, x1, y1 = (float(word) for word in self.horizon.split(","))
        except ValueError:
            x0 = y0 = x1 = y1 = math.nan
        if not all(map(math.isfinite, (x0, y0, x1, y1))) or (x0, y0) == (x1, y1):
            raise InvalidRequest("scene.horizon", "X0,Y0,X1,Y1: two different points", self.horizon)
        return x0, y0, x1, y1


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

    def __post_init__(self) -> None:
        if not self.scene:
            raise InvalidRequest("shot.scene", "a scene file", "nothing")
        if self.camera and self.cameras_file:
            raise InvalidRequest("shot.camera", "nothing beside cameras_file", self.camera)
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

"""What a plate is made from, looked at before any long work starts: headers, sizes, names, and what contradicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from geometry.camera import Camera
from geometry.moves import camera_path, parse_move
from geometry.plates.planes import Horizon
from geometry.trajectory import CameraPath
from models.generation.looks import Look, in_look
from services.config import ModelsSettings, PlateSettings
from services.errors import InvalidRequest, Unsupported
from services.export.cameras import import_cameras
from services.media import exr, images
from services.media.layered import layered_kind, source_files
from services.media.raw_layers import FAR, FOCAL_MM, NEAR, LayerOptions
from services.pipelines.inputs import files_sha256
from services.pipelines.painters import EMBEDDED, Backend, choose
from services.pipelines.requests import PlateCamera, PlateGeneration, PlateLayers, PlateSource, two_points

FRAMES, RATE = 60, 24.0
NONE = "none"


@dataclass(frozen=True)
class PlateInput:
    """``kind`` as of ``layered_kind``, "" for a still; ``digest`` of all files. Backends are None where not needed."""

    path: Path
    kind: str
    options: LayerOptions
    digest: str
    depth_model: Backend | None = None
    segmenter: Backend | None = None
    painter: Backend | None = None
    separator: Backend | None = None

    @property
    def backends(self) -> dict[str, str]:
        chosen = {
            "depth": self.depth_model, "segmentation": self.segmenter, "inpainting": self.painter,
            "separation": self.separator,
        }
        return {name: backend.name for name, backend in chosen.items() if backend is not None}


def without_paths(source: PlateSource, layers: PlateLayers) -> tuple[PlateSource, PlateLayers]:
    """For the keys of stages: the content of files is in ``PlateInput.digest``."""
    return (replace(source, path="source", depth="depth" if source.depth else ""),
            replace(layers, inpaint="inpaint" if layers.inpaint else ""))  # fmt: skip


def open_source(
    source: PlateSource, layers: PlateLayers, settings: PlateSettings, models: ModelsSettings,
    lens_mm: float | None = None,
) -> PlateInput:
    """``lens_mm``: what cameras of another file say of the lens. Raises ``InvalidRequest`` that names the field."""
    _check_text(source, layers, settings)
    path = Path(source.path)
    kind = layered_kind(path, "source.path")
    near = source.near or min(NEAR, source.far / 10 or NEAR)
    focal_mm = source.focal_mm or lens_mm or FOCAL_MM
    options = LayerOptions(near, source.far or max(FAR, 10 * near), focal_mm, source.alpha)
    files = [*source_files(path), *(Path(file) for file in (source.depth, layers.inpaint) if file)]
    if kind:
        _refuse_for_layers(source, layers)
        return PlateInput(path, kind, options, files_sha256(files))
    wh = images.read_header(path, "source.path").wh
    _check_still(source, layers, wh)
    if layers.separate:
        separator = _separator(source, settings, models)
        return PlateInput(
            path, "", options, files_sha256(files), painter=open_painter(settings, models), separator=separator
        )
    depth_model = None
    if not source.depth and not source.horizon and not has_depth(path):
        if settings.depth_backend == NONE:
            expected = "a depth picture, a horizon, or plate.depth_backend in the configuration"
            raise InvalidRequest("source.depth", expected, "none of them")
        depth_model = choose("depth", "depth_backend", "", settings.depth_backend, models, "plate")
    segmenter = None
    if layers.things and settings.segmentation_backend != EMBEDDED:
        segmenter = choose("picture_segmentation", "segmentation_backend", "", settings.segmentation_backend, models,
                           "plate")
    painter = open_painter(settings, models)
    return PlateInput(path, "", options, files_sha256(files), depth_model, segmenter, painter)


def open_painter(settings: PlateSettings, models: ModelsSettings) -> Backend | None:
    """What paints margins and hidden parts; None: the embedded way."""
    if settings.inpainting_backend == EMBEDDED:
        return None
    return choose("inpainting", "inpainting_backend", "", settings.inpainting_backend, models, "plate")


def _separator(source: PlateSource, settings: PlateSettings, models: ModelsSettings) -> Backend:
    if settings.layered_backend == NONE:
        raise Unsupported("layers.separate: pictures are taken apart by a model where the configuration names one in "
                          "plate.layered_backend; here it is none")
    for name in ("depth", "horizon"):
        if getattr(source, name):
            raise InvalidRequest(f"source.{name}", "nothing beside layers.separate", getattr(source, name))
    if not source.generation.prompt:
        raise InvalidRequest("source.generation.prompt", "what the picture shows, beside layers.separate", "nothing")
    return choose("layered", "layered_backend", "", settings.layered_backend, models, "plate")


def open_generator(source: PlateSource, settings: PlateSettings, models: ModelsSettings) -> Backend:
    """What makes a picture from text. Raises ``Unsupported`` that names the key of the configuration."""
    if settings.generation_backend == NONE:
        raise Unsupported("source.generation.prompt: pictures are made from text where the configuration names a model "
                          "in plate.generation_backend; here it is none")
    for i, control in enumerate(source.generation.controls):
        images.read_header(Path(control.picture), f"source.generation.controls[{i}].picture")
    return choose("generation", "generation_backend", "", settings.generation_backend, models, "plate")


def words_of(generation: PlateGeneration) -> Look:
    """What the picture shows, and what it does not: the words of the request, and those of the look."""
    if not generation.look:
        return Look(generation.prompt, generation.negative_prompt)
    return in_look(generation.look, generation.prompt, generation.negative_prompt)


def has_depth(path: Path) -> bool:
    """Whether a picture brings its depth along."""
    return path.suffix.lower() == ".exr" and "Z" in exr.read_header(path).parts[0]


def horizon_of(source: PlateSource, wh: tuple[int, int]) -> Horizon:
    """The rows at which the line meets the picture's two sides. Raises ``InvalidRequest`` for an upright one."""
    points = two_points("source.horizon", source.horizon)
    assert points is not None
    x0, y0, x1, y1 = points
    expect_pixels("source.horizon", points, wh)
    if x0 == x1:
        raise InvalidRequest("source.horizon", "a line that crosses the picture from side to side", source.horizon)
    slope = (y1 - y0) / (x1 - x0)
    return Horizon(y0 - slope * x0, y0 + slope * (wh[0] - x0))


def expect_pixels(field: str, values: Sequence[float], wh: tuple[int, int]) -> None:
    """Refuse what lies within one pixel: somebody counts in shares of the picture."""
    if all(0 <= value <= 1 for value in values):
        got = ",".join(f"{value:g}" for value in values)
        raise InvalidRequest(field, f"pixels of the {wh[0]} x {wh[1]} picture, not shares of it", got)


def open_camera(camera: PlateCamera) -> CameraPath | None:
    """Cameras of a file, in the world of their first view; None where a move is asked for, which is read."""
    if not camera.cameras_file:
        try:
            parse_move(camera.move or "locked")
        except ValueError as error:
            raise InvalidRequest("camera.move", "a move, such as dolly=in:0.4+pan=left:3", error) from error
        return None
    wh = (camera.width_px, camera.height_px) if camera.width_px else None
    field = "camera.cameras_file"
    found = import_cameras(camera.cameras_file, wh=wh or (1920, 1080), field=field)
    if camera.frames > len(found):
        raise InvalidRequest("camera.frames", f"at most {len(found)}, as many as the cameras", camera.frames)
    count = camera.frames or len(found)
    numbers = tuple(range(count))
    lenses = tuple(lens.pinhole() for lens in found.cameras[:count])
    return CameraPath(numbers, lenses, found.camera_from_world[:count]).in_world(found.camera_from_world[0])


def placed_path(
    camera: PlateCamera, imported: CameraPath | None, lens: Camera, pivot_depth: float, seed: int
) -> CameraPath:
    """The path on the plate's raster. ``lens`` is that of the picture."""
    wh = (camera.width_px, camera.height_px) if camera.width_px else lens.wh
    _expect_aspect("camera.width_px", wh, lens.wh)
    if imported is not None:
        _expect_aspect("camera.cameras_file", imported.cameras[0].wh, lens.wh)
        return imported.scaled(wh)
    try:
        return camera_path(
            parse_move(camera.move or "locked"), lens.scaled(wh), camera.frames or FRAMES, seed=seed,
            pivot_depth=camera.pivot_depth or pivot_depth, easing=camera.easing or "smooth",  # type: ignore[arg-type]
            rate=camera.rate or RATE, loop=camera.loop,
        )
    except ValueError as error:
        raise InvalidRequest("camera.move", "a move that can be made", error) from error


def _expect_aspect(field: str, wh: Sequence[int], plate: Sequence[int]) -> None:
    if abs(wh[0] * plate[1] / (wh[1] * plate[0]) - 1) > 0.01:
        raise InvalidRequest(field, f"the aspect of the {plate[0]} x {plate[1]} picture", f"{wh[0]} x {wh[1]}")


def _check_text(source: PlateSource, layers: PlateLayers, settings: PlateSettings) -> None:
    """Text needs a model that reads it. ``Unsupported`` names the key of the configuration that would bring one."""
    generation = source.generation
    words = generation.prompt or generation.look
    if words and source.path and settings.inpainting_backend == EMBEDDED and not layers.separate:
        raise Unsupported("source.generation.prompt: what is painted anew follows text where the configuration names a "
                          "model in plate.inpainting_backend; here it is embedded")
    if source.path:
        plain = PlateGeneration()
        for name in ("negative_prompt", "controls", "concepts", "aspect"):
            if getattr(generation, name) != getattr(plain, name):
                expected = "nothing beside a source: it is for pictures made from text"
                raise InvalidRequest(f"source.generation.{name}", expected, getattr(generation, name))


def _refuse_for_layers(source: PlateSource, layers: PlateLayers) -> None:
    for name in ("depth", "horizon"):
        if getattr(source, name):
            raise InvalidRequest(f"source.{name}", "nothing beside layers, which are there", getattr(source, name))
    plain = PlateLayers()
    for name in ("count", "bands", "things", "outpaint", "inpaint", "separate"):
        if getattr(layers, name) != getattr(plain, name):
            raise InvalidRequest(f"layers.{name}", "nothing beside layers, which are there", getattr(layers, name))


def _check_still(source: PlateSource, layers: PlateLayers, wh: tuple[int, int]) -> None:
    for name, file in (("source.depth", source.depth), ("layers.inpaint", layers.inpaint)):
        if file:
            images.read_header(Path(file), name)
    if source.horizon:
        horizon_of(source, wh)
    margins = layers.outpaint
    if max(margins.left, margins.right) >= wh[0] or max(margins.top, margins.bottom) >= wh[1]:
        raise InvalidRequest("layers.outpaint", f"margins less than the picture's {wh[0]} x {wh[1]} px",
                             f"{margins.left},{margins.top},{margins.right},{margins.bottom}")
    for i, thing in enumerate(layers.things):
        field, raster = f"layers.things[{i}]", f"the {wh[0]} x {wh[1]} picture"
        if thing.box is not None:
            expect_pixels(f"{field}.box", thing.box, wh)
        for x, y in (*thing.clicks, *thing.outside):
            if not (0 <= x < wh[0] and 0 <= y < wh[1]):
                raise InvalidRequest(f"{field}.clicks", f"pixels of {raster}", f"{x:g},{y:g}")
        if thing.box is not None and not (thing.box[0] < wh[0] and thing.box[1] < wh[1] and min(thing.box[2:]) > 0):
            raise InvalidRequest(f"{field}.box", f"a part of {raster}", ",".join(f"{value:g}" for value in thing.box))

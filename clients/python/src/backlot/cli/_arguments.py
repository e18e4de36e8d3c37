"""The grammar of the command line, and how arguments become requests.

``--object`` opens a group: the flags of one object belong to the ``--object`` before them. A value that cannot be read
ends the process with exit code 2 and ``error: --flag: expected ..., got ...``.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from backlot._requests import (
    AnchorEdit,
    AnchorsRequest,
    Clip,
    GuidesRequest,
    ImportSceneRequest,
    InsertedObject,
    InsertRequest,
    KnownDistance,
    Lighting,
    Matching,
    MoverClick,
    PrevisRequest,
    PrevisShot,
    PrevisStyle,
    PropagateMasksRequest,
    ReconstructRequest,
    SceneOptions,
    StyleRegion,
)
from backlot.cli import _plate
from backlot.cli import _values as read
from backlot.cli._credentials import add_credentials

# Programs of the application that read their arguments themselves.
PASSED_ON = {"doctor": "what is installed and ready here", "gc": "free space in the content store"}
CAMERA_SUFFIXES = (".json", ".chan", ".usd", ".usda", ".usdc", ".usdz", ".gltf", ".glb")
COLMAP_NAMES = ("cameras.txt", "cameras.bin", "sparse")  # in a folder of cameras
# Flags whose value may start with a minus sign and is no plain number, which argparse takes for a flag.
_SIGNED = ("--object-up", "--at", "--known-distance", "--up-axis", "--hint", "--horizon")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the command line; ``command`` names the command, ``request`` is there for commands that start a job."""
    if argv and argv[0] in PASSED_ON:
        return argparse.Namespace(command=argv[0], rest=list(argv[1:]))
    parser = _parser()
    arguments = parser.parse_args(_join_signed(argv))
    build = _BUILDERS.get(arguments.command)
    if build:
        try:
            arguments.request = build(arguments)
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
    return arguments


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument ", "", message)
        self.exit(2, f"error: {message}\n")


def _join_signed(argv: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for word in argv:
        if joined and joined[-1] in _SIGNED and re.match(r"[-+][^-]", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _distance(text: str) -> KnownDistance:
    what = "X0,Y0,X1,Y1,METRES with METRES > 0"
    distance = KnownDistance(*read.numbers(text, 5, what))
    if distance.metres <= 0:
        raise read.expected(what, text)
    return distance


def _mover(text: str) -> MoverClick:
    what = "X,Y or X,Y@FRAME"
    at, marked, frame = text.partition("@")
    x, y = read.numbers(at, 2, what)
    if marked and not frame.isdecimal():
        raise read.expected(what, text)
    return MoverClick(x, y, int(frame) if marked else None)


def _region(text: str) -> StyleRegion:
    name, _, box = text.rpartition("=")
    if not name:
        raise read.expected("NAME=X0,Y0,X1,Y1", text)
    return StyleRegion(name, read.box(box))


def _anchor(text: str) -> AnchorEdit:
    frame, given, picture = text.partition("=")
    if bool(given) != bool(picture):
        raise read.expected("FRAME or FRAME=IMG", text)
    return AnchorEdit(read.frame(frame, "FRAME or FRAME=IMG", text), picture)


def _redo(text: str) -> AnchorEdit:
    frame, _, count = text.partition("=")
    what = "FRAME or FRAME=N"
    return AnchorEdit(read.frame(frame, what, text), redo=read.frame(count or "1", what, text))


def _attachment(text: str) -> str:
    if not (text in ("world", "mover") or text.startswith("path:")):
        raise read.expected("world, mover or path:KEYS", text)
    return text


class _OpenObject(argparse.Action):
    """``--object``: what follows belongs to it, until the next one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        namespace.objects = [*(namespace.objects or []), {"path": values}]


class _OfObject(argparse.Action):
    """A flag of the last ``--object``."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        if not namespace.objects:
            raise argparse.ArgumentError(self, "expected after the --object that it belongs to")
        fields = namespace.objects[-1]
        if self.dest in fields:
            raise argparse.ArgumentError(self, f"expected once per --object, got it twice for {fields['path']!r}")
        fields[self.dest] = values


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="backlot", description="Puts objects into film clips.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_reconstruct(commands)
    _add_import(commands)
    _add_insert(commands)
    _add_masks(commands)
    _add_previs(commands)
    _add_plate(commands)
    _add_serve(commands)
    _add_job_commands(commands)
    for name, help_text in PASSED_ON.items():
        commands.add_parser(name, help=help_text)
    return parser


def _add_reconstruct(commands: Any) -> None:
    parser = commands.add_parser("reconstruct", help="solve a clip: cameras, depth, mesh, ground")
    _add_clip(parser)
    parser.add_argument("--cameras", metavar="FILE", default="", help="an imported solve, cameras.json")
    _add_scene_knowledge(parser)
    _add_common(parser)


def _add_import(commands: Any) -> None:
    parser = commands.add_parser("import", help="make a scene of a modelled mesh and its cameras")
    parser.add_argument("scene", metavar="SCENE", help="the mesh: glTF, GLB, USD, OBJ or PLY")
    parser.add_argument(
        "--cameras", metavar="FILE", default="",
        help="cameras.json, transforms.json, a COLMAP folder, .chan, USD or glTF; default: those inside SCENE",
    )
    parser.add_argument(
        "--clip", metavar="CLIP", default="", help="what they belong to; default: all frames of the cameras"
    )
    parser.add_argument("--colorspace", metavar="NAME", default="", help="of the clip; default: as the file declares")
    parser.add_argument("--size", metavar="WxH", type=read.size, default=(0, 0), help="of the pictures, without a clip")
    parser.add_argument(
        "--rate", metavar="FPS", type=read.positive, default=0.0, help="frames per second, without a clip; default: 24"
    )
    _add_common(parser, seeded=False)


def _add_insert(commands: Any) -> None:
    parser = commands.add_parser("insert", help="put one or more objects into a clip")
    parser.set_defaults(objects=None)
    _add_clip(parser)
    _add_object(parser.add_argument_group("each object (--object and what follows it may repeat)"))
    _add_look(parser.add_argument_group("light and look"))
    scene = parser.add_argument_group("scene")
    _add_scene_source(scene)
    scene.add_argument("--holdout", metavar="MASKS", default="", help="roto masks: white hides the objects")
    _add_scene_knowledge(scene)
    _add_common(parser)


def _add_masks(commands: Any) -> None:
    parser = commands.add_parser("masks", help="follow a region, or where an object would be seen, through a clip")
    parser.set_defaults(objects=None)
    _add_clip(parser)
    region = parser.add_argument_group("a region, or an object: one of --box, --mask and --object")
    region.add_argument("--box", metavar="X0,Y0,X1,Y1", type=read.box, help="what it encloses, in pixels")
    region.add_argument("--mask", metavar="FILE", default="", help="a painted picture: white is inside")
    region.add_argument(
        "--shown-in", metavar="N", dest="shown", type=read.whole,
        help="the frame of --box or --mask; default: the first",
    )
    _add_object(parser.add_argument_group("an object"))
    scene = parser.add_argument_group("scene")
    _add_scene_source(scene)
    _add_scene_knowledge(scene)
    _add_common(parser)


def _add_previs(commands: Any) -> None:
    parser = commands.add_parser("previs", help="make a video of a blockout scene in the look of a picture")
    parser.add_argument("scene", metavar="SCENE", help="the blockout: glTF, GLB, USD, OBJ or PLY")
    shot = parser.add_argument_group("the shot")
    shot.add_argument("--camera", metavar="CAM", default="", help="name of a camera in the scene, or a file")
    shot.add_argument(
        "--move", metavar="SPEC", default="",
        help="such as orbit=left:40+dolly=in:0.5, from where that camera stands first; or from one that sees all of a "
        "scene without cameras",
    )
    shot.add_argument("--frames", metavar="N", type=read.count, default=0, help="how many, instead of --range")
    shot.add_argument("--size", metavar="WxH", type=read.size, default=(0, 0), help="of the pictures")
    shot.add_argument("--rate", metavar="FPS", type=read.positive, default=0.0, help="frames per second; default: 24")
    shot.add_argument("--up-axis", metavar="AXIS", type=read.axis, help="of an OBJ or PLY; default: +y")
    shot.add_argument("--animation", metavar="NAME", default="", help="which one of a glTF plays")
    look = parser.add_argument_group("the look")
    look.add_argument("--reference", metavar="IMG", default="", help="one picture")
    look.add_argument(
        "--aligned-frame", metavar="K", type=read.whole, help="the frame that the picture is painted over"
    )
    look.add_argument(
        "--region", metavar="NAME=X0,Y0,X1,Y1", dest="regions", type=_region, action="append", default=[],
        help="an object takes its look from this part of the picture; may repeat",
    )
    look.add_argument("--prompt", metavar="TEXT", default="", help="for painters that read text")
    look.add_argument("--style-adapter", metavar="DIR", default="", help="a style trained on the picture")
    anchors = parser.add_argument_group("anchors: the frames that all others are made from")
    anchors.add_argument(
        "--anchor", metavar="FRAME[=IMG]", dest="anchors", type=_anchor, action="append", default=[],
        help="there is one at this frame, and this is its picture (locks or replaces it); may repeat",
    )
    anchors.add_argument(
        "--redo", metavar="FRAME[=N]", dest="anchors", type=_redo, action="append", help="another attempt; may repeat"
    )
    anchors.add_argument("--anchors-backend", metavar="NAME", default="", help="embedded, or a checkpoint's name")
    anchors.add_argument("--inbetween-backend", metavar="NAME", default="", help="embedded, or a checkpoint's name")
    until = parser.add_mutually_exclusive_group()
    until.add_argument("--guides-only", action="store_true", help="what geometry knows; needs no --reference")
    until.add_argument("--anchors-only", action="store_true", help="stop after the anchors")
    _add_common(parser)


def _add_plate(commands: Any) -> None:
    parser = commands.add_parser("plate", help="move a camera through layers, or through one picture taken apart")
    _plate.add_plate(parser)
    _add_common(parser)


def _add_scene_source(scene: Any) -> None:
    solve = scene.add_mutually_exclusive_group()
    solve.add_argument("--cameras", metavar="FILE", default="", help="an imported solve, cameras.json")
    solve.add_argument("--scene", metavar="DIR", default="", help="output folder of an earlier reconstruct")


def _add_clip(parser: Any) -> None:
    parser.add_argument("clip", metavar="CLIP", help="a video, or the folder or pattern of an image sequence")
    parser.add_argument("--colorspace", metavar="NAME", default="", help="OCIO name; default: from the file's tags")


def _add_object(group: Any) -> None:
    group.add_argument("--object", metavar="OBJ", action=_OpenObject, dest="objects", help="a mesh file")
    flags: tuple[tuple[str, str, str, Callable[[str], Any], str], ...] = (
        ("--at", "at_px", "X,Y", read.pixel, "where its base stands, in pixels"),
        ("--frame", "frame", "N", read.whole, "the frame that --at speaks of; default: the first"),
        ("--height-m", "height_m", "H", read.positive, "height in metres"),
        ("--height-px", "height_px", "H", read.positive, "height in pixels"),
        ("--scale", "scale", "S", read.positive, "factor from its units to the scene's"),
        ("--yaw", "yaw_deg", "DEG", read.degrees, "turn about up; 0 looks at the camera"),
        ("--object-up", "object_up", "AXIS", read.axis, "its up axis; default: as its file declares"),
        ("--attach", "attach", "WHAT", _attachment, "world, mover or path:KEYS"),
    )
    for flag, name, metavar, kind, help_text in flags:
        group.add_argument(
            flag, metavar=metavar, dest=name, type=kind, action=_OfObject, default=argparse.SUPPRESS, help=help_text
        )


def _add_look(group: Any) -> None:
    group.add_argument("--hdri", metavar="FILE", default="", help="latitude-longitude picture that lights the objects")
    group.add_argument("--hdri-yaw", metavar="DEG", type=read.degrees, default=0.0, help="its turn")
    group.add_argument("--exposure", metavar="EV", type=read.number, default=0.0, help="exposure in stops")
    group.add_argument("--no-grain", action="store_true", help="do not add the plate's grain")
    group.add_argument("--no-motion-blur", action="store_true", help="do not blur motion")
    group.add_argument("--no-sharpness", action="store_true", help="do not match the plate's sharpness")
    group.add_argument(
        "--shutter-deg", metavar="DEG", type=read.shutter, help="shutter angle; measured from the clip unless given"
    )
    group.add_argument("--draft", action="store_true", help="a quick look")
    group.add_argument("--backend", metavar="NAME", default="none", help="harmoniser")


def _add_scene_knowledge(group: Any) -> None:
    group.add_argument("--focal-mm", metavar="F", type=read.positive, help="focal length on a 36 mm wide film back")
    group.add_argument(
        "--kind", choices=("parallax", "pan", "locked"), default="", help="how the camera moves; found unless given"
    )
    group.add_argument(
        "--horizon", metavar="X0,Y0,X1,Y1", type=read.horizon, help="two points on it in the first frame"
    )
    group.add_argument(
        "--mover", metavar="X,Y[@FRAME]", dest="movers", type=_mover, action="append", default=[],
        help="a pixel on something that moves and was missed; may repeat",
    )
    group.add_argument(
        "--known-distance", metavar="X0,Y0,X1,Y1,METRES", type=_distance, help="two pixels and what lies between them"
    )
    group.add_argument(
        "--camera-height-m", metavar="H", type=read.positive, help="height of the camera above the ground"
    )


def _add_common(parser: Any, *, seeded: bool = True) -> None:
    parser.add_argument("--out", metavar="DIR", required=True, help="where the results go")
    if seeded:
        parser.add_argument("--seed", metavar="N", type=read.seed, default=0, help="of every random draw")
    parser.add_argument("--range", metavar="A-B", type=read.frame_range, help="first and last source frame number")
    parser.add_argument("--no-cache", action="store_true", help="compute everything anew")
    _add_json(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", metavar="HOST:PORT", default="", help="a running server; default: one for this call")
    where.add_argument("--config", metavar="NAME", default="cpu", help="configuration of the server for this call")
    add_credentials(parser)


def _add_json(parser: Any) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per line on standard output")


def _add_serve(commands: Any) -> None:
    parser = commands.add_parser("serve", help="run a server")
    parser.add_argument("--listen", metavar="HOST:PORT", help="default: as the configuration says")
    parser.add_argument("--config", metavar="NAME", default="cpu", help="configuration")


def _add_job_commands(commands: Any) -> None:
    for name, help_text in (
        ("jobs", "list a server's jobs"),
        ("watch", "follow a job"),
        ("get", "fetch a job's results"),
        ("cancel", "stop a job"),
        ("pause", "have a job wait, or start no further ones"),
        ("resume", "let a paused job, or the queue, go on"),
        ("priority", "change a job's place in the queue"),
        ("pin", "keep a job's result when the time for results is over"),
        ("unpin", "let a pinned result go in its time"),
    ):
        parser = commands.add_parser(name, help=help_text)
        if name in ("pause", "resume"):
            parser.add_argument("name", metavar="NAME", nargs="?", default="", help="default: one's own queue")
        elif name != "jobs":
            parser.add_argument("name", metavar="NAME", help="as `backlot jobs` prints it")
        if name == "priority":
            parser.add_argument("priority", metavar="N", type=read.priority, help="0 to 100, higher first; usual: 50")
        if name == "get":
            parser.add_argument("--out", metavar="DIR", required=True, help="where the results go")
        parser.add_argument("--server", metavar="HOST:PORT", required=True, help="the server that has the job")
        add_credentials(parser)
        _add_json(parser)


def _clip(arguments: argparse.Namespace) -> Clip:
    first, last = arguments.range or (None, None)
    return Clip(arguments.clip, first, last, arguments.colorspace)


def _scene(arguments: argparse.Namespace) -> SceneOptions:
    return SceneOptions(
        cameras_file=arguments.cameras,
        scene_dir=getattr(arguments, "scene", ""),
        focal_mm=arguments.focal_mm,
        horizon=arguments.horizon or "",
        known_distance=arguments.known_distance,
        camera_height_m=arguments.camera_height_m,
        kind=arguments.kind,
        movers=tuple(arguments.movers),
    )


def _reconstruct_request(arguments: argparse.Namespace) -> ReconstructRequest:
    return ReconstructRequest(
        clip=_clip(arguments), scene=_scene(arguments), seed=arguments.seed, no_cache=arguments.no_cache
    )


def _import_request(arguments: argparse.Namespace) -> ImportSceneRequest:
    for flag, given in (("--range", arguments.range), ("--colorspace", arguments.colorspace)):
        if given and not arguments.clip:
            raise argparse.ArgumentTypeError(f"{flag}: expected --clip as well, got none")
    return ImportSceneRequest(
        arguments.scene, cameras_file=arguments.cameras, clip=_clip(arguments) if arguments.clip else None,
        width_px=arguments.size[0], height_px=arguments.size[1], rate=arguments.rate, no_cache=arguments.no_cache,
    )


def _masks_request(arguments: argparse.Namespace) -> PropagateMasksRequest:
    objects = [_inserted(fields) for fields in arguments.objects or []]
    if len(objects) + bool(arguments.box) + bool(arguments.mask) != 1:
        raise argparse.ArgumentTypeError("masks: expected exactly one of --box, --mask and --object")
    return PropagateMasksRequest(
        clip=_clip(arguments), frame=arguments.shown, placement=objects[0] if objects else None, box=arguments.box,
        mask=arguments.mask, scene=_scene(arguments), seed=arguments.seed, no_cache=arguments.no_cache,
    )


def _insert_request(arguments: argparse.Namespace) -> InsertRequest:
    if not arguments.objects:
        raise argparse.ArgumentTypeError("--object: expected at least one, got none")
    return InsertRequest(
        clip=_clip(arguments),
        objects=tuple(_inserted(fields) for fields in arguments.objects),
        scene=_scene(arguments),
        lighting=Lighting(arguments.hdri, arguments.hdri_yaw, arguments.exposure),
        matching=Matching(
            motion_blur=not arguments.no_motion_blur,
            grain=not arguments.no_grain,
            sharpness=not arguments.no_sharpness,
            shutter_deg=arguments.shutter_deg,
        ),
        holdout=arguments.holdout,
        draft=arguments.draft,
        backend=arguments.backend,
        seed=arguments.seed,
        no_cache=arguments.no_cache,
    )


def _inserted(fields: dict[str, Any]) -> InsertedObject:
    if "at_px" not in fields:
        raise argparse.ArgumentTypeError(f"--at: expected X,Y in pixels for {fields['path']!r}, got nothing")
    given = [f"--{name.replace('_', '-')}" for name in ("height_m", "height_px", "scale") if name in fields]
    if len(given) != 1:
        raise argparse.ArgumentTypeError(
            f"{given[1] if given else '--height-m'}: expected exactly one of --height-m, --height-px and --scale "
            f"for {fields['path']!r}, got {' and '.join(given) or 'none'}"
        )
    return InsertedObject(**fields)


def _previs_request(arguments: argparse.Namespace) -> GuidesRequest | AnchorsRequest | PrevisRequest:
    shot = _previs_shot(arguments)
    if arguments.guides_only:
        return GuidesRequest(shot, no_cache=arguments.no_cache)
    if not arguments.reference:
        raise argparse.ArgumentTypeError("--reference: expected a picture, got nothing")
    style = PrevisStyle(
        arguments.reference, arguments.aligned_frame, tuple(arguments.regions), arguments.prompt,
        arguments.style_adapter,
    )
    painting: dict[str, Any] = {
        "anchors": tuple(arguments.anchors), "anchors_backend": arguments.anchors_backend, "seed": arguments.seed,
        "no_cache": arguments.no_cache,
    }
    if arguments.anchors_only:
        return AnchorsRequest(shot, style, **painting)
    return PrevisRequest(shot, style, inbetween_backend=arguments.inbetween_backend, **painting)


def _previs_shot(arguments: argparse.Namespace) -> PrevisShot:
    if arguments.frames and arguments.range:
        raise argparse.ArgumentTypeError("--frames: expected nothing beside --range, got both")
    first, last = arguments.range or (None, None)
    camera = arguments.camera
    is_file = camera.lower().endswith(CAMERA_SUFFIXES) or any(
        os.path.exists(os.path.join(camera, name)) for name in COLMAP_NAMES
    )
    return PrevisShot(
        arguments.scene, camera="" if is_file else camera, cameras_file=camera if is_file else "",
        first_frame=first, last_frame=last, frames=arguments.frames, width_px=arguments.size[0],
        height_px=arguments.size[1], rate=arguments.rate, up_axis=arguments.up_axis or "", move=arguments.move,
        animation=arguments.animation,
    )


_BUILDERS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "reconstruct": _reconstruct_request,
    "import": _import_request,
    "insert": _insert_request,
    "masks": _masks_request,
    "previs": _previs_request,
    "plate": _plate.plate_request,
}

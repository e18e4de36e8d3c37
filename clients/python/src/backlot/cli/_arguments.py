"""The grammar of the command line, and how arguments become requests.

``--object`` opens a group: the flags of one object belong to the ``--object`` before them. A value that cannot be read
ends the process with exit code 2 and ``error: --flag: expected ..., got ...``.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from backlot._requests import (
    Clip,
    InsertedObject,
    InsertRequest,
    KnownDistance,
    Lighting,
    Matching,
    MoverClick,
    ReconstructRequest,
    SceneOptions,
)

# Programs of the application that read their arguments themselves.
PASSED_ON = {"doctor": "what is installed and ready here", "gc": "free space in the content store"}
OBJECT_AXES = ("+x", "-x", "+y", "-y", "+z", "-z")
# Flags whose value may start with a minus sign and is no plain number, which argparse takes for a flag.
_SIGNED = ("--object-up", "--at", "--known-distance")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Reads the command line; ``command`` names the command, ``request`` is there for commands that start a job."""
    if argv and argv[0] in PASSED_ON:
        return argparse.Namespace(command=argv[0], rest=list(argv[1:]))
    parser = _parser()
    arguments = parser.parse_args(_join_signed(argv))
    build = {"reconstruct": _reconstruct_request, "insert": _insert_request}.get(arguments.command)
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


def _expected(what: str, text: object) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"expected {what}, got {text!r}")


def _number(text: str, what: str = "a number") -> float:
    try:
        value = float(text)
    except ValueError:
        raise _expected(what, text) from None
    if not math.isfinite(value):
        raise _expected(what, text)
    return value


def _positive(text: str) -> float:
    value = _number(text, "a number > 0")
    if value <= 0:
        raise _expected("a number > 0", text)
    return value


def _degrees(text: str) -> float:
    return _number(text, "degrees")


def _shutter(text: str) -> float:
    value = _number(text, "degrees from 0 to 360")
    if not 0 <= value <= 360:
        raise _expected("degrees from 0 to 360", text)
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise _expected("a whole number >= 0", text)
    return int(text)


def _seed(text: str) -> int:
    value = _whole(text)
    if value >= 1 << 64:
        raise _expected("a number below 2^64", text)
    return value


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)-(\d+)", text)
    if not match or int(match[2]) < int(match[1]):
        raise _expected("A-B, first and last frame number", text)
    return int(match[1]), int(match[2])


def _pixel(text: str) -> tuple[float, float]:
    x, y = _numbers(text, 2, "X,Y in pixels")
    return x, y


def _distance(text: str) -> KnownDistance:
    what = "X0,Y0,X1,Y1,METRES with METRES > 0"
    distance = KnownDistance(*_numbers(text, 5, what))
    if distance.metres <= 0:
        raise _expected(what, text)
    return distance


def _horizon(text: str) -> str:
    what = "X0,Y0,X1,Y1: two different points"
    x0, y0, x1, y1 = _numbers(text, 4, what)
    if (x0, y0) == (x1, y1):
        raise _expected(what, text)
    return text


def _mover(text: str) -> MoverClick:
    what = "X,Y or X,Y@FRAME"
    at, marked, frame = text.partition("@")
    x, y = _numbers(at, 2, what)
    if marked and not frame.isdecimal():
        raise _expected(what, text)
    return MoverClick(x, y, int(frame) if marked else None)


def _numbers(text: str, count: int, what: str) -> list[float]:
    words = text.split(",")
    if len(words) != count:
        raise _expected(what, text)
    try:
        return [_number(word) for word in words]
    except argparse.ArgumentTypeError:
        raise _expected(what, text) from None


def _axis(text: str) -> str:
    """An axis without a sign is the positive one."""
    axis = text.lower() if text[:1] in "+-" else f"+{text.lower()}"
    if axis not in OBJECT_AXES:
        raise _expected(" ".join(OBJECT_AXES), text)
    return axis


def _attachment(text: str) -> str:
    if not (text in ("world", "mover") or text.startswith("path:")):
        raise _expected("world, mover or path:KEYS", text)
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
    _add_insert(commands)
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


def _add_insert(commands: Any) -> None:
    parser = commands.add_parser("insert", help="put one or more objects into a clip")
    parser.set_defaults(objects=None)
    _add_clip(parser)
    _add_object(parser.add_argument_group("each object (--object and what follows it may repeat)"))
    _add_look(parser.add_argument_group("light and look"))
    scene = parser.add_argument_group("scene")
    solve = scene.add_mutually_exclusive_group()
    solve.add_argument("--cameras", metavar="FILE", default="", help="an imported solve, cameras.json")
    solve.add_argument("--scene", metavar="DIR", default="", help="output folder of an earlier reconstruct")
    scene.add_argument("--holdout", metavar="MASKS", default="", help="roto masks: white hides the objects")
    _add_scene_knowledge(scene)
    _add_common(parser)


def _add_clip(parser: Any) -> None:
    parser.add_argument("clip", metavar="CLIP", help="a video, or the folder or pattern of an image sequence")
    parser.add_argument("--colorspace", metavar="NAME", default="", help="OCIO name; default: from the file's tags")


def _add_object(group: Any) -> None:
    group.add_argument("--object", metavar="OBJ", action=_OpenObject, dest="objects", help="a mesh file")
    flags: tuple[tuple[str, str, str, Callable[[str], Any], str], ...] = (
        ("--at", "at_px", "X,Y", _pixel, "where its base stands, in pixels"),
        ("--frame", "frame", "N", _whole, "the frame that --at speaks of; default: the first"),
        ("--height-m", "height_m", "H", _positive, "height in metres"),
        ("--height-px", "height_px", "H", _positive, "height in pixels"),
        ("--scale", "scale", "S", _positive, "factor from its units to the scene's"),
        ("--yaw", "yaw_deg", "DEG", _degrees, "turn about up; 0 looks at the camera"),
        ("--object-up", "object_up", "AXIS", _axis, "its up axis; default: as its file declares"),
        ("--attach", "attach", "WHAT", _attachment, "world, mover or path:KEYS"),
    )
    for flag, name, metavar, read, help_text in flags:
        group.add_argument(
            flag, metavar=metavar, dest=name, type=read, action=_OfObject, default=argparse.SUPPRESS, help=help_text
        )


def _add_look(group: Any) -> None:
    group.add_argument("--hdri", metavar="FILE", default="", help="latitude-longitude picture that lights the objects")
    group.add_argument("--hdri-yaw", metavar="DEG", type=_degrees, default=0.0, help="its turn")
    group.add_argument("--exposure", metavar="EV", type=_number, default=0.0, help="exposure in stops")
    group.add_argument("--no-grain", action="store_true", help="do not add the plate's grain")
    group.add_argument("--no-motion-blur", action="store_true", help="do not blur motion")
    group.add_argument("--no-sharpness", action="store_true", help="do not match the plate's sharpness")
    group.add_argument(
        "--shutter-deg", metavar="DEG", type=_shutter, help="shutter angle; measured from the clip unless given"
    )
    group.add_argument("--draft", action="store_true", help="a quick look")
    group.add_argument("--backend", metavar="NAME", default="none", help="harmoniser")


def _add_scene_knowledge(group: Any) -> None:
    group.add_argument("--focal-mm", metavar="F", type=_positive, help="focal length on a 36 mm wide film back")
    group.add_argument(
        "--kind", choices=("parallax", "pan", "locked"), default="", help="how the camera moves; found unless given"
    )
    group.add_argument(
        "--horizon", metavar="X0,Y0,X1,Y1", type=_horizon, help="two points on it in the first frame"
    )
    group.add_argument(
        "--mover", metavar="X,Y[@FRAME]", dest="movers", type=_mover, action="append", default=[],
        help="a pixel on something that moves and was missed; may repeat",
    )
    group.add_argument(
        "--known-distance", metavar="X0,Y0,X1,Y1,METRES", type=_distance, help="two pixels and what lies between them"
    )
    group.add_argument("--camera-height-m", metavar="H", type=_positive, help="height of the camera above the ground")


def _add_common(parser: Any) -> None:
    parser.add_argument("--out", metavar="DIR", required=True, help="where the results go")
    parser.add_argument("--seed", metavar="N", type=_seed, default=0, help="of every random draw")
    parser.add_argument("--range", metavar="A-B", type=_range, help="first and last source frame number")
    parser.add_argument("--no-cache", action="store_true", help="compute everything anew")
    _add_json(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--server", metavar="HOST:PORT", default="", help="a running server; default: one for this call")
    where.add_argument("--config", metavar="NAME", default="cpu", help="configuration of the server for this call")


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
    ):
        parser = commands.add_parser(name, help=help_text)
        if name != "jobs":
            parser.add_argument("name", metavar="NAME", help="as `backlot jobs` prints it")
        if name == "get":
            parser.add_argument("--out", metavar="DIR", required=True, help="where the results go")
        parser.add_argument("--server", metavar="HOST:PORT", required=True, help="the server that has the job")
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

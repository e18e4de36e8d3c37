"""The grammar of ``backlot plate``.

``--fluid`` opens a group: the flags of what flows belong to the ``--fluid`` before them. ``--click`` and ``--box`` that
name the same thing (``NAME=...``) speak of one.
"""

from __future__ import annotations

import argparse
from typing import Any

from backlot._requests import (
    AnimatePlateRequest,
    BuildLayersRequest,
    ControlPicture,
    DepthBand,
    FlowHint,
    LearnedConcept,
    PlateCamera,
    PlateFluid,
    PlateGeneration,
    PlateLayers,
    PlateMargins,
    PlateSource,
    PlateThing,
)
from backlot.cli import _values as read

CONTROLS = "depth|edges|soft_edges|sketch|normal|segments|pose"
Named = tuple[str, Any]


def add_plate(parser: Any) -> None:
    parser.set_defaults(fluids=None)
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", default="",
        help="layers (PSD, folder with plate.yaml, multipart EXR, .2p5d) or one picture; without it: --prompt",
    )
    _add_camera(parser.add_argument_group("the camera"))
    _add_depth(parser.add_argument_group("how far away things are"))
    _add_cut(parser.add_argument_group("how one picture is taken apart"))
    _add_fluid(parser.add_argument_group("what flows (--fluid and what follows it may repeat)"))
    _add_text(parser.add_argument_group("text, where the configuration names models that read it"))
    parser.add_argument("--codec", choices=("prores", "exr"), default="", help="written beside frames and MP4")
    parser.add_argument("--layers-only", action="store_true", help="stop after the layers")


def plate_request(arguments: argparse.Namespace) -> BuildLayersRequest | AnimatePlateRequest:
    if arguments.range:
        raise argparse.ArgumentTypeError("--range: expected nothing: the frames of a plate are 0 to --frames - 1")
    if not (arguments.source or arguments.prompt):
        raise argparse.ArgumentTypeError("SOURCE: expected layers, a picture, or --prompt, got nothing")
    if arguments.move and arguments.camera:
        raise argparse.ArgumentTypeError("--move: expected nothing beside --camera, got both")
    common = {
        "source": _source(arguments), "layers": _layers(arguments), "seed": arguments.seed,
        "no_cache": arguments.no_cache,
    }
    if arguments.layers_only:
        return BuildLayersRequest(**common)
    fluids = tuple(PlateFluid(**fields) for fields in arguments.fluids or [])
    return AnimatePlateRequest(**common, camera=_camera(arguments), fluids=fluids, codec=arguments.codec)


def _add_camera(group: Any) -> None:
    group.add_argument(
        "--move", metavar="SPEC", default="", help="such as dolly=in:0.4+pan=left:3, in metres and degrees; or locked"
    )
    group.add_argument("--camera", metavar="CAM", default="", help="a file of cameras instead")
    group.add_argument("--frames", metavar="N", type=read.whole, default=0, help="how many; default: 60")
    group.add_argument("--rate", metavar="FPS", type=read.positive, default=0.0, help="frames per second; default: 24")
    group.add_argument("--size", metavar="WxH", type=read.size, default=(0, 0), help="default: the source's")
    group.add_argument("--loop", action="store_true", help="frame N would be frame 0 again")
    group.add_argument("--easing", choices=("smooth", "linear", "none"), default="", help="default: smooth")
    group.add_argument("--pivot", metavar="M", type=read.positive, default=0.0, help="depth that orbits turn about")
    group.add_argument("--overscan", metavar="SHARE", type=_share, default=0.0, help="room round the picture, 0 to 0.5")
    group.add_argument("--focus", metavar="M", type=read.positive, default=0.0, help="depth of what is sharp")
    group.add_argument("--aperture", metavar="M", type=read.positive, default=0.0, help="diameter of the pupil")
    group.add_argument("--shutter", metavar="DEG", type=read.shutter, default=0.0, help="its angle; default: no blur")
    group.add_argument(
        "--repaint", action="store_true", help="paint behind the layers what the camera comes to see, at key frames"
    )


def _add_depth(group: Any) -> None:
    group.add_argument("--depth", metavar="IMG", default="", help="of one picture")
    group.add_argument("--depth-kind", choices=("inverse", "z"), default="", help="what its values are even in")
    group.add_argument("--depth-white", choices=("near", "far"), default="", help="what its high values are")
    group.add_argument(
        "--horizon", metavar="X0,Y0,X1,Y1", type=read.horizon, help="two points on it: level ground below"
    )
    group.add_argument("--camera-height-m", metavar="H", type=read.positive, help="above that ground; default: 1.6")
    group.add_argument("--near", metavar="M", type=read.positive, default=0.0, help="depth of what is nearest; 4")
    group.add_argument("--far", metavar="M", type=read.positive, default=0.0, help="depth of what is farthest; 40")
    group.add_argument("--focal-mm", metavar="F", type=read.positive, default=0.0, help="on 36 mm film; default: 35")
    group.add_argument("--alpha", choices=("straight", "premultiplied"), default="", help="how it is stored")


def _add_cut(group: Any) -> None:
    group.add_argument("--layers", metavar="N", type=read.whole, default=0, help="how many; default: as are found")
    group.add_argument(
        "--band", metavar="NEAR:FAR", dest="bands", type=_band, action="append", default=[],
        help="a layer of everything between these depths; may repeat",
    )
    group.add_argument(
        "--click", metavar="[NAME=]X,Y", dest="things", type=_click, action="append", default=[],
        help="a thing that gets a layer of its own; may repeat",
    )
    group.add_argument(
        "--beside", metavar="NAME=X,Y", dest="things", type=_beside, action="append", help="what is not that thing"
    )
    group.add_argument(
        "--box", metavar="[NAME=]X0,Y0,X1,Y1", dest="things", type=_box, action="append", help="a box round a thing"
    )
    group.add_argument("--outpaint", metavar="L,T,R,B", type=_margins, default=PlateMargins(), help="pixels to add")
    group.add_argument("--separate", action="store_true", help="by a model, where the configuration has one")
    group.add_argument("--inpaint", metavar="MASK", default="", help="white: what is painted anew first")


def _add_fluid(group: Any) -> None:
    group.add_argument("--fluid", metavar="MASK", action=_OpenFluid, help="white: where it flows")
    group.add_argument(
        "--hint", metavar="X0,Y0,X1,Y1", dest="hints", type=_hint, action=_OfFluid, default=argparse.SUPPRESS,
        help="where something there goes in a second; may repeat",
    )
    group.add_argument("--fluid-layer", metavar="NAME", dest="layer", action=_OfFluid, default=argparse.SUPPRESS,
                       help="the layer that flows; default: the one that is seen there")  # fmt: skip
    group.add_argument("--fluid-video", metavar="CLIP", dest="video", action=_OfFluid, default=argparse.SUPPRESS,
                       help="a clip whose motion it takes, instead of hints")  # fmt: skip
    group.add_argument("--speed", metavar="F", dest="speed", type=read.positive, action=_OfFluid,
                       default=argparse.SUPPRESS, help="factor on the motion")  # fmt: skip


def _add_text(group: Any) -> None:
    group.add_argument("--prompt", metavar="TEXT", default="", help="what the picture shows")
    group.add_argument("--negative-prompt", metavar="TEXT", default="", help="what it does not")
    group.add_argument("--look", choices=("standard", "classic", "moody", "scifi"), default="", help="words to add")
    group.add_argument(
        "--control", metavar="KIND=IMG", dest="controls", type=_control, action="append", default=[],
        help=f"a guide, {CONTROLS}; may repeat",
    )
    group.add_argument(
        "--concept", metavar="WORD=FILE", dest="concepts", type=_concept, action="append", default=[],
        help="a word of the prompt that was learned; may repeat",
    )
    group.add_argument("--aspect", metavar="W:H", default="", help="of a picture made from text; default: 16:9")


class _OpenFluid(argparse.Action):
    """``--fluid``: what follows belongs to it, until the next one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        namespace.fluids = [*(namespace.fluids or []), {"mask": values}]


class _OfFluid(argparse.Action):
    """A flag of the last ``--fluid``."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        if not namespace.fluids:
            raise argparse.ArgumentError(self, "expected after the --fluid that it belongs to")
        fields = namespace.fluids[-1]
        if self.dest == "hints":
            fields["hints"] = (*fields.get("hints", ()), values)
        elif self.dest in fields:
            raise argparse.ArgumentError(self, f"expected once per --fluid, got it twice for {fields['mask']!r}")
        else:
            fields[self.dest] = values


def _source(arguments: argparse.Namespace) -> PlateSource:
    generation = PlateGeneration(
        arguments.prompt, arguments.negative_prompt, arguments.look, tuple(arguments.controls),
        tuple(arguments.concepts), arguments.aspect,
    )
    return PlateSource(
        arguments.source, arguments.near, arguments.far, arguments.focal_mm, arguments.alpha, arguments.depth,
        arguments.depth_kind, arguments.depth_white, arguments.horizon or "", arguments.camera_height_m, generation,
    )


def _layers(arguments: argparse.Namespace) -> PlateLayers:
    return PlateLayers(
        arguments.layers, tuple(arguments.bands), _things(arguments.things), arguments.outpaint, arguments.inpaint,
        arguments.separate,
    )


def _things(said: list[tuple[str, str, Any]]) -> tuple[PlateThing, ...]:
    """One for each name, in the order in which names come up; without a name each flag is a thing of its own."""
    found: dict[Any, dict[str, Any]] = {}
    for i, (name, kind, value) in enumerate(said):
        fields = found.setdefault(name or i, {"name": name, "clicks": (), "outside": (), "box": None})
        if kind == "box":
            if fields["box"]:
                raise argparse.ArgumentTypeError(f"--box: expected one a thing, got two for {name!r}")
            fields["box"] = value
        else:
            fields[kind] = (*fields[kind], value)
    return tuple(PlateThing(**fields) for fields in found.values())


def _camera(arguments: argparse.Namespace) -> PlateCamera:
    return PlateCamera(
        move=arguments.move, cameras_file=arguments.camera, frames=arguments.frames, width_px=arguments.size[0],
        height_px=arguments.size[1], rate=arguments.rate, loop=arguments.loop, easing=arguments.easing,
        pivot_depth=arguments.pivot, overscan=arguments.overscan, focus=arguments.focus, aperture=arguments.aperture,
        shutter_deg=arguments.shutter, repaint=arguments.repaint,
    )


def _share(text: str) -> float:
    value = read.number(text, "a share from 0 to 0.5")
    if not 0 <= value <= 0.5:
        raise read.expected("a share from 0 to 0.5", text)
    return value


def _band(text: str) -> DepthBand:
    what = "NEAR:FAR with 0 <= NEAR < FAR"
    near, far = read.numbers(text.replace(":", ",", 1), 2, what)
    if not 0 <= near < far:
        raise read.expected(what, text)
    return DepthBand(near, far)


def _click(text: str) -> tuple[str, str, Any]:
    name, _, at = text.rpartition("=")
    return name, "clicks", tuple(read.numbers(at, 2, "[NAME=]X,Y in pixels"))


def _beside(text: str) -> tuple[str, str, Any]:
    name, _, at = text.rpartition("=")
    if not name:
        raise read.expected("NAME=X,Y in pixels", text)
    return name, "outside", tuple(read.numbers(at, 2, "NAME=X,Y in pixels"))


def _box(text: str) -> tuple[str, str, Any]:
    name, _, box = text.rpartition("=")
    return name, "box", read.box(box)


def _margins(text: str) -> PlateMargins:
    what = "L,T,R,B: whole pixels >= 0, not shares of the picture"
    words = text.split(",")
    if len(words) != 4 or not all(word.isdecimal() for word in words):
        raise read.expected(what, text)
    return PlateMargins(*map(int, words))


def _hint(text: str) -> FlowHint:
    what = "X0,Y0,X1,Y1: two different points"
    x0, y0, x1, y1 = read.numbers(text, 4, what)
    if (x0, y0) == (x1, y1):
        raise read.expected(what, text)
    return FlowHint(x0, y0, x1, y1)


def _concept(text: str) -> LearnedConcept:
    word, _, file = text.partition("=")
    if not (word and file):
        raise read.expected("WORD=FILE", text)
    return LearnedConcept(word, file)


def _control(text: str) -> ControlPicture:
    kind, _, picture = text.partition("=")
    if not picture or kind not in CONTROLS.split("|"):
        raise read.expected(f"KIND=IMG, KIND one of {CONTROLS}", text)
    return ControlPicture(kind, picture)

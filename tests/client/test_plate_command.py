"""How the command line asks for a plate."""

from __future__ import annotations

import shlex

import pytest
from backlot import (
    AnimatePlateRequest,
    BuildLayersRequest,
    ControlPicture,
    DepthBand,
    FlowHint,
    InvalidRequest,
    LearnedConcept,
    PlateCamera,
    PlateFluid,
    PlateGeneration,
    PlateLayers,
    PlateMargins,
    PlateSource,
    PlateThing,
)
from backlot.cli import main
from backlot.cli._arguments import parse
from backlot.cli._display import in_flags

ONE = "plate still.png --out o"


def _request(line: str):
    return parse(shlex.split(line)).request


def test_everything_that_can_be_asked_for() -> None:
    request = _request(
        "plate still.png --move dolly=in:0.4+pan=left:3 --frames 48 --rate 25 --size 960x540 --loop --easing linear "
        "--pivot 6 --overscan 0.1 --focus 5 --aperture 0.05 --shutter 180 --depth z.png --depth-kind inverse "
        "--depth-white far --near 2 --far 50 --focal-mm 28 --alpha straight --band 0:5 --band 5:50 "
        "--click hut=10,20 --click 3,4 --beside hut=1,2 --box hut=5,5,30,30 --outpaint 10,0,10,4 --inpaint m.png "
        "--fluid w.png --hint -5,1,2,3 --hint 4,4,5,4 --fluid-layer sea --speed 2 --fluid c.png --fluid-video c.mp4 "
        "--prompt 'a bay' --negative-prompt fog --look moody --control depth=d.png --concept ours=o.pt --aspect 21:9 "
        "--codec prores --seed 3 --no-cache --repaint --out o"
    )
    assert request == AnimatePlateRequest(
        PlateSource(
            "still.png", 2.0, 50.0, 28.0, "straight", "z.png", "inverse", "far", generation=PlateGeneration(
                "a bay", "fog", "moody", (ControlPicture("depth", "d.png"),), (LearnedConcept("ours", "o.pt"),), "21:9"
            ),
        ),
        PlateLayers(
            bands=(DepthBand(0, 5), DepthBand(5, 50)), things=(
                PlateThing("hut", ((10, 20),), ((1, 2),), (5, 5, 30, 30)), PlateThing("", ((3, 4),)),
            ), outpaint=PlateMargins(10, 0, 10, 4), inpaint="m.png",
        ),
        PlateCamera(
            "dolly=in:0.4+pan=left:3", frames=48, width_px=960, height_px=540, rate=25.0, loop=True, easing="linear",
            pivot_depth=6.0, overscan=0.1, focus=5.0, aperture=0.05, shutter_deg=180.0,
            repaint=True,
        ),
        (PlateFluid("w.png", (FlowHint(-5, 1, 2, 3), FlowHint(4, 4, 5, 4)), "sea", 2.0),
         PlateFluid("c.png", video="c.mp4")),
        "prores", 3, True,
    )  # fmt: skip
    assert [name for name, _ in request.inputs] == [
        "source.path", "source.depth", "source.generation.controls[0].picture",
        "source.generation.concepts[0].file", "layers.inpaint", "fluids[0].mask", "fluids[1].mask", "fluids[1].video",
    ]  # fmt: skip


def test_the_rest_of_what_can_be_asked_for() -> None:
    request = _request("plate a.psd --camera cams.json --horizon -1,30,60,31 --camera-height-m 2 --layers 3 --out o")
    assert request == AnimatePlateRequest(
        PlateSource("a.psd", horizon="-1,30,60,31", camera_height_m=2.0), PlateLayers(3),
        PlateCamera(cameras_file="cams.json"),
    )  # fmt: skip
    assert [name for name, _ in request.inputs] == ["source.path", "camera.cameras_file"]
    assert _request("plate a.psd --layers-only --out o") == BuildLayersRequest(PlateSource("a.psd"))
    assert _request("plate a.png --separate --layers-only --out o").layers == PlateLayers(separate=True)
    assert _request("plate --prompt x --out o").source == PlateSource(generation=PlateGeneration("x"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("plate --out o", "SOURCE: expected layers, a picture, or --prompt, got nothing"),
        (f"{ONE} --range 1-9", "--range: expected nothing: the frames of a plate are 0 to --frames - 1"),
        (f"{ONE} --move a --camera b", "--move: expected nothing beside --camera, got both"),
        (f"{ONE} --hint 1,2,3,4", "--hint: expected after the --fluid that it belongs to"),
        (f"{ONE} --fluid m --speed 1 --speed 2", "--speed: expected once per --fluid, got it twice for 'm'"),
        (f"{ONE} --fluid m --hint 1,2,1,2", "--hint: expected X0,Y0,X1,Y1: two different points, got '1,2,1,2'"),
        (f"{ONE} --band 5:2", "--band: expected NEAR:FAR with 0 <= NEAR < FAR, got '5:2'"),
        (f"{ONE} --band 5", "--band: expected NEAR:FAR with 0 <= NEAR < FAR, got '5'"),
        (f"{ONE} --click a=1", "--click: expected [NAME=]X,Y in pixels, got '1'"),
        (f"{ONE} --beside 1,2", "--beside: expected NAME=X,Y in pixels, got '1,2'"),
        (f"{ONE} --box a=1,1,2,2 --box a=1,1,2,3", "--box: expected one a thing, got two for 'a'"),
        (f"{ONE} --outpaint .1,.1,.1,.1", "--outpaint: expected L,T,R,B: whole pixels >= 0, not shares of the picture, "
                                          "got '.1,.1,.1,.1'"),
        (f"{ONE} --overscan 0.6", "--overscan: expected a share from 0 to 0.5, got '0.6'"),
        (f"{ONE} --control depth", "--control: expected KIND=IMG, KIND one of depth|edges|soft_edges|sketch|"
                                   "normal|segments|pose, got 'depth'"),
        (f"{ONE} --concept word", "--concept: expected WORD=FILE, got 'word'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(line))
    assert (caught.value.code, capsys.readouterr().err) == (2, f"error: {message}\n")


def test_errors_name_the_flag() -> None:
    error = InvalidRequest("fluids[1].hints[0]: expected a start inside the mask, got 1,2", field="fluids[1].hints[0]")
    assert in_flags(error) == "--hint: expected a start inside the mask, got 1,2"

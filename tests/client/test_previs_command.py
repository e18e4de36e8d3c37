"""How the command line asks for a previs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from backlot import (
    AnchorEdit,
    AnchorsRequest,
    BacklotError,
    GuidesRequest,
    InvalidRequest,
    PrevisRequest,
    PrevisShot,
    PrevisStyle,
    StyleRegion,
)
from backlot.cli import main
from backlot.cli._arguments import parse
from backlot.cli._display import in_flags

ONE = "previs town.glb --camera cam --reference look.png --out o"


def _request(line: str):
    return parse(shlex.split(line)).request


def test_everything_that_can_be_asked_for() -> None:
    request = _request(
        "previs town.glb --camera Camera.001 --range 4-9 --size 720x480 --rate 25 --up-axis -z --reference look.png "
        "--aligned-frame 5 --region 'left roof 1=0,1.5,20,30' --region a=b=1,2,3,4 --prompt 'snowy night' "
        "--style-adapter style --anchor 7=old/0007.png --anchor 8 --redo 4 --redo 9=3 --anchors-backend "
        "qwen-image-union --inbetween-backend embedded --seed 3 --no-cache --move orbit=left:40 --animation walk "
        "--out o"
    )
    assert request == PrevisRequest(
        PrevisShot("town.glb", camera="Camera.001", first_frame=4, last_frame=9, width_px=720, height_px=480, rate=25.0,
                   up_axis="-z", move="orbit=left:40", animation="walk"),
        PrevisStyle("look.png", 5, (StyleRegion("left roof 1", (0.0, 1.5, 20.0, 30.0)),
                                    StyleRegion("a=b", (1.0, 2.0, 3.0, 4.0))), "snowy night", "style"),
        anchors=(AnchorEdit(7, "old/0007.png"), AnchorEdit(8), AnchorEdit(4, redo=1), AnchorEdit(9, redo=3)),
        anchors_backend="qwen-image-union", seed=3, inbetween_backend="embedded", no_cache=True,
    )  # fmt: skip
    assert [field for field, _ in request.inputs] == [
        "shot.scene", "style.reference", "style.adapter", "anchors[0].picture",
    ]  # fmt: skip


def test_where_to_stop() -> None:
    assert _request("previs town.glb --guides-only --frames 5 --out o") == GuidesRequest(
        PrevisShot("town.glb", frames=5)
    )
    assert _request(f"{ONE} --anchors-only") == AnchorsRequest(
        PrevisShot("town.glb", camera="cam"), PrevisStyle("look.png")
    )


@pytest.mark.parametrize("camera", ["cams.json", "a/b.CHAN", "shot.usda", "solve.glb", "colmap"])
def test_cameras_of_another_file(camera: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colmap" / "sparse").mkdir(parents=True)
    (tmp_path / "cam").mkdir()  # a camera of that name, and a folder that has nothing to do with it
    assert _request(f"previs t.glb --guides-only --camera {camera} --out o").shot == PrevisShot(
        "t.glb", cameras_file=camera
    )
    assert _request(ONE).shot.camera == "cam"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("previs town.glb --out o", "--reference: expected a picture, got nothing"),
        (f"{ONE} --frames 0", "--frames: expected a whole number >= 1, got '0'"),
        (f"{ONE} --size 720", "--size: expected WxH in pixels, got '720'"),
        (f"{ONE} --size 0x9", "--size: expected WxH in pixels, got '0x9'"),
        (f"{ONE} --region 1,2,3,4", "--region: expected NAME=X0,Y0,X1,Y1, got '1,2,3,4'"),
        (f"{ONE} --region a=3,2,1,4", "--region: expected X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1, got '3,2,1,4'"),
        (f"{ONE} --anchor x.png", "--anchor: expected FRAME or FRAME=IMG, got 'x.png'"),
        (f"{ONE} --anchor 3=", "--anchor: expected FRAME or FRAME=IMG, got '3='"),
        (f"{ONE} --redo 3=b", "--redo: expected FRAME or FRAME=N, got '3=b'"),
        (f"{ONE} --frames 3 --range 1-2", "--frames: expected nothing beside --range, got both"),
        (f"{ONE} --guides-only --anchors-only", "--anchors-only: not allowed with argument --guides-only"),
        (f"{ONE} --up-axis w", "--up-axis: expected +x -x +y -y +z -z, got 'w'"),
    ],
)
def test_what_cannot_be_read_is_named(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(line))
    assert (caught.value.code, capsys.readouterr().err) == (2, f"error: {message}\n")


def test_errors_name_the_flag() -> None:
    message = "style.regions[2].box: expected a part of the 9 x 9 picture, got 1,2,30,4"
    error = InvalidRequest(message, field="style.regions[2].box")
    assert in_flags(error) == "--region: expected a part of the 9 x 9 picture, got 1,2,30,4"
    absent = BacklotError("anchors_backend: checkpoint flux1-dev-hed: no model_index.json in flux1-dev-hed")
    assert in_flags(absent) == "--anchors-backend: checkpoint flux1-dev-hed: no model_index.json in flux1-dev-hed"
    own = BacklotError("previs.anchors_backend: checkpoint x: no model_index.json")  # a key of the configuration
    assert in_flags(own) == str(own)

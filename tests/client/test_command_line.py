"""The grammar of the command line, and what the commands do around a job."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from backlot import (
    Clip,
    ImportSceneRequest,
    InsertedObject,
    KnownDistance,
    Lighting,
    Matching,
    MoverClick,
    SceneOptions,
)
from backlot.cli import main
from backlot.cli._arguments import parse
from backlot.v1 import jobs_pb2
from google.rpc import code_pb2, status_pb2
from tiny_server import JOB, TinyServer, bad_request

ONE = "insert c.mp4 --object a.glb --at 1,2 --scale 2 --out o"


def _request(line: str):
    return parse(shlex.split(line)).request


def test_flags_belong_to_the_object_before_them() -> None:
    request = _request(
        "insert c.mp4 --object a.glb --at 10,20.5 --height-m 1.2 --yaw -30 --draft "
        "--object b.obj --at 3,4 --frame 7 --height-px 90 --object-up -z --attach mover "
        "--object a.glb --at 5,6 --scale .5 --attach path:k.json --seed 9 --range 0-47 --out o"
    )
    assert request.objects == (
        InsertedObject("a.glb", (10.0, 20.5), height_m=1.2, yaw_deg=-30.0),
        InsertedObject("b.obj", (3.0, 4.0), frame=7, height_px=90.0, object_up="-z", attach="mover"),
        InsertedObject("a.glb", (5.0, 6.0), scale=0.5, attach="path:k.json"),
    )
    assert (request.draft, request.seed, request.clip) == (True, 9, Clip("c.mp4", 0, 47))


def test_masks_follow_a_box_a_painting_or_an_object() -> None:
    boxed = _request("masks c.mp4 --box 1,2,30,40 --shown-in 7 --kind pan --out o")
    assert (boxed.box, boxed.frame, boxed.scene.kind) == ((1.0, 2.0, 30.0, 40.0), 7, "pan")
    assert _request("masks c.mp4 --mask m.png --out o").mask == "m.png"
    placed = _request("masks c.mp4 --object a.glb --at 1,2 --scale 2 --frame 3 --out o")
    assert placed.placement == InsertedObject("a.glb", (1.0, 2.0), frame=3, scale=2.0)


def test_the_clip_may_come_last() -> None:
    assert _request("insert --object a.glb --at 1,2 --scale 2 --out o c.mp4").clip.path == "c.mp4"


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        ("", "matching", Matching()),
        (
            "--no-grain --no-motion-blur --no-sharpness --shutter-deg 90",
            "matching",
            Matching(motion_blur=False, grain=False, sharpness=False, shutter_deg=90.0),
        ),
        ("--hdri e.hdr --hdri-yaw 20 --exposure -1.5", "lighting", Lighting("e.hdr", 20.0, -1.5)),
        ("--scene old", "scene", SceneOptions(scene_dir="old")),
        ("--cameras c.json --focal-mm 35", "scene", SceneOptions(cameras_file="c.json", focal_mm=35.0)),
        (
            "--known-distance 1,2,3,4,1.5 --camera-height-m 1.7",
            "scene",
            SceneOptions(known_distance=KnownDistance(1, 2, 3, 4, 1.5), camera_height_m=1.7),
        ),
        ("--holdout m/%04d.png", "holdout", "m/%04d.png"),
        ("--backend sdxl", "backend", "sdxl"),
        ("--no-cache", "no_cache", True),
        ("--colorspace ACEScg", "clip", Clip("c.mp4", colorspace="ACEScg")),
    ],
)
def test_shared_flags(flags: str, field: str, value: object) -> None:
    assert getattr(_request(f"{ONE} {flags}"), field) == value


def test_reconstruct_flags() -> None:
    request = _request(
        "reconstruct c.mov --out o --cameras s.json --horizon 1,2,3,4 --range 5-9 --seed 3 --kind pan --mover 4,5@7 "
        "--mover 1,2"
    )
    assert request.clip == Clip("c.mov", 5, 9)
    assert request.scene == SceneOptions(
        cameras_file="s.json", horizon="1,2,3,4", kind="pan", movers=(MoverClick(4, 5, 7), MoverClick(1, 2))
    )
    assert request.seed == 3


def test_import_flags() -> None:
    assert _request("import s.glb --out o") == ImportSceneRequest("s.glb")
    whole = _request("import s.obj --cameras c.chan --clip c.mov --range 5-9 --colorspace ACEScg --no-cache --out o")
    assert whole == ImportSceneRequest("s.obj", "c.chan", Clip("c.mov", 5, 9, "ACEScg"), no_cache=True)
    assert _request("import s.ply --cameras c --size 640x360 --rate 25 --out o") == (
        ImportSceneRequest("s.ply", "c", width_px=640, height_px=360, rate=25.0)
    )


OBJECT = "insert c.mp4 --out o --object a.glb"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{OBJECT} --at 12;7", "--at: expected X,Y in pixels, got '12;7'"),
        (f"{OBJECT} --at 12,x", "--at: expected X,Y in pixels, got '12,x'"),
        (f"{OBJECT} --at 1,2,3", "--at: expected X,Y in pixels, got '1,2,3'"),
        (f"{OBJECT} --at nan,2", "--at: expected X,Y in pixels, got 'nan,2'"),
        (f"{OBJECT} --height-m 0", "--height-m: expected a number > 0, got '0'"),
        (f"{OBJECT} --height-px -4", "--height-px: expected a number > 0, got '-4'"),
        (f"{OBJECT} --frame 1.5", "--frame: expected a whole number >= 0, got '1.5'"),
        (f"{OBJECT} --object-up w", "--object-up: expected +x -x +y -y +z -z, got 'w'"),
        (f"{OBJECT} --attach hand", "--attach: expected world, mover or path:KEYS, got 'hand'"),
        (f"{OBJECT} --scale 1", "--at: expected X,Y in pixels for 'a.glb', got nothing"),
        (
            f"{OBJECT} --at 1,2",
            "--height-m: expected exactly one of --height-m, --height-px and --scale for 'a.glb', got none",
        ),
        (
            f"{OBJECT} --at 1,2 --scale 1 --height-m 2",
            "--scale: expected exactly one of --height-m, --height-px and --scale for 'a.glb', "
            "got --height-m and --scale",
        ),
        (f"{OBJECT} --at 1,2 --at 3,4", "--at: expected once per --object, got it twice for 'a.glb'"),
        ("insert c.mp4 --out o --at 1,2 --object a.glb", "--at: expected after the --object that it belongs to"),
        ("insert c.mp4 --out o", "--object: expected at least one, got none"),
        ("masks c.mp4 --out o", "masks: expected exactly one of --box, --mask and --object"),
        ("masks c.mp4 --box 1,2,3,4 --mask m --out o", "masks: expected exactly one of --box, --mask and --object"),
        ("masks c.mp4 --box 3,2,1,4 --out o", "--box: expected X0,Y0,X1,Y1 with X0 < X1 and Y0 < Y1, got '3,2,1,4'"),
        ("import s.glb --range 1-2 --out o", "--range: expected --clip as well, got none"),
        ("import s.glb --colorspace ACEScg --out o", "--colorspace: expected --clip as well, got none"),
        ("priority jobs/1 101 --server h:1", "N: expected a whole number from 0 to 100, got '101'"),
        (f"{ONE} --range 9-3", "--range: expected A-B, first and last frame number, got '9-3'"),
        (f"{ONE} --mover 5", "--mover: expected X,Y or X,Y@FRAME, got '5'"),
        (f"{ONE} --mover 5,6@", "--mover: expected X,Y or X,Y@FRAME, got '5,6@'"),
        (f"{ONE} --horizon 5,6,5,6", "--horizon: expected X0,Y0,X1,Y1: two different points, got '5,6,5,6'"),
        (f"{ONE} --range 5", "--range: expected A-B, first and last frame number, got '5'"),
        (f"{ONE} --seed -1", "--seed: expected a whole number >= 0, got '-1'"),
        (f"{ONE} --shutter-deg 400", "--shutter-deg: expected degrees from 0 to 360, got '400'"),
        (f"{ONE} --known-distance 1,2,3,4", "--known-distance: expected X0,Y0,X1,Y1,METRES with METRES > 0, got"),
        (f"{ONE} --cameras a --scene b", "--scene: not allowed with argument --cameras"),
        (f"{ONE} --server a:1 --config gpu", "--config: not allowed with argument --server"),
        ("insert c.mp4 --object a.glb --at 1,2 --scale 1", "the following arguments are required: --out"),
        ("jobs", "the following arguments are required: --server"),
        (f"{ONE} --objec b", "unrecognized arguments: --objec b"),
    ],
)
def test_bad_values_end_with_2_and_name_the_flag(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(shlex.split(line))
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("c.mp4", "a.glb"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "no_files").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (ONE.replace("c.mp4", "gone.mp4"), "CLIP: expected an existing file or folder, got 'gone.mp4'"),
        (ONE.replace("c.mp4", "empty.mp4"), "CLIP: expected a file with content, got '"),
        (ONE.replace("c.mp4", "no_files"), "CLIP: expected a folder with files, got 'no_files'"),
        (ONE.replace("a.glb", "gone.glb"), "--object: expected an existing file or folder, got 'gone.glb'"),
        (f"{ONE} --hdri gone.hdr", "--hdri: expected an existing file or folder, got 'gone.hdr'"),
        (f"{ONE} --scene gone", "--scene: expected an existing file or folder, got 'gone'"),
        (f"{ONE} --holdout gone/%d.png", "--holdout: expected an existing file or folder, got 'gone/%d.png'"),
        (ONE.replace("--out o", "--out c.mp4"), "--out: expected a folder that can be written, got 'c.mp4'"),
        (ONE.replace("--out o", "--out /proc/o"), "--out: expected a folder that can be written, got '/proc/o'"),
    ],
)
def test_missing_inputs_are_found_before_any_server_starts(
    line: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKLOT_ROOT", str(folder / "no_server"))
    assert main(shlex.split(line)) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_run_on_a_server(folder: Path, tiny: TinyServer, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.publish(("contact_sheet.png", b"s"), stage="solving cameras", fraction=0.5, warning="scale is unknown")
    tiny.publish(("composite.mp4", b"m"), state=jobs_pb2.JOB_STATE_SUCCEEDED, fraction=1.0)
    assert main(shlex.split(f"{ONE} --server {target}")) == 0
    out, err = capsys.readouterr()
    assert out == "o/contact_sheet.png  o/composite.mp4\n"
    assert err == "[ 50%] solving cameras\nwarning: scale is unknown\n"
    assert Path("o/composite.mp4").read_bytes() == b"m"

    assert main(shlex.split(f"{ONE} --server {target} --json")) == 0
    first, last, result = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (first["seq"], first["state"], first["files"]) == (1, "running", ["contact_sheet.png"])
    assert last["state"] == "succeeded"
    assert result["result"]["look_at"] == ["o/contact_sheet.png", "o/composite.mp4"]

    assert main(shlex.split(f"get {JOB} --out again --server {target}")) == 0
    assert sorted(os.listdir("again")) == ["composite.mp4", "contact_sheet.png"]
    assert main(shlex.split(f"watch {JOB} --server {target}")) == 0
    capsys.readouterr()
    assert main(shlex.split(f"jobs --server {target}")) == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["jobs/2", "insert", "running"],
        ["jobs/1", "insert", "running"],
    ]
    assert main(shlex.split(f"cancel {JOB} --server {target}")) == 0
    assert tiny.cancelled.is_set()


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("pause {}", {"paused": True}),
        ("resume {}", {"paused": False}),
        ("priority {} 0", {"priority": 0}),
        ("priority {} 100", {"priority": 100}),
        ("pin {}", {"pinned": True}),
        ("unpin {}", {"pinned": False}),
    ],
)
def test_words_that_steer_a_job(words: str, change: dict[str, object], tiny: TinyServer, target: str) -> None:
    assert main(shlex.split(f"{words.format(JOB)} --server {target}")) == 0
    assert tiny.calls == [f"UpdateJob {JOB} {change}"]


def test_words_that_steer_the_queue(tiny: TinyServer, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"pause --server {target}")) == 0
    assert tiny.queue_paused
    assert main(shlex.split(f"resume --server {target} --json")) == 0
    assert not tiny.queue_paused
    first, second = capsys.readouterr().out.splitlines()
    assert first == "queue: paused, 3 waiting, 1 running"
    assert json.loads(second) == {"paused": False, "queued": 3, "running": 1}


def test_a_scene_is_imported(folder: Path, tiny: TinyServer, target: str) -> None:
    tiny.publish(("cameras.json", b"{}"), state=jobs_pb2.JOB_STATE_SUCCEEDED)
    assert main(shlex.split(f"import a.glb --size 64x36 --out scene --server {target}")) == 0
    assert Path("scene/cameras.json").read_bytes() == b"{}"
    (request,) = tiny.requests
    assert (request.path.asset.relative_path, request.width_px, request.height_px) == ("a.glb", 64, 36)
    assert not request.HasField("cameras_file")


def test_what_the_server_refuses_names_the_flag(
    folder: Path, tiny: TinyServer, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny.refusal = bad_request("objects[0].at_px", "objects[0].at_px: expected a pixel of 0..831 x 0..479, got 900,2")
    assert main(shlex.split(f"{ONE} --server {target}")) == 2
    assert capsys.readouterr().err == "error: --at: expected a pixel of 0..831 x 0..479, got 900,2\n"


def test_a_failed_job_ends_with_1(
    folder: Path, tiny: TinyServer, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    error = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message="no parallax")
    tiny.publish(state=jobs_pb2.JOB_STATE_FAILED, error=error)
    assert main(shlex.split(f"{ONE} --server {target} --json")) == 1
    out, err = capsys.readouterr()
    assert err == "error: no parallax\n"
    assert json.loads(out.splitlines()[-1]) == {
        "error": {"type": "Unsolvable", "reason": "", "field": "", "message": "no parallax"}
    }


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An application whose server is the tiny one."""
    services = tmp_path / "root" / "services"
    services.mkdir(parents=True)
    (services / "server.py").write_text("from tiny_server import main\nmain()\n")
    (services / "doctor.py").write_text("import os, sys\nprint(os.getcwd(), sys.argv[1:])\nsys.exit(3)\n")
    monkeypatch.setenv("BACKLOT_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("BACKLOT_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return tmp_path / "root"


def _start(line: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "backlot.cli", *shlex.split(line)]
    # Tests that run in the background of a shell inherit that Ctrl-C is ignored.
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def test_a_run_with_its_own_server(folder: Path, root: Path) -> None:
    out, err = (process := _start(ONE)).communicate(timeout=60)
    assert process.returncode == 0, err
    assert out == "o/contact_sheet.png  o/composite.mp4\n"
    assert Path("o/report.json").read_text() == str(folder / "store")


def test_ctrl_c_cancels_and_says_how_to_go_on(folder: Path, root: Path) -> None:
    process = _start(f"{ONE} --config endless --json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["stage"] == "solving"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("cancelled: run the same command again to go on\n")
    assert Path("o/contact_sheet.png").read_bytes() == b"sheet"


def test_a_server_that_does_not_start_says_why(folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"{ONE} --config broken")) == 1
    assert "unknown key: slotz" in capsys.readouterr().err


def test_doctor_runs_in_the_application(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 3
    assert capfd.readouterr().out == f"{root} ['--json']\n"


def test_no_application(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("BACKLOT_ROOT", str(folder))
    assert main(shlex.split(ONE)) == 1
    assert capsys.readouterr().err == f"error: BACKLOT_ROOT: expected Backlot's folder, got {folder}\n"

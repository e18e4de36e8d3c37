"""From a blockout and a picture to a video: what is drawn, what is exact, what is made again when an anchor changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from geometry.guides import GuideSource
from services.errors import InvalidRequest, Unsolvable
from services.export.nerfstudio import write_cameras_json
from services.export.nuke import write_chan
from services.media import exr, images
from services.media.clip import open_clip
from services.pipelines import previs
from services.pipelines.blockout_shot import Shot, open_shot
from services.pipelines.inputs import mesh_digest
from services.pipelines.requests import (
    AnchorEdit,
    AnchorsRequest,
    GuidesRequest,
    PrevisRequest,
    PrevisShot,
    PrevisStyle,
    StyleRegion,
)
from tests.pipelines.previs_shots import COLOURS, FRAMES, NAMES, WH, Studio, coloured, object_ids, pictures, yard

ALIGNED = 4
W, H = WH


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"), yard())


def shot(studio: Studio, **more: Any) -> PrevisShot:
    return PrevisShot(**{"scene": studio.scene, "width_px": W, "height_px": H, **more})


def aligned(studio: Studio, **more: Any) -> PrevisRequest:
    style = PrevisStyle(studio.reference(ALIGNED), ALIGNED)
    return PrevisRequest(**{"shot": shot(studio), "style": style, **more})


@pytest.fixture(scope="module")
def guides(studio: Studio) -> tuple[Path, dict[str, Any]]:
    return studio.run(previs.run_guides, GuidesRequest(shot(studio)))


@pytest.fixture(scope="module")
def whole(studio: Studio) -> tuple[Path, dict[str, Any]]:
    return studio.run(previs.run_previs, aligned(studio))


# --- guides


def test_guides_are_those_of_geometry(guides: tuple[Path, dict[str, Any]], studio: Studio) -> None:
    folder, facts = guides[0] / "guides", guides[1]
    assert (facts["frames"], facts["width_px"], facts["height_px"]) == (FRAMES, W, H)
    source = GuideSource(studio.set.instances, studio.set.path)
    for frame in (0, FRAMES - 1):
        expected = source.guides(frame)
        depth = exr.read_depth(folder / "depth" / f"{frame:04d}.exr")
        np.testing.assert_allclose(depth, expected.gbuffer.depth, rtol=1e-4)
        ids = images.read_picture(folder / "ids" / f"{frame:04d}.png")[..., 0]
        np.testing.assert_array_equal(ids, expected.gbuffer.object_id)
        normal = images.read_picture(folder / "normal" / f"{frame:04d}.png") / 127.5 - 1
        there = ids > 0
        assert np.abs(normal - expected.gbuffer.normal)[there].max() < 0.01
        soft = images.read_mask(folder / "softedge" / f"{frame:04d}.png")
        assert np.abs(soft - expected.soft_edges).max() < 0.01
    flow = exr.read_channels(folder / "flow" / "0000.exr")
    np.testing.assert_allclose(flow["X"], source.flow(0, 1).dx_dy[..., 0], atol=1e-3)
    np.testing.assert_array_equal(flow["visible"] > 0, source.flow(0, 1).visible)


def test_every_frame_has_its_guides(guides: tuple[Path, dict[str, Any]]) -> None:
    for kind, suffix, count in (("depth", "exr", FRAMES), ("normal", "png", FRAMES), ("edges", "png", FRAMES),
                                ("softedge", "png", FRAMES), ("ids", "png", FRAMES), ("flow", "exr", FRAMES - 1)):
        names = [path.name for path in sorted((guides[0] / "guides" / kind).iterdir())]
        assert names == [f"{frame:04d}.{suffix}" for frame in range(count)]
    report = json.loads((guides[0] / "report.json").read_text())
    assert [(o["id"], o["name"]) for o in report["objects"]] == list(enumerate(NAMES, 1))
    assert (guides[0] / "contact_sheet.png").exists()
    assert not (guides[0] / "video.mp4").exists()


def test_chunks_change_nothing(studio: Studio, whole: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previs, "CHUNK", 3)
    monkeypatch.setattr(previs, "ARC_CHUNK", 2)
    again, _ = studio.run(previs.run_previs, aligned(studio))
    assert "frames" in studio.ran
    for folder in ("frames", "guides/softedge", "guides/ids", "anchors"):
        assert pictures(again / folder) == pictures(whole[0] / folder)


@pytest.mark.parametrize("kind", ["cameras.json", "cameras.chan"])
def test_cameras_of_another_file_are_the_same_shot(
    studio: Studio, guides: tuple[Path, Any], tmp_path: Path, kind: str
) -> None:
    file = tmp_path / kind
    (write_chan if kind.endswith("chan") else write_cameras_json)(file, studio.set.path)
    request = GuidesRequest(PrevisShot(studio.scene, cameras_file=str(file), first_frame=2, frames=2))
    out, facts = studio.run(previs.run_guides, request)
    assert (facts["frames"], facts["width_px"]) == (2, W)
    for frame in (2, 3):
        ours, theirs = (images.read_picture(f / "guides" / "ids" / f"{frame:04d}.png") for f in (out, guides[0]))
        assert (ours != theirs).mean() < 0.005


# --- the whole


def test_the_painted_over_frame_is_the_picture(whole: tuple[Path, Any], studio: Studio) -> None:
    reference = coloured(studio.set, ALIGNED)
    for folder in ("frames", "anchors"):
        np.testing.assert_array_equal(images.read_picture(whole[0] / folder / f"{ALIGNED:04d}.png"), reference)


def test_every_object_keeps_its_colour(whole: tuple[Path, Any], studio: Studio) -> None:
    """Inside an object, one pixel from its silhouette, nothing of another is ever seen."""
    for frame in range(FRAMES):
        ids = object_ids(studio.set, frame)
        shown, around = ids.astype(np.float32), np.ones((3, 3))
        inner = cv2.erode(shown, around) == cv2.dilate(shown, around)
        picture = images.read_picture(whole[0] / "frames" / f"{frame:04d}.png").astype(int)
        apart = np.abs(picture[:, :, None] - COLOURS.astype(int)).sum(-1)
        assert (apart.argmin(-1) == ids)[inner].all(), frame


def test_frames_join_on_exact_anchors_and_none_is_doubled(whole: tuple[Path, Any]) -> None:
    frames, anchors = pictures(whole[0] / "frames"), pictures(whole[0] / "anchors")
    assert list(frames) == [f"{frame:04d}.png" for frame in range(FRAMES)]
    assert {"0000.png", f"{ALIGNED:04d}.png", f"{FRAMES - 1:04d}.png"} <= set(anchors)
    assert {name: frames[name] for name in anchors} == anchors
    assert len(set(frames.values())) == FRAMES
    with open_clip(whole[0] / "video.mp4") as movie:
        assert (len(movie.numbers), movie.hw, movie.rate) == (FRAMES, (H, W), 24)
    report = json.loads((whole[0] / "report.json").read_text())
    assert report["backends"] == {"anchors": "exemplar", "inbetween": "ibr"}
    assert [a["relative_path"] for a in report["anchors"]] == [f"anchors/{name}" for name in anchors]


def test_a_second_run_computes_nothing(studio: Studio, whole: tuple[Path, Any]) -> None:
    studio.run(previs.run_previs, aligned(studio))
    assert set(studio.ran) == {"report"}  # which tells how long things took


def test_one_anchor_changes_and_only_its_arcs_do(studio: Studio, whole: tuple[Path, Any], tmp_path: Path) -> None:
    """Frames 2 and 7 get anchors; then the picture of frame 2 is another."""
    forced = (AnchorEdit(2), AnchorEdit(7))
    before, facts = studio.run(previs.run_previs, aligned(studio, anchors=forced))
    assert {anchor["frame"] for anchor in facts["anchors"]} >= {0, 2, ALIGNED, 7, FRAMES - 1}
    red = tmp_path / "red.png"
    images.write_picture(red, np.full((2 * H, 2 * W, 3), (200, 0, 0), np.uint8))
    after, facts = studio.run(previs.run_previs, aligned(studio, anchors=(AnchorEdit(2, str(red)), AnchorEdit(7))))
    assert {"frame": 2, "relative_path": "anchors/0002.png", "source": "given", "redo": 0} in facts["anchors"]
    assert "guides" not in studio.ran
    old, new = pictures(before / "frames"), pictures(after / "frames")
    changed = {int(name[:4]) for name in old if old[name] != new[name]}
    ends = sorted(anchor["frame"] for anchor in facts["anchors"])
    low, high = max(f for f in ends if f < 2), min(f for f in ends if f > 2)
    assert changed == set(range(low + 1, high))
    assert (images.read_picture(after / "frames" / "0002.png") == (200, 0, 0)).all()


def test_an_earlier_anchor_can_be_locked(studio: Studio, whole: tuple[Path, Any]) -> None:
    lock = AnchorEdit(0, str(whole[0] / "anchors" / "0000.png"))
    out, facts = studio.run(previs.run_anchors, AnchorsRequest(
        shot(studio), PrevisStyle(studio.reference(8), 8), anchors=(lock,), seed=5))  # fmt: skip
    assert pictures(out / "anchors")["0000.png"] == pictures(whole[0] / "anchors")["0000.png"]
    assert not (out / "frames").exists()
    assert facts["anchors"][0]["source"] == "given"


def test_the_picture_may_lie_outside_the_range(studio: Studio) -> None:
    style = PrevisStyle(studio.reference(ALIGNED), ALIGNED)
    request = PrevisRequest(shot(studio, first_frame=6, last_frame=8), style)
    out, facts = studio.run(previs.run_previs, request)
    assert list(pictures(out / "frames")) == ["0006.png", "0007.png", "0008.png"]
    assert ALIGNED not in [anchor["frame"] for anchor in facts["anchors"]]


def test_a_style_picture_dresses_objects(studio: Studio, tmp_path: Path) -> None:
    """Two boxes take their looks from two halves of a picture."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32], picture[:, 32:] = (220, 40, 40), (40, 40, 220)
    picture = cv2.add(picture, np.random.default_rng(3).integers(0, 25, picture.shape, np.uint8))
    images.write_picture(tmp_path / "look.png", picture)
    regions = (StyleRegion("tower", (0, 0, 32, 64)), StyleRegion("shed", (32, 0, 64, 64)))
    out, _ = studio.run(previs.run_previs, PrevisRequest(
        shot(studio, frames=3), PrevisStyle(str(tmp_path / "look.png"), regions=regions)))  # fmt: skip
    ids, made = object_ids(studio.set, 1), images.read_picture(out / "frames" / "0001.png").astype(int)
    tower, shed = (made[ids == NAMES.index(name) + 1].mean(0) for name in ("tower", "shed"))
    assert tower[0] > 1.5 * tower[2]
    assert shed[2] > 1.5 * shed[0]


def test_one_frame(studio: Studio) -> None:
    out, facts = studio.run(previs.run_previs, aligned(studio, shot=shot(studio, first_frame=ALIGNED, frames=1)))
    assert list(pictures(out / "frames")) == [f"{ALIGNED:04d}.png"]
    assert [anchor["frame"] for anchor in facts["anchors"]] == [ALIGNED]


# --- what is wrong with a shot


def refused(studio: Studio, **request: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        studio.run(previs.run_previs, aligned(studio, **request))
    return caught.value


def test_what_is_wrong_with_the_shot_is_named(studio: Studio, tmp_path: Path) -> None:
    camera = refused(studio, shot=shot(studio, camera="B"))
    assert (camera.field, camera.expected, camera.got) == ("shot.camera", "one of shotcam", "'B'")
    (tmp_path / "tri.obj").write_text("o lone\nv 0 0 0\nv 1 0 0\nv 0 0 1\nf 1 2 3\n")
    none = refused(studio, shot=shot(studio, scene=str(tmp_path / "tri.obj")))
    assert (none.field, none.got) == ("shot.camera", "only the objects lone")
    assert none.expected == "one in the file, or a file of cameras, or a move"
    (tmp_path / "points.obj").write_text("v 0 0 0\n")
    loose = refused(studio, shot=shot(studio, scene=str(tmp_path / "points.obj")))
    assert (loose.field, "at least one object with triangles, got none" in str(loose.got)) == ("shot.scene", True)
    assert refused(studio, shot=shot(studio, first_frame=3, last_frame=FRAMES)).got == f"3-{FRAMES}"
    assert refused(studio, shot=shot(studio, width_px=64, height_px=64)).field == "style.reference"
    guides = GuidesRequest(shot(studio, width_px=64, height_px=64))
    with pytest.raises(InvalidRequest, match="shot.width_px: expected the aspect 1.500 of the camera shotcam"):
        studio.run(previs.run_guides, guides)
    outside = refused(studio, style=PrevisStyle(studio.reference(ALIGNED), FRAMES))
    assert (outside.field, outside.got) == ("style.aligned_frame", str(FRAMES))


def test_what_is_wrong_with_the_look_is_named(studio: Studio, tmp_path: Path) -> None:
    def style(picture: np.ndarray, **more: Any) -> PrevisStyle:
        images.write_picture(tmp_path / "look.png", picture)
        return PrevisStyle(str(tmp_path / "look.png"), **more)

    grey = np.full((H, W, 3), 90, np.uint8)
    one = refused(studio, style=style(grey[:1, :1]))
    assert (one.field, one.got) == ("style.reference", "1 x 1")
    square = refused(studio, style=style(grey[:, :H], aligned_frame=0))
    assert (square.field, square.got) == ("style.reference", f"{H} x {H}, which is 1.000")
    outside = refused(studio, style=style(grey, regions=(StyleRegion("shed", (0, 0, W + 1, H)),)))
    assert (outside.field, outside.expected) == ("style.regions[0].box", f"a part of the {W} x {H} picture")
    unknown = refused(studio, style=style(grey, regions=(StyleRegion("barn", (0, 0, 9, 9)),)))
    assert (unknown.field, unknown.expected) == ("style.regions[0].object", "one of ground, tower, shed, cart")
    told = refused(studio, style=style(grey, prompt="a snowy night"))
    assert (told.field, "reads no text" in told.expected) == ("style.prompt", True)
    assert refused(studio, style=style(np.zeros((H, W, 4), np.uint8))).field == "style.reference"
    anchors = refused(studio, anchors=(AnchorEdit(FRAMES),))
    assert anchors.field == "anchors[0].frame"
    small = refused(studio, anchors=(AnchorEdit(1), AnchorEdit(2, style(grey[:, :H]).reference)))
    assert small.field == "anchors[1].picture"
    backend = refused(studio, anchors_backend="midas")
    assert (backend.field, "qwen-image-union" in backend.got) == ("anchors_backend", True)
    assert refused(studio, inbetween_backend="../x.yaml").field == "inbetween_backend"


def test_transparent_parts_of_a_reference_are_told(studio: Studio, tmp_path: Path) -> None:
    picture = np.dstack([coloured(studio.set, 0), np.full((H, W), 255, np.uint8)])
    picture[:5, :, 3] = 0
    images.write_picture(tmp_path / "look.png", picture)
    out, _ = studio.run(previs.run_anchors, AnchorsRequest(
        shot(studio, frames=1), PrevisStyle(str(tmp_path / "look.png"), 0)))  # fmt: skip
    assert studio.warnings == ["look.png: what is transparent is laid over the mean colour of the rest"]
    made = images.read_picture(out / "anchors" / "0000.png")
    np.testing.assert_array_equal(made[5:], picture[5:, :, :3])
    assert len(np.unique(made[:5].reshape(-1, 3), axis=0)) == 1


def test_a_camera_in_a_wall_one_that_sees_nothing_and_one_that_stands_still(tmp_path: Path) -> None:
    wall = Studio(tmp_path / "wall", yard(4, step=0.0))
    poses = wall.set.path.camera_from_world.copy()
    poses[1, :3, 3] = -poses[1, :3, :3] @ (2.0, 1.0, -2.5)  # inside the shed
    cameras = tmp_path / "cameras.json"
    write_cameras_json(cameras, type(wall.set.path)(wall.set.path.frames, wall.set.path.cameras, poses))
    wall.run(previs.run_guides, GuidesRequest(PrevisShot(wall.scene, cameras_file=str(cameras))))
    assert wall.warnings == ["the camera may stand inside 'shed', whose inner side it sees in frame(s) 1"]
    poses[:] = poses[0]
    poses[:, :3, 3] += (0, 0, 1000)
    poses[:, :3, :3] = -1 * poses[:, :3, :3] * np.array([[1], [-1], [1]])  # looks away
    write_cameras_json(cameras, type(wall.set.path)(wall.set.path.frames, wall.set.path.cameras, poses))
    with pytest.raises(Unsolvable, match="sees nothing of the scene"):
        wall.run(previs.run_guides, GuidesRequest(PrevisShot(wall.scene, cameras_file=str(cameras))))
    still = Studio(tmp_path / "still", yard(1))
    still.run(previs.run_guides, GuidesRequest(PrevisShot(still.scene, frames=3, width_px=W, height_px=H)))
    assert still.warnings == ["nothing moves: every frame is the same picture"]


# --- what the keys of stages know of a scene


def test_what_lies_beside_a_scene_does_not_change_it_but_what_it_names_does(tmp_path: Path) -> None:
    def grown(scene: str) -> list[bool]:
        """Whether the digest changes with a stranger beside the scene, with its picture, with its other part."""
        (tmp_path / "pic.png").write_bytes(b"1")
        before, changes = mesh_digest(tmp_path / scene), []
        for name in ("frame0001.png", "pic.png", "part.mtl", "part.usda"):
            kept = (tmp_path / name).read_bytes() if (tmp_path / name).exists() else b""
            (tmp_path / name).write_bytes(kept + b"\n# more\n")
            changes.append(mesh_digest(tmp_path / scene) != before)
            before = mesh_digest(tmp_path / scene)
        return changes

    (tmp_path / "part.mtl").write_text("newmtl a\nmap_Kd -s 1 1 1 pic.png\n")
    (tmp_path / "part.usda").write_text("#usda 1.0\n")
    (tmp_path / "a.obj").write_text("mtllib part.mtl\nv 0 0 0\n")
    (tmp_path / "a.gltf").write_text(json.dumps({"asset": {}, "images": [{"uri": "pic.png"}]}))
    (tmp_path / "a.usda").write_text('#usda 1.0\n(subLayers=[@./part.usda@])\ndef Shader "s"\n{\n'
                                     "asset inputs:file = @./pic.png@\n}\n")  # fmt: skip
    assert grown("a.obj") == [False, True, True, False]
    assert grown("a.gltf") == [False, True, False, False]
    assert grown("a.usda") == [False, True, False, True]
    for broken in ("b.gltf", "b.usda"):
        (tmp_path / broken).write_text("{")
        assert mesh_digest(tmp_path / broken)  # whoever reads it says what is wrong


# --- cameras that are only told


def camera_of(studio: Studio, **more: Any) -> Shot:
    return open_shot(shot(studio, **more))


def test_a_move_starts_where_the_camera_stands(studio: Studio) -> None:
    plain, moved = camera_of(studio, first_frame=3), camera_of(studio, first_frame=3, frames=5, move="truck=left:0.5")
    assert moved.frames == (3, 4, 5, 6, 7)
    np.testing.assert_allclose(moved.cameras.pose(3), plain.cameras.pose(3))
    way = moved.cameras.centres[-1] - moved.cameras.centres[0]
    np.testing.assert_allclose(way, -0.5 * plain.cameras.pose(3)[0, :3], atol=1e-9)
    assert moved.cameras.camera(7) == plain.cameras.camera(3)  # the file's own zoom is the file's own move


def test_an_orbit_stays_level_and_looks_at_what_it_goes_round(tmp_path: Path) -> None:
    """A cube without a camera: its middle stays in the middle of the picture, at the same height and distance."""
    (tmp_path / "cube.obj").write_text("o cube\n" + "".join(
        f"v {x} {y} {z}\n" for x in (4, 6) for y in (0, 2) for z in (-1, 1)
    ) + "f 1 2 4 3\nf 5 7 8 6\nf 1 5 6 2\nf 3 4 8 7\nf 1 3 7 5\nf 2 6 8 4\n")  # fmt: skip
    found = open_shot(PrevisShot(str(tmp_path / "cube.obj"), frames=9, move="orbit=right:360"))
    assert (found.frames, found.wh) == (tuple(range(9)), (720, 480))
    centres = found.cameras.centres
    np.testing.assert_allclose(centres[:, 1], centres[0, 1])
    assert len(np.unique(np.round(centres[:-1], 3), axis=0)) == 8
    np.testing.assert_allclose(centres[-1], centres[0], atol=1e-9)
    middle = np.array([5.0, 1, 0, 1])
    for frame in found.frames:
        x, y, z = (found.cameras.pose(frame) @ middle)[:3]
        assert max(abs(x), abs(y)) < 1e-9
        assert z == pytest.approx(np.linalg.norm(centres[0] - middle[:3]))
        ids = found.guides().guides(frame).gbuffer.object_id
        assert ids.any() and not ids[[0, -1]].any() and not ids[:, [0, -1]].any()


def test_what_is_animated_holds_its_end_during_a_longer_move(studio: Studio) -> None:
    assert camera_of(studio, frames=FRAMES + 5, move="dolly=in:0.1").frames[-1] == FRAMES + 4
    assert len(open_shot(PrevisShot(studio.scene, width_px=W, height_px=H, move="pan=left:1")).frames) == FRAMES


@pytest.mark.parametrize(("move", "message"), [
    ("orbit=left", "shot.move: expected a move, .*, got move 'orbit=left': expected orbit=left.right.up.down:AMOUNT"),
    ("dolly-zoom=in:900", "shot.move: expected a move that can be made, got dolly-zoom: expected less than the pivot"),
])  # fmt: skip
def test_moves_that_cannot_be_made_are_named(studio: Studio, move: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        camera_of(studio, move=move)


def test_an_animation_that_is_not_there(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="shot.animation: expected one of 0, got 'run'"):
        camera_of(studio, animation="run")
    (tmp_path / "tri.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 0 1\nf 1 2 3\n")
    with pytest.raises(InvalidRequest, match="shot.animation: expected none of a .obj file, got 'run'"):
        open_shot(PrevisShot(str(tmp_path / "tri.obj"), animation="run", move="locked"))


def test_regions_of_several_objects_and_of_the_background(studio: Studio, tmp_path: Path) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :32], picture[:, 32:64], picture[:, 64:] = (220, 40, 40), (40, 40, 220), (40, 200, 40)
    images.write_picture(tmp_path / "look.png", picture)
    regions = (StyleRegion("*", (0, 0, 32, 64)), StyleRegion("sh?d", (32, 0, 64, 64)),
               StyleRegion("background", (64, 0, 96, 64)))  # fmt: skip
    out, _ = studio.run(previs.run_anchors, AnchorsRequest(
        shot(studio, frames=2), PrevisStyle(str(tmp_path / "look.png"), regions=regions)))  # fmt: skip
    for frame in (0, 1):  # the second one goes on from the first
        ids, made = object_ids(studio.set, frame), images.read_picture(out / "anchors" / f"{frame:04d}.png")
        shown, around = ids.astype(np.float32), np.ones((3, 3))
        inner = cv2.erode(shown, around) == cv2.dilate(shown, around)
        for object_id, channel in ((0, 1), (1, 0), (2, 0), (3, 2), (4, 0)):
            assert (made[(ids == object_id) & inner].argmax(-1) == channel).all(), (frame, object_id)

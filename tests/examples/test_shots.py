"""What the rendered shots promise."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from examples import shots, small_scene
from examples.shots import KINDS, PANE_ID, Shot, make_shot, pane_reflectance, render_shot, without_fireflies
from examples.truth import UP
from geometry import frames as camera_files
from geometry import rigid
from geometry.camera import pixel_centres
from geometry.render import make_renderer
from geometry.render.base import Environment, RenderScene, View
from geometry.scene import GBuffer
from services.media import exr, images

WH = (96, 54)
LIGHT = Environment(np.ones((2, 4, 3), np.float32))
renderer = cache(make_renderer)  # loaded scenes are used again


def seen(shot: Shot, frame: int, *, glazed: bool = True) -> GBuffer:
    scene = RenderScene(shot.solid(frame) if glazed else shot.instances(frame), LIGHT)
    return renderer().gbuffer(scene, View(shot.path.camera(frame), (shot.path.pose(frame),)))


def name(frame: int, suffix: str = "png") -> str:
    return f"{frame:04d}.{suffix}"


@pytest.fixture(scope="module")
def mover(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames of the shot with the robot."""
    out = tmp_path_factory.mktemp("mover")
    render_shot(make_shot("mover", 2, WH), out, seed=1, spp=4, renderer=renderer())
    return out


def test_what_is_written_is_what_is_there(mover: Path) -> None:
    shot = make_shot("mover", 2, WH)
    facts = json.loads((mover / "truth.json").read_text())
    assert (facts["kind"], facts["camera"]) == ("mover", "parallax")
    assert facts["movers"]["1"]["name"] == facts["names"]["101"] == "robot"
    path = camera_files.path_from_cameras_json(json.loads((mover / "cameras.json").read_text()))
    np.testing.assert_allclose(path.camera_from_world, shot.path.camera_from_world, atol=1e-9)
    for frame in range(2):
        ids, labels = (images.read_picture(mover / kind / name(frame))[..., 0] for kind in ("ids", "motion"))
        np.testing.assert_array_equal(labels, np.where(ids == 101, 1, 0))
        assert (labels == 1).sum() > 50
        expected = seen(shot, frame)
        np.testing.assert_array_equal(ids, expected.object_id)
        np.testing.assert_array_equal(exr.read_depth(mover / "depth" / name(frame, "exr")), expected.depth)
        # The depth at a pixel is the distance of a point that lies on it.
        points = rigid.transform(shot.path.pose(frame), expected.position.astype(np.float64))
        np.testing.assert_allclose(shot.path.camera(frame).px_from_cam(points), pixel_centres(WH), atol=1e-3)


def test_the_same_seed_gives_the_same_files(mover: Path, tmp_path: Path) -> None:
    render_shot(make_shot("mover", 2, WH), tmp_path, seed=1, spp=4, renderer=renderer())
    for file in mover.rglob("*.*"):
        assert (tmp_path / file.relative_to(mover)).read_bytes() == file.read_bytes(), file.name


def test_the_robot_passes_before_the_spot_and_then_behind_the_stand() -> None:
    shot = make_shot("mover", 13, WH)
    views = [seen(shot, frame) for frame in range(13)]
    areas = [np.count_nonzero(view.object_id == 101) for view in views]
    before_spot = []
    for frame, view in enumerate(views):
        in_camera = rigid.transform(shot.path.pose(frame), small_scene.SPOT + 0.02 * UP)
        x, y = shot.path.camera(frame).px_from_cam(in_camera).astype(int)
        before_spot.append(view.object_id[y, x] == 101)
    assert any(before_spot)
    assert min(areas[4:9]) < 0.6 * min(areas[3], areas[9])
    assert before_spot.index(True) < 4 + np.argmin(areas[4:9])


@pytest.mark.parametrize("kind", ["pan", "follow"])
def test_a_pan_only_turns(kind: shots.ShotKind) -> None:
    shot = make_shot(kind, 9, WH)
    np.testing.assert_allclose(np.ptp(shot.path.centres, axis=0), 0, atol=1e-12)
    assert np.degrees(rigid.rotation_angle(shot.path.pose(8) @ rigid.inverse(shot.path.pose(0)))) > 25
    # No parallax: what a rotation of the rays predicts is what is there, near and far alike.
    for a, b in ((0, 4), (4, 8)):
        turn = (shot.path.pose(b) @ rigid.inverse(shot.path.pose(a)))[:3, :3]
        px = shot.path.camera(b).px_from_cam(shot.path.camera(a).rays_from_px(pixel_centres(WH)) @ turn.T)
        inside = ((px > 1) & (px < np.array(WH) - 1)).all(-1)
        column, row = px[inside].astype(int).T
        same = seen(shot, a).object_id[inside] == seen(shot, b).object_id[row, column]
        still = (seen(shot, a).object_id[inside] < 100) & (seen(shot, b).object_id[row, column] < 100)
        assert inside.sum() > 1000
        assert same[still].mean() > 0.93  # the rest lies on outlines


def test_a_tripod_stands_still_and_the_robot_comes_in() -> None:
    shot = make_shot("locked", 9, WH)
    assert (np.ptp(shot.path.camera_from_world, axis=0) == 0).all()
    areas = [(seen(shot, f).object_id == 101).sum() for f in range(9)]
    assert areas[0] == 0
    assert max(areas) > 80
    still = [seen(shot, f).depth for f in (0, 8)]
    labels = seen(shot, 8).object_id == 101
    np.testing.assert_array_equal(still[0][~labels], still[1][~labels])


def test_the_turntables_matrices_move_its_pixels_where_they_are() -> None:
    shot = make_shot("turntable", 13, WH)
    start, end = seen(shot, 3), seen(shot, 5)
    on = start.object_id == 101
    world_from_mover = shot.actors[0].world_from_mover
    motion = world_from_mover(shot.time(5)) @ rigid.inverse(world_from_mover(shot.time(3)))
    points = rigid.transform(motion, start.position[on].astype(np.float64))
    in_camera = rigid.transform(shot.path.pose(5), points)
    column, row = shot.path.camera(5).px_from_cam(in_camera).astype(int).T
    visible = np.abs(end.depth[row, column] - in_camera[:, 2]) < 0.02
    assert on.sum() > 300
    assert visible.mean() > 0.75  # the rest turned away or hides behind the robot
    assert (end.object_id[row, column][visible] == 101).mean() > 0.97
    # Had it stood still, fewer of its textured sides would lie where they are.
    unmoved = rigid.transform(shot.path.pose(5), start.position[on].astype(np.float64))
    column, row = shot.path.camera(5).px_from_cam(unmoved).astype(int).T
    assert (np.abs(end.depth[row, column] - unmoved[:, 2]) < 0.02).mean() < visible.mean()
    angle = rigid.rotation_angle(world_from_mover(1.0) @ rigid.inverse(world_from_mover(0.0)))
    assert np.degrees(angle) == pytest.approx(75)


def test_an_orbit_goes_once_around_and_keeps_its_subject() -> None:
    shot = make_shot("orbit", 24, WH)
    steps = np.linalg.norm(shot.path.centres - np.roll(shot.path.centres, 1, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0])
    stand = shot.scene.object_id("plant stand")
    for frame in range(0, 24, 6):
        columns = np.nonzero(seen(shot, frame).object_id == stand)[1]
        assert len(columns) > 60
        assert columns.mean() == pytest.approx(WH[0] / 2, abs=6)


def test_glass_hides_nothing_but_has_its_own_depth(tmp_path: Path) -> None:
    shot = make_shot("glass", 2, WH)
    glazed = seen(shot, 1)
    bare = seen(shot, 1, glazed=False)
    pane = glazed.object_id == PANE_ID
    assert 0.03 < pane.mean() < 0.3
    assert (glazed.depth[pane] < bare.depth[pane]).all()
    np.testing.assert_array_equal(glazed.depth[~pane], bare.depth[~pane])
    for kind in ("mirror", "blank"):
        assert np.isin(glazed.object_id, shot.unsure[kind]).mean() > 0.02
    render_shot(shot, tmp_path, seed=1, spp=4, renderer=renderer())
    picture = images.read_picture(tmp_path / "plate" / name(1)).astype(float)
    crates = pane & (bare.object_id == shot.scene.object_id("crates"))
    open_wall = (glazed.object_id == shot.unsure["blank"][0]) & ~pane
    red, _, blue = picture[crates].mean(0)
    assert red > blue + 25  # their wood shows through the glass
    assert picture[crates].mean() != pytest.approx(picture[open_wall].mean(), abs=5)


def test_a_pane_reflects_8_per_cent_head_on_and_more_aslant() -> None:
    shot = make_shot("glass", 2, (64, 36))
    assert shot.pane is not None and shot.pane.normals is not None
    centre, normal = shot.pane.vertices.mean(0), shot.pane.normals[0]
    head_on = View(shot.path.camera(0), (rigid.look_at(centre + 3 * normal, centre),))
    reflected = pane_reflectance(shot.pane, head_on)
    # r = ((n - 1) / (n + 1))^2 = .04 at each face, 2 r / (1 + r) in all
    assert reflected[17:19, 31:33].mean() == pytest.approx(0.08 / 1.04, rel=1e-2)
    assert reflected.min() > 0.0769
    assert reflected[0, 0] > reflected[18, 32]


def test_fireflies_are_put_out_and_edges_are_not() -> None:
    picture = np.full((9, 9, 3), 0.2, np.float32)
    picture[:, 5:] = 0.9
    clean = picture.copy()
    picture[4, 2] = 30.0
    np.testing.assert_array_equal(without_fireflies(picture), clean)


def test_unknown_kinds_and_single_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="kind: expected one of"):
        make_shot("crane", 5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_frames: expected >= 2, got 1"):
        make_shot("pan", 1)
    for kind in KINDS:
        ids = [i.object_id for i in make_shot(kind, 2, WH).solid(0)]
        assert len(set(ids)) == len(ids)
        assert max(ids) < 256

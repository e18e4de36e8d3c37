from __future__ import annotations

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.moves import LOCKED, Setting, camera_path, parse_move

CAMERA = Camera(100.0, 100.0, 32.0, 24.0, (64, 48))
PIVOT = np.array([0.0, 0.0, 5.0])


def last(spec: str, **options: object) -> tuple[Camera, np.ndarray]:
    path = camera_path(parse_move(spec), CAMERA, 11, pivot_depth=5.0, **options)
    np.testing.assert_array_equal(path.camera_from_world[0], np.eye(4))
    return path.cameras[-1], path.camera_from_world[-1]


@pytest.mark.parametrize(
    ("spec", "centre"),
    [
        ("locked", (0, 0, 0)), ("dolly=in:0.4", (0, 0, 0.4)), ("dolly=out:.4", (0, 0, -0.4)), ("forward=1", (0, 0, 1)),
        ("truck=left:0.2", (-0.2, 0, 0)), ("pedestal=up:.1", (0, -0.1, 0)),
        ("truck=right:0.2 + pedestal=down:0.3", (0.2, 0.3, 0)), ("pan=left:30", (0, 0, 0)),
        ("orbit=right:90", (5, 0, 5)), ("orbit=up:90", (0, -5, 5)), ("dolly-zoom=in:1", (0, 0, 1)),
    ],
)  # fmt: skip
def test_where_the_camera_ends(spec: str, centre: tuple[float, float, float]) -> None:
    _, pose = last(spec)
    np.testing.assert_allclose(rigid.inverse(pose)[:3, 3], centre, atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "axis", "direction"),
    [
        ("pan=right:90", 2, (1, 0, 0)), ("pan=left:90", 2, (-1, 0, 0)), ("tilt=up:90", 2, (0, -1, 0)),
        ("tilt=down:90", 2, (0, 1, 0)), ("roll=right:90", 0, (0, 1, 0)), ("orbit=left:90", 2, (1, 0, 0)),
    ],
)  # fmt: skip
def test_where_its_axes_point(spec: str, axis: int, direction: tuple[float, float, float]) -> None:
    _, pose = last(spec)
    np.testing.assert_allclose(pose[axis, :3], direction, atol=1e-12)


@pytest.mark.parametrize("spec", ["orbit=left:15", "orbit=up:20+orbit=right:5", "dolly-zoom=in:2", "dolly-zoom=out:2"])
def test_the_pivot_keeps_its_place(spec: str) -> None:
    camera, pose = last(spec)
    np.testing.assert_allclose(camera.px_from_cam(rigid.transform(pose, PIVOT)), (32, 24), atol=1e-9)


def test_a_dolly_zoom_keeps_the_pivots_size() -> None:
    camera, pose = last("dolly-zoom=in:2")
    beside, farther = PIVOT + np.array([0.5, 0, 0]), PIVOT + np.array([0.5, 0, 5])
    assert camera.px_from_cam(rigid.transform(pose, beside))[0] == pytest.approx(42)
    assert camera.px_from_cam(rigid.transform(pose, farther))[0] < 37 - 0.5  # was 37: what is behind shrinks


def test_easing() -> None:
    def z(easing: object) -> np.ndarray:
        return camera_path(parse_move("dolly=in:1"), CAMERA, 11, pivot_depth=5.0, easing=easing).centres[:, 2]

    np.testing.assert_allclose(z("linear"), np.linspace(0, 1, 11), atol=1e-12)
    np.testing.assert_allclose(z("none"), 1)
    smooth = z("smooth")
    assert smooth[[0, 5, 10]] == pytest.approx([0, 0.5, 1])
    assert smooth[1] < 0.01 < 0.2 > smooth[6] - smooth[5] > 0.15
    with pytest.raises(ValueError, match="easing: expected one of smooth, linear, none, got 'bouncy'"):
        z("bouncy")


def test_keys_are_reached_when_they_say() -> None:
    move = parse_move("truck=left:0.2@4; truck=left:0.2+dolly=in:1@8; locked@10")
    centres = camera_path(move, CAMERA, 13, pivot_depth=5.0).centres
    np.testing.assert_allclose(centres[[0, 4, 8, 10, 12], 0], [0, -0.2, -0.2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(centres[[0, 4, 6, 8, 12], 2], [0, 0, 0.5, 1, 0], atol=1e-12)


def test_a_loop_comes_back_and_does_not_show_its_first_frame_twice() -> None:
    path = camera_path(parse_move("truck=left:1+handheld=3:1"), CAMERA, 24, pivot_depth=5.0, loop=True)
    open_end = camera_path(parse_move("truck=left:1+handheld=3:1@12;locked@24"), CAMERA, 25, pivot_depth=5.0)
    steps = np.linalg.norm(np.diff(path.centres, axis=0), axis=1)
    seam = np.linalg.norm(path.centres[0] - path.centres[-1])
    assert 0 < seam < 1.5 * steps.max()
    assert path.centres[:, 0].min() == pytest.approx(-1, abs=0.1)
    assert np.abs(open_end.centres[12, 0] + 1) < 0.1


def test_a_handheld_camera_sways_about_as_much_as_it_says_and_the_same_each_time() -> None:
    one, again = (camera_path(parse_move("handheld=7:1"), CAMERA, 240, pivot_depth=5.0) for _ in range(2))
    np.testing.assert_array_equal(one.camera_from_world, again.camera_from_world)
    other = camera_path(parse_move("handheld=8:1"), CAMERA, 240, pivot_depth=5.0)
    assert np.abs(one.camera_from_world - other.camera_from_world).max() > 1e-3
    pan = np.degrees(np.arctan2(one.view_directions[:, 0], one.view_directions[:, 2]))
    assert 0.1 < pan.std() < 0.4
    twice = camera_path(parse_move("handheld=7:2"), CAMERA, 240, pivot_depth=5.0)
    np.testing.assert_allclose(rigid.rotation_angle(twice.camera_from_world[1:]).mean(), 2 * rigid.rotation_angle(
        one.camera_from_world[1:]).mean(), rtol=1e-3)  # fmt: skip


def test_the_end_of_a_move() -> None:
    assert parse_move("forward=1+pan=left:4").end == Setting(z=1, pan_deg=-4)
    assert parse_move("locked") == LOCKED


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "''"), ("zoom=in:1", "expected one of locked, dolly"),
        ("dolly=in:much", "expected a number as amount, got 'much'"),
        ("dolly=left:1", r"expected dolly=in\|out:AMOUNT, such as dolly=in:0.5"), ("dolly=in", "expected dolly="),
        ("dolly", "expected dolly="), ("truck=left:inf", "expected a number"), ("dolly=in:1+forward=2", "given twice"),
        ("handheld=x:1", "handheld=SEED:AMOUNT"), ("dolly=in:1@5; locked", "a frame number for every key"),
        ("dolly=in:1@9;locked@4", "ascending frame numbers"), ("dolly=in:1@soon", "expected a number as frame"),
        ("locked=1", "expected one of"),
        ("handheld=1:1+handheld=2:1", "given twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_move(spec)


def test_a_path_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="frames: expected at least 1, got 0"):
        camera_path(LOCKED, CAMERA, 0, pivot_depth=5.0)
    with pytest.raises(ValueError, match="pivot_depth: expected > 0, got -1"):
        camera_path(LOCKED, CAMERA, 5, pivot_depth=-1.0)
    with pytest.raises(ValueError, match="dolly-zoom: expected less than the pivot's depth 5, got 5"):
        last("dolly-zoom=in:5")

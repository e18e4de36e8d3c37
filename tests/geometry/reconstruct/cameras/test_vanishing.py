"""Up and focal length of boxes drawn as lines; lines at random say nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.cameras.lines import Segments, find_segments, segments_of
from geometry.reconstruct.cameras.vanishing import _up_prior, direction_near, find_axes

CAMERA = Camera(600, 600, 400, 240, (800, 480))
POSE = rigid.look_at([0.4, 2.2, 3.0], [-0.6, 0.4, -1.0])
UP = POSE[:3, :3] @ [0.0, 1.0, 0.0]


def box_segments(noise_px: float, seed: int = 0) -> Segments:
    """Edges of boxes that stand square to each other, and some lines at random."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform([-2.5, 0, -3], [2, 1, -0.5], (60, 3))
    ends = starts + np.eye(3)[np.arange(60) % 3] * rng.uniform(0.4, 1.2, (60, 1))
    px = CAMERA.px_from_cam(rigid.transform(POSE, np.stack([starts, ends], 1))) - (400, 240)
    stray = rng.uniform(-200, 200, (15, 1, 2)) + rng.normal(scale=40, size=(15, 2, 2))
    return drawn(np.concatenate([px + rng.normal(scale=noise_px, size=px.shape), stray]), noise_px)


def drawn(ends: np.ndarray, noise_px: float) -> Segments:
    """Seen by a camera that is the reference, 800 px wide."""
    sigma = noise_px * np.sqrt(2) / np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    return Segments(ends, np.tile(np.eye(3), (len(ends), 1, 1)), sigma, 800)


def degrees(a, b):
    return np.rad2deg(np.arccos(np.clip(a @ b, -1, 1)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_up_and_focal_length_of_boxes(seed):
    axes = find_axes(box_segments(0.3, seed), focal_px=None)
    assert axes.up_known and axes.focal_known
    assert axes.focal_px == pytest.approx(600, rel=0.03)
    assert degrees(axes.up, UP) < 0.6
    np.testing.assert_allclose(axes.axes @ axes.axes.T, np.eye(3), atol=1e-9)


def test_a_given_focal_length_is_held():
    axes = find_axes(box_segments(0.3), focal_px=600.0)
    assert axes.focal_px == 600.0 and axes.focal_sigma == 0
    assert degrees(axes.up, UP) < 0.4


@pytest.mark.parametrize("count", [30, 100, 300])
def test_lines_at_random_are_not_believed(count):
    rng = np.random.default_rng([count, 1])
    middle, angle = rng.uniform([-400, -240], [400, 240], (count, 2)), rng.uniform(0, np.pi, count)
    half = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(12, 50, (count, 1))
    axes = find_axes(drawn(np.stack([middle - half, middle + half], 1), 0.5), focal_px=None)
    assert axes is None or not (axes.up_known or axes.focal_known)


def test_what_one_pencil_of_lines_leaves_open_is_not_called_known():
    """A wall seen from the front: its lines stay parallel at every focal length."""
    y = np.linspace(-200, 200, 25)
    rows = np.stack([np.stack([np.full(25, -300.0), y], 1), np.stack([np.full(25, 280.0), y], 1)], 1)
    columns = rows[:, :, ::-1] * 0.7
    axes = find_axes(drawn(np.concatenate([rows, columns]), 0.3), focal_px=None)
    assert not axes.focal_known and axes.focal_sigma > 0.3
    assert degrees(axes.up, np.array([0.0, -1, 0])) < 0.5


def test_many_short_lines_of_a_pattern_do_not_outvote_the_room():
    lines = box_segments(0.3)
    rng = np.random.default_rng(4)
    middle = rng.uniform([40, 60], [380, 220], (60, 2))
    angle = np.where(np.arange(60) % 2, 0.35, -0.35)  # diamonds of a rug
    half = 9 * np.stack([np.cos(angle), np.sin(angle)], 1)
    rug = np.stack([middle - half, middle + half], 1) + rng.normal(scale=0.2, size=(60, 2, 2))
    axes = find_axes(drawn(np.concatenate([lines.ends, rug]), 0.3), focal_px=None)
    assert axes.focal_px == pytest.approx(600, rel=0.05)
    assert degrees(axes.up, UP) < 1.0


def test_upright_edges_alone_give_up_near_a_guess():
    found = direction_near(box_segments(0.3), 600.0, rigid.rotation_between([0, 1, 0], [0.05, 1, 0.05]) @ UP, 0.2)
    assert degrees(found, UP) < 0.5
    assert direction_near(box_segments(0.3), 600.0, np.array([1.0, 0, 0]), 0.01) is None


def test_segments_of_a_drawn_line_and_of_many_alike():
    picture = np.full((200, 300), 30, np.uint8)
    cv2.rectangle(picture, (50, 40), (249, 159), 220, -1)
    ends, sigma = find_segments(picture)
    assert len(ends) == 4 and (sigma < np.deg2rad(0.5)).all()
    upright = ends[np.abs(ends[:, 0, 0] - ends[:, 1, 0]) < 2]
    assert np.isclose(upright[..., 0], 50.0, atol=0.1).any() and np.isclose(upright[..., 0], 250.0, atol=0.1).any()
    stripes = np.zeros((400, 400), np.uint8)
    stripes[:, ::8] = 255
    assert len(find_segments(stripes)[0]) <= 2 * 40


def test_pieces_of_one_edge_are_one_line():
    picture = np.full((200, 400), 200, np.uint8)
    cv2.line(picture, (20, 60), (380, 120), 20, 5, cv2.LINE_AA)
    picture[:, 120:150] = 200
    picture[:, 260:285] = 200
    ends, _ = find_segments(picture)
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
    assert (length > 340).sum() == 2  # both sides of the stroke
    slope = (ends[:, 1] - ends[:, 0])[length > 340]
    np.testing.assert_allclose(slope[:, 1] / slope[:, 0], 60 / 360, atol=2e-3)


def test_a_bent_line_is_straight_without_the_lens():
    lens = Camera(300, 300, 150, 100, (300, 200), (-0.2, 0.0, 0.0, 0.0, 0.0))
    picture = np.full((200, 300), 30, np.uint8)
    cv2.rectangle(picture, (50, 40), (249, 159), 220, -1)
    straight = segments_of([picture], [lens.pinhole()], np.eye(3)[None])
    bent = segments_of([picture], [lens], np.eye(3)[None])
    assert np.abs(bent.ends).max() > np.abs(straight.ends).max() + 3


def panned(lines: Segments, degrees_each: float, count: int) -> Segments:
    """The same lines drawn into ``count`` pictures of a camera that turns about world up."""
    ends, turns = [], []
    for k in range(count):
        turn = Rotation.from_rotvec(np.deg2rad(degrees_each) * k * UP).as_matrix()  # camera_from_reference
        rays = np.concatenate([lines.ends / 600.0, np.ones((*lines.ends.shape[:2], 1))], -1) @ turn.T
        ends.append(600.0 * rays[..., :2] / rays[..., 2:])
        turns.append(np.tile(turn.T, (len(rays), 1, 1)))
    return Segments(np.concatenate(ends), np.concatenate(turns), np.tile(lines.sigma, count), 800, float(count))


def test_a_camera_that_turns_on_a_stand_says_which_way_is_up():
    """One picture may be pitched by 12 degrees more; many around a stand may not."""
    tilted = rigid.rotation_between([0, 1, 0], [0.0, np.cos(0.21), np.sin(0.21)])
    lines = box_segments(0.3)
    pan = panned(lines, 6.0, 6)
    found = find_axes(pan, focal_px=600.0)
    assert degrees(found.up, UP) < 0.5
    prior = _up_prior(pan, np.stack([UP, POSE[:3, :3] @ tilted @ [0.0, 1.0, 0.0]]))
    alone = _up_prior(lines, np.stack([UP, POSE[:3, :3] @ tilted @ [0.0, 1.0, 0.0]]))
    assert prior[0] - prior[1] > 3 > alone[0] - alone[1]


def test_many_pictures_of_the_same_are_no_more_evidence():
    once, often = box_segments(0.3), panned(box_segments(0.3), 0.0, 5)
    first, second = find_axes(once, focal_px=None), find_axes(often, focal_px=None)
    assert second.focal_sigma == pytest.approx(first.focal_sigma, rel=0.2)


def test_how_often_pictures_show_the_same():
    still = segments_of([np.zeros((48, 80), np.uint8)] * 4, [Camera(80, 80, 40, 24, (80, 48))] * 4,
                        np.tile(np.eye(3), (4, 1, 1)))
    assert still.seen == pytest.approx(4)
    around = Rotation.from_rotvec(np.deg2rad([[0, 0, 0], [0, 90, 0], [0, 180, 0]])).as_matrix()
    assert segments_of([np.zeros((48, 80), np.uint8)] * 3, [Camera(80, 80, 40, 24, (80, 48))] * 3,
                       around).seen == pytest.approx(1)

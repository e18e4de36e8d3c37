"""Regions followed through exact depth and cameras, against where the surface is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geometry import rigid
from geometry.camera import Camera, pixel_centres
from geometry.region import cut_out, evidence_of_movers, evidence_of_place, movers_in
from geometry.scene import DepthMap, Scene4D, SparsePoints
from geometry.trajectory import CameraPath

CAMERA = Camera(150.0, 150.0, 80.0, 60.0, (160, 120))
WALL, NEAR = 4.0, 2.0  # z of a wall and of a board before it
SQUARE = (-0.6, -0.5, 0.6, 0.5)  # on the wall
BOARD = (-1.4, -2.0, -0.45, 2.0)  # hides a part of the square


def eye(x: float) -> np.ndarray:
    """``camera_from_world`` of a camera that looks along +z from (x, 0, 0)."""
    return rigid.rigid(np.eye(3), np.array([-x, 0.0, 0.0]))


class Room:
    """A wall at ``WALL``, a board before it; exact depth, and labels of what moves."""

    def __init__(self, centres: tuple[float, ...]) -> None:
        self.centres = centres

    def on(self, frame: int, z: float) -> np.ndarray:
        """(H, W, 2) world x, y of the plane at ``z`` that each pixel shows."""
        rays = CAMERA.rays_from_px(pixel_centres(CAMERA.wh))
        return rays[..., :2] * z + np.array([self.centres[frame], 0.0])

    def board(self, frame: int) -> np.ndarray:
        return within(self.on(frame, NEAR), BOARD)

    def read(self, frame: int) -> DepthMap:
        depth = np.where(self.board(frame), NEAR, WALL).astype(np.float32)
        return DepthMap(depth, np.full(depth.shape, 0.95, np.float32))

    def square(self, frame: int) -> np.ndarray:
        return within(self.on(frame, WALL), SQUARE) & ~self.board(frame)


class Labels:
    def __init__(self, room: Room) -> None:
        self.room = room

    def read(self, frame: int) -> np.ndarray:
        return np.where(self.room.board(frame), 3, 0).astype(np.uint8)


def within(xy: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    return (xy[..., 0] > box[0]) & (xy[..., 1] > box[1]) & (xy[..., 0] < box[2]) & (xy[..., 1] < box[3])


def scene_of(room: Room) -> Scene4D:
    frames = tuple(range(len(room.centres)))
    path = CameraPath(frames, (CAMERA,) * len(frames), np.stack([eye(x) for x in room.centres]))
    return Scene4D(
        cameras=path, source_wh=CAMERA.wh, depth=room,
        points=SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0)),
    )


def test_a_still_region_lies_on_its_surface_and_not_on_what_passes_before_it() -> None:
    room = Room((-0.5, 0.0))
    scene = scene_of(room)
    found = evidence_of_place(scene, room.square(0).astype(np.float32), 0, 1)
    inside = (found.sigmas < 0) & (found.weight > 0)
    true = room.square(1)
    seen_before = within(room.on(1, WALL), SQUARE) & true & inside_first(room)
    assert not (inside & room.board(1)).any()
    assert not (inside & ~true).any()
    assert (inside & seen_before).sum() > 0.95 * seen_before.sum()
    hidden_before = true & ~inside_first(room)
    assert hidden_before.sum() > 50
    assert (found.weight[hidden_before] == 0).mean() > 0.8


def inside_first(room: Room) -> np.ndarray:
    """Pixels of frame 1 whose wall point the board did not hide in frame 0, a little inwards."""
    wall = room.on(1, WALL)
    at_board = (wall - np.array([room.centres[0], 0])) * (NEAR / WALL) + np.array([room.centres[0], 0])
    return ~within(at_board, (BOARD[0], BOARD[1], BOARD[2] + 0.02, BOARD[3]))


def test_contradicting_depth_has_no_weight() -> None:
    room = Room((0.0, 0.5))

    class Wrong(Room):
        def read(self, frame: int) -> DepthMap:
            seen = room.read(frame)
            return seen if frame == 0 else DepthMap(seen.depth * np.float32(0.7), seen.confidence)

    found = evidence_of_place(scene_of(Wrong((0.0, 0.5))), room.square(0).astype(np.float32), 0, 1)
    assert (found.weight[room.square(1)] == 0).mean() > 0.9


def test_a_turned_camera_needs_no_depth() -> None:
    turn = rigid.rotation_between(np.array([0.0, 0.0, 1.0]), np.array([0.2, 0.0, 1.0]) / np.hypot(0.2, 1.0))
    path = CameraPath((0, 1), (CAMERA,) * 2, np.stack([np.eye(4), rigid.rigid(turn, np.zeros(3))]))

    class Unknown:
        def read(self, frame: int) -> DepthMap:
            return DepthMap(np.zeros((120, 160), np.float32), np.zeros((120, 160), np.float32))

    scene = replace(scene_of(Room((0.0, 0.0))), cameras=path, depth=Unknown())
    region = np.zeros((120, 160), np.float32)
    region[50:70, 70:90] = 1
    found = evidence_of_place(scene, region, 0, 1)
    rows, columns = np.nonzero(found.sigmas < 0)
    middle = CAMERA.px_from_cam((turn @ np.array([0.0, 0.0, 1.0]))[None])[0]
    np.testing.assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), middle, atol=0.6)
    assert found.weight[rows, columns].min() == 1


def test_what_moves_is_no_part_of_a_still_region_and_a_region_on_it_follows_it() -> None:
    room = Room((0.0, 0.4))
    scene = replace(scene_of(room), motion=Labels(room))
    everything = np.ones((120, 160), np.float32)
    found = evidence_of_place(scene, everything, 0, 1)
    assert (found.sigmas[room.board(1)] > 0).all()
    assert movers_in(room.board(0).astype(np.float32), Labels(room).read(0)) == (3,)
    assert movers_in(room.square(0).astype(np.float32), Labels(room).read(0)) == ()
    np.testing.assert_array_equal(evidence_of_movers(scene, (3,), 1).sigmas < 0, room.board(1))


def test_a_box_is_cut_along_colours() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(90, 110, (120, 160, 3)).astype(np.uint8)
    thing = np.zeros((120, 160), bool)
    thing[40:80, 60:100] = True
    picture[thing] = rng.integers(190, 210, (int(thing.sum()), 3))
    found = cut_out(picture, (50, 30, 110, 90), 0) > 0.5
    assert (found & thing).sum() > 0.97 * thing.sum()
    assert (found & ~thing).sum() < 0.03 * thing.sum()
    assert cut_out(picture, (0, 0, 160, 120), 0).all()

"""Depth and motion of movers, against exact truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry import rigid
from geometry.camera import Camera, pixel_rays
from geometry.reconstruct.motion.movers import (
    MovingDepth,
    Sighting,
    depth_over_time,
    measure_movers,
    read_movers,
    scaled,
    smoothed,
    write_movers,
)
from geometry.reconstruct.motion.slant import Slant, believed, standing_edge
from geometry.scene import DepthMap, Mover, Plane, RigidTrack, Scene4D, SparsePoints
from geometry.trajectory import CameraPath
from tests.geometry.reconstruct.box_room import _texture

CAMERA = Camera(300.0, 300.0, 160.0, 100.0, (320, 200))
GROUND = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
FACING = Slant(np.array([0.0, 1.0]), (50.0, 200.0), 0.0, np.nan, np.nan, np.nan)
NO_POINTS = SparsePoints(np.zeros((0, 3)), np.zeros(0), np.zeros(0))


class Unknown:
    """Static depth of which nothing is known."""

    def read(self, frame: int) -> DepthMap:
        return DepthMap(np.zeros(CAMERA.hw, np.float32), np.zeros(CAMERA.hw, np.float32))


@dataclass(frozen=True)
class Boards:
    """Upright boards on the floor: a ``MotionSource`` by ``corners`` (x0, x1, height, z) of each frame. They face +Z,
    or their right end is ``aslant`` farther along +Z than their left one."""

    path: CameraPath
    boards: dict[int, tuple[float, float, float, float]]
    hidden_rows: dict[int, int]  # the picture's last row in which the board is seen
    aslant: float = 0.0

    def read(self, frame: int) -> np.ndarray:
        labels = np.zeros(CAMERA.hw, np.uint8)
        x0, x1, top, z = self.boards[frame]
        left, right = z - self.aslant / 2, z + self.aslant / 2
        corners = np.array([[x0, 0, left], [x1, 0, right], [x1, top, right], [x0, top, left]])
        px = CAMERA.px_from_cam(rigid.transform(self.path.pose(frame), corners))
        cv2.fillPoly(labels, [np.round((px - 0.5) * 16).astype(np.int32)], 1, shift=4)
        labels[self.hidden_rows.get(frame, CAMERA.hw[0]) :] = 0
        return labels


class Blank:
    """A clip without texture: nothing in it can be followed."""

    rate = Fraction(25)
    hw = CAMERA.hw

    def __init__(self, count: int) -> None:
        self.numbers = range(count)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        return np.full((*self.hw, 3), 120, np.uint8)

    read = linear = display


def walking(count: int, hidden: dict[int, int] | None = None) -> tuple[Scene4D, np.ndarray]:
    """A person-sized board walks away from a camera that looks down a little; also its true z in the middle."""
    poses = np.tile(rigid.look_at((0, 1.6, 4), (0, 0.9, 0)), (count, 1, 1))
    path = CameraPath(tuple(range(count)), (CAMERA,) * count, poses)
    boards = {i: (-0.3, 0.3, 1.7, 0.5 - 0.05 * i) for i in range(count)}
    scene = Scene4D(path, CAMERA.wh, NO_POINTS, Unknown(), ground=GROUND, motion=Boards(path, boards, hidden or {}))
    z = np.array([rigid.transform(path.pose(i), np.array([0, 0.85, boards[i][3]]))[2] for i in range(count)])
    return scene, z


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def test_depth_comes_from_where_it_touches_the_ground() -> None:
    scene, z = walking(20)
    (mover,) = measure_movers(Blank(20), scene, seed=0, report=quiet)
    assert mover.frames == tuple(range(20)) and mover.track is None
    np.testing.assert_allclose(mover.depth, z, rtol=0.02)
    assert (mover.depth_sigma > 0).all() and (mover.depth_sigma < 0.05).all()


def test_feet_behind_a_wall_do_not_move_it_away() -> None:
    """For six frames the lowest third is hidden: contact alone would put it metres behind."""
    scene, z = walking(24, dict.fromkeys(range(9, 15), 110))
    (mover,) = measure_movers(Blank(24), scene, seed=0, report=quiet)
    np.testing.assert_allclose(mover.depth, z, rtol=0.08)


@pytest.mark.parametrize("aslant", [-1.0, 0.0, 0.8])
def test_each_end_of_one_that_stands_aslant_has_its_own_depth(aslant: float) -> None:
    """A board of the size of a dog; its true depth comes from the board's plane."""
    count = 12
    path = CameraPath(
        tuple(range(count)), (CAMERA,) * count, np.tile(rigid.look_at((0, 1.6, 3), (0, 0.3, 0)), (count, 1, 1))
    )
    boards = Boards(path, dict.fromkeys(range(count), (-0.5, 0.5, 0.6, 0.0)), {}, aslant)
    scene = Scene4D(path, CAMERA.wh, NO_POINTS, Unknown(), ground=GROUND, motion=boards)
    movers = measure_movers(Blank(count), scene, seed=0, report=quiet)
    found, mask = MovingDepth(Unknown(), boards, movers).read(6).depth, boards.read(6) > 0
    world_from_camera = rigid.inverse(path.pose(6))
    rays = pixel_rays(CAMERA) @ world_from_camera[:3, :3].T
    normal = np.array([-aslant, 0.0, 1.0])  # of z = aslant x
    true = -(world_from_camera[:3, 3] @ normal) / (rays @ normal)
    error = np.abs(found / true - 1)[mask]
    assert np.percentile(error, 95) < (0.03 if aslant == 0 else 0.09)
    one_depth = np.abs(np.median(true[mask]) / true - 1)[mask]
    assert error.mean() < 0.4 * one_depth.mean()


def test_it_stands_on_the_edge_below_its_middle() -> None:
    """A trunk with two feet and a nose that juts out on the right."""
    px = np.array([[10, 100], [60, 80], [10, 20], [60, 20], [100, 30], [35, 60]], float)
    a, b = standing_edge(px, np.array([0.0, 1.0]))
    np.testing.assert_array_equal([a, b], [[60, 80], [10, 100]])  # from right to left: gravity turned by 90 degrees
    assert standing_edge(px[:2], np.array([0.0, 1.0])) is None


def test_a_slope_that_hardly_is_known_hardly_is_believed() -> None:
    value, sigma = believed(np.array([0.3, 0.3, np.nan]), np.array([0.01, 1.0, np.nan]))
    assert value[0] == pytest.approx(0.3, rel=0.01) and abs(value[1]) < 0.02 and value[2] == 0
    assert sigma[0] < 0.02 < sigma[1] < sigma[2]


def test_feet_below_the_picture_leave_size() -> None:
    near = [Sighting(i, None, 4.0, 0.03, 200.0, 50.0, FACING) for i in range(10)]
    nearer = [Sighting(9 + i, None, np.nan, np.nan, np.nan, 50.0 * (1 + 0.03 * i), FACING) for i in range(1, 11)]
    seen = near + nearer
    depth, sigma = depth_over_time(seen)
    np.testing.assert_allclose(depth[10:], 4.0 / (1 + 0.03 * np.arange(1, 11)), rtol=0.05)
    assert sigma[19] > sigma[0]


def test_nobody_knows_far_from_any_evidence() -> None:
    seen = [Sighting(i, None, 2.0 if i < 3 else np.nan, 0.02, np.nan, np.nan, FACING) for i in range(60)]
    depth, sigma = depth_over_time(seen)
    assert np.isfinite(depth[:30]).all()
    assert np.isnan(depth[40:]).all() and np.isnan(sigma[40:]).all()


def test_one_wild_value_bends_nothing() -> None:
    value = np.linspace(0.0, 0.4, 21)
    value[7] += 1.0
    curve, _ = smoothed(np.arange(21), value, np.full(21, 0.03))
    np.testing.assert_allclose(curve, np.linspace(0.0, 0.4, 21), atol=0.01)


# --- stiff movers ----------------------------------------------------------------------------------------------------


class Turning:
    """A textured box that turns about the vertical before a camera, ray cast exactly; clip and ``MotionSource``."""

    rate = Fraction(25)
    hw = CAMERA.hw
    half = np.array([0.45, 0.35, 0.3])

    def __init__(self, path: CameraPath, degrees: float, slide: float = 0.0) -> None:
        self.path, self.numbers = path, path.frames
        angles = np.deg2rad(np.linspace(0, degrees, len(path)))
        rotation = Rotation.from_rotvec(angles[:, None] * np.array([0.0, 1.0, 0.0])).as_matrix()
        shift = np.stack([slide * np.arange(len(path)), np.full(len(path), self.half[1]), np.zeros(len(path))], -1)
        self.world_from_box = rigid.rigid(rotation, shift)

    def _hits(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        from geometry.camera import pixel_centres

        i = self.path.index(frame)
        box_from_camera = rigid.inverse(self.path.pose(frame) @ self.world_from_box[i])
        rays = CAMERA.rays_from_px(pixel_centres(CAMERA.wh)) @ box_from_camera[:3, :3].T
        origin = box_from_camera[:3, 3]
        a, b = (-self.half - origin) / rays, (self.half - origin) / rays
        enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
        return enter < leave, origin + enter[..., None] * rays, np.minimum(a, b).argmax(-1)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        hit, at, axis = self._hits(number)
        out = np.full((*self.hw, 3), 100, np.uint8)
        for k in range(3):
            for sign in (-1, 1):
                face = hit & (axis == k) & (np.sign(at[..., k]) == sign)
                uv = (at[face][:, [j for j in range(3) if j != k]] + 1) * 400
                u, v = (uv[:, j].astype(np.float32).reshape(-1, 1) for j in (0, 1))
                if len(u):
                    out[face] = cv2.remap(_texture(2 * k + (sign > 0)), u, v, cv2.INTER_LINEAR).reshape(-1, 3)
        return out

    read = linear = display

    def labels(self, frame: int) -> np.ndarray:
        return self._hits(frame)[0].astype(np.uint8)

    def scene(self) -> Scene4D:
        clip = self

        class Motion:
            def read(self, frame: int) -> np.ndarray:
                return clip.labels(frame)

        return Scene4D(self.path, CAMERA.wh, NO_POINTS, Unknown(), ground=GROUND, motion=Motion())

    def drift(self, track: RigidTrack) -> tuple[np.ndarray, np.ndarray]:
        """Pixels that the box's corners are off, and degrees, in every frame."""
        rest = self.path.index(track.rest)
        corners = rigid.transform(self.world_from_box[rest], self.half * np.array(
            [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]))
        off, turned = [], []
        for i, frame in enumerate(track.frames):
            true = self.world_from_box[self.path.index(frame)] @ rigid.inverse(self.world_from_box[rest])
            pose = self.path.pose(frame)
            shown, right = (CAMERA.px_from_cam(rigid.transform(pose @ m, corners))
                            for m in (track.world_from_rest[i], true))
            off.append(np.linalg.norm(shown - right, axis=1))
            turned.append(np.degrees(rigid.rotation_angle(track.world_from_rest[i] @ rigid.inverse(true))))
        return np.array(off), np.array(turned)


def cameras(count: int, travel: float) -> CameraPath:
    eyes = [(travel * (i / (count - 1) - 0.5), 1.2, 2.4) for i in range(count)]
    poses = np.stack([rigid.look_at(eye, (0, 0.35, 0)) for eye in eyes])
    return CameraPath(tuple(range(count)), (CAMERA,) * count, poses)


@pytest.mark.parametrize("travel", [0.0, 0.8], ids=["static camera", "moving camera"])
def test_a_turntable_is_tracked_without_drift(travel: float) -> None:
    box = Turning(cameras(10, travel), degrees=35)
    (mover,) = measure_movers(box, box.scene(), seed=0, report=quiet)
    assert mover.track is not None and mover.track.frames == box.path.frames
    off, turned = box.drift(mover.track)
    assert np.percentile(off, 95) < 1.5
    assert turned.max() < 1.0
    np.testing.assert_allclose(mover.track.world_from_rest[box.path.index(mover.track.rest)], np.eye(4), atol=1e-9)


class Waving(Turning):
    """The same box with a texture that flows over it: no stiff motion explains it."""

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        picture, mask = super().display(number), self.labels(number) > 0
        rows, columns = np.mgrid[: self.hw[0], : self.hw[1]].astype(np.float32)
        shift = 5 * np.sin(rows / 9 + columns / 17 + 1.3 * number)
        waved = cv2.remap(_texture(3), columns + 300 + shift.astype(np.float32), rows + 300, cv2.INTER_LINEAR)
        picture[mask] = waved[mask]
        return picture


def test_what_bends_has_no_rigid_track() -> None:
    box = Waving(cameras(8, 0.4), degrees=0)
    (mover,) = measure_movers(box, box.scene(), seed=0, report=quiet)
    assert mover.track is None


# --- depth, files, units ------------------------------------------------------------------------------------------


def a_mover() -> Mover:
    track = RigidTrack(4, (4, 5), np.stack([np.eye(4), rigid.rigid(np.eye(3), np.array([1.0, 0, 2.0]))]))
    return Mover(1, (4, 5), np.array([2.0, np.nan]), np.array([0.03, np.nan]), track)


class Wall:
    def read(self, frame: int) -> DepthMap:
        return DepthMap(np.full((8, 10), 5.0, np.float32), np.full((8, 10), 0.9, np.float32))


class Patch:
    def read(self, frame: int) -> np.ndarray:
        labels = np.zeros((8, 10), np.uint8)
        labels[2:7, 3:8] = 1
        return labels


def test_movers_stand_in_the_depth_of_what_stands_still() -> None:
    found = MovingDepth(Wall(), Patch(), (a_mover(),)).read(4)
    mask = Patch().read(4) > 0
    assert (found.depth[mask] == 2.0).all() and (found.depth[~mask] == 5.0).all()
    assert found.confidence[4, 5] == pytest.approx(0.7)
    assert found.confidence[2, 3] < found.confidence[4, 5]  # its rim
    assert found.confidence[1, 3] < 0.9 and found.confidence[0, 0] == pytest.approx(0.9)


def test_a_mover_whose_depth_nobody_knows_is_unknown_depth() -> None:
    found = MovingDepth(Wall(), Patch(), (a_mover(),)).read(5)
    assert (found.depth[Patch().read(5) > 0] == 0).all()
    assert (found.confidence[Patch().read(5) > 0] == 0).all()
    np.testing.assert_array_equal(MovingDepth(Wall(), Patch(), (a_mover(),)).read(6).depth, Wall().read(6).depth)


def test_units_change_lengths_and_nothing_else() -> None:
    mover = scaled(a_mover(), 2.5)
    assert mover.depth[0] == 5.0 and mover.depth_sigma[0] == 0.03
    assert mover.track is not None
    np.testing.assert_array_equal(mover.track.world_from_rest[1, :3, 3], [2.5, 0, 5.0])
    np.testing.assert_array_equal(mover.track.world_from_rest[1, :3, :3], np.eye(3))


def test_the_file_returns_what_was_written(tmp_path: Path) -> None:
    write_movers(tmp_path / "movers.json", (a_mover(), replace(a_mover(), label=2, track=None)))
    first, second = read_movers(tmp_path / "movers.json")
    assert (first.label, second.label) == (1, 2) and second.track is None
    np.testing.assert_array_equal(first.depth, a_mover().depth)
    assert first.slope is None
    slope = np.array([[0.01, 0.0], [0.02, -0.01]])
    write_movers(tmp_path / "aslant.json", (replace(a_mover(), slope=slope),))
    np.testing.assert_array_equal(read_movers(tmp_path / "aslant.json")[0].slope, slope)
    assert first.frames == (4, 5) and first.track is not None and first.track.rest == 4
    np.testing.assert_array_equal(first.track.world_from_rest, a_mover().track.world_from_rest)

"""Dense depth against the truth of a rendered clip."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.depth.estimate import DepthFolder, DepthSolver, RawDepth, solve_depth
from geometry.reconstruct.depth.fuse import FusionSettings, fuse_mesh
from geometry.reconstruct.depth.pair import Pair
from geometry.scene import DepthMap, SparsePoints
from geometry.trajectory import CameraPath
from tests.geometry.reconstruct.box_room import BoxRoomClip, lens
from tests.geometry.reconstruct.conftest import Rendered


@pytest.fixture(scope="module")
def exact(arc_clip) -> tuple[CameraPath, SparsePoints]:
    """The true cameras, and true points on a coarse grid of three frames."""
    room = arc_clip.room
    path = CameraPath(tuple(room.numbers), (room.camera,) * len(room.numbers), room.camera_from_world)
    xyz = []
    for number in (100, 108, 117):
        y, x = np.mgrid[8:192:16, 8:320:16]
        rays = room.camera.rays_from_px(np.stack([x, y], -1) + 0.5) * room.depth(number)[y, x][..., None]
        xyz.append(rigid.transform(rigid.inverse(path.pose(number)), rays.reshape(-1, 3)))
    points = np.concatenate(xyz)
    return path, SparsePoints(points, np.full(len(points), 0.1), np.full(len(points), 5))


@pytest.fixture(scope="module")
def maps(arc_clip, exact, tmp_path_factory) -> DepthFolder:
    folder = DepthFolder(tmp_path_factory.mktemp("depth"))
    solve_depth(DepthSolver(arc_clip, *exact), folder, tmp_path_factory.mktemp("raw"))
    return folder


def relative_error(arc_clip, maps, number):
    truth, found = arc_clip.room.depth(number), maps.read(number)
    return np.abs(found.depth - truth) / truth, found.confidence


def test_the_confident_ninety_percent_are_right(arc_clip, maps):
    for number in (100, 108, 117):
        error, confidence = relative_error(arc_clip, maps, number)
        best = np.argsort(-confidence.ravel(), kind="stable")[: int(0.9 * error.size)]
        assert error.ravel()[best].mean() < 0.02


def test_wrong_depth_is_not_confident(arc_clip, maps):
    error, confidence = relative_error(arc_clip, maps, 108)
    assert (confidence[error > 0.1] < 0.5).mean() > 0.8
    assert (confidence > 0.5).mean() > 0.5


def test_occluders_end_where_the_picture_shows_it(arc_clip, maps):
    def edges(depth):
        q = 1 / depth
        high, low = cv2.dilate(q, np.ones((3, 3))), cv2.erode(q, np.ones((3, 3)))
        return (high - low) / high > 0.1

    truth, found = edges(arc_clip.room.depth(108)), edges(maps.read(108).depth)
    to_found = cv2.distanceTransform((~found).astype(np.uint8), cv2.DIST_L2, 5)
    assert (to_found[truth] <= 2.0).mean() > 0.7


def test_result_does_not_depend_on_threads(arc_clip, exact):
    before = cv2.getNumThreads()
    found = []
    for threads in (1, 2):
        cv2.setNumThreads(threads)
        found.append(DepthSolver(arc_clip, *exact).raw(108))
    cv2.setNumThreads(before)
    np.testing.assert_array_equal(found[0].q, found[1].q)
    np.testing.assert_array_equal(found[0].confidence, found[1].confidence)


def test_finished_frames_are_not_computed_again(arc_clip, exact, tmp_path):
    folder = DepthFolder(tmp_path / "depth")
    mark = DepthMap(np.full((192, 320), 7, np.float32), np.ones((192, 320), np.float32))
    path, points = exact
    few = path.select(range(106, 110))
    for number in few.frames[1:]:
        folder.write(number, mark)
    solve_depth(DepthSolver(arc_clip, few, points), folder, tmp_path / "raw")
    assert folder.read(107).depth[0, 0] == 7
    assert folder.read(106).depth[0, 0] != 7


def test_a_solve_that_is_stopped_begins_no_more_frames(tmp_path):
    begun = []

    class Slow(DepthSolver):
        def __init__(self, frames):
            poses = np.tile(np.eye(4), (frames, 1, 1))
            self.cameras = CameraPath(tuple(range(frames)), (lens((8, 6)),) * frames, poses)

        def raw(self, frame):
            begun.append(frame)
            time.sleep(0.01)
            return RawDepth(np.ones((3, 4), np.float32), np.ones((3, 4), np.float32))

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve_depth(Slow(200), DepthFolder(tmp_path / "depth"), tmp_path / "raw", stop)
    assert len(begun) < 40


class TrueMotion:
    """The box that crosses the room, as its truth shows it."""

    def __init__(self, still, moving, frames):
        self.labels = {f: (moving.depth(f) < still.depth(f) - 1e-3).astype(np.uint8) for f in frames}

    def read(self, frame):
        return self.labels[frame]


def test_movers_get_no_depth_and_do_not_spoil_what_is_around_them(exact):
    path, points = exact
    path = path.select(range(104, 113, 2))
    still, moving = (
        BoxRoomClip(lens((320, 192)), exact[0].camera_from_world, first=100, mover=mover) for mover in (False, True))
    motion = TrueMotion(still, moving, path.frames)
    mask = motion.read(108) > 0
    around = (cv2.dilate(mask.astype(np.uint8), np.ones((17, 17))) > 0) & ~mask
    truth = still.depth(108)
    solver = DepthSolver(Rendered(moving), path, points, motion=motion)
    found = solver.fused(108, solver.raw)
    np.testing.assert_array_equal(found.depth == 0, mask)
    assert (found.confidence[mask] == 0).all() and found.confidence[around].mean() > 0.3
    assert (np.abs(found.depth - truth) / truth)[around].mean() < 0.03


def test_frames_without_a_source_follow_the_points(arc_clip, exact):
    path, points = exact
    found = DepthSolver(arc_clip, path.select([108]), points)
    depth = found.fused(108, found.raw)
    truth = arc_clip.room.depth(108)
    assert np.median(np.abs(depth.depth - truth) / truth) < 0.05
    assert (depth.confidence == 0).all()


def test_folder_gives_back_what_was_written(tmp_path):
    folder = DepthFolder(tmp_path / "new")
    depth = np.linspace(0, 9, 12, dtype=np.float32).reshape(3, 4)
    folder.write(42, DepthMap(depth, np.ones((3, 4), np.float32)))
    np.testing.assert_array_equal(folder.read(42).depth, depth)
    with pytest.raises(KeyError, match="frame 41"):
        folder.read(41)


def test_distorted_lens_gets_depth_on_its_own_raster(arc_clip, exact):
    path, points = exact
    bent = Camera(272, 272, 160, 96, (320, 192), (0.05, 0, 0, 0, 0))
    solver = DepthSolver(arc_clip, CameraPath(path.frames, (bent,) * len(path), path.camera_from_world), points)
    raw = solver.raw(108)
    assert raw.q.shape != (192, 320)  # computed on the pinhole raster that covers the lens
    assert solver.fused(108, lambda number: raw if number == 108 else solver.raw(number)).depth.shape == (192, 320)


def test_pair_literal():
    # The source stands 1 to the right, same lens: a point 5 in front of the reference's centre is 20 px to the left.
    camera = Camera(100, 100, 50, 40, (100, 80))
    pair = Pair.between(camera, np.eye(4), camera, rigid.rigid(np.eye(3), np.array([-1.0, 0, 0])))
    q = np.full((80, 100), 0.2, np.float32)
    x, y = pair.source_px(q)
    assert x[40, 50] == pytest.approx(30.5, abs=1e-4) and y[40, 50] == pytest.approx(40.5, abs=1e-4)


def test_fused_mesh_is_the_room(exact, maps):
    mesh = fuse_mesh(exact[0], maps, settings=FusionSettings(max_frames=9, voxels_across=90))
    assert mesh is not None
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    assert low[1] == pytest.approx(0.0, abs=0.1)  # the floor
    assert low[2] == pytest.approx(-3.5, abs=0.15)  # the far wall
    floor = mesh.vertices[(np.abs(mesh.vertices[:, 1]) < 0.08)]
    assert np.median(np.abs(floor[:, 1])) < 0.015
    assert high[1] < 2.9

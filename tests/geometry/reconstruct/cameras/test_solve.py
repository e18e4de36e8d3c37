"""Cameras of a rendered clip against the truth, what is kept of half a solve, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest

from geometry import rigid
from geometry.reconstruct.cameras.parallax import MASK_MARGIN_PX, ROOT, _unmasked, gate_reason
from geometry.reconstruct.cameras.solve import Gate, solve_cameras
from geometry.reconstruct.cameras.tracks import TrackSettings, track_clip
from geometry.reconstruct.errors import HasCuts, SolveFailed, TooFewFrames


def quiet(done, total):
    return None


def test_path_and_lens_match_the_truth(arc_solve, arc_clip):
    truth = rigid.inverse(arc_clip.room.camera_from_world)[:, :3, 3]
    centres = arc_solve.cameras.centres
    scale, turn = rigid.align_similarity(centres, truth)
    error = np.linalg.norm(rigid.transform(turn, scale * centres) - truth, axis=1)
    length = np.linalg.norm(np.diff(truth, axis=0), axis=1).sum()
    assert np.sqrt((error**2).mean()) < 0.002 * length
    assert arc_solve.cameras.cameras[0].fx == pytest.approx(0.85 * 320, rel=0.01)
    assert arc_solve.cameras.frames == tuple(range(100, 118))
    assert arc_solve.unregistered == ()
    assert arc_solve.reprojection_px < 0.2


def test_world_is_upright_and_the_floor_is_the_ground(arc_solve, arc_clip):
    truth = rigid.inverse(arc_clip.room.camera_from_world)
    scale, turn = rigid.align_similarity(arc_solve.cameras.centres, truth[:, :3, 3])
    up = turn[:3, :3] @ [0, 1, 0]
    assert np.rad2deg(np.arccos(up @ [0, 1, 0])) < 1.0
    assert arc_solve.ground is not None
    on_ground = arc_solve.ground.offset * arc_solve.ground.normal
    assert abs(rigid.transform(turn, scale * on_ground)[1]) < 0.02  # metres from y = 0


def test_views_reproject_onto_their_points(arc_solve):
    path, views = arc_solve.cameras, arc_solve.views
    mine = views.frame == 108
    seen = rigid.transform(path.pose(108), arc_solve.points.xyz[views.point[mine]])
    error = np.linalg.norm(path.camera(108).px_from_cam(seen) - views.xy[mine], axis=1)
    assert mine.sum() > 50
    assert np.median(error) < 0.2


def test_known_focal_length_is_held(arc_clip, tmp_path):
    solve = solve_cameras(arc_clip, frames=range(100, 110), focal_px=272.0, seed=0, workdir=tmp_path, report=quiet)
    assert solve.cameras.cameras[0].fx == 272.0


def test_a_pan_is_never_called_3d(pan_clip, tmp_path):
    options = {"frames": None, "focal_px": None, "seed": 0, "workdir": tmp_path, "report": quiet}
    solve = solve_cameras(pan_clip, **options)
    assert solve.shot.kind == "pan" and solve.depth_is_a_guess
    with pytest.raises(SolveFailed) as caught:
        solve_cameras(pan_clip, kind="parallax", **options)
    assert "only turns" in caught.value.message and "sideways" in caught.value.hint


class Lost:
    """A clip whose last frames are turned about: nothing before is seen there."""

    def __init__(self, clip, last):
        self.clip, self.last, self.numbers, self.hw = clip, last, clip.numbers, clip.hw

    def display(self, number, wh=None):
        picture = self.clip.display(number, wh)
        if number <= self.last:
            return picture
        noise = np.random.default_rng(number).integers(0, 255, (12, 20, 3), np.uint8)
        return cv2.resize(noise, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)


def test_half_a_solve_keeps_its_range_and_says_what_is_missing(arc_clip, tmp_path):
    solve = solve_cameras(Lost(arc_clip, 112), frames=None, focal_px=None, seed=0, workdir=tmp_path, report=quiet)
    assert solve.cameras.frames[0] == 100 and 108 <= solve.cameras.frames[-1] <= 113
    assert np.diff(solve.cameras.frames).max() == 1
    assert solve.unregistered == tuple(range(solve.cameras.frames[-1] + 1, 118))
    assert f"{len(solve.unregistered)} of 18 frames have no camera" in solve.advice
    assert "clip of its own" in solve.advice


def test_a_cut_is_refused_before_anything_is_followed(arc_clip, locked_clip, tmp_path):
    both = [arc_clip.display(n) for n in range(100, 107)] + [locked_clip.display(n)[:, ::-1] for n in range(6)]
    clip = Lost(arc_clip, 100)
    clip.numbers, clip.display = range(13), lambda number, wh=None: np.ascontiguousarray(both[number])
    with pytest.raises(HasCuts, match="frame 7"):
        solve_cameras(clip, frames=None, focal_px=None, seed=0, workdir=tmp_path, report=quiet)


def test_one_frame_is_refused(arc_clip, tmp_path):
    with pytest.raises(TooFewFrames):
        solve_cameras(arc_clip, frames=[100], focal_px=None, seed=0, workdir=tmp_path, report=quiet)


GOOD = {"solved": True, "registered": 20, "longest": 20, "focal_px": 900.0, "distortion": [0.0] * 5,
        "reprojection_px": 0.3, "median_triangulation_deg": 5.0, "points": 900, "depth_spread": 0.5, "attempts": []}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"registered": 17, "longest": 10}, None),
        ({"registered": 17, "longest": 9}, "17 of 20 frames, 9 without a gap"),
        ({"focal_px": 300.0}, "focal length"),
        ({"distortion": [-0.6, 0, 0, 0, 0]}, "k1 = -0.60"),
        ({"reprojection_px": 1.4}, "reprojection 1.40 px"),
        ({"median_triangulation_deg": 0.2}, "0.20 degrees"),
        ({"points": 0}, "0 points"),
        ({"depth_spread": 0.01}, "only turned"),
        ({"solved": False}, "no model"),
    ],
)
def test_gate(change, reason):
    got = gate_reason({**GOOD, **change}, 20, 960, Gate())
    assert got is None if reason is None else reason in (got or "")


def test_solving_imports_no_pycolmap_beside_opencv():
    modules = "sys, geometry.reconstruct.cameras.solve, geometry.reconstruct.depth.estimate"
    code = f"import {modules}; print('pycolmap' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


class LeftHalf:
    def read(self, frame):
        mask = np.zeros((192, 320), np.uint8)
        mask[:, :160] = 3
        return mask


def test_nothing_is_taken_from_where_masks_say_that_it_moves(arc_clip):
    tracks = track_clip(arc_clip, frames=range(100, 103), settings=TrackSettings(points=300))
    kept = _unmasked(tracks, LeftHalf())
    assert 0 < len(kept.xy) < len(tracks.xy)
    assert kept.xy[:, 0].min() >= 160 + MASK_MARGIN_PX - 1
    assert kept.frames == tracks.frames

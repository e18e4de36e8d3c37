"""Cameras of a rendered clip against the truth, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from geometry import rigid
from geometry.reconstruct.errors import NoParallax, TooFewFrames
from geometry.reconstruct.solve import ROOT, Gate, _gate_reason, solve_cameras


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


@pytest.mark.parametrize("name", ["pan_clip", "locked_clip"])
def test_no_parallax_is_refused_with_a_hint(name, request, tmp_path):
    with pytest.raises(NoParallax) as caught:
        solve_cameras(request.getfixturevalue(name), frames=None, focal_px=None, seed=0, workdir=tmp_path, report=quiet)
    assert "--cameras" in caught.value.hint


def test_one_frame_is_refused(arc_clip, tmp_path):
    with pytest.raises(TooFewFrames):
        solve_cameras(arc_clip, frames=[100], focal_px=None, seed=0, workdir=tmp_path, report=quiet)


GOOD = {"solved": True, "registered": 20, "focal_px": 900.0, "distortion": [0.0] * 5, "reprojection_px": 0.3,
        "median_triangulation_deg": 5.0, "points": 900, "attempts": []}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"registered": 17}, "17 of 20 frames"),
        ({"focal_px": 300.0}, "focal length"),
        ({"distortion": [-0.6, 0, 0, 0, 0]}, "k1 = -0.60"),
        ({"reprojection_px": 1.4}, "reprojection 1.40 px"),
        ({"median_triangulation_deg": 0.2}, "0.20 degrees"),
        ({"points": 0}, "0 points"),
        ({"solved": False}, "no model"),
    ],
)
def test_gate(change, reason):
    got = _gate_reason({**GOOD, **change}, 20, 960, Gate())
    assert got is None if reason is None else reason in (got or "")


def test_solving_imports_no_pycolmap_beside_opencv():
    code = "import sys, geometry.reconstruct.solve, geometry.reconstruct.depth; print('pycolmap' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"

"""What the rendered truth promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from examples.make_demo_clip import make_demo_clip
from examples.small_scene import camera_path, make_scene
from examples.truth import change_matte, place_hero, render_truth
from geometry import frames as camera_files
from geometry import rigid
from geometry.camera import pixel_centres
from services.media import exr, images

FRAMES = (0, 1)


def name(frame: int, suffix: str = "png") -> str:
    return f"{frame:04d}.{suffix}"


@pytest.mark.parametrize("frame", FRAMES)
def test_only_what_changed_differs(truth: Path, frame: int) -> None:
    plate, composite = (images.read_picture(truth / d / name(frame)).astype(int) for d in ("plate", "composite"))
    change = images.read_mask(truth / "change" / name(frame))
    visible = images.read_mask(truth / "visible" / name(frame))
    assert (change[visible > 0.05] == 1).all()
    near = cv2.dilate(change, np.ones((9, 9)))
    assert np.abs(plate - composite)[near == 0].mean() < 0.5
    assert np.abs(plate - composite)[visible > 0.9].mean() > 20
    assert 0.01 < change.mean() < 0.3


@pytest.mark.parametrize("frame", FRAMES)
def test_the_hero_is_in_front_of_what_it_hides(truth: Path, frame: int) -> None:
    visible, coverage = (images.read_mask(truth / d / name(frame)) for d in ("visible", "coverage"))
    assert (visible <= coverage + 1e-6).all()
    without, with_hero = (exr.read_depth(truth / d / name(frame, "exr")) for d in ("depth", "depth_with"))
    assert (with_hero <= without + 1e-4).all()
    nearer = with_hero < without - 1e-3
    assert (visible[nearer] > 0).mean() > 0.95
    assert nearer.sum() > 50


def test_the_plant_stand_hides_the_hero_during_the_move(tmp_path: Path) -> None:
    path = camera_path("dolly", 25, (96, 64))
    render_truth(
        make_scene(), path, [0, 15], tmp_path, with_object=place_hero(path, frame=0), spp=4, seed=1,
    )
    seen = [
        images.read_mask(tmp_path / "visible" / name(f)).sum() / images.read_mask(tmp_path / "coverage" / name(f)).sum()
        for f in (0, 15)
    ]
    assert seen[0] > 0.99
    assert seen[1] < 0.6


def test_flow_depth_and_cameras_agree(truth: Path) -> None:
    path = camera_path("dolly", 4, (96, 64))
    stored = camera_files.path_from_cameras_json(json.loads((truth / "cameras.json").read_text()))
    assert stored.frames == FRAMES
    np.testing.assert_allclose(stored.camera_from_world, path.camera_from_world[:2], atol=1e-9)
    depth = exr.read_depth(truth / "depth" / name(0, "exr"))
    flow = exr.read_channels(truth / "flow" / name(0, "exr"))
    px = pixel_centres((96, 64))
    points = path.camera(0).rays_from_px(px) * depth[..., None]
    in_world = rigid.transform(rigid.inverse(path.pose(0)), points)
    moved = path.camera(1).px_from_cam(rigid.transform(path.pose(1), in_world)) - px
    np.testing.assert_allclose(np.dstack([flow["X"], flow["Y"]])[depth > 0], moved[depth > 0], atol=2e-3)


def test_the_facts_are_those_of_the_picture(truth: Path) -> None:
    facts = json.loads((truth / "truth.json").read_text())
    coverage = images.read_mask(truth / "coverage" / name(0))
    rows, columns = np.nonzero(coverage > 0.5)
    x, y = facts["at_px"]
    assert columns.min() < x < columns.max()
    assert rows.max() == pytest.approx(y, abs=3)
    assert rows.max() - rows.min() == pytest.approx(facts["height_px"], rel=0.15)
    np.testing.assert_allclose(facts["anchors_px"]["0"][0], facts["at_px"])


def test_the_same_seed_gives_the_same_files(truth: Path, tmp_path: Path) -> None:
    path = camera_path("dolly", 4, (96, 64))
    render_truth(
        make_scene(), path, [1], tmp_path, with_object=place_hero(path, frame=0, yaw_deg=-20), spp=8, seed=1,
        shutter_samples=2,
    )
    for kind in ("plate", "composite", "visible", "change", "ids"):
        assert (tmp_path / kind / name(1)).read_bytes() == (truth / kind / name(1)).read_bytes(), kind


def test_change_matte_ignores_noise_and_sees_a_faint_shadow() -> None:
    rng = np.random.default_rng(1)
    plate = np.full((80, 80, 3), 0.4, np.float32)
    composite = plate + rng.normal(0, 0.03, plate.shape).astype(np.float32)
    composite[40:] *= 0.85
    matte = change_matte(composite, plate, np.zeros((80, 80)))
    assert matte[:34].mean() < 0.02
    assert matte[46:].mean() > 0.98


def test_grain_is_as_strong_as_it_says(tmp_path: Path) -> None:
    path = camera_path("dolly", 2, (96, 64))
    for sigma in (0.0, 0.05):
        render_truth(make_scene("plain"), path, [0], tmp_path / str(sigma), with_object=None, spp=2, seed=1,
                     grain_sigma=sigma)
    clean, grainy = (images.read_picture(tmp_path / s / "plate" / name(0)) / 255 for s in ("0.0", "0.05"))
    inside = (clean > 0.25) & (clean < 0.75)
    assert (grainy - clean)[inside].std() == pytest.approx(0.05, rel=0.05)


def test_demo_writes_a_clip_an_object_and_where_it_stands(tmp_path: Path) -> None:
    facts = make_demo_clip(tmp_path, 2, (96, 64), spp=4)
    assert facts == json.loads((tmp_path / "demo.json").read_text())
    with av.open(facts["clip"]) as clip:
        frames = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    assert [frame.shape for frame in frames] == [(64, 96, 3)] * 2
    assert (tmp_path / "hero.glb").stat().st_size > 1000
    assert exr.read_rgb(tmp_path / "sky.exr").max() > 100
    assert 0 < facts["at_px"][0] < 96


def test_the_demo_refuses_a_senseless_raster(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.make_demo_clip", str(tmp_path), "--wh", "10"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "expected WxH of at least 64x64, got '10'" in done.stderr

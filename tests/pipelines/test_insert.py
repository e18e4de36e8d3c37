"""The whole insert job on a small rendered clip with known cameras: what a user gets, held against the truth."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import metrics
from examples.small_scene import camera_path, make_scene
from examples.truth import HeroPlacement, place_hero, render_truth
from geometry import frames as camera_files
from geometry import rigid
from services.artifacts.stages import JobContext
from services.artifacts.store import Store
from services.config import RenderSettings, Settings
from services.errors import InvalidRequest, Unsolvable
from services.export.colmap import write_colmap
from services.media import exr, images
from services.pipelines import insert, preview, propagate_masks, reconstruct
from services.pipelines.requests import (
    Clip,
    InsertedObject,
    InsertRequest,
    Lighting,
    Matching,
    PropagateMasksRequest,
    ReconstructRequest,
    SceneOptions,
)
from services.pipelines.scene_folder import load_delivered

WH, FRAMES = (320, 184), 8
SEED = 3


Request = InsertRequest | PropagateMasksRequest | ReconstructRequest
PIPELINES = {InsertRequest: insert, PropagateMasksRequest: propagate_masks, ReconstructRequest: reconstruct}


class Job:
    """Runs pipelines over one store, as a worker does, and lays out what they deliver."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, Store(str(root / "store"), 2**33)

    def run(self, request: Request, name: str) -> tuple[Path, dict[str, float]]:
        files: list[dict[str, Any]] = []
        context = JobContext(
            self.store, Settings(render=RenderSettings(spp=16)), lambda m: files.extend(m.get("files", ())),
            lambda: False,
        )
        PIPELINES[type(request)].run(request, context)
        out = self.root / name
        for file in files:
            (out / file["path"]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.store.path(file["key"], file["file"]), out / file["path"])
        return out, context.timings


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HeroPlacement]:
    folder = tmp_path_factory.mktemp("truth")
    path = camera_path("arc", FRAMES, WH)
    hero = place_hero(path, frame=0, yaw_deg=-20.0)
    render_truth(make_scene(), path, path.frames, folder, with_object=hero, spp=16, seed=SEED)
    return folder, hero


def request_for(truth: tuple[Path, HeroPlacement], **changes: Any) -> InsertRequest:
    folder, hero = truth
    robot = InsertedObject(str(folder / "hero.glb"), hero.at_px, 0, height_px=hero.height_px, yaw_deg=hero.yaw_deg)
    request = InsertRequest(
        Clip(str(folder / "plate")), (robot,), SceneOptions(cameras_file=str(folder / "cameras.json")),
        Lighting(str(folder / "sky.exr")), Matching(motion_blur=False), seed=SEED,
    )
    return replace(request, **changes)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    return Job(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def result(truth: tuple[Path, HeroPlacement], job: Job) -> Path:
    return job.run(request_for(truth), "result")[0]


def test_the_object_stands_where_it_was_put_in_every_frame(truth: tuple[Path, HeroPlacement], result: Path) -> None:
    folder, hero = truth
    true_path = camera_files.path_from_cameras_json(json.loads((folder / "cameras.json").read_text()))
    solved = camera_files.path_from_cameras_json(json.loads((result / "cameras.json").read_text()))
    placed = np.array(json.loads((result / "report.json").read_text())["objects"][0]["world_from_object"])
    low, high = np.array([-0.1, 0.0, 0.0]), np.array([0.1, 0.5, 0.1])
    for frame in true_path.frames:
        there, here = (
            p.camera(frame).px_from_cam(rigid.transform(p.pose(frame), rigid.transform(matrix, np.stack([low, high]))))
            for p, matrix in ((true_path, hero.world_from_object), (solved, placed))
        )
        assert np.linalg.norm(there - here, axis=1).max() < 0.5


def test_pixels_outside_the_effect_matte_keep_their_code_values(
    truth: tuple[Path, HeroPlacement], result: Path
) -> None:
    for number in range(FRAMES):
        plate = images.read_picture(truth[0] / "plate" / f"{number:04d}.png")
        composite = images.read_picture(result / "composite" / f"{number:04d}.png")
        effect = images.read_picture(result / "effect" / f"{number:04d}.png")[..., 0]
        assert set(np.unique(effect)) <= {0, 255}
        true_change = images.read_mask(truth[0] / "change" / f"{number:04d}.png").mean()
        assert 0.5 * true_change < (effect == 255).mean() < 4 * true_change
        np.testing.assert_array_equal(composite[effect == 0], plate[effect == 0])


def test_the_layers_add_up_to_the_composite(result: Path) -> None:
    layers = {k: v.astype(np.float64) for k, v in exr.read_channels(result / "exr" / "0003.exr").items()}
    for c in "RGB":
        added = layers[f"plate.{c}"] * layers[f"ratio.{c}"] * (1 - layers["object.A"]) + layers[f"object.{c}"]
        np.testing.assert_allclose(layers[c], added, atol=3e-3)  # of half floats
    assert layers["id"].max() == 1
    assert layers["depth.Z"].max() > 0


def test_masks_and_picture_agree_with_the_true_render(truth: tuple[Path, HeroPlacement], result: Path) -> None:
    overlap, error = [], []
    for number in range(FRAMES):
        name = f"{number:04d}.png"
        visible = images.read_mask(truth[0] / "visible" / name)
        overlap.append(metrics.iou(images.read_mask(result / "masks" / name) > 0.5, visible > 0.5))
        # Over 3 x 3 pixels: the truth is path-traced with few samples, and its noise is not what is compared.
        pictures = (images.read_picture(p / "composite" / name).astype(float) for p in (truth[0], result))
        true, got = (cv2.blur(picture, (3, 3)) for picture in pictures)
        error.append(((true - got) ** 2)[visible > 0.9].mean())
    assert np.mean(overlap) > 0.9
    assert 10 * np.log10(255**2 / np.mean(error)) > 22
    everything = [images.read_mask(result / "masks" / "hero" / f"{n:04d}.png") for n in range(FRAMES)]
    np.testing.assert_array_equal(everything[2], images.read_mask(result / "masks" / "0002.png"))


def test_everything_that_was_promised_is_there(result: Path) -> None:
    for name in ("composite.mp4", "contact_sheet.png", "scene.usda", "mesh.ply", "preview.mp4", "colmap/cameras.txt",
                 "depth/0000.exr", "confidence/0000.png"):
        assert (result / name).stat().st_size > 0, name
    report = json.loads((result / "report.json").read_text())
    assert report["clip"]["frames"] == [0, FRAMES - 1]
    assert report["light"]["kind"] == "given"
    assert report["timings_s"]["render"] > 0


def test_another_yaw_solves_nothing_twice(truth: tuple[Path, HeroPlacement], job: Job, result: Path) -> None:
    before = request_for(truth)
    turned = replace(before, objects=(replace(before.objects[0], yaw_deg=60.0),))
    out, timings = job.run(turned, "turned")
    for stage in ("read cameras", "estimate depth", "fuse mesh", "find surface", "light", "measure plate"):
        assert timings[stage] == 0, stage
    assert timings["render"] > 0
    one, other = (images.read_picture(p / "composite" / "0000.png") for p in (result, out))
    assert (one != other).any()


def test_estimated_light_and_two_objects_that_share_a_floor(truth: tuple[Path, HeroPlacement], job: Job) -> None:
    before = request_for(truth, lighting=Lighting())
    robot = before.objects[0]
    x, y = robot.at_px
    second = replace(robot, at_px=(x + 45, y + 6), height_px=30.0)
    out, _ = job.run(replace(before, objects=(robot, second)), "two")
    masks = [images.read_mask(out / "masks" / name / "0000.png") > 0.5 for name in ("hero", "hero_2")]
    assert masks[0].sum() > 3 * masks[1].sum() > 0
    assert not (masks[0] & masks[1]).any()
    assert json.loads((out / "report.json").read_text())["light"]["kind"] == "estimated"


def test_a_delivered_scene_can_be_inserted_into_and_previewed(
    truth: tuple[Path, HeroPlacement], job: Job, result: Path
) -> None:
    before = request_for(truth, scene=SceneOptions(scene_dir=str(result)))
    out, _ = job.run(before, "from_scene")
    one, other = (images.read_mask(p / "masks" / "0000.png") > 0.5 for p in (result, out))
    assert metrics.iou(one, other) > 0.95
    spec = preview.PreviewSpec(str(result), before.clip, before.objects[0], None, 320)
    picture = preview.render(str(result), before.clip, spec)
    plate = images.read_picture(truth[0] / "plate" / "0000.png")
    assert picture.shape == (184, 320, 3)
    assert metrics.iou(np.abs(picture.astype(int) - plate).max(-1) > 25, one) > 0.6


def test_a_tilted_world_is_set_upright(truth: tuple[Path, HeroPlacement], job: Job, tmp_path: Path) -> None:
    """COLMAP's world has no up: the floor that the clip shows tells it."""
    true_path = camera_files.path_from_cameras_json(json.loads((truth[0] / "cameras.json").read_text()))
    tilt = rigid.rigid(rigid.rotation_between(np.array([0.0, 1.0, 0.0]), np.array([0.6, 0.0, 0.8])), np.ones(3))
    write_colmap(tmp_path / "sparse", true_path.in_world(tilt))
    asked = ReconstructRequest(Clip(str(truth[0] / "plate")), SceneOptions(cameras_file=str(tmp_path / "sparse")))
    out, _ = job.run(asked, "tilted")
    scene = load_delivered(out)
    assert scene.ground is not None
    assert scene.ground.normal[1] > np.cos(np.radians(1.0))
    np.testing.assert_allclose(scene.ground.distance(scene.cameras.centres), true_path.centres[:, 1], rtol=0.02)
    ups = [np.degrees(np.arcsin(-p.camera_from_world[0, 1, 1])) for p in (scene.cameras, true_path)]
    assert ups[0] == pytest.approx(ups[1], abs=1.0)


def test_masks_of_a_placement_are_those_of_the_insertion(
    truth: tuple[Path, HeroPlacement], job: Job, result: Path
) -> None:
    inserted = request_for(truth)
    asked = PropagateMasksRequest(inserted.clip, placement=inserted.objects[0], scene=inserted.scene, seed=SEED)
    out, timings = job.run(asked, "placement")
    assert timings["estimate depth"] == 0
    for number in range(FRAMES):
        one, other = (images.read_mask(p / "masks" / f"{number:04d}.png") > 0.5 for p in (result, out))
        assert metrics.iou(one, other) > 0.93, number


def test_a_painted_region_stays_on_its_thing(truth: tuple[Path, HeroPlacement], job: Job) -> None:
    folder, _ = truth
    ids = [images.read_picture(folder / "ids" / f"{n:04d}.png")[..., 0] for n in range(FRAMES)]
    crates = make_scene().object_id("crates")
    shown = FRAMES - 1  # earlier the plant hides a part of them
    images.write_mask(folder / "crates.png", (ids[shown] == crates).astype(np.float32))
    request = request_for(truth)
    asked = PropagateMasksRequest(
        request.clip, frame=shown, mask=str(folder / "crates.png"), scene=request.scene, seed=SEED
    )
    out, _ = job.run(asked, "region")
    overlap = [
        metrics.iou(images.read_mask(out / "masks" / f"{n:04d}.png") > 0.5, ids[n] == crates) for n in range(FRAMES)
    ]
    assert overlap[shown] == 1
    assert min(overlap[2:]) > 0.85  # before, it is seen in pieces between leaves


def test_regions_that_cannot_be_followed_are_refused_by_field(truth: tuple[Path, HeroPlacement], job: Job) -> None:
    request = request_for(truth)
    images.write_mask(truth[0] / "black.png", np.zeros((WH[1], WH[0]), np.float32))
    for field, changes in (
        ("region", {}),
        ("region", {"box": (0, 0, 9, 9), "mask": "x.png"}),
        ("box", {"box": (9, 0, 9, 9)}),
        ("box", {"box": (0, 0, 999, 9)}),
        ("frame", {"box": (0, 0, 9, 9), "frame": 99}),
        ("mask", {"mask": str(truth[0] / "black.png")}),
        ("placement.at_px", {"placement": replace(request.objects[0], at_px=(400.0, 10.0))}),
    ):
        with pytest.raises(InvalidRequest) as error:
            job.run(PropagateMasksRequest(request.clip, scene=request.scene, **changes), "refused")
        assert error.value.field == field


def test_wishes_that_cannot_be_met_are_refused_by_field(truth: tuple[Path, HeroPlacement], job: Job) -> None:
    good = request_for(truth)
    robot = good.objects[0]
    for field, objects in (
        ("objects[0].at_px", replace(robot, at_px=(400.0, 10.0))),
        ("objects[0].frame", replace(robot, frame=99)),
        ("objects[0].attach", replace(robot, attach="path:99=10,10")),
        ("objects[0].path", replace(robot, path=str(truth[0] / "cameras.json"))),
        ("objects[0].height_m", replace(robot, height_px=None, height_m=1.0)),
    ):
        with pytest.raises(InvalidRequest) as error:
            job.run(replace(good, objects=(objects,)), "refused")
        assert error.value.field == field
    with pytest.raises(InvalidRequest, match="backend"):
        job.run(replace(good, backend="wan_vace"), "refused")
    with pytest.raises(Unsolvable, match="nothing moves at that pixel"):
        job.run(replace(good, objects=(replace(robot, attach="mover"),)), "refused")


def test_before_a_still_camera_an_object_stands_on_the_ground(
    truth: tuple[Path, HeroPlacement], job: Job, tmp_path: Path
) -> None:
    for number in range(6):
        shutil.copy(truth[0] / "plate" / "0000.png", tmp_path / f"{number:04d}.png")
    robot = request_for(truth).objects[0]
    request = request_for(truth, clip=Clip(str(tmp_path)), scene=SceneOptions(camera_height_m=1.5), draft=True)
    out, _ = job.run(replace(request, objects=(replace(robot, height_px=None, height_m=0.4),)), "still")
    report = json.loads((out / "report.json").read_text())
    assert report["scene"]["kind"] == "locked"
    assert report["scene"]["depth_is_a_guess"]
    placed = np.array(report["objects"][0]["world_from_object"])
    assert placed[1, 3] == pytest.approx(0, abs=1e-9)  # the ground
    assert report["objects"][0]["height"] == pytest.approx(0.4)
    masks = [images.read_mask(out / "masks" / f"{number:04d}.png") for number in range(6)]
    assert masks[0].sum() > 100
    assert all(np.linalg.norm(metrics.centroid_px(mask) - metrics.centroid_px(masks[0])) < 0.1 for mask in masks)


def test_an_object_walks_from_key_to_key(truth: tuple[Path, HeroPlacement], job: Job) -> None:
    robot = request_for(truth).objects[0]
    x, y = robot.at_px
    walker = replace(robot, attach=f"path:7={x - 92},{y + 8}")
    out, _ = job.run(request_for(truth, objects=(walker,), draft=True), "walk")
    masks = [images.read_mask(out / "masks" / f"{number:04d}.png") for number in (0, 7)]
    first, last = (metrics.centroid_px(mask) for mask in masks)
    assert last[0] - first[0] == pytest.approx(-92, abs=8)

"""Objects that move: what the stages draw, against where geometry says they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera
from geometry.mesh import Model
from geometry.render import make_renderer
from geometry.scene import Plane, RenderLayers, RigidTrack
from geometry.trajectory import CameraPath
from services.errors import InvalidRequest
from services.pipelines.inputs import path_keys
from services.pipelines.layer_files import load_layers
from services.pipelines.stages.render_frames import RenderConfig, build_stage, render_frames
from services.pipelines.supports import Motion, Support
from tests.geometry.render.shapes_for_render import at, box, constant_light

CAMERA = Camera(130.0, 130.0, 80.0, 60.0, (160, 120))
EYE = rigid.look_at((0, 2.0, 6.0), (0, 0.4, 0))
GROUND = Plane(np.array([0.0, 1.0, 0.0]), 0.0)
STEP = 0.4  # a frame, to the right
TRACK = RigidTrack(0, (0, 1, 2), np.stack([at(STEP * i, 0, 0) for i in range(3)]))


def config(*, shutter_deg: float = 0.0, motion: Motion | None, carried: bool = False) -> RenderConfig:
    still = tuple(tuple(row) for row in at(0, 0.3, 0).tolist())
    support = Support.of(GROUND, 7 if carried else 0, motion if carried else None)
    return RenderConfig(
        frames=(0, 1), world_from_object=(still,), motions=(motion,), supports=(support,), support_of=(0,),
        support_albedo=(0.3, 0.3, 0.3), source_wh=(160, 120), spp=16, seed=0, shutter_deg=shutter_deg,
        renderer="mitsuba/auto",
    )


def drawn(wanted: RenderConfig, folder: Path, frame: int) -> RenderLayers:
    cameras = CameraPath((0, 1, 2), (CAMERA,) * 3, np.stack([EYE] * 3))
    model = Model((box(0.3),), np.array([[-0.3] * 3, [0.3] * 3]))
    stage = build_stage(wanted, make_renderer(), cameras, [model], constant_light(1.0))
    render_frames(out=folder, config=replace(wanted, frames=(frame,)), report=lambda *_: None, stage=stage)
    layers = load_layers([folder], frame)
    assert layers is not None
    return layers


def column_of(point: tuple[float, float, float]) -> float:
    return float(CAMERA.px_from_cam(rigid.transform(EYE, np.array(point)))[0])


def centroid(layers: RenderLayers) -> float:
    return float((layers.alpha.sum(0) * (np.arange(160) + 0.5)).sum() / layers.alpha.sum())


@pytest.mark.parametrize("carried", [False, True])
def test_a_moving_object_is_drawn_where_its_track_says(tmp_path: Path, carried: bool) -> None:
    wanted = config(motion=Motion.of(TRACK), carried=carried)
    first, second = (centroid(drawn(wanted, tmp_path, frame)) for frame in (0, 1))
    assert second - first == pytest.approx(column_of((STEP, 0.3, 0)) - column_of((0, 0.3, 0)), abs=0.5)


def test_its_motion_vectors_lead_to_the_next_frame(tmp_path: Path) -> None:
    layers = drawn(config(motion=Motion.of(TRACK)), tmp_path, 0)
    solid = layers.object_id == 1
    expected = column_of((STEP, 0.3, 0.3)) - column_of((0, 0.3, 0.3))  # the face towards us
    assert np.median(layers.motion[solid][:, 0]) == pytest.approx(expected, abs=0.4)


def test_an_open_shutter_smears_it_along_its_way(tmp_path: Path) -> None:
    def width(layers: RenderLayers) -> float:
        """Columns in which it is partly seen."""
        return float((layers.alpha.max(0) > 0.02).sum())

    pictures = []
    for deg in (0, 180):
        folder = tmp_path / str(deg)
        folder.mkdir()
        pictures.append(drawn(config(motion=Motion.of(TRACK), shutter_deg=deg), folder, 1))
    sharp, smeared = pictures
    way = column_of((STEP, 0.3, 0.3)) - column_of((0, 0.3, 0.3))
    assert width(smeared) - width(sharp) == pytest.approx(0.5 * way, abs=2.5)
    assert smeared.alpha.sum() == pytest.approx(sharp.alpha.sum(), rel=0.05)


def test_a_support_moves_with_its_carrier() -> None:
    lifted = RigidTrack(0, (0, 1), np.stack([np.eye(4), at(0, 0.5, 0)]))
    support = Support.of(GROUND, 3, Motion.of(lifted))
    assert support.plane_at(0).offset == pytest.approx(0)
    assert support.plane_at(1).offset == pytest.approx(0.5)


def test_path_keys() -> None:
    first, second = path_keys("path:3=10,20;40=30.5,7,90", "objects[0].attach")
    assert (first.frame, first.at, first.yaw) == (3, (10, 20), 0)
    assert (second.frame, second.at) == (40, (30.5, 7))
    assert second.yaw == pytest.approx(np.pi / 2)
    assert path_keys("world", "objects[0].attach") == ()


@pytest.mark.parametrize("attach", ["path:", "path:3", "path:3=1", "path:x=1,2", "path:3=1,2,3,4", "path:3=1,2;"])
def test_bad_path_keys_are_refused(attach: str) -> None:
    with pytest.raises(InvalidRequest, match="objects\\[0\\].attach"):
        path_keys(attach, "objects[0].attach")

"""Messages become requests, field by field."""

from __future__ import annotations

from pathlib import Path

import pytest
from backlot.v1 import common_pb2, insertion_pb2, jobs_pb2, scene_pb2

from services import convert
from services.artifacts.access import Access
from services.artifacts.assets import AssetStore
from services.errors import InvalidRequest, NotFound
from services.jobs.journal import State
from services.pipelines import requests


@pytest.fixture
def access(tmp_path: Path) -> Access:
    for name in ("clip.mp4", "chair.glb", "sky.hdr", "cameras.json"):
        (tmp_path / name).touch()
    (tmp_path / "roto").mkdir()

    def no_result(asset: str) -> Path:
        raise NotFound(asset)

    return Access([tmp_path], AssetStore(tmp_path / "assets"), no_result)


def _at(tmp_path: Path, name: str) -> common_pb2.MediaPath:
    return common_pb2.MediaPath(uri=str(tmp_path / name))


def _full(tmp_path: Path) -> insertion_pb2.InsertObjectRequest:
    return insertion_pb2.InsertObjectRequest(
        request_id="r",
        clip=common_pb2.Clip(path=_at(tmp_path, "clip.mp4"), first_frame=0, last_frame=47, colorspace="ACEScg"),
        objects=[
            common_pb2.InsertedObject(
                path=_at(tmp_path, "chair.glb"), at_px=common_pb2.PixelPoint(x=640.5, y=520), frame=0, height_m=0.9,
                yaw_deg=30, object_up="+z", attach="mover", name="chair",
            ),
            common_pb2.InsertedObject(
                path=_at(tmp_path, "chair.glb"), at_px=common_pb2.PixelPoint(x=0, y=0), height_px=180
            ),
        ],
        scene=common_pb2.SceneOptions(
            cameras_file=_at(tmp_path, "cameras.json"), focal_mm=35, horizon="level",
            known_distance=common_pb2.KnownDistance(x0=1, y0=2, x1=3, y1=4, metres=5), camera_height_m=1.6,
            kind=common_pb2.SHOT_KIND_LOCKED,
            movers=[common_pb2.MoverClick(at_px=common_pb2.PixelPoint(x=6, y=7), frame=8)],
        ),
        lighting=common_pb2.Lighting(hdri=_at(tmp_path, "sky.hdr"), hdri_yaw_deg=90, exposure_ev=-1),
        matching=common_pb2.Matching(motion_blur=False, shutter_deg=0),
        holdout=_at(tmp_path, "roto"),
        draft=True,
        seed=2**40,
        no_cache=True,
    )  # fmt: skip


def test_every_field_of_an_insertion_arrives(access: Access, tmp_path: Path) -> None:
    got = convert.job_request("insert", _full(tmp_path).SerializeToString(), access)
    assert got == requests.InsertRequest(
        clip=requests.Clip(str(tmp_path / "clip.mp4"), 0, 47, "ACEScg"),
        objects=(
            requests.InsertedObject(
                str(tmp_path / "chair.glb"), (640.5, 520.0), frame=0, height_m=0.9, yaw_deg=30.0, object_up="+z",
                attach="mover", name="chair",
            ),
            requests.InsertedObject(str(tmp_path / "chair.glb"), (0.0, 0.0), height_px=180.0),
        ),
        scene=requests.SceneOptions(
            str(tmp_path / "cameras.json"), "", 35.0, "level", requests.KnownDistance(1.0, 2.0, 3.0, 4.0, 5.0), 1.6,
            "locked", (requests.MoverClick(6.0, 7.0, 8),),
        ),
        lighting=requests.Lighting(str(tmp_path / "sky.hdr"), 90.0, -1.0),
        matching=requests.Matching(motion_blur=False, grain=True, sharpness=True, shutter_deg=0.0),
        holdout=str(tmp_path / "roto"),
        draft=True,
        backend="none",
        seed=2**40,
    )  # fmt: skip
    assert convert.no_cache("insert", _full(tmp_path).SerializeToString())


def test_what_is_not_set_is_the_requests_default(access: Access, tmp_path: Path) -> None:
    clip = common_pb2.Clip(path=_at(tmp_path, "clip.mp4"))
    got = convert.reconstruct_request(scene_pb2.ReconstructSceneRequest(clip=clip), access)
    assert got == requests.ReconstructRequest(requests.Clip(str(tmp_path / "clip.mp4")))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda m: m.ClearField("clip"), "clip.path"),
        (lambda m: m.clip.path.asset.CopyFrom(common_pb2.AssetPath(asset_id="no-such-asset")), None),
        (lambda m: m.ClearField("objects"), "objects"),
        (lambda m: m.objects[1].ClearField("at_px"), "objects[1].at_px"),
        (lambda m: m.objects[1].ClearField("height_px"), "objects[1].height"),
        (lambda m: m.objects[0].path.ClearField("uri"), "objects[0].path"),
        (lambda m: setattr(m.objects[0], "attach", "glue"), "objects[0].attach"),
        (lambda m: setattr(m.scene, "focal_mm", 0), "scene.focal_mm"),
        (lambda m: setattr(m.matching, "shutter_deg", 400), "matching.shutter_deg"),
        (lambda m: setattr(m.holdout, "uri", "/etc"), "holdout"),
        (lambda m: setattr(m.lighting.hdri, "uri", "sky.hdr"), "lighting.hdri"),
    ],
)
def test_errors_name_the_messages_field(access: Access, tmp_path: Path, change: object, field: str | None) -> None:
    message = _full(tmp_path)
    change(message)  # type: ignore[operator]
    with pytest.raises(InvalidRequest if field else NotFound) as caught:
        convert.insert_request(message, access)
    if field:
        assert caught.value.field == field  # type: ignore[attr-defined]


def test_states_map_both_ways() -> None:
    assert {convert.state_filter(convert.job_state(state)) for state in State} == set(State)
    assert convert.state_filter(jobs_pb2.JOB_STATE_UNSPECIFIED) is None
    with pytest.raises(InvalidRequest, match="state"):
        convert.state_filter(77)  # type: ignore[arg-type]

"""The contract, its stubs and its mirrors agree; the client stays light."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import backlot
import pytest
from backlot.v1 import common_pb2, insertion_pb2, plate_pb2, previs_pb2, scene_pb2
from google.protobuf.message import Message

from services.pipelines import requests

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "clients" / "python" / "src" / "backlot" / "v1"


def test_the_contract_is_clean_and_the_stubs_are_those_of_it(tmp_path: Path) -> None:
    done = subprocess.run([ROOT / "scripts" / "protos", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fresh = {path.name: path.read_text() for path in (tmp_path / "backlot" / "v1").iterdir()}
    assert len(fresh) == 21
    kept = {path.name: path.read_text() for path in STUBS.glob("*_pb2*")}
    assert fresh == kept


# What only the transport needs is in the messages alone.
TRANSPORT = {"request_id", "no_cache", "priority"}


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (common_pb2.Clip, "Clip"),
        (common_pb2.KnownDistance, "KnownDistance"),
        (common_pb2.SceneOptions, "SceneOptions"),
        (common_pb2.InsertedObject, "InsertedObject"),
        (common_pb2.Lighting, "Lighting"),
        (common_pb2.Matching, "Matching"),
        (scene_pb2.ReconstructSceneRequest, "ReconstructRequest"),
        (scene_pb2.ImportSceneRequest, "ImportSceneRequest"),
        (insertion_pb2.InsertObjectRequest, "InsertRequest"),
        (insertion_pb2.PropagateMasksRequest, "PropagateMasksRequest"),
        (previs_pb2.PrevisShot, "PrevisShot"),
        (previs_pb2.PrevisStyle, "PrevisStyle"),
        (previs_pb2.StyleRegion, "StyleRegion"),
        (previs_pb2.AnchorEdit, "AnchorEdit"),
        (previs_pb2.RenderGuidesRequest, "GuidesRequest"),
        (previs_pb2.RenderAnchorsRequest, "AnchorsRequest"),
        (previs_pb2.RenderPrevisRequest, "PrevisRequest"),
        (plate_pb2.PlateSource, "PlateSource"),
        (plate_pb2.PlateGeneration, "PlateGeneration"),
        (plate_pb2.ControlPicture, "ControlPicture"),
        (plate_pb2.LearnedConcept, "LearnedConcept"),
        (plate_pb2.PlateLayers, "PlateLayers"),
        (plate_pb2.DepthBand, "DepthBand"),
        (plate_pb2.PlateThing, "PlateThing"),
        (plate_pb2.PlateMargins, "PlateMargins"),
        (plate_pb2.PlateFluid, "PlateFluid"),
        (plate_pb2.FlowHint, "FlowHint"),
        (plate_pb2.PlateCamera, "PlateCamera"),
        (plate_pb2.BuildLayersRequest, "BuildLayersRequest"),
        (plate_pb2.AnimatePlateRequest, "AnimatePlateRequest"),
    ],
)
def test_client_contract_and_server_use_the_same_names(message: type[Message], name: str) -> None:
    in_contract = [field.name for field in message.DESCRIPTOR.fields if field.name not in TRANSPORT]
    of_server = [field.name for field in dataclasses.fields(getattr(requests, name))]
    of_client = [field.name for field in dataclasses.fields(getattr(backlot, name)) if field.name not in TRANSPORT]
    assert in_contract == of_server == of_client


def test_every_call_that_starts_a_job_takes_a_request_id() -> None:
    services = (
        (scene_pb2, "SceneService"), (insertion_pb2, "InsertionService"), (previs_pb2, "PrevisService"),
        (plate_pb2, "PlateService"),
    )  # fmt: skip
    for module, service in services:
        for method in module.DESCRIPTOR.services_by_name[service].methods:
            starts_job = method.output_type.full_name == "google.longrunning.Operation"
            assert starts_job == ("request_id" in method.input_type.fields_by_name), method.full_name


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = "import sys, backlot, backlot.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=STUBS)
    assert not {"numpy", "services", "models", "geometry", "rich", "torch"} & set(done.stdout.split())

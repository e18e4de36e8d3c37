"""Keys of stages and the wrapper around them."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from services.artifacts.keys import canonical, fingerprint, stage_key
from services.artifacts.stages import HelpDone, JobContext, thumbnail
from services.artifacts.store import Store
from services.config import Settings
from services.errors import Cancelled
from services.pipelines.context import Artifact, Report


@dataclass(frozen=True)
class Sigma:
    sigma: float
    names: tuple[str, ...] = ()


def write_sigma(*, out: Path, config: Sigma, report: Report) -> None:
    for step in range(1000):
        report(step, 1000)
    (out / "sigma.txt").write_text(str(config.sigma))


def read_sigma(*, out: Path, config: None, report: Report, source: Artifact, add: float = 0) -> None:
    (out / "again.txt").write_text((source.path / "sigma.txt").read_text() + str(add))


class Recorder:
    def __init__(self, root: Path) -> None:
        self.messages: list[dict[str, Any]] = []
        self.store = Store(str(root), 10**9)

    def context(self, **options: Any) -> JobContext:
        return JobContext(self.store, Settings(), self.messages.append, **options)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == kind]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "store")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (Sigma(0.1), Sigma(0.1 + 1e-17 + 1e-16)),
        (Sigma(1.0), {"sigma": 1.0, "names": ()}),
        (b"a", b"b"),
        (np.zeros(3, np.float32), np.zeros(3, np.float64)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (Fraction(24000, 1001), "24000/1001"),
        ({"a": 1}, {"a": None}),
        (True, "true"),
    ],
)
def test_unequal_configs_have_unequal_keys(one: object, other: object) -> None:
    assert stage_key(write_sigma, one, {}) != stage_key(write_sigma, other, {})


def test_equal_configs_have_equal_keys() -> None:
    assert canonical({"b": np.float64(0.5), "a": (1, 2)}) == canonical({"a": [1, 2], "b": 0.5})
    assert canonical({3, 1}) == canonical({1, 3})
    assert canonical(0.1) == {"float": "0.1"}


def test_the_key_depends_on_function_inputs_and_salt() -> None:
    keys = {
        stage_key(write_sigma, 1, {}),
        stage_key(read_sigma, 1, {}),
        stage_key(write_sigma, 1, {"source": "00"}),
        stage_key(write_sigma, 1, {"other": "00"}),
        stage_key(write_sigma, 1, {}, salt="jobs/1"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize("value", [Path("/x"), object(), {1: 2}, lambda: 0])
def test_what_has_no_canonical_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="stage config"):
        canonical(value)


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


TREE = {
    "services/__init__.py": "",
    "services/stage.py": "def f():\n    from models.registry import load\n",
    "services/unrelated.py": "x = 1",
    "models/__init__.py": "",
    "models/registry.py": "import numpy\nBACKENDS = {'a': 'models.depth.a:A'}\n",
    "models/depth/__init__.py": "from .base import B",
    "models/depth/base.py": "import geometry.rigid as r\nclass B: pass",
    "models/depth/a.py": "from . import base\nfrom ..shared import x",
    "models/shared.py": "x = 1",
    "geometry/__init__.py": "",
    "geometry/rigid.py": "",
}


@pytest.mark.parametrize("changed", sorted(set(TREE) - {"services/unrelated.py"}))
def test_the_fingerprint_covers_all_imports(tmp_path: Path, changed: str) -> None:
    before = _tree(tmp_path / "before", TREE)
    after = _tree(tmp_path / "after", TREE | {changed: TREE[changed] + "\n# changed\n"})
    assert fingerprint("services.stage", before) != fingerprint("services.stage", after)


def test_the_fingerprint_covers_nothing_else(tmp_path: Path) -> None:
    before = _tree(tmp_path / "before", TREE)
    after = _tree(tmp_path / "after", TREE | {"services/unrelated.py": "x = 2"})
    assert fingerprint("services.stage", before) == fingerprint("services.stage", after)


def test_a_stage_runs_once(recorder: Recorder) -> None:
    one = recorder.context().stage(write_sigma, config=Sigma(0.5), inputs={})
    context = recorder.context()
    assert context.stage(write_sigma, config=Sigma(0.5), inputs={}, label="Sigma") == one
    assert context.timings == {"Sigma": 0.0}
    assert (one.path / "sigma.txt").read_text() == "0.5"


def test_artifacts_reach_the_stage_and_strings_only_the_key(recorder: Recorder) -> None:
    context = recorder.context()
    source = context.stage(write_sigma, config=Sigma(0.5), inputs={})
    one = context.stage(read_sigma, config=None, inputs={"source": source, "clip": "01"}, add=1)
    two = context.stage(read_sigma, config=None, inputs={"source": source, "clip": "02"}, add=2)
    assert (one.path / "again.txt").read_text() == "0.51"
    assert (two.path / "again.txt").read_text() == "0.52"


def test_a_salt_computes_anew_and_only_once(recorder: Recorder) -> None:
    recorder.context().stage(write_sigma, config=Sigma(0.5), inputs={})
    timings = []
    for _ in range(2):
        context = recorder.context(salt="jobs/1")
        context.stage(write_sigma, config=Sigma(0.5), inputs={}, label="s")
        timings.append(context.timings["s"])
    assert timings[0] > 0
    assert timings[1] == 0


def test_reports_are_throttled_and_fractions_add_up(recorder: Recorder) -> None:
    context = recorder.context()
    context.stage(write_sigma, config=Sigma(0.5), inputs={}, weight=0.25)
    context.stage(write_sigma, config=Sigma(0.6), inputs={}, weight=0.75)
    progress = recorder.of("progress")
    fractions = [message["fraction"] for message in progress]
    assert len(progress) < 12  # of 2,000 calls
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert {message["stage"] for message in progress} == {"write sigma"}


def test_cancellation_is_noticed_at_the_next_report(recorder: Recorder) -> None:
    calls = iter([False, False, True])
    context = recorder.context(is_cancelled=lambda: next(calls))
    with pytest.raises(Cancelled):
        context.stage(write_sigma, config=Sigma(0.5), inputs={})
    assert not list((recorder.store.root / "staging").iterdir())


def test_delivered_files_name_their_place_in_the_store(recorder: Recorder) -> None:
    context = recorder.context()
    artifact = context.stage(write_sigma, config=Sigma(0.5), inputs={})
    context.deliver(artifact, "depth")
    ((file,),) = (message["files"] for message in recorder.of("files"))
    assert file["path"] == "depth/sigma.txt"
    assert recorder.store.path(file["key"], file["file"]).read_text() == "0.5"
    assert file["sha256"] == hashlib.sha256(b"0.5").hexdigest()
    json.dumps(recorder.messages)


def test_two_different_files_under_one_name_are_refused(recorder: Recorder) -> None:
    context = recorder.context()
    for sigma in (0.5, 0.6):
        artifact = context.stage(write_sigma, config=Sigma(sigma), inputs={})
        if sigma == 0.5:
            context.deliver(artifact)
        else:
            with pytest.raises(ValueError, match=r"two different sigma\.txt"):
                context.deliver(artifact)


def test_used_outputs_survive_a_collection(recorder: Recorder) -> None:
    context = recorder.context()
    artifact = context.stage(write_sigma, config=Sigma(0.5), inputs={})
    assert recorder.store.collect(0).removed == 0
    context.close()
    assert recorder.store.collect(0).removed == 1
    assert not artifact.path.exists()


def test_thumbnails_are_small_and_keep_colour() -> None:
    picture = np.zeros((1080, 1920, 3), np.uint8)
    picture[..., 0] = 220  # red
    decoded = cv2.imdecode(np.frombuffer(thumbnail(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert decoded is not None and decoded.shape == (180, 320, 3)
    assert np.abs(decoded[90, 160].astype(int) - (220, 0, 0)).max() <= 3


def test_a_preview_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="preview"):
        thumbnail(np.zeros((10, 10), np.uint8))


def _chunk(*, out: Path, config: int, report: Report, log: list[tuple[str, int]]) -> None:
    log.append((threading.current_thread().name, config))
    time.sleep(0.05)
    (out / f"{config}").write_text(str(config))


def test_helpers_share_the_chunks_of_a_job(recorder: Recorder, tmp_path: Path) -> None:
    """Three workers over one store, and one alone over another: the same outputs, each made once."""
    log: list[tuple[str, int]] = []
    artifacts: list[Artifact] = []

    def work(helper: int) -> None:
        context = recorder.context(helper=helper)
        chunks = context.chunks(_chunk, configs=range(12), inputs={}, log=log)
        if helper:
            with pytest.raises(HelpDone):
                list(chunks)
        else:
            artifacts.extend(chunks)

    threads = [threading.Thread(target=work, args=(helper,), name=str(helper)) for helper in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(number for _, number in log) == list(range(12))
    assert {name for name, _ in log} == {"0", "1", "2"}
    alone = Recorder(tmp_path / "alone").context().chunks(_chunk, configs=range(12), inputs={}, log=[])
    assert [artifact.digest for artifact in artifacts] == [artifact.digest for artifact in alone]
    assert recorder.of("chunks")[0]["count"] > 1


def test_a_helper_goes_on_where_nothing_is_left_to_do(recorder: Recorder) -> None:
    made = list(recorder.context().chunks(_chunk, configs=range(3), inputs={}, log=[]))
    assert list(recorder.context(helper=1).chunks(_chunk, configs=range(3), inputs={}, log=[])) == made

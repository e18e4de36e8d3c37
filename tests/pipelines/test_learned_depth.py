"""The learned depth stage on a tiny checkpoint, in a scene made so that the checkpoint is right about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from geometry import rigid
from geometry.camera import Camera
from geometry.reconstruct.depth.estimate import DepthFolder
from geometry.scene import SparsePoints
from geometry.trajectory import CameraPath
from models import errors, registry
from models.checkpoints import Checkpoint
from models.depth.align import _sampled
from models.runtime import RuntimeSettings
from services.artifacts.stages import JobContext
from services.artifacts.store import Store
from services.config import ModelsSettings, Settings, load
from services.errors import BacklotError, InvalidRequest, ResourceExhausted, Unsolvable, Unsupported
from services.media.clip import ClipReader, open_clip
from services.pipelines.context import Artifact
from services.pipelines.learned import TABLE, open_checkpoint, service_errors
from services.pipelines.scene_folder import save_cameras
from services.pipelines.stages.learned_depth import LearnedDepthConfig, learned_depth
from tests.models import tiny_checkpoints as tiny

WH, FRAMES = (72, 48), 4
POOR = 2  # this frame sees hardly any points
CONFIG = LearnedDepthConfig(RuntimeSettings(device="cpu"), seed=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny.save("depth_anything", tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipReader]:
    folder = tmp_path_factory.mktemp("clip")
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:04d}.png"), tiny.picture(number, WH[::-1])[..., ::-1])
    with open_clip(folder) as reader:
        yield reader


def true_depth(checkpoint: Checkpoint, clip: ClipReader, frame: int) -> np.ndarray:
    """Depth of which the model's prediction is true, up to the same scale and shift in each frame."""
    p = registry.load(checkpoint, tiny.on_cpu()).predict(clip.display(frame, WH)).inverse_depth
    return 1 / (0.2 + 0.8 * p / 2.0)


@pytest.fixture(scope="module")
def depths(checkpoint: Checkpoint, clip: ClipReader) -> list[np.ndarray]:
    return [true_depth(checkpoint, clip, frame) for frame in range(FRAMES)]


def solved(folder: Path, depths: list[np.ndarray]) -> Artifact:
    """Cameras side by side, with points on each frame's depth that this frame alone has seen."""
    camera = Camera(70, 70, 36, 24, WH)
    path = CameraPath(
        tuple(range(FRAMES)), (camera,) * FRAMES,
        np.stack([rigid.rigid(np.eye(3), np.array([-0.1 * n, 0, 0])) for n in range(FRAMES)]),
    )
    rng = np.random.default_rng(2)
    xyz, seen = [], []
    for frame in range(FRAMES):
        px = rng.uniform(1, np.array(WH) - 1, (5 if frame == POOR else 150, 2))
        local = camera.rays_from_px(px) / _sampled(1 / depths[frame], px)[:, None]
        xyz.append(rigid.transform(rigid.inverse(path.pose(frame)), local))
        seen += [(frame, frame)] * len(px)
    points = np.concatenate(xyz)
    save_cameras(
        folder, path, SparsePoints(points, np.zeros(len(points)), np.full(len(points), 2), np.array(seen)), WH, None, {}
    )
    return Artifact("cameras", folder)


def run(out: Path, clip: ClipReader, cameras: Artifact, checkpoint: Checkpoint) -> list[tuple[int, int]]:
    calls: list[tuple[int, int]] = []
    out.mkdir()
    learned_depth(out=out, config=CONFIG, report=lambda done, total, preview=None: calls.append((done, total)),
                  clip=clip, cameras=cameras, checkpoint=checkpoint)
    return calls


def test_depth_is_true_and_laid_out_as_always(
    tmp_path: Path, clip: ClipReader, checkpoint: Checkpoint, depths: list[np.ndarray]
) -> None:
    (tmp_path / "cameras").mkdir()
    cameras = solved(tmp_path / "cameras", depths)
    calls = run(tmp_path / "depth", clip, cameras, checkpoint)
    assert calls == [(n + 1, 2 * FRAMES) for n in range(2 * FRAMES)]
    assert sorted(p.name for p in (tmp_path / "depth").iterdir()) == [f"{n:06d}.npz" for n in range(FRAMES)]
    for frame, truth in enumerate(depths):
        found = DepthFolder(tmp_path / "depth").read(frame)
        assert found.depth.shape == (WH[1], WH[0]) and found.depth.dtype == np.float32
        error = np.abs(found.depth - truth) / truth
        assert np.median(error) < 0.01, frame  # also of the frame that borrows its neighbour's alignment
        if frame != POOR:
            assert np.median(found.confidence) > 0.9


def test_a_scene_that_it_knows_nothing_about(
    tmp_path: Path, clip: ClipReader, checkpoint: Checkpoint, depths: list[np.ndarray]
) -> None:
    (tmp_path / "cameras").mkdir()
    cameras = solved(tmp_path / "cameras", [1 / depth for depth in depths])
    with pytest.raises(Unsolvable, match="no frame's learned depth could be aligned.*depth_backend: embedded"):
        run(tmp_path / "depth", clip, cameras, checkpoint)


def test_as_a_cached_stage(
    tmp_path: Path, clip: ClipReader, checkpoint: Checkpoint, depths: list[np.ndarray]
) -> None:
    """The weights' digest is in the key: the same weights are a hit, others are not."""
    (tmp_path / "cameras").mkdir()
    cameras = solved(tmp_path / "cameras", depths)
    context = JobContext(Store(str(tmp_path / "store"), 2**30), Settings(), lambda message: None)

    def stage(weights: str) -> Artifact:
        return context.stage(
            learned_depth, config=CONFIG, inputs={"cameras": cameras, "weights": weights, "clip": clip.digest},
            clip=clip, checkpoint=checkpoint,
        )

    first, again, other = (stage(w) for w in (checkpoint.digest, checkpoint.digest, "other"))
    assert first.path == again.path != other.path
    assert first.digest == other.digest  # the same weights give the same bytes
    context.close()


# --- names and errors


def test_the_configuration_names_a_checkpoint(tmp_path: Path) -> None:
    config = load("cpu", [f"models.folder={tmp_path}", "models.runtime.precision=bfloat16"])
    assert config.settings.models.runtime == RuntimeSettings(precision="bfloat16")
    with pytest.raises(Unsupported, match=f"reconstruct.depth_backend: .*{tmp_path}/depth-anything-v2-small"):
        open_checkpoint("depth-anything-v2-small", "depth", "reconstruct.depth_backend", config.models)
    with pytest.raises(Unsupported, match="does not allow commercial work"):
        open_checkpoint("depth-pro", "depth", "reconstruct.depth_backend", config.models)
    allowing = replace(config.models, allow_noncommercial=True)
    with pytest.raises(Unsupported, match=r"depth-pro: no config\.json"):
        open_checkpoint("depth-pro", "depth", "reconstruct.depth_backend", allowing)
    with pytest.raises(InvalidRequest, match="got checkpoint: expected a YAML file or one of .*depth-pro, got 'midas'"):
        open_checkpoint("midas", "depth", "reconstruct.depth_backend", ModelsSettings())


def test_unknown_values_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"cpu\.yaml: models\.runtime\.attention"):
        load("cpu", ["models.runtime.attention=flash"])


@pytest.mark.parametrize(("error", "expected"), [
    (errors.MemoryExhausted("full"), ResourceExhausted),
    (errors.PickleRefused("a pickle"), Unsupported),
    (errors.AlignmentFailed("no agreement"), Unsolvable),
    (errors.BadManifest("no licence"), InvalidRequest),
])
def test_errors_in_the_words_of_the_service(error: errors.ModelError, expected: type[BacklotError]) -> None:
    with pytest.raises(expected, match=error.message), service_errors("reconstruct.depth_backend"):
        raise error


def test_every_model_error_has_a_place() -> None:
    def all_of(cls: type[errors.ModelError]) -> Iterator[type[errors.ModelError]]:
        yield cls
        for child in cls.__subclasses__():
            yield from all_of(child)

    for cls in all_of(errors.ModelError):
        nearest = next(c for c in cls.__mro__ if c in TABLE)
        assert nearest is not errors.ModelError or cls is errors.ModelError, cls.__name__

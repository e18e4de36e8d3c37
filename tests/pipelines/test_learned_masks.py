"""Masks by a learned tracker: the stages around it, on a tiny checkpoint and on a tracker whose answer is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from geometry.reconstruct.motion.masks import Click, MotionFolder
from geometry.scene import FrameSource
from models import registry
from models.base import Prompt, SegmentedFrame
from models.checkpoints import Checkpoint
from models.runtime import RuntimeSettings
from services.media import images
from services.media.clip import ClipReader, open_clip
from services.pipelines.stages.clicked_movers import follow_clicks
from services.pipelines.stages.follow_region import FollowConfig, LearnedFollowConfig, learned_follow
from tests.models import tiny_checkpoints as tiny

WH, FRAMES = (72, 48), 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClipReader]:
    folder = tmp_path_factory.mktemp("clip")
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:04d}.png"), tiny.picture(number, WH[::-1])[..., ::-1])
    with open_clip(folder) as reader:
        yield reader


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny.save("sam2", tmp_path_factory.mktemp("weights"))


@pytest.mark.parametrize("painted", [False, True])
def test_every_frame_gets_the_mask_that_the_model_gives(
    tmp_path: Path, clip: ClipReader, checkpoint: Checkpoint, painted: bool
) -> None:
    mask = np.zeros(WH[::-1], np.float32)
    mask[10:30, 20:50] = 1
    box = (20.0, 10.0, 50.0, 30.0)
    config = LearnedFollowConfig(
        FollowConfig((0, FRAMES - 1), 2, None if painted else box, 0), RuntimeSettings(device="cpu")
    )
    learned_follow(
        out=tmp_path, config=config, report=lambda *_: None, clip=clip, checkpoint=checkpoint,
        mask=mask if painted else None,
    )
    prompt = Prompt(mask=mask) if painted else Prompt(box=box)
    expected = list(registry.load(checkpoint, tiny.on_cpu()).track(clip, 2, [prompt], WH))
    assert sorted(frame.frame for frame in expected) == list(range(FRAMES))
    for frame in expected:
        written = images.read_mask(tmp_path / "masks" / f"{frame.frame:04d}.png")
        np.testing.assert_allclose(written, frame.masks[0] * (frame.presence[0] > 0.5), atol=0.003)


class Known:
    """Says that each thing is a square round its click in every frame, and gone in the last one."""

    def track(
        self, frames: FrameSource, at: int, prompts: Sequence[Prompt], wh: tuple[int, int]
    ) -> Iterator[SegmentedFrame]:
        masks = np.zeros((len(prompts), wh[1], wh[0]), np.float32)
        for mask, prompt in zip(masks, prompts, strict=True):
            assert prompt.clicks is not None
            x, y = prompt.clicks[0].astype(int)
            mask[y - 4 : y + 4, x - 4 : x + 4] = 0.9
        for number in frames.numbers:
            presence = np.full(len(prompts), 0.1 if number == frames.numbers[-1] else 0.9, np.float32)
            yield SegmentedFrame(number, masks, presence)


def test_clicked_things_take_the_place_of_what_was_found_there(tmp_path: Path, clip: ClipReader) -> None:
    folder = MotionFolder(tmp_path)
    found = np.zeros((24, 36), np.uint8)  # half the picture's size
    found[6:13, 6:13] = 1  # most of it will be under the first click's mask
    found[0:24, 30:36] = 2  # a corner of it only
    for number in range(FRAMES):
        folder.write(number, found)
    follow_clicks(folder, Known(), clip, (36, 24), [Click(1, 20.0, 20.0), Click(0, 56.0, 16.0)])
    for number in range(FRAMES - 1):
        labels = folder.read(number)
        assert labels[8, 28] == 3 and labels[8, 26] == 3  # sorted by frame: the click of frame 0 comes first
        assert labels[10, 10] == 4 and (labels == 1).sum() == 0
        assert labels[20, 33] == 2
        assert (labels == 4).sum() == 64
    np.testing.assert_array_equal(folder.read(FRAMES - 1), found)

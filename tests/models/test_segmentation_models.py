"""Learned masks on tiny random checkpoints of the real classes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from models import registry
from models.base import Prompt
from models.pictures import IMAGENET_MEAN, IMAGENET_STD, network_input
from models.segmentation import sam2_video
from tests.models import tiny_checkpoints as tiny

WH = (60, 40)
AT = 8
CLICK = Prompt(clicks=np.array([[10.0, 15.0]]), inside=np.array([True]))
BOX = Prompt(box=(3, 4, 20, 30))
SMALLEST = 1e-5  # random weights hardly listen to prompts, and without a cause nothing changes at all


class TinyClip:
    """Frames 5..14 of noise that moves; ``changed`` frames look different."""

    rate, hw = Fraction(24), (WH[1], WH[0])

    def __init__(self, count: int = 10, changed: tuple[int, ...] = ()) -> None:
        self.numbers, self.changed = range(5, 5 + count), changed

    def read(self, number: int) -> np.ndarray:
        return self.display(number)

    def display(self, number: int, wh: tuple[int, int] | None = None) -> np.ndarray:
        assert wh in (None, WH)
        return np.roll(tiny.picture(99 if number in self.changed else 1, self.hw), number, 1)

    def linear(self, number: int) -> np.ndarray:
        return self.display(number) / np.float32(255)


@pytest.fixture(scope="module", params=["sam2", "sam3"])
def tracker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    return registry.load(tiny.save(request.param, tmp_path_factory.mktemp(request.param)), tiny.on_cpu())


def test_every_frame_once_from_the_prompt_onwards_then_back(tracker) -> None:
    found = list(tracker.track(TinyClip(), AT, [CLICK, BOX], WH))
    assert [frame.frame for frame in found] == [8, 9, 10, 11, 12, 13, 14, 7, 6, 5]
    for frame in found:
        assert frame.masks.shape == (2, 40, 60) and frame.masks.dtype == np.float32
        assert frame.masks.min() >= 0 and frame.masks.max() <= 1 and frame.masks.std() > 0
        assert (frame.presence > 0.9).all()


def test_the_same_again(tracker) -> None:
    first, again = (list(tracker.track(TinyClip(3), 6, [CLICK], WH)) for _ in range(2))
    assert all(np.array_equal(a.masks, b.masks) for a, b in zip(first, again, strict=True))


def test_clicks_boxes_and_masks_each_matter(tracker) -> None:
    """Other clicks, other sides, another box or mask: another first mask."""
    painted = np.zeros((40, 60), np.float32)
    painted[5:25, 10:40] = 1
    both = Prompt(clicks=CLICK.clicks, inside=CLICK.inside, box=BOX.box)
    prompts = [
        CLICK, BOX, both, Prompt(clicks=np.array([[50.0, 35.0]]), inside=CLICK.inside),
        Prompt(clicks=CLICK.clicks, inside=np.array([False])), Prompt(box=(30, 4, 50, 30)), Prompt(mask=painted),
    ]
    masks = [next(tracker.track(TinyClip(), AT, [prompt], WH)).masks[0] for prompt in prompts]
    for index, mask in enumerate(masks):
        assert all(np.abs(mask - other).max() > SMALLEST for other in masks[:index])


def test_a_painted_mask_comes_back_in_its_own_frame(tracker) -> None:
    painted = np.zeros((40, 60), np.float32)
    painted[5:25, 10:40] = 1
    mask = next(tracker.track(TinyClip(), AT, [Prompt(mask=painted)], WH)).masks[0]
    assert ((mask > 0.5) == (painted > 0.5)).mean() > 0.93


def test_the_past_reaches_the_present(tracker) -> None:
    """Frame 10 looks the same in both clips; the frame before it does not."""
    before, after = (
        {f.frame: f.masks for f in tracker.track(TinyClip(changed=changed), AT, [CLICK], WH)} for changed in ((), (9,))
    )
    assert np.array_equal(before[8], after[8])
    assert np.abs(before[10] - after[10]).max() > SMALLEST


def test_a_click_lands_where_the_pixel_is(tmp_path: Path) -> None:
    """The centre of the picture is the centre of the network's raster; the model adds half a pixel itself."""
    tracker = registry.load(tiny.save("sam2", tmp_path), tiny.on_cpu())
    points = tracker._points(Prompt(clicks=np.array([[30.0, 20.0]]), inside=np.array([True]), box=(0, 0, 60, 40)), WH)
    assert points["point_coords"].tolist() == [[[[-0.5, -0.5], [63.5, 63.5], [31.5, 31.5]]]]
    assert points["point_labels"].tolist() == [[[2, 3, 1]]]


def test_forgetting_changes_nothing(tmp_path: Path) -> None:
    """Streamed and pruned, against the library's own session that keeps the whole clip."""
    from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

    tracker = registry.load(tiny.save("sam2", tmp_path), tiny.on_cpu())
    clip = TinyClip()
    pixels = [network_input(clip.display(n), (64, 64), IMAGENET_MEAN, IMAGENET_STD) for n in clip.numbers]
    session = Sam2VideoInferenceSession(torch.from_numpy(np.stack(pixels)), *WH[::-1], dtype=torch.float32)
    session.obj_id_to_idx(0)
    session.add_point_inputs(0, 0, tracker._points(CLICK, WH))
    session.obj_with_new_inputs = [0]
    whole = [out.pred_masks for out in tracker._model.propagate_in_video_iterator(session, start_frame_idx=0)]
    streamed = list(tracker.track(clip, 5, [CLICK], WH))
    for kept, frame in zip(whole, streamed, strict=True):
        large = torch.nn.functional.interpolate(kept.float(), size=WH[::-1], mode="bilinear", antialias=True)
        np.testing.assert_allclose(frame.masks, torch.sigmoid(large[0]).numpy(), atol=2e-5)


def test_memory_does_not_grow(tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    forget = sam2_video._forget

    def counting(session, keep) -> None:
        forget(session, keep)
        assert not session.processed_frames
        kept.append(sum(len(results["non_cond_frame_outputs"]) for results in session.output_dict_per_obj.values()))

    monkeypatch.setattr(sam2_video, "_forget", counting)
    list(tracker.track(TinyClip(20), 5, [CLICK], WH))
    assert max(kept) <= 5  # the model's memory reaches 4 frames back


def test_prompts_in_no_frame_of_the_clip(tracker) -> None:
    with pytest.raises(ValueError, match="got 1 in frame 99"):
        next(tracker.track(TinyClip(), 99, [CLICK], WH))
    with pytest.raises(ValueError, match="got 0 in frame 8"):
        next(tracker.track(TinyClip(), AT, [], WH))


@pytest.mark.parametrize("values", [
    {}, {"clicks": np.zeros((1, 2))}, {"box": (5, 5, 5, 9)}, {"box": (0, 0, 1, 1), "mask": np.zeros((4, 4))},
    {"clicks": np.zeros((2, 2)), "inside": np.array([True])},
])
def test_prompts_that_mean_nothing(values: dict) -> None:
    with pytest.raises(ValueError):
        Prompt(**values)


def test_the_tracker_in_a_checkpoint_of_the_whole_of_sam3(tmp_path: Path) -> None:
    whole = tiny.whole_sam3()
    whole.save_pretrained(tmp_path / "whole")
    checkpoint = tiny.save("sam3", tmp_path / "tracker")
    model = registry.load(type(checkpoint)(checkpoint.manifest, tmp_path / "whole"), tiny.on_cpu())._model
    theirs, ours = whole.state_dict(), model.state_dict()
    for name in ("memory_encoder.projection.weight", "mask_decoder.conv_s0.weight"):
        assert torch.equal(ours[name], theirs[f"tracker_model.{name}"])
    neck = "fpn_layers.0.scale_layers.0.weight"
    assert torch.equal(ours[f"vision_encoder.neck.{neck}"], theirs[f"tracker_neck.{neck}"])


def test_sam_masks_of_one_picture(tmp_path: Path) -> None:
    model = registry.load(tiny.save("sam", tmp_path), tiny.on_cpu())
    both = Prompt(clicks=CLICK.clicks, inside=CLICK.inside, box=BOX.box)
    masks = model.segment(tiny.picture(1), [CLICK, BOX, both])
    assert masks.shape == (3, 45, 70) and masks.dtype == np.float32
    assert np.abs(masks[0] - masks[1]).max() > SMALLEST and np.abs(masks[2] - masks[1]).max() > SMALLEST
    assert np.array_equal(masks, model.segment(tiny.picture(1), [CLICK, BOX, both]))
    assert np.abs(masks - model.segment(tiny.picture(2), [CLICK, BOX, both])).max() > SMALLEST
    with pytest.raises(ValueError, match="got a mask"):
        model.segment(tiny.picture(1), [Prompt(mask=np.zeros((45, 70)))])

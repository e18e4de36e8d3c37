"""SAM 2 and 2.1 (Ravi et al. 2024), and SAM 3's tracker, through transformers: masks followed through a clip.

Frames are streamed: of the past, the session keeps only what the model's memory can reach, so that memory does not
grow with the clip. transformers' own processor needs torchvision; its resizing and its coordinates are done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from geometry.scene import FrameSource
from models.base import Prompt, SegmentedFrame
from models.checkpoints import Checkpoint
from models.loading import load_transformers
from models.pictures import HALF, IMAGENET_MEAN, IMAGENET_STD, as_array, network_input, resized
from models.runtime import Runtime

Array = np.ndarray

OUTSIDE, INSIDE, BOX_START, BOX_END = 0, 1, 2, 3  # labels of points, as the models were trained


class Sam2Video:
    """A ``VideoSegmenter``."""

    model_class = "Sam2VideoModel"
    model_types: tuple[str, ...] = ("sam2_video",)
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, model: Any, runtime: Runtime) -> None:
        self._model, self._runtime = model, runtime
        self._side: int = model.config.prompt_encoder_config.image_size
        self._reach: int = max(model.config.num_maskmem, model.config.max_object_pointers_in_encoder)

    @classmethod
    def load(cls, checkpoint: Checkpoint, runtime: Runtime) -> Sam2Video:
        return cls(load_transformers(cls.model_class, cls.model_types, checkpoint, runtime), runtime)

    def track(
        self, frames: FrameSource, at: int, prompts: Sequence[Prompt], wh: tuple[int, int]
    ) -> Iterator[SegmentedFrame]:
        """See ``VideoSegmenter``. Raises ``ValueError`` for no prompt, or a frame that the clip does not have."""
        if at not in frames.numbers or not prompts:
            raise ValueError(f"prompts: expected some, in a frame of the clip, got {len(prompts)} in frame {at}")
        start = frames.numbers.index(at)
        session = self._session(start, prompts, wh)
        for index in range(start, len(frames.numbers)):
            yield self._step(session, frames, index, wh, reverse=False)
        _forget(session, keep=range(0))
        for index in range(start - 1, -1, -1):
            yield self._step(session, frames, index, wh, reverse=True)

    def _session(self, start: int, prompts: Sequence[Prompt], wh: tuple[int, int]) -> Any:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        device = self._runtime.device
        session = Sam2VideoInferenceSession(
            video_height=wh[1], video_width=wh[0], inference_device=device, inference_state_device=device,
            video_storage_device=device, dtype=self._runtime.dtype,
        )
        for thing, prompt in enumerate(prompts):
            session.obj_id_to_idx(thing)
            if prompt.mask is not None:
                mask = resized(prompt.mask[None], (self._side, self._side)) >= 0.5
                session.add_mask_inputs(thing, start, self._runtime.tensor(mask[None]))
            else:
                session.add_point_inputs(thing, start, self._points(prompt, wh))
        session.obj_with_new_inputs = list(range(len(prompts)))
        return session

    def _points(self, prompt: Prompt, wh: tuple[int, int]) -> dict[str, Any]:
        """Clicks and box corners on the network's raster; the model itself adds the half pixel to a centre."""
        import torch

        px, labels = np.zeros((0, 2)), np.zeros(0)
        if prompt.box is not None:
            px, labels = np.array(prompt.box, float).reshape(2, 2), np.array([BOX_START, BOX_END])
        if prompt.clicks is not None and prompt.inside is not None:
            px = np.concatenate([px, prompt.clicks])
            labels = np.concatenate([labels, np.where(prompt.inside, INSIDE, OUTSIDE)])
        coordinates = px * (self._side / np.array(wh)) - 0.5
        return {
            "point_coords": torch.from_numpy(coordinates[None, None].astype(np.float32)),
            "point_labels": torch.from_numpy(labels[None, None].astype(np.int32)),
        }

    def _step(
        self, session: Any, frames: FrameSource, index: int, wh: tuple[int, int], reverse: bool
    ) -> SegmentedFrame:
        import torch

        number = frames.numbers[index]
        picture = frames.display(number, wh)
        with self._runtime.inference():
            pixels = network_input(picture, (self._side, self._side), self.mean, self.std)
            found = self._model(session, frame=self._runtime.tensor(pixels[None]), frame_idx=index, reverse=reverse)
            logits = resized(as_array(found.pred_masks[:, 0]), (wh[1], wh[0]))
            masks = torch.sigmoid(torch.from_numpy(logits)).numpy()
            presence = as_array(torch.sigmoid(found.object_score_logits)).reshape(-1)
        _forget(session, keep=range(index - self._reach, index + self._reach + 1))
        return SegmentedFrame(number, masks, presence)


class Sam3Video(Sam2Video):
    """SAM 3's tracker: the same memory behind another backbone; checkpoints of the whole of SAM 3 hold it, too."""

    model_class = "Sam3TrackerVideoModel"
    model_types = ("sam3_tracker_video", "sam3_video")
    mean, std = HALF, HALF


def _forget(session: Any, keep: range) -> None:
    """Drop pictures, and results of frames outside ``keep``; what the user showed stays."""
    session.processed_frames.clear()
    for results in session.output_dict_per_obj.values():
        kept = {index: found for index, found in results["non_cond_frame_outputs"].items() if index in keep}
        results["non_cond_frame_outputs"] = kept
        for found in (*results["cond_frame_outputs"].values(), *kept.values()):
            found.pop("high_res_masks", None)
    for tracked in session.frames_tracked_per_obj.values():
        tracked.clear()

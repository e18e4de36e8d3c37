"""What each kind of learned backend takes and gives. Pictures are (H, W, 3) uint8 sRGB; pixels count from the corner.

A backend is a class with ``load(checkpoint, runtime)``; ``models.registry`` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from geometry.scene import FrameSource, GBuffer
from geometry.shapes import expect_shape

if TYPE_CHECKING:
    from geometry.guides import GuideSource

Array = np.ndarray


@dataclass(frozen=True)
class DepthPrediction:
    """``inverse_depth`` (H, W) float32: in 1/m where ``metric``, else true inverse depth up to a scale and a shift."""

    inverse_depth: Array
    metric: bool
    focal_px: float | None = None  # on the picture's raster, where the model tells it

    def __post_init__(self) -> None:
        expect_shape("inverse_depth", self.inverse_depth, (None, None))


class DepthModel(Protocol):
    def predict(self, picture: Array) -> DepthPrediction:
        """Depth of one picture, on its raster."""
        ...


@dataclass(frozen=True)
class Prompt:
    """What is meant, shown in one picture: clicks, a box, both, or a painted mask alone.

    ``clicks`` (N, 2) px, ``inside`` (N,) bool: on the thing, or on what does not belong to it. ``box`` is (x0, y0, x1,
    y1) px; ``mask`` (H, W) float32 in [0, 1]. Raises ``ValueError`` for any other combination.
    """

    clicks: Array | None = None
    inside: Array | None = None
    box: tuple[float, float, float, float] | None = None
    mask: Array | None = None

    def __post_init__(self) -> None:
        if (self.mask is None) == (self.clicks is None and self.box is None):
            raise ValueError("prompt: expected clicks, a box or both, or else a mask")
        if (self.clicks is None) != (self.inside is None):
            raise ValueError("prompt: expected clicks together with inside")
        if self.clicks is not None and self.inside is not None:
            expect_shape("clicks", self.clicks, (None, 2))
            expect_shape("inside", self.inside, (len(self.clicks),))
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError(f"box: expected x0 < x1 and y0 < y1, got {self.box}")
        if self.mask is not None:
            expect_shape("mask", self.mask, (None, None))


@dataclass(frozen=True)
class SegmentedFrame:
    """One frame's masks of K things: ``masks`` (K, H, W) and ``presence`` (K,), float32 in [0, 1]."""

    frame: int
    masks: Array
    presence: Array  # how sure the model is that the thing is in the picture at all

    def __post_init__(self) -> None:
        expect_shape("masks", self.masks, (None, None, None))
        expect_shape("presence", self.presence, (len(self.masks),))


class VideoSegmenter(Protocol):
    def track(
        self, frames: FrameSource, at: int, prompts: Sequence[Prompt], wh: tuple[int, int]
    ) -> Iterator[SegmentedFrame]:
        """Follow what ``prompts`` show in frame ``at``, through all of ``frames`` on a raster of ``wh`` px.

        Yields every frame once: ``at`` and on to the end, then from before ``at`` back to the first. Memory does not
        grow with the clip.
        """
        ...


class PictureSegmenter(Protocol):
    def segment(self, picture: Array, prompts: Sequence[Prompt]) -> Array:
        """(K, H, W) float32 masks in [0, 1], one per prompt of clicks or a box."""
        ...


@dataclass(frozen=True)
class WarpedAnchor:
    """An anchor that exists, carried into another view by exact correspondence."""

    picture: Array  # (H, W, 3) uint8; anything where it is not known
    known: Array  # (H, W) float32 in [0, 1]: 1 = that anchor sees it, 0 = it does not

    def __post_init__(self) -> None:
        expect_shape("picture", self.picture, (None, None, 3))
        expect_shape("known", self.known, self.picture.shape[:2])


@dataclass(frozen=True)
class View:
    """What geometry says of one frame that is to be painted."""

    soft_edges: Array  # (H, W) float32 in [0, 1], 1 = an edge, as HED draws them
    ids: Array | None = None  # (H, W) int32 object ids, 0 = nothing there
    warped: WarpedAnchor | None = None
    gbuffer: GBuffer | None = None  # its object ids are ``ids``
    albedo_id: Array | None = None  # (H, W) int32, one number a material, 0 = nothing there

    def __post_init__(self) -> None:
        expect_shape("soft_edges", self.soft_edges, (None, None))
        if self.ids is not None:
            expect_shape("ids", self.ids, self.soft_edges.shape)
        if self.gbuffer is not None:
            expect_shape("gbuffer.depth", self.gbuffer.depth, self.soft_edges.shape)
        if self.albedo_id is not None:
            expect_shape("albedo_id", self.albedo_id, self.soft_edges.shape)
        if self.warped is not None:
            expect_shape("warped.known", self.warped.known, self.soft_edges.shape)


@dataclass(frozen=True)
class Style:
    """What the view shall look like. ``adapter`` is a folder that ``models.training.style_lora`` wrote."""

    reference: Array  # (H, W, 3) uint8
    prompt: str = ""
    adapter: Path | None = None
    regions: Mapping[int, tuple[float, float, float, float]] = field(default_factory=dict)  # object id -> box, px
    aligned: View | None = None  # the view that the reference was painted over; None: a picture of the style alone

    def __post_init__(self) -> None:
        expect_shape("reference", self.reference, (None, None, 3))


@dataclass(frozen=True)
class PaintedView:
    picture: Array  # (H, W, 3) uint8

    def __post_init__(self) -> None:
        expect_shape("picture", self.picture, (None, None, 3))


class AnchorModel(Protocol):
    def paint(self, view: View, style: Style, seed: Sequence[int]) -> PaintedView:
        """One frame in the style, on the raster of ``view``. All anchors of a shot take the same ``seed``.

        Raises ``InputRefused`` for what this model cannot do.
        """
        ...


@dataclass(frozen=True)
class Arc:
    """T frames between two anchors, which are the first and the last of them."""

    first: Array  # (H, W, 3) uint8
    last: Array
    soft_edges: Array  # (T, H, W) float32 in [0, 1]
    depth: Array | None = None  # (T, H, W) float32 z-depth, 0 = nothing there
    noise: Array | None = None  # (T, C, h, w) float32 of ``noise_chw``: white in each frame, carried along the flow
    prompt: str = ""
    shot: GuideSource | None = None  # the geometry of ``frames``, and of those of ``others``, on the anchors' raster
    frames: tuple[int, ...] = ()  # (T,) ascending
    others: Mapping[int, Array] = field(default_factory=dict)  # further pictures of the shot, by frame

    def __post_init__(self) -> None:
        expect_shape("soft_edges", self.soft_edges, (None, None, None))
        frames, height, width = self.soft_edges.shape
        expect_shape("first", self.first, (height, width, 3))
        expect_shape("last", self.last, (height, width, 3))
        if self.depth is not None:
            expect_shape("depth", self.depth, (frames, height, width))
        if self.noise is not None:
            expect_shape("noise", self.noise, (frames, None, None, None))
        if self.shot is not None and len(self.frames) != frames:
            raise ValueError(f"frames: expected {frames}, as soft_edges has, got {len(self.frames)}")
        for frame, picture in self.others.items():
            expect_shape(f"others[{frame}]", picture, (height, width, 3))


@dataclass(frozen=True)
class Clip:
    frames: Array  # (T, H, W, 3) uint8

    def __post_init__(self) -> None:
        expect_shape("frames", self.frames, (None, None, None, 3))


class InbetweenModel(Protocol):
    def check(self, frames: int, hw: tuple[int, int]) -> None:
        """Raises ``InputRefused`` that says which lengths and sizes this model takes."""
        ...

    def noise_chw(self, hw: tuple[int, int]) -> tuple[int, int, int]:
        """Channels, rows and columns of ``Arc.noise`` for pictures of ``hw``; no channels = it takes no noise."""
        ...

    def generate(self, arc: Arc, seed: Sequence[int]) -> Clip:
        """All T frames. The model's own first and last ones come near the anchors, not exactly onto them.

        Raises ``InputRefused``, see ``check``.
        """
        ...


class Inpainter(Protocol):
    def fill(self, picture: Array, mask: Array, prompt: str, seed: Sequence[int]) -> Array:
        """``picture`` (H, W, 3) uint8 with what ``mask`` (H, W) bool marks painted anew; all other bytes are the same.

        Raises ``InputRefused`` where nothing, or everything, is marked.
        """
        ...


class Generator(Protocol):
    def generate(
        self, prompt: str, *, negative: str = "", wh: tuple[int, int], controls: Mapping[str, Array] = ...,
        concepts: Mapping[str, Path] = ..., seed: Sequence[int],
    ) -> Array:
        """(H, W, 3) uint8 of ``wh`` px. ``controls``: (H, W, 3) uint8 pictures by kind (depth, edges, soft_edges,
        sketch, normal, segments, pose). ``concepts``: files of learned words, by the word for each in the prompt.

        Raises ``InputRefused`` for conditions that this checkpoint does not know, ``CheckpointRefused`` for a concept
        that is not for it.
        """
        ...


class LayerSeparator(Protocol):
    def separate(self, picture: Array, layers: int, prompt: str, seed: Sequence[int]) -> list[Array]:
        """``layers`` pictures (H, W, 4) uint8, straight alpha, from the farthest to the nearest.

        Raises ``InputRefused``.
        """
        ...

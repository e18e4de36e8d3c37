"""Water and cloud that flow for ever: a still layer and a motion field make a loop without a seam.

The field does not change with time (Eulerian motion; Holynski et al. 2021), so that the flow has an inverse, the flow
of the reversed field: instead of splatting the picture along the flow and filling holes, every pixel fetches the texel
that reaches it after t frames, ``B_t(x)`` (integrated with -M), and the one it is to become N - t frames later,
``F_(N-t)(x)``. There are no holes, and at t = 0 and t = N the picture is the source.

What is mixed of the two changes from one to the other over the loop. Two things keep it from looking like two pictures
on one another: it changes at another time in every patch (the patches drift along), and in each band of a Laplacian
pyramid the mixture is brought back to the variance that its parts have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from geometry.layers import Layer
from geometry.masks import one_thread
from geometry.plates import fluid_kernels
from geometry.scene import FrameSource
from geometry.shapes import expect_shape

Array = np.ndarray
PERIOD = 60
SIGMA_SHARE = 0.2  # of the picture's height: how far a hint reaches
SHORE_SHARE = 0.012  # of the picture's height: how far from its bank water is slowed
FIELD_PX = 480  # longer side of the raster on which paths are integrated
LONGEST_CYCLE, LONGEST_WAY = 60, 0.15  # frames, and share of the diagonal, from one mixture to the next
PATCH_SHARE = 0.05  # of the picture's height
SPREAD, WIDTH = 0.3, 0.4  # of a cycle: when patches change, and how long each takes
BANDS, ROOM_PX = 7, 32  # of the pyramid, and what is kept round what moves
MOST_GAIN = 1.6
FAINT, ENERGY_PX = 1e-7, 9  # variance below which nothing is amplified; window in which it is measured
REST, FADE = 0.02, 4.0  # share that the worse picture keeps, and frames in which it gets it
FLOW_PX, FLOW_PAIRS = 640, 16


@dataclass(frozen=True)
class Hint:
    """An arrow: what is at (x0, y0) is at (x1, y1) after ``frames``; px of the layer."""

    x0: float
    y0: float
    x1: float
    y1: float
    frames: float = 24.0

    @property
    def velocity(self) -> Array:
        """(2,) px a frame."""
        return np.array([self.x1 - self.x0, self.y1 - self.y0]) / self.frames


def motion_field(mask: Array, hints: Sequence[Hint], inverse_depth: Array | None = None) -> Array:
    """(h, w, 2) float32 px a frame inside ``mask`` (h, w), bool or [0, 1]; exactly 0 outside.

    ``M(x) = mask * sum(w_i v_i) / sum(w_i)`` with ``w_i = exp(-|x - p_i|^2 / sigma^2)``. With ``inverse_depth`` (h, w)
    what is twice as far moves half as fast. Raises ``ValueError`` for no hints, an empty mask, or a hint that does not
    start in it.
    """
    h, w = mask.shape
    if not hints:
        raise ValueError("hints: expected at least one arrow, got none")
    if not (mask > 0).any():
        raise ValueError("mask: expected something to flow, got an empty mask")
    if inverse_depth is not None:
        expect_shape("inverse_depth", inverse_depth, (h, w))
    y, x = np.mgrid[:h, :w].astype(np.float32) + 0.5
    total, weights = np.zeros((h, w, 2), np.float32), np.zeros((h, w), np.float32)
    for hint in hints:
        column, row = int(hint.x0), int(hint.y0)
        if not (0 <= column < w and 0 <= row < h and mask[row, column] > 0):
            raise ValueError(f"hint ({hint.x0:g}, {hint.y0:g}): expected to start inside the mask")
        velocity = hint.velocity.astype(np.float32)
        distance = ((x - hint.x0) ** 2 + (y - hint.y0) ** 2) / (SIGMA_SHARE * h) ** 2
        weight = np.exp(-np.minimum(distance, 60)).astype(np.float32)  # far from all hints the nearest still counts
        slowed = 1 if inverse_depth is None else (inverse_depth / inverse_depth[row, column]).astype(np.float32)
        total += (weight * slowed)[..., None] * velocity
        weights += weight
    return total / weights[..., None] * _from_the_bank(mask, h)[..., None]


def _from_the_bank(mask: Array, height: int) -> Array:
    """(h, w) float32 0 outside the mask, 1 further in than a share of the picture's ``height``, whose border is no
    bank."""
    inside = np.pad((mask > 0).astype(np.uint8), 1, mode="edge")
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    share = np.clip(distance / max(SHORE_SHARE * height, 1.5), 0, 1)
    return (share * share * (3 - 2 * share) * mask).astype(np.float32)


def motion_of_video(video: FrameSource, mask: Array | None = None) -> Array:
    """(h, w, 2) float32 px a frame: the mean optical flow of a clip, inside ``mask`` (h, w) if there is one.

    A clip's own motion for a still of the same water (SLR-SFS, Fan et al. 2023). Raises ``ValueError`` for a clip of
    one frame.
    """
    numbers = list(video.numbers)
    if len(numbers) < 2:
        raise ValueError(f"video: expected at least 2 frames, got {len(numbers)}")
    h, w = video.hw
    scale = min(1.0, FLOW_PX / max(h, w))
    wh = round(w * scale), round(h * scale)
    pairs = np.unique(np.linspace(0, len(numbers) - 2, FLOW_PAIRS).astype(int))
    total = np.zeros((wh[1], wh[0], 2), np.float64)
    with one_thread():
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        for i in pairs:
            a, b = (cv2.cvtColor(video.display(numbers[k], wh), cv2.COLOR_RGB2GRAY) for k in (i, i + 1))
            total += dis.calc(a, b, np.zeros((*a.shape, 2), np.float32)) / (numbers[i + 1] - numbers[i])
    mean = (total / len(pairs)).astype(np.float32)
    field = cv2.resize(mean, (w, h), interpolation=cv2.INTER_LINEAR) * np.array([w / wh[0], h / wh[1]], np.float32)
    return field if mask is None else field * _from_the_bank(mask, h)[..., None]


class Flowing:
    """The colour of a layer whose ``motion`` (h, w, 2) px a frame goes on for ever, the same after ``period`` frames.

    Where the motion is 0 the colour is the source's to the bit, and so is the whole picture at frame 0. A long period
    is made of several equal cycles, so that nothing travels too far from where it was painted. Raises ``ValueError``
    for shapes that do not fit or a period below 2.
    """

    def __init__(self, colour: Array, alpha: Array, motion: Array, period: int = PERIOD) -> None:
        expect_shape("colour", colour, (None, None, 3))
        expect_shape("alpha", alpha, colour.shape[:2])
        expect_shape("motion", motion, (*colour.shape[:2], 2))
        if period < 2:
            raise ValueError(f"period: expected at least 2 frames, got {period}")
        self._colour, self._alpha, self._motion, self.period = colour, alpha, motion, period
        self._moves = (motion != 0).any(-1)
        speed = np.linalg.norm(motion, axis=-1)[self._moves]
        way = period * float(np.percentile(speed, 95)) if speed.size else 0.0
        longest = LONGEST_WAY * float(np.hypot(*alpha.shape))
        self.cycle = period / max(int(np.ceil(period / LONGEST_CYCLE)), int(np.ceil(way / longest)), 1)

    @classmethod
    def of(cls, layer: Layer, period: int = PERIOD) -> Flowing:
        """Raises ``ValueError`` for a layer without motion."""
        if layer.motion is None:
            raise ValueError(f"layer {layer.name!r}: expected a motion field, got none")
        return cls(layer.colour, layer.alpha, layer.motion, period)

    def frame(self, time: float) -> Array:
        """(h, w, 3) of the colour's type, at any time in frames."""
        age = time % self.cycle
        if min(age, self.cycle - age) < 1e-6 or not self._moves.any():
            return self._colour
        past, future = _between(self._before, age), _between(self._after, self.cycle - age)
        old, old_weight = self._fetched(past)
        new, new_weight = self._fetched(future)
        keep = 1 - _smoothstep((age / self.cycle - 0.5 + SPREAD * self._drifted(past)) / WIDTH + 0.5)
        # Never quite all of one: where that one is not to be trusted, by a bank, the other takes its place.
        rest = REST * min(1, age / FADE, (self.cycle - age) / FADE)
        keep = np.clip(keep, rest, 1 - rest)
        old_weight *= keep
        new_weight *= 1 - keep
        mixed = _mixed(old, new, old_weight / np.maximum(old_weight + new_weight, 1e-9))
        return self._finished(self._own + self._flows[..., None] * (mixed - self._own))

    def _fetched(self, displacement: Array) -> tuple[Array, Array]:
        """Colours (h, w, 3) of the box, and how far to trust each: less, the more a texel is stretched."""
        dx_x, dx_y = np.gradient(displacement[..., 0], axis=(1, 0))
        dy_x, dy_y = np.gradient(displacement[..., 1], axis=(1, 0))
        area = (1 + dx_x) * (1 + dy_y) - dx_y * dy_x
        trust = np.clip(area, 0, 1).astype(np.float32) ** 4
        return fluid_kernels.fetched(self._own, self._flows, displacement, trust, self._step)

    def _drifted(self, past: Array) -> Array:
        """(h, w) float32 in [-1, 1] how late each pixel of the box changes: a pattern that the flow carries along."""
        h, w = past.shape[:2]
        y, x = np.mgrid[:h, :w].astype(np.float32)
        x, y = x + past[..., 0], y + past[..., 1]
        late = cv2.remap(self._late, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        rows, columns = self._flows.shape
        return cv2.resize(late, (w * self._step, h * self._step), interpolation=cv2.INTER_LINEAR)[:rows, :columns]

    def _finished(self, mixed: Array) -> Array:
        """What moves, in code values, on the source."""
        out = self._colour.copy()
        if out.dtype != np.float32:
            white = np.iinfo(out.dtype).max
            mixed = np.clip(mixed * white + 0.5, 0, white).astype(out.dtype)
        moves = self._moves[self._box]
        out[self._box][moves] = mixed[moves]
        return out

    # --- what does not change

    @cached_property
    def _box(self) -> tuple[slice, slice]:
        """Round what moves, with room for the pyramid's filters."""
        x, y, w, h = cv2.boundingRect(self._moves.astype(np.uint8))
        return slice(max(y - ROOM_PX, 0), y + h + ROOM_PX), slice(max(x - ROOM_PX, 0), x + w + ROOM_PX)

    @cached_property
    def _own(self) -> Array:
        """(h, w, 3) float32 in [0, 1]."""
        white = 1.0 if self._colour.dtype == np.float32 else np.iinfo(self._colour.dtype).max
        return self._colour[self._box].astype(np.float32) / np.float32(white)

    @cached_property
    def _flows(self) -> Array:
        """(h, w) float32: 0 where it stands still or is clear, 1 some way from there."""
        return _from_the_bank((self._moves & (self._alpha > 0))[self._box], self._colour.shape[0])

    @cached_property
    def _step(self) -> int:
        """Pixels of the layer to one of the raster on which paths are integrated."""
        return -(-max(self._flows.shape) // FIELD_PX)

    @cached_property
    def _field(self) -> Array:
        """Motion on that raster, in its pixels."""
        step, motion = self._step, np.ascontiguousarray(self._motion[self._box], np.float32)
        h, w = motion.shape[:2]
        padded = np.pad(motion, ((0, -h % step), (0, -w % step), (0, 0)), mode="edge")
        wh = padded.shape[1] // step, padded.shape[0] // step
        return cv2.resize(padded, wh, interpolation=cv2.INTER_AREA).reshape(*wh[::-1], 2) / np.float32(step)

    @cached_property
    def _before(self) -> Array:
        return fluid_kernels.integrated(self._field, int(np.ceil(self.cycle)) + 1, -1.0)

    @cached_property
    def _after(self) -> Array:
        return fluid_kernels.integrated(self._field, int(np.ceil(self.cycle)) + 1, 1.0)

    @cached_property
    def _late(self) -> Array:
        """Smooth noise in [-1, 1], on the raster of the field."""
        h, w = self._field.shape[:2]
        cell = max(PATCH_SHARE * self._colour.shape[0] / self._step, 2.0)
        noise = np.random.default_rng([0, h, w]).standard_normal((int(h / cell) + 3, int(w / cell) + 3))
        smooth = cv2.resize(noise.astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        rank = np.argsort(np.argsort(smooth, axis=None, kind="stable"), kind="stable")
        return (2 * rank.reshape(h, w) / max(rank.size - 1, 1) - 1).astype(np.float32)  # as many early as late


def _between(table: Array, age: float) -> Array:
    """(h, w, 2) displacement after ``age`` frames."""
    k = int(age)
    share = np.float32(age - k)
    return table[k] * (1 - share) + table[k + 1] * share


def _mixed(old: Array, new: Array, keep: Array) -> Array:
    """(h, w, 3) ``keep`` (h, w) of ``old`` and the rest of ``new``, band by band (Burt and Adelson 1983).

    Two pictures that have nothing to do with each other lose contrast when they are mixed, as much as
    ``keep^2 + (1 - keep)^2`` of their variance. Each band gets back the local variance of its parts.
    """
    bands = []
    for _ in range(BANDS):
        if min(keep.shape) < 4:
            break
        halves = [cv2.pyrDown(picture) for picture in (old, new, keep)]
        wh = keep.shape[1], keep.shape[0]
        fine = [picture - cv2.pyrUp(half, dstsize=wh) for picture, half in ((old, halves[0]), (new, halves[1]))]
        share = keep[..., None]
        mixture = fine[1] + share * (fine[0] - fine[1])
        wanted = _spread(keep * (fine[0] ** 2).sum(-1) + (1 - keep) * (fine[1] ** 2).sum(-1))
        gain = np.sqrt((wanted + FAINT) / (_spread((mixture**2).sum(-1)) + FAINT))
        bands.append(mixture * np.clip(gain, 1, MOST_GAIN)[..., None])
        old, new, keep = halves
    out = new + keep[..., None] * (old - new)
    for band in reversed(bands):
        out = band + cv2.pyrUp(out, dstsize=band.shape[1::-1])
    return out


def _spread(energy: Array) -> Array:
    return cv2.blur(energy, (ENERGY_PX, ENERGY_PX))


def _smoothstep(x: Array) -> Array:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)

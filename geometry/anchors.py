"""Anchors of a shot: the frames that are painted, and what one that is painted says about another view.

An anchor is worth the surface that it shows: of every visible surface, seen at a good angle and as finely as the shot
needs it. Choosing the fewest that show everything is set cover; taking the best one again and again comes within
1 - 1/e of the most that as many can show (Nemhauser, Wolsey and Fisher 1978).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geometry.coverage import Coverage
from geometry.guides import GuideSource
from geometry.shapes import expect_shape
from geometry.survey import Survey
from geometry.warp import RIM_PX, Painted, hidden_px, merged

Array = np.ndarray
CANDIDATES = 72  # of longer shots this many frames, evenly spread, stand for all
GOOD = 0.5  # quality that is good enough
LEAST_GAIN = 0.01  # of all that the shot shows: an anchor that adds less is not worth painting
CARRIED = 8  # anchors at most that are carried into a view: those that show most of it


@dataclass(frozen=True)
class Selection:
    """Anchor ``frames``, ascending. Shares are of the visible surface, by screen area, in all ``looked_at`` frames."""

    frames: tuple[int, ...]
    looked_at: tuple[int, ...]
    seen: Array  # (looked at,) float in [0, 1]: share of each frame that some anchor sees
    seen_well: Array  # (looked at,): that some anchor sees at a good angle and density

    def __post_init__(self) -> None:
        expect_shape("seen", self.seen, (len(self.looked_at),))
        expect_shape("seen_well", self.seen_well, (len(self.looked_at),))

    def worst(self, count: int = 1) -> tuple[int, ...]:
        """The frames of which most is not seen, worst first: where one more anchor would help most."""
        order = np.lexsort((np.array(self.looked_at), self.seen_well, self.seen))
        return tuple(self.looked_at[i] for i in order[:count])


def select(
    source: GuideSource, frames: Sequence[int], *, locked: Sequence[int] = (), at_most: int | None = None,
    longest_arc: int | None = None, least_gain: float = LEAST_GAIN,
) -> Selection:
    """Choose anchors among ``frames`` (ascending): the first, the last, the ``locked``, and what shows most beside
    them.

    No more than ``at_most`` are chosen, apart from those that must be; no two stand further apart than ``longest_arc``
    frames. Raises ``ValueError`` for no frames, and locked ones that are not among them.
    """
    if not frames:
        raise ValueError("frames: expected at least one, got none")
    absent = sorted(set(locked) - set(frames))
    if absent:
        raise ValueError(f"locked: expected frames of {frames[0]}..{frames[-1]}, got {absent}")
    chosen = sorted({frames[0], frames[-1], *locked})
    places = np.unique(np.rint(np.linspace(0, len(frames) - 1, min(len(frames), CANDIDATES))).astype(int))
    looked_at = tuple(sorted({frames[i] for i in places} | set(chosen)))
    survey = Survey(source, keep=len(looked_at))
    quality = survey.qualities(looked_at, looked_at)
    value = np.minimum(quality / GOOD, 1)
    best = value[[looked_at.index(frame) for frame in chosen]].max(0)
    while at_most is None or len(chosen) < at_most:
        gains = np.maximum(value - best, 0).mean((1, 2))
        pick = int(gains.argmax())
        if gains[pick] < least_gain:
            break
        chosen.append(looked_at[pick])
        best = np.maximum(best, value[pick])
    chosen = _close_enough(sorted(chosen), frames, longest_arc)
    shown = quality[[i for i, frame in enumerate(looked_at) if frame in chosen]].max(0)
    return Selection(tuple(chosen), looked_at, (shown > 0).mean(1), (shown >= GOOD).mean(1))


def painting_order(source: GuideSource, anchors: Sequence[int], first: int | None = None) -> tuple[int, ...]:
    """``first`` (None: the one that shows most of the others), then always the one of which most is already painted.

    Raises ``ValueError`` when ``first`` is no anchor.
    """
    if first is not None and first not in anchors:
        raise ValueError(f"first: expected one of {tuple(anchors)}, got {first}")
    left = sorted(anchors)
    shows = Survey(source, keep=len(left)).qualities(left, left)  # (by, of, samples)
    order = [int(shows.mean((1, 2)).argmax()) if first is None else left.index(first)]
    while len(order) < len(left):
        painted = shows[order].max(0).mean(-1)
        painted[order] = -1
        order.append(int(painted.argmax()))
    return tuple(left[i] for i in order)


@dataclass(frozen=True)
class Carried:
    """What painted anchors say about a view. ``picture`` (H, W, 3) uint8, pure: each pixel looks like the surface at
    its centre; where it is not known it goes on smoothly from what is. ``known`` (H, W) float32, 0 or 1. ``quality``
    (H, W) float32 in [0, 1]."""

    picture: Array
    known: Array
    quality: Array


def carry(picture: Array, source: GuideSource, from_frame: int, to_frame: int) -> Carried:
    """An anchor's (H, W, 3) uint8 ``picture`` in another view."""
    return carry_many({from_frame: picture}, source, to_frame)


def carry_many(pictures: Mapping[int, Array], source: GuideSource, to_frame: int) -> Carried:
    """Several anchors, by frame, in another view: each pixel from those that show it best, of the ``CARRIED`` that show
    most together.

    Raises ``ValueError`` for no pictures, or of another raster.
    """
    if not pictures:
        raise ValueError("pictures: expected at least one anchor, got none")
    view = Coverage(source.sight(to_frame))
    frames = _showing_most(source, to_frame, sorted(pictures))
    still_beside = hidden_px(view) <= RIM_PX + 1
    layers = [_seen(Painted.of(source.sight(frame), pictures[frame]), view, still_beside) for frame in frames]
    quality = np.max([layer[..., 3] for layer in layers], axis=0)
    found = merged(view, layers)
    picture = np.clip(np.rint(found.picture), 0, 255).astype(np.uint8)
    return Carried(picture, found.known.astype(np.float32), quality)


def _seen(painted: Painted, view: Coverage, still_beside: Array) -> Array:
    """As ``Painted.seen_from``; the rims of what hid a surface count where something does in ``view`` as well. Where it
    has moved on they would stay behind as its outline."""
    whole = painted.seen_from(view, still_beside)
    return np.where(still_beside[..., None], whole, painted.without_rims().seen_from(view, ~still_beside))


def _showing_most(source: GuideSource, frame: int, by: list[int]) -> list[int]:
    """``CARRIED`` of the frames ``by``, ascending: always the one that adds most to what is seen of ``frame``."""
    if len(by) <= CARRIED:
        return by
    quality = Survey(source, keep=1 + len(by)).qualities([frame], by)[:, 0]  # (by, samples)
    chosen: list[int] = []
    best = np.zeros_like(quality[0])
    while len(chosen) < CARRIED:
        gains = np.maximum(quality - best, 0).mean(1)
        gains[chosen] = -1
        chosen.append(int(gains.argmax()))
        best = np.maximum(best, quality[chosen[-1]])
    return [by[i] for i in sorted(chosen)]


def _close_enough(chosen: list[int], frames: Sequence[int], longest: int | None) -> list[int]:
    """With further frames, evenly between two that stand more than ``longest`` apart."""
    if longest is None:
        return chosen
    if longest < 1:
        raise ValueError(f"longest_arc: expected >= 1, got {longest}")
    places = [frames.index(frame) for frame in chosen]
    for a, b in pairwise(tuple(places)):
        parts = -(-(b - a) // longest)
        places += [a + round((b - a) * k / parts) for k in range(1, parts)]
    return [frames[i] for i in sorted(places)]

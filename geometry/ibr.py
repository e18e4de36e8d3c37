"""Frames between painted anchors: image-based rendering on known geometry.

Every pixel of a frame knows where it lies in every anchor. What an anchor shows there counts by how well it shows it
(``warp``) and by how near in time it is: with 1 / (t - t_i)^2, inverse distance weights (Shepard 1968), which are
continuous in time, and all at an anchor's own frame, whatever other anchors come and go. The two anchors of the arc
count first; others where these show little.

What no anchor shows is made up once, in the frame that shows most of it, and is carried from there like any anchor: it
stays where it is on the surface.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from geometry.coverage import Coverage
from geometry.guides import GuideSource
from geometry.survey import Survey
from geometry.warp import Merged, Painted, merged, smoothed

Array = np.ndarray
ENOUGH = 0.15  # quality that the arc's own anchors must have together for others to stay out
SURVEY_ROWS = 200
SURVEYED = 48  # of longer arcs this many frames, evenly spread, stand for all
OTHERS, FILLS = 4, 4  # views at most, beside the arc's own, that are used, and that are made up
DETAIL_SIGMA = 24.0  # px of 480 rows: what is finer is detail
LEAST_UNSEEN = 0.001  # of a picture: less is not worth another view


class Inbetween:
    """The frames from ``first`` to ``last`` of a shot whose ``pictures`` (H, W, 3) uint8, by frame, are painted.

    ``pictures`` has both of these, and any others. A frame does not depend on which are asked for, or when. Safe to use
    from several threads. Raises ``ValueError`` when an end is missing, or a picture has another raster.
    """

    def __init__(self, source: GuideSource, pictures: Mapping[int, Array], first: int, last: int) -> None:
        if first not in pictures or last not in pictures:
            raise ValueError(f"pictures: expected those of frames {first} and {last}, got {sorted(pictures)}")
        self._source, self._pictures = source, dict(pictures)
        self._ends = {frame: self._paint(frame) for frame in (first, last)}
        self._others: dict[int, Painted] = {}
        self._fill_up([frame for frame in source.cameras.frames if first <= frame <= last])

    def frame(self, number: int) -> Array:
        """(H, W, 3) uint8; where there is a picture, that picture."""
        if number in self._pictures:
            return self._pictures[number]
        view = Coverage(self._source.sight(number))
        return view.composed(_whole(view, self._merged(number, view)))

    def _merged(self, number: int, view: Coverage) -> Merged:
        ends = {frame: painted.seen_from(view) for frame, painted in self._ends.items()}
        lack = np.clip(1 - sum(layer[..., 3] for layer in ends.values()) / ENOUGH, 0, 1)
        layers = [_at_distance(layer, number - frame) for frame, layer in ends.items()]
        if lack.any():
            others = np.zeros_like(layers[0])
            for frame, painted in self._others.items():
                layer = _at_distance(painted.seen_from(view, lack > 0), number - frame)
                others[..., :3] += layer[..., 3:] * layer[..., :3]
                others[..., 3] += layer[..., 3]
            others[..., :3] /= np.maximum(others[..., 3:], 1e-30)
            others[..., 3] *= lack
            layers.append(others)
        return merged(view, layers)

    def _paint(self, frame: int) -> Painted:
        return Painted.of(self._source.sight(frame), self._pictures[frame])

    def _fill_up(self, frames: list[int]) -> None:
        """Take in the other anchors, and then made-up views, that show most of what is not shown yet."""
        places = np.unique(np.rint(np.linspace(0, len(frames) - 1, min(len(frames), SURVEYED))).astype(int))
        looked_at = [frames[i] for i in places]
        survey = Survey(self._source, rows=SURVEY_ROWS, keep=len(looked_at))
        unseen = ~(survey.qualities(looked_at, list(self._ends)) > 0).any(0)  # (frames, samples)
        others = sorted(set(self._pictures) - set(self._ends))
        spare = {frame: survey.qualities(looked_at, [frame])[0] > 0 for frame in others}
        while spare and len(self._others) < OTHERS:
            best = max(spare, key=lambda frame: (unseen & spare[frame]).mean())
            if (unseen & spare[best]).mean(1).max() < LEAST_UNSEEN:
                break
            unseen &= ~spare.pop(best)
            self._others[best] = self._paint(best)
        for _ in range(FILLS):
            worst = int(unseen.mean(1).argmax())
            if unseen[worst].mean() < LEAST_UNSEEN:
                break
            self._others[looked_at[worst]] = self._made_up(looked_at[worst])
            unseen &= ~(survey.qualities(looked_at, [looked_at[worst]])[0] > 0)

    def _made_up(self, number: int) -> Painted:
        """A view to be trusted where no anchor shows what it shows."""
        view = Coverage(self._source.sight(number))
        found = self._merged(number, view)
        trust = cv2.dilate((~found.known).astype(np.float32), np.ones((5, 5), np.uint8))
        return Painted(view.sight, np.dstack([_detailed(view, _whole(view, found), found.known), trust]))


def _at_distance(layer: Array, frames: int) -> Array:
    """What a view shows, weighted by how far away in time it is; its own frame counts as half a frame away."""
    layer[..., 3] /= max(abs(frames), 0.5) ** 2
    return layer


def _whole(view: Coverage, found: Merged) -> Array:
    """(H, W, 3) float32: what nothing beside it tells of looks like the rest of its object, or else of the picture."""
    picture, ids = found.picture, view.object_id
    for own in np.unique(ids[~found.near]):
        same = (ids == own) & found.near
        picture[(ids == own) & ~found.near] = picture[same if same.any() else found.near].mean(0)
    return picture


def _detailed(view: Coverage, picture: Array, known: Array) -> Array:
    """(H, W, 3) float32: with the fine detail of what is known on the same object, mirrored about where it ends."""
    h, w = known.shape
    coarse = smoothed(view, np.dstack([picture, known]).astype(np.float32), DETAIL_SIGMA)
    detail = np.where(coarse[..., 3:] > 0, picture - coarse[..., :3], 0)
    row, column = np.mgrid[:h, :w]
    for own in np.unique(view.object_id[~known]):
        given = (view.object_id == own) & known
        wanted = (view.object_id == own) & ~known
        if not given.any():
            continue
        _, labels = cv2.distanceTransformWithLabels(
            (~given).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
        )
        nearest = np.zeros(labels.max() + 1, np.int64)
        nearest[labels[given]] = np.flatnonzero(given)
        end = nearest[labels[wanted]]
        beyond = np.clip(2 * (end // w) - row[wanted], 0, h - 1), np.clip(2 * (end % w) - column[wanted], 0, w - 1)
        picture[wanted] += detail.reshape(-1, 3)[nearest[labels[beyond]]]
    return picture

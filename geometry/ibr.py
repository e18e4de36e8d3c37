"""Frames between painted anchors: image-based rendering on known geometry.

Every pixel of a frame knows where it lies in every anchor. What an anchor shows there counts by how well it shows it
(``warp``) and by how near in time it is: with 1 / (t - t_i)^2, inverse distance weights (Shepard 1968), which are
continuous in time, and all at an anchor's own frame, whatever other anchors come and go. The two anchors of the arc
count first; others where these show little.

What no anchor shows is made up once, in the frame that shows most of it, and is carried from there like any anchor: it
stays where it is on the surface.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from geometry import warp_kernels
from geometry.coverage import Coverage
from geometry.guides import GuideSource
from geometry.infill import textured
from geometry.survey import Survey
from geometry.warp import Merged, Painted, merged

Array = np.ndarray
ENOUGH = 0.15  # quality that the arc's own anchors must have together for others to stay out
SURVEY_ROWS = 120
SURVEYED = 48  # of longer arcs this many frames, evenly spread, stand for all
OTHERS, FILLS = 4, 3  # views at most, beside the arc's own, that are used, and that are made up
FINEST_PX, CRISPNESS = 0.6, 0.4  # deviation of what is finest, and how much of it is added
LEAST_UNSEEN = 0.0015  # of a picture: less is not worth another view


class Inbetween:
    """The frames from ``first`` to ``last`` of a shot whose ``pictures`` (H, W, 3) uint8, by frame, are painted.

    ``pictures`` has both of these, and any others. A frame does not depend on which are asked for, or when. Safe to use
    from several threads. Raises ``ValueError`` when an end is missing, or a picture has another raster.
    """

    def __init__(self, source: GuideSource, pictures: Mapping[int, Array], first: int, last: int) -> None:
        if first not in pictures or last not in pictures:
            raise ValueError(f"pictures: expected those of frames {first} and {last}, got {sorted(pictures)}")
        self._source, self._pictures = source, dict(pictures)
        self._ends: dict[int, Painted] = {}
        self._others: dict[int, Painted] = {}
        between = [frame for frame in source.cameras.frames if first < frame < last and frame not in pictures]
        if between:
            self._ends = {frame: self._paint(frame) for frame in (first, last)}
            self._fill_up(between)

    def frame(self, number: int) -> Array:
        """(H, W, 3) uint8; where there is a picture, that picture."""
        if number in self._pictures:
            return self._pictures[number]
        view = Coverage(self._source.sight(number))
        return view.composed(_crisp(view, self._whole(view, self._merged(number, view))))

    def _merged(self, number: int, view: Coverage) -> Merged:
        ends = {frame: painted.seen_from(view) for frame, painted in self._ends.items()}
        lack = np.clip(1 - sum(layer[..., 3] for layer in ends.values()) / ENOUGH, 0, 1)
        layers = [_at_distance(layer, number - frame) for frame, layer in ends.items()]
        wanted = lack > 0
        if wanted.any():
            total = np.zeros((int(wanted.sum()), 4), np.float32)
            for frame, painted in self._others.items():
                found = _at_distance(painted.seen_from(view, wanted)[wanted], number - frame)
                total[:, :3] += found[:, 3:] * found[:, :3]
                total[:, 3] += found[:, 3]
            total[:, :3] /= np.maximum(total[:, 3:], 1e-30)
            total[:, 3] *= lack[wanted]
            layers.append(np.zeros_like(layers[0]))
            layers[-1][wanted] = total
        return merged(view, layers)

    def _whole(self, view: Coverage, found: Merged) -> Array:
        """(H, W, 3) float32: what nothing beside it tells of looks like its object on the whole."""
        picture, far = found.picture.copy(), ~found.near
        picture[far] = self._colours[view.object_id[far]]
        return picture

    def _paint(self, frame: int) -> Painted:
        return Painted.of(self._source.sight(frame), self._pictures[frame])

    def _fill_up(self, frames: list[int]) -> None:
        """Take in the other anchors, and then made-up views, that show most of what is not shown yet."""
        places = np.unique(np.rint(np.linspace(0, len(frames) - 1, min(len(frames), SURVEYED))).astype(int))
        looked_at = [frames[i] for i in places]
        survey = Survey(self._source, rows=SURVEY_ROWS, keep=len(looked_at) + len(self._pictures))
        unseen: Array = survey.qualities(looked_at, list(self._ends)).max(0) == 0  # (frames, samples)
        others = sorted(set(self._pictures) - set(self._ends))
        spare = {frame: survey.qualities(looked_at, [frame])[0] > 0 for frame in others}
        while spare and len(self._others) < OTHERS:
            best = max(spare, key=lambda frame: (unseen & spare[frame]).mean())
            if (unseen & spare[best]).mean(1).max() < LEAST_UNSEEN:
                break
            unseen &= ~spare.pop(best)
            self._others[best] = self._paint(best)
        self._colours = _object_colours([*self._ends.values(), *self._others.values()])
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
        return Painted(view.sight, np.dstack([textured(view, self._whole(view, found), found.known), trust]))


def _at_distance(layer: Array, frames: int) -> Array:
    """What a view shows, weighted by how far away in time it is; its own frame counts as half a frame away."""
    layer[..., 3] /= max(abs(frames), 0.5) ** 2
    return layer


def _crisp(view: Coverage, picture: Array) -> Array:
    """(H, W, 3) float32: with the finest detail about as strong as anchors have it. Interpolation weakens it, and every
    anchor would come as a flash of sharpness."""
    layer = np.dstack([picture, np.ones(picture.shape[:2], np.float32)])[None]
    smooth = warp_kernels.smoothed(layer, view.links, float(np.exp(-np.sqrt(2) / FINEST_PX)))[0]
    return picture + CRISPNESS * (picture - smooth[..., :3])


def _object_colours(painted: Sequence[Painted]) -> Array:
    """(objects, 3) float32: what each object, by its id, looks like on the whole; like everything if it is not seen."""
    ids = np.concatenate([Coverage(view.sight).object_id.ravel() for view in painted])
    colours = np.concatenate([view.texels[..., :3].reshape(-1, 3) for view in painted])
    size = int(max(view.sight.surface.topology.object_id.max() for view in painted)) + 1
    count = np.bincount(ids, minlength=size)[:, None]
    total = np.stack([np.bincount(ids, colours[:, c], size) for c in range(3)], -1)
    return np.where(count > 0, total / np.maximum(count, 1), colours.mean(0)).astype(np.float32)

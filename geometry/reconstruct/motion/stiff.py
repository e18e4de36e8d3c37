"""Which of two worlds a pixel goes with: the one that stands still, or a stiff thing whose motion is known.

To the camera a stiff mover is a world of its own, seen from another path. Each world says where a pixel is in frames
before and after, if it is as far away as can be: what stands still at its solved depth, the thing anywhere within its
size (a plane sweep). The world in which the pictures agree better has the pixel. So it is told what a thing is made of
beyond the parts whose flow gives them away: a rim that turns towards the camera, a side of plain stone.
Where both agree alike, or nothing is to be seen, nothing is said. Depth is needed: this is for shots with parallax.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from geometry import rigid
from geometry.reconstruct.depth.pair import Pair
from geometry.reconstruct.motion.correlate import Reference
from geometry.reconstruct.motion.rigid_track import StiffMotion
from geometry.reconstruct.motion.shadows import Light, ShadowSettings, correlation, same_light, shadow
from geometry.reconstruct.motion.still_world import Evidence, StillWorld

Array = np.ndarray
TEXTURED = ShadowSettings(flat_levels=0)
HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # pixel positions from those as OpenCV counts them


@dataclass(frozen=True)
class StiffSettings:
    every: int = 2  # frames
    steps: tuple[int, int] = (4, 14)  # frames, on each side
    turn_deg: float = 25.0  # of the line of sight, in the thing's own axes: more shows another side
    planes: int = 24
    blur_px: float = 0.8
    radius_px: int = 3  # of a window
    noise: float = 15.0  # code values, squared
    margin: float = 0.4  # of the thing's size: how far beyond its points it may go on
    sure: float = 0.25  # difference of correlations
    shade: tuple[float, float] = (0.0, 0.15)  # for the still world where its light changes: slow things, plain motion
    plain_px: tuple[float, float] = (6.0, 10.0)  # what flow can miss, and what it cannot
    shade_px: int = 17  # a shadow is at least so large, by
    shade_share: float = 0.35  # of its pixels
    clear: float = 0.25
    rim: float = 0.1  # of the weight, in a window's reach of the contour
    weight: float = 3.0
    flow_weight: float = 0.3  # of evidence by flow alone, beside this
    seen: float = 0.4  # weight of evidence of plain motion that no still window outvotes


@dataclass(frozen=True)
class StiffVotes:
    """What a stiff thing says in one frame, in a part of the small raster; ``plain`` (h, w): see ``_plainly_moves``."""

    box: tuple[slice, slice]
    said: Evidence
    rim: Array  # (h, w) bool
    plain: Array

    def joined(self, known: Evidence, s: StiffSettings, *, here: bool) -> Evidence:
        """``known`` evidence and these votes; not ``here``: they are of the frame before, and only tell where flow that
        takes something to stand still may not be believed."""
        value, weight = known.value.copy(), known.weight.copy()
        believed = np.where(value[self.box] > 0, np.float32(1), self.plain)
        if not here:
            moves = np.minimum(self.said.weight, 1) * ((self.said.value > 0) & ~self.rim)
            weight[self.box] *= np.where(value[self.box] > 0, np.float32(1), believed * (1 - moves))
            return Evidence(value, weight)
        flow = Evidence(value[self.box], weight[self.box] * np.where(self.rim, np.float32(1), believed))
        # What flow plainly sees move does not stand still because a window of plain colour looks alike elsewhere.
        seen = self.plain * np.minimum(flow.weight / s.seen, 1) * ((flow.value > 0) & (self.said.value < 0))
        both = Evidence(self.said.value, self.said.weight * (1 - seen)).plus(flow, s.flow_weight)
        value[self.box], weight[self.box] = both.value, both.weight
        return Evidence(value, weight)


def stiff_votes(world: StillWorld, stiff: StiffMotion, frame: int, s: StiffSettings) -> StiffVotes | None:
    """What ``stiff`` explains better, or worse, than the still world; None where it cannot be compared."""
    others = _partners(stiff, frame, s)
    box = _box(world, stiff, frame, s)
    if not others or box is None:
        return None
    # What a thing hides where it goes, and uncovers where it was, is seen when it is away.
    away = _mirrored(world, frame, others)
    views = {n: cv2.GaussianBlur(world.picture(n), (0, 0), s.blur_px) for n in (frame, *others, *away)}
    picture = views[frame][box]
    reference = Reference.of(picture, s.radius_px, s.noise)
    theirs, q = _as_stiff(world, stiff, frame, {n: views[n] for n in others}, box, reference, s)
    plain = _plainly_moves(world, stiff, frame, _well_apart(others, frame), box, q, s)
    around = {n: views[n] for n in (*others, *away)}
    still = _as_still(world, frame, around, box, reference)
    shade = s.shade[0] + plain * (s.shade[1] - s.shade[0])
    stiffly = {n: cv2.remap(views[n], *_stiff_px(world, stiff, frame, n, box, q), cv2.INTER_LINEAR) for n in others}
    shaded = _shaded(world, frame, around, box, picture, stiffly, s)
    difference = np.where(shaded, -shade, theirs - still)
    difference = np.clip(difference / s.sure, -1, 1).astype(np.float32)
    # A window that holds some of the thing goes with it: nearer to the contour flow and colours know more.
    clearly_still = cv2.morphologyEx((difference < -s.clear).astype(np.uint8), cv2.MORPH_OPEN, _square(5))
    rim = (difference > 0) & (cv2.dilate(clearly_still, _square(2 * s.radius_px + 3)) > 0)
    said = Evidence(np.sign(difference), s.weight * np.abs(difference) * np.where(rim, 1 - plain * (1 - s.rim), 1))
    return StiffVotes(box, said, rim, plain)


def _plainly_moves(
    world: StillWorld, stiff: StiffMotion, frame: int, other: int, box: tuple[slice, slice], q: Array, s: StiffSettings
) -> Array:
    """(h, w): 0 where the thing, at inverse depth ``q`` (h, w), moves so little against the still world from ``frame``
    to ``other`` that flow may miss it; 1 where flow sees it all."""
    moved = np.stack(_stiff_px(world, stiff, frame, other, box, q), -1) - world.still_map(frame, other)[box]
    low, high = s.plain_px
    apart = cv2.blur(np.clip((np.linalg.norm(moved, axis=-1) - low) / (high - low), 0, 1), (9, 9))
    return apart.astype(np.float32)


def _well_apart(others: list[int], frame: int) -> int:
    """The nearest of ``others`` on the side where that is farther away: at the ends of a clip one side is cut short."""
    sides = ([n for n in others if (n > frame) == later] for later in (False, True))
    nearest = (min(side, key=lambda n: abs(n - frame)) for side in sides if side)
    return max(nearest, key=lambda n: abs(n - frame))


def _stiff_px(
    world: StillWorld, stiff: StiffMotion, frame: int, other: int, box: tuple[slice, slice], q: Array
) -> tuple[Array, Array]:
    """(h, w) each: x and y, as OpenCV counts them, where in ``other`` the thing's points at inverse depth ``q`` are."""
    here, there = world.warp(frame).pinhole, world.warp(other).pinhole
    pair = Pair.of(here, there, stiff.pose(other) @ rigid.inverse(stiff.pose(frame)))
    x, y = Pair(pair.a[box], pair.b).source_px(q)
    return x - np.float32(0.5), y - np.float32(0.5)


def _square(side: int) -> Array:
    return np.ones((side, side), np.uint8)


def _partners(stiff: StiffMotion, frame: int, s: StiffSettings) -> list[int]:
    """Frames before and after that show the same side of the thing: far ones tell more, near ones are surer."""
    i, count = stiff.frames.index(frame), len(stiff.frames)
    middle = np.median(stiff.points, axis=0)
    sight = rigid.inverse(stiff.camera_from_object)[:, :3, 3] - middle
    sight /= np.linalg.norm(sight, axis=1, keepdims=True)
    turned = np.degrees(np.arccos(np.clip(sight @ sight[i], -1, 1)))
    chosen = set()
    for sign in (-1, 1):
        reach = [k for k in range(1, s.steps[1] + 1) if 0 <= i + sign * k < count and turned[i + sign * k] < s.turn_deg]
        if reach:
            far = reach[-1]
            near = max(1, round(far * s.steps[0] / s.steps[1]))
            chosen |= {i + sign * near, i + sign * far}
    return [stiff.frames[k] for k in sorted(chosen)]


def _mirrored(world: StillWorld, frame: int, others: list[int]) -> list[int]:
    """Frames as far away as ``others`` on either side that are not among them."""
    frames = world.cameras.frames
    i = frames.index(frame)
    steps = {abs(frames.index(n) - i) for n in others}
    both = {i + sign * step for step in steps for sign in (-1, 1)}
    return [frames[k] for k in sorted(both) if 0 <= k < len(frames) and frames[k] not in others]


def _box(world: StillWorld, stiff: StiffMotion, frame: int, s: StiffSettings) -> tuple[slice, slice] | None:
    """The part of the small raster where the thing may be."""
    camera = world.warp(frame).pinhole
    local = rigid.transform(stiff.pose(frame), stiff.points)
    px = camera.px_from_cam(local[local[:, 2] > 0])
    if not len(px):
        return None
    low, high = np.percentile(px, [2, 98], axis=0)
    margin = s.margin * (high - low).max() + 16
    x0, y0 = np.clip(low - margin, 0, camera.wh).astype(int)
    x1, y1 = np.clip(high + margin, 0, camera.wh).astype(int)
    return (slice(y0, y1), slice(x0, x1)) if x1 - x0 > 16 and y1 - y0 > 16 else None


def _as_stiff(
    world: StillWorld, stiff: StiffMotion, frame: int, views: dict[int, Array], box: tuple[slice, slice],
    reference: Reference, s: StiffSettings,
) -> tuple[Array, Array]:
    """(h, w) correlation as part of the thing, at the inverse depth (h, w) that explains it best."""
    z = rigid.transform(stiff.pose(frame), stiff.points)[:, 2]
    near, far = np.percentile(z[z > 0], [2, 98])
    size = np.ptp(np.percentile(stiff.points, [5, 95], axis=0), axis=0).max()
    near, far = max(near - s.margin * size, 0.3 * near), far + s.margin * size
    here = world.warp(frame).pinhole
    corner = np.array([[1, 0, box[1].start], [0, 1, box[0].start], [0, 0, 1.0]])
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    best, at = np.full(reference.variance.shape, -2, np.float32), np.zeros(reference.variance.shape, np.float32)
    for q in np.linspace(1 / far, 1 / near, s.planes):
        scores = {}
        for n, view in views.items():
            there = world.warp(n).pinhole
            step = stiff.pose(n) @ rigid.inverse(stiff.pose(frame))
            through = step[:3, :3] + q * np.outer(step[:3, 3], [0, 0, 1])
            m = np.linalg.inv(HALF) @ there.k @ through @ np.linalg.inv(here.k) @ HALF @ corner
            seen = cv2.warpPerspective(view, m, reference.variance.shape[::-1], flags=flags)
            scores[n] = reference.correlation(seen)
        score = _better_side(scores, frame)
        better = score > best
        best[better], at[better] = score[better], q
    return best, at


def _as_still(
    world: StillWorld, frame: int, views: dict[int, Array], box: tuple[slice, slice], reference: Reference
) -> Array:
    """(h, w) correlation as part of what stands still, at the least, likely or greatest of its depths, or as the
    frames that are farthest away know it: around a mover depth was solved as if it stood still."""
    depths = [*world.inverse_depth(frame), *(world.depth_from(frame, n) for n in (min(views), max(views)))]
    scores = []
    for q in depths:
        seen = {n: _still_view(world, frame, n, view, box, q, cv2.BORDER_CONSTANT) for n, view in views.items()}
        scores.append(_better_side({n: reference.correlation(picture) for n, picture in seen.items()}, frame))
    return np.max(scores, axis=0)


def _still_view(
    world: StillWorld, frame: int, other: int, view: Array, box: tuple[slice, slice], q: Array, border: int
) -> Array:
    """``view`` of ``other`` as ``frame`` would see it in ``box`` if all stood still, at inverse depth ``q`` (H, W)."""
    pair = world.pair(frame, other)
    x, y = Pair(pair.a[box], pair.b).source_px(q[box])
    return cv2.remap(view, x - np.float32(0.5), y - np.float32(0.5), cv2.INTER_LINEAR, borderMode=border)


def _shaded(
    world: StillWorld, frame: int, views: dict[int, Array], box: tuple[slice, slice], picture: Array,
    stiffly: dict[int, Array], s: StiffSettings,
) -> Array:
    """(h, w) bool: the still world with a shadow on it, here or there. A shadow moves as what throws it does, the
    texture under it does not. In the same light that texture must be no more alike ``stiffly``, as the thing's motion
    brings other views here: much looks a little alike."""
    likely = world.inverse_depth(frame)[1]
    here = Light.of(picture)
    on_thing = _better_side({n: correlation(here, Light.of(view)) for n, view in stiffly.items()}, frame)
    on_ground = {}
    shaded, relit = (np.zeros(picture.shape[:2], np.float32) for _ in range(2))
    for n, view in views.items():
        there = Light.of(_still_view(world, frame, n, view, box, likely, cv2.BORDER_REPLICATE))
        on_ground[n] = correlation(here, there)
        shade, same = shadow(here, there, 0.0, TEXTURED), same_light(here, there, TEXTURED)
        for most, found in ((shaded, shade & (~same | (on_ground[n] >= on_thing))), (relit, shade & ~same)):
            np.maximum(most, cv2.blur(found.astype(np.float32), (s.shade_px, s.shade_px)), out=most)
    surely_thing = on_thing - _better_side(on_ground, frame) > s.sure
    return (relit > s.shade_share) | ((shaded > s.shade_share) & ~surely_thing)


def _better_side(scores: dict[int, Array], frame: int) -> Array:
    """What is hidden later was seen before, or the other way round."""
    sides = [[score for n, score in scores.items() if (n > frame) == later] for later in (False, True)]
    return np.max([np.mean(side, axis=0) for side in sides if side], axis=0)

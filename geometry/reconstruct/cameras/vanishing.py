"""Up, heading and focal length from straight lines: what people build is upright and square.

Most built places have three perpendicular directions (Coughlan and Yuille 1999, the Manhattan world), which only the
right focal length makes perpendicular (Caprile and Torre 1990). A line in the picture points at the vanishing point of
one of them, as exactly as its own direction is known, or, one of a class of its own, anywhere: the likelihood of a
focal length and three axes is that mixture over all lines. Axes are sampled from pairs of lines at every focal length
and fitted, and the posterior over *all* that was found says what is known: where another focal length, or another
horizon, explains the lines as well, neither is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geometry.reconstruct.cameras.adjust import turned
from geometry.reconstruct.cameras.lines import Segments

Array = np.ndarray

STRAY, FOLLOWS = 0.4, 0.2  # how many lines follow nothing, and each axis, before any is looked at
NEAR_PX = 3.0  # next to a vanishing point a line has no direction towards it
PAIRS, BEST, CROSSED, MOST_COMPARED = 400, 8, 100, 200
FOCAL_RATIOS = np.geomspace(0.45, 5.0, 21)  # f / max(W, H)
USUAL_FOCAL, FOCAL_SPREAD = 1.1, 0.5  # of f / max(W, H), of its logarithm: what lenses are like
PITCH_SPREAD = np.deg2rad(25.0)
ROLL_SPREAD = np.deg2rad(3.0)  # cameras are held level, mostly
UNUSUAL = 0.002  # of cameras that are held any way at all
LEAST_WOBBLE = np.deg2rad(0.3)  # of a camera on a stand
ALIKE = 2.0  # lines of one thing err together: so many say as much as one
FULL_LENGTH = .2  # of the long side, from which on a line has all its say
CUT, MOST_OFF = 3.0, np.deg2rad(1.0)  # sigmas, and an angle, beyond which a line does not follow an axis
NEAR_SHARE = 0.5  # of the length of lines near a guess that must follow one direction: chance brings some together
MIN_SEGMENTS = 6  # of an axis that is believed
MIN_SHARE = 0.35  # of all lines' length that must belong to the three axes
KNOWN_FOCAL_SIGMA = 0.08
KNOWN_UP_SIGMA = np.deg2rad(1.5)


@dataclass(frozen=True)
class _Rows:
    """What lines measure at one focal length, by a direction in the reference frame, all (N, 3).

    ``across`` times a direction over the length of (``x``, ``y``) times it is the sine of the angle, at the segment's
    middle, between the segment and the line to the direction's vanishing point.
    """

    across: Array
    x: Array
    y: Array

    @classmethod
    def of(cls, lines: Segments, focal_px: float) -> _Rows:
        middle = lines.ends.mean(1)
        along = (lines.ends[:, 1] - lines.ends[:, 0]) / np.maximum(lines.length, 1e-9)[:, None]
        zero, focal = np.zeros(len(middle)), np.full(len(middle), focal_px)
        a, b = -along[:, 1], along[:, 0]
        rows = (np.stack([a * focal, b * focal, -(a * middle[:, 0] + b * middle[:, 1])], 1),
                np.stack([focal, zero, -middle[:, 0]], 1), np.stack([zero, focal, -middle[:, 1]], 1))
        return cls(*((lines.rotation @ row[..., None])[..., 0] for row in rows))

    def off(self, directions: Array) -> Array:
        """(D, N) rad by which each segment misses the vanishing point of each of the (D, 3) unit directions."""
        x, y, across = directions @ self.x.T, directions @ self.y.T, directions @ self.across.T
        # Next to its vanishing point a unit direction's z is near 1, so that the guard is in px there.
        return across / np.sqrt(x**2 + y**2 + NEAR_PX**2)


@dataclass(frozen=True)
class Axes:
    """``axes`` (3, 3) rows: up, and two level directions, in the reference frame."""

    axes: Array
    counts: tuple[int, int, int]  # segments that follow each
    share: float  # of all length that follows one of them
    focal_px: float
    focal_sigma: float  # relative, over everything that explains the lines; 0 when it was given
    up_sigma: float  # rad, the same
    side_px: int

    @property
    def up(self) -> Array:
        return self.axes[0]

    @property
    def up_known(self) -> bool:
        enough = self.counts[0] >= MIN_SEGMENTS or min(self.counts[1:]) >= MIN_SEGMENTS
        # A horizon is wanted in px: a long lens shows a small angle large.
        magnified = self.up_sigma * max(1.0, self.focal_px / self.side_px)
        return enough and self.share >= MIN_SHARE and magnified < KNOWN_UP_SIGMA

    @property
    def focal_likely(self) -> bool:
        """Lines tell more than that lenses are like that."""
        enough = sorted(self.counts)[1] >= MIN_SEGMENTS and self.share >= MIN_SHARE
        return enough and self.focal_sigma < 0.8 * FOCAL_SPREAD

    @property
    def focal_known(self) -> bool:
        return self.focal_likely and self.focal_sigma < KNOWN_FOCAL_SIGMA


@dataclass(frozen=True)
class _Found:
    """Axes at a focal length, their log posterior, and the covariance (4, 4) of turns (rad) and log focal there."""

    axes: Array
    focal_px: float
    value: float
    covariance: Array


def find_axes(lines: Segments, *, focal_px: float | None, seed: int = 0) -> Axes | None:
    """The three perpendicular directions that lines follow, up first, and the focal length when none is given.

    None where there are too few lines. ``Axes`` says what is known of what it holds.
    """
    if len(lines.ends) < MIN_SEGMENTS:
        return None
    free = focal_px is None
    focals = FOCAL_RATIOS * lines.side_px if focal_px is None else np.array([focal_px])
    held = [_fitted(lines, axes, float(focal), rounds=5, focal_free=False)
            for focal in focals
            for axes in _sampled_axes(lines, float(focal), np.random.default_rng([seed, 31]), 3 if free else 6)]
    if not held:
        return None
    starts = sorted(held, key=lambda f: -f.value)[:6]
    best = max((_fitted(lines, f.axes, f.focal_px, rounds=15, focal_free=free) for f in starts), key=lambda f: f.value)
    focal_sigma = 0.0
    if free:
        step = max(0.7 * float(np.sqrt(best.covariance[3, 3])), 0.004)
        near = [float(best.focal_px * np.exp(k * step)) for k in range(-4, 5) if k]
        held += [best, *(_fitted(lines, best.axes, focal, rounds=8, focal_free=False) for focal in (*near, *focals))]
        best, focal_sigma = _posterior_median(lines, held, best)
    up_sigma = _up_sigma(held, best)
    counts, share = _followers(lines, best)
    return Axes(best.axes, counts, share, best.focal_px, focal_sigma, up_sigma, lines.side_px)


def direction_near(lines: Segments, focal_px: float, prior: Array, within: float, *, seed: int = 0) -> Array | None:
    """(3,) the direction within ``within`` radians of ``prior`` that most lines there follow; None where few do."""
    rows = _Rows.of(lines, focal_px)
    near = np.abs(rows.off(prior[None])[0]) < within
    if near.sum() < 2 * MIN_SEGMENTS:
        return None
    rows = _Rows(rows.across[near], rows.x[near], rows.y[near])
    sigma, length = lines.sigma[near], lines.length[near]
    candidates = _crossings(rows, length, np.random.default_rng([seed, 37]))
    candidates *= np.sign(candidates @ prior)[:, None]
    candidates = candidates[candidates @ prior > np.cos(within)]
    if not len(candidates):
        return None
    direction = candidates[_single(rows.off(candidates), sigma).sum(1).argmax()]
    for _ in range(10):
        # The mean of squared angles, each line's as exact as it is known; what is beyond the cut has no say.
        distance = np.hypot(rows.x @ direction, rows.y @ direction) + 1e-9
        off = (rows.across @ direction) / distance / sigma
        weight = np.maximum(0, 1 - (off / CUT) ** 2) / (distance * sigma)
        direction = np.linalg.svd(rows.across * weight[:, None], full_matrices=False)[2][2]
        direction *= np.sign(direction @ prior)
    agree = np.abs(rows.off(direction[None])[0]) < np.minimum(CUT * sigma, MOST_OFF)
    enough = agree.sum() >= 2 * MIN_SEGMENTS and length[agree].sum() > NEAR_SHARE * length.sum()
    return direction if enough and direction @ prior > np.cos(within) else None


def _density(off: Array, sigma: Array) -> Array:
    """Of an angle under an axis, relative to that of a line that points anywhere: Student's t with three degrees of
    freedom, for what is built is square to a fraction of a degree only."""
    return 1.1547 / sigma / (1 + (off / sigma) ** 2 / 3) ** 2


def _single(off: Array, sigma: Array) -> Array:
    return np.log(1 - FOLLOWS + FOLLOWS * _density(off, sigma))


def _likelihood(off: Array, lines: Segments) -> Array:
    """(...,) of (3, ..., N) angles: log of the mixture over lines, relative to lines that follow nothing."""
    return np.log(STRAY + FOLLOWS * _density(off, lines.sigma).sum(0)) @ _say(lines)


def _say(lines: Segments) -> Array:
    """(N,) how much each line counts: a pattern has many short ones, which tell one thing, and so do many pictures."""
    return np.minimum(lines.length / (FULL_LENGTH * lines.side_px), 1.0) / (ALIKE * lines.seen)


def _up_prior(lines: Segments, directions: Array) -> Array:
    """(D,) log prior that (D, 3) directions are up or down.

    Cameras pitch, but hardly roll, and one that turns on a stand turns about up: its x axes stay across up. How well
    they do among themselves says how far that can be believed along either direction.
    """
    right, up = lines.rotation[:, :, 0], -lines.rotation[:, :, 1].mean(0)
    spread, basis = np.linalg.eigh(right.T @ right / len(right) - 1e-6 * np.outer(up, up))
    level, spread = basis[:, 0], np.maximum(spread, 1e-9)
    wobble2 = ((right @ level) ** 2).mean() + LEAST_WOBBLE**2
    variance = np.minimum(ROLL_SPREAD**2 + wobble2 / spread[1:], PITCH_SPREAD**2)
    along = directions @ np.column_stack([level, basis[:, 1:]])
    off = np.arctan2(along[:, 1:], np.abs(along[:, :1]))
    usual = np.exp(-0.5 * (off**2 / variance).sum(1))
    return np.log(usual + UNUSUAL * np.exp(-0.5 * (off**2).sum(1) / PITCH_SPREAD**2))


def _focal_prior(lines: Segments, focal_px: float) -> float:
    return float(-0.5 * (np.log(focal_px / lines.side_px / USUAL_FOCAL) / FOCAL_SPREAD) ** 2)


def _crossings(rows: _Rows, length: Array, rng: np.random.Generator) -> Array:
    """(D, 3) unit directions common to random pairs of lines, long ones first."""
    share = length / length.sum()
    a, b = rng.choice(len(share), PAIRS, p=share), rng.choice(len(share), PAIRS, p=share)
    normal = rows.across / np.linalg.norm(rows.across, axis=1, keepdims=True)
    direction = np.cross(normal[a], normal[b])
    size = np.linalg.norm(direction, axis=1)
    return direction[size > 0.01] / size[size > 0.01, None]


def _sampled_axes(lines: Segments, focal_px: float, rng: np.random.Generator, count: int) -> list[Array]:
    """The likeliest few triples (3, 3), up first, of those with an axis where many lines cross."""
    rows = _Rows.of(lines, focal_px)
    directions = _crossings(rows, lines.length, rng)
    level = -lines.rotation[:, :, 1].mean(0)
    directions = np.concatenate([directions, level[None] / np.linalg.norm(level)])
    votes = _single(rows.off(directions), lines.sigma) @ _say(lines)
    values, every = [], []
    longest = np.argsort(-lines.length, kind="stable")[:CROSSED]
    for first in _distinct(directions, votes):
        # Every line has one direction across the first axis: all candidates for the second.
        second = np.cross(rows.across[longest], first)
        size = np.linalg.norm(second, axis=1) / np.linalg.norm(rows.across[longest], axis=1)
        second = second[size > 0.1] / np.linalg.norm(second[size > 0.1], axis=1, keepdims=True)
        if not len(second):
            continue
        third = np.cross(first, second)
        triples = np.stack([np.broadcast_to(first, second.shape), second, third])
        prior = np.stack([_up_prior(lines, axis) for axis in triples])
        own = np.broadcast_to(rows.off(first[None]), (len(second), len(lines.ends)))
        values.append(_likelihood(np.stack([own, rows.off(second), rows.off(third)]), lines) + prior.max(0))
        every.append(np.swapaxes(triples, 0, 1))
    return _unlike(lines, np.concatenate(values), np.concatenate(every), count) if values else []


def _unlike(lines: Segments, values: Array, triples: Array, count: int) -> list[Array]:
    """The best few of (D, 3, 3) triples, up first, that differ by some degrees."""
    chosen: list[Array] = []
    for k in np.argsort(-values, kind="stable")[:MOST_COMPARED]:
        axes = _up_first(lines, triples[k])
        if all((np.abs(axes @ other.T).max(1) < np.cos(np.deg2rad(3))).any() for other in chosen):
            chosen.append(axes)
        if len(chosen) == count:
            break
    return chosen


def _distinct(directions: Array, votes: Array) -> Array:
    """The best few that are 8 degrees apart."""
    chosen: list[Array] = []
    for k in np.argsort(-votes, kind="stable"):
        if all(abs(directions[k] @ other) < np.cos(np.deg2rad(8)) for other in chosen):
            chosen.append(directions[k])
        if len(chosen) == BEST:
            break
    return np.array(chosen).reshape(-1, 3)


def _up_first(lines: Segments, axes: Array) -> Array:
    """The same axes, the one that is most likely up first and pointing up; right-handed."""
    k = int(_up_prior(lines, axes).argmax())
    up = axes[k] * (1.0 if axes[k] @ -lines.rotation[:, :, 1].mean(0) > 0 else -1.0)
    level = axes[(k + 1) % 3]
    return np.stack([up, level, np.cross(up, level)])


def _value(lines: Segments, axes: Array, focal_px: float) -> float:
    off = _Rows.of(lines, focal_px).off(axes)
    return float(_likelihood(off, lines) + _up_prior(lines, axes[:1])[0]) + _focal_prior(lines, focal_px)


def _fitted(lines: Segments, axes: Array, focal_px: float, *, rounds: int, focal_free: bool) -> _Found:
    """Expectation-maximisation with Gauss-Newton steps, each kept only when it gains."""
    value, damping = _value(lines, axes, focal_px), 1e-3
    for _ in range(rounds):
        matrix, side = _normal_equations(lines, axes, focal_px)
        free = slice(0, 4 if focal_free else 3)
        gained = False
        while damping < 1e4 and not gained:
            damped = matrix[free, free] + damping * np.diag(np.diag(matrix)[free])
            change = np.zeros(4)
            change[free] = np.clip(-np.linalg.solve(damped, side[free]), -0.15, 0.15)
            moved, focal = turned(axes.T[None], change[None, :3])[0].T, float(focal_px * np.exp(change[3]))
            now = _value(lines, moved, focal)
            gained = now > value
            damping = damping / 5 if gained else damping * 8
        if not gained:
            break
        small = now - value < 1e-4
        axes, focal_px, value = moved, focal, now
        if small:
            break
    return _Found(axes, focal_px, value, np.linalg.inv(_normal_equations(lines, axes, focal_px)[0]))


def _normal_equations(lines: Segments, axes: Array, focal_px: float) -> tuple[Array, Array]:
    """(4, 4) and (4,) of the expected log posterior, by turns (rad) and log focal."""
    step = 1e-5
    rows = _Rows.of(lines, focal_px)
    off = rows.off(axes) / lines.sigma
    density = _density(rows.off(axes), lines.sigma)
    weight = FOLLOWS * density / (STRAY + FOLLOWS * density.sum(0)) * _say(lines) * (4 / 3) / (1 + off**2 / 3)
    turns = turned(np.broadcast_to(axes.T, (3, 3, 3)), step * np.eye(3))
    slopes = [(rows.off(turn.T) / lines.sigma - off) / step for turn in turns]
    slopes.append((_Rows.of(lines, focal_px * float(np.exp(step))).off(axes) / lines.sigma - off) / step)
    jacobian = np.stack(slopes, -1).reshape(-1, 4)
    weighted = jacobian * weight.reshape(-1, 1)
    matrix, side = weighted.T @ jacobian, weighted.T @ off.reshape(-1)
    # The priors, on roll and pitch together as a weak pull, and on the focal length.
    matrix[:3, :3] += np.eye(3) / PITCH_SPREAD**2
    matrix[3, 3] += 1 / FOCAL_SPREAD**2
    side[3] += np.log(focal_px / lines.side_px / USUAL_FOCAL) / FOCAL_SPREAD**2
    return matrix, side


def _posterior_median(lines: Segments, held: Sequence[_Found], best: _Found) -> tuple[_Found, float]:
    """The axes at the median focal length over everything that was found, and its spread.

    The best value at every focal length, integrated along its logarithm; where one mode stands alone, that is its fit.
    """
    order = sorted(held, key=lambda f: f.focal_px)
    focal = np.log([f.focal_px for f in order])
    value = np.array([f.value for f in order])
    grid = np.unique(focal.round(9))
    top = np.array([value[np.abs(focal - g) < 1e-8].max() for g in grid])
    weight = np.exp(top - top.max()) * np.gradient(grid)
    weight /= weight.sum()
    middle = float(np.interp(0.5, np.cumsum(weight) - 0.5 * weight, grid))
    sigma = float(np.sqrt(weight @ (grid - middle) ** 2))
    own = float(np.sqrt(best.covariance[3, 3]))
    if abs(middle - np.log(best.focal_px)) < 2 * own:
        return best, max(sigma, own)
    near = max((f for f in order if abs(np.log(f.focal_px) - middle) < 0.15), key=lambda f: f.value, default=best)
    return _fitted(lines, near.axes, float(np.exp(middle)), rounds=10, focal_free=False), max(sigma, own)


def _up_sigma(held: Sequence[_Found], best: _Found) -> float:
    """Spread (rad) of up over everything that was found: what else explains the lines, and how well each fit is known.
    """
    own = np.sqrt(best.covariance[0, 0] + best.covariance[1, 1] + best.covariance[2, 2]
                  - best.axes[0] @ best.covariance[:3, :3] @ best.axes[0])
    value = np.array([f.value for f in held])
    away = np.arccos(np.clip([f.axes[0] @ best.axes[0] for f in held], -1, 1))
    # One vote for every distinct answer: the same found twice is no second witness.
    cell = np.round(away / np.deg2rad(0.25)).astype(int)
    top = {int(c): float(value[cell == c].max()) for c in np.unique(cell)}
    weight = np.exp(np.array(list(top.values())) - max(top.values()))
    return float(np.hypot(own, np.sqrt(weight @ (np.array(list(top)) * np.deg2rad(0.25)) ** 2 / weight.sum())))


def _followers(lines: Segments, found: _Found) -> tuple[tuple[int, int, int], float]:
    off = np.abs(_Rows.of(lines, found.focal_px).off(found.axes))
    mine = off.min(0) < np.minimum(CUT * lines.sigma, MOST_OFF)
    counts = np.bincount(off.argmin(0)[mine], minlength=3)
    share = lines.length[mine].sum() / lines.length.sum()
    return (int(counts[0]), int(counts[1]), int(counts[2])), float(share)

"""Warped noise: does it stay white and Gaussian, and how long does a warp take?

    python -m benchmarks.noise [--side 1024] [--seeds 40] [--warps 100]

Prints a Markdown table. Flow is of shifts, shears, zooms and a hole that wanders; time is that of one thread, the best
of some warps of one channel.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from benchmarks.markdown import figure_table
from geometry.flow import Flow
from geometry.noise import fresh_noise, warp_noise

Array = np.ndarray
WHITE_SIDE = 192  # px of the noise that is tested
REJECTED = 0.01  # p below this
TRIES = 7


def swirl(hw: tuple[int, int], time: float) -> Flow:
    """Shifts, shears, zooms and a hole that wanders."""
    y, x = np.mgrid[: hw[0], : hw[1]] + 0.5
    dx = 3.3 * np.sin(y / 37 + time) + 0.7 + 0.02 * (x - hw[1] / 2) * np.cos(time)
    dy = 1.7 * np.cos(x / 23 - time) - 0.3 + 0.02 * (y - hw[0] / 2) * np.sin(2 * time)
    hole = np.hypot(x - hw[1] / 3 - 3 * time, y - hw[0] / 2) < hw[0] / 8
    return Flow(np.stack([dx, dy], -1).astype(np.float32), ~hole)


def moran(noise: Array) -> tuple[float, float]:
    """Moran's I over the four neighbours of each pixel, and its p-value if the noise is white."""
    z = noise.astype(np.float64) - noise.mean()
    pairs = np.concatenate([(z[:, 1:] * z[:, :-1]).ravel(), (z[1:] * z[:-1]).ravel()])
    index = pairs.mean() / (z * z).mean()
    return index, float(2 * stats.norm.sf(abs(index) * np.sqrt(len(pairs))))


@dataclass(frozen=True)
class Whiteness:
    """Of noise after many warps; how often tests reject at .01, of so many seeds."""

    not_normal: int  # Kolmogorov-Smirnov
    not_white: int  # Moran
    index: float  # mean |Moran's I|


def whiteness(seeds: int, side: int, warps: int) -> Whiteness:
    noises = [_after_warps(seed, side, warps) for seed in range(seeds)]
    found = [moran(noise) for noise in noises]
    return Whiteness(
        sum(stats.kstest(noise.ravel(), "norm").pvalue < REJECTED for noise in noises),
        sum(p < REJECTED for _, p in found),
        float(np.mean([abs(index) for index, _ in found])),
    )


def _after_warps(seed: int, side: int, warps: int) -> Array:
    noise = fresh_noise((side, side, 1), seed=seed, frame=0)
    for frame in range(1, warps + 1):
        noise = warp_noise(noise, swirl((side, side), 0.17 * frame + seed), seed=seed, frame=frame)
    return noise[..., 0]


def warp_ms(side: int) -> float:
    """Of one thread."""
    noise, flow = fresh_noise((side, side, 1), seed=0, frame=0), swirl((side, side), 0.3)
    taken = []
    for frame in range(TRIES):
        begun = time.perf_counter()
        warp_noise(noise, flow, seed=0, frame=frame, threads=1)
        taken.append(time.perf_counter() - begun)
    return 1000 * min(taken)


ROWS = (  # heading, field, format, goal
    ("one warp, one thread (ms)", "warp_ms", ".0f", "<= 150 at 1024"),
    ("seeds, warps", "tested", "", ""),
    ("Kolmogorov-Smirnov rejects at .01", "not_normal", "d", "<= 3 of 40"),
    ("Moran rejects at .01", "not_white", "d", "<= 3 of 40"),
    ("mean abs. Moran's I", "index", ".4f", "< .005"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1024, help="px of the noise that is timed")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--warps", type=int, default=100)
    options = parser.parse_args(arguments)
    figures: dict[str, object] = {"warp_ms": warp_ms(options.side), "tested": f"{options.seeds}, {options.warps}"}
    figures |= asdict(whiteness(options.seeds, WHITE_SIDE, options.warps))
    print(figure_table(ROWS, {f"{options.side} x {options.side}": figures}))


if __name__ == "__main__":
    main()

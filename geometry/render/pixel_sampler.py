"""A Mitsuba sampler whose numbers belong to a pixel, not to a place in the wavefront.

A crop therefore repeats the samples of the whole picture exactly, and two scenes traced with one seed see the same
numbers until their paths part: their noise cancels in a ratio. Within a pixel the samples are stratified: the x of a
pair is van der Corput's sequence, Owen-scrambled by Laine and Karras's hash (Burley 2020, "Practical Hash-based Owen
Scrambling"), its y a golden-ratio lattice over the same shuffled index, turned at random. Every dimension is shuffled
anew. The number of samples appears nowhere, so that one kernel serves them all.
"""

from __future__ import annotations

from typing import Any

import drjit as dr
import mitsuba as mi

GOLDEN_32 = 0x9E3779B9  # 2^32 over the golden ratio
_CLASSES: dict[str | None, Any] = {}


def make_pixel_sampler() -> Any:
    """A ``PixelSampler`` for the current variant; call ``start`` before each use."""
    if mi.variant() not in _CLASSES:
        _CLASSES[mi.variant()] = _define()
    return _CLASSES[mi.variant()](mi.Properties())


def _define() -> Any:
    # mi.Sampler is another class in every variant, so ours is made when the variant is known.
    class PixelSampler(mi.Sampler):
        def __init__(self, properties: Any) -> None:
            super().__init__(properties)
            self.index: Any = mi.UInt32(0)
            self.random: Any = _pcg32()

        def start(self, pixel: Any, index: Any, seed: Any) -> None:
            """``pixel`` and ``index`` within it per lane; ``seed`` one opaque number."""
            self.index = index
            high, low = mi.sample_tea_32(pixel, seed)
            self.random = _pcg32(initstate=mi.UInt64(high), initseq=mi.UInt64(low))

        def next_1d(self, active: Any = True) -> Any:
            return _unit(self._scrambled(active))

        def next_2d(self, active: Any = True) -> Any:
            x = self._scrambled(active)
            y = _reversed(x) * GOLDEN_32 + self.random.next_uint32(active)
            return mi.Point2f(_unit(x), _unit(y))

        def _scrambled(self, active: Any) -> Any:
            seed = self.random.next_uint32(active)
            x = _reversed(self.index)
            x ^= x * 0x3D20ADEA
            x += seed
            x *= (seed >> 16) | 1
            x ^= x * 0x05526C56
            x ^= x * 0x53A22864
            return x

    return PixelSampler


def _pcg32(**state: Any) -> Any:
    generator: Any = mi.PCG32  # its stub says ``object``
    return generator(**state)


def _reversed(bits: Any) -> Any:
    """The order of the 32 bits turned round."""
    reverse: Any = dr.brev  # its stub says ``object``
    return reverse(bits)


def _unit(bits: Any) -> Any:
    """32 random bits to [0, 1); a float holds 24."""
    return mi.Float(bits >> 8) * 2.0**-24

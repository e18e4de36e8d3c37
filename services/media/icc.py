"""Colours of an embedded ICC profile as sRGB code values (ICC.1:2022).

Understood are RGB profiles of three primaries and three curves (7.2.5, "three-component matrix-based"): sRGB, Display
P3, Adobe RGB, ProPhoto and what monitors bring. Both sides meet in XYZ under D50.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from services.media.colour import normalized, quantized, srgb_from_linear

Array = np.ndarray

# sRGB's primaries in columns, adapted to D50 (IEC 61966-2-1 through the Bradford transform, as its own profile has it).
XYZ_FROM_SRGB = np.array([
    [0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410],
])  # fmt: skip
ALIKE = 0.5 / 255  # profiles whose colours differ less are one
_PROBE = np.stack(np.meshgrid(*3 * [np.linspace(0, 1, 9)], indexing="ij"), -1).reshape(-1, 3)
_CURVES = 4096  # samples of a curve that is a formula
_PARAMETERS = (1, 3, 4, 5, 7)  # of a formula, by its kind
_HEADER, _ENTRY = 128, 12


@dataclass(frozen=True)
class Profile:
    """``curves`` (3, N) from code to light, evenly sampled; ``srgb_from_rgb`` (3, 3) of light."""

    name: str
    curves: Array
    srgb_from_rgb: Array

    @property
    def is_srgb(self) -> bool:
        return bool(np.abs(self._converted(_PROBE) - _PROBE).max() < ALIKE)

    def srgb(self, code: Array) -> Array:
        """(..., 3) code values of an integer type in the profile, as those of sRGB; colours outside are clipped."""
        return quantized(self._converted(normalized(code)), code.dtype)

    def _converted(self, code: Array) -> Array:
        at = np.linspace(0, 1, self.curves.shape[1])
        light = np.stack([np.interp(code[..., i], at, self.curves[i]) for i in range(3)], -1)
        return np.clip(srgb_from_linear(light @ self.srgb_from_rgb.T), 0, 1)


def read_profile(data: bytes) -> Profile | None:
    """None for a profile of another kind, and for one that is damaged."""
    try:
        return _read(data)
    except (struct.error, ValueError, KeyError, IndexError):
        return None


def name_of(data: bytes) -> str:
    """What the profile calls itself; "unnamed" where it cannot be read."""
    try:
        return _text(_tags(data)[b"desc"]) or "unnamed"
    except (struct.error, ValueError, KeyError, IndexError, UnicodeDecodeError):
        return "unnamed"


def _read(data: bytes) -> Profile | None:
    if data[36:40] != b"acsp" or data[16:20] != b"RGB " or data[20:24] != b"XYZ ":
        return None
    tags = _tags(data)
    if b"A2B0" in tags or not {b"rXYZ", b"gXYZ", b"bXYZ"} <= tags.keys():
        return None
    primaries = np.stack([_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")], 1)
    curves = np.stack([_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC")])
    if not (np.isfinite(curves).all() and np.isfinite(primaries).all()):
        return None
    return Profile(name_of(data), curves, np.linalg.solve(XYZ_FROM_SRGB, primaries))


def _tags(data: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", data, _HEADER)
    tags = {}
    for i in range(min(count, 200)):
        name, offset, length = struct.unpack_from(">4sII", data, _HEADER + 4 + _ENTRY * i)
        tags[name] = data[offset : offset + length]
    return tags


def _xyz(tag: bytes) -> Array:
    return np.array(struct.unpack_from(">3i", tag, 8)) / 65536


def _curve(tag: bytes) -> Array:
    """(N,) of ``_CURVES`` samples."""
    at = np.linspace(0, 1, _CURVES)
    if tag.startswith(b"curv"):
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return at
        if count == 1:
            return at ** (struct.unpack_from(">H", tag, 12)[0] / 256)
        values = np.frombuffer(tag, ">u2", count, 12) / 65535
        return np.interp(at, np.linspace(0, 1, count), values)
    if not tag.startswith(b"para"):
        raise ValueError("curve: expected curv or para")
    (kind,) = struct.unpack_from(">H", tag, 8)
    return _formula(kind, np.array(struct.unpack_from(f">{_PARAMETERS[kind]}i", tag, 12)) / 65536, at)


def _formula(kind: int, p: Array, x: Array) -> Array:
    """ICC.1:2022, table 68."""
    g, a, b, c, d, e, f = np.pad(p, (0, 7 - len(p)))
    if kind == 0:
        return x**g
    if kind in (1, 2):  # level below -b / a
        return np.where(x >= -b / a, np.maximum(a * x + b, 0) ** g, 0) + c
    return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


def _text(tag: bytes) -> str:
    form = tag[:4].decode("ascii")
    if form == "desc":
        (count,) = struct.unpack_from(">I", tag, 8)
        return tag[12 : 12 + count].split(b"\0")[0].decode("latin-1")
    if form == "mluc":
        length, offset = struct.unpack_from(">II", tag, 20)
        return tag[offset : offset + length].decode("utf-16-be")
    return ""

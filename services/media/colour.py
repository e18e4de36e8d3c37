"""Source code values to scene-linear Rec.709 float32 and back, once, at the door.

sRGB (IEC 61966-2-1) and linear Rec.709 are exact and analytic; every other colour space is a name of OCIO's built-in
studio configuration. Integer code values round half to even on the way back, without dither, so that
``encode(linear(code)) == code`` for 8-bit and 16-bit sRGB.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from services.errors import InvalidRequest
from services.media.decoder import ClipInfo

Array = np.ndarray

OCIO_CONFIG = "ocio://studio-config-v4.0.0_aces-v2.0_ocio-v2.5"
SRGB = "sRGB Encoded Rec.709 (sRGB)"
LINEAR = "Linear Rec.709 (sRGB)"

# FFmpeg's tags (transfer, primaries) that name a colour space. Camera video tagged BT.709 or BT.601 is read with the
# sRGB curve, as players and compositing programs show it.
_SDR_TRANSFERS = ("", "bt709", "smpte170m", "bt2020-10", "bt2020-12", "iec61966-2-1", "iec61966-2-4")
_SDR_PRIMARIES = {"": SRGB, "bt709": SRGB, "smpte170m": SRGB, "bt470bg": SRGB, "smpte432": "sRGB Encoded P3-D65"}
_OTHER_TRANSFERS = {
    ("linear", "bt709"): LINEAR,
    ("smpte2084", "bt2020"): "Rec.2100-PQ - Display",
    ("arib-std-b67", "bt2020"): "Rec.2100-HLG - Display",
}


class ColourTransform(Protocol):
    """Conversion between one colour space's code values and scene-linear Rec.709."""

    name: str

    def linear(self, code: Array) -> Array:
        """(..., 3) uint8, uint16 or float code values to float32 scene-linear."""
        ...

    def encode(self, linear: Array, dtype: np.dtype) -> Array:
        """(..., 3) scene-linear to code values of ``dtype``; integers are clipped to their range."""
        ...


def linear_from_srgb(code: Array) -> Array:
    """sRGB in [0, 1] to linear light; the curve goes on beyond 1 and is mirrored below 0."""
    magnitude = np.abs(code)
    curve = np.where(magnitude <= 0.04045, magnitude / 12.92, ((magnitude + 0.055) / 1.055) ** 2.4)
    return np.copysign(curve, code)


def srgb_from_linear(linear: Array) -> Array:
    """Inverse of ``linear_from_srgb``."""
    magnitude = np.abs(linear)
    curve = np.where(magnitude <= 0.0031308, magnitude * 12.92, 1.055 * magnitude ** (1 / 2.4) - 0.055)
    return np.copysign(curve, linear)


def quantized(code: Array, dtype: np.dtype) -> Array:
    """Code values in [0, 1] as integers of ``dtype`` (round half to even), or as they are for floats."""
    if np.issubdtype(dtype, np.floating):
        return np.asarray(code, dtype)
    return np.rint(np.clip(code, 0.0, 1.0) * np.iinfo(dtype).max).astype(dtype)


def normalized(code: Array) -> Array:
    """Integer code values as float32 in [0, 1]; floats as float32."""
    if np.issubdtype(code.dtype, np.floating):
        return code.astype(np.float32)
    return code.astype(np.float32) / np.float32(np.iinfo(code.dtype).max)


class SrgbTransform:
    """The sRGB curve on Rec.709 primaries."""

    name = SRGB

    def linear(self, code: Array) -> Array:
        if np.issubdtype(code.dtype, np.floating):
            return linear_from_srgb(code).astype(np.float32)
        return _srgb_table(code.dtype)[code]

    def encode(self, linear: Array, dtype: np.dtype) -> Array:
        return quantized(srgb_from_linear(linear), dtype)


class LinearTransform:
    """Code values that are scene-linear Rec.709 already."""

    name = LINEAR

    def linear(self, code: Array) -> Array:
        return normalized(code)

    def encode(self, linear: Array, dtype: np.dtype) -> Array:
        return quantized(linear, dtype)


class OcioTransform:
    """A named colour space of ``OCIO_CONFIG``."""

    def __init__(self, name: str) -> None:
        import PyOpenColorIO as ocio

        config = _config()
        self.name = name
        self._decode = config.getProcessor(name, LINEAR).getOptimizedCPUProcessor(ocio.OPTIMIZATION_LOSSLESS)
        self._encode = config.getProcessor(LINEAR, name).getOptimizedCPUProcessor(ocio.OPTIMIZATION_LOSSLESS)

    def linear(self, code: Array) -> Array:
        return _applied(self._decode, normalized(code))

    def encode(self, linear: Array, dtype: np.dtype) -> Array:
        return quantized(_applied(self._encode, np.array(linear, np.float32)), dtype)


def transform_for(info: ClipInfo, colorspace: str = "") -> ColourTransform:
    """The transform of a clip: ``colorspace`` when named, else from its tags; floats are linear, integers sRGB.

    Raises ``InvalidRequest`` for a name that is not known and for tags that name no known colour space.
    """
    if colorspace:
        return named_transform(colorspace)
    if info.bit_depth == 32:
        return LinearTransform()
    if info.transfer in _SDR_TRANSFERS and info.primaries in _SDR_PRIMARIES:
        return named_transform(_SDR_PRIMARIES[info.primaries])
    name = _OTHER_TRANSFERS.get((info.transfer, info.primaries))
    if name is None:
        got = f"transfer {info.transfer or 'untagged'}, primaries {info.primaries or 'untagged'}"
        raise InvalidRequest("clip.colorspace", "a name, because the clip's colour tags are unusual", got)
    return named_transform(name)


def named_transform(colorspace: str) -> ColourTransform:
    """The transform of a colour space by its name, alias or role in ``OCIO_CONFIG``."""
    config = _config()
    space = config.getColorSpace(colorspace)
    if space is None:
        names = ", ".join(config.getColorSpaceNames())
        raise InvalidRequest("clip.colorspace", f"one of {names}", repr(colorspace))
    if space.getName() in (SRGB, "sRGB - Display"):
        return SrgbTransform()
    if space.getName() == LINEAR:
        return LinearTransform()
    return OcioTransform(space.getName())


@lru_cache(maxsize=1)
def _config() -> Any:
    import PyOpenColorIO as ocio

    return ocio.Config.CreateFromFile(OCIO_CONFIG)


@lru_cache(maxsize=2)
def _srgb_table(dtype: np.dtype) -> Array:
    codes = np.arange(np.iinfo(dtype).max + 1) / np.iinfo(dtype).max
    return linear_from_srgb(codes).astype(np.float32)


def _applied(processor: Any, rgb: Array) -> Array:
    """Apply an OCIO processor to (..., 3) float32 in place."""
    rgb = np.ascontiguousarray(rgb)
    processor.applyRGB(rgb)
    return rgb

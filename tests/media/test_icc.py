"""Colours of ICC profiles, against the library that browsers use, and by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from services.media.icc import name_of, read_profile
from tests.media.icc_profiles import ADOBE_RGB, matrix_profile, srgb_profile

WIDE = matrix_profile("Wide", ADOBE_RGB, 2.19921875)


def test_as_littlecms_converts() -> None:
    code = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    expected = ImageCms.profileToProfile(
        Image.fromarray(code), ImageCms.ImageCmsProfile(io.BytesIO(WIDE)), ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )  # fmt: skip
    profile = read_profile(WIDE)
    assert profile is not None
    assert not profile.is_srgb
    assert np.abs(profile.srgb(code).astype(int) - np.asarray(expected)).max() <= 2
    fine = profile.srgb(code.astype(np.uint16) * 257)
    assert fine.dtype == np.uint16
    assert np.abs(fine / 257 - profile.srgb(code)).max() <= 0.51


def test_grey_by_hand() -> None:
    """Adobe RGB's curve is a power of 563/256; sRGB's red is inside it, and its green is not."""
    profile = read_profile(WIDE)
    assert profile is not None
    grey = profile.srgb(np.array([[128, 128, 128]], np.uint8))[0]
    light = (128 / 255) ** (563 / 256)
    assert grey.tolist() == pytest.approx([255 * (1.055 * light ** (1 / 2.4) - 0.055)] * 3, abs=1)
    assert profile.srgb(np.array([[0, 255, 0]], np.uint8))[0].tolist() == [0, 255, 0]


def test_srgb_is_known_and_others_are_named() -> None:
    profile = read_profile(srgb_profile())
    assert profile is not None
    assert profile.is_srgb
    assert name_of(WIDE) == "Wide"
    assert name_of(b"") == "unnamed"


@pytest.mark.parametrize("data", [b"", b"x" * 300, WIDE[:140], WIDE.replace(b"RGB ", b"CMYK"),
                                  WIDE.replace(b"curv", b"cuve")])  # fmt: skip
def test_profiles_that_are_not_understood(data: bytes) -> None:
    assert read_profile(data) is None

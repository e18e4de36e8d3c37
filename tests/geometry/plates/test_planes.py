"""Depth of a still from a horizon line, and from depth pictures that may be wrong in several ways."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.camera import Camera, pixel_rays
from geometry.plates.planes import Card, Horizon, depth_from_horizon, depth_from_picture
from geometry.plates.smooth import biharmonic

CAMERA = Camera(100, 100, 60, 40, (120, 80))
Y, X = np.mgrid[:60, :80].astype(float)
INVERSE = 0.1 + 0.01 * Y  # of a floor that comes nearer towards the bottom


def coded(inverse: np.ndarray, dtype: type) -> np.ndarray:
    share = (inverse - inverse.min()) / np.ptp(inverse)
    return np.rint(share * np.iinfo(dtype).max).astype(dtype)


def test_ground_below_a_level_horizon() -> None:
    """Focal length 100 px, eye 2 m high: 25.5 px below the horizon the ground is 2 * 100 / 25.5 m away."""
    depth = depth_from_horizon(CAMERA, Horizon.level(40), height=2, far=50)
    assert depth[65, 7] == pytest.approx(200 / 25.5)
    assert (depth[:43] == 50).all()  # the sky, and ground beyond 50 m
    assert depth.dtype == np.float32


def test_ground_under_a_tilted_horizon_is_one_plane() -> None:
    depth = depth_from_horizon(CAMERA, Horizon(30, 38), height=1.6, far=100)
    points = (pixel_rays(CAMERA) * depth[..., None])[depth < 100]
    normal = np.linalg.lstsq(points, np.full(len(points), 1.6), rcond=None)[0]
    assert np.abs(points @ normal - 1.6).max() < 1e-4
    assert np.linalg.norm(normal) == pytest.approx(1, abs=1e-5)  # so it is 1.6 from the eye


def test_a_card_stands_where_its_foot_is() -> None:
    card = Card((50, 10, 70, 60))
    depth = depth_from_horizon(CAMERA, Horizon.level(40), height=2, far=50, cards=[card])
    assert np.allclose(depth[10:60, 50:70], 2 * 100 / 20)
    assert depth[9, 60] == 50
    with pytest.raises(ValueError, match="foot below the horizon"):
        depth_from_horizon(CAMERA, Horizon.level(40), cards=[Card((5, 5, 10, 30))])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_coded_inverse_depth(dtype: type) -> None:
    depth = depth_from_picture(coded(INVERSE, dtype), INVERSE.shape, span=(1 / 0.69, 10))
    assert np.allclose(1 / depth, INVERSE, atol=0.6 / np.iinfo(dtype).max)
    colour = np.repeat(coded(INVERSE, dtype)[..., None], 3, 2)
    assert np.array_equal(depth_from_picture(colour, INVERSE.shape, span=(1 / 0.69, 10)), depth)


def test_depth_in_scene_units_comes_back() -> None:
    z = (1 / INVERSE).astype(np.float32)
    assert np.allclose(depth_from_picture(z, z.shape, kind="z", span=None), z, rtol=1e-6)
    assert np.allclose(depth_from_picture(1 / z, z.shape, span=None), z, rtol=1e-6)


def test_inverted_depth_is_refused_until_it_is_said() -> None:
    upside = 65535 - coded(INVERSE, np.uint16)
    with pytest.raises(ValueError, match="looks inverted"):
        depth_from_picture(upside, upside.shape)
    said = depth_from_picture(upside, upside.shape, white="far")
    assert np.array_equal(said, depth_from_picture(65535 - upside, upside.shape, white="near"))
    ceiling = depth_from_picture(upside, upside.shape, white="near")
    assert ceiling[0, 0] < ceiling[-1, 0]


def test_holes_are_filled_as_the_surface_goes_on() -> None:
    values = (1 / INVERSE).astype(np.float32)
    values[20:35, 30:50] = 0
    values[40:42] = np.nan
    filled = depth_from_picture(values, values.shape, kind="z", span=None)
    assert np.abs(1 / filled - INVERSE).max() < 2e-3
    known = np.ones(INVERSE.shape, bool)
    known[20:35, 30:50] = False
    spoilt = np.where(known, coded(INVERSE, np.uint16), 30_000).astype(np.uint16)
    assert np.abs(1 / depth_from_picture(spoilt, known.shape, span=(1 / 0.69, 10), known=known) - INVERSE).max() < 2e-3


def test_another_raster_of_the_same_shape() -> None:
    depth = depth_from_picture(coded(INVERSE, np.uint16), (120, 160), span=(1 / 0.69, 10))
    assert depth.shape == (120, 160)
    assert 1 / depth[60, 80] == pytest.approx(0.1 + 0.01 * 29.75, abs=1e-3)


@pytest.mark.parametrize(("picture", "message"), [
    (np.full((60, 80), 7, np.uint8), "got 7 all over"),
    (np.zeros((80, 60), np.uint8), r"shape of the picture \(80 x 60 px\), got 60 x 80"),
    (np.where(X < 50, np.nan, Y), "at least 50%"),
    (np.stack([X, Y, X], -1), "one channel, got 3"),
])  # fmt: skip
def test_depth_that_cannot_be_used(picture: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        depth_from_picture(picture, (60, 80))


def test_a_slope_goes_on_as_a_slope() -> None:
    """Into a small hole exactly, into one that is solved on a coarser raster nearly."""
    slope = 0.3 + 0.002 * X - 0.001 * Y
    known = (X - 40) ** 2 + (Y - 30) ** 2 > 12**2
    assert np.abs(biharmonic(slope * known, known) - slope).max() < 1e-5
    big = np.kron(known, np.ones((8, 8))) > 0
    wide = np.kron(slope, np.ones((8, 8)))
    assert np.abs(biharmonic(wide * big, big) - wide).max() < 0.015
    assert np.array_equal(biharmonic(wide, big)[big], wide[big])
    with pytest.raises(ValueError, match="got none"):
        biharmonic(slope, np.zeros_like(known))

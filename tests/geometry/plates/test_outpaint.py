"""More picture at the sides: the source untouched, no seam, depth that goes on."""

from __future__ import annotations

import numpy as np
import pytest

from geometry.exemplar.picture import fill
from geometry.plates.outpaint import outpainted
from tests.geometry.plates.still_scenes import railing, texture

HW, WIDE = (96, 128), (136, 168)
MARGINS = (14, 10, 9, 12)
Y, X = np.mgrid[: HW[0], : HW[1]]


def cut(wide: np.ndarray) -> np.ndarray:
    """Without its rim, where blotches are reflected and so smoother."""
    return wide[20:-20, 20:-20]


def steps(picture: np.ndarray) -> np.ndarray:
    """(h - 1,) mean difference of each row from the next."""
    return np.abs(np.diff(picture.astype(float), axis=0)).mean((1, 2))


def seams(picture: np.ndarray, source: tuple[int, int, int, int]) -> list[float]:
    """Left, top, right, bottom: the step across the source's border over the usual one within 8 px inside it."""
    x0, y0, x1, y1 = source
    found = []
    for turns in range(4):
        turned = np.rot90(picture[y0:y1] if turns % 2 else picture[:, x0:x1], turns)
        margin = (y0, picture.shape[1] - x1, picture.shape[0] - y1, x0)[turns]
        across = steps(turned)
        found.append(across[margin - 1] / across[margin : margin + 8].mean())
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_no_seam_and_the_source_untouched(seed: int) -> None:
    ground = 60 + 6 * np.sin(X / 15) < Y
    sky = cut(texture(WIDE, (0.4, 0.6, 0.9), 0.05, seed)) * (1 - 0.3 * (Y / 96)[..., None])
    earth = cut(texture(WIDE, (0.4, 0.35, 0.2), 0.8, seed + 5))
    picture = np.rint(255 * np.where(ground[..., None], earth, sky)).astype(np.uint8)
    found = outpainted(picture, np.ones(HW, np.float32), MARGINS)
    x0, y0, x1, y1 = found.source
    assert found.source == (14, 10, 14 + 128, 10 + 96) and found.picture.shape == (118, 151, 3)
    assert np.array_equal(found.picture[y0:y1, x0:x1], picture)
    assert max(seams(found.picture, found.source)) <= 1.1
    # What was made looks like what it continues: sky above, ground below.
    assert np.abs(found.picture[:8].mean((0, 1)) - picture[:8].mean((0, 1))).max() < 20
    assert np.abs(found.picture[-8:].mean((0, 1)) - picture[-8:].mean((0, 1))).max() < 30
    assert np.array_equal(found.picture, outpainted(picture, np.ones(HW, np.float32), MARGINS).picture)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types_keep_their_own_values(dtype: type) -> None:
    white = 3.0 if dtype == np.float32 else 65535
    picture = (texture((48, 64), (0.5, 0.4, 0.6), 0.6, 3) * white).astype(dtype)
    found = outpainted(picture, np.ones((48, 64), np.float32), (8, 0, 0, 0)).picture
    assert found.dtype == dtype and np.array_equal(found[:, 8:], picture)
    assert np.abs(found[:, :8].mean() / picture[:, :16].mean() - 1) < 0.15


def test_depth_goes_on_as_a_slope() -> None:
    inverse = 0.1 + 0.004 * Y
    found = outpainted(np.zeros((*HW, 3), np.uint8), (1 / inverse).astype(np.float32), (0, 0, 0, 10))
    assert np.abs(1 / found.depth[96:] - (0.1 + 0.004 * np.arange(96, 106))[:, None]).max() < 0.01
    assert np.array_equal(found.depth[:96], (1 / inverse).astype(np.float32))


def test_another_painter_paints_the_margins_alone() -> None:
    scene = railing((60, 80))
    found = outpainted(scene.bytes, scene.depth, (5, 5, 5, 5), lambda picture, mask: np.full_like(picture, 77))
    assert (found.picture[found.added] == 77).all()
    assert np.array_equal(found.picture[5:-5, 5:-5], scene.bytes)


@pytest.mark.parametrize("margins", [(-1, 0, 0, 0), (0, 96, 0, 0), (0, 0, 128, 0)])
def test_margins_that_cannot_be(margins: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="outpaint: expected margins"):
        outpainted(np.zeros((*HW, 3), np.uint8), np.ones(HW, np.float32), margins)


def test_holes_are_filled_with_what_is_round_them() -> None:
    """Stripes go on; a brighter side and a darker one meet without a step."""
    stripes = np.where((Y // 6) % 2, 190, 60) + 0.3 * X
    picture = np.repeat(stripes[..., None], 3, 2).astype(np.uint8)
    wanted = np.hypot(X - 60, Y - 50) < 16
    colours = fill(np.where(wanted[..., None], 0, picture), ~wanted, wanted)
    assert np.abs(colours - picture[wanted]).mean() < 12
    with pytest.raises(ValueError, match="got none"):
        fill(picture, np.zeros(HW, bool), wanted)
    few = np.zeros(HW, bool)
    few[0, :10] = True
    assert np.allclose(fill(picture, few, wanted), picture[few].mean(0))

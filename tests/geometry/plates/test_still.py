"""From a still with depth to layers that make it up again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geometry.camera import Camera
from geometry.layers import LayerStack
from geometry.plates.bands import Selection
from geometry.plates.behind import NONE, continued_depth, uncovered
from geometry.plates.still import StillOptions, from_still
from tests.geometry.plates.still_scenes import disc, railing, texture

pytest.importorskip("pymatting")
RAILING = railing((120, 160))


def recomposed(stack: LayerStack) -> np.ndarray:
    """(H, W, 3) in [0, 1]: layers laid over one another where they lie."""
    w, h = stack.camera.wh
    out = np.zeros((h, w, 3))
    for layer in stack:
        (x, y), (rows, columns) = layer.xy, layer.hw
        alpha = (layer.alpha / layer.white)[..., None]
        here = np.s_[y : y + rows, x : x + columns]
        out[here] = alpha * (layer.colour / layer.white) + (1 - alpha) * out[here]
    return out


@pytest.fixture(scope="module")
def stack() -> LayerStack:
    return from_still(RAILING.bytes, RAILING.depth, StillOptions(outpaint=(10, 8, 6, 0)))


def test_layers_by_depth_with_names(stack: LayerStack) -> None:
    assert [layer.name for layer in stack] == ["sky", "far", "near"]
    assert [layer.median_depth for layer in stack] == pytest.approx([40, 12, 3], rel=0.05)
    assert stack.camera.wh == (176, 128) and stack.picture == (10, 8, 170, 128)
    assert stack.picture_camera.cx == pytest.approx(80)


def test_layers_make_up_the_still_again(stack: LayerStack) -> None:
    error = recomposed(stack)[8:, 10:170] * 255 - RAILING.bytes
    assert np.abs(error).max() <= 2
    assert 10 * np.log10(255**2 / (error**2).mean()) > 45


def test_thin_things_stay_whole(stack: LayerStack) -> None:
    near = stack.layers[-1]
    alpha = np.zeros((128, 176))
    x, y = near.xy
    alpha[y : y + near.hw[0], x : x + near.hw[1]] = near.alpha / 255
    assert np.abs(alpha[8:, 10:170] - RAILING.alpha).mean() < 0.02
    assert np.abs(alpha[8:, 10:170] - RAILING.alpha)[RAILING.alpha > 0].mean() < 0.05


def test_pixels_that_are_wholly_seen_are_the_sources_bytes(stack: LayerStack) -> None:
    left = np.ones((120, 160), bool)  # what no nearer layer has said yet
    for layer in stack.layers[::-1]:
        x, y = layer.xy[0] - 10, layer.xy[1] - 8
        for row, column in np.argwhere(layer.alpha == 255)[::7]:
            v, u = row + y, column + x
            if 0 <= v < 120 and 0 <= u < 160 and left[v, u]:
                assert np.array_equal(layer.colour[row, column], RAILING.bytes[v, u])
        v, u = (np.argwhere(layer.alpha > 0) + np.array((y, x))).T
        inside = (v >= 0) & (v < 120) & (u >= 0) & (u < 160)
        left[v[inside], u[inside]] = False


def test_what_is_hidden_looks_like_what_is_round_it() -> None:
    """Nothing of the red disc is left in the wall behind it, which goes on for as far as is asked."""
    scene = disc()
    far, near = from_still(scene.bytes, scene.depth, StillOptions(reach=0.2)).layers
    hidden = scene.alpha > 0
    assert (far.alpha == 255).all() and far.hw == scene.alpha.shape
    own = far.colour[hidden].astype(float)
    assert np.abs(own.mean(0) - 255 * scene.back[hidden].mean(0)).max() < 25
    assert np.abs(own - 255 * np.array([0.6, 0.15, 0.2])).max(1).min() > 20
    shallow = from_still(scene.bytes, scene.depth, StillOptions(reach=0.05)).layers[0]
    assert shallow.alpha[80, 100] == 0 and shallow.alpha[80, 72] == 255
    assert near.depth == pytest.approx(2)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_other_types(dtype: type) -> None:
    scene = disc((80, 100))
    white = 1 if dtype == np.float32 else 65535
    picture = (scene.picture * white).astype(dtype)
    stack = from_still(picture, scene.depth, StillOptions(encoding="linear"))
    assert {layer.colour.dtype for layer in stack} == {np.dtype(dtype)} and stack.encoding == "linear"
    assert np.abs(recomposed(stack) - picture / white).max() < 1e-4
    solid = np.argwhere(stack.layers[-1].alpha == white)
    row, column = solid[len(solid) // 2]
    x, y = stack.layers[-1].xy
    assert np.array_equal(stack.layers[-1].colour[row, column], picture[row + y, column + x])


def test_bands_selections_and_names() -> None:
    thing = Selection("post", mask=disc().alpha > 0.5)
    depth = np.where(np.arange(160)[:, None] > 100, 5, 20) * np.ones((160, 200))
    stack = from_still(disc().bytes, depth, StillOptions(bands=((1, 8), (8, 30)), selections=(thing,)))
    assert [layer.name for layer in stack] == ["far", "post", "near"] or [layer.name for layer in stack] == [
        "post", "far", "near"]  # fmt: skip
    camera = Camera(300, 300, 100, 80, (200, 160))
    assert from_still(disc().bytes, disc().depth, StillOptions(is_metric=True), camera).camera == camera


def test_a_learned_painter_is_asked_for_what_is_hidden_alone() -> None:
    scene, asked = disc(), []

    def painter(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        asked.append(mask)
        return np.full_like(picture, 99)

    far, _ = from_still(scene.bytes, scene.depth, StillOptions(painter=painter, reach=0.3))
    assert (far.colour[scene.alpha == 1] == 99).all() and (far.colour[~asked[0]] == scene.bytes[~asked[0]]).all()
    assert asked[0][scene.alpha > 0].all() and asked[0].sum() > (scene.alpha > 0).sum()  # wider than the matte


def test_two_bands_behind_a_thing_go_on_as_their_border_points() -> None:
    """Sky over ground behind a post: the border goes straight through, and neither takes the other's colours."""
    y, x = np.mgrid[:80, :100]
    bands = np.where(y > 40, 1, 0).astype(np.int32)
    picture = (255 * np.where(bands[..., None] == 1, texture((80, 100), (0.3, 0.5, 0.2), 0.5, 1),
                              texture((80, 100), (0.4, 0.6, 0.9), 0.1, 2))).astype(np.uint8)  # fmt: skip
    hole = np.abs(x - 50) < 8
    found = uncovered(np.where(hole[..., None], 0, picture).astype(np.uint8), np.where(hole, 2, bands), hole, 20)
    assert np.abs((found.bands == 1) * 1.0 - bands)[hole].mean() < 0.02
    blue = found.codes[hole & (found.bands == 0)].astype(int)
    assert (blue[:, 2] > blue[:, 1]).mean() > 0.99
    assert np.array_equal(found.codes[~hole], picture[~hole])
    nothing = uncovered(picture, bands, np.ones_like(hole), 20)
    assert (nothing.bands == NONE).all()


def test_depth_behind_goes_on_from_what_is_believed() -> None:
    inverse = np.full((60, 80), 0.1)
    inverse[:, 40:44] = [0.2, 0.4, 0.6, 0.8]
    inverse[:, 44:] = 0.9
    seen, believed = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    seen[:, :42] = True
    believed[:, :40] = True
    assert np.abs(continued_depth(inverse, seen, believed) - 0.1).max() < 1e-3
    lonely = np.zeros((60, 80), bool)
    lonely[20:30, 60:70] = True
    assert np.abs(continued_depth(inverse, lonely, believed) - 0.9).max() < 1e-3  # nowhere believed, but all there is


def _wall() -> tuple[np.ndarray, np.ndarray]:
    """A wall of stripes that runs from 2 to 20 m, its nearness linear across the picture, before a sky at 60 m."""
    y, x = np.mgrid[:120, :200]
    picture = (255 * texture((120, 200), (0.6, 0.4, 0.3), 0.3, 7)).astype(np.uint8)
    picture[(x // 7) % 2 == 0] //= 2
    depth = 1 / (0.5 - x / 199 * 0.45)
    sky = y < 30
    picture[sky], depth[sky] = (120, 160, 230), 60
    return picture, depth.astype(np.float32)


def test_a_cut_through_a_surface_is_straight_and_never_seen() -> None:
    """Bands end on the wall where depth says, in one column, whatever the stripes are; behind the cut the wall goes on
    as it is, so that a camera that moves aside sees it whole."""
    picture, depth = _wall()
    stack = from_still(picture, depth, StillOptions(bands=((1, 3.2), (3.2, 7), (7, 100))))
    far, middle, near = stack
    for layer in (middle, near):
        x, y = layer.xy
        wall = layer.alpha[40 - y : 110 - y]
        ends = x + wall.shape[1] - 1 - np.argmax((wall > 0)[:, ::-1], 1)
        assert np.ptp(ends) == 0
        assert set(np.unique(wall)) <= {0, 255}
    x, y = middle.xy
    cut = int(np.ceil(199 * (0.5 - 1 / 3.2) / 0.45))  # the first column beyond the near band
    behind = np.s_[50 - y : 100 - y, cut - 2 - x : cut - x]
    assert (middle.alpha[behind] == 255).all()
    assert np.array_equal(middle.colour[behind], picture[50:100, cut - 2 : cut])
    assert far.name == "sky"


def test_what_stands_thin_before_its_own_band_gets_a_layer() -> None:
    """A post 3 m away before a wall at 4 m, beside a view to 12 m: by depth alone post and wall are one layer."""
    y, x = np.mgrid[:120, :160]
    picture = (255 * texture((120, 160), (0.5, 0.5, 0.45), 0.3, 8)).astype(np.uint8)
    depth = np.where(x < 60, 12, 4).astype(np.float32)
    post = (np.abs(x - 110) < 3) & (y > 20) & (y < 90)
    picture[post], depth[post] = (150, 20, 20), 3
    far, wall, thin = from_still(picture, depth, StillOptions(layers=(1, 2)))
    assert [layer.median_depth for layer in (far, wall, thin)] == [12, 4, 3]
    red = thin.alpha[30 - thin.xy[1] : 80 - thin.xy[1]]
    assert red[:, 110 - thin.xy[0]].min() == 255
    assert (red > 0).sum(1).max() <= 9
    behind = np.s_[30 - wall.xy[1] : 80 - wall.xy[1], 108 - wall.xy[0] : 113 - wall.xy[0]]
    assert (wall.alpha[behind] == 255).all() and wall.colour[behind][..., 1].min() > 60  # wall, no post
    assert len(from_still(picture, depth, StillOptions(layers=(2, 2))).layers) == 2  # as many as are asked for


def test_what_does_not_fit() -> None:
    scene = disc((40, 50))
    with pytest.raises(ValueError, match=r"depth: expected shape \(40, 50\)"):
        from_still(scene.bytes, scene.depth[:30], StillOptions())
    with pytest.raises(ValueError, match="depth: expected finite"):
        from_still(scene.bytes, np.zeros((40, 50), np.float32), StillOptions())
    with pytest.raises(ValueError, match="camera: expected"):
        from_still(scene.bytes, scene.depth, camera=Camera(9, 9, 5, 5, (10, 10)))
    with pytest.raises(ValueError, match="reach"):
        replace(StillOptions(), reach=0)

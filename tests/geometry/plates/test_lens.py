from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geometry.moves import camera_path, parse_move
from geometry.plates import lens
from geometry.plates.compose import Composer
from geometry.plates.lens import Focus, View, shutter_views
from tests.geometry.plates.layer_stacks import at, layer, soft_disc, stack

Array = np.ndarray
HW = (90, 120)
CARD = layer("card", 2, alpha=soft_disc((80, 60), 18.3), seed=3, cell=3)
LAYERS = stack(layer("wall", 8.0, seed=4, cell=2), CARD)


def test_the_radius_of_the_blur() -> None:
    focus = Focus(depth=2.0, aperture=0.04, largest_px=10)
    nearness = np.array([1 / 2, 1 / 4, 1.0, 20.0])
    np.testing.assert_allclose(focus.radius_px(nearness, 1000), [0, 0.5 * 1000 * 0.04 / 4, 10, 10])


def test_what_is_in_focus_stays_as_it_was_and_the_rest_is_blurred() -> None:
    composer, camera = Composer(LAYERS, HW), LAYERS.picture_camera
    sharp = composer.frame(camera, np.eye(4))
    card = composer.frame(camera, np.eye(4), focus=Focus(2.0, 0.15))
    wall = composer.frame(camera, np.eye(4), focus=Focus(8.0, 0.15))
    y, x = np.mgrid[:90, :120] + 0.5
    inside, outside = np.hypot(x - 60, y - 45) < 16, np.hypot(x - 60, y - 45) > 30
    np.testing.assert_allclose(card.colour[inside], sharp.colour[inside], atol=1e-3)
    np.testing.assert_allclose(wall.colour[outside], sharp.colour[outside], atol=1e-3)
    assert card.colour[outside].std() < 0.7 * sharp.colour[outside].std()
    assert wall.colour[inside].std() < 0.8 * sharp.colour[inside].std()
    assert not card.uncovered.any()


def test_a_sharp_layer_takes_no_colour_from_a_blurred_one_nor_gives_any() -> None:
    def painted(wall: int, disc: int) -> Array:
        colours = [np.full((120, 160, 3), code, np.uint8) for code in (wall, disc)]
        layers = replace(LAYERS, layers=tuple(replace(a, colour=b) for a, b in zip(LAYERS, colours, strict=True)))
        return Composer(layers, HW).frame(layers.picture_camera, np.eye(4), focus=Focus(2.0, 0.2)).colour

    black_wall = painted(0, 255)
    y, x = np.mgrid[:90, :120] + 0.5
    distance = np.hypot(x - 60, y - 45)
    np.testing.assert_allclose(black_wall[distance < 17], 1, atol=1e-3)
    np.testing.assert_allclose(black_wall[distance > 20], 0, atol=1e-3)


def test_light_is_mixed_not_code_values() -> None:
    checks = (np.indices((120, 160)).sum(0) % 2 * 255).astype(np.uint8)
    wall = replace(layer("wall", 8.0), colour=np.repeat(checks[..., None], 3, 2))
    layers = stack(wall)
    frame = Composer(layers, HW).frame(layers.picture_camera, np.eye(4), focus=Focus(2.0, 0.5))
    np.testing.assert_allclose(frame.colour[20:-20, 20:-20], 0.735, atol=0.02)  # half the light, in sRGB


def test_a_disc_has_its_radius_and_grows_without_steps() -> None:
    dot = np.zeros((41, 41, 4), np.float32)
    dot[20, 20] = 1
    for radius in (2.0, 5.5, 9.0):
        seen = lens.blurred(dot, np.full((41, 41), radius))[..., 3]
        assert seen.sum() == pytest.approx(1, abs=1e-4)
        y, x = np.mgrid[:41, :41] - 20
        assert np.sqrt((seen * (x**2 + y**2)).sum()) == pytest.approx(radius / np.sqrt(2), rel=0.15)
    a, b = (lens.blurred(dot, np.full((41, 41), radius)) for radius in (4.0, 4.02))
    assert np.abs(a - b).max() < 0.02 * a.max() + 1e-3


def test_a_shutter_spreads_what_moves_and_keeps_what_stands() -> None:
    path = camera_path(parse_move("truck=right:0.4"), LAYERS.picture_camera, 5, pivot_depth=4.0, easing="linear")
    views = shutter_views(path, 2, share=0.5, samples=8)
    assert len(views) == 8
    times = [view.time for view in views]
    assert (times[0], times[-1]) == pytest.approx((2 - 0.25 + 1 / 32, 2 + 0.25 - 1 / 32))
    composer = Composer(LAYERS, HW)
    camera, pose = path.camera(2), path.pose(2)
    sharp, moved = composer.frame(camera, pose), composer.frame(camera, pose, shutter=views)
    # Between two frames the card moves 7.5 px: half of it, here.
    row = np.abs(moved.colour - sharp.colour)[45].max(-1)
    assert row.max() > 0.05
    still = composer.frame(camera, pose, shutter=[View(camera, pose, 2.0)] * 3)
    np.testing.assert_allclose(still.colour, sharp.colour, atol=1e-4)
    np.testing.assert_array_equal(moved.depth, sharp.depth)


def test_motion_blur_of_a_bright_edge_is_a_ramp_as_long_as_the_way() -> None:
    colour = np.full((120, 160, 3), 255, np.uint8)
    left = np.where(np.arange(160) < 80, 255, 0).astype(np.uint8)[None].repeat(120, 0)
    layers = stack(replace(LAYERS.layers[0], colour=0 * colour), replace(CARD, colour=colour, alpha=left))
    camera = layers.picture_camera
    views = [View(camera, at(x=2 * shift / 150)) for shift in np.linspace(-4, 4, 33)]
    frame = Composer(layers, HW).frame(camera, np.eye(4), shutter=views)
    ramp = frame.colour[45, :, 0]
    assert ramp[50] == pytest.approx(1, abs=1e-3)
    assert ramp[70] == pytest.approx(0, abs=1e-3)
    assert 7 <= ((ramp > 0.01) & (ramp < 0.999)).sum() <= 11


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Focus(0, 0.1), "focus depth: expected > 0, got 0"),
        (lambda: Focus(1, -0.1), "expected >= 0, got -0.1"),
        (lambda: shutter_views(PATH, 0, share=1.5), "shutter share: expected 0 to 1"),
        (lambda: shutter_views(PATH, 0, samples=0), "shutter samples: expected at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


PATH = camera_path(parse_move("locked"), LAYERS.picture_camera, 2, pivot_depth=4.0)

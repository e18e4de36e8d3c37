"""Long moves: what they uncover is painted once, in the layers, and the source view does not change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geometry.layers import Layer, LayerStack
from geometry.moves import camera_path, parse_move
from geometry.plates.compose import Composer
from geometry.plates.repaint import MOST_KEYS, repainted
from geometry.trajectory import CameraPath
from tests.geometry.plates.layer_stacks import CANVAS, at, layer, soft_disc, stack

Array = np.ndarray
HW = (90, 120)
FRAMES = 9


def plate() -> LayerStack:
    """A wall behind a post; the wall ends not far behind the post, as it does in a still taken apart."""
    x = np.arange(CANVAS.wh[0]) + np.zeros((CANVAS.hw[0], 1))
    post = np.where(np.abs(x - 80) < 20, 255, 0).astype(np.uint8)
    wall = np.where(np.abs(x - 80) < 14, 0, 255).astype(np.uint8)
    return stack(layer("wall", 10.0, alpha=wall, seed=1), layer("post", 4.0, alpha=post, seed=2))


def truck(stack_: LayerStack, metres: float) -> CameraPath:
    return camera_path(parse_move(f"truck=right:{metres}"), stack_.picture_camera, FRAMES, pivot_depth=8)


def seen(of: LayerStack, x: float) -> tuple[Array, Array]:
    frame = Composer(of, HW).frame(of.picture_camera, at(x))
    return frame.colour, frame.uncovered


def test_everything_is_covered_and_the_source_view_stays() -> None:
    before = plate()
    assert seen(before, 2.0)[1].sum() > 500
    found = repainted(before, truck(before, 2.0))
    assert 1 <= len(found.keys) <= MOST_KEYS
    path = truck(before, 2.0)
    composer = Composer(before, HW)
    counts = [int(composer.frame(before.picture_camera, pose).uncovered.sum()) for pose in path.camera_from_world]
    assert found.keys[0] == int(np.argmax(counts))  # where most is uncovered
    assert found.left == ()
    for x in (0.5, 1.3, 2.0):
        assert not seen(found.stack, x)[1].any(), x
    assert np.array_equal(seen(found.stack, 0)[0], seen(before, 0)[0])
    assert [one.name for one in found.stack] == ["wall", "post"]
    post = found.stack.layers[1]
    assert (post.alpha > 0).sum() == (before.layers[1].alpha > 0).sum()  # nothing of the wall is given to it


def test_what_was_there_keeps_its_bytes_and_holds_still() -> None:
    """Paint is in the layer: a texel of it is the same from any camera, and is only where nobody saw before."""
    before = plate()
    found = repainted(before, truck(before, 2.0)).stack
    wall, old = found.layers[0], before.layers[0]
    x, y = old.xy[0] - wall.xy[0], old.xy[1] - wall.xy[1]
    part = np.s_[y : y + old.hw[0], x : x + old.hw[1]]
    solid = old.alpha == 255
    assert np.array_equal(wall.colour[part][solid], old.colour[solid])
    new = (wall.alpha[part] == 255) & ~solid
    assert new.any() and (before.layers[1].alpha[new] == 255).all()  # hidden by the post
    again = repainted(before, truck(before, 2.0)).stack
    assert all(np.array_equal(a.colour, b.colour) for a, b in zip(found, again, strict=True))


def test_a_layer_grows_beyond_the_canvas() -> None:
    before = stack(layer("wall", 10.0, seed=1))
    found = repainted(before, truck(before, 3.0))
    wall = found.stack.layers[0]
    assert wall.xy[0] + wall.hw[1] > CANVAS.wh[0] and wall.xy[0] == 0  # to the right alone
    assert not seen(found.stack, 3.0)[1].any()
    assert any(wall.depth.strides) is False  # still a plane
    # As the texture of the wall: no flat paint.
    new = wall.colour[20:100, CANVAS.wh[0] + 4 :]
    assert new.std() > 0.4 * before.layers[0].colour.std()


def test_a_relief_goes_on_as_it_slopes() -> None:
    x = np.arange(CANVAS.wh[0]) + np.zeros((CANVAS.hw[0], 1))
    slope = (1 / (0.05 + 0.001 * x)).astype(np.float32)
    before = stack(layer("wall", slope, seed=1))
    found = repainted(before, truck(before, 1.5))
    wall = found.stack.layers[0]
    right = CANVAS.wh[0] + 5 - wall.xy[0]
    assert right < wall.hw[1]
    assert 1 / wall.depth[60, right] == pytest.approx(0.05 + 0.001 * (CANVAS.wh[0] + 5), rel=0.02)
    assert not seen(found.stack, 1.5)[1].any()


def test_a_thing_before_the_gap_is_not_drawn_out() -> None:
    """The gap opens beside a disc: what is painted is the wall, whose colours are others."""
    disc = soft_disc((80, 60), 25)
    wall = replace(layer("wall", 10.0, alpha=np.where(soft_disc((80, 60), 21) > 0, 0, 255).astype(np.uint8), seed=1))
    red = Layer("disc", np.full((*CANVAS.hw, 3), (200, 10, 10), np.uint8), disc, np.full(CANVAS.hw, 4, np.float32))
    found = repainted(stack(wall, red), truck(stack(wall, red), 1.6)).stack
    assert np.array_equal(found.layers[1].alpha[found.layers[1].alpha > 0], disc[disc > 0])
    painted = (found.layers[0].alpha == 255)[39:81, 59:101]
    assert painted.any()
    away = np.abs(found.layers[0].colour[39:81, 59:101][painted].astype(int) - (200, 10, 10)).max(-1)
    assert (away > 40).mean() > 0.98


def test_a_painter_is_asked_for_what_is_new_alone() -> None:
    asked: list[Array] = []

    def painter(picture: Array, mask: Array) -> Array:
        asked.append(mask)
        return np.full_like(picture, 77)

    before = plate()
    found = repainted(before, truck(before, 2.0), painter).stack
    assert asked
    wall = found.layers[0]
    x, y = before.layers[0].xy[0] - wall.xy[0], before.layers[0].xy[1] - wall.xy[1]
    old = np.zeros(wall.hw, bool)
    old[y : y + CANVAS.hw[0], x : x + CANVAS.hw[1]] = before.layers[0].alpha == 255
    new = (wall.alpha == 255) & ~old
    assert new.any() and (wall.colour[new] == 77).all()


def test_a_camera_that_stays_inside_changes_nothing() -> None:
    before = stack(layer("wall", 10.0, seed=1))
    found = repainted(before, truck(before, 0.2))
    assert (found.keys, found.left) == ((), ())
    assert found.stack is before

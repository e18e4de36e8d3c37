from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numba
import numpy as np
import pytest

from geometry import rigid
from geometry.camera import Camera, pixel_rays
from geometry.layers import Layer, LayerStack
from geometry.plates import compose, paint_kernels
from geometry.plates.compose import Composer
from geometry.plates.mesh import Surface
from tests.geometry.plates.layer_stacks import CANVAS, PICTURE, at, layer, soft_disc, stack

Array = np.ndarray
HW = (90, 120)


def scenery() -> LayerStack:
    """A far plane, a bumpy mesh with a jump, and a card with a soft edge."""
    y, x = np.mgrid[:120, :160].astype(np.float32)
    bumps = 6 + 0.4 * np.sin(x / 17) * np.cos(y / 13) + np.where(x > 90, 2, 0)
    hills = np.where(y > 60, 255, 0).astype(np.uint8)
    hills[60] = 128
    return stack(
        layer("sky", 50, seed=1), layer("hills", bumps.astype(np.float32), alpha=hills, seed=2),
        layer("tree", 2, alpha=soft_disc((70, 55), 21.3), seed=3, cell=3),
    )  # fmt: skip


def flattened(layers: LayerStack) -> Array:
    """(H, W, 3) in [0, 1]: the plain way to lay them over one another."""
    x0, y0, x1, y1 = layers.picture
    out = np.zeros((y1 - y0, x1 - x0, 3))
    for one in layers:
        alpha = one.alpha[y0:y1, x0:x1, None] / one.white
        out = out * (1 - alpha) + one.colour[y0:y1, x0:x1] / one.white * alpha
    return out


def codes(colour: Array) -> Array:
    return np.floor(255 * colour + 0.5).astype(int)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_source_view_is_the_flattened_layers_to_the_last_code_value(dtype: type) -> None:
    def converted(one: Layer) -> Layer:
        white = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
        colour, alpha = ((codes / 255 * white).astype(dtype) for codes in (one.colour, one.alpha))
        return replace(one, colour=colour, alpha=alpha)

    layers = replace(scenery(), layers=tuple(converted(one) for one in scenery()))
    frame = Composer(layers, HW).frame(layers.picture_camera, np.eye(4))
    assert np.abs(frame.colour - flattened(layers)).max() < 1e-4
    assert (codes(frame.colour) != codes(flattened(layers))).mean() < 1e-3  # ties of rounding
    assert not frame.uncovered.any()
    np.testing.assert_array_equal(frame.depth[[0, 40], [0, 50]], [50, 2])


def test_a_truck_shifts_a_plane_by_whole_pixels_exactly() -> None:
    layers = stack(layer("wall", 3.0, cell=1))
    moved = Composer(layers, HW).frame(layers.picture_camera, at(x=3.0 * 7 / 150))
    np.testing.assert_array_equal(codes(moved.colour), layers.layers[0].colour[15:105, 27:147])
    np.testing.assert_allclose(moved.depth, 3)


def ground(x: Array, y: Array) -> Array:
    return 150 / (25 + 0.2 * (y - 60) - 0.05 * (x - 80))


def bumps(x: Array, y: Array) -> Array:
    return 6 + 0.5 * np.sin(x / 17) * np.cos(y / 13)


def marched(shape: Callable[[Array, Array], Array], camera: Camera, pose: Array) -> tuple[Array, Array]:
    """Where on the canvas each pixel of ``camera`` sees a height field, and its depth there: step by step."""
    origin, rays = rigid.inverse(pose)[:3, 3], pixel_rays(camera) @ pose[:3, :3]

    def place(z: Array) -> Array:
        return origin + rays * ((z - origin[2]) / rays[..., 2])[..., None]

    def is_behind(z: Array) -> Array:
        px = CANVAS.px_from_cam(place(z))
        return shape(px[..., 0], px[..., 1]) <= z

    behind = np.full(camera.hw, 14.0)
    for z in np.linspace(14, 3.5, 100):
        behind = np.where(is_behind(np.full(camera.hw, z)), z, behind)
    before = behind - 10.5 / 99
    for _ in range(16):
        middle = 0.5 * (before + behind)
        hit = is_behind(middle)
        before, behind = np.where(hit, before, middle), np.where(hit, middle, behind)
    points = place(behind)
    return CANVAS.px_from_cam(points), rigid.transform(pose, points)[..., 2]


@pytest.mark.parametrize("shape", [ground, bumps])
def test_a_surface_is_seen_in_exact_perspective(shape: Callable[[Array, Array], Array]) -> None:
    y, x = np.mgrid[:120, :160] + 0.5
    ramp = np.stack([x / 160, y / 120, 0 * x], -1).astype(np.float32)  # its colour says where a texel lies
    relief = Layer("relief", ramp, np.ones(ramp.shape[:2], np.float32), shape(x, y).astype(np.float32))
    layers = stack(relief)
    pose = rigid.rigid(rigid.rotation_between((0, 0, 1), (0.03, -0.02, 1)), np.array([-0.25, 0.1, -0.3]))
    frame = Composer(layers, HW).frame(layers.picture_camera, pose)
    px, z = marched(shape, layers.picture_camera, pose)
    inner = np.s_[6:-6, 6:-6]
    assert not frame.uncovered[inner].any()
    error = np.linalg.norm(frame.colour[..., :2] * (160, 120) - px, axis=-1)[inner]
    assert error.max() < 0.12
    assert (np.abs(frame.depth - z) / z)[inner].max() < 1e-2
    assert (Surface.of(relief, 150).plane is None) == (shape is bumps)


def test_uncovered_pixels_are_told_exactly() -> None:
    layers = stack(layer("wall", 3.0), picture=(0, 0, 160, 120))
    frame = Composer(layers, (120, 160)).frame(layers.picture_camera, at(x=3.0 * 5.3 / 150))
    np.testing.assert_array_equal(frame.uncovered, np.arange(160)[None].repeat(120, 0) + 0.5 + 5.3 >= 160)
    assert not frame.colour[frame.uncovered].any()


def test_what_is_smaller_is_filtered() -> None:
    checks = np.indices(CANVAS.hw).sum(0) % 2 * 255
    wall = replace(layer("wall", 3.0), colour=np.repeat(checks[..., None], 3, 2).astype(np.uint8))
    layers = stack(wall)
    half = layers.picture_camera.scaled((60, 45))
    frame = Composer(layers, (45, 60)).frame(half, at(x=0.013))
    assert np.abs(frame.colour - 0.5).max() < 0.12
    assert frame.colour.std() < 0.04


def test_edges_take_no_colour_from_clear_texels() -> None:
    card = layer("card", 2, alpha=soft_disc((80, 60), 25))
    colour = np.where(card.alpha[..., None] > 0, (200, 100, 50), (0, 255, 0)).astype(np.uint8)
    layers = stack(replace(card, colour=colour))
    frame = Composer(layers, HW).frame(layers.picture_camera, at(x=0.0071, z=0.13))
    rim = (frame.alpha > 0.05) & (frame.alpha < 0.95)
    assert rim.sum() > 50
    np.testing.assert_allclose(frame.colour[rim] / frame.alpha[rim, None] * 255, [(200, 100, 50)] * rim.sum(), atol=0.6)
    assert frame.uncovered[rim].all()


def test_nearer_layers_move_more() -> None:
    near, far = (layer(name, z, alpha=soft_disc((80, 60), 9)) for name, z in (("near", 2), ("far", 8)))
    for one, z in ((near, 2), (far, 8)):
        layers = stack(one)
        alpha = Composer(layers, HW).frame(layers.picture_camera, at(x=0.1, z=0.5)).alpha
        y, x = np.mgrid[:90, :120] + 0.5
        centre = (alpha * x).sum() / alpha.sum(), (alpha * y).sum() / alpha.sum()
        assert centre == pytest.approx((60 - 150 * 0.1 / (z - 0.5), 45), abs=0.05)


def test_a_gap_that_opens_inside_a_layer_shows_its_farther_side() -> None:
    depth = np.where(np.arange(160) < 80, 3, 9)[None].repeat(120, 0).astype(np.float32)
    hills = layer("hills", depth)
    green, grey, blue = (40, 160, 40), (120, 120, 120), (0, 0, 255)
    hills = replace(hills, colour=np.where(depth[..., None] < 5, green, grey).astype(np.uint8))
    sky = replace(layer("sky", 100), colour=np.broadcast_to(np.uint8(blue), (120, 160, 3)).copy())
    layers = stack(sky, hills)
    camera = layers.picture_camera
    frame = Composer(layers, HW).frame(camera, at(x=0.08))  # the near side goes left by 4 px, the far one by 1.3
    row = codes(frame.colour)[45]
    np.testing.assert_array_equal(row[[50, 54, 57, 62, 70]], [green] * 2 + [grey] * 3)
    np.testing.assert_allclose(row[[58, 59]], [grey] * 2, atol=24)  # texels that the filter mixes across the cut
    assert not frame.uncovered.any()
    np.testing.assert_allclose(frame.depth[45, [50, 57, 59, 70]], [3, 9, 9, 9], rtol=1e-5)
    far_too = Composer(layers, HW).frame(camera, at(x=-0.08))  # now it hides a part of it
    np.testing.assert_array_equal(codes(far_too.colour)[45, [50, 62, 65, 70]], [green] * 2 + [grey] * 2)


def test_a_camera_behind_a_layer_does_not_see_it() -> None:
    layers = scenery()
    composer = Composer(layers, HW)
    past = composer.frame(layers.picture_camera, at(z=2.5))
    without = Composer(replace(layers, layers=layers.layers[:2]), HW).frame(layers.picture_camera, at(z=2.5))
    np.testing.assert_array_equal(past.colour, without.colour)


def test_overscan_adds_round_the_same_picture() -> None:
    layers = scenery()
    camera, pose = layers.picture_camera, at(x=0.05, z=0.1)
    plain, wide = (Composer(layers, HW, overscan=share).frame(camera, pose) for share in (0.0, 0.2))
    assert wide.alpha.shape == (108, 144)
    np.testing.assert_allclose(wide.colour[9:-9, 12:-12], plain.colour, atol=1e-5)


@pytest.mark.parametrize(("offset", "wh"), [
    ((0.37, -0.2, 0.9), (120, 90)), ((-0.4, 0.1, -0.8), (120, 90)), ((0.1, 0.2, 0.3), (49, 37)),
])  # fmt: skip
def test_what_is_only_scaled_and_shifted_is_the_same_the_long_way(
    offset: tuple[float, float, float], wh: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and columns one after the other, enlarged and, on a small raster, from two levels of the pyramid."""
    layers = scenery()
    camera = layers.picture_camera.scaled(wh)
    quick = Composer(layers, wh[::-1]).frame(camera, at(*offset))
    monkeypatch.setattr(compose, "TURNED", -1.0)
    slow = Composer(layers, wh[::-1]).frame(camera, at(*offset))
    away = np.abs(quick.colour - slow.colour).max(-1)
    assert (away > 1e-5).sum() <= 2  # where alpha all but cancels, whether there is any is a matter of rounding
    assert away.max() < 2e-4
    assert np.abs(quick.alpha - slow.alpha).max() < 1e-5
    assert np.abs(quick.depth - slow.depth).max() < 1e-4
    assert not np.array_equal(quick.colour, slow.colour)  # it was another way


def test_solid_tiles_are_told_from_mixed_and_clear_ones() -> None:
    """Of a layer of 64 x 48 texels: clear on the left, one hole; at its right end the canvas ends, too."""
    alpha = np.full((48, 64), 255, np.uint8)
    alpha[:, :18] = 0
    alpha[20, 40] = 254
    found = paint_kernels.tiles(alpha, 255.0, (0, 0, 1, 0))
    clear, mixed, solid = paint_kernels.CLEAR, paint_kernels.MIXED, paint_kernels.SOLID
    assert found.tolist() == [
        [clear, mixed, mixed, mixed], [clear, mixed, mixed, solid], [clear, mixed, mixed, mixed],
    ]  # fmt: skip
    assert paint_kernels.tiles(alpha, 255.0, (1, 1, 1, 1))[0].tolist() == [clear, mixed, solid, solid]


def test_strips_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = scenery()
    camera, pose = layers.picture_camera, at(x=0.2, y=-0.05, z=0.3)
    whole = Composer(layers, HW).frame(camera, pose)
    monkeypatch.setattr(compose, "STRIP_PX", 32 * HW[1])
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    strips = Composer(layers, HW).frame(camera, pose)
    numba.set_num_threads(threads)
    np.testing.assert_array_equal(strips.colour, whole.colour)
    np.testing.assert_array_equal(strips.uncovered, whole.uncovered)


def test_what_does_not_fit_is_refused() -> None:
    layers = scenery()
    with pytest.raises(ValueError, match=r"overscan: expected 0 to 0.5, got 0.7"):
        Composer(layers, HW, overscan=0.7)
    with pytest.raises(ValueError, match=r"camera: expected a raster of 120x90 px, got \(160, 120\)"):
        Composer(layers, HW).frame(CANVAS, np.eye(4))
    bent = replace(CANVAS, distortion=(0.1, 0.0, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="no lens distortion"):
        Composer(LayerStack(layers.layers, bent, PICTURE), HW)
